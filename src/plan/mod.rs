//! What an export reads and how: the relations, the columns, the scan kind, the work units.
//!
//! The leader plans; the plan travels to the workers as JSON inside a [`Job`], so that every process
//! works from the same one.

use std::path::PathBuf;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::pg::query::QueryRows;
use crate::publish::Append;
use crate::types::{Field, Shapes};

pub mod chunks;
pub mod columns;
pub mod relation;

pub use chunks::Chunks;
pub use columns::{Column, Stored};
pub use relation::Source;

/// How rows leave the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScanKind {
    /// Heap pages, decoded directly.
    Heap,
    /// Through the COPY BINARY stream.
    CopyBinary,
}

impl ScanKind {
    pub fn name(self) -> &'static str {
        match self {
            ScanKind::Heap => "heap",
            ScanKind::CopyBinary => "copy_binary",
        }
    }
}

/// What the files are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// The columns that have a Bloom filter in each row group; whether floats may be BYTE_STREAM_SPLIT.
    Parquet { filters: Vec<String>, split: bool },
    /// The columns whose least and greatest values each record batch states; `None`: all that have them.
    Arrow { stats: Option<Vec<String>> },
}

impl Format {
    /// What the files' names end in.
    pub fn extension(&self) -> &'static str {
        match self {
            Format::Parquet { .. } => "parquet",
            Format::Arrow { .. } => "arrow",
        }
    }
}

/// What becomes of the rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Output {
    /// Row groups or record batches, written to the files at reserved offsets. `rows` and `bytes` are the
    /// most that one takes.
    Groups { format: Format, compression: String, rows: u64, bytes: u64 },
    /// The COPY BINARY stream; `write` false only counts it.
    Stream { write: bool },
    /// Nothing is written: the values are looked at for the shapes they need.
    Survey,
    /// Nothing is written: the values are decoded and dropped, to measure what comes before the encoder.
    Dropped,
}

impl Output {
    /// Every row is to be in some part.
    pub fn is_written(&self) -> bool {
        matches!(self, Output::Groups { .. } | Output::Stream { .. })
    }
}

/// The GPU service's pool of slots, as its service process has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DevicePlan {
    pub pid: i32,
    pub fd: i32,
    pub generation: u64,
}

/// How a device encodes row groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncodePlan {
    /// What it does to pages: `slot::encode`.
    pub codec: u32,
    /// The most that a row group takes.
    pub rows: u64,
    pub bytes: u64,
    /// One a column.
    pub choices: Vec<Choice>,
}

/// How a column's values are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// By a dictionary, if that pays.
    pub dictionary: bool,
    /// Of values without one: `slot::encode::encoding`.
    pub encoding: u32,
}

/// Everything a process needs to take part in an export.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    pub source: Source,
    /// The rows, where they are a query's: the leader reads them alone.
    #[serde(skip)]
    pub query: Option<Rc<QueryRows>>,
    /// The file that the rows go behind: the leader's.
    #[serde(skip)]
    pub append: Option<Rc<Append>>,
    pub columns: Vec<Column>,
    pub chunks: Chunks,
    pub scan: ScanKind,
    /// The shapes in force for this pass.
    pub shapes: Shapes,
    /// They are those of all the data. Before that, no value of a column that may still become text is
    /// an error.
    pub surveyed: bool,
    pub output: Output,
    /// Rows are decoded there; `None`: on the CPU.
    pub device: Option<DevicePlan>,
    /// Row groups are encoded there too, where that is possible.
    pub encode: Option<EncodePlan>,
    /// Temporary files: one that all share, or one a process.
    pub files: Vec<PathBuf>,
}

impl Job {
    pub fn fields(&self) -> Vec<Field> {
        self.columns.iter().map(|column| column.field.clone()).collect()
    }

    /// Whether a refused value of the column may still end in a text.
    pub fn may_become_text(&self, column: usize) -> bool {
        !self.surveyed && self.columns[column].field.kind.may_become_text()
    }

    /// Text goes into the file as UTF-8, and into the COPY BINARY stream as the database has it.
    pub fn converts_text(&self) -> bool {
        !matches!(self.output, Output::Stream { .. }) && !crate::pg::encoding::database_is_utf8()
    }

    /// The file that process `number` (0: the leader) writes to.
    pub fn file_of(&self, number: usize) -> usize {
        number.min(self.files.len().saturating_sub(1))
    }
}
