//! Parquet's INTERVAL and INT96, which no type of Arrow holds exactly.
//!
//! An interval has months, days and milliseconds without sign; a timestamp of INT96 may be before 1677 and
//! after 2262. Columns of both are read as the 12 bytes of their values, by a schema that says so and for which
//! the file's bytes are the same in all encodings. The schema that the file declares gives the meaning of the
//! bytes.

use std::sync::Arc;

use parquet::basic::{ConvertedType, LogicalType, Type as PhysicalType};
use parquet::errors::Result;
use parquet::schema::types::{BasicTypeInfo, SchemaDescPtr, SchemaDescriptor, Type, TypePtr};

/// Bytes of a value.
pub const WIDTH: i32 = 12;

/// Returns the schema to read a file with.
pub fn schema(declared: &SchemaDescriptor) -> Result<SchemaDescPtr> {
    Ok(Arc::new(SchemaDescriptor::new(as_bytes(&declared.root_schema_ptr())?)))
}

fn as_bytes(declared: &TypePtr) -> Result<TypePtr> {
    Ok(match &**declared {
        Type::GroupType { basic_info, fields } => Arc::new(Type::GroupType {
            basic_info: basic_info.clone(),
            fields: fields.iter().map(as_bytes).collect::<Result<_>>()?,
        }),
        Type::PrimitiveType { basic_info, physical_type, type_length, .. }
            if is_raw(basic_info, *physical_type, *type_length) =>
        {
            let bytes = Type::primitive_type_builder(basic_info.name(), PhysicalType::FIXED_LEN_BYTE_ARRAY);
            let bytes = bytes.with_repetition(basic_info.repetition()).with_length(WIDTH);
            Arc::new(bytes.with_id(basic_info.has_id().then(|| basic_info.id())).build()?)
        }
        Type::PrimitiveType { .. } => declared.clone(),
    })
}

fn is_raw(info: &BasicTypeInfo, physical: PhysicalType, length: i32) -> bool {
    match (physical, info.logical_type_ref()) {
        // A column of NULLs alone.
        (PhysicalType::INT96, logical) => logical != Some(&LogicalType::Unknown),
        (PhysicalType::FIXED_LEN_BYTE_ARRAY, None) => {
            info.converted_type() == ConvertedType::INTERVAL && length == WIDTH
        }
        _ => false,
    }
}

#[cfg(test)]
#[path = "raw_tests.rs"]
mod tests;
