//! Statistics: no value lies outside the bounds of its chunk or page, under the column's order.

use parquet::data_type::AsBytes;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::statistics::Statistics;
use proptest::prelude::*;

use super::stats::{byte_bounds, byte_bounds_of};
use super::tests::{Rows, check, columns, field, random, read_metadata, rows, strings, write_file};
use super::*;
use crate::types::{Field, Kind, Shapes, Values};

/// A value or bound in a form that compares as the column's order does.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
enum Key {
    Number(i128),
    Float(f64),
    Bytes(Vec<u8>),
}

fn int_key(field: &Field, v: i64) -> Key {
    Key::Number(if field.kind == Kind::Oid { i128::from(v as u32) } else { v.into() })
}

fn fixed_key(field: &Field, v: &[u8]) -> Key {
    match field.kind {
        Kind::Uuid => Key::Bytes(v.to_vec()),
        _ => Key::Number(i128::from_be_bytes(v.try_into().unwrap())),
    }
}

fn value_keys(field: &Field, rows: &Rows) -> Vec<Key> {
    match &rows.lane.values {
        Values::Bool(v) => v.iter().map(|&v| Key::Number(v.into())).collect(),
        Values::I32(v) => v.iter().map(|&v| int_key(field, v.into())).collect(),
        Values::I64(v) => v.iter().map(|&v| int_key(field, v)).collect(),
        Values::F32(v) => v.iter().map(|&v| Key::Float(v.into())).collect(),
        Values::F64(v) => v.iter().map(|&v| Key::Float(v)).collect(),
        Values::Fixed16(v) => v.iter().map(|v| fixed_key(field, v)).collect(),
        Values::Bytes(v) => v.iter().map(|c| Key::Bytes(c.of(&rows.arena).to_vec())).collect(),
    }
}

fn chunk_bounds(field: &Field, statistics: &Statistics) -> Option<(Key, Key)> {
    fn both<T>(min: Option<&T>, max: Option<&T>, key: impl Fn(&T) -> Key) -> Option<(Key, Key)> {
        Some((key(min?), key(max?)))
    }
    match statistics {
        Statistics::Boolean(s) => both(s.min_opt(), s.max_opt(), |&v| Key::Number(v.into())),
        Statistics::Int32(s) => both(s.min_opt(), s.max_opt(), |&v| int_key(field, v.into())),
        Statistics::Int64(s) => both(s.min_opt(), s.max_opt(), |&v| int_key(field, v)),
        Statistics::Float(s) => both(s.min_opt(), s.max_opt(), |&v| Key::Float(v.into())),
        Statistics::Double(s) => both(s.min_opt(), s.max_opt(), |&v| Key::Float(v)),
        Statistics::ByteArray(s) => both(s.min_opt(), s.max_opt(), |v| Key::Bytes(v.as_bytes().to_vec())),
        Statistics::FixedLenByteArray(s) => {
            both(s.min_opt(), s.max_opt(), |v| fixed_key(field, v.as_bytes()))
        }
        Statistics::Int96(_) => unreachable!(),
    }
}

fn page_bounds(field: &Field, index: &ColumnIndexMetaData, page: usize) -> Option<(Key, Key)> {
    macro_rules! bounds {
        ($i:expr, $key:expr) => {
            Some(($key($i.min_value(page)?), $key($i.max_value(page)?)))
        };
    }
    match index {
        ColumnIndexMetaData::BOOLEAN(i) => bounds!(i, |&v: &bool| Key::Number(v.into())),
        ColumnIndexMetaData::INT32(i) => bounds!(i, |&v: &i32| int_key(field, v.into())),
        ColumnIndexMetaData::INT64(i) => bounds!(i, |&v: &i64| int_key(field, v)),
        ColumnIndexMetaData::FLOAT(i) => bounds!(i, |&v: &f32| Key::Float(v.into())),
        ColumnIndexMetaData::DOUBLE(i) => bounds!(i, |&v: &f64| Key::Float(v)),
        ColumnIndexMetaData::BYTE_ARRAY(i) => bounds!(i, |v: &[u8]| Key::Bytes(v.to_vec())),
        ColumnIndexMetaData::FIXED_LEN_BYTE_ARRAY(i) => bounds!(i, |v: &[u8]| fixed_key(field, v)),
        _ => unreachable!(),
    }
}

fn is_nan(key: &Key) -> bool {
    matches!(key, Key::Float(f) if f.is_nan())
}

/// Checks the bounds against the values: beside a NaN there are none.
fn contains(bounds: &Option<(Key, Key)>, values: &[Key], what: &str) {
    match bounds {
        Some((min, max)) => {
            assert!(!values.iter().any(is_nan) && !is_nan(min) && !is_nan(max) && min <= max, "{what}");
            assert!(values.iter().all(|v| min <= v && v <= max), "{what}");
        }
        None => assert!(values.is_empty() || values.iter().any(is_nan), "{what} has values and no bounds"),
    }
}

fn check_bounds(fields: &[Field], groups: &[Vec<Rows>], metadata: &ParquetMetaData) {
    for (group, columns) in groups.iter().enumerate() {
        for (index, (field, rows)) in fields.iter().zip(columns).enumerate() {
            let values = value_keys(field, rows);
            let chunk = metadata.row_group(group).column(index);
            let statistics = chunk.statistics().unwrap();
            let nulls = rows.len() - values.len();
            assert_eq!(statistics.null_count_opt(), Some(nulls as u64));
            let bounds = chunk_bounds(field, statistics);
            contains(&bounds, &values, &field.name);
            if let Some((min, max)) = &bounds {
                let zero = *min == Key::Float(0.0) || *max == Key::Float(0.0);
                assert!(!statistics.min_is_exact() || values.contains(min));
                assert!(!statistics.max_is_exact() || values.contains(max));
                let short = values.iter().all(|v| !matches!(v, Key::Bytes(b) if b.len() > 64));
                assert!(!short || zero || (statistics.min_is_exact() && statistics.max_is_exact()));
                for bound in [min, max] {
                    if let (Key::Bytes(b), Kind::Text) = (bound, &field.kind) {
                        assert!(std::str::from_utf8(b).is_ok());
                    }
                }
            }
            check_pages(field, rows, &values, metadata, group, index);
        }
    }
}

fn check_pages(
    field: &Field,
    rows: &Rows,
    values: &[Key],
    metadata: &ParquetMetaData,
    group: usize,
    column: usize,
) {
    let indexes = metadata.page_index_for_row_group(group);
    let locations = indexes.page_locations(column).unwrap();
    let Some(index) = indexes.column_index(column) else {
        assert!(values.iter().any(is_nan), "{} has no column index", field.name);
        return;
    };
    assert_eq!(index.num_pages() as usize, locations.len());
    let mut at = 0;
    let mut all = Vec::new();
    for (page, location) in locations.iter().enumerate() {
        let start = location.first_row_index as usize;
        let end = locations.get(page + 1).map_or(rows.len(), |l| l.first_row_index as usize);
        let count = rows.slice(start, end - start).values.len();
        let bounds = page_bounds(field, index, page);
        contains(&bounds, &values[at..at + count], &field.name);
        assert_eq!(index.null_count(page), Some((end - start - count) as i64));
        assert_eq!(index.is_null_page(page), count == 0);
        all.extend(bounds);
        at += count;
    }
    use parquet::basic::BoundaryOrder::*;
    match index.get_boundary_order().unwrap() {
        ASCENDING => assert!(all.windows(2).all(|w| w[0].0 <= w[1].0 && w[0].1 <= w[1].1)),
        DESCENDING => assert!(all.windows(2).all(|w| w[0].0 >= w[1].0 && w[0].1 >= w[1].1)),
        UNORDERED => {}
    }
}

fn check_file(fields: &[Field], groups: Vec<Vec<Rows>>) -> ParquetMetaData {
    let file = check(fields, &Shapes::default(), Codec::Zstd(1), &groups, 6000);
    let metadata = read_metadata(&file);
    check_bounds(fields, &groups, &metadata);
    metadata
}

#[test]
fn bounds_hold_for_every_kind() {
    for nulls in [false, true] {
        let (fields, first) = columns(45_000, nulls);
        let (_, second) = columns(100, nulls);
        check_file(&fields, vec![first, second]);
    }
}

#[test]
fn nothing_bounds_nan() {
    let fields = [field("f", Kind::Float8, true), field("g", Kind::Float4, false)];
    let n = 50_000;
    let some = rows(Values::F64((0..n).map(|i| if i % 3 == 0 { f64::NAN } else { i as f64 }).collect()));
    // The middle page has nothing else.
    let middle = rows(Values::F32((0..n).map(|i| if i / 20_000 == 1 { f32::NAN } else { 0.0 }).collect()));
    let no_nan = vec![rows(Values::F64(vec![1.0, 2.0])), rows(Values::F32(vec![-1.0, f32::INFINITY]))];
    let all_nan = vec![rows(Values::F64(vec![f64::NAN; 9])), rows(Values::F32(vec![f32::NAN; 9]))];
    let metadata = check_file(&fields, vec![vec![some.with_nulls(|i| i % 7 == 0), middle], no_nan, all_nan]);
    let orders = metadata.file_metadata().column_orders().unwrap();
    assert_eq!(orders[0], parquet::basic::ColumnOrder::TYPE_DEFINED_ORDER(parquet::basic::SortOrder::SIGNED));
    let nans = |group: usize, column: usize| {
        let statistics = metadata.row_group(group).column(column).statistics().unwrap();
        assert_eq!(statistics.min_bytes_opt().is_some(), group == 1);
        assert_eq!(statistics.max_bytes_opt().is_some(), group == 1);
        assert_eq!(metadata.page_index_for_row_group(group).column_index(column).is_some(), group == 1);
        statistics.nan_count_opt().unwrap()
    };
    let not_null = (0..n).filter(|i| i % 3 == 0 && i % 7 != 0).count() as u64;
    assert_eq!([nans(0, 0), nans(1, 0), nans(2, 0)], [not_null, 0, 9]);
    assert_eq!([nans(0, 1), nans(1, 1), nans(2, 1)], [20_000, 0, 9]);
}

#[test]
fn zero_bounds_have_the_outer_sign() {
    let fields = [field("f", Kind::Float8, true)];
    let metadata = check_file(&fields, vec![vec![rows(Values::F64(vec![0.0]))]]);
    let Some(Statistics::Double(s)) = metadata.row_group(0).column(0).statistics() else { panic!() };
    assert!(s.min_opt().unwrap().is_sign_negative() && s.max_opt().unwrap().is_sign_positive());
}

#[test]
fn long_strings_have_short_bounds() {
    let tail = |c: &str| c.repeat(40);
    let texts = [tail("ab"), tail("é€"), tail("\u{10ffff}"), tail("\u{d7ff}"), "short".into()];
    for text in texts {
        let fields = [field("t", Kind::Text, true), field("b", Kind::Bytea, true)];
        let column = || strings([text.as_str(), text.as_str()]);
        let metadata = check_file(&fields, vec![vec![column(), column()]]);
        let statistics = metadata.row_group(0).column(0).statistics().unwrap();
        assert!(statistics.min_bytes_opt().unwrap().len() <= 64);
        assert_eq!(statistics.min_is_exact(), text == "short");
    }
}

/// A long string that no short one is above is no bound, and its chunk then has none.
#[test]
fn no_bound_is_of_any_length() {
    let fields = [field("b", Kind::Bytea, true)];
    let values =
        |long: usize| strings((0..PAGE_ROWS + 1).map(|i| if i == 7 { vec![0xff; long] } else { vec![1] }));
    let whole = check_file(&fields, vec![vec![values(4096)]]);
    let statistics = whole.row_group(0).column(0).statistics().unwrap();
    assert_eq!(statistics.max_bytes_opt().map(<[u8]>::len), Some(4096));
    assert!(whole.page_index_for_row_group(0).column_index(0).is_some());
    for long in [4097, 5 << 20] {
        let groups = [vec![values(long)]];
        let none = read_metadata(&write_file(&fields, &Shapes::default(), Codec::None, &groups, 9000));
        let statistics = none.row_group(0).column(0).statistics().unwrap();
        assert_eq!((statistics.min_bytes_opt(), statistics.max_bytes_opt()), (None, None));
        assert_eq!(statistics.null_count_opt(), Some(0));
        assert!(none.page_index_for_row_group(0).column_index(0).is_none());
    }
}

#[test]
fn null_pages_are_marked() {
    let fields = [field("a", Kind::Int4, true), field("t", Kind::Text, true)];
    let numbers = rows(Values::I32((0..70_000).map(|i| i / 9).collect()));
    let words = strings((0..70_000).map(|i| format!("{}", i % 5)));
    let null = |i: usize| (20_000..40_000).contains(&i);
    check_file(&fields, vec![vec![numbers.with_nulls(null), words.with_nulls(null)]]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn bounds_hold_for_any_strings(
        texts in prop::collection::vec("[a\u{7f}é€\u{d7ff}\u{10ffff}]{0,70}", 1..40),
        blobs in prop::collection::vec(prop::collection::vec(prop_oneof![Just(0u8), Just(0xff), any::<u8>()], 0..90), 1..40),
    ) {
        let n = texts.len().min(blobs.len());
        let fields = [field("t", Kind::Text, false), field("b", Kind::Bytea, false)];
        check_file(&fields, vec![vec![strings(&texts[..n]), strings(&blobs[..n])]]);
    }

    #[test]
    fn bounds_hold_for_any_numbers(seed in any::<u64>(), shift in 0u32..64, n in 1u64..300) {
        let number = |i: u64| random(seed ^ i) as i64 >> shift;
        let fields = [
            field("oid", Kind::Oid, false), field("i8", Kind::Int8, false),
            field("f4", Kind::Float4, false), field("d", Kind::Decimal { precision: 38, scale: 0 }, false),
            field("u", Kind::Uuid, false),
        ];
        let columns = vec![
            rows(Values::I32((0..n).map(|i| number(i) as i32).collect())),
            rows(Values::I64((0..n).map(number).collect())),
            rows(Values::F32((0..n).map(|i| f32::from_bits(number(i) as u32)).collect())),
            rows(Values::Fixed16((0..n).map(|i| i128::from(number(i)).to_be_bytes()).collect())),
            rows(Values::Fixed16((0..n).map(|i| (u128::from(random(seed ^ i)) << 64).to_be_bytes()).collect())),
        ];
        check_file(&fields, vec![columns]);
    }
}

/// The first 72 bytes of a value give the bound of the whole value, or none.
#[test]
fn bounds_from_beginnings() {
    let values: [Vec<u8>; 8] = [
        b"".to_vec(),
        vec![b'z'; 64],
        vec![b'z'; 65],
        vec![b'z'; 300],
        "ä".repeat(50).into_bytes(),
        format!("x{}", "ä".repeat(50)).into_bytes(),
        [vec![0xff; 71], vec![0; 9]].concat(),
        "\u{10ffff}".repeat(40).into_bytes(),
    ];
    for (number, value) in values.iter().enumerate() {
        for utf8 in [true, false] {
            let beginning = Beginning { first: &value[..value.len().min(72)], len: value.len() };
            let found = byte_bounds_of(beginning, beginning, utf8);
            let nothing_is_above = number == 6 || number == 7 && utf8;
            assert_eq!(found.is_none(), nothing_is_above, "value {number}");
            assert!(
                found.is_none_or(|found| Some(found) == byte_bounds(value, value, utf8)),
                "value {number}"
            );
        }
    }
    let short = Beginning { first: &[b'a'; 20], len: 30 };
    assert_eq!(byte_bounds_of(short, short, true), None);
}
