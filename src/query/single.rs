//! The state of the only group, which a query without keys has: the values of a block are combined before they reach it.

use super::Unfit;
use super::extremes;
use super::state::{Form, Groups, Kind, States};
use super::vector::{Values, Vector};

impl States {
    /// Adds the values of some rows, at least one, none of which is NULL; returns false for states that take them one by
    /// one.
    pub fn add_to_single(
        &mut self,
        groups: &mut Groups,
        rows: &[u32],
        vector: Option<&Vector>,
    ) -> Result<bool, Unfit> {
        let (at, count) = (self.at, rows.len() as u64);
        match (self.kind, vector) {
            (Kind::Count, _) => groups.rows[at] += count,
            (Kind::IntegerSum, Some(vector)) => {
                let sum = sum_of_words(vector.words(), rows);
                add_sum(&mut groups.rows[at..], sum, count);
            }
            (Kind::NumericSum, Some(vector)) => {
                let bound = vector.bound.saturating_mul(rows.len() as u128);
                let factor = self.meet(groups, vector.scale, bound)?;
                let sum = match &vector.values {
                    Values::Words(words) => sum_of_words(words, rows),
                    Values::Wide(wide) => fold(wide, rows, 0, |sum, value| sum + value),
                    _ => return Ok(false),
                };
                let state = &mut groups.rows[at..];
                add_sum(state, sum * factor, count);
                state[3] = state[3].max(vector.scale.into());
            }
            (Kind::Extreme { class: Form::Word, least }, Some(vector)) => {
                let found = extreme(vector.words(), rows, least);
                extremes::put_word(groups.state(0, at), found, least);
            }
            (Kind::Extreme { class: Form::Numeric, least }, Some(vector)) => {
                let found: i128 = match &vector.values {
                    Values::Words(words) => extreme(words, rows, least).into(),
                    Values::Wide(wide) => extreme(wide, rows, least),
                    _ => return Ok(false),
                };
                // All of them show the same scale, so that it does not matter which of equal ones is taken.
                let factor = self.meet(groups, vector.scale, vector.bound)?;
                extremes::put_wide(groups.state(0, at), found * factor, vector.scale, least);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// Combines the values of some rows, which may be all.
#[inline(always)]
fn fold<T: Copy, A>(values: &[T], rows: &[u32], first: A, combine: impl Fn(A, T) -> A) -> A {
    match rows.len() == values.len() {
        true => values.iter().fold(first, |all, &value| combine(all, value)),
        false => rows.iter().fold(first, |all, &row| combine(all, values[row as usize])),
    }
}

/// Returns the sum of a block's words. The sums of their halves, of 32 bits, do not overflow.
fn sum_of_words(words: &[i64], rows: &[u32]) -> i128 {
    let add = |(low, high): (i64, i64), word: i64| (low + (word & 0xffff_ffff), high + (word >> 32));
    let (low, high) = fold(words, rows, (0, 0), add);
    (i128::from(high) << 32) + i128::from(low)
}

/// Returns the least or the greatest value of rows, of which there is one at least.
fn extreme<T: Ord + Copy>(values: &[T], rows: &[u32], least: bool) -> T {
    let first = values[rows[0] as usize];
    let better = |a: T, b: T| if least { a.min(b) } else { a.max(b) };
    if rows.len() != values.len() {
        return fold(values, rows, first, better);
    }
    // Four at once, which do not wait for each other.
    let (fours, rest) = values.as_chunks::<4>();
    let found =
        fours.iter().fold([first; 4], |found, four| std::array::from_fn(|at| better(found[at], four[at])));
    found.into_iter().chain(rest.iter().copied()).fold(first, better)
}

/// Adds to a sum of 128 bits and the number of its values.
fn add_sum(state: &mut [u64], sum: i128, count: u64) {
    let sum = super::keys::wide(state[0], state[1]).wrapping_add(sum);
    [state[0], state[1]] = [sum as u64, (sum >> 64) as u64];
    state[2] += count;
}
