//! What an export reads, and how: relations, columns, kind of scan, chunks.
//!
//! The leader plans. The plan travels to the workers as JSON in a [`Job`], so that every process works from the same
//! one.

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

/// How rows are read from the table.
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

/// The format of the files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// The columns that have a Bloom filter in each row group, and whether floats may be BYTE_STREAM_SPLIT.
    Parquet { bloom_filters: Vec<String>, split: bool },
    /// The columns whose least and greatest values each record batch states; `None` for all that have them.
    Arrow { stats: Option<Vec<String>> },
}

impl Format {
    /// Returns the extension of the files' names.
    pub fn extension(&self) -> &'static str {
        match self {
            Format::Parquet { .. } => "parquet",
            Format::Arrow { .. } => "arrow",
        }
    }
}

/// What is done with the rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Output {
    /// Row groups or record batches, written to the files at reserved offsets. `rows` and `bytes` are the limits of
    /// one; `encode` says how the device encodes them, if it can.
    Groups { format: Format, compression: String, rows: u64, bytes: u64, encode: Option<EncodePlan> },
    /// The COPY BINARY stream. If `write` is false, its bytes are only counted.
    Stream { write: bool },
    /// Nothing is written: the values are only read for the shapes that they need.
    Survey,
    /// Nothing is written: cells go to a query.
    Cells,
    /// Nothing is written: a device adds rows to the groups of a query of that number, and cells of those that it leaves go
    /// to the same query in this process.
    Aggregated(u64),
    /// Nothing is written: the values are decoded and dropped, to measure all steps before the encoder.
    Dropped,
}

impl Output {
    /// Returns whether rows are written.
    pub fn is_written(&self) -> bool {
        matches!(self, Output::Groups { .. } | Output::Stream { .. })
    }
}

/// The GPU service's pool of slots, as the service process opened it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DevicePlan {
    pub pid: i32,
    pub fd: i32,
    pub generation: u64,
}

/// How a device encodes row groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncodePlan {
    /// The codec of pages: see `slot::encode`.
    pub codec: u32,
    /// The limits of a row group.
    pub rows: u64,
    pub bytes: u64,
    /// The choice for each column.
    pub choices: Vec<Choice>,
}

/// How a column's values are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// Whether a dictionary may be used.
    pub dictionary: bool,
    /// The encoding without a dictionary: see `slot::encode::encoding`.
    pub encoding: u32,
}

/// What an export reads, and how.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reading {
    pub source: Source,
    /// The rows of a query, which only the leader reads.
    #[serde(skip)]
    pub query: Option<Rc<QueryRows>>,
    pub columns: Vec<Column>,
    pub scan: ScanKind,
    /// The device that decodes rows; `None` for the CPU.
    pub device: Option<DevicePlan>,
}

impl Reading {
    pub fn fields(&self) -> Vec<Field> {
        self.columns.iter().map(|column| column.field.clone()).collect()
    }
}

/// What all passes of an export have in common. With a [`Pass`], it is everything a process needs to take part.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    pub reading: Reading,
    /// The file to which rows are appended, which only the leader uses.
    #[serde(skip)]
    pub append: Option<Rc<Append>>,
    pub chunks: Chunks,
    /// The temporary files: one that all processes share, or one for each.
    pub files: Vec<PathBuf>,
}

impl Job {
    /// Returns the file that process `number` writes to; 0 is the leader.
    pub fn file_of(&self, number: usize) -> usize {
        number.min(self.files.len().saturating_sub(1))
    }
}

/// One pass over the rows: what is done with them, and the shapes that are assumed for it.
pub struct Pass<'r> {
    pub reading: &'r Reading,
    /// The shapes in force.
    pub shapes: Shapes,
    /// Whether the shapes are those of all data. Before that, values of columns that may still become text are not
    /// errors.
    pub surveyed: bool,
    pub output: Output,
}

impl<'r> Pass<'r> {
    /// A survey that begins with the given shapes.
    pub fn survey(reading: &'r Reading, shapes: Shapes) -> Pass<'r> {
        Pass { reading, shapes, surveyed: false, output: Output::Survey }
    }

    /// Returns whether a refused value of the column may still be written as text.
    pub fn may_become_text(&self, column: usize) -> bool {
        !self.surveyed && self.reading.columns[column].field.kind.may_become_text()
    }

    /// Returns whether text must be converted: it is UTF-8 in files, and in the database's encoding in a COPY BINARY
    /// stream and in queries.
    pub fn converts_text(&self) -> bool {
        !matches!(self.output, Output::Stream { .. } | Output::Cells | Output::Aggregated(_))
            && !crate::pg::encoding::database_is_utf8()
    }
}
