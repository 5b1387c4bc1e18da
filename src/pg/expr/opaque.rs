//! Comparisons whose values only PostgreSQL's own operators compare, such as those of intervals, of inet, or of
//! dates with timestamps.

use pgrx::pg_sys::{self, Datum, Oid};

use super::input::{Input, elements};
use crate::expr::{Evidence, Test};

/// A comparison `column operator value`, or `column operator ANY (values)`.
pub(super) struct Comparison {
    pub column: usize,
    /// The meaning of the operator in the order of the column's type.
    pub test: Test,
    /// The operators that compare bounds: one for `<` and `<=`, which compares the least value, and for `>` and `>=`,
    /// which compares the greatest; for `=` two, `<=` for the least value and `>=` for the greatest.
    pub bounds: Vec<pg_sys::FmgrInfo>,
    pub bounds_collation: Oid,
    pub value: Input,
    /// The type of an array's elements.
    pub element: Option<Oid>,
}

impl Comparison {
    /// Returns the values that the column is compared with; `None` for NULL, or while they are not known.
    ///
    /// # Safety
    /// The value is one of the operator's right type, or an array of it.
    unsafe fn values(&self) -> Option<Vec<Option<Datum>>> {
        let value = self.value.now()??;
        Some(match self.element {
            None => vec![Some(value)],
            // SAFETY: the value is an array of the elements' type.
            Some(element) => unsafe { elements(value, element) },
        })
    }

    /// Returns whether a row may exist for which the comparison is `wanted`.
    ///
    /// # Safety
    /// The bounds are Datums of the column's type.
    pub unsafe fn may_be(&self, wanted: bool, evidence: &dyn Evidence) -> bool {
        let known = evidence.bounds(self.column).unwrap_or_default();
        if self.value.now().is_none() || !wanted {
            return true;
        }
        // The operators are strict: NULL on either side is no match.
        // SAFETY: the value is an expression of the operator's right type.
        let Some(values) = (unsafe { self.values() }) else { return false };
        let may_be = |value: Datum| {
            let may_be = |operator: usize, bound: Option<u64>| {
                // SAFETY: the bound is a Datum of the column's type, and the value of the operator's right type.
                bound.is_none_or(|bound| unsafe {
                    holds(&self.bounds[operator], self.bounds_collation, datum(bound), value)
                })
            };
            match self.test {
                Test::Less | Test::LessEqual => may_be(0, known.min),
                Test::Greater | Test::GreaterEqual => may_be(0, known.max),
                Test::Equal => may_be(0, known.min) && may_be(1, known.max),
                Test::NotEqual => true,
            }
        };
        !known.is_null() && values.into_iter().flatten().any(may_be)
    }
}

/// Calls a comparison of two values.
///
/// # Safety
/// The function compares values of the two types, and is strict.
unsafe fn holds(function: &pg_sys::FmgrInfo, collation: Oid, left: Datum, right: Datum) -> bool {
    let function: *const pg_sys::FmgrInfo = function;
    // SAFETY: FunctionCall2Coll does not change the look-up.
    unsafe { pg_sys::FunctionCall2Coll(function.cast_mut(), collation, left, right).value() as u8 != 0 }
}

fn datum(word: u64) -> Datum {
    Datum::from(word as usize)
}
