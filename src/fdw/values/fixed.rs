//! Converts values that are the word itself, or lie in the array as PostgreSQL stores them.

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray};
use arrow::datatypes::*;

use super::{Misfit, Words, unexpected};
use crate::types::Reason;

pub fn bools(array: &ArrayRef, out: &mut Words) -> Result<(), Misfit> {
    let Some(bools) = array.as_boolean_opt() else { return unexpected() };
    out.words.extend(bools.values().iter().zip(&out.nulls).map(|(value, null)| u64::from(value & !null)));
    Ok(())
}

/// An integer type of PostgreSQL as its Datum holds it: signed ones are sign-extended.
pub trait Integer: TryFrom<i128> {
    fn word(self) -> u64;
}

impl Integer for i16 {
    fn word(self) -> u64 {
        i64::from(self) as u64
    }
}

impl Integer for i32 {
    fn word(self) -> u64 {
        i64::from(self) as u64
    }
}

impl Integer for i64 {
    fn word(self) -> u64 {
        self as u64
    }
}

impl Integer for u32 {
    fn word(self) -> u64 {
        u64::from(self)
    }
}

pub fn integers<P: Integer>(array: &ArrayRef, out: &mut Words) -> Result<(), Misfit> {
    match array.data_type() {
        DataType::Int8 => narrow::<Int8Type, P>(array, out),
        DataType::Int16 => narrow::<Int16Type, P>(array, out),
        DataType::Int32 => narrow::<Int32Type, P>(array, out),
        DataType::Int64 => narrow::<Int64Type, P>(array, out),
        DataType::UInt8 => narrow::<UInt8Type, P>(array, out),
        DataType::UInt16 => narrow::<UInt16Type, P>(array, out),
        DataType::UInt32 => narrow::<UInt32Type, P>(array, out),
        DataType::UInt64 => narrow::<UInt64Type, P>(array, out),
        _ => unexpected(),
    }
}

fn narrow<A: ArrowPrimitiveType, P: Integer>(array: &ArrayRef, out: &mut Words) -> Result<(), Misfit>
where
    A::Native: Into<i128>,
{
    try_map::<A>(array, out, |value| P::try_from(value.into()).map(P::word).map_err(|_| Reason::OutOfRange))
}

/// Makes one word of each value; NULLs are skipped.
pub fn try_map<A: ArrowPrimitiveType>(
    array: &ArrayRef,
    out: &mut Words,
    word: impl Fn(A::Native) -> Result<u64, Reason>,
) -> Result<(), Misfit> {
    let Some(values) = array.as_primitive_opt::<A>() else { return unexpected() };
    let Words { words, nulls, .. } = out;
    words.reserve(values.len());
    if array.null_count() == 0 {
        for (row, &value) in values.values().iter().enumerate() {
            words.push(word(value).map_err(|reason| Misfit { row, reason })?);
        }
        return Ok(());
    }
    for (row, (&value, &null)) in values.values().iter().zip(nulls.iter()).enumerate() {
        words.push(match null {
            true => 0,
            false => word(value).map_err(|reason| Misfit { row, reason })?,
        });
    }
    Ok(())
}

/// Makes floats. A narrower float takes only values, integers included, that it holds exactly.
pub fn floats(array: &ArrayRef, out: &mut Words, single: bool) -> Result<(), Misfit> {
    let word = |value: f64| match single {
        false => Ok(value.to_bits()),
        true if f64::from(value as f32) == value || value.is_nan() => Ok(single_word(value as f32)),
        true => Err(Reason::OutOfRange),
    };
    match array.data_type() {
        DataType::Float16 => try_map::<Float16Type>(array, out, |value| word(value.to_f64())),
        DataType::Float32 if single => try_map::<Float32Type>(array, out, |value| Ok(single_word(value))),
        DataType::Float32 => try_map::<Float32Type>(array, out, |value| word(f64::from(value))),
        DataType::Float64 => try_map::<Float64Type>(array, out, word),
        DataType::Int8 => whole::<Int8Type>(array, out, word),
        DataType::Int16 => whole::<Int16Type>(array, out, word),
        DataType::Int32 => whole::<Int32Type>(array, out, word),
        DataType::Int64 => whole::<Int64Type>(array, out, word),
        DataType::UInt8 => whole::<UInt8Type>(array, out, word),
        DataType::UInt16 => whole::<UInt16Type>(array, out, word),
        DataType::UInt32 => whole::<UInt32Type>(array, out, word),
        DataType::UInt64 => whole::<UInt64Type>(array, out, word),
        _ => unexpected(),
    }
}

fn whole<A: ArrowPrimitiveType>(
    array: &ArrayRef,
    out: &mut Words,
    word: impl Fn(f64) -> Result<u64, Reason>,
) -> Result<(), Misfit>
where
    A::Native: Into<i128>,
{
    try_map::<A>(array, out, |value| {
        let value: i128 = value.into();
        if value as f64 as i128 == value { word(value as f64) } else { Err(Reason::OutOfRange) }
    })
}

fn single_word(value: f32) -> u64 {
    (value.to_bits() as i32).word()
}

/// Makes uuids, which lie in the array as 16 bytes.
pub fn uuids(array: &ArrayRef, out: &mut Words) -> Result<(), Misfit> {
    let Some(values) = array.as_fixed_size_binary_opt() else { return unexpected() };
    out.words.extend((0..values.len()).map(|row| match out.nulls[row] {
        true => 0,
        false => values.value(row).as_ptr() as u64,
    }));
    out.array = Some(array.clone());
    Ok(())
}
