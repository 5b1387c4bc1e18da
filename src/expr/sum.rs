//! Sums of numerics, exact whatever their number and size.

use serde::{Deserialize, Serialize};

use super::numeric::{Finite, Numeric};

/// The state of sum and avg of numeric (numeric.c, NumericAggState).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct NumericSum {
    /// The sum of the finite values, and how many they are.
    finite: Digits,
    count: u64,
    nans: u64,
    infinities: u64,
    minus_infinities: u64,
}

impl NumericSum {
    pub fn add_one(&mut self, value: &Numeric) {
        match value {
            Numeric::NaN => self.nans += 1,
            Numeric::Infinity => self.infinities += 1,
            Numeric::MinusInfinity => self.minus_infinities += 1,
            Numeric::Finite(value) => {
                self.count += 1;
                self.finite.add(value);
            }
        }
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &NumericSum) {
        if other.count > 0 {
            self.finite.add(&other.finite.total());
        }
        self.count += other.count;
        self.nans += other.nans;
        self.infinities += other.infinities;
        self.minus_infinities += other.minus_infinities;
    }

    /// Returns the sum of a value, which is that of `count` others, and of the values that were added, and their number
    /// (numeric_sum in numeric.c).
    pub fn total_with(&self, value: &Finite, count: u64) -> (Numeric, u64) {
        let count = count + self.count + self.nans + self.infinities + self.minus_infinities;
        let total = match (self.nans, self.infinities, self.minus_infinities) {
            (0, 0, 0) => {
                let mut total = self.finite.clone();
                total.add(value);
                Numeric::Finite(total.total())
            }
            (0, 1.., 0) => Numeric::Infinity,
            (0, 0, 1..) => Numeric::MinusInfinity,
            _ => Numeric::NaN,
        };
        (total, count)
    }
}

/// A sum of finite numerics, digit by digit. The sums of digits have signs, and are carried at the end. A digit is
/// below 10^4, so that 2^49 values can be added.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Digits {
    /// The least significant first, whose weight is `least`.
    digits: Vec<i64>,
    least: i32,
    dscale: u16,
}

impl Digits {
    fn add(&mut self, value: &Finite) {
        self.dscale = self.dscale.max(value.dscale);
        let Some(last) = value.digits.len().checked_sub(1) else { return };
        let least = value.weight - last as i32;
        if self.digits.is_empty() {
            self.least = least;
        }
        if least < self.least {
            let more = (self.least - least) as usize;
            self.digits.splice(0..0, std::iter::repeat_n(0, more));
            self.least = least;
        }
        let most = (value.weight - self.least) as usize + 1;
        if most > self.digits.len() {
            self.digits.resize(most, 0);
        }
        let first = (least - self.least) as usize;
        for (sum, &digit) in self.digits[first..].iter_mut().zip(value.digits.iter().rev()) {
            *sum += if value.negative { -i64::from(digit) } else { digit.into() };
        }
    }

    fn total(&self) -> Finite {
        const NBASE: i64 = 10_000;
        let (digits, rest) = carried(self.digits.iter().copied());
        let negative = rest < 0;
        // The digits of a negative sum are those of its magnitude.
        let (mut digits, mut rest) =
            if negative { carried(self.digits.iter().map(|digit| -digit)) } else { (digits, rest) };
        while rest > 0 {
            digits.push((rest % NBASE) as u16);
            rest /= NBASE;
        }
        let weight = self.least + digits.len() as i32 - 1;
        digits.reverse();
        Finite::new(negative, weight, self.dscale, digits)
    }
}

/// Carries what is above a digit to the next one. The rest has the sign of the sum.
fn carried(digits: impl Iterator<Item = i64>) -> (Vec<u16>, i64) {
    const NBASE: i64 = 10_000;
    let mut rest = 0;
    let digits = digits.map(|digit| {
        let sum = digit + rest;
        rest = sum.div_euclid(NBASE);
        sum.rem_euclid(NBASE) as u16
    });
    (digits.collect(), rest)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::i256;
    use proptest::prelude::*;

    use super::*;

    fn finite(text: &str) -> Finite {
        match Numeric::parse(text) {
            Some(Numeric::Finite(finite)) => finite,
            _ => panic!("{text}"),
        }
    }

    fn total(texts: &[&str]) -> Finite {
        let mut digits = Digits::default();
        texts.iter().for_each(|text| digits.add(&finite(text)));
        digits.total()
    }

    #[test]
    fn sums_of_numerics() {
        assert_eq!(total(&[]), finite("0"));
        assert_eq!(total(&["0.00"]), finite("0.00"));
        assert_eq!(total(&["9999.9999", "0.0001"]), finite("10000.0000"));
        assert_eq!(total(&["1", "-1.00"]), finite("0.00"));
        assert_eq!(total(&["-99999999", "0.00000001"]), finite("-99999998.99999999"));
        assert_eq!(total(&["1", "-10000", "0.5"]), finite("-9998.5"));
    }

    proptest! {
        #[test]
        fn sums_are_those_of_integers(values in prop::collection::vec((any::<i64>(), 0..9_i32), 0..20)) {
            let mut sum = NumericSum::default();
            let mut digits = Digits::default();
            let mut wanted = i256::ZERO;
            for &(value, scale) in &values {
                let number = Numeric::scaled(i256::from_i128(value.into()), scale, 8);
                sum.add_one(&number);
                let Numeric::Finite(number) = number else { continue };
                digits.add(&number);
                let power = i256::from_i128(10_i128.pow(8 - scale as u32));
                wanted = wanted.wrapping_add(i256::from_i128(value.into()).wrapping_mul(power));
            }
            let dscale = if values.is_empty() { 0 } else { 8 };
            let Numeric::Finite(wanted) = Numeric::scaled(wanted, 8, dscale) else { return Ok(()) };
            let (total, count) = sum.total_with(&Finite::integer(0), 0);
            prop_assert_eq!(total, Numeric::Finite(wanted.clone()));
            prop_assert_eq!(count, values.len() as u64);
            prop_assert_eq!(digits.total(), wanted);
        }
    }
}
