//! Decodes the cells of a batch into what the encoder takes: lanes for flat columns and Arrow arrays for nested ones.
//!
//! Pure, and safe on any input. PostgreSQL counts dates from 2000-01-01 and the file from 1970-01-01; the conversions
//! for lanes and nested values are here.

pub mod lanes;
mod leaf_builder;
pub mod nested;
mod nested_bytes;
pub mod slot;

pub use lanes::decode_lane;
pub use nested::NestedBuilder;
pub use slot::decode_slot;

use crate::types::Reason;

/// The days and the microseconds from 1970-01-01 to 2000-01-01.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = 946_684_800_000_000;
const DAY_MICROS: i64 = 86_400_000_000;

const WIDTH: Reason = Reason::Malformed("value of the wrong width");

/// Converts a date. `DATEVAL_NOBEGIN` and `DATEVAL_NOEND` are the ends of the range (src/include/utils/date.h).
#[inline]
fn date(days: i32) -> Result<i32, Reason> {
    match days {
        i32::MIN | i32::MAX => Err(Reason::InfiniteDate),
        _ => days.checked_add(EPOCH_DAYS).ok_or(Reason::OutOfRange),
    }
}

/// Converts a timestamp. `TIMESTAMP_MINUS_INFINITY` and `TIMESTAMP_INFINITY` are the ends of the range
/// (src/include/datatype/timestamp.h).
#[inline]
fn timestamp(micros: i64) -> Result<i64, Reason> {
    match micros {
        i64::MIN | i64::MAX => Err(Reason::InfiniteTimestamp),
        _ => micros.checked_add(EPOCH_MICROS).ok_or(Reason::OutOfRange),
    }
}

/// Checks a time. PostgreSQL has 24:00 (src/include/utils/date.h); Arrow and Parquet do not, and their readers make
/// it 00:00 or NULL.
#[inline]
fn time(micros: i64) -> Result<i64, Reason> {
    match micros {
        0..DAY_MICROS => Ok(micros),
        DAY_MICROS => Err(Reason::EndOfDay),
        _ => Err(Reason::Malformed("time")),
    }
}

/// Returns the `N` bytes of a value in little-endian order.
#[inline]
fn native<const N: usize>(bytes: &[u8], wire: bool) -> Result<[u8; N], Reason> {
    let mut bytes: [u8; N] = bytes.try_into().map_err(|_| WIDTH)?;
    if wire {
        bytes.reverse();
    }
    Ok(bytes)
}

#[inline]
fn boolean(byte: [u8; 1]) -> Result<bool, Reason> {
    match byte {
        [0] => Ok(false),
        [1] => Ok(true),
        _ => Err(Reason::Malformed("boolean")),
    }
}
