//! Decides which statistics are believed: those that contradict neither themselves nor the schema, by writers
//! that are not known for false ones.
//!
//! Statistics only serve to skip rows, so a false doubt costs time and a false belief costs rows.

use arrow::array::{ArrayRef, BooleanArray};
use arrow::compute::kernels::cmp;
use arrow::compute::nullif;
use parquet::basic::{ConvertedType, LogicalType, SortOrder, Type as PhysicalType};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::schema::types::ColumnDescriptor;

/// What a file's writer is known to state falsely of a column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Doubts {
    /// Least and greatest values.
    pub bounds: bool,
    /// That there are no NULLs.
    no_nulls: bool,
    /// That there are only NULLs.
    all_nulls: bool,
}

impl Doubts {
    /// Returns the doubts about a writer, named as "application version 1.2.3 (build ...)".
    pub fn about(created_by: Option<&str>, column: &ColumnDescriptor) -> Doubts {
        let (application, version) = writer_of(created_by.unwrap_or(""));
        let physical = column.physical_type();
        let is_bytes = matches!(physical, PhysicalType::BYTE_ARRAY | PhysicalType::FIXED_LEN_BYTE_ARRAY);
        let is_unsigned = column.sort_order() != SortOrder::SIGNED && physical != PhysicalType::BOOLEAN;
        let mut doubts = Doubts { bounds: physical == PhysicalType::INT96, ..Doubts::default() };
        match application {
            // PARQUET-251: bounds of another buffer. PARQUET-686: bounds of all types in the order of signed
            // bytes.
            "parquet-mr" => {
                doubts.bounds |= version < [1, 8, 0] && is_bytes || version < [1, 10, 0] && is_unsigned
            }
            // PARQUET-686 too; ARROW-12513: a dictionary's NULLs were not counted.
            "parquet-cpp" => {
                doubts.bounds |= version < [1, 3, 0] && is_unsigned;
                doubts.no_nulls = true;
            }
            "parquet-cpp-arrow" => doubts.no_nulls = version < [6, 0, 0],
            // Texts in the order of a language, UUIDs in that of .NET's bytes, negative numbers of NULLs.
            "Parquet.Net" => doubts = Doubts { bounds: true, no_nulls: true, all_nulls: true },
            // Numbers of NULLs multiplied by the number of pages.
            "Polars" => doubts.all_nulls = true,
            // Bounds of decimals without their scale.
            "hyparquet" => doubts.bounds |= is_decimal(column),
            _ => {}
        }
        doubts
    }

    /// Returns how many of `rows` are NULL, from the stated number; `is_bounded` if a least or greatest value
    /// is stated too.
    pub fn nulls(self, stated: Option<u64>, rows: u64, is_bounded: bool) -> Option<u64> {
        stated.filter(|&nulls| {
            let all = nulls == rows && (is_bounded || self.all_nulls);
            nulls <= rows && !all && !(nulls == 0 && self.no_nulls)
        })
    }
}

fn is_decimal(column: &ColumnDescriptor) -> bool {
    column.converted_type() == ConvertedType::DECIMAL
        || matches!(column.logical_type_ref(), Some(LogicalType::Decimal { .. }))
}

/// Returns application and version. What is not a version counts as the oldest one.
pub fn writer_of(created_by: &str) -> (&str, [u32; 3]) {
    let (application, rest) = created_by.split_once(" version ").unwrap_or((created_by, ""));
    let mut numbers = rest.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().unwrap_or(0));
    (application.trim(), std::array::from_fn(|_| numbers.next().unwrap_or(0)))
}

/// Returns least and greatest values; both are unknown where the least is greater.
pub fn in_order(mins: ArrayRef, maxes: ArrayRef) -> (ArrayRef, ArrayRef) {
    let Ok(reversed) = cmp::gt(&mins, &maxes) else { return (mins, maxes) };
    let reversed: BooleanArray = reversed.iter().map(|reversed| Some(reversed == Some(true))).collect();
    match (nullif(&mins, &reversed), nullif(&maxes, &reversed)) {
        (Ok(mins), Ok(maxes)) => (mins, maxes),
        _ => (mins, maxes),
    }
}

/// Returns whether the numbers of NULLs in a column index are possible for pages of so many rows.
pub fn is_consistent(index: &ColumnIndexMetaData, rows: &[u64], is_required: bool) -> bool {
    rows.iter().enumerate().all(|(page, &rows)| {
        let is_null = index.is_null_page(page);
        let counts = index.null_count(page).map(u64::try_from);
        let agrees =
            counts.is_none_or(|nulls| nulls.is_ok_and(|nulls| nulls <= rows && (nulls == rows) == is_null));
        agrees && !(is_required && (is_null || index.null_count(page).is_some_and(|nulls| nulls != 0)))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Array, Int32Array, StringArray};
    use parquet::basic::{BoundaryOrder, Repetition};
    use parquet::file::metadata::ColumnIndexBuilder;
    use parquet::schema::types::{ColumnPath, Type};

    use super::*;

    fn column(physical: PhysicalType, converted: ConvertedType) -> ColumnDescriptor {
        let length = if physical == PhysicalType::FIXED_LEN_BYTE_ARRAY { 16 } else { -1 };
        let decimal = if converted == ConvertedType::DECIMAL { 9 } else { -1 };
        let builder = Type::primitive_type_builder("c", physical).with_converted_type(converted);
        let builder =
            builder.with_repetition(Repetition::OPTIONAL).with_length(length).with_precision(decimal);
        ColumnDescriptor::new(
            Arc::new(builder.with_scale(decimal.min(0)).build().unwrap()),
            1,
            0,
            ColumnPath::from("c"),
        )
    }

    /// Whether bounds, no NULLs and all NULLs are believed.
    fn believed(created_by: &str, column: &ColumnDescriptor) -> [bool; 3] {
        let doubts = Doubts::about(Some(created_by), column);
        [!doubts.bounds, doubts.nulls(Some(0), 9, true).is_some(), doubts.nulls(Some(9), 9, false).is_some()]
    }

    #[test]
    fn writers_that_are_known() {
        let number = column(PhysicalType::INT32, ConvertedType::NONE);
        let unsigned = column(PhysicalType::INT32, ConvertedType::UINT_32);
        let text = column(PhysicalType::BYTE_ARRAY, ConvertedType::UTF8);
        let decimal = column(PhysicalType::FIXED_LEN_BYTE_ARRAY, ConvertedType::DECIMAL);
        let flag = column(PhysicalType::BOOLEAN, ConvertedType::NONE);
        let stamp = column(PhysicalType::INT96, ConvertedType::NONE);
        for (created_by, number_is, unsigned_is, text_is, decimal_is, flag_is) in [
            ("parquet-mr version 1.7.0 (build abc)", true, false, false, false, true),
            ("parquet-mr version 1.5.0-cdh5.12.0-SNAPSHOT", true, false, false, false, true),
            ("parquet-mr", true, false, false, false, true),
            ("parquet-mr version 1.9.1 (build abc)", true, false, false, true, true),
            ("parquet-mr version 1.10.0 (build abc)", true, true, true, true, true),
            ("parquet-mr version 1.15.2", true, true, true, true, true),
            ("parquet-cpp version 1.2.9", true, false, false, true, true),
            ("parquet-cpp version 1.5.1-SNAPSHOT", true, true, true, true, true),
            ("parquet-cpp-arrow version 25.0.0", true, true, true, true, true),
            ("Parquet.Net version 4.25.0 (build x)", false, false, false, false, false),
            ("hyparquet", true, true, true, false, true),
            ("pg_strata version 0.1.0 (build dev)", true, true, true, true, true),
            ("", true, true, true, true, true),
        ] {
            let found = [&number, &unsigned, &text, &decimal, &flag].map(|of| believed(created_by, of)[0]);
            assert_eq!(found, [number_is, unsigned_is, text_is, decimal_is, flag_is], "{created_by}");
            assert!(!believed(created_by, &stamp)[0], "{created_by}");
        }
        for (created_by, nulls) in [
            ("parquet-cpp-arrow version 4.0.1", [false, true]),
            ("parquet-cpp-arrow version 6.0.0", [true, true]),
            ("parquet-cpp version 1.5.1-SNAPSHOT", [false, true]),
            ("Polars", [true, false]),
            ("Parquet.Net version 5.0.1", [false, false]),
            ("parquet-rs version 60.1.0", [true, true]),
        ] {
            assert_eq!(believed(created_by, &number)[1..], nulls, "{created_by}");
        }
    }

    #[test]
    fn counts_that_contradict() {
        let none = Doubts::default();
        assert_eq!(none.nulls(Some(9), 9, true), None);
        assert_eq!(none.nulls(Some(10), 9, false), None);
        assert_eq!(none.nulls(Some(8), 9, true), Some(8));
        assert_eq!(none.nulls(None, 9, false), None);
    }

    #[test]
    fn bounds_that_contradict() {
        let numbers = |values: [Option<i32>; 4]| Arc::new(Int32Array::from(values.to_vec())) as ArrayRef;
        let (mins, maxes) = in_order(
            numbers([Some(1), Some(3), None, Some(5)]),
            numbers([Some(2), Some(2), Some(0), Some(5)]),
        );
        assert_eq!(&mins, &numbers([Some(1), None, None, Some(5)]));
        assert_eq!(&maxes, &numbers([Some(2), None, Some(0), Some(5)]));
        let texts = |text| Arc::new(StringArray::from(vec![text])) as ArrayRef;
        assert!(in_order(texts("b"), texts("a")).0.is_null(0));
        assert!(in_order(texts("a"), texts("\u{10ffff}")).1.is_valid(0));
    }

    /// An index of pages of ten rows: whether each is all NULL, and how many NULLs are counted.
    fn index(pages: &[(bool, i64)]) -> ColumnIndexMetaData {
        let mut builder = ColumnIndexBuilder::new(PhysicalType::INT32);
        for &(is_null, nulls) in pages {
            let bound = if is_null { Vec::new() } else { vec![0; 4] };
            builder.append(is_null, bound.clone(), bound, nulls, None);
            builder.append_histograms(&None, &None);
        }
        builder.set_boundary_order(BoundaryOrder::UNORDERED);
        builder.build().unwrap()
    }

    #[test]
    fn indexes_that_contradict() {
        for (pages, required, optional) in [
            (&[(false, 0), (false, 0)][..], true, true),
            (&[(false, 3), (true, 10)], false, true),
            (&[(false, 0), (true, 0)], false, false),
            (&[(false, 10)], false, false),
            (&[(false, 11)], false, false),
            (&[(false, -1)], false, false),
        ] {
            let rows = vec![10; pages.len()];
            assert_eq!(is_consistent(&index(pages), &rows, true), required, "{pages:?}");
            assert_eq!(is_consistent(&index(pages), &rows, false), optional, "{pages:?}");
        }
    }
}
