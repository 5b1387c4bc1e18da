//! Converts decimals and integers to numeric, in the heap's form (numeric.c, NumericShort and NumericLong)
//! behind a varlena header of four bytes.

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray};
use arrow::datatypes::*;

use super::{Misfit, Words, unexpected};
use crate::expr::{self, Decimals, Finite, Numeric, SHORT_NEGATIVE};
use crate::types::Reason;

/// numeric(p,s): below 10^(p-s) and a multiple of 10^-s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumericLimit {
    pub precision: i32,
    pub scale: i32,
}

const HEADER: usize = 4;
const NBASE: u128 = 10_000;

/// The most bytes of a 128-bit value: headers, and eleven groups of four digits (39 digits, aligned to a group
/// or not), rounded up.
const STRIDE: usize = 32;

/// Returns an array's numbers as they are; `None` for an array of another type, and an error for the first value
/// that the limit does not allow.
pub fn decimals(array: &ArrayRef, limit: Option<NumericLimit>) -> Result<Option<Decimals<'_>>, Misfit> {
    let Some(scale) = Decimals::scale(array.data_type()) else { return Ok(None) };
    let rules = Rules::new(scale, limit);
    let decimals = Decimals::new(array, rules.dscale);
    let breaks = |value: i128| rules.check(value.unsigned_abs()).err();
    if rules.step == 1 && decimals.is_some_and(|decimals| decimals.are_within(rules.most)) {
        return Ok(decimals);
    }
    let found = limit.and(decimals).and_then(|decimals| decimals.find(|value| breaks(value).is_some()));
    match found.and_then(|(row, value)| Some(Misfit { row, reason: breaks(value)? })) {
        Some(misfit) => Err(misfit),
        None => Ok(decimals),
    }
}

pub fn numerics(array: &ArrayRef, limit: Option<NumericLimit>, out: &mut Words) -> Result<(), Misfit> {
    match array.data_type() {
        DataType::Int8 => of::<Int8Type>(array, 0, limit, out),
        DataType::Int16 => of::<Int16Type>(array, 0, limit, out),
        DataType::Int32 => of::<Int32Type>(array, 0, limit, out),
        DataType::Int64 => of::<Int64Type>(array, 0, limit, out),
        DataType::UInt8 => of::<UInt8Type>(array, 0, limit, out),
        DataType::UInt16 => of::<UInt16Type>(array, 0, limit, out),
        DataType::UInt32 => of::<UInt32Type>(array, 0, limit, out),
        DataType::UInt64 => of::<UInt64Type>(array, 0, limit, out),
        DataType::Decimal32(_, scale) => of::<Decimal32Type>(array, *scale, limit, out),
        DataType::Decimal64(_, scale) => of::<Decimal64Type>(array, *scale, limit, out),
        DataType::Decimal128(_, scale) => of::<Decimal128Type>(array, *scale, limit, out),
        DataType::Decimal256(_, scale) => wide(array, *scale, limit, out),
        _ => unexpected(),
    }
}

fn of<A: ArrowPrimitiveType>(
    array: &ArrayRef,
    scale: i8,
    limit: Option<NumericLimit>,
    out: &mut Words,
) -> Result<(), Misfit>
where
    A::Native: Into<i128>,
{
    let Some(values) = array.as_primitive_opt::<A>() else { return unexpected() };
    let rules = Rules::new(scale.into(), limit);
    let mut at = out.arena(values.len() * STRIDE)?;
    out.words.reserve(values.len());
    for (row, (&value, &null)) in values.values().iter().zip(&out.nulls).enumerate() {
        if null {
            out.words.push(0);
            continue;
        }
        let value: i128 = value.into();
        let magnitude = value.unsigned_abs();
        let mut image = [0; STRIDE];
        if magnitude <= rules.small && rules.step == 1 {
            rules.write_small(value < 0, magnitude as u64, &mut image);
        } else {
            rules.check(magnitude).map_err(|reason| Misfit { row, reason })?;
            rules.write(value < 0, magnitude, &mut image);
        }
        // SAFETY: the arena has STRIDE bytes for each row.
        unsafe { at.cast::<[u8; STRIDE]>().write(image) };
        out.words.push(at as u64);
        at = at.wrapping_add(STRIDE);
    }
    Ok(())
}

/// What is the same for all values of a column: each is `magnitude * 10^-scale`.
struct Rules {
    /// Digits shown after the point.
    dscale: u16,
    /// The factor by which the magnitude ends at a group of four digits.
    pad: u128,
    /// Groups after the point.
    fraction: i32,
    /// The magnitude is a multiple of this.
    step: u128,
    /// The magnitude is at most this.
    most: u128,
    /// Magnitudes up to this one take three groups at most, behind a short header.
    small: u128,
    /// A short header without sign and weight.
    header: u16,
}

/// Three groups of digits.
const THREE_GROUPS: u128 = NBASE * NBASE * NBASE - 1;

impl Rules {
    fn new(scale: i32, limit: Option<NumericLimit>) -> Rules {
        let fraction = -(-scale).div_euclid(4);
        let pad = 10_u128.pow((4 * fraction - scale) as u32);
        let mut rules = Rules {
            dscale: scale.max(0) as u16,
            pad,
            fraction,
            step: 1,
            most: u128::MAX,
            small: 0,
            header: 0,
        };
        if let Some(NumericLimit { precision, scale: declared }) = limit {
            rules.dscale = declared.max(0) as u16;
            rules.step = power(scale - declared).unwrap_or(u128::MAX);
            rules.most = match precision - declared + scale {
                digits if digits < 0 => 0,
                digits => power(digits).map_or(u128::MAX, |bound| bound - 1),
            };
        }
        if let (header, None) = expr::header(false, 0, rules.dscale) {
            rules.small = (THREE_GROUPS / pad).min(rules.most);
            rules.header = header;
        }
        rules
    }

    /// Writes most values, those with a magnitude of at most `small`, without loops.
    #[inline]
    fn write_small(&self, negative: bool, magnitude: u64, image: &mut [u8; STRIDE]) {
        const BASE: u64 = NBASE as u64;
        let padded = magnitude * self.pad as u64;
        let groups = [padded / (BASE * BASE), padded / BASE % BASE, padded % BASE];
        // As little-endian words end to end, the most significant first; leading zeros are shifted out.
        let words = groups[0] | groups[1] << 16 | groups[2] << 32;
        let leading = (words.trailing_zeros() / 16).min(3);
        let trailing = ((words << 16).leading_zeros() / 16).min(3);
        let (count, weight, sign) = match words {
            0 => (0, 0, 0),
            _ => {
                let sign = if negative { SHORT_NEGATIVE } else { 0 };
                (3 - leading - trailing, 2 - leading as i32 - self.fraction, sign)
            }
        };
        let header = self.header | sign | weight as u16 & 0x7f;
        image[..HEADER].copy_from_slice(&((HEADER as u32 + 2 + 2 * count) << 2).to_le_bytes());
        image[4..6].copy_from_slice(&header.to_le_bytes());
        image[6..14].copy_from_slice(&(words >> (16 * leading.min(2))).to_le_bytes());
    }

    fn check(&self, magnitude: u128) -> Result<(), Reason> {
        if magnitude > self.most {
            return Err(Reason::OutOfRange);
        }
        if self.step > 1 && !magnitude.is_multiple_of(self.step) {
            return Err(Reason::Malformed("the type has fewer digits after the point than the value"));
        }
        Ok(())
    }

    #[inline]
    fn write(&self, negative: bool, magnitude: u128, image: &mut [u8; STRIDE]) {
        // Least significant first. Padding adds at most three digits to 39: eleven groups.
        let mut groups = [0_u16; 11];
        let mut count = 0;
        match u64::try_from(magnitude) {
            Ok(small) if small < u64::MAX / 1000 => {
                let mut rest = small * self.pad as u64;
                while rest != 0 {
                    groups[count] = (rest % NBASE as u64) as u16;
                    rest /= NBASE as u64;
                    count += 1;
                }
            }
            _ => {
                // Only the lowest group takes the padding, so that nothing overflows.
                let split = NBASE / self.pad;
                let mut rest = magnitude / split;
                groups[0] = (magnitude % split * self.pad) as u16;
                count = 1;
                while rest != 0 {
                    groups[count] = (rest % NBASE) as u16;
                    rest /= NBASE;
                    count += 1;
                }
            }
        }
        let digits = &groups[..count];
        write_groups(negative, digits, count as i32 - 1 - self.fraction, self.dscale, image);
    }
}

fn power(exponent: i32) -> Option<u128> {
    match u32::try_from(exponent) {
        Ok(exponent) => 10_u128.checked_pow(exponent),
        Err(_) => Some(1),
    }
}

/// Writes a numeric of the groups, which are least significant first and do not end in 0.
fn write_groups(negative: bool, groups: &[u16], weight: i32, dscale: u16, image: &mut [u8; STRIDE]) {
    let zeros = groups.iter().take_while(|&&group| group == 0).count();
    let groups = &groups[zeros..];
    let (negative, weight) = if groups.is_empty() { (false, 0) } else { (negative, weight) };
    let mut at = HEADER;
    let mut put = |word: u16| {
        image[at..at + 2].copy_from_slice(&word.to_ne_bytes());
        at += 2;
    };
    let (first, second) = expr::header(negative, weight, dscale);
    put(first);
    second.into_iter().for_each(&mut put);
    groups.iter().rev().for_each(|&group| put(group));
    image[..HEADER].copy_from_slice(&((at as u32) << 2).to_ne_bytes());
}

/// Headers and twenty groups: 77 digits and three zeros.
const WIDE_STRIDE: usize = 48;

fn wide(array: &ArrayRef, scale: i8, limit: Option<NumericLimit>, out: &mut Words) -> Result<(), Misfit> {
    let Some(values) = array.as_primitive_opt::<Decimal256Type>() else { return unexpected() };
    let mut at = out.arena(values.len() * WIDE_STRIDE)?;
    for row in 0..values.len() {
        if out.nulls[row] {
            out.words.push(0);
            continue;
        }
        let text = values.value(row).to_string();
        let dscale = shown_digits(&text, scale.into(), limit).map_err(|reason| Misfit { row, reason })?;
        let image = Numeric::Finite(Finite::scaled_text(&text, scale.into(), dscale)).image();
        // SAFETY: the arena has WIDE_STRIDE bytes for each row, and no 256-bit value takes more.
        unsafe { at.copy_from_nonoverlapping(image.as_ptr(), image.len()) };
        out.words.push(at as u64);
        at = at.wrapping_add(WIDE_STRIDE);
    }
    Ok(())
}

/// Returns how many digits a value shows after the point, if the limit allows it. The value is an integer in decimal
/// digits, times `10^-scale`.
fn shown_digits(text: &str, scale: i32, limit: Option<NumericLimit>) -> Result<u16, Reason> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let mut dscale = scale.max(0);
    if let Some(limit) = limit {
        dscale = limit.scale.max(0);
        let significant = digits.trim_start_matches('0').len() as i32;
        let zeros = digits.len() as i32 - digits.trim_end_matches('0').len() as i32;
        if significant > limit.precision - limit.scale + scale {
            return Err(Reason::OutOfRange);
        }
        if significant > 0 && zeros < scale - limit.scale {
            return Err(Reason::Malformed("the type has fewer digits after the point than the value"));
        }
    }
    Ok(dscale as u16)
}
