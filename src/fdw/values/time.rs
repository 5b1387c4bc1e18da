//! Converts dates, times and intervals: PostgreSQL counts days and microseconds from 2000-01-01.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::*;

use super::fixed::{Integer, try_map};
use super::{Misfit, Words, micros, unexpected};
use crate::fdw::raw;
use crate::types::Reason;

/// Days and microseconds from 1970-01-01 to 2000-01-01.
pub const EPOCH_DAYS: i64 = 10_957;
pub const EPOCH_MICROS: i64 = EPOCH_DAYS * DAY_MICROS;
pub const DAY_MICROS: i64 = 86_400_000_000;
const DAY_MILLIS: i64 = 86_400_000;

/// From 4714-11-24 BC (datatype/timestamp.h: DATETIME_MIN_JULIAN) to before 5874898-06-04 and 294277-01-01.
const DATES: std::ops::Range<i64> = -2_451_545..2_147_483_494 - 2_451_545;
const TIMESTAMPS: std::ops::Range<i64> = -211_813_488_000_000_000..9_223_371_331_200_000_000;

pub fn dates(array: &ArrayRef, out: &mut Words) -> Result<(), Misfit> {
    let word = |days: i64| match days - EPOCH_DAYS {
        date if DATES.contains(&date) => Ok((date as i32).word()),
        _ => Err(Reason::OutOfRange),
    };
    match array.data_type() {
        DataType::Date32 => try_map::<Date32Type>(array, out, |days| word(days.into())),
        DataType::Date64 => try_map::<Date64Type>(array, out, |millis| match millis % DAY_MILLIS {
            0 => word(millis / DAY_MILLIS),
            _ => Err(INEXACT),
        }),
        _ => unexpected(),
    }
}

const INEXACT: Reason = Reason::Malformed("the type has fewer digits of a second than the value");

/// Converts to microseconds, if the count is exactly so many and `digits` fractional digits hold it.
fn exact(count: i64, unit: TimeUnit, digits: u8) -> Result<i64, Reason> {
    let (times, by) = micros(unit);
    if count % by != 0 {
        return Err(INEXACT);
    }
    let micros = (count / by).checked_mul(times).ok_or(Reason::OutOfRange)?;
    let step = 10_i64.pow(6_u32.saturating_sub(digits.into()));
    if digits < 6 && micros % step != 0 { Err(INEXACT) } else { Ok(micros) }
}

pub fn times(array: &ArrayRef, digits: u8, out: &mut Words) -> Result<(), Misfit> {
    let word = |count: i64, unit| match exact(count, unit, digits)? {
        time @ 0..=DAY_MICROS => Ok(time as u64),
        _ => Err(Reason::OutOfRange),
    };
    match array.data_type() {
        DataType::Time32(unit @ TimeUnit::Second) => {
            try_map::<Time32SecondType>(array, out, |value| word(value.into(), *unit))
        }
        DataType::Time32(unit) => {
            try_map::<Time32MillisecondType>(array, out, |value| word(value.into(), *unit))
        }
        DataType::Time64(unit @ TimeUnit::Nanosecond) => {
            try_map::<Time64NanosecondType>(array, out, |value| word(value, *unit))
        }
        DataType::Time64(unit) => try_map::<Time64MicrosecondType>(array, out, |value| word(value, *unit)),
        _ => unexpected(),
    }
}

pub fn timestamps(array: &ArrayRef, digits: u8, out: &mut Words) -> Result<(), Misfit> {
    // The range of microseconds since 1970 ends before that of those since 2000.
    let word = |count: i64, unit| match micros(unit) {
        (times, 1) => {
            stamp(exact(count.checked_sub(EPOCH_MICROS / times).ok_or(Reason::OutOfRange)?, unit, digits)?)
        }
        _ => stamp(exact(count, unit, digits)? - EPOCH_MICROS),
    };
    let unit = match array.data_type() {
        DataType::Timestamp(unit, _) => unit,
        // A Parquet column of INT96.
        DataType::FixedSizeBinary(raw::WIDTH) => {
            return raw_values(array, out, |value| stamp(int96(value, digits)?));
        }
        _ => return unexpected(),
    };
    match unit {
        TimeUnit::Second => try_map::<TimestampSecondType>(array, out, |value| word(value, *unit)),
        TimeUnit::Millisecond => try_map::<TimestampMillisecondType>(array, out, |value| word(value, *unit)),
        TimeUnit::Microsecond => try_map::<TimestampMicrosecondType>(array, out, |value| word(value, *unit)),
        TimeUnit::Nanosecond => try_map::<TimestampNanosecondType>(array, out, |value| word(value, *unit)),
    }
}

/// Checks a count of microseconds since 2000.
fn stamp(micros: i64) -> Result<u64, Reason> {
    TIMESTAMPS.contains(&micros).then_some(micros as u64).ok_or(Reason::OutOfRange)
}

/// Makes words from values of 12 bytes.
fn raw_values(
    array: &ArrayRef,
    out: &mut Words,
    word: impl Fn([u32; 3]) -> Result<u64, Reason>,
) -> Result<(), Misfit> {
    for row in 0..array.len() {
        out.words.push(match out.nulls[row] {
            true => 0,
            false => raw_value(array, row).and_then(&word).map_err(|reason| Misfit { row, reason })?,
        });
    }
    Ok(())
}

fn raw_value(array: &ArrayRef, row: usize) -> Result<[u32; 3], Reason> {
    let bytes = array.as_fixed_size_binary_opt().ok_or(super::UNEXPECTED)?.value(row);
    let (parts, _) = bytes.as_chunks::<4>();
    let parts: [[u8; 4]; 3] = parts.try_into().map_err(|_| super::UNEXPECTED)?;
    Ok(parts.map(u32::from_le_bytes))
}

/// The Julian day of 2000-01-01.
const JULIAN_EPOCH: i64 = 2_451_545;

/// Returns the microseconds since 2000 of an INT96 value: nanoseconds of a day, and the Julian day.
fn int96([low, high, day]: [u32; 3], digits: u8) -> Result<i64, Reason> {
    let nanos = (i64::from(high as i32) << 32) | i64::from(low);
    let of_day = exact(nanos, TimeUnit::Nanosecond, digits)?;
    let days = i64::from(day as i32) - JULIAN_EPOCH;
    days.checked_mul(DAY_MICROS).and_then(|micros| micros.checked_add(of_day)).ok_or(Reason::OutOfRange)
}

/// Interval of datatype/timestamp.h.
#[repr(C)]
struct Interval {
    time: i64,
    day: i32,
    month: i32,
}

pub fn intervals(array: &ArrayRef, out: &mut Words) -> Result<(), Misfit> {
    let mut all = Vec::with_capacity(array.len());
    for row in 0..array.len() {
        let interval = match out.nulls[row] {
            true => Ok(Interval { time: 0, day: 0, month: 0 }),
            false => interval(array, row),
        };
        all.push(interval.map_err(|reason| Misfit { row, reason })?);
    }
    let base = out.arena(all.len() * size_of::<Interval>())?.cast::<Interval>();
    for (row, interval) in all.into_iter().enumerate() {
        // SAFETY: the arena has room for as many intervals, aligned to 8 bytes.
        let word = unsafe {
            base.add(row).write(interval);
            base.add(row) as u64
        };
        out.words.push(if out.nulls[row] { 0 } else { word });
    }
    Ok(())
}

fn interval(array: &ArrayRef, row: usize) -> Result<Interval, Reason> {
    let time = |count: i64, unit| exact(count, unit, 6).map(|time| Interval { time, day: 0, month: 0 });
    match array.data_type() {
        DataType::Interval(IntervalUnit::YearMonth) => {
            let month = array.as_primitive::<IntervalYearMonthType>().value(row);
            Ok(Interval { time: 0, day: 0, month })
        }
        DataType::Interval(IntervalUnit::DayTime) => {
            let value = array.as_primitive::<IntervalDayTimeType>().value(row);
            let time = i64::from(value.milliseconds) * 1000;
            Ok(Interval { time, day: value.days, month: 0 })
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let value = array.as_primitive::<IntervalMonthDayNanoType>().value(row);
            let time = exact(value.nanoseconds, TimeUnit::Nanosecond, 6)?;
            Ok(Interval { time, day: value.days, month: value.months })
        }
        // A Parquet column of INTERVAL: months, days and milliseconds without sign.
        DataType::FixedSizeBinary(raw::WIDTH) => {
            let [month, day, millis] = raw_value(array, row)?;
            let signed = |part: u32| i32::try_from(part).map_err(|_| Reason::OutOfRange);
            Ok(Interval { time: i64::from(millis) * 1000, day: signed(day)?, month: signed(month)? })
        }
        DataType::Duration(unit) => match unit {
            TimeUnit::Second => time(array.as_primitive::<DurationSecondType>().value(row), *unit),
            TimeUnit::Millisecond => time(array.as_primitive::<DurationMillisecondType>().value(row), *unit),
            TimeUnit::Microsecond => time(array.as_primitive::<DurationMicrosecondType>().value(row), *unit),
            TimeUnit::Nanosecond => time(array.as_primitive::<DurationNanosecondType>().value(row), *unit),
        },
        _ => Err(super::UNEXPECTED),
    }
}
