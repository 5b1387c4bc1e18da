//! Parts of dates and timestamps. Those before year 1 are left to PostgreSQL, as infinities are.

use serde::{Deserialize, Serialize};

pub const DAY: i64 = 86_400_000_000;
/// 1970-01-01 in days since 2000-01-01.
const UNIX_EPOCH: i64 = -10_957;
/// 0001-01-01 in days since 2000-01-01.
const FIRST_DAY: i64 = -730_119;

/// What EXTRACT returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    Century,
    Decade,
    Year,
    IsoYear,
    Quarter,
    Month,
    Week,
    Day,
    /// Sunday is 0; as ISO 8601 has it, 7.
    WeekDay,
    IsoWeekDay,
    YearDay,
    Hour,
    Minute,
    Second,
    Millisecond,
    Microsecond,
    Epoch,
}

/// What date_trunc cuts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

impl Part {
    /// Returns the part of a name.
    pub fn named(name: &[u8]) -> Option<Part> {
        Some(match name {
            b"century" => Part::Century,
            b"decade" => Part::Decade,
            b"year" => Part::Year,
            b"isoyear" => Part::IsoYear,
            b"quarter" => Part::Quarter,
            b"month" => Part::Month,
            b"week" => Part::Week,
            b"day" => Part::Day,
            b"dow" => Part::WeekDay,
            b"isodow" => Part::IsoWeekDay,
            b"doy" => Part::YearDay,
            b"hour" => Part::Hour,
            b"minute" => Part::Minute,
            b"second" => Part::Second,
            b"milliseconds" => Part::Millisecond,
            b"microseconds" => Part::Microsecond,
            b"epoch" => Part::Epoch,
            _ => return None,
        })
    }

    /// Returns whether it is of the time of day.
    pub fn is_of_time(self) -> bool {
        use Part::*;
        matches!(self, Hour | Minute | Second | Millisecond | Microsecond)
    }

    /// Returns the digits after the point that a timestamp's part has.
    pub fn scale(self) -> u8 {
        match self {
            Part::Second | Part::Epoch => 6,
            Part::Millisecond => 3,
            _ => 0,
        }
    }

    /// Returns the part of a date.
    pub fn of_date(self, days: i64) -> Option<i64> {
        if self == Part::Epoch {
            return Some((days - UNIX_EPOCH) * (DAY / 1_000_000));
        }
        if days < FIRST_DAY + 7 {
            return None;
        }
        let (year, month, day) = civil(days);
        Some(match self {
            Part::Century => (year + 99) / 100,
            Part::Decade => year / 10,
            Part::Year => year,
            Part::IsoYear => civil(thursday(days)).0,
            Part::Quarter => (month - 1) / 3 + 1,
            Part::Month => month,
            Part::Week => {
                let thursday = thursday(days);
                (thursday - day_of(civil(thursday).0, 1, 1)) / 7 + 1
            }
            Part::Day => day,
            Part::WeekDay => week_day(days) % 7,
            Part::IsoWeekDay => week_day(days),
            Part::YearDay => days - day_of(year, 1, 1) + 1,
            _ => return None,
        })
    }

    /// Returns the part of a timestamp, as an integer of the part's scale.
    pub fn of_timestamp(self, at: i64) -> Option<i64> {
        let (days, time) = (at.div_euclid(DAY), at.rem_euclid(DAY));
        match self {
            Part::Epoch => at.checked_sub(UNIX_EPOCH * DAY),
            _ if days < FIRST_DAY => None,
            Part::Hour => Some(time / 3_600_000_000),
            Part::Minute => Some(time / 60_000_000 % 60),
            Part::Second | Part::Millisecond | Part::Microsecond => Some(time % 60_000_000),
            _ => self.of_date(days),
        }
    }
}

impl Unit {
    /// Returns the unit of a name.
    pub fn named(name: &[u8]) -> Option<Unit> {
        Some(match name {
            b"milliseconds" => Unit::Millisecond,
            b"second" => Unit::Second,
            b"minute" => Unit::Minute,
            b"hour" => Unit::Hour,
            b"day" => Unit::Day,
            b"week" => Unit::Week,
            b"month" => Unit::Month,
            b"quarter" => Unit::Quarter,
            b"year" => Unit::Year,
            _ => return None,
        })
    }

    /// Returns a timestamp's beginning of the unit.
    pub fn truncate(self, at: i64) -> Option<i64> {
        let days = at.div_euclid(DAY);
        if days < FIRST_DAY + 7 {
            return None;
        }
        let start = |length: i64| Some(at - at.rem_euclid(length));
        let (year, month, _) = civil(days);
        let days = match self {
            Unit::Millisecond => return start(1000),
            Unit::Second => return start(1_000_000),
            Unit::Minute => return start(60_000_000),
            Unit::Hour => return start(3_600_000_000),
            Unit::Day => days,
            Unit::Week => days - week_day(days) + 1,
            Unit::Month => day_of(year, month, 1),
            Unit::Quarter => day_of(year, (month - 1) / 3 * 3 + 1, 1),
            Unit::Year => day_of(year, 1, 1),
        };
        Some(days * DAY)
    }
}

/// Returns the day of the week, from Monday, 1, to Sunday, 7.
fn week_day(days: i64) -> i64 {
    // 2000-01-01 was a Saturday.
    (days + 5).rem_euclid(7) + 1
}

/// Returns the Thursday of the week, whose year the week belongs to.
fn thursday(days: i64) -> i64 {
    days - week_day(days) + 4
}

/// Days of 400 years, and the days from 0000-03-01 to 2000-01-01.
const ERA: i64 = 146_097;
const FROM_MARCH: i64 = 730_425;

/// Returns the year, month and day of a day in the Gregorian calendar. Years are counted from March, so that February
/// with its leap day comes last.
fn civil(days: i64) -> (i64, i64, i64) {
    let from_march = days + FROM_MARCH;
    let (era, day) = (from_march.div_euclid(ERA), from_march.rem_euclid(ERA));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let is_next = month >= 10;
    (400 * era + year + i64::from(is_next), if is_next { month - 9 } else { month + 3 }, day)
}

/// Returns the day of a year, month and day.
fn day_of(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    let month = (month + 9) % 12;
    let day = (153 * month + 2) / 5 + day - 1;
    ERA * era + 365 * year + year / 4 - year / 100 + day - FROM_MARCH
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_leap(year: i64) -> bool {
        year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
    }

    #[test]
    fn days_follow_each_other() {
        let (mut year, mut month, mut day, mut of_year) = (1, 2, 1, 32);
        for days in FIRST_DAY + 31..1_000_000 {
            let part = |part: Part| part.of_date(days).unwrap();
            let found = [part(Part::Year), part(Part::Month), part(Part::Day), part(Part::YearDay)];
            assert_eq!(found, [year, month, day, of_year]);
            assert_eq!(day_of(year, month, day), days);
            let length = match month {
                2 => 28 + i64::from(is_leap(year)),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            (day, of_year) = (day + 1, of_year + 1);
            if day > length {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month, of_year) = (year + 1, 1, 1);
            }
        }
    }

    #[test]
    fn weeks_begin_on_mondays_and_the_first_has_a_thursday() {
        // 2005-01-01 was a Saturday, of the 53rd week of 2004; 2024-12-30 a Monday, of the first week of 2025.
        for (date, wanted) in [((2005, 1, 1), [2004, 53, 6]), ((2024, 12, 30), [2025, 1, 1])] {
            let days = day_of(date.0, date.1, date.2);
            let found = [Part::IsoYear, Part::Week, Part::IsoWeekDay].map(|part| part.of_date(days).unwrap());
            assert_eq!(found, wanted);
        }
    }

    #[test]
    fn times_before_2000_are_of_the_day_before() {
        assert_eq!(Part::Hour.of_timestamp(-1), Some(23));
        assert_eq!(Part::Microsecond.of_timestamp(-1), Some(59_999_999));
        assert_eq!(Part::Day.of_timestamp(-1), Some(31));
        assert_eq!(Unit::Year.truncate(-1), Some(-365 * DAY));
        assert_eq!(Unit::Minute.truncate(-1), Some(-60_000_000));
        assert_eq!(Part::Year.of_timestamp(i64::MIN), None);
    }
}
