//! The schema of an Arrow file: the columns that can be read, and the layout of all columns in a record batch.
//!
//! The decoder accepts or refuses a schema as a whole. A column of a type that it does not know is given
//! another type with as many buffers and children, so that the decoder skips it correctly; it is not read.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UnionFields, UnionMode};
use arrow::ipc;
use arrow::ipc::convert::try_fb_to_schema;

use super::error::{LeftOut, panic_message};

pub struct IpcSchema {
    /// The columns that can be read.
    pub schema: SchemaRef,
    /// All columns.
    pub layout: SchemaRef,
    /// The places among all columns of those that can be read.
    pub places: Vec<usize>,
    pub left_out: Vec<LeftOut>,
}

impl IpcSchema {
    /// Converts a schema. The error is about a column of unknown layout, after which no other column can be
    /// found.
    pub fn new(schema: ipc::Schema) -> Result<IpcSchema, String> {
        if let Ok(schema) = try_fb_to_schema(schema) {
            let (schema, places) = (Arc::new(schema), 0..);
            let places = places.take(schema.fields().len()).collect();
            return Ok(IpcSchema { layout: schema.clone(), schema, places, left_out: Vec::new() });
        }
        let (mut fields, mut all, mut places, mut left_out) = (vec![], vec![], vec![], vec![]);
        for (place, field) in schema.fields().into_iter().flatten().enumerate() {
            let field = match converted(field) {
                Ok(converted) => {
                    let converted = Arc::new(converted);
                    fields.push(converted.clone());
                    places.push(place);
                    converted
                }
                Err(why) => {
                    let name = field.name().unwrap_or_default().to_owned();
                    let like = like(field).map_err(|what| format!("its column \"{name}\" {what}"))?;
                    left_out.push(LeftOut { name, why });
                    Arc::new(like)
                }
            };
            all.push(field);
        }
        let pairs = schema.custom_metadata().into_iter().flatten();
        let metadata = pairs.filter_map(|pair| Some((pair.key()?.to_owned(), pair.value()?.to_owned())));
        let schema = Schema::new_with_metadata(fields, metadata.collect::<HashMap<_, _>>());
        Ok(IpcSchema { schema: Arc::new(schema), layout: Arc::new(Schema::new(all)), places, left_out })
    }
}

/// Converts one field. The decoder panics on a field where it returns an error for a schema.
fn converted(field: ipc::Field) -> Result<Field, String> {
    catch_unwind(AssertUnwindSafe(|| Field::from(field))).map_err(|panic| {
        let message = panic_message(panic.as_ref());
        let why = message.split_once("Error(\"").and_then(|(_, rest)| rest.strip_suffix("\")"));
        why.unwrap_or(&message).to_owned()
    })
}

/// Returns a readable field with as many nodes and buffers; the error says which type is not known.
fn like(field: ipc::Field) -> Result<Field, String> {
    use ipc::Type;
    let children = || field.children().into_iter().flatten();
    let only_child = || match field.children() {
        Some(children) if children.len() == 1 => like(children.get(0)).map(Arc::new),
        _ => Err("does not have the one child that its type has".to_owned()),
    };
    let data_type = match field.type_type() {
        // The column has keys alone: the values lie in a dictionary.
        _ if field.dictionary().is_some() => DataType::Boolean,
        Type::Null => DataType::Null,
        Type::Bool | Type::Int | Type::FloatingPoint | Type::Decimal | Type::FixedSizeBinary => {
            DataType::Boolean
        }
        Type::Date | Type::Time | Type::Timestamp | Type::Interval | Type::Duration => DataType::Boolean,
        Type::Binary | Type::Utf8 | Type::LargeBinary | Type::LargeUtf8 => DataType::Binary,
        Type::BinaryView | Type::Utf8View => DataType::BinaryView,
        Type::List | Type::LargeList | Type::Map => DataType::List(only_child()?),
        Type::ListView | Type::LargeListView => DataType::ListView(only_child()?),
        Type::FixedSizeList => DataType::FixedSizeList(only_child()?, 1),
        Type::Struct_ => DataType::Struct(children().map(like).collect::<Result<_, _>>()?),
        Type::RunEndEncoded => match &children().map(like).collect::<Result<Vec<_>, _>>()?[..] {
            [ends, values] => DataType::RunEndEncoded(Arc::new(ends.clone()), Arc::new(values.clone())),
            _ => return Err("does not have the two children that its type has".into()),
        },
        Type::Union => {
            let fields = children().map(like).collect::<Result<Vec<_>, _>>()?;
            let mode = match field.type_as_union().map(|union| union.mode()) {
                Some(ipc::UnionMode::Dense) => UnionMode::Dense,
                Some(ipc::UnionMode::Sparse) => UnionMode::Sparse,
                _ => return Err("is a union of a mode that is not known".into()),
            };
            let numbers = 0..fields.len().min(i8::MAX as usize) as i8;
            let fields = UnionFields::try_new(numbers, fields).map_err(|cause| cause.to_string())?;
            DataType::Union(fields, mode)
        }
        other => return Err(format!("is of the type {other:?}, whose layout is not known")),
    };
    Ok(Field::new(field.name().unwrap_or_default(), data_type, true))
}
