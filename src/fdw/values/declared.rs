//! Converts Parquet's INTERVAL and INT96, which are read as their bytes (see `raw`), to the texts of their
//! values, at any depth of an array.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, LargeStringArray, make_array};
use arrow::datatypes::{DataType, Field, FieldRef};

use super::iso8601::{interval, timestamp};
use super::{Misfit, UNEXPECTED};
use crate::fdw::raw;

/// Returns the array with texts in place of bytes that the file declares to be times or intervals.
pub fn with_texts(array: &ArrayRef, declared: &DataType) -> Result<ArrayRef, Misfit> {
    use DataType as D;
    if array.data_type() == declared {
        return Ok(array.clone());
    }
    let fields: Vec<&FieldRef> = match (array.data_type(), declared) {
        (D::FixedSizeBinary(raw::WIDTH), D::Timestamp(..)) => return texts(array, int96_text),
        (D::FixedSizeBinary(raw::WIDTH), D::Interval(_)) => return texts(array, interval_text),
        (D::List(_), D::List(field)) | (D::LargeList(_), D::LargeList(field)) => vec![field],
        (D::FixedSizeList(..), D::FixedSizeList(field, _)) | (D::Map(..), D::Map(field, _)) => vec![field],
        (D::Struct(_), D::Struct(fields)) => fields.iter().collect(),
        _ => return Ok(array.clone()),
    };
    let data = array.to_data();
    let mut children = Vec::new();
    for (child, field) in data.child_data().iter().zip(&fields) {
        children.push(with_texts(&make_array(child.clone()), field.data_type())?);
    }
    let mut of_children = fields
        .iter()
        .zip(&children)
        .map(|(field, child)| Arc::new(Field::clone(field).with_data_type(child.data_type().clone())));
    let data_type = match array.data_type() {
        D::Struct(_) => D::Struct(of_children.collect()),
        parent => with_child(parent, of_children.next().ok_or(Misfit { row: 0, reason: UNEXPECTED })?),
    };
    let children = children.iter().map(|child| child.to_data()).collect();
    let rebuilt = data.into_builder().data_type(data_type).child_data(children).build();
    rebuilt.map(make_array).map_err(|_| Misfit { row: 0, reason: UNEXPECTED })
}

fn with_child(parent: &DataType, child: FieldRef) -> DataType {
    match parent {
        DataType::LargeList(_) => DataType::LargeList(child),
        DataType::FixedSizeList(_, size) => DataType::FixedSizeList(child, *size),
        DataType::Map(_, sorted) => DataType::Map(child, *sorted),
        _ => DataType::List(child),
    }
}

fn texts(array: &ArrayRef, text: fn([u32; 3]) -> String) -> Result<ArrayRef, Misfit> {
    let parts = |bytes: &[u8]| {
        let part =
            |at: usize| bytes[at..at + 4].iter().rev().fold(0, |value, &byte| value << 8 | u32::from(byte));
        [part(0), part(4), part(8)]
    };
    let values = array.as_fixed_size_binary().iter();
    Ok(Arc::new(LargeStringArray::from_iter(values.map(|value| value.map(|bytes| text(parts(bytes)))))))
}

/// Formats nanoseconds of a day and the Julian day.
fn int96_text([low, high, day]: [u32; 3]) -> String {
    const JULIAN_1970: i64 = 2_440_588;
    const DAY: i128 = 86_400_000_000_000;
    let nanos = (i64::from(high as i32) << 32) | i64::from(low);
    timestamp(i128::from(i64::from(day as i32) - JULIAN_1970) * DAY + i128::from(nanos), "")
}

/// Formats months, days and milliseconds.
fn interval_text([months, days, millis]: [u32; 3]) -> String {
    interval(months.into(), days.into(), i128::from(millis) * 1_000_000)
}

#[cfg(test)]
mod tests {
    use arrow::array::{FixedSizeBinaryArray, ListArray, StructArray};
    use arrow::buffer::{NullBuffer, OffsetBuffer};
    use arrow::datatypes::{IntervalUnit, TimeUnit};

    use super::super::written;
    use super::*;

    fn raw(parts: [u32; 3]) -> Vec<u8> {
        parts.iter().flat_map(|part| part.to_le_bytes()).collect()
    }

    #[test]
    fn bytes_are_told_as_what_the_file_declares_them_to_be() {
        let spans = [Some(raw([14, 3, u32::MAX])), None];
        let spans =
            FixedSizeBinaryArray::try_from_sparse_iter_with_size(spans.into_iter(), raw::WIDTH).unwrap();
        // 2000-01-01 is day 2,451,545.
        let times = [raw([1_500, 0, 2_451_545]), raw([0, 0, 5_373_484])];
        let times = FixedSizeBinaryArray::try_from_iter(times.into_iter()).unwrap();
        let bytes = DataType::FixedSizeBinary(raw::WIDTH);
        let child = |name, data_type: &DataType| Arc::new(Field::new(name, data_type.clone(), true));
        let of =
            |span: &DataType, time: &DataType| -> Vec<FieldRef> { vec![child("i", span), child("t", time)] };
        let columns: Vec<ArrayRef> = vec![Arc::new(spans), Arc::new(times)];
        let rows = StructArray::try_new(of(&bytes, &bytes).into(), columns, None).unwrap();
        let item =
            |fields: Vec<FieldRef>| Arc::new(Field::new("item", DataType::Struct(fields.into()), true));
        let offsets = OffsetBuffer::from_lengths([2, 0]);
        let valid = Some(NullBuffer::from(vec![true, false]));
        let list = ListArray::try_new(item(of(&bytes, &bytes)), offsets, Arc::new(rows), valid).unwrap();
        let (span, time) =
            (DataType::Interval(IntervalUnit::DayTime), DataType::Timestamp(TimeUnit::Nanosecond, None));
        let declared = DataType::List(item(of(&span, &time)));
        let texts = written(&(Arc::new(list) as ArrayRef), &declared, true).unwrap();
        assert_eq!(
            texts.as_string::<i64>().value(0),
            r#"[{"i":"P14M3DT4294967.295S","t":"2000-01-01 00:00:00.0000015"},{"i":null,"t":"9999-12-31 00:00:00"}]"#
        );
        assert!(texts.is_null(1));
    }
}
