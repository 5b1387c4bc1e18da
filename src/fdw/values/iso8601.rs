//! Formats dates, times and intervals as ISO 8601 does, with a blank before the time.

use arrow::array::*;
use arrow::datatypes::*;

use super::UNEXPECTED;
use crate::types::Reason;

const DAY: i128 = 86_400 * SECOND;
const SECOND: i128 = 1_000_000_000;

/// Formats a date, time, timestamp or interval.
pub fn temporal(array: &ArrayRef, row: usize) -> Result<String, Reason> {
    use DataType as D;
    match array.data_type() {
        D::Date32 => Ok(date(array.as_primitive::<Date32Type>().value(row).into(), "")),
        D::Date64 => {
            let nanos = i128::from(array.as_primitive::<Date64Type>().value(row)) * (SECOND / 1000);
            Ok(if nanos % DAY == 0 { date((nanos / DAY) as i64, "") } else { timestamp(nanos, "") })
        }
        D::Time32(_) | D::Time64(_) => match nanos(array, row) {
            Some(time) if time >= 0 => Ok(time_of_day(time)),
            _ => Err(Reason::OutOfRange),
        },
        D::Timestamp(_, zone) => {
            let zone = if zone.is_some() { "+00" } else { "" };
            Ok(timestamp(nanos(array, row).ok_or(UNEXPECTED)?, zone))
        }
        D::Duration(_) => Ok(interval(0, 0, nanos(array, row).ok_or(UNEXPECTED)?)),
        D::Interval(IntervalUnit::YearMonth) => {
            Ok(interval(array.as_primitive::<IntervalYearMonthType>().value(row).into(), 0, 0))
        }
        D::Interval(IntervalUnit::DayTime) => {
            let value = array.as_primitive::<IntervalDayTimeType>().value(row);
            Ok(interval(0, value.days.into(), i128::from(value.milliseconds) * (SECOND / 1000)))
        }
        D::Interval(IntervalUnit::MonthDayNano) => {
            let value = array.as_primitive::<IntervalMonthDayNanoType>().value(row);
            Ok(interval(value.months.into(), value.days.into(), value.nanoseconds.into()))
        }
        _ => Err(UNEXPECTED),
    }
}

/// Returns the nanoseconds of a time value; `None` for other types.
fn nanos(array: &ArrayRef, row: usize) -> Option<i128> {
    use DataType as D;
    let data = array.to_data();
    let (unit, value) = match array.data_type() {
        D::Time32(unit) => (unit, i64::from(*data.buffer::<i32>(0).get(row)?)),
        D::Time64(unit) | D::Timestamp(unit, _) | D::Duration(unit) => {
            (unit, *data.buffer::<i64>(0).get(row)?)
        }
        _ => return None,
    };
    let per_second = match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => SECOND,
    };
    Some(i128::from(value) * (SECOND / per_second))
}

/// Formats nanoseconds since 1970-01-01.
pub fn timestamp(nanos: i128, zone: &str) -> String {
    let time = format!(" {}{zone}", time_of_day(nanos.rem_euclid(DAY)));
    date(nanos.div_euclid(DAY) as i64, &time)
}

/// Formats days since 1970-01-01 in the Gregorian calendar; `time` precedes BC.
fn date(days: i64, time: &str) -> String {
    // Years begin on 1 March, in eras of 400 years or 146,097 days from 0000-03-01, so that leap days are the
    // last of their years.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = 400 * era + year + i64::from(month < 3);
    match year {
        1.. => format!("{year:04}-{month:02}-{day:02}{time}"),
        _ => format!("{:04}-{month:02}-{day:02}{time} BC", 1 - year),
    }
}

fn time_of_day(nanos: i128) -> String {
    let seconds = nanos / SECOND;
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{hour:02}:{minute:02}:{second:02}{}", fraction(nanos))
}

fn fraction(nanos: i128) -> String {
    let digits = format!(".{:09}", nanos.unsigned_abs() % SECOND.unsigned_abs());
    digits.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Formats ISO 8601's form with designators.
pub fn interval(months: i64, days: i64, nanos: i128) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    format!("P{months}M{days}DT{sign}{}{}S", nanos.unsigned_abs() / SECOND.unsigned_abs(), fraction(nanos))
}
