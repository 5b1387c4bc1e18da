//! Comparisons of numbers as ranges of integers: `x < 5` is `MIN..=4`.

use super::operator::Test;

/// The place of a number among the integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Below all integers.
    Below,
    /// At an integer; if false, between it and the next one.
    At(i128, bool),
    /// Above all integers, as NaN is.
    Above,
}

/// The integers that a comparison holds for: those from `low` to `low + span`, or those outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    low: i128,
    span: u128,
    inside: bool,
}

impl Range {
    const ALL: Range = Range { low: i128::MIN, span: u128::MAX, inside: true };
    const NONE: Range = Range { inside: false, ..Range::ALL };

    pub fn new(test: Test, place: Place) -> Range {
        use Test::*;
        let (floor, exact) = match (place, test) {
            (Place::At(floor, exact), _) => (floor, exact),
            (Place::Below, Greater | GreaterEqual | NotEqual) => return Range::ALL,
            (Place::Above, Less | LessEqual | NotEqual) => return Range::ALL,
            _ => return Range::NONE,
        };
        let up_to = |high: i128| Range { span: high.abs_diff(i128::MIN), ..Range::ALL };
        let outside = |range: Range| Range { inside: !range.inside, ..range };
        let at = if exact { Range { low: floor, span: 0, inside: true } } else { Range::NONE };
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

    #[inline(always)]
    pub fn contains(&self, value: i128) -> bool {
        // A value below `low` wraps around to more than any span.
        (value.wrapping_sub(self.low) as u128 <= self.span) == self.inside
    }

    /// Returns the part of the range that 64-bit integers can lie in.
    pub fn narrow(&self) -> Narrow {
        let clamp = |bound: i128| bound.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
        let high = self.low.wrapping_add_unsigned(self.span);
        // What is clamped must not become part of the range.
        match self.low > i64::MAX.into() || high < i64::MIN.into() {
            true => Narrow { low: i64::MIN, span: u64::MAX, inside: !self.inside },
            false => {
                let (low, high) = (clamp(self.low), clamp(high));
                Narrow { low, span: high.abs_diff(low), inside: self.inside }
            }
        }
    }
}

/// A range of 64-bit integers.
#[derive(Clone, Copy, Debug)]
pub struct Narrow {
    low: i64,
    span: u64,
    inside: bool,
}

impl Narrow {
    #[inline(always)]
    pub fn contains(&self, value: i64) -> bool {
        (value.wrapping_sub(self.low) as u64 <= self.span) == self.inside
    }
}

/// Returns an integer for each float, in PostgreSQL's order: -0 is 0, and NaN is above all others.
#[inline]
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
    use crate::expr::Numeric;

    fn place(text: &str, scale: i32) -> Place {
        Numeric::parse(text).unwrap().place(scale)
    }

    const TESTS: [Test; 6] =
        [Test::Less, Test::LessEqual, Test::Equal, Test::GreaterEqual, Test::Greater, Test::NotEqual];

    #[test]
    fn ranges_are_what_comparisons_mean() {
        // Hundredths against thousandths: compared as integers of thousandths.
        for text in ["0", "-0.01", "0.015", "-0.015", "1.23", "-1.234", "12", "0.001", "-0.001"] {
            let place = place(text, 2);
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
                let range = Range::new(test, place(text, 3));
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
                let found = words.map(|value| range.narrow().contains(value));
                assert_eq!(
                    found,
                    words.map(|value| test.holds(i128::from(value).cmp(&bound))),
                    "{test:?} {bound}"
                );
            }
        }
        assert_eq!(place("1200", -2), Place::At(12, true));
        assert_eq!(place("-1250", -2), Place::At(-13, false));
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
