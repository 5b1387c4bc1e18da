//! Conditions on rows, which are true, false or NULL.

use super::operator::{Pattern, Test};
use super::value::{Constant, Type};

/// A column of what is read: its place among the columns, and its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnRef {
    pub index: usize,
    pub of: Type,
}

/// The value that a column is compared with, which is the same for all rows of a scan.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    Constant(Constant),
    /// The number of a parameter, whose value is known when a scan begins.
    Parameter(usize),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    And(Vec<Condition>),
    Or(Vec<Condition>),
    Not(Box<Condition>),
    /// The column, of any type, is NULL.
    IsNull(usize),
    /// A comparison `column test value`, or `column test ANY (list)`. The value is of the column's type.
    Compare(ColumnRef, Test, Operand),
    /// The column's bytes begin with a value, or any one of a list; or as a `LIKE` pattern does, which excludes groups
    /// only.
    Begins(ColumnRef, Pattern, Operand),
    /// A condition on one column that PostgreSQL evaluates.
    Opaque {
        number: usize,
        column: usize,
    },
}

impl Condition {
    /// Appends the columns that the condition is about.
    pub fn columns(&self, found: &mut Vec<usize>) {
        match self {
            Condition::And(parts) | Condition::Or(parts) => parts.iter().for_each(|part| part.columns(found)),
            Condition::Not(part) => part.columns(found),
            Condition::Compare(column, ..) | Condition::Begins(column, ..) => found.push(column.index),
            Condition::IsNull(column) | Condition::Opaque { column, .. } => found.push(*column),
        }
    }
}
