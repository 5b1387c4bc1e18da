//! Reads, checks and decodes a Parquet file's footer, and finds the columns that can be read.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::parquet_to_arrow_schema;
use parquet::file::metadata::{
    ColumnChunkMetaData, FileMetaData, ParquetMetaData, ParquetMetaDataBuilder, ParquetMetaDataOptions,
    ParquetMetaDataReader, RowGroupMetaData,
};

use super::error::{LeftOut, Problem, ReadError, Result, guarded};
use super::footer;
use super::footer_repair::Footer;
use super::raw;
use super::source::Source;
use crate::memory::room_for;

pub const PARQUET_MAGIC: &[u8] = b"PAR1";

/// The footer's length and the closing magic bytes.
const PARQUET_TRAILER: u64 = 8;

/// About how many times its length a footer takes in memory once decoded.
const DECODED: usize = 8;

/// A decoded footer.
pub struct Parquet {
    /// With the schema that the file is read with (see `raw`).
    pub metadata: ArrowReaderMetadata,
    /// The schema that the file declares.
    pub schema: SchemaRef,
}

pub fn read_parquet(source: &Source) -> Result<(Parquet, Vec<LeftOut>)> {
    let path = source.path();
    let footer = read_footer(source)?;
    // The decoder cannot report a lack of memory, and allocates a multiple of the footer's length.
    room_for(DECODED * footer.len())
        .map_err(|missing| ReadError::new(path, Problem::OutOfMemory(missing.0)))?;
    let encrypted = footer::check(&footer).map_err(|why| ReadError::damaged(path, why))?;
    match guarded(path, || decode(&footer)) {
        Ok(parquet) if encrypted.is_empty() && has_all_columns(&parquet.metadata) => {
            Ok((parquet, Vec::new()))
        }
        Err(error) if error.is_of_memory() => Err(error),
        strict => match decode_leniently(path, &footer, &encrypted) {
            Ok(lenient) => Ok(lenient),
            Err(error) => Err(strict.err().unwrap_or(error)),
        },
    }
}

fn read_footer(source: &Source) -> Result<Vec<u8>> {
    let path = source.path();
    let Some(end) = source.id().size.checked_sub(PARQUET_TRAILER) else {
        return Err(ReadError::damaged(path, "it is too short for a Parquet file"));
    };
    let trailer = source.read_at(end, PARQUET_TRAILER as usize)?;
    if !trailer.ends_with(PARQUET_MAGIC) {
        return Err(ReadError::damaged(path, "it does not end as a Parquet file that is not encrypted does"));
    }
    let len = u32::from_le_bytes([trailer[0], trailer[1], trailer[2], trailer[3]]);
    let Some(begin) = end.checked_sub(len.into()) else {
        return Err(ReadError::damaged(path, "its footer is longer than the file"));
    };
    source.read_at(begin, len as usize)
}

fn decode(footer: &[u8]) -> parquet::errors::Result<Parquet> {
    let declared = ParquetMetaDataReader::decode_schema(footer)?;
    let options = ParquetMetaDataOptions::new().with_schema(raw::schema(&declared)?);
    let metadata = ParquetMetaDataReader::decode_metadata_with_options(footer, Some(&options))?;
    // The schema that Arrow writers store beside Parquet's is skipped: Parquet's describes everything that
    // PostgreSQL's types can use, and is the one that the data must follow.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let schema = Arc::new(parquet_to_arrow_schema(&declared, None)?);
    let metadata = ArrowReaderMetadata::try_new(Arc::new(as_it_is(metadata)?), options)?;
    Ok(Parquet { metadata, schema })
}

/// Corrects what old writers state falsely and readers ignore: that a file has fewer rows than its row groups,
/// and that a dictionary lies where none can be.
fn as_it_is(metadata: ParquetMetaData) -> parquet::errors::Result<ParquetMetaData> {
    let (file, groups) = (metadata.file_metadata(), metadata.row_groups());
    let rows = groups.iter().map(RowGroupMetaData::num_rows).fold(0, i64::saturating_add);
    let is_odd = |chunk: &ColumnChunkMetaData| {
        chunk.dictionary_page_offset().is_some_and(|at| at <= 0 || at >= chunk.data_page_offset())
    };
    if rows == file.num_rows() && !groups.iter().flat_map(RowGroupMetaData::columns).any(is_odd) {
        return Ok(metadata);
    }
    let mend = |chunk: &ColumnChunkMetaData| match is_odd(chunk) {
        true => chunk.clone().into_builder().set_dictionary_page_offset(None).build(),
        false => Ok(chunk.clone()),
    };
    let groups = groups.iter().map(|group| {
        let chunks = group.columns().iter().map(mend).collect::<parquet::errors::Result<_>>()?;
        group.clone().into_builder().set_column_metadata(chunks).build()
    });
    let groups = groups.collect::<parquet::errors::Result<_>>()?;
    let created_by = file.created_by().map(str::to_owned);
    let (pairs, orders) = (file.key_value_metadata().cloned(), file.column_orders().cloned());
    let file = FileMetaData::new(file.version(), rows, created_by, pairs, file.schema_descr_ptr(), orders);
    Ok(ParquetMetaDataBuilder::new(file).set_row_groups(groups).build())
}

/// Returns whether every column was decoded. Columns are known by their place, and the decoder skips groups
/// without a column.
fn has_all_columns(metadata: &ArrowReaderMetadata) -> bool {
    metadata.schema().fields().len() == metadata.parquet_schema().root_schema().get_fields().len()
}

/// Decodes the columns that can be read, from a footer that the decoder refuses or that has other columns too.
fn decode_leniently(path: &str, footer: &[u8], encrypted: &[bool]) -> Result<(Parquet, Vec<LeftOut>)> {
    let malformed = |why| ReadError::damaged(path, why);
    let footer = Footer::parse(footer).map_err(malformed)?;
    let (mut kept, mut left_out) = (Vec::new(), Vec::new());
    for (at, column) in footer.columns.iter().enumerate() {
        let why = match guarded(path, || decode(&footer.alone(at))) {
            _ if column.leaves.clone().any(|leaf| encrypted.get(leaf) == Some(&true)) => {
                Some("it is encrypted".to_owned())
            }
            Ok(parquet) if parquet.schema.fields().is_empty() => {
                Some("it is a group that has no columns".to_owned())
            }
            Ok(_) => None,
            Err(error) if error.is_of_memory() => return Err(error),
            Err(error) => Some(error.why()),
        };
        kept.push(why.is_none());
        left_out.extend(why.map(|why| LeftOut { name: column.name.clone(), why }));
    }
    let with = |statistics| {
        let footer = footer.rewritten(&kept, statistics).map_err(malformed)?;
        guarded(path, || decode(&footer))
    };
    // Statistics that cannot be decoded are dropped.
    let parquet = with(true).or_else(|error| if error.is_of_memory() { Err(error) } else { with(false) })?;
    Ok((parquet, left_out))
}
