//! Statistics of groups of rows.

use super::condition::ColumnRef;
use super::value::Scalar;

/// Statistics of a column in some rows. The bounds are Datums, and need not be values of the column themselves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounds {
    pub min: Option<u64>,
    pub max: Option<u64>,
    pub rows: u64,
    pub nulls: Option<u64>,
}

/// Statistics of the columns in some rows.
pub trait Evidence {
    fn bounds(&self, column: usize) -> Option<Bounds>;

    /// Returns whether a column may have a value; false only if it is certain that it does not.
    fn may_have(&self, _column: ColumnRef, _value: &Scalar) -> bool {
        true
    }
}

impl Bounds {
    /// Returns whether all values are NULL, so that no comparison is true or false.
    pub fn is_null(&self) -> bool {
        self.nulls == Some(self.rows)
    }
}
