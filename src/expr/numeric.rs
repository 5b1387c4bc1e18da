//! PostgreSQL's numeric: reads, compares and writes values.

use std::cmp::Ordering;

use arrow::datatypes::i256;
use serde::{Deserialize, Serialize};

use super::range::Place;
use crate::wire::numeric::{self as format, HeapNumeric};

/// A numeric. Those that compare equal may differ in how many digits they show after the point.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Numeric {
    MinusInfinity,
    Finite(Finite),
    Infinity,
    NaN,
}

/// A finite value, which is `sum(digits[i] * 10000 ^ (weight - i))`. The first digit and the last are not 0; zero has
/// no digits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finite {
    pub negative: bool,
    pub weight: i32,
    /// Decimal digits that are shown after the point.
    pub dscale: u16,
    pub digits: Vec<u16>,
}

const NBASE: u16 = 10_000;
/// Decimal digits in one of `digits`.
const DEC_DIGITS: i32 = 4;
/// The bytes of the varlena header at the beginning of an image.
pub const IMAGE_HEADER: usize = 4;
const SHORT: u16 = 0x8000;
pub const SHORT_NEGATIVE: u16 = 0x2000;
const SHORT_DSCALE_SHIFT: u16 = 7;
const SHORT_DSCALE_MAX: u16 = 63;
const SHORT_WEIGHTS: std::ops::RangeInclusive<i32> = -64..=63;
const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xc000;
const INFINITY: u16 = 0xd000;
const MINUS_INFINITY: u16 = 0xf000;

impl Numeric {
    /// Reads a varlena's payload; `None` if the bytes are not a numeric.
    pub fn read(payload: &[u8]) -> Option<Numeric> {
        Some(match HeapNumeric::read(payload).ok()? {
            format::Numeric::Finite(num) => {
                let (negative, weight, dscale) = num.header();
                Numeric::Finite(Finite::new(negative, weight, dscale, num.digits().collect()))
            }
            format::Numeric::Nan => Numeric::NaN,
            format::Numeric::Infinity { negative: false } => Numeric::Infinity,
            format::Numeric::Infinity { negative: true } => Numeric::MinusInfinity,
        })
    }

    /// Compares the value with that of a varlena's payload. PostgreSQL stores no zeros at either end of the digits.
    pub fn order(&self, payload: &[u8]) -> Ordering {
        match (self, HeapNumeric::read(payload)) {
            (Numeric::Finite(finite), Ok(format::Numeric::Finite(num))) => {
                let (negative, weight, _) = num.header();
                order(negative, weight, num.digits(), finite).reverse()
            }
            _ => self.cmp(&Numeric::read(payload).unwrap_or(Numeric::NaN)),
        }
    }

    /// Returns `value * 10^-scale`.
    pub fn scaled(value: i256, scale: i32, dscale: u16) -> Numeric {
        Numeric::Finite(Finite::scaled(value, scale, dscale))
    }

    /// Returns where the value lies among the integers that stand for multiples of `10^-scale`.
    pub fn place(&self, scale: i32) -> Place {
        let finite = match self {
            Numeric::MinusInfinity => return Place::Below,
            Numeric::Infinity | Numeric::NaN => return Place::Above,
            Numeric::Finite(finite) => finite,
        };
        match (finite.times(scale), finite.negative) {
            (Some((magnitude, exact)), false) => Place::At(magnitude, exact),
            (Some((magnitude, exact)), true) => Place::At(-magnitude - i128::from(!exact), exact),
            (None, false) => Place::Above,
            (None, true) => Place::Below,
        }
    }

    /// Returns the value as the heap has it, behind a varlena header of four bytes.
    pub fn image(&self) -> Vec<u8> {
        let mut words = Vec::new();
        match self {
            Numeric::NaN => words.push(NAN),
            Numeric::Infinity => words.push(INFINITY),
            Numeric::MinusInfinity => words.push(MINUS_INFINITY),
            Numeric::Finite(Finite { negative, weight, dscale, digits }) => {
                let (first, second) = header(*negative, *weight, *dscale);
                words.push(first);
                words.extend(second);
                words.extend(digits);
            }
        }
        let size = IMAGE_HEADER + 2 * words.len();
        let mut image = Vec::with_capacity(size);
        image.extend(((size as u32) << 2).to_ne_bytes());
        words.iter().for_each(|word| image.extend(word.to_ne_bytes()));
        image
    }
}

/// Bytes of a short value in the heap's form: a header of two words and five digits.
const SHORT_BYTES: usize = 14;

/// Returns what `Numeric::scaled` makes of a value, in the heap's form without the varlena header, and its length; `None`
/// if the value has more than 64 bits as a multiple of a power of 10000. Nothing is allocated.
pub fn short_image(value: i128, scale: u8, dscale: u16) -> Option<([u8; SHORT_BYTES], usize)> {
    const MOST: usize = 5;
    let fraction = i32::from(scale.div_ceil(DEC_DIGITS as u8));
    let more = format::pow10((DEC_DIGITS * fraction - i32::from(scale)) as u32)?;
    let mut rest = u64::try_from(value.unsigned_abs().checked_mul(more as u128)?).ok()?;
    let (mut digits, mut start, mut end) = ([0; MOST], MOST, MOST);
    while rest != 0 {
        start -= 1;
        digits[start] = (rest % NBASE as u64) as u16;
        rest /= NBASE as u64;
    }
    let weight = if start == MOST { 0 } else { (MOST - start) as i32 - 1 - fraction };
    while end > start && digits[end - 1] == 0 {
        end -= 1;
    }
    let (first, second) = header(value < 0, weight, dscale);
    let (mut image, mut length) = ([0; SHORT_BYTES], 0);
    for word in [first].into_iter().chain(second).chain(digits[start..end].iter().copied()) {
        image[length..length + 2].copy_from_slice(&word.to_ne_bytes());
        length += 2;
    }
    Some((image, length))
}

/// Returns the header of a finite value in the heap's form: one word if it is short, otherwise two.
pub fn header(negative: bool, weight: i32, dscale: u16) -> (u16, Option<u16>) {
    if dscale <= SHORT_DSCALE_MAX && SHORT_WEIGHTS.contains(&weight) {
        let sign = if negative { SHORT_NEGATIVE } else { 0 };
        // Seven bits of two's complement: the sign bit lies next to the six others.
        (SHORT | sign | dscale << SHORT_DSCALE_SHIFT | weight as u16 & 0x7f, None)
    } else {
        (if negative { NEGATIVE } else { 0 } | dscale, Some(weight as i16 as u16))
    }
}

impl Finite {
    /// Leaves out the zeros at both ends of the digits.
    pub fn new(negative: bool, weight: i32, dscale: u16, mut digits: Vec<u16>) -> Finite {
        while digits.last() == Some(&0) {
            digits.pop();
        }
        let zeros = digits.iter().take_while(|&&digit| digit == 0).count();
        digits.drain(..zeros);
        match digits.is_empty() {
            true => Finite { dscale, ..Finite::default() },
            false => Finite { negative, weight: weight - zeros as i32, dscale, digits },
        }
    }

    pub fn integer(value: i128) -> Finite {
        Finite::scaled(i256::from_i128(value), 0, 0)
    }

    /// Returns `value * 10^-scale`.
    pub fn scaled(value: i256, scale: i32, dscale: u16) -> Finite {
        let short = value.to_i128().and_then(|value| Finite::scaled_short(value, scale, dscale));
        short.unwrap_or_else(|| Finite::scaled_long(value, scale, dscale))
    }

    /// Returns the same of a value that has 64 bits as a multiple of a power of 10000.
    fn scaled_short(value: i128, scale: i32, dscale: u16) -> Option<Finite> {
        let fraction = -(-scale).div_euclid(DEC_DIGITS);
        let more = format::pow10((DEC_DIGITS * fraction - scale) as u32)?;
        let mut rest = u64::try_from(value.unsigned_abs().checked_mul(more as u128)?).ok()?;
        // The greatest has five groups of four digits.
        let mut digits = Vec::with_capacity(5);
        while rest != 0 {
            digits.push((rest % NBASE as u64) as u16);
            rest /= NBASE as u64;
        }
        digits.reverse();
        let weight = digits.len() as i32 - 1 - fraction;
        Some(Finite::new(value < 0, weight, dscale, digits))
    }

    fn scaled_long(value: i256, scale: i32, dscale: u16) -> Finite {
        Finite::scaled_text(&value.to_string(), scale, dscale)
    }

    /// Returns the same of a value in decimal digits, with a sign if it is negative.
    pub fn scaled_text(text: &str, scale: i32, dscale: u16) -> Finite {
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
        // The point lies between two groups of four digits.
        let fraction = -(-scale).div_euclid(DEC_DIGITS);
        let padded = format!("{text}{}", &"000"[..(DEC_DIGITS * fraction - scale) as usize]);
        let group = |group: &[u8]| group.iter().fold(0, |value, digit| value * 10 + u16::from(digit - b'0'));
        let mut digits: Vec<u16> = padded.as_bytes().rchunks(DEC_DIGITS as usize).map(group).collect();
        digits.reverse();
        let weight = digits.len() as i32 - 1 - fraction;
        Finite::new(negative, weight, dscale, digits)
    }

    /// Returns the magnitude times `10^scale`, and whether it is exactly that or more by less than 1; `None`
    /// beyond 128 bits.
    fn times(&self, scale: i32) -> Option<(i128, bool)> {
        let power = |exponent: i32| format::pow10(exponent.unsigned_abs());
        let (mut magnitude, mut exact) = (0_i128, true);
        for (index, &digit) in self.digits.iter().enumerate() {
            let exponent = DEC_DIGITS * (self.weight - index as i32) + scale;
            let part = match exponent {
                0.. => i128::from(digit).checked_mul(power(exponent)?)?,
                _ => {
                    // A digit is below 10^4: nothing is left of it from there on.
                    let divisor = power(-exponent).filter(|_| -exponent < DEC_DIGITS).unwrap_or(NBASE.into());
                    exact &= i128::from(digit) % divisor == 0;
                    i128::from(digit) / divisor
                }
            };
            magnitude = magnitude.checked_add(part)?;
        }
        Some((magnitude, exact))
    }

    /// Appends what aggregates send of a sum from one process to another (numeric.c, numericvar_serialize).
    pub fn send(&self, out: &mut Vec<u8>) {
        let sign = if self.negative { i32::from(NEGATIVE) } else { 0 };
        for word in [self.digits.len() as i32, self.weight, sign, i32::from(self.dscale)] {
            out.extend(word.to_be_bytes());
        }
        self.digits.iter().for_each(|digit| out.extend(digit.to_be_bytes()));
    }
}

/// Compares finite values: the first one by its sign, the first digit's weight, and its digits.
fn order(negative: bool, weight: i32, digits: impl Iterator<Item = u16> + Clone, other: &Finite) -> Ordering {
    let sign = |is_zero: bool, negative: bool| match (is_zero, negative) {
        (true, _) => 0,
        (false, true) => -1,
        (false, false) => 1,
    };
    let signs =
        sign(digits.clone().next().is_none(), negative).cmp(&sign(other.digits.is_empty(), other.negative));
    signs.then_with(|| {
        let magnitudes = weight.cmp(&other.weight).then_with(|| digits.cmp(other.digits.iter().copied()));
        if negative { magnitudes.reverse() } else { magnitudes }
    })
}

impl Ord for Finite {
    fn cmp(&self, other: &Finite) -> Ordering {
        order(self.negative, self.weight, self.digits.iter().copied(), other)
    }
}

impl PartialOrd for Finite {
    fn partial_cmp(&self, other: &Finite) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The order is that of cmp_numerics in numeric.c: NaN equals itself and is above all.
impl Ord for Numeric {
    fn cmp(&self, other: &Numeric) -> Ordering {
        let rank = |of: &Numeric| match of {
            Numeric::MinusInfinity => 0,
            Numeric::Finite(_) => 1,
            Numeric::Infinity => 2,
            Numeric::NaN => 3,
        };
        match (self, other) {
            (Numeric::Finite(one), Numeric::Finite(other)) => one.cmp(other),
            _ => rank(self).cmp(&rank(other)),
        }
    }
}

impl PartialOrd for Numeric {
    fn partial_cmp(&self, other: &Numeric) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Numeric {
    fn eq(&self, other: &Numeric) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Numeric {}

#[cfg(any(test, fuzzing))]
impl Numeric {
    /// Reads a numeric as PostgreSQL prints it.
    pub fn parse(text: &str) -> Option<Numeric> {
        match text {
            "NaN" => return Some(Numeric::NaN),
            "Infinity" => return Some(Numeric::Infinity),
            "-Infinity" => return Some(Numeric::MinusInfinity),
            _ => {}
        }
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let is_number = whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
        if !is_number || whole.is_empty() || whole.len() > 1000 || fraction.len() > 1000 {
            return None;
        }
        let before = "0".repeat(whole.len().next_multiple_of(4) - whole.len());
        let after = "0".repeat(fraction.len().next_multiple_of(4) - fraction.len());
        let digits = format!("{before}{whole}{fraction}{after}");
        let group = |group: &[u8]| group.iter().fold(0, |value, digit| value * 10 + u16::from(digit - b'0'));
        let digits = digits.as_bytes().chunks(4).map(group).collect();
        let weight = (whole.len().div_ceil(4)) as i32 - 1;
        Some(Numeric::Finite(Finite::new(negative, weight, fraction.len() as u16, digits)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finite(negative: bool, weight: i32, dscale: u16, digits: &[u16]) -> Finite {
        Finite { negative, weight, dscale, digits: digits.to_vec() }
    }

    fn scaled(value: i128, scale: i32, dscale: u16) -> Finite {
        Finite::scaled(i256::from_i128(value), scale, dscale)
    }

    #[test]
    fn integers_become_numerics() {
        assert_eq!(scaled(0, 2, 2), finite(false, 0, 2, &[]));
        assert_eq!(scaled(-12_345, 2, 3), finite(true, 0, 3, &[123, 4500]));
        assert_eq!(scaled(1, 8, 8), finite(false, -2, 8, &[1]));
        assert_eq!(scaled(-5, 70, 70), finite(true, -18, 70, &[500]));
        assert_eq!(scaled(7, -5, 0), finite(false, 1, 0, &[70]));
    }

    #[test]
    fn short_values_are_made_as_long_ones() {
        let values =
            [0, 1, -1, 9, 10_000, 99_999_999, -123_456_789_012_345, i64::MAX.into(), i128::MAX, i128::MIN];
        for value in values {
            for scale in [-9, -4, -1, 0, 1, 2, 3, 4, 5, 8, 17, 38] {
                let long = Finite::scaled_long(i256::from_i128(value), scale, 7);
                assert_eq!(scaled(value, scale, 7), long, "{value} {scale}");
            }
        }
        assert!(Finite::scaled_short(-99_999_999, 2, 2).is_some());
    }

    #[test]
    fn images_are_read_again() {
        let numbers = ["0", "-123.450", "0.00000001", "10000", "99999999999999999999.5", "-0.0001"];
        let far = [scaled(-5, 70, 70), scaled(7, -300, 0)].map(Numeric::Finite);
        let special = ["NaN", "Infinity", "-Infinity"];
        let named = numbers.iter().chain(&special).map(|text| Numeric::parse(text).unwrap());
        for number in named.chain(far) {
            let image = number.image();
            assert_eq!(image.len() as u32, u32::from_le_bytes(image[..4].try_into().unwrap()) >> 2);
            let again = Numeric::read(&image[4..]).unwrap();
            assert_eq!(format!("{again:?}"), format!("{number:?}"));
        }
        assert!(Numeric::read(&[1]).is_none());
    }

    #[test]
    fn short_images_are_those_of_any_value() {
        let numbers = [0, 1, -1, 9_999, 10_000, -120_000, 123_456_789, i64::MAX.into(), i64::MIN.into()];
        let wide = [u64::MAX.into(), i128::from(u64::MAX) + 1, i128::MAX, i128::MIN];
        let mut short = 0;
        for value in numbers.into_iter().chain(wide) {
            for (scale, dscale) in (0..=38).flat_map(|scale| [(scale, 0), (scale, scale.into()), (scale, 70)])
            {
                let Some((image, length)) = short_image(value, scale, dscale) else { continue };
                let wanted = Numeric::scaled(i256::from_i128(value), scale.into(), dscale).image();
                assert_eq!(image[..length], wanted[IMAGE_HEADER..], "{value} at {scale}, {dscale}");
                short += 1;
            }
        }
        assert!(short > 600 && short_image(i128::MAX, 0, 0).is_none());
    }

    #[test]
    fn sums_are_sent() {
        let mut sent = Vec::new();
        scaled(-12_345, 2, 3).send(&mut sent);
        let words = |words: &[i32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
        assert_eq!(sent, [words(&[2, 0, 0x4000, 3]), vec![0, 123, 0x11, 0x94]].concat());
    }

    #[test]
    fn they_order_as_in_postgresql() {
        let ordered = [
            "-Infinity",
            "-10000",
            "-1.5",
            "-0.0001",
            "0",
            "0.0001",
            "1.4999",
            "1.5",
            "10000",
            "10000.0001",
            "Infinity",
            "NaN",
        ];
        let numbers: Vec<Numeric> = ordered.iter().map(|text| Numeric::parse(text).unwrap()).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b));
        for (one, other) in numbers.iter().flat_map(|one| numbers.iter().map(move |other| (one, other))) {
            assert_eq!(one.order(&other.image()[4..]), one.cmp(other), "{one:?} {other:?}");
        }
        assert_eq!(Numeric::parse("1.50"), Numeric::parse("1.5"));
        assert_eq!(Numeric::parse("-0.0"), Numeric::parse("0"));
    }
}
