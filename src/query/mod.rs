//! SQL on columns: filters, groups and aggregates the rows of a table, batch by batch.
//!
//! ```text
//! plan.rs      what is computed: conditions, keys, aggregates, as data; value.rs types and values
//! vector.rs    the values of an expression in a block of rows; column.rs reads cells into it
//! program.rs   expressions compiled into steps over vectors; arithmetic.rs, division.rs, compare.rs, list.rs, logic.rs,
//!              choice.rs the steps; unary.rs functions of one value: calendar.rs of dates, texts.rs of texts
//! keys.rs      keys as words that compare; table.rs the hash table of groups
//! state.rs     the aggregates' states in a group's words: squares.rs those of variances, extremes.rs of extremes,
//!              single.rs those of the only group;
//!              distinct.rs DISTINCT values;
//!              result.rs what a group shows
//! filter.rs    conditions alone
//! cuda         a plan as text for a GPU
//! executor.rs  a plan over the batches of a process; message.rs groups on their way to the leader
//! ```
//!
//! Pure: no server. The results are PostgreSQL's to the last digit. A row whose values the vectors cannot hold, or for
//! which PostgreSQL would raise an error, is *odd*: PostgreSQL evaluates its expressions, and the values come back here.
//! A whole query that cannot be computed here ends with `Unfit`, and PostgreSQL's own plan answers it.

mod arithmetic;
mod calendar;
mod choice;
mod column;
mod compare;
pub mod cuda;
mod distinct;
mod division;
mod executor;
mod extremes;
mod filter;
mod keys;
mod list;
mod logic;
mod message;
mod plan;
mod program;
mod result;
mod single;
mod split;
mod squares;
mod state;
mod table;
mod texts;
mod unary;
mod value;
mod vector;

#[cfg(test)]
mod filter_tests;
#[cfg(test)]
mod tests;

pub use arithmetic::timestamp_of;
pub use executor::{Executor, Odd};
pub use filter::Filter;
pub use plan::{Aggregate, Arithmetic, Column, Expr, Function, Like, Output, Part, Plan, Test, Unary, Unit};
pub use result::{Cursor, Shown};
pub use split::PARTS;
pub use value::{Type, Value};
pub use vector::{Rows, Source};

/// Why a query cannot be computed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfit(pub &'static str);
