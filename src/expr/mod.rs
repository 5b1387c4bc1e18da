//! Conditions over columns that tell which groups of rows may match, by their statistics; and values of columns.
//!
//! ```text
//! condition.rs  the tree: comparisons of columns with values, AND, OR, NOT, IS NULL; operator.rs comparisons
//! context.rs    parameters' values, and the evaluator of opaque conditions; evidence.rs statistics
//! prune.rs      a condition and what is known of a group of rows -> whether a row may match
//! word.rs       values that words are, or point to
//! value.rs      constants; numeric.rs PostgreSQL's numeric
//! range.rs      comparisons of numbers as ranges; prefix.rs what texts begin with
//! decimals.rs   numerics in a file's form
//! sum.rs        sums of numerics of any number of digits
//! ```
//!
//! Pure: no server. What only PostgreSQL can evaluate is an opaque condition, which whoever made the tree evaluates.
//! Values compare as PostgreSQL's own operators compare them.

mod condition;
mod context;
mod decimals;
mod evidence;
mod numeric;
mod operator;
mod prefix;
mod prune;
mod range;
mod sum;
mod value;
mod word;

#[cfg(test)]
mod tests;

pub use condition::{ColumnRef, Condition, Operand};
pub use context::{Context, Opaque};
pub use decimals::{Decimals, run};
pub use evidence::{Bounds, Evidence};
pub use numeric::{Finite, IMAGE_HEADER, Numeric, SHORT_NEGATIVE, header, short_image};
pub use operator::{Pattern, Test};
pub use prefix::Prefix;
pub use range::{Place, Range, float_key};
pub use sum::NumericSum;
pub use value::{Constant, Scalar, Type, without_blanks};
pub use word::varlena;
