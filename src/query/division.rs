//! Quotients, remainders and roundings of numerics.

use super::arithmetic::WIDE_LIMIT;
use super::vector::Vector;
use crate::wire::numeric::pow10;

/// The decimal digits of a digit of PostgreSQL's numeric.
const DEC_DIGITS: i32 = 4;
/// The least number of significant digits of a quotient (numeric.h).
const MIN_SIG_DIGITS: i32 = 16;

/// Computes quotients, which show as many digits as PostgreSQL chooses for each of them. A vector's values show the
/// same number, that of most of them; the others are odd.
pub fn divide(left: &Vector, right: &Vector, out: &mut Vector, odd: &mut [bool]) {
    out.join_nulls(left, right);
    let scale_of = |row: usize| {
        let (a, b) = (left.wide(row), right.wide(row));
        (b != 0).then(|| quotient_scale((a, left.scale), (b, right.scale)))
    };
    let scales: Vec<Option<i32>> =
        (0..left.len()).map(|row| if out.is_null(row) { None } else { scale_of(row) }).collect();
    let scale = most_frequent(&scales);
    let values = (0..left.len()).map(|row| {
        let found = scales[row].filter(|found| *found == i32::from(scale)).and_then(|_| {
            // The scale is at least that of the dividend.
            let shift = pow10(u32::from(scale - left.scale) + u32::from(right.scale))?;
            quotient(left.wide(row).checked_mul(shift)?, right.wide(row))
        });
        odd[row] |= found.is_none() && !out.is_null(row);
        found.unwrap_or(0)
    });
    let values = values.collect();
    out.set_integers(values);
    out.scale = scale;
    out.measure();
}

/// Returns the scale of most values, up to 38; of the left operand's if there is none.
fn most_frequent(scales: &[Option<i32>]) -> u8 {
    let mut counts = [0_u32; 39];
    for scale in scales.iter().flatten() {
        if let Some(count) = counts.get_mut(*scale as usize) {
            *count += 1;
        }
    }
    let best = (0..counts.len()).max_by_key(|&scale| (counts[scale], std::cmp::Reverse(scale)));
    best.unwrap_or(0) as u8
}

/// Returns the digits that a quotient shows after the point (select_div_scale in numeric.c).
fn quotient_scale((a, scale_a): (i128, u8), (b, scale_b): (i128, u8)) -> i32 {
    let ((weight_a, first_a), (weight_b, first_b)) = (first_digit(a, scale_a), first_digit(b, scale_b));
    let weight = weight_a - weight_b - i32::from(first_a <= first_b);
    (MIN_SIG_DIGITS - weight * DEC_DIGITS).max(scale_a.into()).max(scale_b.into())
}

/// Returns the weight and the value of a numeric's first digit of base 10000; zeros of zero.
fn first_digit(value: i128, scale: u8) -> (i32, u128) {
    let magnitude = value.unsigned_abs();
    let Some(log) = magnitude.checked_ilog10() else { return (0, 0) };
    let weight = (log as i32 - i32::from(scale)).div_euclid(DEC_DIGITS);
    // Where the digit's unit lies among the value's decimal digits.
    let unit = DEC_DIGITS * weight + i32::from(scale);
    let power = pow10(unit.unsigned_abs()).unwrap_or(i128::MAX) as u128;
    (weight, if unit < 0 { magnitude * power } else { magnitude / power })
}

/// Divides, and rounds half away from zero.
fn quotient(a: i128, b: i128) -> Option<i128> {
    let (magnitude, divisor) = (a.unsigned_abs(), b.unsigned_abs());
    let rounded = magnitude.checked_div(divisor)? + u128::from(magnitude % divisor >= divisor - divisor / 2);
    let found = if (a < 0) == (b < 0) { rounded as i128 } else { -(rounded as i128) };
    (rounded < WIDE_LIMIT).then_some(found)
}

/// Computes remainders of divisions to integers, which have the dividend's sign.
pub fn modulo(left: &Vector, right: &Vector, out: &mut Vector, odd: &mut [bool]) {
    out.join_nulls(left, right);
    let scale = left.scale.max(right.scale);
    let at = |vector: &Vector, row: usize| {
        vector.wide(row).checked_mul(pow10(u32::from(scale - vector.scale))?).filter(fits)
    };
    let values = (0..left.len()).map(|row| {
        let found = (|| at(left, row)?.checked_rem(at(right, row)?))();
        odd[row] |= found.is_none() && !out.is_null(row);
        found.unwrap_or(0)
    });
    let values = values.collect();
    out.set_integers(values);
    out.scale = scale;
    out.measure();
}

/// How digits are left out.
#[derive(Clone, Copy)]
pub enum Rounding {
    /// Half away from zero.
    Nearest,
    Zero,
    Up,
    Down,
}

/// Returns a value at another scale; `None` if it has too many digits.
pub fn rescale(value: i128, from: u8, to: u8, rounding: Rounding) -> Option<i128> {
    if to >= from {
        return value.checked_mul(pow10((to - from).into())?).filter(fits);
    }
    let divisor = pow10((from - to).into())?;
    Some(match rounding {
        Rounding::Nearest => return quotient(value, divisor),
        Rounding::Zero => value / divisor,
        Rounding::Down => value.div_euclid(divisor),
        Rounding::Up => -(-value).div_euclid(divisor),
    })
}

fn fits(value: &i128) -> bool {
    value.unsigned_abs() < WIDE_LIMIT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_digits_of_base_10000() {
        assert_eq!(first_digit(0, 3), (0, 0));
        assert_eq!(first_digit(12345, 0), (1, 1));
        assert_eq!(first_digit(-12345, 2), (0, 123));
        assert_eq!(first_digit(5, 1), (-1, 5000));
        assert_eq!(first_digit(5, 5), (-2, 5000));
        assert_eq!(first_digit(1, 38), (-10, 100));
    }

    #[test]
    fn roundings() {
        let all = |value| {
            [Rounding::Nearest, Rounding::Zero, Rounding::Up, Rounding::Down]
                .map(|rounding| rescale(value, 1, 0, rounding).unwrap())
        };
        assert_eq!(all(15), [2, 1, 2, 1]);
        assert_eq!(all(-15), [-2, -1, -1, -2]);
        assert_eq!(all(-14), [-1, -1, -1, -2]);
        assert_eq!(all(20), [2, 2, 2, 2]);
        assert_eq!(rescale(1 << 90, 0, 38, Rounding::Nearest), None);
    }
}
