//! The bounds in the record batches' metadata.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::tests::{Rows, field, rows, strings};
use super::tests::{assemble, messages, writer};
use super::*;
use crate::types::{Kind, Shape, Shapes, Values};

/// The metadata of each record batch of a column named "c".
fn stated(kind: Kind, shapes: &Shapes, batches: Vec<Rows>) -> Vec<Option<String>> {
    let fields = [field("c", kind, true)];
    let mut writer = writer(&fields, shapes, BufferCodec::None);
    let encode = |rows: &Rows| {
        // There are two pieces, so that bounds have to widen.
        let half = rows.len() / 2;
        writer.append(0, &rows.slice(0, half), &rows.arena).unwrap();
        writer.append(0, &rows.slice(half, rows.len() - half), &rows.arena).unwrap();
        writer.finish().unwrap()
    };
    let encoded = batches.iter().map(encode).collect();
    let file = assemble(&fields, shapes, encoded);
    let metadata = messages(&file).into_iter().map(|(message, _)| {
        let entries = message.custom_metadata().into_iter().flatten();
        let entries: BTreeMap<_, _> = entries.map(|kv| (kv.key().unwrap(), kv.value().unwrap())).collect();
        assert!(entries.len() <= 1);
        entries.get("min_max_stats.c").map(|value| value.to_string())
    });
    metadata.collect()
}

fn one(kind: Kind, values: Values) -> Option<String> {
    stated(kind, &Shapes::default(), vec![rows(values)]).remove(0)
}

fn text(values: &[&str]) -> Option<String> {
    stated(Kind::Text, &Shapes::default(), vec![strings(values)]).remove(0)
}

#[test]
fn integers_are_in_the_files_units() {
    let some = |text: &str| Some(text.to_string());
    assert_eq!(one(Kind::Int4, Values::I32(vec![3, -7, i32::MAX])), some("-7,2147483647"));
    assert_eq!(one(Kind::Int8, Values::I64(vec![i64::MIN, 0])), some("-9223372036854775808,0"));
    assert_eq!(one(Kind::Oid, Values::I32(vec![-1, 5])), some("5,4294967295"));
    assert_eq!(one(Kind::Bool, Values::Bool(vec![true, false])), some("0,1"));
    assert_eq!(one(Kind::Date, Values::I32(vec![10_957, -1])), some("-1,10957"));
    assert_eq!(one(Kind::Timestamp, Values::I64(vec![-5, 7])), some("-5,7"));
}

#[test]
fn decimals_have_their_scale() {
    let decimal = |precision, scale| Kind::Decimal { precision, scale };
    let some = |text: &str| Some(text.to_string());
    assert_eq!(one(decimal(9, 2), Values::I32(vec![-5, 12_345])), some("-0.05,123.45"));
    assert_eq!(one(decimal(18, 0), Values::I64(vec![-5, 12_345])), some("-5,12345"));
    let wide = [-(10i128.pow(38) - 1), 1].map(i128::to_be_bytes).to_vec();
    let nines = "9".repeat(29);
    assert_eq!(one(decimal(38, 9), Values::Fixed16(wide)), some(&format!("-{nines}.999999999,0.000000001")));
    let mut shapes = Shapes::new(1);
    shapes.merge(0, Shape::numeric(5, 3));
    let batch = rows(Values::I32(vec![1, 2000]));
    assert_eq!(stated(Kind::Numeric { shape_index: 0 }, &shapes, vec![batch]), [some("0.001,2.000")]);
}

#[test]
fn floats_read_back_as_they_were() {
    let numbers = [0.1, -1e300, f64::MIN_POSITIVE, 1.0 / 3.0, f64::INFINITY];
    let bounds = one(Kind::Float8, Values::F64(numbers.to_vec())).unwrap();
    assert_eq!(bounds, "-1e300,inf");
    // 7.038531e-26 is the shortest for this float, and as a double is nearer to the next one.
    let float = f32::from_bits(0x15ae_43fd);
    let bounds = one(Kind::Float4, Values::F32(vec![float, 0.1])).unwrap();
    let (min, max) = bounds.split_once(',').unwrap();
    assert_eq!((min.parse::<f64>().unwrap() as f32, max.parse::<f64>().unwrap() as f32), (float, 0.1));
    assert_eq!(one(Kind::Float8, Values::F64(vec![1.0, f64::NAN])), None);
    assert_eq!(one(Kind::Float8, Values::F64(vec![f64::NAN, 1.0])), None);
}

#[test]
fn cut_texts_stay_outside_the_values() {
    assert_eq!(text(&["b", "", "a"]).unwrap(), ",b");
    assert_eq!(text(&["b,c", "b,a"]).unwrap(), "b,b,c", "what comes before a comma is below it");
    let long = "é".repeat(20);
    let bounds = text(&[&long]).unwrap();
    let (min, max) = bounds.split_once(',').unwrap();
    assert_eq!(min, "é".repeat(15), "31 bytes end inside a letter");
    assert_eq!(max, format!("{}ê", "é".repeat(14)));
    assert!(min <= &long[..] && &long[..] < max && max.len() <= 31);
    let exactly = "x".repeat(31);
    assert_eq!(text(&[&exactly]).unwrap(), format!("{exactly},{exactly}"));
    assert_eq!(text(&["\u{10ffff}".repeat(9).as_str()]), None, "nothing of its length is above it");
}

proptest! {
    /// Strings of up to 15 bytes and longer ones take different paths, and zeros count in both.
    #[test]
    fn texts_are_bounded_by_the_least_and_the_greatest(
        values in prop::collection::vec("(aaaaaaaaaaaaa)?[\\x00a~]{0,4}", 1..20),
    ) {
        let found = text(&values.iter().map(|value| &value[..]).collect::<Vec<_>>());
        let expected = format!("{},{}", values.iter().min().unwrap(), values.iter().max().unwrap());
        prop_assert_eq!(found, Some(expected));
    }
}

#[test]
fn each_batch_has_its_own_bounds_and_nulls_have_none() {
    let batch = |values: [i32; 2]| rows(Values::I32(values.to_vec()));
    let batches =
        vec![batch([5, 9]), batch([0, 0]).with_nulls(|_| true), batch([7, 6]).with_nulls(|i| i == 0)];
    let found = stated(Kind::Int4, &Shapes::default(), batches);
    assert_eq!(found, [Some("5,9".into()), None, Some("6,6".into())]);
}

#[test]
fn kinds_without_an_order_in_both_worlds_have_none() {
    assert_eq!(one(Kind::Uuid, Values::Fixed16(vec![[1; 16], [2; 16]])), None);
    for kind in [Kind::Json, Kind::Bytea] {
        assert_eq!(stated(kind, &Shapes::default(), vec![strings(["1", "2"])]), [None]);
    }
}

#[test]
fn only_the_columns_asked_for_are_stated() {
    let fields = [field("a", Kind::Int4, false), field("n", Kind::Numeric { shape_index: 0 }, false)];
    let mut writer = BatchWriter::new(&fields, &Shapes::new(1), BufferCodec::None, &[true, false]).unwrap();
    writer.append(0, &rows(Values::I32(vec![1])).lane, &[]).unwrap();
    writer.append(1, &rows(Values::I32(vec![2])).lane, &[]).unwrap();
    let file = assemble(&fields, &Shapes::new(1), vec![writer.finish().unwrap()]);
    let (message, _) = messages(&file).remove(0);
    let keys: Vec<_> = message.custom_metadata().unwrap().iter().map(|kv| kv.key().unwrap()).collect();
    assert_eq!(keys, ["min_max_stats.a"]);
}
