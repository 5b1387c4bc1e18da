//! Translates conditions on the beginning of a text: `LIKE`, `^@` and `starts_with`.
//!
//! These compare bytes under every deterministic collation. Under others they are errors, or mean something else.
//! A text that is LIKE a pattern begins as the pattern does, so that the condition excludes groups but decides no row.

use pgrx::pg_sys::{self, Oid};

use super::collation::is_deterministic;
use super::input::Values;
use super::translate::Translator;
use crate::expr::{ColumnRef, Condition, Pattern, Type};
use crate::pg::encoding;

impl Translator<'_> {
    /// Translates a call of such a function with a column and a pattern that is the same for all rows; `None` for other
    /// calls, and `Some(None)` if the condition does not serve the purpose.
    ///
    /// # Safety
    /// The arguments are those of the function; with an `element`, the second one is an array of such.
    pub(super) unsafe fn begins(
        &mut self,
        function: Oid,
        arguments: &[*mut pg_sys::Node],
        collation: Oid,
        element: Option<Oid>,
    ) -> Option<Option<Condition>> {
        let &[left, right] = arguments else { return None };
        let (oid, pattern) = match function.to_u32() {
            pg_sys::F_TEXTLIKE | pg_sys::F_LIKE_TEXT_TEXT => (pg_sys::TEXTOID, Pattern::Like),
            pg_sys::F_STARTS_WITH => (pg_sys::TEXTOID, Pattern::Literal),
            pg_sys::F_BYTEALIKE | pg_sys::F_LIKE_BYTEA_BYTEA => (pg_sys::BYTEAOID, Pattern::Like),
            _ => return None,
        };
        // SAFETY: the arguments are expressions.
        let (index, column) = unsafe { self.scope.column(left) }?;
        let of = match column {
            pg_sys::BYTEAOID if oid == column => Type::Bytea,
            pg_sys::TEXTOID | pg_sys::VARCHAROID
                if oid == pg_sys::TEXTOID && encoding::database_is_utf8() && is_deterministic(collation) =>
            {
                Type::Text
            }
            _ => return None,
        };
        let values = Values { of, oid, is_array: element.is_some() };
        // SAFETY: the second argument is of the type, or an array of it.
        let operand = unsafe { self.operand(right, values) }?;
        Some(Some(Condition::Begins(ColumnRef { index, of }, pattern, operand)))
    }
}
