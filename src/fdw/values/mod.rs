//! Converts Arrow arrays to PostgreSQL's values, column by column: one word (a Datum) and one NULL flag for
//! each row.
//!
//! A word refers to the column's own arena or to the array, so that a value costs no allocation; both live
//! until the column is filled again. Every value is exactly the file's, or an error: nothing is rounded, cut or
//! wrapped.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::take;
use arrow::datatypes::{DataType, TimeUnit};

use super::error::Misfit;
use crate::memory::reserve;
use crate::types::Reason;

mod declared;
mod fixed;
mod iso8601;
mod numeric;
mod text;
mod time;
mod written;

#[cfg(test)]
mod tests;

pub use numeric::{NumericLimit, decimals};
pub use text::{HAS_NUL, TOO_LARGE, Texts};
pub use time::{DAY_MICROS, EPOCH_DAYS, EPOCH_MICROS};
pub use written::{NULL_KEY, is_writable, written};

/// The PostgreSQL type of a column, as far as this module makes values of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    Numeric(Option<NumericLimit>),
    Date,
    /// With its fractional digits of a second.
    Time(u8),
    Timestamp(u8),
    TimestampTz(u8),
    Interval,
    Uuid,
    /// text or json; varchar with its maximal number of characters.
    Text(Option<usize>),
    /// char(n), padded.
    Bpchar(Option<usize>),
    Bytea,
}

/// One column of one batch.
#[derive(Default)]
pub struct Words {
    pub words: Vec<u64>,
    /// True if there is no value; the word is 0 then.
    pub nulls: Vec<bool>,
    /// The memory that words point to, 8-byte aligned.
    arena: Vec<u64>,
    /// What words point into.
    array: Option<ArrayRef>,
}

impl Words {
    /// Forgets the last batch, and notes which rows are NULL.
    fn begin(&mut self, array: &dyn Array) {
        self.words.clear();
        self.nulls.clear();
        self.array = None;
        match array.logical_nulls() {
            Some(nulls) => self.nulls.extend(nulls.iter().map(|valid| !valid)),
            None => self.nulls.resize(array.len(), false),
        }
    }

    /// Allocates an aligned arena of `bytes` bytes, which are not initialized.
    fn arena(&mut self, bytes: usize) -> Result<*mut u8, Misfit> {
        reserve(&mut self.arena, bytes.div_ceil(8))
            .map_err(|_| Misfit { row: 0, reason: Reason::Malformed(NO_MEMORY) })?;
        Ok(self.arena.as_mut_ptr().cast())
    }

    /// Begins as `begin` does, for a caller that makes the words elsewhere.
    pub fn begin_with(&mut self, array: &dyn Array) {
        self.begin(array);
        self.words.resize(array.len(), 0);
    }
}

/// Returns whether arrays of a type can be converted to the target.
pub fn fits(data_type: &DataType, target: &Target) -> bool {
    use DataType as D;
    match data_type {
        D::Null => true,
        D::Dictionary(_, values) => fits(values, target),
        D::Boolean => *target == Target::Bool,
        D::Int8 | D::Int16 | D::Int32 | D::Int64 | D::UInt8 | D::UInt16 | D::UInt32 | D::UInt64 => {
            use Target as T;
            matches!(target, T::Int2 | T::Int4 | T::Int8 | T::Oid | T::Float4 | T::Float8 | T::Numeric(_))
        }
        D::Float16 | D::Float32 | D::Float64 => matches!(target, Target::Float4 | Target::Float8),
        D::Decimal32(..) | D::Decimal64(..) | D::Decimal128(..) | D::Decimal256(..) => {
            matches!(target, Target::Numeric(_))
        }
        D::Date32 | D::Date64 => *target == Target::Date,
        D::Time32(_) | D::Time64(_) => matches!(target, Target::Time(_)),
        D::Timestamp(_, zone) if has_zone(zone) => matches!(target, Target::TimestampTz(_)),
        D::Timestamp(..) => matches!(target, Target::Timestamp(_)),
        D::Interval(_) | D::Duration(_) => *target == Target::Interval,
        D::FixedSizeBinary(16) => matches!(target, Target::Uuid | Target::Bytea),
        D::FixedSizeBinary(_) => *target == Target::Bytea,
        D::Binary | D::LargeBinary | D::BinaryView => {
            matches!(target, Target::Bytea | Target::Text(_) | Target::Bpchar(_))
        }
        D::Utf8 | D::LargeUtf8 | D::Utf8View => matches!(target, Target::Text(_) | Target::Bpchar(_)),
        _ => false,
    }
}

/// Returns whether a zone is named: an empty name is none (Schema.fbs, Timestamp).
pub fn has_zone(zone: &Option<Arc<str>>) -> bool {
    zone.as_ref().is_some_and(|name| !name.is_empty())
}

/// Converts the values of an array that `fits` the target.
pub fn convert(array: &ArrayRef, target: &Target, out: &mut Words) -> Result<(), Misfit> {
    let spread;
    let array = match array.data_type() {
        DataType::Dictionary(..) => {
            spread = without_dictionary(array)?;
            &spread
        }
        _ => array,
    };
    out.begin(array);
    if *array.data_type() == DataType::Null {
        out.words.resize(array.len(), 0);
        return Ok(());
    }
    match target {
        Target::Bool => fixed::bools(array, out),
        Target::Int2 => fixed::integers::<i16>(array, out),
        Target::Int4 => fixed::integers::<i32>(array, out),
        Target::Int8 => fixed::integers::<i64>(array, out),
        Target::Oid => fixed::integers::<u32>(array, out),
        Target::Float4 => fixed::floats(array, out, true),
        Target::Float8 => fixed::floats(array, out, false),
        Target::Numeric(limit) => numeric::numerics(array, *limit, out),
        Target::Date => time::dates(array, out),
        Target::Time(digits) => time::times(array, *digits, out),
        Target::Timestamp(digits) | Target::TimestampTz(digits) => time::timestamps(array, *digits, out),
        Target::Interval => time::intervals(array, out),
        Target::Uuid => fixed::uuids(array, out),
        Target::Text(most) => text::texts(array, *most, false, out),
        Target::Bpchar(most) => text::texts(array, *most, true, out),
        Target::Bytea => text::bytes(array, out),
    }
}

/// Replaces a dictionary's keys by their values.
pub fn without_dictionary(array: &ArrayRef) -> Result<ArrayRef, Misfit> {
    use arrow::array::AsArray;
    let Some(dictionary) = array.as_any_dictionary_opt() else { return Ok(array.clone()) };
    take(dictionary.values(), dictionary.keys(), None)
        .map_err(|_| Misfit { row: 0, reason: Reason::Malformed(NO_ENTRY) })
}

pub const NO_ENTRY: &str = "a key is not in its dictionary";
pub const NO_MEMORY: &str = "there is no memory for the values";

/// Returns a unit of time in microseconds: how many one unit is, or how many units make one.
fn micros(unit: TimeUnit) -> (i64, i64) {
    match unit {
        TimeUnit::Second => (1_000_000, 1),
        TimeUnit::Millisecond => (1000, 1),
        TimeUnit::Microsecond => (1, 1),
        TimeUnit::Nanosecond => (1, 1000),
    }
}

const UNEXPECTED: Reason = Reason::Malformed("the column's type changed");

fn unexpected() -> Result<(), Misfit> {
    Err(Misfit { row: 0, reason: UNEXPECTED })
}
