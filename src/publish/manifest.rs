//! What a directory export says of itself in `_SUCCESS`.

use serde::Serialize;

#[derive(Serialize)]
pub struct Manifest {
    pub table: String,
    pub rows: u64,
    pub bytes: u64,
    /// The snapshot that every row was read under, as `pg_current_snapshot()` prints it.
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
        // A struct of strings and integers always serializes.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}
