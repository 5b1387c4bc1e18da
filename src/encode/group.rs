//! The unit in which an export writes, in either format: a Parquet file's row group or an Arrow file's record batch.

use arrow::array::ArrayRef;

use super::external_chunk::ExternalChunk;
use super::ipc::{BatchWriter, EncodedBatch};
use super::row_group::{EncodedRowGroup, RowGroupWriter};
use super::{Result, invalid};
use crate::types::Lane;

pub enum GroupWriter {
    Parquet(Box<RowGroupWriter>),
    Arrow(Box<BatchWriter>),
}

/// A group's bytes, which have no place in a file yet.
pub enum EncodedGroup {
    Parquet(EncodedRowGroup),
    Arrow(EncodedBatch),
}

/// Calls a method of the variant.
macro_rules! either {
    ($kind:ident, $one:expr, $it:ident => $call:expr) => {
        match $one {
            $kind::Parquet($it) => $call,
            $kind::Arrow($it) => $call,
        }
    };
}

impl GroupWriter {
    /// Appends the next rows of a flat column. The cells of a `Values::Bytes` point into `arena`.
    pub fn append(&mut self, column: usize, lane: &Lane, arena: &[u8]) -> Result<()> {
        either!(GroupWriter, self, writer => writer.append(column, lane, arena))
    }

    /// Appends the next rows of a nested column, which are of the type that `arrow_field` returns.
    pub fn append_nested(&mut self, column: usize, array: &ArrayRef) -> Result<()> {
        either!(GroupWriter, self, writer => writer.append_nested(column, array))
    }

    /// Appends rows to a file that has no columns.
    pub fn append_rows(&mut self, rows: usize) {
        either!(GroupWriter, self, writer => writer.append_rows(rows));
    }

    /// Returns the number of rows since the group began.
    pub fn rows(&self) -> usize {
        either!(GroupWriter, self, writer => writer.rows())
    }

    /// Returns the uncompressed size of the rows since the group began.
    pub fn buffered_bytes(&self) -> usize {
        either!(GroupWriter, self, writer => writer.buffered_bytes())
    }

    /// Returns the uncompressed size of the largest column.
    pub fn largest_column_bytes(&self) -> usize {
        either!(GroupWriter, self, writer => writer.largest_column_bytes())
    }

    /// Closes the group and starts the next.
    pub fn finish(&mut self) -> Result<EncodedGroup> {
        Ok(match self {
            GroupWriter::Parquet(writer) => EncodedGroup::Parquet(writer.finish()?),
            GroupWriter::Arrow(writer) => EncodedGroup::Arrow(writer.finish()?),
        })
    }

    /// Makes a row group of chunks that were encoded elsewhere; see `RowGroupWriter::finish_external`.
    pub fn finish_external(
        &mut self,
        chunks: &[ExternalChunk],
        compressed: bool,
    ) -> Result<Option<EncodedGroup>> {
        match self {
            GroupWriter::Parquet(writer) => {
                Ok(writer.finish_external(chunks, compressed)?.map(EncodedGroup::Parquet))
            }
            GroupWriter::Arrow(_) => invalid("record batches are not encoded elsewhere"),
        }
    }

    /// Reuses the buffers of a group that has been written.
    pub fn recycle(&mut self, group: EncodedGroup) {
        match (self, group) {
            (GroupWriter::Parquet(writer), EncodedGroup::Parquet(group)) => writer.recycle(group),
            (GroupWriter::Arrow(writer), EncodedGroup::Arrow(group)) => writer.recycle(group),
            _ => {}
        }
    }
}

impl EncodedGroup {
    pub fn rows(&self) -> usize {
        either!(EncodedGroup, self, group => group.rows())
    }

    /// Returns the size of the group in the file.
    pub fn len(&self) -> u64 {
        either!(EncodedGroup, self, group => group.len())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the group's bytes in file order.
    pub fn buffers(&self) -> Box<dyn Iterator<Item = &[u8]> + '_> {
        either!(EncodedGroup, self, group => Box::new(group.buffers()))
    }

    /// Encodes what the footer needs to know of the group when its first byte lies at `offset` of the file. The
    /// format's `decode` reads it, in this process or another.
    pub fn metadata_at(&self, offset: u64) -> Result<Vec<u8>> {
        either!(EncodedGroup, self, group => group.metadata_at(offset))
    }
}
