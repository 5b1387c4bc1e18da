//! The file's schema: Parquet's, and the Arrow schema that its metadata carries beside it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field as ArrowField, Schema, SchemaRef, TimeUnit};
use parquet::arrow::{ARROW_SCHEMA_META_KEY, encode_arrow_schema};
use parquet::basic::{LogicalType, Repetition, TimeUnit as ParquetUnit, Type as PhysicalType};
use parquet::file::metadata::KeyValue;
use parquet::schema::types::{ColumnDescriptor, SchemaDescPtr, SchemaDescriptor, Type, TypePtr};

use super::{Result, invalid};
use crate::types::{Field, Kind, Physical, Shapes, decimal_physical};

/// The key under which the footer lists the columns' PostgreSQL types.
pub const COLUMNS_KEY: &str = "pg_strata.columns";

/// What the values of a column mean to a reader, in both schemas' terms.
struct Leaf {
    physical: PhysicalType,
    logical: Option<LogicalType>,
    arrow: DataType,
}

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
            arrow: Arc::new(Schema::new(arrow)),
            columns_json: columns_json(fields),
        })
    }

    pub fn parquet(&self) -> &SchemaDescPtr {
        &self.descr
    }

    pub fn arrow(&self) -> &SchemaRef {
        &self.arrow
    }

    /// The entries that every file of this schema has in its footer.
    pub(super) fn key_values(&self) -> Vec<KeyValue> {
        vec![
            KeyValue::new(ARROW_SCHEMA_META_KEY.to_string(), encode_arrow_schema(&self.arrow)),
            KeyValue::new(COLUMNS_KEY.to_string(), self.columns_json.clone()),
        ]
    }

    /// Whether the leaf `index` can describe a chunk that was written as `other`.
    ///
    /// A precision may differ: no page knows it. A flat chunk without a single value fits any type, for
    /// its pages have nothing but levels: that of a numeric column of which a process saw only NULLs.
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

/// The Arrow field of a column; nested arrays have to be built with this type.
pub fn arrow_field(field: &Field, shapes: &Shapes) -> ArrowField {
    let arrow = ArrowField::new(&field.name, arrow_type(&field.kind, shapes), field.nullable);
    if field.kind != Kind::Uuid {
        return arrow;
    }
    let extension = ("ARROW:extension:name".to_string(), "arrow.uuid".to_string());
    arrow.with_metadata(HashMap::from([extension]))
}

fn arrow_type(kind: &Kind, shapes: &Shapes) -> DataType {
    match kind {
        Kind::List { slot, element } if !shapes.get(*slot).dimensions().is_none() => {
            let element = element_field(element);
            let mut list = arrow_field(&element, shapes);
            for _ in 0..dimensions(*slot, shapes) {
                list = ArrowField::new(ELEMENT, DataType::List(Arc::new(list)), true);
            }
            list.data_type().clone()
        }
        Kind::Struct { fields } => DataType::Struct(
            fields.iter().map(|f| arrow_field(&nullable(f), shapes)).collect::<Vec<_>>().into(),
        ),
        flat => leaf(flat, shapes).arrow,
    }
}

/// LogicalTypes.md, Lists: the inner names of the three-level structure.
const ELEMENT: &str = "element";
const LIST: &str = "list";

/// An array that never had an element has no dimensions; it is a list all the same.
fn dimensions(slot: usize, shapes: &Shapes) -> u16 {
    shapes.get(slot).whole.max(1)
}

fn element_field(element: &Field) -> Field {
    Field { name: ELEMENT.to_string(), ..nullable(element) }
}

fn nullable(field: &Field) -> Field {
    Field { nullable: true, ..field.clone() }
}

fn parquet_type(name: &str, field: &Field, shapes: &Shapes) -> Result<TypePtr> {
    let repetition = if field.nullable { Repetition::OPTIONAL } else { Repetition::REQUIRED };
    match &field.kind {
        Kind::List { slot, element } if !shapes.get(*slot).dimensions().is_none() => {
            let mut inner = parquet_type(ELEMENT, &element_field(element), shapes)?;
            for dimension in (0..dimensions(*slot, shapes)).rev() {
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
        flat => {
            let leaf = leaf(flat, shapes);
            let mut builder = Type::primitive_type_builder(name, leaf.physical)
                .with_repetition(repetition)
                .with_logical_type(leaf.logical);
            if leaf.physical == PhysicalType::FIXED_LEN_BYTE_ARRAY {
                builder = builder.with_length(16);
            }
            if let DataType::Decimal128(precision, scale) = leaf.arrow {
                builder = builder.with_precision(precision.into()).with_scale(scale.into());
            }
            Ok(Arc::new(builder.build()?))
        }
    }
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

/// Physical, logical and Arrow type of a kind that is not nested (LogicalTypes.md).
fn leaf(kind: &Kind, shapes: &Shapes) -> Leaf {
    let micros = |utc| Some(LogicalType::timestamp(utc, ParquetUnit::MICROS));
    let (physical, logical, arrow) = match kind {
        Kind::Bool => (PhysicalType::BOOLEAN, None, DataType::Boolean),
        Kind::Int2 => (PhysicalType::INT32, Some(LogicalType::integer(16, true)), DataType::Int16),
        Kind::Int4 => (PhysicalType::INT32, None, DataType::Int32),
        Kind::Int8 => (PhysicalType::INT64, None, DataType::Int64),
        Kind::Oid => (PhysicalType::INT32, Some(LogicalType::integer(32, false)), DataType::UInt32),
        Kind::Float4 => (PhysicalType::FLOAT, None, DataType::Float32),
        Kind::Float8 => (PhysicalType::DOUBLE, None, DataType::Float64),
        Kind::Decimal { precision, scale } => return decimal_leaf(*precision, *scale),
        Kind::Numeric { slot } => match shapes.get(*slot).decimal() {
            Some((precision, scale)) => return decimal_leaf(precision, scale),
            None => (PhysicalType::BYTE_ARRAY, Some(LogicalType::String), DataType::Utf8),
        },
        Kind::Date => (PhysicalType::INT32, Some(LogicalType::Date), DataType::Date32),
        Kind::Time => (
            PhysicalType::INT64,
            Some(LogicalType::time(false, ParquetUnit::MICROS)),
            DataType::Time64(TimeUnit::Microsecond),
        ),
        Kind::Timestamp => {
            (PhysicalType::INT64, micros(false), DataType::Timestamp(TimeUnit::Microsecond, None))
        }
        Kind::TimestampTz => (
            PhysicalType::INT64,
            micros(true),
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        ),
        Kind::Uuid => {
            (PhysicalType::FIXED_LEN_BYTE_ARRAY, Some(LogicalType::Uuid), DataType::FixedSizeBinary(16))
        }
        Kind::Json => (PhysicalType::BYTE_ARRAY, Some(LogicalType::Json), DataType::Utf8),
        Kind::Bytea => (PhysicalType::BYTE_ARRAY, None, DataType::Binary),
        // A list or a composite comes here only where its shape makes it text.
        Kind::Text | Kind::List { .. } | Kind::Struct { .. } => {
            (PhysicalType::BYTE_ARRAY, Some(LogicalType::String), DataType::Utf8)
        }
    };
    Leaf { physical, logical, arrow }
}

fn decimal_leaf(precision: u8, scale: u8) -> Leaf {
    Leaf {
        physical: match decimal_physical(precision.into()) {
            Physical::I32 => PhysicalType::INT32,
            Physical::I64 => PhysicalType::INT64,
            // 16 bytes for any precision: legal up to 38 digits, and the precision may still grow
            // after row groups have been written.
            _ => PhysicalType::FIXED_LEN_BYTE_ARRAY,
        },
        logical: Some(LogicalType::decimal(scale.into(), precision.into())),
        arrow: DataType::Decimal128(precision, scale as i8),
    }
}

fn columns_json(fields: &[Field]) -> String {
    let columns: Vec<String> = fields
        .iter()
        .map(|f| format!("{{\"name\":{},\"pg_type\":{}}}", json_string(&f.name), json_string(&f.pg_type)))
        .collect();
    format!("[{}]", columns.join(","))
}

fn json_string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
