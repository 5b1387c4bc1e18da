//! Publishes files whole or not at all: they are written under a temporary name beside the target, synced and
//! renamed.
//!
//! Only the leader creates, publishes and removes files; workers only write to existing ones. A temporary name has a
//! lock file beside it, so that the next export to the same target recognises and removes what a crash of the server
//! left behind.

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

/// The name of the file that a complete directory export contains.
pub const SUCCESS: &str = "_SUCCESS";
