//! Parquet's pages, each checked before the decoder allocates memory for what it claims.
//!
//! The decoder believes the counts that a page claims. They are first compared with the bytes that the page
//! has, and with the memory that is available.

use std::sync::Arc;

use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReader, RowGroups, RowSelection};
use parquet::basic::{Encoding, Type};
use parquet::column::page::{Page, PageIterator, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::schema::types::ColumnDescPtr;

use super::chunk_pages::{ChunkPages, Places};
use super::error::ReadError;
use super::lengths::Lengths;
use super::old_pages::{Fault, fault_of};
use super::source::Source;
use super::texts::ParquetColumns;
use super::thrift::Checked;
use crate::memory::headroom;

/// One row group whose pages are checked.
struct Group<'a> {
    source: &'a Source,
    metadata: Arc<ParquetMetaData>,
    columns: &'a ParquetColumns,
    group: usize,
    batch_rows: usize,
    places: Option<&'a Places>,
    fault: Option<Fault>,
}

/// Makes a reader of columns of one row group: of all rows, or of those that are selected, by the
/// page index whose pages are in `places`.
pub fn checked_reader(
    source: &Source,
    metadata: &ArrowReaderMetadata,
    group: usize,
    columns: &ParquetColumns,
    batch_rows: usize,
    selected: Option<RowSelection>,
    places: Option<&Places>,
) -> Result<ParquetRecordBatchReader> {
    let metadata = metadata.metadata().clone();
    // The decoder allocates memory for a whole batch.
    let rows = usize::try_from(metadata.row_group(group).num_rows())?;
    let batch_rows = batch_rows.min(rows);
    let fault = fault_of(metadata.file_metadata().created_by());
    let group = Group { source, metadata, columns, group, batch_rows, places, fault };
    ParquetRecordBatchReader::try_new_with_row_groups(&columns.levels, &group, batch_rows, selected)
}

impl RowGroups for Group<'_> {
    fn num_rows(&self) -> usize {
        usize::try_from(self.metadata.row_group(self.group).num_rows()).unwrap_or(0)
    }

    fn column_chunks(&self, leaf: usize) -> Result<Box<dyn PageIterator>> {
        let row_group = self.metadata.row_group(self.group);
        let (chunk, column) = (row_group.column(leaf), row_group.schema_descr().column(leaf));
        if column.physical_type() == Type::FIXED_LEN_BYTE_ARRAY {
            let width = usize::try_from(column.type_length())?;
            check_room::<u8>(width.saturating_mul(self.batch_rows))?;
        }
        let mut pages = ChunkPages::new(self.source, chunk, self.fault);
        if let (Type::BYTE_ARRAY, Some(met)) = (column.physical_type(), &self.columns.met_long_page) {
            pages = pages.without_long_pages(met.clone());
        }
        let index = self.metadata.page_index();
        let located = index.and_then(|index| index.page_locations(self.group, leaf).cloned());
        if let Some((places, located)) = self.places.zip(located) {
            pages = pages.with_index(located, places, self.num_rows() as u64);
        }
        Ok(Box::new(Chunk(Some(Pages { pages, column }))))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(std::iter::once(self.metadata.row_group(self.group)))
    }

    fn metadata(&self) -> &ParquetMetaData {
        &self.metadata
    }
}

/// The pages of a column's only chunk in a row group.
struct Chunk(Option<Pages>);

impl Iterator for Chunk {
    type Item = Result<Box<dyn PageReader>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.take().map(|pages| Ok(Box::new(pages) as Box<dyn PageReader>))
    }
}

impl PageIterator for Chunk {}

struct Pages {
    pages: ChunkPages,
    column: ColumnDescPtr,
}

impl Iterator for Pages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.pages.next().map_err(said)?;
        page.iter().try_for_each(|page| check(page, &self.column))?;
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.pages.peek().map_err(said)
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.pages.skip().map_err(said)
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        // Pages in an index begin with a row, as those of version 2 do.
        let next = self.peek_next_page()?;
        Ok(next.is_none_or(|page| page.num_rows.is_some()))
    }
}

fn said(error: ReadError) -> ParquetError {
    ParquetError::General(error.why())
}

fn check(page: &Page, column: &ColumnDescPtr) -> Result<()> {
    /// Values may take no bytes, so this many are always allowed.
    const ALWAYS: usize = 1 << 20;
    let values = page.num_values() as usize;
    match page {
        Page::DictionaryPage { buf, .. } if values > buf.len().max(ALWAYS) => {
            Err(damaged("a dictionary claims more values than it has room for"))
        }
        Page::DictionaryPage { .. } => Ok(()),
        _ => match page.encoding() {
            Encoding::DELTA_LENGTH_BYTE_ARRAY => {
                check_lengths(behind_levels(page, column)?, values).map(drop)
            }
            Encoding::DELTA_BYTE_ARRAY => {
                let prefixes = behind_levels(page, column)?;
                let suffixes = check_lengths(prefixes, values)?;
                check_lengths(suffixes, values)?;
                check_prefixes(prefixes, suffixes).map_err(damaged)
            }
            _ => Ok(()),
        },
    }
}

/// Returns the values of a data page, which follow the levels.
fn behind_levels<'a>(page: &'a Page, column: &ColumnDescPtr) -> Result<&'a [u8]> {
    let mut rest: &[u8] = page.buffer();
    match page {
        Page::DataPage { num_values, rep_level_encoding, def_level_encoding, .. } => {
            for (most, encoding) in
                [(column.max_rep_level(), rep_level_encoding), (column.max_def_level(), def_level_encoding)]
            {
                let length =
                    if most > 0 { levels_length(rest, *num_values, most, *encoding) } else { Some(0) };
                rest = length.and_then(|length| rest.get(length..)).ok_or_else(too_short)?;
            }
        }
        Page::DataPageV2 { def_levels_byte_len, rep_levels_byte_len, .. } => {
            let length = *def_levels_byte_len as usize + *rep_levels_byte_len as usize;
            rest = rest.get(length..).ok_or_else(too_short)?;
        }
        Page::DictionaryPage { .. } => {}
    }
    Ok(rest)
}

/// Returns the number of bytes that levels take in a page of version 1.
fn levels_length(bytes: &[u8], values: u32, most: i16, encoding: Encoding) -> Option<usize> {
    #[expect(deprecated, reason = "old files have it")]
    const BIT_PACKED: Encoding = Encoding::BIT_PACKED;
    match encoding {
        BIT_PACKED => {
            let width = i16::BITS - most.leading_zeros();
            Some((values as usize * width as usize).div_ceil(8))
        }
        _ => {
            let length = bytes.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))?;
            usize::try_from(length).ok()?.checked_add(4)
        }
    }
}

/// Checks the number of lengths, for which the decoder allocates memory; returns what follows them.
fn check_lengths(bytes: &[u8], values: usize) -> Result<&[u8]> {
    /// Lengths of zero take no bytes in the page, and four each once decoded.
    const MOST: usize = 1 << 26;
    let lengths = Lengths::parse(bytes).map_err(|_| too_short())?;
    match usize::try_from(lengths.left) {
        Ok(count) if count <= values && count > MOST => {
            return Err(damaged("unsupported: a page has more lengths than are decoded at once"));
        }
        Ok(count) if count <= values => check_room::<i32>(count)?,
        _ => return Err(damaged("a page claims more lengths than it has values")),
    }
    lengths.rest().map_err(|_| too_short())
}

/// Checks that each prefix, which is taken from the value before it, is no longer than that value; the decoder
/// would take fewer bytes.
fn check_prefixes(prefixes: &[u8], suffixes: &[u8]) -> Checked<()> {
    let (mut prefixes, mut suffixes) = (Lengths::parse(prefixes)?, Lengths::parse(suffixes)?);
    let mut length = 0;
    while let (Some(prefix), Some(suffix)) = (prefixes.next()?, suffixes.next()?) {
        if prefix < 0 || suffix < 0 || i64::from(prefix) > length {
            return Err("a value begins with more bytes of the one before it than that one has");
        }
        length = i64::from(prefix) + i64::from(suffix);
    }
    Ok(())
}

/// Checks that there is memory for so many values.
fn check_room<V>(count: usize) -> Result<()> {
    let room = headroom(count.saturating_mul(size_of::<V>()));
    room.map_err(|_| damaged("it claims more values than there is memory for"))
}

fn too_short() -> ParquetError {
    damaged("a page ends before its values")
}

fn damaged(why: &str) -> ParquetError {
    ParquetError::General(why.to_owned())
}

#[cfg(test)]
#[path = "checked_pages_tests.rs"]
mod tests;
