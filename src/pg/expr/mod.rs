//! PostgreSQL's expressions as those of `query`, and as the conditions of `expr`.
//!
//! ```text
//! expression.rs nodes -> query::Expr: functions.rs functions, stable.rs what is evaluated ahead; types.rs types;
//!               datum.rs values and Datums; nodes.rs walks over expressions
//! translate.rs  nodes -> conditions that skip groups of rows; begins.rs LIKE and starts_with
//! input.rs      values that are the same for a whole scan: constants, parameters, stable expressions;
//!               inputs.rs those of one scan
//! parameter.rs  whether an expression has parameters
//! opaque.rs     comparisons of statistics that only PostgreSQL's operators evaluate
//! collation.rs  what a collation says of bytes
//! ```

mod begins;
pub mod collation;
pub mod datum;
pub mod expression;
mod functions;
mod input;
mod inputs;
pub mod nodes;
mod opaque;
mod parameter;
mod stable;
mod translate;
pub mod types;

pub use input::elements;
pub use inputs::Inputs;
pub use parameter::has_parameter;
pub use stable::is_known_at_start;
pub use translate::{Scope, Translator, test_of};
