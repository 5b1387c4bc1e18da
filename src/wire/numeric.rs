//! numeric, as the heap stores it and as `numeric_send` sends it.
//!
//! A finite value is `sum(digit[i] * 10000 ^ (weight - i))`. Its display scale is the number of decimal digits that
//! its text shows after the point. The heap form (src/backend/utils/adt/numeric.c, "Interpretation of high bits") is
//! a native-endian header of 2 bytes (`NumericShort`) or 4 (`NumericLong`) and the digits, without zero groups at
//! either end. The wire form has a header of 8 bytes and is big-endian.
//!
//! Nothing here rounds: the integer at some scale is exactly the value, or there is none.

use super::le_u16;
use crate::types::{Reason, Shape};

const NUMERIC_SIGN_MASK: u16 = 0xC000;
const NUMERIC_POS: u16 = 0x0000;
const NUMERIC_NEG: u16 = 0x4000;
const NUMERIC_SHORT: u16 = 0x8000;
const NUMERIC_NAN: u16 = 0xC000;
const NUMERIC_PINF: u16 = 0xD000;
const NUMERIC_NINF: u16 = 0xF000;
/// The bits of the header that tell special values apart (`NUMERIC_EXT_SIGN_MASK`).
const NUMERIC_EXT_SIGN_MASK: u16 = 0xF000;
const NUMERIC_DSCALE_MASK: u16 = 0x3FFF;
const NUMERIC_SHORT_SIGN_MASK: u16 = 0x2000;
const NUMERIC_SHORT_DSCALE_MASK: u16 = 0x1F80;
const NUMERIC_SHORT_DSCALE_SHIFT: u16 = 7;
const NUMERIC_SHORT_WEIGHT_SIGN_MASK: u16 = 0x0040;
const NUMERIC_SHORT_WEIGHT_MASK: u16 = 0x003F;
/// `NBASE`, and the number of decimal digits in one of its digits (`DEC_DIGITS`).
const NBASE: u16 = 10_000;
pub(super) const DEC_DIGITS: i32 = 4;
const WIRE_HEADER: usize = 8;

/// A numeric. `WIRE` says that its digits are big-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numeric<'a, const WIRE: bool> {
    Finite(Num<'a, WIRE>),
    Nan,
    Infinity { negative: bool },
}

/// A finite numeric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Num<'a, const WIRE: bool> {
    pub(super) negative: bool,
    /// The weight of the first digit, as a power of 10000.
    pub(super) weight: i32,
    pub(super) dscale: u16,
    /// The digits, of two bytes each.
    digits: &'a [[u8; 2]],
}

/// A numeric from a heap cell: a varlena's payload.
pub type HeapNumeric<'a> = Numeric<'a, false>;
/// A numeric as `numeric_send` wrote it.
pub type WireNumeric<'a> = Numeric<'a, true>;

impl<'a, const WIRE: bool> Numeric<'a, WIRE> {
    #[inline]
    pub fn read(bytes: &'a [u8]) -> Result<Self, Reason> {
        if WIRE { Self::read_wire(bytes) } else { Self::read_heap(bytes) }
    }

    #[inline]
    fn read_heap(payload: &'a [u8]) -> Result<Self, Reason> {
        const SHORT_OF: Reason = Reason::Malformed("numeric shorter than its header");
        let header = le_u16(payload, 0).ok_or(SHORT_OF)?;
        let (negative, weight, dscale, digits) = match header & NUMERIC_SIGN_MASK {
            NUMERIC_SHORT => {
                // The weight is 7 bits in two's complement.
                let low = i32::from(header & NUMERIC_SHORT_WEIGHT_MASK);
                let weight = if header & NUMERIC_SHORT_WEIGHT_SIGN_MASK != 0 { low - 64 } else { low };
                let dscale = (header & NUMERIC_SHORT_DSCALE_MASK) >> NUMERIC_SHORT_DSCALE_SHIFT;
                (header & NUMERIC_SHORT_SIGN_MASK != 0, weight, dscale, &payload[2..])
            }
            NUMERIC_NAN => return special(header & NUMERIC_EXT_SIGN_MASK),
            sign => {
                let weight = le_u16(payload, 2).ok_or(SHORT_OF)? as i16;
                (sign == NUMERIC_NEG, i32::from(weight), header & NUMERIC_DSCALE_MASK, &payload[4..])
            }
        };
        Ok(Numeric::Finite(Num { negative, weight, dscale, digits: pairs(digits)? }))
    }

    #[inline]
    fn read_wire(bytes: &'a [u8]) -> Result<Self, Reason> {
        const HEADER: Reason = Reason::Malformed("numeric header");
        let (head, digits) = bytes.split_first_chunk::<WIRE_HEADER>().ok_or(HEADER)?;
        let word = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        let (count, weight, sign, dscale) = (word(0), word(2) as i16, word(4), word(6));
        let digits = pairs(digits)?;
        if digits.len() != usize::from(count) || dscale & !NUMERIC_DSCALE_MASK != 0 {
            return Err(HEADER);
        }
        match sign {
            NUMERIC_POS | NUMERIC_NEG => Ok(Numeric::Finite(Num {
                negative: sign == NUMERIC_NEG,
                weight: i32::from(weight),
                dscale,
                digits,
            })),
            _ => special(sign),
        }
    }

    /// Returns the value if it is finite; a decimal column has no other values.
    #[inline]
    pub fn finite(self) -> Result<Num<'a, WIRE>, Reason> {
        match self {
            Numeric::Finite(num) => Ok(num),
            Numeric::Nan => Err(Reason::NumericNan),
            Numeric::Infinity { .. } => Err(Reason::NumericInfinity),
        }
    }
}

fn special<'a, const WIRE: bool>(sign: u16) -> Result<Numeric<'a, WIRE>, Reason> {
    match sign {
        NUMERIC_NAN => Ok(Numeric::Nan),
        NUMERIC_PINF | NUMERIC_NINF => Ok(Numeric::Infinity { negative: sign == NUMERIC_NINF }),
        _ => Err(Reason::Malformed("numeric sign")),
    }
}

#[inline]
fn pairs(digits: &[u8]) -> Result<&[[u8; 2]], Reason> {
    match digits.as_chunks() {
        (digits, []) => Ok(digits),
        _ => Err(Reason::Malformed("numeric with half a digit")),
    }
}

const POW10: [u64; 20] = {
    let mut table = [1; 20];
    let mut i = 1;
    while i < table.len() {
        table[i] = table[i - 1] * 10;
        i += 1;
    }
    table
};

/// Returns 10 to the power `exponent`; `None` beyond 38, the most that an `i128` can represent.
#[inline]
pub fn pow10(exponent: u32) -> Option<i128> {
    match exponent {
        0..=19 => Some(i128::from(POW10[exponent as usize])),
        20..=38 => Some(i128::from(POW10[19]) * i128::from(POW10[exponent as usize - 19])),
        _ => None,
    }
}

impl<const WIRE: bool> Num<'_, WIRE> {
    #[inline]
    fn order(pair: [u8; 2]) -> u16 {
        if WIRE { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }
    }

    /// Returns the digit whose weight is `weight`; zero if it is not stored.
    #[inline]
    pub(super) fn digit_at(&self, weight: i32) -> u16 {
        let index = usize::try_from(self.weight - weight).ok();
        index.and_then(|index| self.digits.get(index)).map_or(0, |&pair| Self::order(pair))
    }

    /// Returns whether the value is negative, the first digit's weight and the display scale.
    pub fn header(&self) -> (bool, i32, u16) {
        (self.negative, self.weight, self.dscale)
    }

    /// Returns the digits that are stored.
    pub fn digits(&self) -> impl Iterator<Item = u16> + Clone {
        self.digits.iter().map(|&pair| Self::order(pair))
    }

    pub fn dscale(&self) -> u16 {
        self.dscale
    }

    /// Checks that all digits are below 10000. The other functions accept any `u16`, but their result is then
    /// meaningless.
    pub fn check(&self) -> Result<(), Reason> {
        match self.digits.iter().all(|&pair| Self::order(pair) < NBASE) {
            true => Ok(()),
            false => Err(Reason::Malformed("numeric digit above 9999")),
        }
    }

    /// Returns the weights of the first and the last digit that is not zero; `None` for zero.
    pub(super) fn span(&self) -> Option<(i32, i32)> {
        let first = self.digits.iter().position(|&pair| pair != [0; 2])?;
        let last = self.digits.iter().rposition(|&pair| pair != [0; 2])?;
        Some((self.weight - first as i32, self.weight - last as i32))
    }

    /// Returns the narrowest shape that represents the value exactly and keeps its display scale.
    ///
    /// PostgreSQL stores no digits beyond the display scale. If there were any, the shape would include them, so that
    /// no value is a misfit in its own shape.
    pub fn shape(&self) -> Shape {
        let Some((first, last)) = self.span() else {
            return Shape::numeric(0, self.dscale);
        };
        let whole = match first {
            ..0 => 0,
            _ => first * DEC_DIGITS + decimal_digits(self.digit_at(first)),
        };
        let stored = match last {
            0.. => 0,
            _ => -last * DEC_DIGITS - trailing_zeros(self.digit_at(last)),
        };
        let saturate = |count: i32| u16::try_from(count).unwrap_or(u16::MAX);
        Shape::numeric(saturate(whole), saturate(stored).max(self.dscale))
    }

    /// Returns the value times `10 ^ scale`; `None` if that is not an integer or not below 10^38.
    pub fn to_i128_at(&self, scale: u8) -> Option<i128> {
        self.check().ok()?;
        let Some((first, last)) = self.span() else {
            return Some(0);
        };
        let exponent = last * DEC_DIGITS + i32::from(scale);
        // Beyond these bounds the result is below 1 or has more than 38 digits, which needs no long loop.
        if exponent <= -DEC_DIGITS || first * DEC_DIGITS + i32::from(scale) > 38 {
            return None;
        }
        let mut value: i128 = 0;
        for weight in (last + 1..=first).rev() {
            value = value.checked_mul(i128::from(NBASE))?.checked_add(i128::from(self.digit_at(weight)))?;
        }
        let last = u64::from(self.digit_at(last));
        let (shift, last) = match exponent {
            0.. => (DEC_DIGITS + exponent, i128::from(last).checked_mul(pow10(exponent as u32)?)?),
            _ => (DEC_DIGITS + exponent, i128::from(exact(last, POW10[-exponent as usize])?)),
        };
        let high = if value == 0 { 0 } else { value.checked_mul(pow10(shift as u32)?)? };
        let value = high.checked_add(last).filter(|&value| pow10(38).is_some_and(|limit| value < limit))?;
        Some(if self.negative { -value } else { value })
    }
}

/// Returns `value / divisor` if there is no remainder.
#[inline]
fn exact(value: u64, divisor: u64) -> Option<u64> {
    value.is_multiple_of(divisor).then_some(value / divisor)
}

fn decimal_digits(digit: u16) -> i32 {
    match digit {
        0..=9 => 1,
        10..=99 => 2,
        100..=999 => 3,
        _ => 4,
    }
}

/// Returns the number of zeros at the end of a digit's four decimal digits.
fn trailing_zeros(digit: u16) -> i32 {
    (1..DEC_DIGITS).take_while(|&zeros| u64::from(digit).is_multiple_of(POW10[zeros as usize])).count() as i32
}

/// Returns the number of bytes that [`write_wire`] writes for a payload.
#[inline]
pub fn wire_len(payload: &[u8]) -> usize {
    let header = payload.first_chunk().map_or(0, |header| u16::from_le_bytes(*header));
    let digits = match header & NUMERIC_SIGN_MASK {
        NUMERIC_NAN => 0,
        NUMERIC_SHORT => payload.len().saturating_sub(2),
        _ => payload.len().saturating_sub(4),
    };
    WIRE_HEADER + digits
}

/// Writes what `numeric_send` sends for a varlena's payload into `out`, which is [`wire_len`] bytes.
pub fn write_wire(payload: &[u8], out: &mut [u8]) -> Result<(), Reason> {
    let (digits, weight, sign, dscale): (&[[u8; 2]], i32, u16, u16) = match HeapNumeric::read(payload)? {
        Numeric::Finite(num) => {
            let sign = if num.negative { NUMERIC_NEG } else { NUMERIC_POS };
            (num.digits, num.weight, sign, num.dscale)
        }
        // `numeric_send` reads a special value's header as a short one. The sign bits of the infinities then show as
        // a display scale of 32, which is what it sends.
        Numeric::Nan => (&[], 0, NUMERIC_NAN, 0),
        Numeric::Infinity { negative: false } => (&[], 0, NUMERIC_PINF, 32),
        Numeric::Infinity { negative: true } => (&[], 0, NUMERIC_NINF, 32),
    };
    let count = u16::try_from(digits.len()).map_err(|_| Reason::Malformed("numeric too long"))?;
    let words = [count, weight as u16, sign, dscale].map(u16::to_be_bytes);
    let swapped = digits.iter().map(|&[low, high]| [high, low]);
    let (room, rest) = out.as_chunks_mut();
    if room.len() != words.len() + digits.len() || !rest.is_empty() {
        return Err(Reason::Malformed("numeric of the wrong length"));
    }
    room.iter_mut().zip(words.into_iter().chain(swapped)).for_each(|(to, word)| *to = word);
    Ok(())
}

#[cfg(test)]
#[path = "numeric_tests.rs"]
mod tests;
