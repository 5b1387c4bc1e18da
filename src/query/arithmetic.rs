//! Arithmetic on vectors. A row whose result PostgreSQL would refuse, or that no vector holds, is odd.

use super::calendar::DAY;
use super::plan::Arithmetic;
use super::value::Type;
use super::vector::{Values, Vector};
use crate::wire::numeric::pow10;

/// Magnitudes of numerics in vectors are below it, so that 2^31 of them can be added.
pub const WIDE_LIMIT: u128 = 1 << 96;

/// Computes integers of a type.
pub fn integers(op: Arithmetic, of: Type, left: &Vector, right: &Vector, out: &mut Vector, odd: &mut [bool]) {
    let (least, greatest) = limits(of);
    let (a, b) = (left.words(), right.words());
    out.join_nulls(left, right);
    let bound = bound(op, left.bound, right.bound);
    let fits = bound <= u128::from(greatest.unsigned_abs().min(least.unsigned_abs()));
    out.words_mut();
    let Vector { values: Values::Words(words), nulls, .. } = out else { unreachable!("made above") };
    match op {
        Arithmetic::Add if fits => zip(a, b, words, i64::wrapping_add),
        Arithmetic::Subtract if fits => zip(a, b, words, i64::wrapping_sub),
        Arithmetic::Multiply if fits => zip(a, b, words, i64::wrapping_mul),
        _ => {
            for row in 0..a.len() {
                let (a, b) = (a[row], b[row]);
                let found = match op {
                    Arithmetic::Add => a.checked_add(b),
                    Arithmetic::Subtract => a.checked_sub(b),
                    Arithmetic::Multiply => a.checked_mul(b),
                    Arithmetic::Divide => a.checked_div(b),
                    // The remainder of a division by -1 is 0, also where the quotient overflows.
                    Arithmetic::Modulo if b == -1 => Some(0),
                    Arithmetic::Modulo => a.checked_rem(b),
                    Arithmetic::BitAnd => Some(a & b),
                    Arithmetic::BitOr => Some(a | b),
                    Arithmetic::BitXor => Some(a ^ b),
                    Arithmetic::ShiftLeft => shift(b, of).map(|by| truncated(a << by, of)),
                    Arithmetic::ShiftRight => shift(b, of).map(|by| a >> by),
                };
                let found = found.filter(|value| (least..=greatest).contains(value));
                words.push(found.unwrap_or(0));
                odd[row] |= found.is_none() && (nulls.is_empty() || !nulls[row]);
            }
        }
    }
    match fits {
        true => out.bound = bound,
        false => out.measure(),
    }
}

/// Returns the least and the greatest value that arithmetic of a type returns. Infinities are no results.
pub fn limits(of: Type) -> (i64, i64) {
    match of {
        // datatype/timestamp.h
        Type::Date => (-2_451_545, 2_145_031_948),
        Type::Timestamp | Type::TimestampTz => (-211_813_488_000_000_000, 9_223_371_331_199_999_999),
        _ => of.range().unwrap_or((i64::MIN, i64::MAX)),
    }
}

/// Returns by how many bits an integer is shifted; `None` where the processor decides what that is.
fn shift(by: i64, of: Type) -> Option<u32> {
    let bits = match of {
        Type::Int2 => 16,
        Type::Int4 => 32,
        _ => 64,
    };
    u32::try_from(by).ok().filter(|by| *by < bits)
}

/// Returns the lower bits of an integer as one of a type.
fn truncated(value: i64, of: Type) -> i64 {
    match of {
        Type::Int2 => (value as i16).into(),
        Type::Int4 => (value as i32).into(),
        _ => value,
    }
}

/// Computes sums, differences and products of numerics.
pub fn numerics(op: Arithmetic, left: &Vector, right: &Vector, out: &mut Vector, odd: &mut [bool]) {
    out.join_nulls(left, right);
    let scale = match op {
        Arithmetic::Multiply => u32::from(left.scale) + u32::from(right.scale),
        _ => left.scale.max(right.scale).into(),
    };
    let factor = |vector: &Vector| match op {
        Arithmetic::Multiply => Some(1),
        _ => pow10(scale - u32::from(vector.scale)).map(|factor| factor as u128),
    };
    let (Some(scaled), true) = ((|| Some((factor(left)?, factor(right)?)))(), scale <= 38) else {
        return give_up(left, out, odd);
    };
    out.scale = scale as u8;
    let bounds = (left.bound.saturating_mul(scaled.0), right.bound.saturating_mul(scaled.1));
    let bound = bound(op, bounds.0, bounds.1);
    if bound >= WIDE_LIMIT {
        return checked(op, (left, right), scaled, out, odd);
    }
    out.bound = bound;
    if let (Values::Words(a), Values::Words(b)) = (&left.values, &right.values)
        && bound.max(bounds.0).max(bounds.1) < 1 << 63
    {
        let (x, y) = (scaled.0 as i64, scaled.1 as i64);
        let words = out.words_mut();
        match op {
            Arithmetic::Add if (x, y) == (1, 1) => zip(a, b, words, i64::wrapping_add),
            Arithmetic::Subtract if (x, y) == (1, 1) => zip(a, b, words, i64::wrapping_sub),
            Arithmetic::Multiply => zip(a, b, words, i64::wrapping_mul),
            Arithmetic::Add => zip(a, b, words, |a, b| a.wrapping_mul(x).wrapping_add(b.wrapping_mul(y))),
            _ => zip(a, b, words, |a, b| a.wrapping_mul(x).wrapping_sub(b.wrapping_mul(y))),
        }
        return;
    }
    let wide = out.wide_mut();
    let (x, y) = (scaled.0 as i128, scaled.1 as i128);
    wide.extend((0..left.len()).map(|row| {
        let (a, b) = (left.wide(row) * x, right.wide(row) * y);
        match op {
            Arithmetic::Add => a + b,
            Arithmetic::Subtract => a - b,
            _ => a * b,
        }
    }));
}

/// Computes values of which some may be too large.
#[cold]
fn checked(
    op: Arithmetic,
    (left, right): (&Vector, &Vector),
    scaled: (u128, u128),
    out: &mut Vector,
    odd: &mut [bool],
) {
    let is_null = |row: usize| left.is_null(row) || right.is_null(row);
    let wide = out.wide_mut();
    for (row, odd) in odd.iter_mut().enumerate() {
        let found = (|| {
            let a = left.wide(row).checked_mul(scaled.0 as i128)?;
            let b = right.wide(row).checked_mul(scaled.1 as i128)?;
            let found = match op {
                Arithmetic::Add => a.checked_add(b)?,
                Arithmetic::Subtract => a.checked_sub(b)?,
                _ => a.checked_mul(b)?,
            };
            (found.unsigned_abs() < WIDE_LIMIT).then_some(found)
        })();
        wide.push(found.unwrap_or(0));
        *odd |= found.is_none() && !is_null(row);
    }
    out.measure();
}

/// Leaves every row to PostgreSQL.
#[cold]
fn give_up(left: &Vector, out: &mut Vector, odd: &mut [bool]) {
    out.words_mut().resize(left.len(), 0);
    (out.scale, out.bound) = (0, 0);
    odd.fill(true);
}

/// Returns a magnitude that no result is above.
fn bound(op: Arithmetic, left: u128, right: u128) -> u128 {
    match op {
        Arithmetic::Add | Arithmetic::Subtract => left.saturating_add(right),
        Arithmetic::Multiply => left.saturating_mul(right),
        _ => u128::MAX,
    }
}

#[inline(always)]
fn zip(a: &[i64], b: &[i64], out: &mut Vec<i64>, work: impl Fn(i64, i64) -> i64) {
    out.extend(a.iter().zip(b).map(|(&a, &b)| work(a, b)));
}

/// Makes numerics of integers.
pub fn to_numeric(from: &Vector, out: &mut Vector) {
    out.nulls.clone_from(&from.nulls);
    out.words_mut().extend_from_slice(from.words());
    (out.scale, out.bound) = (0, from.bound);
}

/// Makes integers of a type of others.
pub fn to_integer(of: Type, from: &Vector, out: &mut Vector, odd: &mut [bool]) {
    out.nulls.clone_from(&from.nulls);
    out.words_mut().extend_from_slice(from.words());
    (out.scale, out.bound) = (0, from.bound);
    let (least, greatest) = of.range().unwrap_or((i64::MIN, i64::MAX));
    if from.bound > greatest as u128 {
        let is_outside =
            |(row, value): (usize, &i64)| !(least..=greatest).contains(value) && !from.is_null(row);
        from.words().iter().enumerate().zip(odd).for_each(|(value, odd)| *odd |= is_outside(value));
    }
}

/// 4714-11-24 BC and 294277-01-01, in days since 2000-01-01 (datatype/timestamp.h).
const DAYS: std::ops::Range<i64> = -2_451_545..106_751_983;

/// Returns a date as timestamp, an infinite one as the same infinity; `None` beyond the last day.
pub fn timestamp_of(days: i64) -> Option<i64> {
    match i32::try_from(days) {
        Ok(i32::MIN) => Some(i64::MIN),
        Ok(i32::MAX) => Some(i64::MAX),
        _ => DAYS.contains(&days).then(|| days * DAY),
    }
}

/// Makes timestamps of dates. Those before timestamp's first day or after its last one, and infinities, are odd.
pub fn to_timestamp(from: &Vector, out: &mut Vector, odd: &mut [bool]) {
    out.nulls.clone_from(&from.nulls);
    let words = out.words_mut();
    for (row, days) in from.words().iter().enumerate() {
        words.push(days.wrapping_mul(DAY));
        odd[row] |= !DAYS.contains(days) && !from.is_null(row);
    }
    out.measure();
}
