//! Footers: the metadata of one row group between processes, and of all at the end of a file.

use std::io::Write;
use std::sync::Arc;

use parquet::file::metadata::page_index::{PageIndex, PageIndexBuilder};
use parquet::file::metadata::{
    ColumnChunkMetaData, FileMetaData, KeyValue, PageIndexPolicy, ParquetMetaData, ParquetMetaDataBuilder,
    ParquetMetaDataOptions, ParquetMetaDataReader, ParquetMetaDataWriter, RowGroupMetaData,
};
use parquet::file::writer::TrackedWrite;
use parquet::schema::types::{ColumnDescPtr, SchemaDescriptor};

use super::schema::FileSchema;
use super::{Result, invalid};

/// What every Parquet file begins with.
pub const MAGIC: &[u8; 4] = b"PAR1";

/// Of a file: parquet.thrift, RowGroup, has 16 bits for a row group's number, from 0.
pub const MAX_ROW_GROUPS: u64 = 1 << 15;

/// In the form that readers of `created_by` parse: application, version, build.
pub const CREATED_BY: &str = concat!("pg_strata version ", env!("CARGO_PKG_VERSION"), " (build dev)");

/// parquet.thrift, FileMetaData: the version for files that use what came with format 2.
const FORMAT_VERSION: i32 = 2;

/// A row group's place and contents, as its encoder told.
pub struct RowGroupMeta {
    row_group: RowGroupMetaData,
    file: ParquetMetaData,
}

impl RowGroupMeta {
    /// Reads what `EncodedRowGroup::metadata_at` wrote.
    pub fn decode(bytes: &[u8]) -> Result<RowGroupMeta> {
        // As a mask, which is how parquet reads them unless told, the encodings would not be written again.
        let options = ParquetMetaDataOptions::new().with_encoding_stats_as_mask(false);
        let file = ParquetMetaDataReader::new()
            .with_metadata_options(Some(options))
            .with_page_index_policy(PageIndexPolicy::Optional)
            .parse_and_finish(&::bytes::Bytes::copy_from_slice(bytes))?;
        match file.row_groups() {
            [row_group] => Ok(RowGroupMeta { row_group: row_group.clone(), file }),
            other => invalid(format!("metadata of {} row groups instead of one", other.len())),
        }
    }

    pub fn rows(&self) -> u64 {
        self.row_group.num_rows() as u64
    }

    /// The metadata of leaf column `leaf`.
    pub(super) fn column(&self, leaf: usize) -> &ColumnChunkMetaData {
        self.row_group.column(leaf)
    }

    /// Where the row group begins in its file.
    pub fn offset(&self) -> u64 {
        self.row_group.file_offset().unwrap_or(0) as u64
    }

    /// Bytes that the row group takes in the file.
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

/// The metadata of a single row group as a footer of its own, page indexes before it.
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

/// A chunk's metadata with its offsets moved by `shift`, as metadata of `column`.
pub(super) fn relocate(
    chunk: &ColumnChunkMetaData,
    column: ColumnDescPtr,
    shift: i64,
) -> Result<ColumnChunkMetaData> {
    // A builder made from a chunk keeps that chunk's column, so every part is carried over by name.
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

/// A chunk's metadata with its Bloom filter's place.
pub(super) fn with_filter(chunk: &ColumnChunkMetaData, at: i64, len: usize) -> Result<ColumnChunkMetaData> {
    let builder = chunk.clone().into_builder();
    Ok(builder.set_bloom_filter_offset(Some(at)).set_bloom_filter_length(Some(len as i32)).build()?)
}

/// Writes what follows the last row group: page indexes, footer, its length and the magic bytes.
///
/// `offset` is where in the file `out` stands. `row_groups` are in the order of the rows, which need not
/// be that of the bytes. Row groups without rows are left out. Returns the bytes written.
pub fn write_footer(
    out: &mut impl Write,
    offset: u64,
    schema: &FileSchema,
    row_groups: &[RowGroupMeta],
    key_values: Vec<KeyValue>,
    created_by: &str,
) -> Result<u64> {
    let descr = schema.parquet();
    let row_groups: Vec<&RowGroupMeta> = row_groups.iter().filter(|r| !r.is_empty()).collect();
    let mut all_key_values = schema.key_values();
    all_key_values.extend(key_values);
    let rows = row_groups.iter().map(|r| r.row_group.num_rows()).sum();
    let created_by = Some(created_by.to_string());
    let file = FileMetaData::new(FORMAT_VERSION, rows, created_by, Some(all_key_values), descr.clone(), None);
    let mut builder = ParquetMetaDataBuilder::new(file);
    let mut indexes = PageIndexBuilder::new(row_groups.len(), descr.num_columns());
    for (ordinal, meta) in row_groups.iter().enumerate() {
        if meta.row_group.num_columns() != descr.num_columns() {
            return invalid("a row group does not have the columns of the file's schema");
        }
        let found = meta.file.page_index_for_row_group(0);
        for column in 0..descr.num_columns() {
            if let Some(index) = found.column_index(column) {
                indexes.put_column_index(index.clone(), ordinal, column);
            }
            if let Some(index) = found.offset_index(column) {
                indexes.put_offset_index(index.clone(), ordinal, column);
            }
        }
        let columns = (0..descr.num_columns()).map(|c| describe(schema, c, meta.row_group.column(c)));
        let Ok(number) = i16::try_from(ordinal) else {
            return invalid(format!("{} row groups are too many for one file", row_groups.len()));
        };
        let row_group = RowGroupMetaData::builder(descr.clone())
            .set_num_rows(meta.row_group.num_rows())
            .set_total_byte_size(meta.row_group.total_byte_size())
            .set_file_offset(meta.offset() as i64)
            .set_column_metadata(columns.collect::<Result<_>>()?)
            .set_ordinal(number.into());
        builder = builder.add_row_group(row_group.build()?);
    }
    let metadata = builder.set_page_index(Some(Arc::new(indexes.build()))).build();
    let mut bytes = Vec::new();
    let mut tracked = TrackedWrite::new(Skip { left: offset, out: &mut bytes });
    advance(&mut tracked, offset)?;
    ParquetMetaDataWriter::new_with_tracked(tracked, &metadata).finish()?;
    order_floats_by_type(&mut bytes, descr)?;
    out.write_all(&bytes)?;
    Ok(bytes.len() as u64)
}

/// A chunk's metadata under the file's schema.
fn describe(schema: &FileSchema, index: usize, chunk: &ColumnChunkMetaData) -> Result<ColumnChunkMetaData> {
    let nulls = chunk.statistics().and_then(|s| s.null_count_opt());
    let has_values = nulls != Some(chunk.num_values() as u64);
    if !schema.describes(index, chunk.column_descr(), has_values) {
        let path = chunk.column_path().string();
        return invalid(format!("column {path} of a row group is not stored as the file's schema says"));
    }
    relocate(chunk, schema.parquet().column(index), 0)
}

/// Marks the flat float columns as ordered by their type.
///
/// parquet's writer marks all floats as IEEE 754 total order, which readers older than that order do not
/// know, so that they ignore the statistics. Ours keep the older order's rules too: see `stats`. The
/// orders are the footer's last field (parquet.thrift, FileMetaData 7): per leaf a union of one empty
/// struct, whose field header says which, then the ends of both.
fn order_floats_by_type(file_end: &mut [u8], descr: &SchemaDescriptor) -> Result<()> {
    const TYPE_ORDER: [u8; 3] = [0x1c, 0, 0];
    const TOTAL_ORDER: [u8; 3] = [0x2c, 0, 0];
    // After the orders come the end of the struct, the length and the magic bytes.
    let orders = file_end.len().checked_sub(1 + 4 + MAGIC.len());
    let orders = orders.and_then(|end| file_end.get_mut(end.checked_sub(3 * descr.num_columns())?..end));
    let Some(orders) = orders else { return invalid("a footer is shorter than its column orders") };
    for (order, column) in orders.as_chunks_mut::<3>().0.iter_mut().zip(descr.columns()) {
        match *order {
            TYPE_ORDER => {}
            TOTAL_ORDER if column.path().parts().len() > 1 => {}
            TOTAL_ORDER => *order = TYPE_ORDER,
            _ => return invalid("a footer's column orders are not where they were expected"),
        }
    }
    Ok(())
}

/// Drops the first `left` bytes. parquet's writer takes the place of its output in the file from what
/// has gone through it; so as many bytes go through it as lie before.
struct Skip<'a> {
    left: u64,
    out: &'a mut Vec<u8>,
}

impl Write for Skip<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let dropped = self.left.min(bytes.len() as u64);
        self.left -= dropped;
        self.out.extend_from_slice(&bytes[dropped as usize..]);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn advance(tracked: &mut TrackedWrite<Skip<'_>>, mut left: u64) -> Result<()> {
    // Larger than the writer's buffer, so that a block only passes by its length: a terabyte is a
    // million calls.
    let block = vec![0; 1 << 20];
    while left > 0 {
        let len = left.min(block.len() as u64);
        tracked.write_all(&block[..len as usize])?;
        left -= len;
    }
    Ok(())
}
