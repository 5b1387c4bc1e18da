//! Tells whether a row of a group may match a condition, by what is known of the group. A row may match if nothing is
//! known.

use std::cmp::Ordering;

use super::condition::{ColumnRef, Condition};
use super::context::Context;
use super::evidence::{Bounds, Evidence};
use super::operator::{Pattern, Test};
use super::prefix::Prefix;
use super::range::float_key;
use super::value::{Constant, Scalar, Type};
use super::word::{bytes_of, float_of, varlena};

impl Condition {
    /// Returns whether a row may exist for which the condition is `wanted`: true, or false.
    ///
    /// # Safety
    /// The bounds are Datums of the columns' types, and their varlenas are as `varlena` reads them.
    pub unsafe fn may_be(&self, wanted: bool, evidence: &dyn Evidence, context: Context) -> bool {
        // SAFETY: the caller's bounds are passed on.
        let may_be = |part: &Condition, wanted: bool| unsafe { part.may_be(wanted, evidence, context) };
        match self {
            Condition::And(parts) if wanted => parts.iter().all(|part| may_be(part, wanted)),
            Condition::Or(parts) if !wanted => parts.iter().all(|part| may_be(part, wanted)),
            Condition::And(parts) | Condition::Or(parts) => parts.iter().any(|part| may_be(part, wanted)),
            Condition::Not(part) => may_be(part, !wanted),
            Condition::IsNull(column) => evidence.bounds(*column).is_none_or(|bounds| match wanted {
                true => bounds.nulls != Some(0),
                false => !bounds.is_null(),
            }),
            Condition::Compare(column, test, operand) => match context.value(operand) {
                None => true,
                // A list is false if every element is; that is not looked into.
                Some(Constant::List(..)) if !wanted => true,
                Some(constant) => {
                    let test = if wanted { *test } else { test.negated() };
                    let bounds = evidence.bounds(column.index).unwrap_or_default();
                    // SAFETY: the bounds are Datums of the column's type.
                    let may_be = |value| unsafe { may_compare(*column, test, &bounds, value, evidence) };
                    !bounds.is_null() && constant.values().iter().any(may_be)
                }
            },
            Condition::Begins(column, pattern, operand) => match (context.value(operand), wanted) {
                (None, _) | (_, false) => true,
                (Some(constant), true) => {
                    let bounds = evidence.bounds(column.index).unwrap_or_default();
                    // SAFETY: the bounds are Datums of the column's type.
                    unsafe { may_begin(column.of, *pattern, &bounds, constant) }
                }
            },
            // SAFETY: the caller's bounds are passed on.
            Condition::Opaque { number, .. } => unsafe { context.opaque.may_be(*number, wanted, evidence) },
        }
    }
}

/// Returns whether a row may compare with a value as the test asks.
///
/// # Safety
/// The bounds are Datums of the column's type, and their varlenas are as `varlena` reads them.
unsafe fn may_compare(
    column: ColumnRef,
    test: Test,
    bounds: &Bounds,
    value: &Scalar,
    evidence: &dyn Evidence,
) -> bool {
    let is_within = match (column.of, value) {
        // SAFETY: the bounds are texts.
        (Type::Bpchar, Scalar::Bytes(value)) => unsafe {
            may_equal_blanks(bounds, value) || test != Test::Equal
        },
        _ => {
            let holds = |test: Test, bound: Option<u64>| {
                // SAFETY: the bounds are Datums of the column's type.
                bound.is_none_or(|bound| test.holds(unsafe { order(bound, column.of, value) }))
            };
            match test {
                Test::Less | Test::LessEqual => holds(test, bounds.min),
                Test::Greater | Test::GreaterEqual => holds(test, bounds.max),
                Test::Equal => holds(Test::LessEqual, bounds.min) && holds(Test::GreaterEqual, bounds.max),
                Test::NotEqual => true,
            }
        }
    };
    // Bounds of floats leave out NaN, which is above all numbers.
    let may_be_nan = matches!(value, Scalar::Float(value) if test.holds(float_key(f64::NAN).cmp(value)));
    (is_within || may_be_nan) && (test != Test::Equal || evidence.may_have(column, value))
}

/// Compares a bound with a value.
///
/// # Safety
/// The bounds are Datums of the column's type, and their varlenas are as `varlena` reads them.
unsafe fn order(bound: u64, of: Type, value: &Scalar) -> Ordering {
    // SAFETY: the bound is a Datum of the type.
    unsafe {
        match value {
            Scalar::Integer(value) => (bound as i64).cmp(value),
            Scalar::Float(value) => float_of(bound, of).cmp(value),
            Scalar::Numeric(value) => value.order(varlena(bound)).reverse(),
            Scalar::Bytes(value) => bytes_of(bound, of).cmp(value),
        }
    }
}

/// Returns whether a char(n) may equal a value, which has no blanks at its end. The bounds are a file's texts as
/// they are, and the value equals all texts that continue with blanks only.
///
/// # Safety
/// The bounds are Datums of the column's type, and their varlenas are as `varlena` reads them.
unsafe fn may_equal_blanks(bounds: &Bounds, value: &[u8]) -> bool {
    // SAFETY: the bounds are texts.
    let text = |bound: u64| unsafe { varlena(bound) };
    let above = bounds.max.is_none_or(|max| text(max) >= value);
    let below = bounds.min.is_none_or(|min| {
        let min = text(min);
        let longest = value.iter().copied().chain(std::iter::repeat(b' ')).take(value.len() + min.len());
        min.iter().copied().le(longest)
    });
    above && below
}

/// Returns whether a text may begin as one of the patterns.
///
/// # Safety
/// The bounds are Datums of the column's type, and their varlenas are as `varlena` reads them.
unsafe fn may_begin(of: Type, pattern: Pattern, bounds: &Bounds, constant: &Constant) -> bool {
    // SAFETY: the bounds are Datums of the column's type.
    let bytes = |bound: u64| unsafe { bytes_of(bound, of) };
    let (min, max) = (bounds.min.map(bytes), bounds.max.map(bytes));
    let may_lie = |value: &Scalar| Prefix::new(pattern, value.as_bytes()).may_lie(min, max);
    !bounds.is_null() && constant.values().iter().any(may_lie)
}
