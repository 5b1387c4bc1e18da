//! The file's schema: Parquet's, and the Arrow schema in its metadata.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use parquet::arrow::{ARROW_SCHEMA_META_KEY, encode_arrow_schema};
use parquet::basic::{LogicalType, Repetition, TimeUnit as ParquetUnit, Type as PhysicalType};
use parquet::file::metadata::KeyValue;
use parquet::schema::types::{ColumnDescriptor, SchemaDescPtr, SchemaDescriptor, Type, TypePtr};

use super::{Result, invalid};
use crate::types::arrow::{ELEMENT, arrow_field, arrow_type, list_depth};
use crate::types::{Field, Kind, Physical, Shapes};

/// The key under which the footer lists the columns' PostgreSQL types.
pub const COLUMNS_KEY: &str = "pg_strata.columns";

/// A file's schema under one set of shapes.
///
/// Row groups written under earlier shapes stay valid under later ones as long as no leaf's physical
/// type and no decimal's scale changed; `footer::write_footer` checks that.
#[derive(Clone, Debug)]
pub struct FileSchema {
    descr: SchemaDescPtr,
    arrow: SchemaRef,
    columns_json: String,
}

impl FileSchema {
    pub fn new(fields: &[Field], shapes: &Shapes) -> Result<FileSchema> {
        let mut parquet = Vec::with_capacity(fields.len());
        let mut arrow = Vec::with_capacity(fields.len());
        for field in fields {
            parquet.push(parquet_type(&field.name, field, shapes)?);
            arrow.push(arrow_field(field, shapes));
        }
        let root = Type::group_type_builder("schema").with_fields(parquet).build()?;
        Ok(FileSchema {
            descr: Arc::new(SchemaDescriptor::new(Arc::new(root))),
            arrow: Arc::new(Schema::new(arrow.into_iter().collect::<Vec<FieldRef>>())),
            columns_json: columns_json(fields),
        })
    }

    pub fn parquet(&self) -> &SchemaDescPtr {
        &self.descr
    }

    pub fn arrow(&self) -> &SchemaRef {
        &self.arrow
    }

    /// Returns the schema of an Arrow file, with the columns' PostgreSQL types, which a Parquet file has in its
    /// footer.
    pub fn arrow_file(&self) -> Schema {
        let columns = (COLUMNS_KEY.to_string(), self.columns_json.clone());
        Schema::clone(&self.arrow).with_metadata(HashMap::from([columns]))
    }

    /// Returns the entries that every file of this schema has in its footer.
    pub(super) fn key_values(&self) -> Vec<KeyValue> {
        vec![
            KeyValue::new(ARROW_SCHEMA_META_KEY.to_string(), encode_arrow_schema(&self.arrow)),
            KeyValue::new(COLUMNS_KEY.to_string(), self.columns_json.clone()),
        ]
    }

    /// Returns whether the leaf `index` can describe a chunk that was written as `other`.
    ///
    /// The precision may differ, since no page depends on it. A flat chunk without values fits any type, since its
    /// pages contain only levels; a numeric column has such a chunk if a process saw only NULLs.
    pub(super) fn describes(&self, index: usize, other: &ColumnDescriptor, has_values: bool) -> bool {
        let leaf = self.descr.column(index);
        let same_place = leaf.path() == other.path()
            && leaf.max_def_level() == other.max_def_level()
            && leaf.max_rep_level() == other.max_rep_level();
        let same_type = leaf.physical_type() == other.physical_type()
            && leaf.type_length() == other.type_length()
            && leaf.type_scale() == other.type_scale();
        same_place && (same_type || (!has_values && leaf.path().parts().len() == 1))
    }
}

/// The inner name of a list's three-level structure (LogicalTypes.md, Lists).
const LIST: &str = "list";

fn element_field(element: &Field) -> Field {
    Field { name: ELEMENT.to_string(), ..nullable(element) }
}

fn nullable(field: &Field) -> Field {
    Field { nullable: true, ..field.clone() }
}

fn parquet_type(name: &str, field: &Field, shapes: &Shapes) -> Result<TypePtr> {
    let repetition = if field.nullable { Repetition::OPTIONAL } else { Repetition::REQUIRED };
    match &field.kind {
        kind if kind.nested_as_text(shapes) => leaf_type(name, repetition, kind, shapes),
        Kind::List { shape_index, element } => {
            let mut inner = parquet_type(ELEMENT, &element_field(element), shapes)?;
            for dimension in (0..list_depth(*shape_index, shapes)).rev() {
                let outermost = dimension == 0;
                inner = list_type(
                    if outermost { name } else { ELEMENT },
                    if outermost { repetition } else { Repetition::OPTIONAL },
                    inner,
                )?;
            }
            Ok(inner)
        }
        Kind::Struct { fields } => {
            if fields.is_empty() {
                return invalid(format!("column \"{name}\" is of a composite type without fields"));
            }
            let fields = fields.iter().map(|f| parquet_type(&f.name, &nullable(f), shapes));
            let group = Type::group_type_builder(name)
                .with_repetition(repetition)
                .with_fields(fields.collect::<Result<_>>()?);
            Ok(Arc::new(group.build()?))
        }
        flat => leaf_type(name, repetition, flat, shapes),
    }
}

fn leaf_type(name: &str, repetition: Repetition, kind: &Kind, shapes: &Shapes) -> Result<TypePtr> {
    let (physical, mut logical) = leaf(kind, shapes);
    let mut builder = Type::primitive_type_builder(name, physical).with_repetition(repetition);
    if physical == PhysicalType::FIXED_LEN_BYTE_ARRAY {
        builder = builder.with_length(16);
    }
    if let DataType::Decimal128(precision, scale) = arrow_type(kind, shapes) {
        logical = Some(LogicalType::decimal(scale.into(), precision.into()));
        builder = builder.with_precision(precision.into()).with_scale(scale.into());
    }
    Ok(Arc::new(builder.with_logical_type(logical).build()?))
}

fn list_type(name: &str, repetition: Repetition, element: TypePtr) -> Result<TypePtr> {
    let list = Type::group_type_builder(LIST)
        .with_repetition(Repetition::REPEATED)
        .with_fields(vec![element])
        .build()?;
    let group = Type::group_type_builder(name)
        .with_repetition(repetition)
        .with_logical_type(Some(LogicalType::List))
        .with_fields(vec![Arc::new(list)])
        .build()?;
    Ok(Arc::new(group))
}

/// Returns the physical and the logical type of a kind that is not nested (LogicalTypes.md). A decimal's logical type
/// follows from its Arrow type.
fn leaf(kind: &Kind, shapes: &Shapes) -> (PhysicalType, Option<LogicalType>) {
    let micros = |utc| Some(LogicalType::timestamp(utc, ParquetUnit::MICROS));
    match kind {
        Kind::Bool => (PhysicalType::BOOLEAN, None),
        Kind::Int2 => (PhysicalType::INT32, Some(LogicalType::integer(16, true))),
        Kind::Int4 => (PhysicalType::INT32, None),
        Kind::Int8 => (PhysicalType::INT64, None),
        Kind::Oid => (PhysicalType::INT32, Some(LogicalType::integer(32, false))),
        Kind::Float4 => (PhysicalType::FLOAT, None),
        Kind::Float8 => (PhysicalType::DOUBLE, None),
        Kind::Decimal { .. } | Kind::Numeric { .. } => match kind.physical(shapes) {
            Some(Physical::I32) => (PhysicalType::INT32, None),
            Some(Physical::I64) => (PhysicalType::INT64, None),
            Some(Physical::Bytes) => (PhysicalType::BYTE_ARRAY, Some(LogicalType::String)),
            // 16 bytes are legal for up to 38 digits, and the precision may still grow after row groups have been
            // written.
            _ => (PhysicalType::FIXED_LEN_BYTE_ARRAY, None),
        },
        Kind::Date => (PhysicalType::INT32, Some(LogicalType::Date)),
        Kind::Time => (PhysicalType::INT64, Some(LogicalType::time(false, ParquetUnit::MICROS))),
        Kind::Timestamp => (PhysicalType::INT64, micros(false)),
        Kind::TimestampTz => (PhysicalType::INT64, micros(true)),
        Kind::Uuid => (PhysicalType::FIXED_LEN_BYTE_ARRAY, Some(LogicalType::Uuid)),
        Kind::Json => (PhysicalType::BYTE_ARRAY, Some(LogicalType::Json)),
        Kind::Bytea => (PhysicalType::BYTE_ARRAY, None),
        // Only a list or a composite whose shape makes it text comes here.
        Kind::Text | Kind::List { .. } | Kind::Struct { .. } => {
            (PhysicalType::BYTE_ARRAY, Some(LogicalType::String))
        }
    }
}

fn columns_json(fields: &[Field]) -> String {
    let columns = fields.iter().map(|f| serde_json::json!({ "name": f.name, "pg_type": f.pg_type }));
    serde_json::Value::from_iter(columns).to_string()
}
