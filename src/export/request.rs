//! The arguments of an export.

use pgrx::pg_sys::Oid;

use crate::plan::{Format, ScanKind};

/// What is exported.
pub enum Subject {
    /// All or some columns of a table.
    Table { oid: Oid, columns: Option<Vec<String>> },
    /// The result of a query.
    Query(String),
}

/// The arguments of an export, their form already checked.
pub struct Request {
    pub subject: Subject,
    pub path: String,
    pub format: Format,
    pub compression: String,
    /// The most rows of a row group or record batch.
    pub group_rows: u64,
    pub group_bytes: u64,
    pub workers: Option<usize>,
    /// `None` chooses the best that the table allows.
    pub scan: Option<ScanKind>,
    pub device: DeviceChoice,
    pub overwrite: bool,
    /// Adds record batches to an existing file.
    pub append: bool,
}

/// The device that the caller asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    Auto,
    Cpu,
    /// Raise an error when no GPU can be used.
    Gpu,
}
