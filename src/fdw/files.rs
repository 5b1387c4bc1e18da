//! Finds the files of a foreign table.

use std::fs;
use std::io::{
    self,
    ErrorKind::{NotADirectory, NotFound},
};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::error::{Problem, ReadError, Result};
use super::pattern::{Keys, Pattern, add_hive_keys};
use crate::interrupts;

/// The files, as the table's options name them.
#[derive(Clone, Debug, PartialEq)]
pub enum FileSet {
    Named(Vec<String>),
    /// All files below a directory with a suffix.
    Directory {
        path: String,
        suffix: Option<String>,
    },
}

/// A file, and the values that its path has for its rows.
#[derive(Clone, Debug, PartialEq)]
pub struct DataFile {
    pub path: String,
    pub keys: Keys,
}

impl FileSet {
    /// Returns the files that exist now, sorted by name; with a pattern, those that match it.
    pub fn list(&self, pattern: Option<&Pattern>) -> Result<Vec<DataFile>> {
        let (paths, root) = match self {
            FileSet::Named(paths) => (paths.clone(), ""),
            FileSet::Directory { path, suffix } => {
                let mut found = Vec::new();
                walk(Path::new(path), suffix.as_deref().unwrap_or(""), &mut Vec::new(), &mut found)?;
                found.sort();
                (found, path.as_str())
            }
        };
        let describe = |path: String| {
            interrupts::check();
            let below = path.strip_prefix(root).unwrap_or(&path).trim_start_matches('/');
            let mut keys = match pattern {
                Some(pattern) => pattern.matches(below)?,
                None => Keys::new(),
            };
            // The keys come from the whole path, so that a file has the same ones by itself and as a
            // directory's file.
            add_hive_keys(&path, &mut keys);
            Some(DataFile { path, keys })
        };
        Ok(paths.into_iter().filter_map(describe).collect())
    }
}

/// Adds the files of a directory. Names that begin with a dot or an underscore are by custom not data:
/// temporary files, the `_SUCCESS` of an export. Subdirectories are entered if they are Hive's, `key=value`.
/// `above` has device and inode of the directories above this one; a symbolic link back to one of them would
/// have no end.
fn walk(directory: &Path, suffix: &str, above: &mut Vec<(u64, u64)>, found: &mut Vec<String>) -> Result<()> {
    let shown = directory.to_string_lossy().into_owned();
    let failed = |cause: io::Error| ReadError::new(&shown, Problem::Io("read directory", cause));
    let status = fs::metadata(directory).map_err(failed)?;
    let this = (status.dev(), status.ino());
    if above.contains(&this) {
        return Err(ReadError::unsupported(&shown, "it is a link to a directory that it lies in"));
    }
    above.push(this);
    for entry in fs::read_dir(directory).map_err(failed)? {
        interrupts::check();
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        let Ok(name) = entry.file_name().into_string() else {
            let name = entry.file_name().to_string_lossy().into_owned();
            return Err(ReadError::unsupported(&format!("{shown}/{name}"), "its name is not UTF-8"));
        };
        if name.starts_with(['.', '_']) {
            continue;
        }
        // Symbolic links are followed; one to no file is skipped.
        let status = match fs::metadata(&path) {
            Ok(status) => status,
            Err(cause) if matches!(cause.kind(), NotFound | NotADirectory) => continue,
            Err(cause) => {
                let path = path.to_string_lossy();
                return Err(ReadError::new(&path, Problem::Io("examine file", cause)));
            }
        };
        if status.is_dir() && name.contains('=') {
            walk(&path, suffix, above, found)?;
        } else if status.is_file() && name.ends_with(suffix) {
            found.push(format!("{}/{name}", shown.trim_end_matches('/')));
        }
    }
    above.pop();
    Ok(())
}
