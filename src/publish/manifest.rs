//! The manifest of a directory export, `_SUCCESS`, and what it says about which files exports wrote. Only the leader
//! uses it.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::SUCCESS;

#[derive(Serialize)]
pub struct Manifest {
    pub table: String,
    pub rows: u64,
    pub bytes: u64,
    /// The snapshot under which every row was read, as `pg_current_snapshot()` prints it.
    pub snapshot: String,
    pub columns: Vec<ManifestColumn>,
    pub files: Vec<ManifestFile>,
    pub pg_strata: &'static str,
}

#[derive(Serialize)]
pub struct ManifestColumn {
    pub name: String,
    pub pg_type: String,
    pub nullable: bool,
}

#[derive(Serialize)]
pub struct ManifestFile {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row_groups: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record_batches: Option<u64>,
    pub rows: u64,
    pub bytes: u64,
}

impl Manifest {
    pub fn to_json(&self) -> String {
        // Serializing a struct of strings and integers cannot fail.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

/// The parts of a manifest that are read: that it is ours, and which files it lists.
#[derive(Deserialize)]
struct Written {
    files: Vec<WrittenFile>,
    #[serde(rename = "pg_strata")]
    _version: String,
}

#[derive(Deserialize)]
struct WrittenFile {
    name: String,
}

/// Returns the names in a directory.
pub fn entries(directory: &Path) -> io::Result<Vec<String>> {
    let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
    fs::read_dir(directory)?.map(name).collect()
}

/// Returns a name in a directory that its manifest does not list. Without a manifest that is any name.
pub fn foreign_entry(directory: &Path) -> io::Result<Option<String>> {
    let is_file = |name: &str| match fs::symlink_metadata(directory.join(name)) {
        Ok(found) => Ok(found.is_file()),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(cause) => Err(cause),
    };
    let manifest = match is_file(SUCCESS)? {
        true => serde_json::from_slice::<Written>(&fs::read(directory.join(SUCCESS))?).ok(),
        false => None,
    };
    let listed: Vec<String> =
        manifest.iter().flat_map(|written| &written.files).map(|file| file.name.clone()).collect();
    for name in entries(directory)? {
        let is_named = listed.contains(&name) || name == SUCCESS && manifest.is_some();
        if !is_named || !is_file(&name)? {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// Removes a file, or the files that exports write and their directory, which must not contain anything else.
pub fn remove_export(path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.is_dir() {
        return fs::remove_file(path);
    }
    let is_part =
        |name: &str| name.starts_with("part-") && (name.ends_with(".parquet") || name.ends_with(".arrow"));
    for name in entries(path)?.into_iter().filter(|name| name == SUCCESS || is_part(name)) {
        fs::remove_file(path.join(name))?;
    }
    fs::remove_dir(path)
}
