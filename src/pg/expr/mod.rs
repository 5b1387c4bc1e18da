//! PostgreSQL's expressions as those of `expr`.
//!
//! ```text
//! translate.rs  nodes -> conditions; begins.rs LIKE and starts_with
//! input.rs      values that are the same for a whole scan: constants, parameters, stable expressions;
//!               inputs.rs those of one scan
//! parameter.rs  whether an expression has parameters
//! opaque.rs     comparisons that only PostgreSQL's operators evaluate
//! collation.rs  what a collation says of bytes
//! ```

mod begins;
pub mod collation;
mod input;
mod inputs;
mod opaque;
mod parameter;
mod translate;

pub use input::elements;
pub use inputs::Inputs;
pub use parameter::has_parameter;
pub use translate::{Purpose, Scope, Translator, test_of};
