//! What an export writes at a time, in either format: a Parquet file's row group or an Arrow file's record
//! batch.

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

/// A group's bytes, without a place in a file yet.
pub enum EncodedGroup {
    Parquet(EncodedRowGroup),
    Arrow(EncodedBatch),
}

/// Calls the same method of whichever it is.
macro_rules! either {
    ($kind:ident, $one:expr, $it:ident => $call:expr) => {
        match $one {
            $kind::Parquet($it) => $call,
            $kind::Arrow($it) => $call,
        }
    };
}

impl GroupWriter {
    /// Appends the next rows of a flat column. `arena` is what the cells of a `Values::Bytes` point into.
    pub fn append(&mut self, column: usize, lane: &Lane, arena: &[u8]) -> Result<()> {
        either!(GroupWriter, self, writer => writer.append(column, lane, arena))
    }

    /// Appends the next rows of a nested column, of the type that `arrow_field` names.
    pub fn append_nested(&mut self, column: usize, array: &ArrayRef) -> Result<()> {
        either!(GroupWriter, self, writer => writer.append_nested(column, array))
    }

    /// Appends rows to a file that has no columns.
    pub fn append_rows(&mut self, rows: usize) {
        either!(GroupWriter, self, writer => writer.append_rows(rows));
    }

    /// Rows taken since the group began.
    pub fn rows(&self) -> usize {
        either!(GroupWriter, self, writer => writer.rows())
    }

    /// Uncompressed bytes taken since the group began.
    pub fn buffered_bytes(&self) -> usize {
        either!(GroupWriter, self, writer => writer.buffered_bytes())
    }

    /// Of those, the largest column's.
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

    /// A row group of chunks that were encoded elsewhere, as `RowGroupWriter::adopt` makes it.
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

    /// Takes back a group that has been written, for its buffers.
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

    /// Bytes that the group takes in the file.
    pub fn len(&self) -> u64 {
        either!(EncodedGroup, self, group => group.len())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The group's bytes, in the order in which they lie in the file.
    pub fn buffers(&self) -> Box<dyn Iterator<Item = &[u8]> + '_> {
        either!(EncodedGroup, self, group => Box::new(group.buffers()))
    }

    /// What the footer needs to know once the group's first byte lies at `offset` of the file: bytes for
    /// the format's own `decode`, in this process or another.
    pub fn metadata_at(&self, offset: u64) -> Result<Vec<u8>> {
        either!(EncodedGroup, self, group => group.metadata_at(offset))
    }
}
