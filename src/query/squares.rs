//! The state of a variance: the sum of values and of their squares, which are exact.

use arrow::datatypes::i256;

use super::keys::wide;
use crate::expr::Finite;

/// The sum (2 words) and the sum of squares (4) at the aggregate's scale and its square's, the number of values, the
/// largest scale that one shows, and how many values are not finite.
pub const WORDS: usize = 9;
const SQUARES: std::ops::Range<usize> = 2..6;
const COUNT: usize = 6;
const SHOWN: usize = 7;
const SPECIAL: usize = 8;

/// Adds a value. The sum of all magnitudes is below 2^126, so that the sum of squares fits.
#[inline(always)]
pub fn add(state: &mut [u64; WORDS], value: i128, scale: u8) {
    let sum = wide(state[0], state[1]).wrapping_add(value);
    put_sum(state, sum);
    match u64::try_from(value.unsigned_abs()) {
        Ok(magnitude) => {
            let square = u128::from(magnitude) * u128::from(magnitude);
            add_words(&mut state[SQUARES], [square as u64, (square >> 64) as u64, 0, 0]);
        }
        Err(_) => {
            let value = i256::from_i128(value);
            add_words(&mut state[SQUARES], words(value.wrapping_mul(value)));
        }
    }
    state[COUNT] += 1;
    state[SHOWN] = state[SHOWN].max(scale.into());
}

/// Adds a value that is NaN or infinite.
pub fn add_special(state: &mut [u64; WORDS]) {
    state[SPECIAL] += 1;
}

/// Adds another state of the same scale.
pub fn merge(into: &mut [u64], from: &[u64]) {
    let sum = wide(into[0], into[1]).wrapping_add(wide(from[0], from[1]));
    put_sum(into, sum);
    add_words(&mut into[SQUARES], [from[2], from[3], from[4], from[5]]);
    into[COUNT] += from[COUNT];
    into[SHOWN] = into[SHOWN].max(from[SHOWN]);
    into[SPECIAL] += from[SPECIAL];
}

/// Multiplies the values by a power of ten.
pub fn rescale(state: &mut [u64], factor: i128) {
    let sum = wide(state[0], state[1]).wrapping_mul(factor);
    put_sum(state, sum);
    let factor = i256::from_i128(factor);
    let squares = squares(state).wrapping_mul(factor).wrapping_mul(factor);
    state[SQUARES].copy_from_slice(&words(squares));
}

/// Returns the state as numeric_serialize sends it.
pub fn send(state: &[u64], scale: u8) -> Vec<u8> {
    let (scale, shown) = (i32::from(scale), state[SHOWN] as u16);
    let mut bytes = state[COUNT].to_be_bytes().to_vec();
    Finite::scaled(i256::from_i128(wide(state[0], state[1])), scale, shown).send(&mut bytes);
    Finite::scaled(squares(state), 2 * scale, 2 * shown).send(&mut bytes);
    bytes.extend(i32::from(shown).to_be_bytes());
    // How many values have that scale, which no result depends on. Whether a special value is NaN or infinite does not
    // matter either.
    for count in [state[COUNT], state[SPECIAL], 0, 0] {
        bytes.extend(count.to_be_bytes());
    }
    bytes
}

fn put_sum(state: &mut [u64], sum: i128) {
    [state[0], state[1]] = [sum as u64, (sum >> 64) as u64];
}

fn squares(state: &[u64]) -> i256 {
    i256::from_parts(wide(state[2], state[3]) as u128, wide(state[4], state[5]))
}

fn words(value: i256) -> [u64; 4] {
    let (low, high) = value.to_parts();
    [low as u64, (low >> 64) as u64, high as u64, (high >> 64) as u64]
}

fn add_words(into: &mut [u64], from: [u64; 4]) {
    let mut carry = false;
    for (into, from) in into.iter_mut().zip(from) {
        let (sum, first) = into.overflowing_add(from);
        let (sum, second) = sum.overflowing_add(carry.into());
        (*into, carry) = (sum, first | second);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn states_hold_sums_of_squares(
            values in prop::collection::vec((any::<i64>(), 0..40_u32), 0..60),
            split in 0..60_usize,
        ) {
            let values: Vec<i128> =
                values.into_iter().map(|(value, shift)| i128::from(value) << 20 >> shift).collect();
            let (first, second) = values.split_at(split.min(values.len()));
            let (mut a, mut b) = ([0; WORDS], [0; WORDS]);
            first.iter().for_each(|value| add(&mut a, *value, 1));
            second.iter().for_each(|value| add(&mut b, *value, 2));
            rescale(&mut a, 100);
            rescale(&mut b, 100);
            merge(&mut a, &b);
            prop_assert_eq!(wide(a[0], a[1]), values.iter().map(|value| value * 100).sum::<i128>());
            let square = |value: &i128| i256::from_i128(*value * 100).wrapping_mul(i256::from_i128(*value * 100));
            let wanted = values.iter().map(square).fold(i256::ZERO, i256::wrapping_add);
            prop_assert_eq!(squares(&a), wanted);
            prop_assert_eq!(a[COUNT] as usize, values.len());
        }
    }
}
