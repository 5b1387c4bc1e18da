//! Three-valued logic, and choices among values.

use super::vector::{Values, Vector};

/// Computes AND, or OR where `decides` is true: the value that decides wins over NULL.
pub fn join(decides: bool, parts: &[&Vector], out: &mut Vector) {
    let rows = parts.first().map_or(0, |part| part.len());
    out.nulls.clear();
    let bools = out.bools_mut();
    bools.resize(rows, !decides);
    for part in parts {
        // The value of a NULL is any, which must not decide.
        match part.nulls.is_empty() {
            true => {
                bools.iter_mut().zip(part.bools()).for_each(|(out, &part)| *out = decide(decides, *out, part))
            }
            false => {
                let values = part.bools().iter().zip(&part.nulls);
                bools.iter_mut().zip(values).for_each(|(out, (&part, &null))| {
                    *out = decide(decides, *out, if null { !decides } else { part });
                });
            }
        }
    }
    if parts.iter().any(|part| !part.nulls.is_empty()) {
        let Vector { values: Values::Bools(bools), nulls, .. } = out else { unreachable!("made above") };
        let is_null = |row: usize| bools[row] != decides && parts.iter().any(|part| part.is_null(row));
        nulls.extend((0..rows).map(is_null));
    }
}

#[inline(always)]
fn decide(decides: bool, a: bool, b: bool) -> bool {
    if decides { a | b } else { a & b }
}

pub fn not(from: &Vector, out: &mut Vector) {
    out.nulls.clone_from(&from.nulls);
    out.bools_mut().extend(from.bools().iter().map(|value| !value));
}

pub fn is_null(from: &Vector, out: &mut Vector) {
    out.nulls.clear();
    let rows = from.len();
    let bools = out.bools_mut();
    match from.nulls.is_empty() {
        true => bools.resize(rows, false),
        false => bools.extend(&from.nulls),
    }
}

/// Computes `IS [NOT] TRUE` and `IS [NOT] FALSE`.
pub fn is(from: &Vector, value: bool, is_negated: bool, out: &mut Vector) {
    out.nulls.clear();
    let is_it = |(row, &found): (usize, &bool)| (found == value && !from.is_null(row)) != is_negated;
    out.bools_mut().extend(from.bools().iter().enumerate().map(is_it));
}

/// Returns for each row which of some values it takes: that of the first condition that is true, or the last one.
pub fn first_true(conditions: &[&Vector], rows: usize) -> Vec<usize> {
    let is_true = |row: usize| move |condition: &&Vector| condition.bools()[row] && !condition.is_null(row);
    (0..rows).map(|row| conditions.iter().position(is_true(row)).unwrap_or(conditions.len())).collect()
}

/// Returns for each row the first of some values that is not NULL, or the last one.
pub fn first_present(values: &[&Vector], rows: usize) -> Vec<usize> {
    let last = values.len().saturating_sub(1);
    let is_there = |row: usize| move |value: &&Vector| !value.is_null(row);
    (0..rows).map(|row| values.iter().position(is_there(row)).unwrap_or(last)).collect()
}
