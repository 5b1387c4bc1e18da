//! Files appear whole or not at all: written under a temporary name beside the target, synced, renamed.
//!
//! The leader alone creates, publishes and removes; workers only write into files that exist. A
//! temporary name has a lock file beside it, so that what a crash of the server left behind is
//! recognised and removed by the next export to the same target.

mod append;
mod file_attributes;
mod manifest;
mod staged;
mod target;
mod temporary;
mod writer;

pub use append::Append;
pub use manifest::{Manifest, ManifestColumn, ManifestFile};
pub use staged::Staged;
pub use target::{Target, names_file};
pub use writer::Writer;

/// The name of the file that a complete directory export holds.
pub const SUCCESS: &str = "_SUCCESS";
