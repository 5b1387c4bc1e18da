//! Encodes columns as Parquet: row groups, their metadata and the footer. `ipc` encodes them as Arrow.
//!
//! ```text
//! Lane ──append──▶ column encoder ──page──▶ column chunk ─┐
//!                  (pending page)   chooser               ├─finish─▶ EncodedRowGroup ─metadata_at─▶ bytes
//! ArrayRef ───────▶ parquet's ArrowColumnWriter (nested) ─┘                                           │
//!                                                  footer::write_footer ◀── footer::RowGroupMeta ◀────┘
//! ```
//!
//! A row group is encoded in one process before its place in the file is known, and under shapes that may still
//! widen. Its metadata travels as bytes to the process that writes the footer, under the final schema. Pure: no
//! PostgreSQL, no threads, no I/O except to the `Write` that a caller passes.

use std::fmt;

use crate::memory::{OutOfMemory, reserve};

pub(crate) mod bits;
mod bloom;
pub(crate) mod byte_stream_split;
mod bytes_dict;
mod bytes_encoder;
mod checksums;
mod chunk;
mod codec;
mod compress;
pub(crate) mod delta;
mod dict;
mod external_chunk;
mod fixed;
mod fixed_encoder;
mod flat_encoder;
pub mod footer;
mod footer_frame;
mod group;
pub mod ipc;
mod lz4;
pub mod metadata_list;
mod mode;
mod nested_encoder;
mod precision;
mod row_group;
mod schema;
mod stats;
mod thrift;

#[cfg(test)]
mod bench;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_checksums;
#[cfg(test)]
mod tests_files;
#[cfg(test)]
mod tests_footer;
#[cfg(test)]
mod tests_stats;

pub use bloom::has_bloom_filter;
pub use chunk::{PAGE_BYTES, PAGE_ROWS};
pub use codec::{CODECS, Codec, CodecError};
pub use dict::MAX_BYTES;
pub use external_chunk::{ExternalBounds, ExternalChunk, ExternalDictionary, ExternalPage};
pub use footer::{RowGroupMeta, RowGroups};
pub use group::{EncodedGroup, GroupWriter};
pub use precision::{Magnitudes, exact_shapes};
pub use row_group::{EncodedRowGroup, RowGroupWriter};
pub use schema::{COLUMNS_KEY, FileSchema};
pub use stats::Beginning;

/// How a file is encoded. All processes of an export use the same options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub codec: Codec,
    /// No dictionary is tried. This shows which encoding is best without one.
    pub values_only: bool,
    /// BYTE_STREAM_SPLIT is tried for floats. Not every reader supports it: Spark's vectorized reader, up to 4.1,
    /// does not.
    pub split: bool,
}

/// Why encoding failed.
#[derive(Debug)]
pub enum EncodeError {
    Parquet(parquet::errors::ParquetError),
    Arrow(arrow::error::ArrowError),
    Io(std::io::Error),
    OutOfMemory(OutOfMemory),
    /// The caller's data do not fit the schema, or the format cannot represent them.
    Invalid(String),
}

pub type Result<T> = std::result::Result<T, EncodeError>;

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EncodeError::Parquet(e) => e.fmt(f),
            EncodeError::Arrow(e) => e.fmt(f),
            EncodeError::Io(e) => e.fmt(f),
            EncodeError::OutOfMemory(e) => e.fmt(f),
            EncodeError::Invalid(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for EncodeError {}

impl From<parquet::errors::ParquetError> for EncodeError {
    fn from(e: parquet::errors::ParquetError) -> Self {
        EncodeError::Parquet(e)
    }
}

impl From<arrow::error::ArrowError> for EncodeError {
    fn from(e: arrow::error::ArrowError) -> Self {
        EncodeError::Arrow(e)
    }
}

impl From<std::io::Error> for EncodeError {
    fn from(e: std::io::Error) -> Self {
        EncodeError::Io(e)
    }
}

impl From<OutOfMemory> for EncodeError {
    fn from(e: OutOfMemory) -> Self {
        EncodeError::OutOfMemory(e)
    }
}

fn invalid<T>(what: impl Into<String>) -> Result<T> {
    Err(EncodeError::Invalid(what.into()))
}

fn other(e: impl std::error::Error + Send + Sync + 'static) -> EncodeError {
    EncodeError::Io(std::io::Error::other(e))
}
