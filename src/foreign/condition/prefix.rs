//! What a text begins with: `LIKE`, `^@` and `starts_with`, against a group's least and greatest value.
//!
//! These compare bytes under every deterministic collation. Under others they are errors, or mean something
//! else, and leave out nothing.

use pgrx::pg_sys::{self, Datum, Oid};

use super::build::is_deterministic;
use super::{Condition, Element, Known, Subject, Value, text_bytes};
use crate::fdw::Prefix;
use crate::pg::encoding;

/// `column LIKE pattern`, or one of an array of patterns.
pub(super) struct Begins {
    pub column: usize,
    pub pattern: Value,
    element: Option<Element>,
    /// What texts are to begin with is the pattern itself.
    is_literal: bool,
}

impl Subject {
    /// `None` for other functions than these, and other arguments than a column and a pattern that can be had.
    ///
    /// # Safety
    /// A function's arguments; with an `element`, the second one is an array of such.
    pub(super) unsafe fn begins(
        &self,
        function: Oid,
        arguments: &[*mut pg_sys::Node],
        collation: Oid,
        element: Option<&Element>,
    ) -> Option<Condition> {
        let &[left, right] = arguments else { return None };
        let (of_bytes, is_literal) = match function.to_u32() {
            pg_sys::F_TEXTLIKE | pg_sys::F_LIKE_TEXT_TEXT => (false, false),
            pg_sys::F_STARTS_WITH => (false, true),
            pg_sys::F_BYTEALIKE | pg_sys::F_LIKE_BYTEA_BYTEA => (true, false),
            _ => return None,
        };
        // SAFETY: as the caller says.
        let (column, of) = unsafe { self.column(left) }?;
        let is_sound = match of {
            pg_sys::BYTEAOID => of_bytes,
            pg_sys::TEXTOID | pg_sys::VARCHAROID => {
                !of_bytes && encoding::database_is_utf8() && is_deterministic(collation)
            }
            _ => false,
        };
        if !is_sound {
            return None;
        }
        // SAFETY: as the caller says.
        let pattern = unsafe { self.value(right) }?;
        Some(Condition::Begins(Begins { column, pattern, element: element.cloned(), is_literal }))
    }
}

impl Begins {
    /// # Safety
    /// The bounds are values of the column's type.
    pub(super) unsafe fn may_match(&self, known: Known) -> bool {
        let Some(pattern) = self.pattern.now() else { return true };
        // The functions are strict: NULL on either side is no match.
        let Some(pattern) = pattern else { return false };
        if known.is_null() {
            return false;
        }
        // SAFETY: texts or bytes, all of them, or an array of such.
        unsafe {
            let (min, max) = (known.min.map(|min| text_bytes(min)), known.max.map(|max| text_bytes(max)));
            let may_lie = |pattern: Datum| {
                let pattern = text_bytes(pattern);
                let prefix =
                    if self.is_literal { Prefix::literal(pattern) } else { Prefix::of_pattern(pattern) };
                prefix.may_lie(min, max)
            };
            match &self.element {
                None => may_lie(pattern),
                Some(element) => element.values(pattern).into_iter().flatten().any(may_lie),
            }
        }
    }
}
