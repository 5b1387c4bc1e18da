//! Parquet's page index (PageIndex.md): the pages of a row group's columns and their bounds, and reading some
//! of the rows by it.
//!
//! The index lies in the file, apart from the footer. Like all statistics, an index that is not sound is
//! ignored.

use std::ops::Range;
use std::sync::Arc;

use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, RowSelection};
use parquet::file::metadata::page_index::PageIndexProvider;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaDataBuilder};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::page_index::index_reader::{decode_column_index, decode_offset_index};
use parquet::file::page_index::offset_index::OffsetIndexMetaData;

use super::bounds::{Bounds, leaf_of, page_bounds};
use super::chunk_pages::Places;
use super::error::guarded;
use super::footer;
use super::meta::{FileMeta, Format};
use super::source::Source;

/// The pages of one column of a row group.
pub struct Pages {
    /// With an element for each page.
    pub bounds: Bounds,
    /// The first row of each page, and the number of rows of the group.
    starts: Vec<u64>,
}

impl Pages {
    /// Returns the first row of each page, and the end of the last one.
    pub fn starts(&self) -> &[u64] {
        &self.starts
    }

    /// Returns the page that contains a row, and its number of rows.
    pub fn at(&self, row: u64) -> (usize, u64) {
        let page = self.starts.partition_point(|&start| start <= row).saturating_sub(1);
        (page, self.starts.get(page + 1).map_or(0, |end| end - self.starts[page]))
    }
}

/// Rows of a group, in ascending ranges that do not touch.
#[derive(Debug, Default, PartialEq)]
pub struct Selected(Vec<Range<u64>>);

impl Selected {
    /// Adds rows after the last ones.
    pub fn push(&mut self, rows: Range<u64>) {
        match self.0.last_mut() {
            _ if rows.is_empty() => {}
            Some(last) if last.end == rows.start => last.end = rows.end,
            _ => self.0.push(rows),
        }
    }

    pub fn count(&self) -> u64 {
        self.0.iter().map(|rows| rows.end - rows.start).sum()
    }

    /// Returns the number in the group of the row with so many selected ones before it.
    pub fn nth(&self, mut before: u64) -> u64 {
        for rows in &self.0 {
            let count = rows.end - rows.start;
            if before < count {
                return rows.start + before;
            }
            before -= count;
        }
        self.0.last().map_or(0, |rows| rows.end)
    }

    /// Returns the group's other rows, and all but the first `count` of these.
    pub fn without_first(&self, mut count: u64, rows: u64) -> Selected {
        let (mut others, mut at) = (Selected::default(), 0);
        for range in &self.0 {
            let taken = count.min(range.end - range.start);
            if taken == 0 {
                break;
            }
            others.push(at..range.start);
            at = range.start + taken;
            count -= taken;
        }
        others.push(at..rows);
        others
    }

    /// Returns all rows but the first `count`.
    pub fn after_first(&self, mut count: u64) -> Selected {
        let mut rest = Selected::default();
        for rows in &self.0 {
            let skipped = count.min(rows.end - rows.start);
            rest.push(rows.start + skipped..rows.end);
            count -= skipped;
        }
        rest
    }

    /// Returns the selection for the decoder. Skipped rows at the end cost nothing, so very many are added: the
    /// decoder then never takes the selection for a dense one, for which it would also read the pages between.
    pub fn selection(&self) -> RowSelection {
        let ranges = self.0.iter().map(|rows| rows.start as usize..rows.end as usize);
        RowSelection::from_consecutive_ranges(ranges, usize::MAX)
    }
}

/// The page index of one row group, by Parquet's columns.
#[derive(Debug, Default)]
struct GroupIndex {
    columns: Vec<(usize, ColumnIndexMetaData)>,
    offsets: Vec<(usize, OffsetIndexMetaData)>,
}

impl PageIndexProvider for GroupIndex {
    fn has_offset_indexes(&self) -> bool {
        !self.offsets.is_empty()
    }

    fn has_column_indexes(&self) -> bool {
        !self.columns.is_empty()
    }

    fn column_index(&self, _group: usize, leaf: usize) -> Option<&ColumnIndexMetaData> {
        self.columns.iter().find(|(of, _)| *of == leaf).map(|(_, index)| index)
    }

    fn offset_index(&self, _group: usize, leaf: usize) -> Option<&OffsetIndexMetaData> {
        self.offsets.iter().find(|(of, _)| *of == leaf).map(|(_, index)| index)
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

impl FileMeta {
    /// Returns a column's pages; `None` if the file has no index of them. `source` is the file that the
    /// metadata was read from.
    pub fn pages(&self, source: &Source, group: usize, column: usize) -> Option<Pages> {
        let Format::Parquet(metadata) = &self.format else { return None };
        let leaf = leaf_of(metadata, column)?;
        let chunk = metadata.metadata().row_groups().get(group)?.columns().get(leaf)?;
        let offsets = offset_index(source, chunk)?;
        let starts = starts(&offsets, chunk, self.group_rows(group))?;
        // The row group's statistics describe a single page already.
        if starts.len() <= 2 {
            return None;
        }
        let bytes = read(source, chunk.column_index_range()?)?;
        let index = guarded(source.path(), || decode_column_index(&bytes, chunk.column_type())).ok()?;
        if index.num_pages() as usize + 1 != starts.len() {
            return None;
        }
        let index = GroupIndex { columns: vec![(leaf, index)], offsets: vec![(leaf, offsets)] };
        let rows: Vec<u64> = starts.windows(2).map(|page| page[1] - page[0]).collect();
        let bounds = page_bounds(self, &index, group, column, &rows)?;
        Some(Pages { bounds, starts })
    }
}

/// Returns metadata of one row group alone, by which pages of the columns can be read without those before
/// them, and the pages' places; `None` if the file has no index for one of the columns.
pub fn with_offsets(
    metadata: &ArrowReaderMetadata,
    source: &Source,
    group: usize,
    columns: &[usize],
) -> Option<(ArrowReaderMetadata, Places)> {
    let descr = metadata.parquet_schema();
    let row_group = metadata.metadata().row_groups().get(group)?;
    let mut index = GroupIndex::default();
    let mut places = Places::new();
    for leaf in 0..descr.num_columns() {
        if columns.contains(&descr.get_column_root_idx(leaf)) {
            let chunk = row_group.columns().get(leaf)?;
            let offsets = offset_index(source, chunk)?;
            let starts = starts(&offsets, chunk, u64::try_from(row_group.num_rows()).ok()?)?;
            let is_flat = descr.column(leaf).max_rep_level() == 0;
            let pages = offsets.page_locations().iter().zip(starts.windows(2));
            places.extend(pages.map(|(at, rows)| (at.offset as u64, is_flat.then(|| rows[1] - rows[0]))));
            index.offsets.push((leaf, offsets));
        }
    }
    let file = metadata.metadata().file_metadata().clone();
    let one = ParquetMetaDataBuilder::new(file).add_row_group(row_group.clone());
    let one = one.set_page_index(Some(Arc::new(index))).build();
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let one = guarded(source.path(), || ArrowReaderMetadata::try_new(Arc::new(one), options)).ok()?;
    Some((one, places))
}

fn offset_index(source: &Source, chunk: &ColumnChunkMetaData) -> Option<OffsetIndexMetaData> {
    let bytes = read(source, chunk.offset_index_range()?)?;
    guarded(source.path(), || decode_offset_index(&bytes)).ok()
}

fn read(source: &Source, range: Range<u64>) -> Option<Vec<u8>> {
    let bytes = source.read_optional(range.start, (range.end - range.start) as usize)?;
    footer::check_lists(&bytes).ok()?;
    Some(bytes)
}

/// Returns the first row of each page, and the number of rows; `None` if pages cannot have these.
fn starts(offsets: &OffsetIndexMetaData, chunk: &ColumnChunkMetaData, rows: u64) -> Option<Vec<u64>> {
    let firsts = offsets.page_locations().iter().map(|page| u64::try_from(page.first_row_index).ok());
    let mut starts = firsts.collect::<Option<Vec<u64>>>()?;
    starts.push(rows);
    let ascend = starts[0] == 0 && starts.is_sorted_by(|one, next| one < next);
    (ascend && are_adjacent(offsets, chunk)).then_some(starts)
}

/// Returns whether each page ends where the next one begins, and the last one where the chunk does. Some
/// writers state sizes without headers, or invalid offsets.
fn are_adjacent(offsets: &OffsetIndexMetaData, chunk: &ColumnChunkMetaData) -> bool {
    let begin = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
    let pages = offsets.page_locations();
    let ends = pages.iter().map(|page| page.offset.checked_add(page.compressed_page_size.into()));
    let next = pages.iter().skip(1).map(|page| Some(page.offset));
    ends.eq(next.chain([begin.checked_add(chunk.compressed_size())]))
        && pages.iter().all(|page| page.offset >= begin.max(0) && page.compressed_page_size > 0)
}

#[cfg(test)]
#[path = "pages_tests.rs"]
mod tests;
