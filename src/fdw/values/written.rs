//! Converts any array to text: scalars as PostgreSQL writes them, nested values as JSON.
//!
//! In JSON, numbers keep all their digits. Values for which JSON has no number (NaN, infinity) and all other
//! scalars are strings, and a map is an object with its keys' texts as keys. Times are in ISO 8601's form, in
//! UTC if they have a time zone; bytes are hexadecimal. Values may be outside the range of PostgreSQL's types.

use std::fmt::{Display, LowerExp, Write};
use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::*;

use super::declared::with_texts;
use super::iso8601::temporal;
use super::text::{LONGEST, TOO_LARGE};
use super::{Misfit, NO_MEMORY, UNEXPECTED, without_dictionary};
use crate::memory::reserve;
use crate::types::Reason;

/// Returns whether arrays of a type have a text. Structs with fields of the same name have none, as readers of
/// JSON keep one of them.
pub fn is_writable(data_type: &DataType) -> bool {
    use DataType as D;
    match data_type {
        D::List(item) | D::LargeList(item) | D::FixedSizeList(item, _) | D::Map(item, _) => {
            is_writable(item.data_type())
        }
        D::Dictionary(_, values) => is_writable(values),
        D::Struct(fields) => {
            let is_new = |at: usize| fields[..at].iter().all(|other| other.name() != fields[at].name());
            (0..fields.len()).all(|at| is_new(at) && is_writable(fields[at].data_type()))
        }
        D::Union(..) | D::RunEndEncoded(..) | D::ListView(_) | D::LargeListView(_) => false,
        _ => true,
    }
}

/// Returns the texts of an array's values or, for `json`, the JSON of each. `declared` is the type that the
/// file gives them.
pub fn written(array: &ArrayRef, declared: &DataType, json: bool) -> Result<ArrayRef, Misfit> {
    let array = with_texts(&without_dictionary(array)?, declared)?;
    let nulls = array.logical_nulls();
    let (mut texts, mut offsets) = (Vec::new(), vec![0]);
    let mut text = String::new();
    for row in 0..array.len() {
        text.clear();
        if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
            let done = match leaf(&array, row, false) {
                Some(leaf) if !json => leaf.map(|(value, _)| text.push_str(&value)),
                _ => write(&array, row, false, &mut text),
            };
            done.map_err(|reason| Misfit { row, reason })?;
        }
        let room = reserve(&mut texts, text.len());
        room.map_err(|_| Misfit { row, reason: Reason::Malformed(NO_MEMORY) })?;
        texts.extend_from_slice(text.as_bytes());
        offsets.push(texts.len() as i64);
    }
    let made = LargeStringArray::try_new(OffsetBuffer::new(offsets.into()), texts.into(), nulls);
    made.map(|texts| Arc::new(texts) as ArrayRef).map_err(|_| Misfit { row: 0, reason: UNEXPECTED })
}

pub const NULL_KEY: &str = "a key of a map is NULL";

type Written = Result<(), Reason>;

fn write(array: &ArrayRef, row: usize, uuid: bool, out: &mut String) -> Written {
    if array.is_null(row) || *array.data_type() == DataType::Null {
        out.push_str("null");
        return Ok(());
    }
    match array.data_type() {
        DataType::List(item) => write_list(&array.as_list::<i32>().value(row), is_uuid(item), out),
        DataType::LargeList(item) => write_list(&array.as_list::<i64>().value(row), is_uuid(item), out),
        DataType::FixedSizeList(item, _) => {
            write_list(&array.as_fixed_size_list().value(row), is_uuid(item), out)
        }
        DataType::Struct(fields) => write_struct(fields, array.as_struct(), row, out),
        DataType::Map(..) => write_map(&array.as_map().value(row), out),
        DataType::Dictionary(..) => {
            let value = without_dictionary(&array.slice(row, 1)).map_err(|misfit| misfit.reason)?;
            write(&value, 0, uuid, out)
        }
        _ => {
            let (value, is_json) = leaf(array, row, uuid).unwrap_or(Err(UNEXPECTED))?;
            if is_json {
                out.push_str(&value)
            } else {
                write_string(&value, out)
            }
            Ok(())
        }
    }
}

fn write_string(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

fn write_list(items: &ArrayRef, uuid: bool, out: &mut String) -> Written {
    out.push('[');
    for row in 0..items.len() {
        if row > 0 {
            out.push(',');
        }
        if out.len() > LONGEST {
            return Err(Reason::Malformed(TOO_LARGE));
        }
        write(items, row, uuid, out)?;
    }
    out.push(']');
    Ok(())
}

fn write_struct(fields: &Fields, of: &StructArray, row: usize, out: &mut String) -> Written {
    out.push('{');
    for (at, (field, values)) in fields.iter().zip(of.columns()).enumerate() {
        if at > 0 {
            out.push(',');
        }
        write_string(field.name(), out);
        out.push(':');
        write(values, row, is_uuid(field), out)?;
    }
    out.push('}');
    Ok(())
}

fn write_map(entries: &StructArray, out: &mut String) -> Written {
    let [keys, values] = entries.columns() else { return Err(UNEXPECTED) };
    let keys = written(keys, keys.data_type(), false).map_err(|misfit| misfit.reason)?;
    let keys = keys.as_string::<i64>();
    let fields = entries.fields();
    out.push('{');
    for row in 0..entries.len() {
        if row > 0 {
            out.push(',');
        }
        if keys.is_null(row) {
            return Err(Reason::Malformed(NULL_KEY));
        }
        write_string(keys.value(row), out);
        out.push(':');
        write(values, row, is_uuid(&fields[1]), out)?;
    }
    out.push('}');
    Ok(())
}

fn is_uuid(field: &Field) -> bool {
    field.extension_type_name() == Some("arrow.uuid")
}

/// Returns the text of a scalar, and whether that is JSON as it is; `None` for a nested value.
fn leaf(array: &ArrayRef, row: usize, uuid: bool) -> Option<Result<(String, bool), Reason>> {
    use DataType as D;
    let text = |text: String| Some(Ok((text, false)));
    let number = |text: String| Some(Ok((text, true)));
    match array.data_type() {
        D::Boolean => number(array.as_boolean().value(row).to_string()),
        D::Int8 => number(array.as_primitive::<Int8Type>().value(row).to_string()),
        D::Int16 => number(array.as_primitive::<Int16Type>().value(row).to_string()),
        D::Int32 => number(array.as_primitive::<Int32Type>().value(row).to_string()),
        D::Int64 => number(array.as_primitive::<Int64Type>().value(row).to_string()),
        D::UInt8 => number(array.as_primitive::<UInt8Type>().value(row).to_string()),
        D::UInt16 => number(array.as_primitive::<UInt16Type>().value(row).to_string()),
        D::UInt32 => number(array.as_primitive::<UInt32Type>().value(row).to_string()),
        D::UInt64 => number(array.as_primitive::<UInt64Type>().value(row).to_string()),
        D::Float16 => Some(Ok(float(array.as_primitive::<Float16Type>().value(row).to_f32()))),
        D::Float32 => Some(Ok(float(array.as_primitive::<Float32Type>().value(row)))),
        D::Float64 => Some(Ok(float(array.as_primitive::<Float64Type>().value(row)))),
        D::Decimal32(_, scale) => {
            number(decimal(array.as_primitive::<Decimal32Type>().value(row).to_string(), *scale))
        }
        D::Decimal64(_, scale) => {
            number(decimal(array.as_primitive::<Decimal64Type>().value(row).to_string(), *scale))
        }
        D::Decimal128(_, scale) => {
            number(decimal(array.as_primitive::<Decimal128Type>().value(row).to_string(), *scale))
        }
        D::Decimal256(_, scale) => {
            number(decimal(array.as_primitive::<Decimal256Type>().value(row).to_string(), *scale))
        }
        D::Utf8 => text(array.as_string::<i32>().value(row).to_owned()),
        D::LargeUtf8 => text(array.as_string::<i64>().value(row).to_owned()),
        D::Utf8View => text(array.as_string_view().value(row).to_owned()),
        D::Binary => text(hexadecimal(array.as_binary::<i32>().value(row))),
        D::LargeBinary => text(hexadecimal(array.as_binary::<i64>().value(row))),
        D::BinaryView => text(hexadecimal(array.as_binary_view().value(row))),
        D::FixedSizeBinary(16) if uuid => text(uuid_text(array.as_fixed_size_binary().value(row))),
        D::FixedSizeBinary(_) => text(hexadecimal(array.as_fixed_size_binary().value(row))),
        data_type if data_type.is_temporal() => Some(temporal(array, row).map(|text| (text, false))),
        _ => None,
    }
}

/// Returns the shortest text that stands for the value alone. JSON has no NaN and no infinity.
fn float<F: Display + LowerExp + Copy + Into<f64>>(value: F) -> (String, bool) {
    const PLAIN: std::ops::Range<f64> = 1e-5..1e15;
    let wide: f64 = value.into();
    if wide.is_nan() {
        ("NaN".into(), false)
    } else if wide.is_infinite() {
        (if wide > 0.0 { "Infinity" } else { "-Infinity" }.into(), false)
    } else if wide == 0.0 || PLAIN.contains(&wide.abs()) {
        (value.to_string(), true)
    } else {
        (format!("{value:e}"), true)
    }
}

/// Formats a multiple of 10^-scale with decimal digits.
fn decimal(unscaled: String, scale: i8) -> String {
    let (sign, digits) = match unscaled.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", &unscaled[..]),
    };
    let places = usize::from(scale.unsigned_abs());
    if scale > 0 {
        let digits = format!("{digits:0>width$}", width = places + 1);
        let (whole, fraction) = digits.split_at(digits.len() - places);
        return format!("{sign}{whole}.{fraction}");
    }
    let zeros = if digits == "0" { 0 } else { places };
    format!("{sign}{digits}{}", "0".repeat(zeros))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold("\\x".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn uuid_text(bytes: &[u8]) -> String {
    let mut text = hexadecimal(bytes).split_off(2);
    // The type is 16 bytes long.
    for at in [20, 16, 12, 8] {
        text.insert(at, '-');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(array: ArrayRef, json: bool) -> Vec<String> {
        assert!(is_writable(array.data_type()));
        let written = written(&array, array.data_type(), json).unwrap();
        written.as_string::<i64>().iter().map(|text| text.unwrap_or("NULL").to_owned()).collect()
    }

    #[test]
    fn numbers_keep_all_their_digits() {
        let ints: ArrayRef = Arc::new(Int64Array::from(vec![Some(i64::MIN), None, Some(9007199254740993)]));
        assert_eq!(texts(ints, true), ["-9223372036854775808", "NULL", "9007199254740993"]);
        let floats = vec![0.1, 1.0, -0.0, 1e300, 5e-324, f64::NAN, f64::NEG_INFINITY];
        let floats: ArrayRef = Arc::new(Float64Array::from(floats));
        assert_eq!(texts(floats.clone(), false), ["0.1", "1", "-0", "1e300", "5e-324", "NaN", "-Infinity"]);
        assert_eq!(texts(floats, true)[5..], ["\"NaN\"", "\"-Infinity\""]);
        let single: ArrayRef = Arc::new(Float32Array::from(vec![0.1]));
        assert_eq!(texts(single, true), ["0.1"]);
        let decimal = |scale| -> ArrayRef {
            let values = Decimal128Array::from(vec![-150, 7, 0]);
            Arc::new(values.with_precision_and_scale(5, scale).unwrap())
        };
        assert_eq!(texts(decimal(2), true), ["-1.50", "0.07", "0.00"]);
        assert_eq!(texts(decimal(5), true), ["-0.00150", "0.00007", "0.00000"]);
        assert_eq!(texts(decimal(-2), true), ["-15000", "700", "0"]);
    }

    #[test]
    fn times_of_any_range() {
        let dates: ArrayRef = Arc::new(Date32Array::from(vec![0, -1, 11016, -719_529, i32::MAX]));
        assert_eq!(
            texts(dates, false),
            ["1970-01-01", "1969-12-31", "2000-02-29", "0002-12-31 BC", "5881580-07-11"]
        );
        let nanos: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![-1, 1_500_000_000]));
        assert_eq!(texts(nanos, false), ["1969-12-31 23:59:59.999999999", "1970-01-01 00:00:01.5"]);
        let zoned: ArrayRef =
            Arc::new(TimestampSecondArray::from(vec![-62_135_596_801]).with_timezone("Europe/Prague"));
        assert_eq!(texts(zoned, true), ["\"0001-12-31 23:59:59+00 BC\""]);
        let time: ArrayRef = Arc::new(Time32MillisecondArray::from(vec![86_399_010]));
        assert_eq!(texts(time, false), ["23:59:59.01"]);
        let span: ArrayRef = Arc::new(DurationMillisecondArray::from(vec![-1_500]));
        assert_eq!(texts(span, false), ["P0M0DT-1.5S"]);
        let before: ArrayRef = Arc::new(Time64NanosecondArray::from(vec![-1]));
        assert!(written(&before, before.data_type(), false).is_err());
    }

    #[test]
    fn nested_values_are_json() {
        let strings: ArrayRef = Arc::new(StringArray::from(vec![Some("a\"\u{1}"), None, Some("é")]));
        assert_eq!(texts(strings.clone(), false), ["a\"\u{1}", "NULL", "é"]);
        let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![&b"\x01\xff"[..], b"", b"x"]));
        let fields = vec![
            (Arc::new(Field::new("s", DataType::Utf8, true)), strings),
            (Arc::new(Field::new("b", DataType::Binary, true)), bytes),
        ];
        let structs: ArrayRef = Arc::new(StructArray::from(fields));
        let expected = [r#"{"s":"a\"\u0001","b":"\\x01ff"}"#, r#"{"s":null,"b":"\\x"}"#];
        assert_eq!(texts(structs, false)[..2], expected);
        let mut lists = ListBuilder::new(ListBuilder::new(Int32Builder::new()));
        lists.values().values().append_value(1);
        lists.values().append(true);
        lists.values().append(false);
        lists.append(true);
        lists.append(false);
        assert_eq!(texts(Arc::new(lists.finish()), true), ["[[1],null]", "NULL"]);
        let mut maps = MapBuilder::new(None, Int32Builder::new(), StringBuilder::new());
        maps.keys().append_value(1);
        maps.values().append_value("x");
        maps.append(true).unwrap();
        assert_eq!(texts(Arc::new(maps.finish()), true), [r#"{"1":"x"}"#]);
        let twice = Field::new("a", DataType::Int32, true);
        assert!(!is_writable(&DataType::Struct(vec![twice.clone(), twice].into())));
    }
}
