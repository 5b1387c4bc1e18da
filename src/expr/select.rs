//! Finds the rows of a batch for which a condition is true.
//!
//! A condition clears the rows of a selection for which its value is not the wanted one, true or false. It clears the
//! rows for which it is NULL in both cases, so that AND, OR and NOT need no third value.

use std::cmp::Ordering;

use super::condition::{ColumnRef, Condition};
use super::context::Context;
use super::decimals::Decimals;
use super::operator::{Pattern, Test};
use super::prefix::Prefix;
use super::range::{Place, Range};
use super::value::{Constant, Scalar, Type};
use super::vector::{Batch, Vector, bytes_of, float_of, varlena};

impl Condition {
    /// Clears the rows for which the condition is not `wanted`. All parameters have their values.
    ///
    /// # Safety
    /// The batch's words are Datums of the columns' types, and their varlenas are as `varlena` reads them.
    pub unsafe fn select(&self, wanted: bool, batch: &Batch, context: Context, rows: &mut [bool]) {
        // SAFETY: the caller's words are passed on.
        unsafe {
            match self {
                Condition::And(parts) if wanted => select_all(parts, wanted, batch, context, rows),
                Condition::Or(parts) if !wanted => select_all(parts, wanted, batch, context, rows),
                Condition::And(parts) | Condition::Or(parts) => {
                    select_any(parts, wanted, batch, context, rows);
                }
                Condition::Not(part) => part.select(!wanted, batch, context, rows),
                Condition::IsNull(column) => batch.column(*column).keep_null(wanted, rows),
                Condition::Compare(column, test, operand) => {
                    let vector = batch.column(column.index);
                    match context.value(operand) {
                        Some(Constant::List(values, has_null)) => {
                            select_list(*column, *test, wanted, (values, *has_null), vector, rows);
                        }
                        Some(Constant::One(value)) => {
                            let test = if wanted { *test } else { test.negated() };
                            compare(column.of, test, value, vector, rows);
                        }
                        // The operators are strict: NULL on either side gives NULL.
                        Some(Constant::Null) | None => rows.fill(false),
                    }
                }
                Condition::Begins(column, pattern, operand) => match context.value(operand) {
                    // Which would be true of too many rows.
                    _ if *pattern == Pattern::Like => unreachable!("LIKE decides no rows"),
                    Some(constant) => begins(*column, *pattern, wanted, constant, batch, rows),
                    None => rows.fill(false),
                },
                Condition::Opaque { number, .. } => context.opaque.select(*number, wanted, batch, rows),
            }
        }
    }
}

/// Clears the rows for which a part is not `wanted`.
///
/// # Safety
/// The words are Datums of the columns' types, and their varlenas are as `varlena` reads them.
unsafe fn select_all(parts: &[Condition], wanted: bool, batch: &Batch, context: Context, rows: &mut [bool]) {
    for part in parts {
        // SAFETY: the words are those of `Condition::select`.
        unsafe { part.select(wanted, batch, context, rows) };
        if !rows.contains(&true) {
            return;
        }
    }
}

/// Clears the rows for which no part is `wanted`.
///
/// # Safety
/// The words are Datums of the columns' types, and their varlenas are as `varlena` reads them.
unsafe fn select_any(parts: &[Condition], wanted: bool, batch: &Batch, context: Context, rows: &mut [bool]) {
    let mut without = rows.to_vec();
    let mut found = vec![false; rows.len()];
    for part in parts {
        found.copy_from_slice(&without);
        // SAFETY: the words are those of `Condition::select`.
        unsafe { part.select(wanted, batch, context, &mut found) };
        without.iter_mut().zip(&found).for_each(|(without, found)| *without &= !found);
    }
    rows.iter_mut().zip(&without).for_each(|(row, without)| *row &= !without);
}

/// Clears the rows whose value is NULL or does not pass.
#[inline(always)]
fn keep(words: &[u64], nulls: &[bool], rows: &mut [bool], passes: impl Fn(u64) -> bool) {
    for ((row, &word), &null) in rows.iter_mut().zip(words).zip(nulls) {
        *row = *row && !null && passes(word);
    }
}

/// Clears the rows whose value is NULL, or for which a test is not `wanted`.
fn keep_if(wanted: bool, words: &[u64], nulls: &[bool], rows: &mut [bool], passes: impl Fn(u64) -> bool) {
    match wanted {
        true => keep(words, nulls, rows, passes),
        false => keep(words, nulls, rows, |word| !passes(word)),
    }
}

/// Does the same as `keep` without branches, for tests that cost less than a branch.
#[inline(always)]
fn keep_cheap(words: &[u64], nulls: &[bool], rows: &mut [bool], passes: impl Fn(i64) -> bool) {
    for ((row, &word), &null) in rows.iter_mut().zip(words).zip(nulls) {
        *row &= !null & passes(word as i64);
    }
}

/// Clears the rows whose value is NULL or does not compare with `value` as the test asks.
///
/// # Safety
/// The words are Datums of the columns' types, and their varlenas are as `varlena` reads them.
unsafe fn compare(of: Type, test: Test, value: &Scalar, vector: &Vector, rows: &mut [bool]) {
    match (vector, value) {
        (Vector::Decimals(decimals), Scalar::Numeric(value)) => {
            decimals.keep_within(&Range::new(test, value.place(decimals.scale)), rows);
        }
        (Vector::Words(words, nulls), Scalar::Integer(value)) => {
            let range = Range::new(test, Place::At((*value).into(), true)).narrow();
            keep_cheap(words, nulls, rows, |word| range.contains(word));
        }
        (Vector::Words(words, nulls), Scalar::Float(value)) => {
            let range = Range::new(test, Place::At((*value).into(), true)).narrow();
            keep_cheap(&float_keys(words, of), nulls, rows, |key| range.contains(key));
        }
        (Vector::Words(words, nulls), Scalar::Bytes(value)) => {
            // SAFETY: the words are Datums of the type.
            let bytes = |word| unsafe { bytes_of(word, of) };
            match test {
                Test::Equal => keep(words, nulls, rows, |word| bytes(word) == &**value),
                _ => keep(words, nulls, rows, |word| test.holds(bytes(word).cmp(value))),
            }
        }
        (Vector::Words(words, nulls), Scalar::Numeric(value)) => {
            // SAFETY: the words are numerics.
            keep(words, nulls, rows, |word| test.holds(value.order(unsafe { varlena(word) }).reverse()));
        }
        (Vector::Decimals(_), _) => unreachable!("numerics are compared with numerics"),
    }
}

/// Returns the floats that words hold, as their `float_key`s: it costs less to make all of them first.
fn float_keys(words: &[u64], of: Type) -> Vec<u64> {
    match of {
        Type::Float4 => words.iter().map(|&word| float_of(word, Type::Float4) as u64).collect(),
        _ => words.iter().map(|&word| float_of(word, Type::Float8) as u64).collect(),
    }
}

/// Clears the rows for which `test ANY (values)` is not `wanted`.
///
/// # Safety
/// The words are Datums of the columns' types, and their varlenas are as `varlena` reads them.
unsafe fn select_list(
    column: ColumnRef,
    test: Test,
    wanted: bool,
    (values, has_null): (&[Scalar], bool),
    vector: &Vector,
    rows: &mut [bool],
) {
    let (Some(least), Some(greatest)) = (values.first(), values.last()) else {
        // Comparing with any element of an empty array is false; with NULL elements alone it is NULL.
        if wanted || has_null {
            rows.fill(false);
        }
        return;
    };
    if !wanted && has_null {
        return rows.fill(false);
    }
    // SAFETY: the vector is the column's.
    unsafe {
        match test {
            Test::Equal if least < greatest => members(column.of, wanted, values, vector, rows),
            // Every value differs from one of two different values.
            Test::NotEqual if least < greatest => match wanted {
                true => vector.keep_null(false, rows),
                false => rows.fill(false),
            },
            _ => {
                let value = if matches!(test, Test::Less | Test::LessEqual) { greatest } else { least };
                compare(column.of, if wanted { test } else { test.negated() }, value, vector, rows);
            }
        }
    }
}

/// Clears the rows for which `= ANY (values)` is not `wanted`.
///
/// # Safety
/// The words are Datums of the columns' types, and their varlenas are as `varlena` reads them.
unsafe fn members(of: Type, wanted: bool, values: &[Scalar], vector: &Vector, rows: &mut [bool]) {
    match (vector, &values[0]) {
        (Vector::Decimals(decimals), _) => decimals_among(decimals, wanted, values, rows),
        (Vector::Words(words, nulls), Scalar::Integer(_) | Scalar::Float(_)) => {
            let values: Vec<i64> = values.iter().filter_map(number).collect();
            let is_float = matches!(of, Type::Float4 | Type::Float8);
            let passes = |value: i64| values.binary_search(&value).is_ok() == wanted;
            match is_float {
                true => keep_cheap(&float_keys(words, of), nulls, rows, passes),
                false => keep_cheap(words, nulls, rows, passes),
            }
        }
        (Vector::Words(words, nulls), Scalar::Bytes(_)) => keep_if(wanted, words, nulls, rows, |word| {
            // SAFETY: the words are Datums of the type.
            let bytes = unsafe { bytes_of(word, of) };
            values.binary_search_by(|value| value.as_bytes().cmp(bytes)).is_ok()
        }),
        (Vector::Words(words, nulls), Scalar::Numeric(_)) => keep_if(wanted, words, nulls, rows, |word| {
            // SAFETY: the words are numerics.
            let number = unsafe { varlena(word) };
            let order = |value: &Scalar| match value {
                Scalar::Numeric(value) => value.order(number),
                _ => Ordering::Less,
            };
            values.binary_search_by(order).is_ok()
        }),
    }
}

fn number(value: &Scalar) -> Option<i64> {
    match value {
        Scalar::Integer(value) | Scalar::Float(value) => Some(*value),
        _ => None,
    }
}

fn decimals_among(decimals: &Decimals, wanted: bool, values: &[Scalar], rows: &mut [bool]) {
    let exact = |value: &Scalar| match value {
        Scalar::Numeric(value) => match value.place(decimals.scale) {
            Place::At(value, true) => Some(value),
            _ => None,
        },
        _ => None,
    };
    // The places are in order, as the values are.
    let values: Vec<i128> = values.iter().filter_map(exact).collect();
    match wanted {
        true => decimals.keep(rows, |value| values.binary_search(&value).is_ok()),
        false => decimals.keep(rows, |value| values.binary_search(&value).is_err()),
    }
}

/// Clears the rows for which it is not `wanted` that they begin as one of the patterns.
///
/// # Safety
/// The words are Datums of the columns' types, and their varlenas are as `varlena` reads them.
unsafe fn begins(
    column: ColumnRef,
    pattern: Pattern,
    wanted: bool,
    constant: &Constant,
    batch: &Batch,
    rows: &mut [bool],
) {
    let (Vector::Words(words, nulls), false) = (batch.column(column.index), *constant == Constant::Null)
    else {
        return rows.fill(false);
    };
    match constant {
        Constant::List(values, false) if values.is_empty() && !wanted => return,
        Constant::List(_, true) if !wanted => return rows.fill(false),
        _ => {}
    }
    let prefixes: Vec<Prefix> =
        constant.values().iter().map(|value| Prefix::new(pattern, value.as_bytes())).collect();
    keep_if(wanted, words, nulls, rows, |word| {
        // SAFETY: the words are Datums of the column's type.
        let bytes = unsafe { bytes_of(word, column.of) };
        prefixes.iter().any(|prefix| prefix.is_of(bytes))
    });
}
