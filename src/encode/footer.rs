//! Footers. The metadata of one row group travels between processes, that of all is at the end of a file.

use std::io::Write;
use std::sync::Arc;

use parquet::file::metadata::page_index::PageIndex;
use parquet::file::metadata::{
    ColumnChunkMetaData, FileMetaData, KeyValue, PageIndexPolicy, ParquetMetaDataBuilder,
    ParquetMetaDataOptions, ParquetMetaDataReader, ParquetMetaDataWriter, RowGroupMetaData,
};
use parquet::schema::types::ColumnDescPtr;

use super::footer_frame::Frame;
pub use super::footer_frame::MAGIC;
use super::schema::FileSchema;
use super::{Result, invalid};

/// The most row groups in a file: parquet.thrift, RowGroup, has 16 bits for their number, and counts from 0.
pub const MAX_ROW_GROUPS: u64 = 1 << 15;

/// The writer's name in the form that readers of `created_by` parse: application, version, build.
pub const CREATED_BY: &str = concat!("pg_strata version ", env!("CARGO_PKG_VERSION"), " (build dev)");

/// The version of files that use features of format 2 (parquet.thrift, FileMetaData).
const FORMAT_VERSION: i32 = 2;

/// The metadata of an encoded row group, with its place in the file.
#[derive(Clone)]
pub struct RowGroupMeta {
    row_group: RowGroupMetaData,
    /// The column indexes of its chunks as they lie in a file and, from `offset_indexes` on, the offset indexes.
    indexes: Vec<u8>,
    offset_indexes: usize,
}

/// Row groups in the order of their rows. They can be visited more than once, one at a time, since the metadata of
/// many takes much memory.
pub trait RowGroups {
    fn each(&self, see: &mut dyn FnMut(&RowGroupMeta) -> Result<()>) -> Result<()>;
}

impl RowGroups for [RowGroupMeta] {
    fn each(&self, see: &mut dyn FnMut(&RowGroupMeta) -> Result<()>) -> Result<()> {
        self.iter().try_for_each(see)
    }
}

impl RowGroupMeta {
    /// Reads what `EncodedRowGroup::metadata_at` wrote.
    pub fn decode(bytes: &[u8]) -> Result<RowGroupMeta> {
        // By default parquet reads the encodings as a mask, which it does not write again.
        let options = ParquetMetaDataOptions::new().with_encoding_stats_as_mask(false);
        let file = ParquetMetaDataReader::new()
            .with_metadata_options(Some(options))
            .with_page_index_policy(PageIndexPolicy::Skip)
            .parse_and_finish(&::bytes::Bytes::copy_from_slice(bytes))?;
        let [row_group] = file.row_groups() else {
            return invalid(format!("metadata of {} row groups instead of one", file.row_groups().len()));
        };
        let places = row_group.columns().iter().filter_map(|chunk| {
            let (start, len) = (chunk.offset_index_offset()?, chunk.offset_index_length()?);
            Some((start as usize, start as usize + len as usize))
        });
        let (start, end) =
            places.fold((usize::MAX, 0), |(start, end), place| (start.min(place.0), end.max(place.1)));
        let start = start.min(end);
        match bytes.get(..end) {
            Some(indexes) => Ok(RowGroupMeta {
                row_group: row_group.clone(),
                indexes: indexes.to_vec(),
                offset_indexes: start,
            }),
            None => invalid("indexes outside a row group's metadata"),
        }
    }

    pub(super) fn column_count(&self) -> usize {
        self.row_group.num_columns()
    }

    fn column_indexes(&self) -> &[u8] {
        &self.indexes[..self.offset_indexes]
    }

    fn offset_indexes(&self) -> &[u8] {
        &self.indexes[self.offset_indexes..]
    }

    pub fn rows(&self) -> u64 {
        self.row_group.num_rows() as u64
    }

    /// Returns the metadata of a leaf column.
    pub(super) fn column(&self, leaf: usize) -> &ColumnChunkMetaData {
        self.row_group.column(leaf)
    }

    /// Returns where the row group begins in its file.
    pub fn offset(&self) -> u64 {
        self.row_group.file_offset().unwrap_or(0) as u64
    }

    /// Returns the size of the row group in the file.
    pub fn len(&self) -> u64 {
        let filters = self.row_group.columns().iter().filter_map(|column| column.bloom_filter_length());
        self.row_group.compressed_size() as u64 + filters.map(|bytes| bytes as u64).sum::<u64>()
    }

    pub fn is_empty(&self) -> bool {
        self.rows() == 0
    }

    #[cfg(test)]
    pub fn encodings(&self, column: usize) -> String {
        let stats = self.row_group.column(column).page_encoding_stats().into_iter().flatten();
        stats.map(|s| format!("{}x{} ", s.count, s.encoding)).collect()
    }
}

/// Encodes the metadata of a single row group as a footer of its own, with the page indexes before it.
pub(super) fn encode_row_group(row_group: RowGroupMetaData, indexes: PageIndex) -> Result<Vec<u8>> {
    let schema = row_group.schema_descr_ptr();
    let file = FileMetaData::new(FORMAT_VERSION, row_group.num_rows(), None, None, schema, None);
    let metadata = ParquetMetaDataBuilder::new(file)
        .add_row_group(row_group)
        .set_page_index(Some(Arc::new(indexes)))
        .build();
    let mut out = Vec::new();
    ParquetMetaDataWriter::new(&mut out, &metadata).finish()?;
    Ok(out)
}

/// Returns a chunk's metadata as that of `column`, with its offsets moved by `shift`.
pub(super) fn relocate(
    chunk: &ColumnChunkMetaData,
    column: ColumnDescPtr,
    shift: i64,
) -> Result<ColumnChunkMetaData> {
    // A builder made from a chunk would keep that chunk's column.
    let mut builder = ColumnChunkMetaData::builder(column)
        .set_compression_codec(chunk.compression_codec())
        .set_encodings_mask(*chunk.encodings_mask())
        .set_num_values(chunk.num_values())
        .set_total_compressed_size(chunk.compressed_size())
        .set_total_uncompressed_size(chunk.uncompressed_size())
        .set_data_page_offset(chunk.data_page_offset() + shift)
        .set_dictionary_page_offset(chunk.dictionary_page_offset().map(|at| at + shift))
        .set_unencoded_byte_array_data_bytes(chunk.unencoded_byte_array_data_bytes())
        .set_repetition_level_histogram(chunk.repetition_level_histogram().cloned())
        .set_definition_level_histogram(chunk.definition_level_histogram().cloned())
        .set_bloom_filter_offset(chunk.bloom_filter_offset().map(|at| at + shift))
        .set_bloom_filter_length(chunk.bloom_filter_length());
    if let Some(statistics) = chunk.statistics() {
        builder = builder.set_statistics(statistics.clone());
    }
    if let Some(encodings) = chunk.page_encoding_stats() {
        builder = builder.set_page_encoding_stats(encodings.clone());
    }
    Ok(builder.build()?)
}

/// Adds the place of its Bloom filter to a chunk's metadata.
pub(super) fn with_bloom_filter(
    chunk: &ColumnChunkMetaData,
    at: i64,
    len: usize,
) -> Result<ColumnChunkMetaData> {
    let builder = chunk.clone().into_builder();
    Ok(builder.set_bloom_filter_offset(Some(at)).set_bloom_filter_length(Some(len as i32)).build()?)
}

/// Writes what follows the last row group: page indexes, footer, its length and the magic bytes.
///
/// `offset` is the position of `out` in the file. `row_groups` are in the order of the rows, which may differ from
/// that of the bytes. Row groups without rows are left out. Returns the number of bytes written.
pub fn write_footer(
    out: &mut dyn Write,
    offset: u64,
    schema: &FileSchema,
    row_groups: &(impl RowGroups + ?Sized),
    key_values: Vec<KeyValue>,
    created_by: &str,
) -> Result<u64> {
    let descr = schema.parquet();
    let mut all_key_values = schema.key_values();
    all_key_values.extend(key_values);
    let created_by = Some(created_by.to_string());
    let file = FileMetaData::new(FORMAT_VERSION, 0, created_by, Some(all_key_values), descr.clone(), None);
    let (mut count, mut rows) = (0, 0);
    let mut at = offset;
    let mut put = |bytes: &[u8]| -> Result<()> {
        out.write_all(bytes)?;
        at += bytes.len() as u64;
        Ok(())
    };
    let with_rows = |see: &mut dyn FnMut(&RowGroupMeta) -> Result<()>| {
        row_groups.each(&mut |meta| if meta.is_empty() { Ok(()) } else { see(meta) })
    };
    with_rows(&mut |meta| {
        if meta.column_count() != descr.num_columns() {
            return invalid("a row group does not have the columns of the file's schema");
        }
        (count, rows) = (count + 1, rows + meta.rows());
        put(meta.column_indexes())
    })?;
    let mut places = Places { column_indexes: offset, offset_indexes: offset, number: 0 };
    with_rows(&mut |meta| {
        places.offset_indexes += meta.column_indexes().len() as u64;
        put(meta.offset_indexes())
    })?;
    let frame = Frame::new(file, schema)?;
    let mut footer_len = 0;
    let mut put_counted = |bytes: &[u8]| {
        footer_len += bytes.len() as u64;
        put(bytes)
    };
    put_counted(&frame.head(rows, count))?;
    with_rows(&mut |meta| put_counted(&frame.row_group(places.describe(schema, meta)?)?))?;
    put_counted(frame.tail())?;
    let Ok(len) = u32::try_from(footer_len) else { return invalid("a Parquet footer of more than 4 GiB") };
    put(&len.to_le_bytes())?;
    put(MAGIC)?;
    Ok(at - offset)
}

/// The place of the next row group's indexes, and its number.
struct Places {
    column_indexes: u64,
    offset_indexes: u64,
    number: usize,
}

impl Places {
    /// Returns a row group's metadata under the file's schema.
    fn describe(&mut self, schema: &FileSchema, meta: &RowGroupMeta) -> Result<RowGroupMetaData> {
        let Ok(number) = i16::try_from(self.number) else {
            return invalid(format!("more than {MAX_ROW_GROUPS} row groups are too many for one file"));
        };
        let columns = meta.row_group.columns().iter().enumerate().map(|(index, chunk)| {
            let moved = |at: Option<i64>, before: usize, to: u64| at.map(|at| at - before as i64 + to as i64);
            let column_index = moved(chunk.column_index_offset(), 0, self.column_indexes);
            let offset_index = moved(chunk.offset_index_offset(), meta.offset_indexes, self.offset_indexes);
            let described = describe(schema, index, chunk)?.into_builder();
            let described = described
                .set_column_index_offset(column_index)
                .set_column_index_length(chunk.column_index_length())
                .set_offset_index_offset(offset_index)
                .set_offset_index_length(chunk.offset_index_length());
            Ok(described.build()?)
        });
        let row_group = RowGroupMetaData::builder(schema.parquet().clone())
            .set_num_rows(meta.row_group.num_rows())
            .set_total_byte_size(meta.row_group.total_byte_size())
            .set_file_offset(meta.offset() as i64)
            .set_column_metadata(columns.collect::<Result<_>>()?)
            .set_ordinal(number.into());
        self.column_indexes += meta.column_indexes().len() as u64;
        self.offset_indexes += meta.offset_indexes().len() as u64;
        self.number += 1;
        Ok(row_group.build()?)
    }
}

/// Returns a chunk's metadata under the file's schema.
fn describe(schema: &FileSchema, index: usize, chunk: &ColumnChunkMetaData) -> Result<ColumnChunkMetaData> {
    let nulls = chunk.statistics().and_then(|s| s.null_count_opt());
    let has_values = nulls != Some(chunk.num_values() as u64);
    if !schema.describes(index, chunk.column_descr(), has_values) {
        let path = chunk.column_path().string();
        return invalid(format!("column {path} of a row group is not stored as the file's schema says"));
    }
    relocate(chunk, schema.parquet().column(index), 0)
}
