//! Decodes the values inside arrays and composites, which have the form of their send functions.

use super::lanes::Decimal;
use super::{WIDTH, boolean, date, time, timestamp};
use crate::interrupts::{in_steps, in_text_steps};
use crate::types::arrow::arrow_type;
use crate::types::{Field, Kind, Reason, Shapes};
use crate::wire::numeric::WireNumeric;
use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, BooleanBufferBuilder, Decimal128Array, FixedSizeBinaryArray,
    PrimitiveArray, StringArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimestampMicrosecondType, UInt32Type,
};
use std::sync::Arc;

/// Builds the array of one leaf field. NULLs have some value.
pub(super) enum LeafBuilder {
    Bool(BooleanBufferBuilder),
    Int2(Vec<i16>),
    Int4(Vec<i32>),
    Int8(Vec<i64>),
    Oid(Vec<u32>),
    Float4(Vec<f32>),
    Float8(Vec<f64>),
    Date(Vec<i32>),
    Time(Vec<i64>),
    Timestamp { values: Vec<i64>, utc: bool },
    Decimal { values: Vec<i128>, decimal: Decimal },
    Uuid(Vec<u8>),
    Bytea(Strings),
    Text { values: Strings, form: Form },
}

/// The form in which a text is sent.
#[derive(Clone, Copy)]
pub(super) enum Form {
    Plain,
    /// After a version byte of 1.
    Jsonb,
    /// `charsend`: the byte alone, 0 for the empty text.
    Char,
    /// A numeric that no decimal can represent.
    Numeric,
}

impl LeafBuilder {
    pub(super) fn new(field: &Field, shapes: &Shapes) -> LeafBuilder {
        let text = |form| LeafBuilder::Text { values: Strings::new(), form };
        match field.kind {
            Kind::Bool => LeafBuilder::Bool(BooleanBufferBuilder::new(0)),
            Kind::Int2 => LeafBuilder::Int2(Vec::new()),
            Kind::Int4 => LeafBuilder::Int4(Vec::new()),
            Kind::Int8 => LeafBuilder::Int8(Vec::new()),
            Kind::Oid => LeafBuilder::Oid(Vec::new()),
            Kind::Float4 => LeafBuilder::Float4(Vec::new()),
            Kind::Float8 => LeafBuilder::Float8(Vec::new()),
            Kind::Date => LeafBuilder::Date(Vec::new()),
            Kind::Time => LeafBuilder::Time(Vec::new()),
            Kind::Timestamp => LeafBuilder::Timestamp { values: Vec::new(), utc: false },
            Kind::TimestampTz => LeafBuilder::Timestamp { values: Vec::new(), utc: true },
            Kind::Decimal { .. } | Kind::Numeric { .. } => match Decimal::of(&field.kind, shapes) {
                Some(decimal) => LeafBuilder::Decimal { values: Vec::new(), decimal },
                None => text(Form::Numeric),
            },
            Kind::Uuid => LeafBuilder::Uuid(Vec::new()),
            Kind::Bytea => LeafBuilder::Bytea(Strings::new()),
            _ => text(match field.pg_type.as_str() {
                "jsonb" => Form::Jsonb,
                "\"char\"" => Form::Char,
                _ => Form::Plain,
            }),
        }
    }

    /// Appends a value. For NULL it appends one that is never read.
    pub(super) fn push(&mut self, bytes: Option<&[u8]>) -> Result<(), Reason> {
        match self {
            LeafBuilder::Bool(values) => {
                values.append(bytes.map_or(Ok(false), |bytes| boolean(sized(bytes)?))?)
            }
            LeafBuilder::Int2(values) => values.push(i16::from_be_bytes(fixed(bytes)?)),
            LeafBuilder::Int4(values) => values.push(i32::from_be_bytes(fixed(bytes)?)),
            LeafBuilder::Int8(values) => values.push(i64::from_be_bytes(fixed(bytes)?)),
            LeafBuilder::Oid(values) => values.push(u32::from_be_bytes(fixed(bytes)?)),
            LeafBuilder::Float4(values) => values.push(f32::from_be_bytes(fixed(bytes)?)),
            LeafBuilder::Float8(values) => values.push(f64::from_be_bytes(fixed(bytes)?)),
            LeafBuilder::Date(values) => values.push(date(i32::from_be_bytes(fixed(bytes)?))?),
            LeafBuilder::Time(values) => values.push(time(i64::from_be_bytes(fixed(bytes)?))?),
            LeafBuilder::Timestamp { values, .. } => {
                values.push(timestamp(i64::from_be_bytes(fixed(bytes)?))?)
            }
            LeafBuilder::Decimal { values, decimal } => {
                values.push(bytes.map_or(Ok(0), |bytes| decimal.unscaled::<true>(bytes))?);
            }
            LeafBuilder::Uuid(values) => values.extend_from_slice(&fixed::<16>(bytes)?),
            LeafBuilder::Bytea(values) => values.push(bytes.unwrap_or_default())?,
            LeafBuilder::Text { values, form } => match bytes {
                None => values.push(&[])?,
                Some(bytes) => push_text(values, *form, bytes)?,
            },
        }
        Ok(())
    }

    pub(super) fn finish(self, nulls: Option<NullBuffer>) -> ArrayRef {
        match self {
            LeafBuilder::Bool(mut values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            LeafBuilder::Int2(values) => primitive::<Int16Type>(values, nulls),
            LeafBuilder::Int4(values) => primitive::<Int32Type>(values, nulls),
            LeafBuilder::Int8(values) => primitive::<Int64Type>(values, nulls),
            LeafBuilder::Oid(values) => primitive::<UInt32Type>(values, nulls),
            LeafBuilder::Float4(values) => primitive::<Float32Type>(values, nulls),
            LeafBuilder::Float8(values) => primitive::<Float64Type>(values, nulls),
            LeafBuilder::Date(values) => primitive::<Date32Type>(values, nulls),
            LeafBuilder::Time(values) => primitive::<Time64MicrosecondType>(values, nulls),
            LeafBuilder::Timestamp { values, utc } => {
                let kind = if utc { Kind::TimestampTz } else { Kind::Timestamp };
                let array = PrimitiveArray::<TimestampMicrosecondType>::new(values.into(), nulls);
                Arc::new(array.with_data_type(arrow_type(&kind, &Shapes::default())))
            }
            // This only changes the precision and scale of the type.
            LeafBuilder::Decimal { values, decimal: Decimal { precision, scale, .. } } => Arc::new(
                Decimal128Array::new(values.into(), nulls)
                    .with_data_type(DataType::Decimal128(precision, scale as i8)),
            ),
            // This cannot panic, since 16 bytes were appended for every value.
            LeafBuilder::Uuid(values) => {
                Arc::new(FixedSizeBinaryArray::new(16, Buffer::from_vec(values), nulls))
            }
            LeafBuilder::Bytea(values) => {
                let (offsets, bytes) = values.finish();
                Arc::new(BinaryArray::new(offsets, bytes, nulls))
            }
            LeafBuilder::Text { values, .. } => {
                let (offsets, bytes) = values.finish();
                // SAFETY: the offsets ascend up to the buffer's length, see `Strings`, and the bytes between two of
                // them are a text that `push_text` has checked to be UTF-8.
                Arc::new(unsafe { StringArray::new_unchecked(offsets, bytes, nulls) })
            }
        }
    }
}

fn primitive<T: ArrowPrimitiveType>(values: Vec<T::Native>, nulls: Option<NullBuffer>) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::new(values.into(), nulls))
}

#[inline]
fn sized<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Reason> {
    bytes.try_into().map_err(|_| WIDTH)
}

/// Returns the bytes of a fixed-width value, zeros for NULL.
#[inline]
fn fixed<const N: usize>(bytes: Option<&[u8]>) -> Result<[u8; N], Reason> {
    bytes.map_or(Ok([0; N]), sized)
}

fn push_text(values: &mut Strings, form: Form, bytes: &[u8]) -> Result<(), Reason> {
    match (form, bytes) {
        (Form::Plain, text) => values.push(utf8(text)?),
        (Form::Jsonb, [1, text @ ..]) => values.push(utf8(text)?),
        (Form::Jsonb, _) => Err(Reason::Malformed("jsonb version")),
        (Form::Char, [0]) => values.push(&[]),
        // This is what charout prints from PostgreSQL 16 on. Before, it printed the bare byte, which is not UTF-8.
        (Form::Char, &[byte]) if byte >= 0x80 => values.push(format!("\\{byte:03o}").as_bytes()),
        (Form::Char, &[byte]) => values.push(&[byte]),
        (Form::Char, _) => Err(WIDTH),
        (Form::Numeric, bytes) => {
            let mut text = Vec::new();
            WireNumeric::read(bytes)?.finite()?.write_text(&mut text)?;
            values.push(&text)
        }
    }
}

/// Returns the bytes if they are UTF-8.
fn utf8(bytes: &[u8]) -> Result<&[u8], Reason> {
    match in_text_steps(bytes, |_| ()) {
        true => Ok(bytes),
        false => Err(Reason::InvalidUtf8),
    }
}

/// Byte strings end to end, and a 0 followed by the end of each.
pub(super) struct Strings {
    ends: Vec<i32>,
    bytes: Vec<u8>,
}

impl Strings {
    fn new() -> Strings {
        Strings { ends: vec![0], bytes: Vec::new() }
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), Reason> {
        let end = i32::try_from(self.bytes.len() + bytes.len()).map_err(|_| Reason::OutOfRange)?;
        in_steps(bytes, |step| self.bytes.extend_from_slice(step));
        self.ends.push(end);
        Ok(())
    }

    fn finish(self) -> (OffsetBuffer<i32>, Buffer) {
        (OffsetBuffer::new(self.ends.into()), Buffer::from_vec(self.bytes))
    }
}
