//! Row groups: an encoder for each column while rows are appended, then a list of buffers.

use std::ops::Range;

use arrow::array::{Array, ArrayRef};
use parquet::basic::{Compression, Encoding, PageType};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::metadata::page_index::PageIndexBuilder;
use parquet::schema::types::SchemaDescPtr;

use super::bloom::BloomFilterBuilder;
use super::chunk::{EncodedChunk, Scratch};
use super::compress::Compressor;
use super::external_chunk::ExternalChunk;
use super::flat_encoder::FlatEncoder;
use super::footer;
use super::nested_encoder::NestedEncoder;
use super::schema::FileSchema;
use super::{Options, Result, invalid};
use crate::types::{Field, Lane, Shapes};

enum ColumnEncoder {
    Flat(Box<FlatEncoder>),
    Nested(Box<NestedEncoder>),
}

struct ColumnWriter {
    encoder: ColumnEncoder,
    /// The column's leaves among the schema's columns.
    leaves: Range<usize>,
    rows: usize,
    /// The uncompressed size of the rows since the row group began.
    bytes: usize,
    filter: Option<BloomFilterBuilder>,
}

/// Encodes row groups one after the other. Buffers, hash tables and codec contexts are reused.
pub struct RowGroupWriter {
    schema: SchemaDescPtr,
    codec: Compression,
    scratch: Scratch,
    columns: Vec<ColumnWriter>,
    /// The rows, in a file without columns.
    bare_rows: usize,
}

impl RowGroupWriter {
    pub fn new(
        schema: &FileSchema,
        fields: &[Field],
        shapes: &Shapes,
        options: &Options,
    ) -> Result<RowGroupWriter> {
        let codec = options.codec.compression()?;
        let descr = schema.parquet().clone();
        let roots = descr.root_schema().get_fields();
        if roots.len() != fields.len() {
            return invalid("the schema is not of these fields");
        }
        let mut columns = Vec::with_capacity(fields.len());
        let mut leaf = 0;
        for (index, (field, root)) in fields.iter().zip(roots).enumerate() {
            let encoder = match field.kind.physical(shapes) {
                Some(physical) => ColumnEncoder::Flat(Box::new(FlatEncoder::new(field, physical, options))),
                None => {
                    let arrow = schema.arrow().field(index);
                    ColumnEncoder::Nested(Box::new(NestedEncoder::new(root, arrow, options.codec)?))
                }
            };
            let end = (leaf..descr.num_columns())
                .find(|&l| descr.get_column_root_idx(l) > index)
                .unwrap_or(descr.num_columns());
            columns.push(ColumnWriter { encoder, leaves: leaf..end, rows: 0, bytes: 0, filter: None });
            leaf = end;
        }
        let scratch = Scratch::new(Compressor::new(options.codec)?);
        Ok(RowGroupWriter { schema: descr, codec, scratch, columns, bare_rows: 0 })
    }

    /// Adds a Bloom filter for a flat column to each row group, which has at most `rows` rows.
    pub fn add_bloom_filter(&mut self, column: usize, rows: usize) -> Result<()> {
        match self.columns.get_mut(column) {
            Some(ColumnWriter { encoder: ColumnEncoder::Flat(_), filter, .. }) => {
                *filter = Some(BloomFilterBuilder::new(rows))
            }
            _ => return invalid("no such flat column"),
        }
        Ok(())
    }

    /// Appends the next rows of a flat column. The cells of a `Values::Bytes` point into `arena`.
    pub fn append(&mut self, column: usize, lane: &Lane, arena: &[u8]) -> Result<()> {
        let Some(column) = self.columns.get_mut(column) else { return invalid("no such column") };
        let ColumnEncoder::Flat(encoder) = &mut column.encoder else {
            return invalid("a lane for a nested column");
        };
        let (rows, bytes) = encoder.append(lane, arena, &mut self.scratch)?;
        if let Some(filter) = &mut column.filter {
            filter.add(lane, arena)?;
        }
        column.rows += rows;
        column.bytes += bytes;
        Ok(())
    }

    /// Appends the next rows of a nested column, which are of the type that `arrow_field` returns.
    pub fn append_nested(&mut self, column: usize, array: &ArrayRef) -> Result<()> {
        let Some(column) = self.columns.get_mut(column) else { return invalid("no such column") };
        let ColumnEncoder::Nested(encoder) = &mut column.encoder else {
            return invalid("an array for a flat column");
        };
        encoder.append(array)?;
        column.rows += array.len();
        column.bytes += array.to_data().get_slice_memory_size().unwrap_or(0);
        Ok(())
    }

    /// Appends rows to a file that has no columns.
    pub fn append_rows(&mut self, rows: usize) {
        self.bare_rows += rows;
    }

    /// Returns the number of rows since the row group began, in the first column.
    pub fn rows(&self) -> usize {
        self.columns.first().map_or(self.bare_rows, |c| c.rows)
    }

    /// Returns the uncompressed size of the rows since the row group began.
    pub fn buffered_bytes(&self) -> usize {
        self.columns.iter().map(|c| c.bytes).sum()
    }

    /// Returns the uncompressed size of the largest column.
    pub fn largest_column_bytes(&self) -> usize {
        self.columns.iter().map(|c| c.bytes).max().unwrap_or(0)
    }

    /// Returns the memory in use, in bytes.
    pub fn memory(&self) -> usize {
        let columns = self.columns.iter().map(|c| match &c.encoder {
            ColumnEncoder::Flat(flat) => flat.memory(),
            ColumnEncoder::Nested(nested) => nested.memory(),
        });
        let filters = self.columns.iter().filter_map(|c| c.filter.as_ref()).map(BloomFilterBuilder::memory);
        columns.sum::<usize>() + filters.sum::<usize>() + self.scratch.memory()
    }

    /// Closes the row group and starts the next. A row group without rows does not belong in a file.
    pub fn finish(&mut self) -> Result<EncodedRowGroup> {
        let rows = self.rows();
        if self.columns.iter().any(|c| c.rows != rows) {
            return invalid("the columns of a row group differ in their number of rows");
        }
        let mut chunks = Vec::with_capacity(self.schema.num_columns());
        let mut filters = Vec::new();
        for column in &mut self.columns {
            if let Some(filter) = &mut column.filter {
                filters.push((column.leaves.start, filter.finish()?));
            }
            let leaves = &self.schema.columns()[column.leaves.clone()];
            match &mut column.encoder {
                ColumnEncoder::Flat(flat) => {
                    chunks.push(flat.finish(&leaves[0], self.codec, &mut self.scratch)?);
                }
                ColumnEncoder::Nested(nested) => chunks.extend(nested.finish(leaves, &mut self.scratch)?),
            }
            (column.rows, column.bytes) = (0, 0);
        }
        self.bare_rows = 0;
        Ok(EncodedRowGroup { schema: self.schema.clone(), rows, chunks, filters })
    }

    /// Makes a row group of chunks of flat columns that were encoded elsewhere, in the codec of this writer or,
    /// unless `compressed`, in none; no rows may be pending here. Returns `None` if a bound cannot be told, and if
    /// columns have Bloom filters, which need the values.
    pub fn finish_external(
        &mut self,
        chunks: &[ExternalChunk],
        compressed: bool,
    ) -> Result<Option<EncodedRowGroup>> {
        let rows = chunks.first().map_or(0, ExternalChunk::rows);
        if chunks.len() != self.columns.len() || chunks.iter().any(|chunk| chunk.rows() != rows) {
            return invalid("chunks that were encoded elsewhere are not those of the schema");
        }
        if self.columns.iter().any(|column| column.filter.is_some()) {
            return Ok(None);
        }
        let mut encoded = Vec::with_capacity(chunks.len());
        for (column, external) in self.columns.iter_mut().zip(chunks) {
            let ColumnEncoder::Flat(flat) = &mut column.encoder else {
                return invalid("a nested column was encoded elsewhere");
            };
            let leaf = &self.schema.columns()[column.leaves.start];
            let scratch = (!compressed).then_some(&mut self.scratch);
            match flat.finish_external(external, leaf, self.codec, scratch)? {
                Some(chunk) => encoded.push(chunk),
                None => return Ok(None),
            }
        }
        Ok(Some(EncodedRowGroup { schema: self.schema.clone(), rows, chunks: encoded, filters: Vec::new() }))
    }

    /// Reuses the buffers of a row group that has been written.
    pub fn recycle(&mut self, mut row_group: EncodedRowGroup) {
        for column in &mut self.columns {
            let chunk = row_group.chunks.get_mut(column.leaves.start);
            if let (ColumnEncoder::Flat(flat), Some(chunk)) = (&mut column.encoder, chunk) {
                let pages = chunk.pages.pop().unwrap_or_default();
                flat.chunk_mut().reuse(std::mem::take(&mut chunk.dictionary), pages);
            }
        }
    }
}

/// A row group's bytes, which have no place in a file yet.
pub struct EncodedRowGroup {
    schema: SchemaDescPtr,
    rows: usize,
    chunks: Vec<EncodedChunk>,
    /// The leaf columns' Bloom filters, which follow the chunks.
    filters: Vec<(usize, Vec<u8>)>,
}

impl EncodedRowGroup {
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the encoding of the first page of each leaf.
    pub fn first_encodings(&self) -> Vec<Option<Encoding>> {
        let first = |chunk: &EncodedChunk| {
            let stats = chunk.metadata.page_encoding_stats()?;
            stats.iter().find(|stats| stats.page_type == PageType::DATA_PAGE).map(|stats| stats.encoding)
        };
        self.chunks.iter().map(first).collect()
    }

    /// Returns the size of the row group in the file.
    pub fn len(&self) -> u64 {
        let filters = self.filters.iter().map(|(_, filter)| filter.len() as u64);
        self.chunks.iter().map(|c| c.len() as u64).sum::<u64>() + filters.sum::<u64>()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the row group's bytes in file order.
    pub fn buffers(&self) -> impl Iterator<Item = &[u8]> {
        let chunks = self.chunks.iter().flat_map(|c| std::iter::once(&c.dictionary).chain(&c.pages));
        let chunks = chunks.map(|buffer| &buffer[..]);
        let filters = self.filters.iter().map(|(_, filter)| &filter[..]);
        chunks.chain(filters).filter(|buffer| !buffer.is_empty())
    }

    /// Encodes the metadata of the row group when its first byte lies at `offset` of the file.
    /// `footer::RowGroupMeta::decode` reads it, in this process or another.
    pub fn metadata_at(&self, offset: u64) -> Result<Vec<u8>> {
        let mut indexes = PageIndexBuilder::new(1, self.chunks.len());
        let mut columns = Vec::with_capacity(self.chunks.len());
        let mut at = offset as i64;
        for (index, chunk) in self.chunks.iter().enumerate() {
            let column = self.schema.column(index);
            columns.push(footer::relocate(&chunk.metadata, column, at)?);
            let mut offsets = chunk.offset_index.clone();
            offsets.page_locations.iter_mut().for_each(|page| page.offset += at);
            indexes.put_offset_index(offsets, 0, index);
            if let Some(bounds) = &chunk.column_index {
                indexes.put_column_index(bounds.clone(), 0, index);
            }
            at += chunk.len() as i64;
        }
        for (leaf, filter) in &self.filters {
            columns[*leaf] = footer::with_bloom_filter(&columns[*leaf], at, filter.len())?;
            at += filter.len() as i64;
        }
        let row_group = RowGroupMetaData::builder(self.schema.clone())
            .set_num_rows(self.rows as i64)
            .set_total_byte_size(columns.iter().map(|c| c.uncompressed_size()).sum())
            .set_column_metadata(columns)
            .set_file_offset(offset as i64)
            .build()?;
        footer::encode_row_group(row_group, indexes.build())
    }
}
