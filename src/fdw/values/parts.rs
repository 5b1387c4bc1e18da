//! A numeric taken apart, as the states of aggregates carry it.

use arrow::datatypes::i256;

use super::numeric::{LONG_NEGATIVE, SHORT, SHORT_DSCALE_MAX, SHORT_DSCALE_SHIFT, SHORT_NEGATIVE, image};

/// A numeric's header and digits (numeric.c, NumericShort and NumericLong), without its varlena header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parts {
    NaN,
    Infinity,
    MinusInfinity,
    Finite { negative: bool, weight: i32, dscale: u16, digits: Vec<u16> },
}

/// The two highest bits tell the form; of a special value, the next two which one.
const FORM: u16 = 0xc000;
const SPECIAL: u16 = 0xc000;
const SPECIAL_BITS: u16 = 0xf000;
const INFINITY: u16 = 0xd000;
const MINUS_INFINITY: u16 = 0xf000;
const LONG_DSCALE: u16 = 0x3fff;
const SHORT_WEIGHT: u16 = 0x3f;
const SHORT_WEIGHT_SIGN: u16 = 0x40;

impl Parts {
    /// `None` where the bytes are no numeric.
    pub fn of(bytes: &[u8]) -> Option<Parts> {
        let mut words = bytes.chunks_exact(2).map(|word| u16::from_ne_bytes([word[0], word[1]]));
        let header = words.next()?;
        Some(match header & FORM {
            SPECIAL => match header & SPECIAL_BITS {
                INFINITY => Parts::Infinity,
                MINUS_INFINITY => Parts::MinusInfinity,
                _ => Parts::NaN,
            },
            SHORT => {
                let below_zero = if header & SHORT_WEIGHT_SIGN != 0 { !i32::from(SHORT_WEIGHT) } else { 0 };
                Parts::Finite {
                    negative: header & SHORT_NEGATIVE != 0,
                    weight: i32::from(header & SHORT_WEIGHT) | below_zero,
                    dscale: header >> SHORT_DSCALE_SHIFT & SHORT_DSCALE_MAX,
                    digits: words.collect(),
                }
            }
            form => Parts::Finite {
                negative: form == LONG_NEGATIVE,
                weight: i32::from(words.next()? as i16),
                dscale: header & LONG_DSCALE,
                digits: words.collect(),
            },
        })
    }

    /// An integer's.
    pub fn integer(value: i128) -> Parts {
        const HEADER: usize = 4;
        Parts::of(&image(i256::from_i128(value), 0, 0)[HEADER..]).unwrap_or(Parts::ZERO)
    }

    pub const ZERO: Parts = Parts::Finite { negative: false, weight: 0, dscale: 0, digits: Vec::new() };

    /// As aggregates send sums from one process to another (numeric.c, numericvar_serialize); those of special
    /// values they count instead.
    pub fn send(&self, out: &mut Vec<u8>) {
        let Parts::Finite { negative, weight, dscale, digits } = self else { return Parts::ZERO.send(out) };
        let sign = if *negative { i32::from(LONG_NEGATIVE) } else { 0 };
        for word in [digits.len() as i32, *weight, sign, i32::from(*dscale)] {
            out.extend(word.to_be_bytes());
        }
        digits.iter().for_each(|digit| out.extend(digit.to_be_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_come_apart() {
        let parts = |value: i128, scale, dscale| {
            Parts::of(&image(i256::from_i128(value), scale, dscale)[4..]).unwrap()
        };
        let finite = |negative, weight, dscale, digits: &[u16]| Parts::Finite {
            negative,
            weight,
            dscale,
            digits: digits.to_vec(),
        };
        assert_eq!(parts(0, 2, 2), finite(false, 0, 2, &[]));
        assert_eq!(parts(-12_345, 2, 3), finite(true, 0, 3, &[123, 4500]));
        assert_eq!(parts(1, 8, 8), finite(false, -2, 8, &[1]));
        // A display scale that the short form does not hold.
        assert_eq!(parts(-5, 70, 70), finite(true, -18, 70, &[500]));
        assert_eq!(parts(7, -5, 0), finite(false, 1, 0, &[70]));
        let special = |header: u16| Parts::of(&header.to_ne_bytes()).unwrap();
        assert_eq!(
            [special(0xc000), special(0xd000), special(0xf000)],
            [Parts::NaN, Parts::Infinity, Parts::MinusInfinity]
        );
        let mut sent = Vec::new();
        parts(-12_345, 2, 3).send(&mut sent);
        assert_eq!(
            sent,
            [
                0,
                0,
                0,
                2,
                0,
                0,
                0,
                0,
                0,
                0,
                0x40,
                0,
                0,
                0,
                0,
                3,
                0,
                123,
                4500_u16.to_be_bytes()[0],
                4500_u16.to_be_bytes()[1]
            ]
        );
    }
}
