//! Conditions on single columns, row by row: which values lie where a comparison wants them.
//!
//! Every comparison of numbers is a range: `x < 5` is `MIN..=4`. The values are those that PostgreSQL sees, so
//! that whatever type the file has, the comparison is the one that the query means.

/// A comparison of a column's value with another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    Less,
    LessEqual,
    Equal,
    GreaterEqual,
    Greater,
    NotEqual,
}

impl Test {
    pub fn holds(self, order: std::cmp::Ordering) -> bool {
        match self {
            Test::Less => order.is_lt(),
            Test::LessEqual => order.is_le(),
            Test::Equal => order.is_eq(),
            Test::GreaterEqual => order.is_ge(),
            Test::Greater => order.is_gt(),
            Test::NotEqual => order.is_ne(),
        }
    }
}

/// Where a number lies among the integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Below all of them.
    Below,
    /// At one; or, where false, between it and the next one.
    At(i128, bool),
    /// Above all of them, as NaN is.
    Above,
}

impl Place {
    /// Of a numeric, as PostgreSQL prints it, among the integers that stand for multiples of `10^-scale`.
    pub fn of_numeric(text: &str, scale: i32) -> Option<Place> {
        match text {
            "NaN" | "Infinity" => return Some(Place::Above),
            "-Infinity" => return Some(Place::Below),
            _ => {}
        }
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let all = format!("{whole}{fraction}");
        let zeros = scale - fraction.len() as i32;
        let (kept, cut) = match usize::try_from(zeros) {
            Ok(zeros) => (format!("{all}{}", "0".repeat(zeros)), ""),
            Err(_) => {
                let kept = all.len().saturating_sub(zeros.unsigned_abs() as usize);
                (all[..kept].to_owned(), &all[kept..])
            }
        };
        let exact = cut.bytes().all(|byte| byte == b'0');
        let kept = kept.trim_start_matches('0');
        let magnitude = if kept.is_empty() { Some(0_i128) } else { kept.parse().ok() };
        Some(match (magnitude, negative) {
            (Some(magnitude), false) => Place::At(magnitude, exact),
            (Some(magnitude), true) => Place::At(-magnitude - i128::from(!exact), exact),
            (None, false) => Place::Above,
            (None, true) => Place::Below,
        })
    }
}

/// The integers that a comparison holds for: those in `low..=high`, or those outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    low: i128,
    high: i128,
    inside: bool,
}

impl Range {
    const NONE: Range = Range { low: 1, high: 0, inside: true };
    const ALL: Range = Range { low: 1, high: 0, inside: false };

    pub fn new(test: Test, place: Place) -> Range {
        use Test::*;
        let (floor, exact) = match (place, test) {
            (Place::At(floor, exact), _) => (floor, exact),
            (Place::Below, Greater | GreaterEqual | NotEqual) => return Range::ALL,
            (Place::Above, Less | LessEqual | NotEqual) => return Range::ALL,
            _ => return Range::NONE,
        };
        let up_to = |high| Range { low: i128::MIN, high, inside: true };
        let outside = |range: Range| Range { inside: !range.inside, ..range };
        let at = if exact { Range { low: floor, high: floor, inside: true } } else { Range::NONE };
        match test {
            // Below the place and exactly there are the complements of what follows.
            LessEqual => up_to(floor),
            Greater => outside(up_to(floor)),
            Less | GreaterEqual => {
                let below = match (exact, floor.checked_sub(1)) {
                    (false, _) => up_to(floor),
                    (true, Some(before)) => up_to(before),
                    (true, None) => Range::NONE,
                };
                if test == Less { below } else { outside(below) }
            }
            Equal => at,
            NotEqual => outside(at),
        }
    }

    #[inline]
    pub fn contains(&self, value: i128) -> bool {
        (self.low..=self.high).contains(&value) == self.inside
    }

    /// For each word whether it is in the range, as a signed integer.
    pub fn select(&self, words: &[u64], nulls: &[bool]) -> Vec<bool> {
        let clamp = |bound: i128| bound.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
        // What is clamped must not become part of the range.
        let empty = self.low > self.high || self.low > i64::MAX.into() || self.high < i64::MIN.into();
        let (low, high) = if empty { (1, 0) } else { (clamp(self.low), clamp(self.high)) };
        let inside = self.inside;
        let holds = |(&word, &null): (&u64, &bool)| {
            let value = word as i64;
            !null & (((low <= value) & (value <= high)) == inside)
        };
        words.iter().zip(nulls).map(holds).collect()
    }
}

/// An integer for each float, in PostgreSQL's order: -0 is 0, and NaN is above all others.
pub fn float_key(value: f64) -> i64 {
    if value.is_nan() {
        return i64::MAX;
    }
    let bits = if value == 0.0 { 0 } else { value.to_bits() as i64 };
    bits ^ ((bits >> 63) as u64 >> 1) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    const TESTS: [Test; 6] =
        [Test::Less, Test::LessEqual, Test::Equal, Test::GreaterEqual, Test::Greater, Test::NotEqual];

    #[test]
    fn ranges_are_what_comparisons_mean() {
        // Hundredths against thousandths: compared as integers of thousandths.
        for text in ["0", "-0.01", "0.015", "-0.015", "1.23", "-1.234", "12", "0.001", "-0.001"] {
            let place = Place::of_numeric(text, 2).unwrap();
            let thousandths = (text.parse::<f64>().unwrap() * 1000.0).round() as i128;
            for test in TESTS {
                let range = Range::new(test, place);
                for value in -1300..1300 {
                    let wanted = test.holds((value * 10).cmp(&thousandths));
                    assert_eq!(range.contains(value), wanted, "{value} {test:?} {text}");
                }
            }
        }
    }

    #[test]
    fn bounds_beyond_the_integers() {
        let huge = format!("1{}", "0".repeat(60));
        for (text, order) in [
            ("NaN", std::cmp::Ordering::Less),
            (&huge, std::cmp::Ordering::Less),
            ("-Infinity", std::cmp::Ordering::Greater),
        ] {
            for test in TESTS {
                let range = Range::new(test, Place::of_numeric(text, 3).unwrap());
                for value in [i128::MIN, 0, i128::MAX] {
                    assert_eq!(range.contains(value), test.holds(order), "{test:?} {text}");
                }
            }
        }
        for test in TESTS {
            for bound in [i128::MIN, i64::MIN.into(), -1, 0, i64::MAX.into(), i128::MAX, i64::MAX as i128 + 1]
            {
                let range = Range::new(test, Place::At(bound, true));
                let words = [i64::MIN, -1, 0, 1, i64::MAX];
                let found = range.select(&words.map(|value| value as u64), &[false; 5]);
                assert_eq!(
                    found,
                    words.map(|value| test.holds(i128::from(value).cmp(&bound))),
                    "{test:?} {bound}"
                );
            }
        }
        assert_eq!(Place::of_numeric("1200", -2), Some(Place::At(12, true)));
        assert_eq!(Place::of_numeric("-1250", -2), Some(Place::At(-13, false)));
        assert_eq!(Range::ALL.select(&[1], &[true]), [false]);
    }

    #[test]
    fn floats_order_as_postgresql_has_them() {
        let ordered = [f64::NEG_INFINITY, -1.5, -1e-320, 0.0, 1e-320, 1.5, f64::INFINITY, f64::NAN];
        let keys: Vec<i64> = ordered.iter().map(|&value| float_key(value)).collect();
        assert!(keys.is_sorted_by(|a, b| a < b));
        assert_eq!(float_key(-0.0), float_key(0.0));
        assert_eq!(float_key(-f64::NAN), float_key(f64::NAN));
    }
}
