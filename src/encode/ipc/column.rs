//! Builds one column of a record batch.
//!
//! A record batch has buffers, not types: the file's schema says what they mean. The arrays here are therefore of the
//! simplest type that has the right buffers: 32-bit integers for dates and oids, bytes for text.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, BooleanBufferBuilder, FixedSizeBinaryArray, NullBufferBuilder,
    PrimitiveArray, new_empty_array,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::{
    ArrowNativeType, ArrowPrimitiveType, DataType, Decimal128Type, Float32Type, Float64Type, Int16Type,
    Int32Type, Int64Type,
};

use super::super::bytes_encoder::append_values;
use super::super::{Result, invalid, reserve};
use crate::memory::headroom;
use crate::types::arrow::arrow_type;
use crate::types::{Cell, Field, Kind, Lane, Physical, Shapes, Values};

pub struct ColumnBuilder {
    nulls: NullBufferBuilder,
    values: ColumnValues,
    pub rows: usize,
    /// The approximate size of the buffers so far.
    pub bytes: usize,
}

/// The values of the rows so far, with some value for each NULL.
enum ColumnValues {
    Bool(BooleanBufferBuilder),
    I16(Vec<i16>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    Decimal(Vec<i128>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    Uuid(Vec<[u8; 16]>),
    /// Byte strings end to end, and a 0 followed by the end of each.
    Bytes {
        ends: Vec<i32>,
        bytes: Vec<u8>,
    },
    /// The arrays of successive rows, and their type.
    Nested(Vec<ArrayRef>, DataType),
}

impl ColumnValues {
    fn new(field: &Field, shapes: &Shapes) -> ColumnValues {
        let decimal = matches!(arrow_type(&field.kind, shapes), DataType::Decimal128(..));
        match field.kind.physical(shapes) {
            None => ColumnValues::Nested(Vec::new(), arrow_type(&field.kind, shapes)),
            Some(_) if decimal => ColumnValues::Decimal(Vec::new()),
            Some(Physical::Bool) => ColumnValues::Bool(BooleanBufferBuilder::new(0)),
            Some(Physical::I32) if field.kind == Kind::Int2 => ColumnValues::I16(Vec::new()),
            Some(Physical::I32) => ColumnValues::I32(Vec::new()),
            Some(Physical::I64) => ColumnValues::I64(Vec::new()),
            Some(Physical::F32) => ColumnValues::F32(Vec::new()),
            Some(Physical::F64) => ColumnValues::F64(Vec::new()),
            Some(Physical::Fixed16) => ColumnValues::Uuid(Vec::new()),
            Some(Physical::Bytes) => ColumnValues::Bytes { ends: vec![0], bytes: Vec::new() },
        }
    }

    /// Returns empty values of the same kind with room for as many rows: the next record batch probably has as many,
    /// and growing would copy everything.
    fn fresh(&self) -> Result<ColumnValues> {
        Ok(match self {
            ColumnValues::Bool(values) => ColumnValues::Bool(BooleanBufferBuilder::new(values.len())),
            ColumnValues::I16(values) => ColumnValues::I16(room_for(values)?),
            ColumnValues::I32(values) => ColumnValues::I32(room_for(values)?),
            ColumnValues::I64(values) => ColumnValues::I64(room_for(values)?),
            ColumnValues::Decimal(values) => ColumnValues::Decimal(room_for(values)?),
            ColumnValues::F32(values) => ColumnValues::F32(room_for(values)?),
            ColumnValues::F64(values) => ColumnValues::F64(room_for(values)?),
            ColumnValues::Uuid(values) => ColumnValues::Uuid(room_for(values)?),
            ColumnValues::Bytes { ends, bytes } => {
                let mut next = room_for(ends)?;
                next.push(0);
                ColumnValues::Bytes { ends: next, bytes: room_for(bytes)? }
            }
            ColumnValues::Nested(_, data_type) => ColumnValues::Nested(Vec::new(), data_type.clone()),
        })
    }
}

/// The size up to which a buffer is kept for the next record batch. Larger ones are those of large values.
pub const KEPT_BYTES: usize = 64 << 20;

/// Reuses a buffer's memory if nothing else refers to it.
fn reuse<T: ArrowNativeType>(into: &mut Vec<T>, buffer: Buffer) {
    if buffer.len() > KEPT_BYTES {
        return;
    }
    if let (true, Ok(mut memory)) = (into.is_empty(), buffer.into_vec::<T>()) {
        memory.clear();
        *into = memory;
    }
}

fn room_for<T>(values: &[T]) -> Result<Vec<T>> {
    let mut room = Vec::new();
    reserve(&mut room, values.len())?;
    Ok(room)
}

impl ColumnBuilder {
    pub fn new(field: &Field, shapes: &Shapes) -> ColumnBuilder {
        ColumnBuilder {
            nulls: NullBufferBuilder::new(0),
            values: ColumnValues::new(field, shapes),
            rows: 0,
            bytes: 0,
        }
    }

    /// Appends a lane. The cells of a `Values::Bytes` point into `arena`.
    pub fn append(&mut self, lane: &Lane, arena: &[u8]) -> Result<()> {
        let valid = &lane.valid[..];
        let rows = if valid.is_empty() { lane.values.len() } else { valid.len() };
        if !valid.is_empty() && valid.iter().filter(|&&v| v != 0).count() != lane.values.len() {
            return invalid("a lane has another number of values than of valid rows");
        }
        let width = match (&mut self.values, &lane.values) {
            (ColumnValues::Bool(out), Values::Bool(values)) => {
                let mut spread_out = Vec::new();
                spread(&mut spread_out, valid, values, |v| v)?;
                out.append_buffer(&BooleanBuffer::collect_bool(rows, |row| spread_out[row]));
                0
            }
            (ColumnValues::I16(out), Values::I32(values)) => spread(out, valid, values, |v| v as i16)?,
            (ColumnValues::I32(out), Values::I32(values)) => spread(out, valid, values, |v| v)?,
            (ColumnValues::I64(out), Values::I64(values)) => spread(out, valid, values, |v| v)?,
            (ColumnValues::Decimal(out), Values::I32(values)) => spread(out, valid, values, i128::from)?,
            (ColumnValues::Decimal(out), Values::I64(values)) => spread(out, valid, values, i128::from)?,
            (ColumnValues::Decimal(out), Values::Fixed16(values)) => {
                spread(out, valid, values, i128::from_be_bytes)?
            }
            (ColumnValues::F32(out), Values::F32(values)) => spread(out, valid, values, |v| v)?,
            (ColumnValues::F64(out), Values::F64(values)) => spread(out, valid, values, |v| v)?,
            (ColumnValues::Uuid(out), Values::Fixed16(values)) => spread(out, valid, values, |v| v)?,
            (ColumnValues::Bytes { ends, bytes }, Values::Bytes(cells)) => {
                self.bytes += append_bytes(ends, bytes, valid, cells, arena)?;
                4
            }
            _ => return invalid("a lane is not of its column's physical type"),
        };
        if valid.is_empty() {
            self.nulls.append_n_non_nulls(rows);
        } else {
            let valid = BooleanBuffer::collect_bool(rows, |row| valid[row] != 0);
            self.nulls.append_buffer(&NullBuffer::new(valid));
        }
        self.rows += rows;
        self.bytes += rows * width + rows.div_ceil(8);
        Ok(())
    }

    /// Appends the next rows of a nested column, which are of the type that `arrow_type` returns.
    pub fn append_nested(&mut self, array: &ArrayRef) -> Result<()> {
        match &mut self.values {
            ColumnValues::Nested(arrays, data_type) if array.data_type() == data_type => {
                arrays.push(array.clone())
            }
            _ => return invalid("an array is not of its column's type"),
        }
        self.rows += array.len();
        self.bytes += array.to_data().get_slice_memory_size().unwrap_or(0);
        Ok(())
    }

    /// Reuses the memory of an array that `finish` returned: the system would have to clear new pages.
    pub fn recycle(&mut self, array: ArrayRef) {
        let data = array.to_data();
        drop(array);
        let mut buffers = data.buffers().to_vec().into_iter();
        drop(data);
        let Some(first) = buffers.next() else { return };
        match &mut self.values {
            ColumnValues::I16(values) => reuse(values, first),
            ColumnValues::I32(values) => reuse(values, first),
            ColumnValues::I64(values) => reuse(values, first),
            ColumnValues::Decimal(values) => reuse(values, first),
            ColumnValues::F32(values) => reuse(values, first),
            ColumnValues::F64(values) => reuse(values, first),
            ColumnValues::Bytes { ends, bytes } if ends.len() == 1 => {
                ends.clear();
                reuse(ends, first);
                ends.push(0);
                buffers.for_each(|buffer| reuse(bytes, buffer));
            }
            _ => {}
        }
    }

    /// Returns the rows since the last call as one array.
    pub fn finish(&mut self) -> Result<ArrayRef> {
        if let ColumnValues::Nested(..) = self.values {
            // Arrow copies the arrays into one.
            headroom(self.bytes)?;
        }
        let nulls = self.nulls.finish();
        let fresh = self.values.fresh()?;
        (self.rows, self.bytes) = (0, 0);
        Ok(match std::mem::replace(&mut self.values, fresh) {
            ColumnValues::Bool(mut values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            ColumnValues::I16(values) => primitive::<Int16Type>(values, nulls),
            ColumnValues::I32(values) => primitive::<Int32Type>(values, nulls),
            ColumnValues::I64(values) => primitive::<Int64Type>(values, nulls),
            ColumnValues::Decimal(values) => primitive::<Decimal128Type>(values, nulls),
            ColumnValues::F32(values) => primitive::<Float32Type>(values, nulls),
            ColumnValues::F64(values) => primitive::<Float64Type>(values, nulls),
            ColumnValues::Uuid(values) => {
                let bytes = Buffer::from_vec(values.into_flattened());
                Arc::new(FixedSizeBinaryArray::try_new(16, bytes, nulls)?)
            }
            ColumnValues::Bytes { ends, bytes } => {
                // This cannot panic, since the ends only grow.
                let ends = OffsetBuffer::new(ends.into());
                Arc::new(BinaryArray::try_new(ends, Buffer::from_vec(bytes), nulls)?)
            }
            ColumnValues::Nested(arrays, data_type) => match &arrays[..] {
                [] => new_empty_array(&data_type),
                [one] => one.clone(),
                many => {
                    let many: Vec<_> = many.iter().map(|array| array.as_ref()).collect();
                    arrow::compute::concat(&many)?
                }
            },
        })
    }
}

fn primitive<T: ArrowPrimitiveType>(values: Vec<T::Native>, nulls: Option<NullBuffer>) -> ArrayRef {
    // This cannot panic, since there are as many values as rows.
    Arc::new(PrimitiveArray::<T>::new(values.into(), nulls))
}

/// Appends dense values with a place for every NULL. Returns the size of a row.
fn spread<T: Copy + Default, S: Copy>(
    out: &mut Vec<T>,
    valid: &[u8],
    values: &[S],
    convert: impl Fn(S) -> T,
) -> Result<usize> {
    reserve(out, valid.len().max(values.len()))?;
    if valid.is_empty() {
        out.extend(values.iter().map(|&value| convert(value)));
    } else {
        let mut values = values.iter();
        let next = |&valid: &u8| match valid {
            0 => T::default(),
            _ => values.next().map_or(T::default(), |&value| convert(value)),
        };
        out.extend(valid.iter().map(next));
    }
    Ok(size_of::<T>())
}

/// Appends byte strings. Returns their size.
fn append_bytes(
    ends: &mut Vec<i32>,
    bytes: &mut Vec<u8>,
    valid: &[u8],
    cells: &[Cell],
    arena: &[u8],
) -> Result<usize> {
    let more = cells.iter().map(|cell| cell.len()).sum::<usize>();
    if i32::try_from(bytes.len() + more).is_err() {
        return invalid("a record batch has more than 2 GiB of one column's bytes");
    }
    reserve(ends, valid.len().max(cells.len()))?;
    let first = ends.len();
    append_values(bytes, cells, more, arena, |place| ends.push((place.pos as usize + place.len()) as i32))?;
    if !valid.is_empty() {
        spread_ends(ends, first, valid);
    }
    Ok(more)
}

/// Spreads the ends of the values, from `first` on, over the rows. A NULL ends where the value before it does. It
/// works backwards, so that the ends can move within the vector.
fn spread_ends(ends: &mut Vec<i32>, first: usize, valid: &[u8]) {
    let mut from = ends.len();
    ends.resize(first + valid.len(), 0);
    for (row, &valid) in valid.iter().enumerate().rev() {
        // `from` is at least 1, since there are as many values as valid rows.
        ends[first + row] = ends[from - 1];
        from -= usize::from(valid != 0);
    }
}
