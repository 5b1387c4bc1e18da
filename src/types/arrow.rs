//! The Arrow types of kinds, which the file's schema and the arrays of nested columns share.

use super::{Field, Kind, Shapes};
use ::arrow::datatypes::{DataType, Field as ArrowField, FieldRef, TimeUnit};
use std::collections::HashMap;
use std::sync::Arc;

/// The name of a list's element field (Parquet's LogicalTypes.md, LIST).
pub const ELEMENT: &str = "element";

/// Returns the Arrow type of a kind under `shapes`.
pub fn arrow_type(kind: &Kind, shapes: &Shapes) -> DataType {
    match kind {
        Kind::Bool => DataType::Boolean,
        Kind::Int2 => DataType::Int16,
        Kind::Int4 => DataType::Int32,
        Kind::Int8 => DataType::Int64,
        Kind::Oid => DataType::UInt32,
        Kind::Float4 => DataType::Float32,
        Kind::Float8 => DataType::Float64,
        Kind::Decimal { precision, scale } => DataType::Decimal128(*precision, *scale as i8),
        Kind::Numeric { shape_index } => match shapes.get(*shape_index).decimal() {
            Some((precision, scale)) => DataType::Decimal128(precision, scale as i8),
            None => DataType::Utf8,
        },
        Kind::Date => DataType::Date32,
        Kind::Time => DataType::Time64(TimeUnit::Microsecond),
        Kind::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        Kind::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Kind::Uuid => DataType::FixedSizeBinary(16),
        Kind::Text | Kind::Json => DataType::Utf8,
        Kind::Bytea => DataType::Binary,
        Kind::List { .. } | Kind::Struct { .. } if kind.nested_as_text(shapes) => DataType::Utf8,
        Kind::List { shape_index, element } => {
            let innermost = DataType::List(element_field(element, shapes));
            (1..list_depth(*shape_index, shapes))
                .fold(innermost, |list, _| DataType::List(Arc::new(ArrowField::new(ELEMENT, list, true))))
        }
        Kind::Struct { fields } => {
            DataType::Struct(fields.iter().map(|field| arrow_field(field, shapes)).collect())
        }
    }
}

/// Returns the Arrow field of a top-level column. All fields inside it are nullable.
pub fn arrow_field(field: &Field, shapes: &Shapes) -> FieldRef {
    named(&field.name, field, field.nullable, shapes)
}

/// Returns the innermost element field of an array column.
pub fn element_field(element: &Field, shapes: &Shapes) -> FieldRef {
    named(ELEMENT, element, true, shapes)
}

/// Returns the depth of lists of an array column: one while every array seen is empty.
pub fn list_depth(shape_index: usize, shapes: &Shapes) -> usize {
    usize::from(shapes.get(shape_index).dimensions().unwrap_or(1))
}

/// The deepest nesting of arrays, counted by dimension, and composites that common readers accept. pyarrow reads
/// Parquet files with up to 49 nested lists, each of which is two groups of the schema, and Arrow files with up to 63
/// nested types (kMaxNestingDepth, cpp/src/arrow/ipc/options.h). The verifier of flatbuffers, which arrow_fdw uses,
/// follows 64 nested tables, which are 60 types. DuckDB reads deeper ones, in a time that doubles with each list.
pub const MAX_NESTING: usize = 49;

/// Returns the depth of nested lists and structs in a column of this kind.
pub fn nesting(kind: &Kind, shapes: &Shapes) -> usize {
    match kind {
        _ if kind.nested_as_text(shapes) => 0,
        Kind::List { shape_index, element } => {
            list_depth(*shape_index, shapes) + nesting(&element.kind, shapes)
        }
        Kind::Struct { fields } => {
            1 + fields.iter().map(|field| nesting(&field.kind, shapes)).max().unwrap_or(0)
        }
        _ => 0,
    }
}

fn named(name: &str, field: &Field, nullable: bool, shapes: &Shapes) -> FieldRef {
    let named = ArrowField::new(name, arrow_type(&field.kind, shapes), nullable);
    Arc::new(match field.kind {
        // Without Arrow's canonical extension type, readers would see plain bytes.
        Kind::Uuid => {
            let name = ("ARROW:extension:name".to_string(), "arrow.uuid".to_string());
            named.with_metadata(HashMap::from([name]))
        }
        _ => named,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Shape;

    fn field(kind: Kind) -> Field {
        Field { name: "f".into(), pg_type: String::new(), nullable: true, kind }
    }

    #[test]
    fn arrays_nest_one_list_a_dimension() {
        let list = Kind::List { shape_index: 0, element: Box::new(field(Kind::Int4)) };
        let shapes = Shapes::new(1);
        let one = DataType::List(Arc::new(ArrowField::new("element", DataType::Int32, true)));
        assert_eq!(arrow_type(&list, &shapes), one);
        let mut shapes = Shapes::new(1);
        shapes.merge(0, Shape::list(2));
        let two = DataType::List(Arc::new(ArrowField::new("element", one, true)));
        assert_eq!(arrow_type(&list, &shapes), two);
        shapes.merge(0, Shape::list(1));
        assert_eq!(arrow_type(&list, &shapes), DataType::Utf8);
        let composite = Kind::Struct { fields: vec![field(Kind::Int4), field(list)] };
        assert_eq!(arrow_type(&composite, &shapes), DataType::Utf8, "a composite follows its array");
    }

    #[test]
    fn nesting_counts_lists_by_dimension_and_composites() {
        let list = Kind::List { shape_index: 0, element: Box::new(field(Kind::Int4)) };
        let inner = Kind::Struct { fields: vec![field(Kind::Int4), field(list)] };
        let outer = Kind::Struct { fields: vec![field(inner), field(Kind::Text)] };
        let mut shapes = Shapes::new(1);
        assert_eq!(nesting(&outer, &shapes), 3);
        shapes.merge(0, Shape::list(2));
        assert_eq!(nesting(&outer, &shapes), 4);
        shapes.merge(0, Shape::TEXT);
        assert_eq!(nesting(&outer, &shapes), 0, "it is text");
    }

    #[test]
    fn numerics_follow_their_shape() {
        let mut shapes = Shapes::new(1);
        let numeric = Kind::Numeric { shape_index: 0 };
        assert_eq!(arrow_type(&numeric, &shapes), DataType::Decimal128(1, 0));
        shapes.merge(0, Shape::numeric(5, 2));
        assert_eq!(arrow_type(&numeric, &shapes), DataType::Decimal128(7, 2));
        shapes.merge(0, Shape::numeric(30, 20));
        assert_eq!(arrow_type(&numeric, &shapes), DataType::Utf8);
    }

    #[test]
    fn uuids_are_marked_wherever_they_are() {
        let list = field(Kind::List { shape_index: 0, element: Box::new(field(Kind::Uuid)) });
        let shapes = Shapes::new(1);
        let DataType::List(element) = arrow_type(&list.kind, &shapes) else { panic!("a list") };
        assert_eq!(element.extension_type_name(), Some("arrow.uuid"));
        assert_eq!(arrow_field(&field(Kind::Uuid), &shapes).extension_type_name(), Some("arrow.uuid"));
    }
}
