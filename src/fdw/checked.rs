//! Parquet's pages, each looked at before the decoder makes room for what it claims.
//!
//! The decoder takes what a page claims without asking whether it can be had: the claim is held against
//! what the page has first, and against the memory that there is.

use std::sync::Arc;

use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReader, RowGroups, RowSelection};
use parquet::arrow::{ProjectionMask, parquet_to_arrow_field_levels};
use parquet::basic::{Encoding, Type};
use parquet::column::page::{Page, PageIterator, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::ChunkReader;
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::schema::types::ColumnDescPtr;

use super::thrift::{Checked, Reader};
use crate::memory::headroom;

/// One row group whose pages are checked.
struct Group<T> {
    file: Arc<T>,
    metadata: Arc<ParquetMetaData>,
    group: usize,
    batch_rows: usize,
}

/// Reads columns of one row group, all of its rows or those that are selected.
pub fn reader<T: ChunkReader + 'static>(
    file: T,
    metadata: &ArrowReaderMetadata,
    group: usize,
    columns: &[usize],
    batch_rows: usize,
    selected: Option<RowSelection>,
) -> Result<ParquetRecordBatchReader> {
    let descr = metadata.parquet_schema();
    let roots = ProjectionMask::roots(descr, columns.iter().copied());
    let levels = parquet_to_arrow_field_levels(descr, roots, None)?;
    let metadata = metadata.metadata().clone();
    // The decoder makes room for a whole batch.
    let rows = usize::try_from(metadata.row_group(group).num_rows())?;
    let batch_rows = batch_rows.min(rows);
    let group = Group { file: Arc::new(file), metadata, group, batch_rows };
    ParquetRecordBatchReader::try_new_with_row_groups(&levels, &group, batch_rows, selected)
}

impl<T: ChunkReader + 'static> RowGroups for Group<T> {
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
        let index = self.metadata.page_index();
        let places = index.and_then(|index| index.page_locations(self.group, leaf).cloned());
        let pages = SerializedPageReader::new(self.file.clone(), chunk, self.num_rows(), places)?;
        Ok(Box::new(Chunk(Some(Pages { pages, column }))))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(std::iter::once(self.metadata.row_group(self.group)))
    }

    fn metadata(&self) -> &ParquetMetaData {
        &self.metadata
    }
}

/// The pages of the only chunk that a column has in a row group.
struct Chunk<T: ChunkReader>(Option<Pages<T>>);

impl<T: ChunkReader + 'static> Iterator for Chunk<T> {
    type Item = Result<Box<dyn PageReader>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.take().map(|pages| Ok(Box::new(pages) as Box<dyn PageReader>))
    }
}

impl<T: ChunkReader + 'static> PageIterator for Chunk<T> {}

struct Pages<T: ChunkReader> {
    pages: SerializedPageReader<T>,
    column: ColumnDescPtr,
}

impl<T: ChunkReader> Pages<T> {
    fn checked(&self, page: Option<Page>) -> Result<Option<Page>> {
        page.iter().try_for_each(|page| check(page, &self.column))?;
        Ok(page)
    }
}

impl<T: ChunkReader> Iterator for Pages<T> {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl<T: ChunkReader> PageReader for Pages<T> {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.pages.get_next_page()?;
        self.checked(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.pages.skip_next_page()
    }

    fn supports_deferred_dictionary(&self) -> bool {
        self.pages.supports_deferred_dictionary()
    }

    fn take_deferred_dictionary(&mut self) -> Result<Option<Page>> {
        let page = self.pages.take_deferred_dictionary()?;
        self.checked(page)
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.pages.at_record_boundary()
    }
}

fn check(page: &Page, column: &ColumnDescPtr) -> Result<()> {
    /// Values may take no bytes.
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
                let suffixes = check_lengths(behind_levels(page, column)?, values)?;
                check_lengths(suffixes, values).map(drop)
            }
            _ => Ok(()),
        },
    }
}

/// The values of a data page.
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

/// The bytes that levels take in a page of version 1.
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

/// Checks the number of lengths that the decoder makes room for, and gives what lies behind them.
fn check_lengths(bytes: &[u8], values: usize) -> Result<&[u8]> {
    let lengths = Lengths::parse(bytes).map_err(|_| too_short())?;
    match usize::try_from(lengths.count) {
        Ok(count) if count <= values => check_room::<i32>(count)?,
        _ => return Err(damaged("a page claims more lengths than it has values")),
    }
    lengths.skip().map_err(|_| too_short())
}

/// Numbers in DELTA_BINARY_PACKED, of which the header was read (Encodings.md).
struct Lengths<'a> {
    block: u64,
    miniblocks: u64,
    count: u64,
    reader: Reader<'a>,
}

impl<'a> Lengths<'a> {
    fn parse(bytes: &'a [u8]) -> Checked<Lengths<'a>> {
        let mut reader = Reader { rest: bytes };
        let (block, miniblocks, count) = (reader.varint()?, reader.varint()?, reader.varint()?);
        reader.zigzag()?;
        Ok(Lengths { block, miniblocks, count, reader })
    }

    /// What lies behind them. The first number is in the header.
    fn skip(mut self) -> Checked<&'a [u8]> {
        const WRONG: &str = "a page's lengths end too early";
        let mut left = self.count.saturating_sub(1);
        if left == 0 {
            return Ok(self.reader.rest);
        }
        let size = self.block.checked_div(self.miniblocks).filter(|&size| size > 0).ok_or(WRONG)?;
        while left > 0 {
            self.reader.zigzag()?;
            let widths = usize::try_from(self.miniblocks).ok();
            let widths = widths.and_then(|count| self.reader.rest.split_at_checked(count));
            let (widths, mut rest) = widths.ok_or(WRONG)?;
            for &width in widths {
                if left == 0 {
                    break;
                }
                let body = size.checked_mul(width.into()).and_then(|bits| usize::try_from(bits / 8).ok());
                rest = body.and_then(|body| rest.get(body..)).ok_or(WRONG)?;
                left = left.saturating_sub(size);
            }
            self.reader.rest = rest;
        }
        Ok(self.reader.rest)
    }
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
#[path = "checked_tests.rs"]
mod tests;
