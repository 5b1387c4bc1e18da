use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::*;

use super::*;
use crate::wire::numeric::{HeapNumeric, Numeric};

fn converted(array: ArrayRef, target: Target) -> Result<Words, Misfit> {
    assert!(fits(array.data_type(), &target), "{} as {target:?}", array.data_type());
    let mut out = Words::default();
    convert(&array, &target, &mut out)?;
    assert_eq!(out.words.len(), array.len());
    Ok(out)
}

fn words(array: ArrayRef, target: Target) -> Vec<Option<i64>> {
    let out = converted(array, target).unwrap();
    out.words.iter().zip(&out.nulls).map(|(&word, &null)| (!null).then_some(word as i64)).collect()
}

/// Returns the payload of the varlena that a word points to.
fn payload(word: u64) -> &'static [u8] {
    // SAFETY: the value was just converted, and its column still exists.
    unsafe {
        let at = word as *const u8;
        let size = at.cast::<u32>().read() >> 2;
        std::slice::from_raw_parts(at.add(4), size as usize - 4)
    }
}

#[test]
fn integers_keep_their_sign_and_refuse_what_is_too_large() {
    let array: ArrayRef = Arc::new(Int64Array::from(vec![Some(-1), None, Some(i64::from(i32::MAX))]));
    assert_eq!(words(array.clone(), Target::Int4), [Some(-1), None, Some(2147483647)]);
    let misfit = converted(array, Target::Int2).err().unwrap();
    assert_eq!(misfit, Misfit { row: 2, reason: Reason::OutOfRange });
    let unsigned: ArrayRef = Arc::new(UInt32Array::from(vec![u32::MAX]));
    assert_eq!(words(unsigned.clone(), Target::Oid), [Some(4294967295)]);
    assert!(converted(unsigned, Target::Int4).is_err());
}

#[test]
fn what_lies_under_a_null_is_not_looked_at() {
    let values = Int64Array::new(vec![1, i64::MAX].into(), Some(vec![true, false].into()));
    assert_eq!(words(Arc::new(values), Target::Int2), [Some(1), None]);
}

#[test]
fn dates_and_times_are_moved_and_checked() {
    let date = |days: i32| -> ArrayRef { Arc::new(Date32Array::from(vec![days])) };
    assert_eq!(words(date(0), Target::Date), [Some(-10957)]);
    for days in [i32::MIN, i32::MAX, -2451545 + 10957 - 1] {
        assert!(converted(date(days), Target::Date).is_err(), "{days}");
    }
    let nanos: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![946_684_800_000_001_000]));
    assert_eq!(words(nanos, Target::Timestamp(6)), [Some(1)]);
    let odd: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![1]));
    assert!(converted(odd, Target::Timestamp(6)).is_err());
    // 294276-12-31, whose microseconds since 1970 do not fit.
    let last: ArrayRef = Arc::new(TimestampSecondArray::from(vec![9_224_318_015_999]));
    assert_eq!(words(last, Target::Timestamp(6)), [Some(9_223_371_331_199_000_000)]);
    let past: ArrayRef = Arc::new(TimestampSecondArray::from(vec![9_224_318_016_000]));
    assert!(converted(past, Target::Timestamp(6)).is_err());
    for end in [i64::MIN, i64::MAX] {
        let millis: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![end]));
        assert_eq!(converted(millis, Target::Timestamp(6)).err().unwrap().reason, Reason::OutOfRange);
    }
    let coarse: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![946_684_800_120]));
    assert_eq!(words(coarse.clone(), Target::Timestamp(2)), [Some(120_000)]);
    assert!(converted(coarse, Target::Timestamp(1)).is_err());
    let time: ArrayRef = Arc::new(Time32SecondArray::from(vec![86_400]));
    assert_eq!(words(time, Target::Time(6)), [Some(86_400_000_000)]);
    let late: ArrayRef = Arc::new(Time32SecondArray::from(vec![86_401]));
    assert!(converted(late, Target::Time(6)).is_err());
}

/// A column of 12 bytes, like INT96 and INTERVAL.
fn raw(values: &[[u32; 3]]) -> ArrayRef {
    let bytes = values.iter().map(|parts| parts.map(u32::to_le_bytes).concat());
    Arc::new(FixedSizeBinaryArray::try_from_iter(bytes).unwrap())
}

fn raw_values(array: ArrayRef, target: Target) -> Result<Words, Misfit> {
    let mut out = Words::default();
    convert(&array, &target, &mut out).map(|()| out)
}

#[test]
fn int96_is_a_day_and_its_nanoseconds() {
    let at = |nanos: i64, day: i32, digits| {
        let parts = [nanos as u32, (nanos >> 32) as u32, day as u32];
        raw_values(raw(&[parts]), Target::Timestamp(digits)).map(|out| out.words[0] as i64)
    };
    const OF_2000: i32 = 2_451_545;
    const DAY: i64 = 86_400_000_000;
    let last_day = (TIMESTAMP_END / DAY) as i32 - 1;
    for (nanos, day, micros) in [
        (0, OF_2000, 0),
        (1000, OF_2000, 1),
        (-1000, OF_2000, -1),
        (DAY * 1000 - 1000, OF_2000 - 1, -1),
        (0, 0, -i64::from(OF_2000) * DAY),
        (DAY * 1000 - 1000, OF_2000 + last_day, TIMESTAMP_END - 1),
    ] {
        assert_eq!(at(nanos, day, 6), Ok(micros));
    }
    for (nanos, day) in [
        (-1000, 0),
        (0, -1),
        (0, OF_2000 + last_day + 1),
        (0, i32::MAX),
        (0, i32::MIN),
        (i64::MAX - 807, i32::MAX),
    ] {
        assert_eq!(at(nanos, day, 6).unwrap_err().reason, Reason::OutOfRange);
    }
    assert!(matches!(at(1, OF_2000, 6).unwrap_err().reason, Reason::Malformed(_)));
    assert_eq!((at(120_000_000, OF_2000, 2), at(120_000_000, OF_2000, 1).is_err()), (Ok(120_000), true));
}

/// Microseconds from 2000 to 294277-01-01.
const TIMESTAMP_END: i64 = 9_223_371_331_200_000_000;

#[test]
fn intervals_keep_every_part() {
    let of = |array: ArrayRef| {
        raw_values(array, Target::Interval).map(|out| {
            // SAFETY: the interval was just converted, and its column still exists.
            let parts = unsafe { std::slice::from_raw_parts(out.words[0] as *const u32, 4) };
            (i64::from(parts[0]) | i64::from(parts[1] as i32) << 32, parts[2] as i32, parts[3] as i32)
        })
    };
    assert_eq!(of(raw(&[[14, 3, u32::MAX]])), Ok((4_294_967_295_000, 3, 14)));
    let most = i32::MAX as u32;
    assert_eq!(of(raw(&[[most, most, 0]])), Ok((0, i32::MAX, i32::MAX)));
    for beyond in [[most + 1, 0, 0], [0, most + 1, 0]] {
        assert_eq!(of(raw(&[beyond])).unwrap_err(), Misfit { row: 0, reason: Reason::OutOfRange });
    }
    assert_eq!(of(Arc::new(IntervalYearMonthArray::from(vec![-13]))), Ok((0, 0, -13)));
    let value = IntervalDayTime::new(i32::MIN, i32::MIN);
    let day_time: ArrayRef = Arc::new(IntervalDayTimeArray::from(vec![value]));
    assert_eq!(of(day_time), Ok((i64::from(i32::MIN) * 1000, i32::MIN, 0)));
    let nanos = |nanos| -> ArrayRef {
        Arc::new(IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::new(i32::MIN, -7, nanos)]))
    };
    assert_eq!(of(nanos(i64::MIN + 808)), Ok((-9_223_372_036_854_775, -7, i32::MIN)));
    assert!(of(nanos(1)).is_err());
}

#[test]
fn a_zone_has_a_name() {
    let stamp = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Second, zone.map(Into::into));
    for (zone, zoned) in [(None, false), (Some(""), false), (Some("UTC"), true)] {
        assert_eq!(fits(&stamp(zone), &Target::TimestampTz(6)), zoned);
        assert_eq!(fits(&stamp(zone), &Target::Timestamp(6)), !zoned);
    }
}

/// Reads the value by the wire module, which has its own tests: unscaled at `scale`, and its image.
fn numeric(word: u64, scale: u8) -> i128 {
    let Numeric::Finite(number) = HeapNumeric::read(payload(word)).unwrap() else { panic!("not finite") };
    assert_eq!(number.dscale(), u16::from(scale));
    number.to_i128_at(scale).unwrap()
}

#[test]
fn decimals_of_every_length_and_scale() {
    let most = 10_i128.pow(38) - 1;
    let mut values = vec![0, most, -most, 10_000, 100_000_000];
    for digits in 0..38 {
        let power = 10_i128.pow(digits);
        values.extend([power, -power, power * 3 + 7, power - 1, 98_765_432_109_876_543 % power.max(1)]);
    }
    for scale in 0..=38_u8 {
        let array =
            Decimal128Array::from(values.clone()).with_data_type(DataType::Decimal128(38, scale as i8));
        let out = converted(Arc::new(array), Target::Numeric(None)).unwrap();
        for (&value, &word) in values.iter().zip(&out.words) {
            let image = payload(word);
            assert_eq!(numeric(word, scale), value, "{value} at scale {scale}: {image:?}");
            // PostgreSQL stores no group of zeros at either end.
            let digits = &image[if image[1] & 0x80 != 0 { 2 } else { 4 }..];
            assert!(digits.is_empty() || digits[..2] != [0, 0] && digits[digits.len() - 2..] != [0, 0]);
        }
    }
}

#[test]
fn wide_decimals_are_the_narrow_ones() {
    let values = [0_i128, 1, -1, i128::MAX, i128::MIN, 12_345_000_000];
    for scale in [-5_i8, 0, 3, 20, 76] {
        let wide = values.map(arrow::datatypes::i256::from_i128).to_vec();
        let wide = Decimal256Array::from(wide).with_data_type(DataType::Decimal256(76, scale));
        let wide = converted(Arc::new(wide), Target::Numeric(None)).unwrap();
        if scale > 38 {
            continue;
        }
        let narrow = Decimal128Array::from(values.to_vec()).with_data_type(DataType::Decimal128(38, scale));
        let narrow = converted(Arc::new(narrow), Target::Numeric(None)).unwrap();
        for (&a, &b) in wide.words.iter().zip(&narrow.words) {
            assert_eq!(payload(a), payload(b));
        }
    }
}

#[test]
fn a_declared_numeric_takes_what_it_holds() {
    let array = |value: i128| -> ArrayRef {
        Arc::new(Decimal128Array::from(vec![value]).with_data_type(DataType::Decimal128(20, 3)))
    };
    let target = |precision, scale| Target::Numeric(Some(NumericLimit { precision, scale }));
    assert_eq!(numeric(converted(array(99_990), target(4, 2)).unwrap().words[0], 2), 9999);
    assert!(converted(array(99_995), target(4, 2)).is_err());
    assert!(converted(array(100_000), target(4, 2)).is_err());
    assert_eq!(numeric(converted(array(1_200_000), target(2, -2)).unwrap().words[0], 0), 1200);
    assert!(converted(array(1_250_000), target(2, -2)).is_err());
}

#[test]
fn texts_are_checked_and_padded() {
    let text = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![Some(text), None])) };
    let one = |array: ArrayRef, target: Target| {
        converted(array, target).map(|out| String::from_utf8(payload(out.words[0]).to_vec()).unwrap())
    };
    assert_eq!(one(text("漢字"), Target::Bpchar(Some(3))).unwrap(), "漢字 ");
    assert_eq!(one(text("漢字  "), Target::Bpchar(Some(3))).unwrap(), "漢字 ");
    assert_eq!(one(text("漢字"), Target::Text(Some(2))).unwrap(), "漢字");
    assert!(one(text("漢字 "), Target::Text(Some(2))).is_err());
    assert!(one(text("a\0"), Target::Text(None)).is_err());
    let invalid: ArrayRef = Arc::new(BinaryArray::from(vec![&b"\xff"[..]]));
    assert!(one(invalid.clone(), Target::Text(None)).is_err());
    assert_eq!(payload(converted(invalid, Target::Bytea).unwrap().words[0]), b"\xff");
}

/// Of every length near a chunk that is copied at once, all plain or one that is looked at by itself, whole or sliced.
#[test]
fn texts_are_those_of_the_array() {
    let texts: Vec<Option<String>> = (0..90)
        .map(|row| {
            (row % 7 != 3).then(|| (0..row % 40).map(|at| char::from(b'a' + (row + at) as u8 % 26)).collect())
        })
        .collect();
    let other = [Some("é".repeat(3))];
    for texts in [texts.clone(), [&texts[..50], &other, &texts[50..]].concat()] {
        let small: ArrayRef = Arc::new(StringArray::from(texts.clone()));
        let large: ArrayRef = Arc::new(LargeStringArray::from(texts.clone()));
        for array in [small, large] {
            for (start, count) in [(0, texts.len()), (5, 60), (texts.len() - 2, 2), (4, 0)] {
                for target in [Target::Text(None), Target::Text(Some(39))] {
                    let out = converted(array.slice(start, count), target).unwrap();
                    for (at, text) in texts[start..start + count].iter().enumerate() {
                        assert_eq!(out.nulls[at], text.is_none());
                        let found = (!out.nulls[at]).then(|| payload(out.words[at]));
                        assert_eq!(found, text.as_deref().map(str::as_bytes));
                    }
                }
                let longest =
                    texts[start..start + count].iter().flatten().map(|text| text.chars().count()).max();
                let misfit = converted(array.slice(start, count), Target::Text(Some(38))).err();
                assert_eq!(misfit.is_some(), longest > Some(38));
            }
        }
    }
}

#[test]
fn dictionaries_are_seen_through() {
    let keys = Int8Array::from(vec![Some(1), None, Some(0)]);
    let dictionary = DictionaryArray::new(keys, Arc::new(Int32Array::from(vec![7, 8])));
    assert_eq!(words(Arc::new(dictionary), Target::Int8), [Some(8), None, Some(7)]);
}

#[test]
fn floats_do_not_lose_a_bit() {
    let doubles: ArrayRef = Arc::new(Float64Array::from(vec![0.5, f64::NAN, f64::INFINITY]));
    assert_eq!(words(doubles, Target::Float4)[0], Some(i64::from(0.5_f32.to_bits())));
    let fine: ArrayRef = Arc::new(Float64Array::from(vec![0.1]));
    assert!(converted(fine, Target::Float4).is_err());
}
