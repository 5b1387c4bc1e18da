//! Columns of byte strings: text, JSON and bytea.

use parquet::basic::{Compression, Encoding, Type as PhysicalType};
use parquet::data_type::ByteArray;
use parquet::file::statistics::ValueStatistics;
use parquet::schema::types::ColumnDescPtr;

use super::bits::put_indices;
use super::bytes_dict::BytesDict;
use super::chunk::{ChunkWriter, EncodedChunk, Levels, PAGE_BYTES, PAGE_ROWS, Scratch};
use super::delta::put_delta_length;
use super::external_chunk::{ExternalBounds, ExternalChunk};
use super::mode::{Mode, dictionary_growth, keeps_paying};
use super::stats::{
    PageStats, byte_bounds, byte_bounds_of, chunk_bounds, column_index, definition_histogram, extremes,
    totals,
};
use super::{Result, reserve};
use crate::interrupts::in_steps;
use crate::memory::reserve_by_quarter;
use crate::types::Cell;

/// The share of distinct values in a sample, in quarters, above which no dictionary is tried. It is higher than for
/// numbers because an entry that occurs twice already saves its bytes.
const DISTINCT_QUARTERS: usize = 3;

/// The width of a copy.
const WIDE: usize = 32;

/// The size from which a value gets a page of its own, encoded from where the value lies. It is too large for any
/// dictionary, gains nothing from another encoding, and each copy of it is expensive.
const WHOLE: usize = 4 * PAGE_BYTES;

/// The encoder of one column of byte strings.
pub struct BytesEncoder {
    utf8: bool,
    /// Whether a dictionary may be tried.
    dictionary: bool,
    levels: Levels,
    mode: Mode,
    /// The pending page's values, except in dictionary mode.
    cells: Vec<Cell>,
    bytes: Vec<u8>,
    /// The pending page's entry numbers, in dictionary mode.
    indices: Vec<u32>,
    /// The size of the pending page's values, in either mode.
    page_bytes: usize,
    dict: BytesDict,
    /// The dictionary's number of entries when the pending page began.
    dict_known: usize,
    lengths: Vec<i32>,
    stats: Vec<PageStats<Vec<u8>>>,
    unencoded: Vec<i64>,
    chunk: ChunkWriter,
}

/// Appends the bytes of values, of at most `bytes` bytes together, and calls `tell` with the place of each.
pub fn append_values(
    out: &mut Vec<u8>,
    cells: &[Cell],
    bytes: usize,
    arena: &[u8],
    mut tell: impl FnMut(Cell),
) -> Result<()> {
    if bytes >= WHOLE {
        return append_large(out, cells, bytes, arena, tell);
    }
    reserve(out, bytes + WIDE)?;
    let mut at = out.len();
    out.resize(at + bytes + WIDE, 0);
    for &cell in cells {
        let value = cell.of(arena);
        // A copy of constant length is two moves; the next copy overwrites the bytes beyond the value.
        let wide = arena[cell.pos as usize..].first_chunk::<WIDE>();
        match (wide, out[at..].first_chunk_mut::<WIDE>()) {
            (Some(from), Some(to)) if value.len() <= WIDE => *to = *from,
            _ => out[at..at + value.len()].copy_from_slice(value),
        }
        tell(Cell::new(at, value.len()));
        at += value.len();
    }
    out.truncate(at);
    Ok(())
}

/// Appends values one by one, and large ones in steps.
fn append_large(
    out: &mut Vec<u8>,
    cells: &[Cell],
    bytes: usize,
    arena: &[u8],
    mut tell: impl FnMut(Cell),
) -> Result<()> {
    reserve_by_quarter(out, bytes)?;
    for &cell in cells {
        tell(Cell::new(out.len(), cell.len()));
        in_steps(cell.of(arena), |step| out.extend_from_slice(step));
    }
    Ok(())
}

impl BytesEncoder {
    pub fn new(nullable: bool, utf8: bool, dictionary: bool) -> Self {
        BytesEncoder {
            utf8,
            dictionary,
            levels: Levels::new(nullable),
            mode: Mode::start(dictionary),
            cells: Vec::new(),
            bytes: Vec::new(),
            indices: Vec::new(),
            page_bytes: 0,
            dict: BytesDict::new(),
            dict_known: 0,
            lengths: Vec::new(),
            stats: Vec::new(),
            unencoded: Vec::new(),
            chunk: ChunkWriter::default(),
        }
    }

    pub fn chunk_mut(&mut self) -> &mut ChunkWriter {
        &mut self.chunk
    }

    pub fn memory(&self) -> usize {
        self.cells.capacity() * size_of::<Cell>()
            + self.bytes.capacity()
            + self.indices.capacity() * 4
            + self.dict.memory()
            + self.chunk.memory()
    }

    /// Appends rows. `valid` has a byte for each row, or is empty if each has a value. Returns the size of the values
    /// in PLAIN encoding.
    pub fn append(
        &mut self,
        mut valid: &[u8],
        mut cells: &[Cell],
        arena: &[u8],
        scratch: &mut Scratch,
    ) -> Result<usize> {
        let mut total = 0;
        while !cells.is_empty() || !valid.is_empty() {
            if let Some(cell) = cells.first().filter(|cell| cell.len() >= WHOLE)
                && valid.first().is_none_or(|&valid| valid != 0)
            {
                self.put_whole(cell.of(arena), scratch)?;
                (cells, valid) = (&cells[1..], valid.get(1..).unwrap_or_default());
                total += cell.len() + 4;
                continue;
            }
            let (mut rows, mut taken, mut bytes) = self.fit(valid, cells, arena);
            if let Some(last) = cells[..taken].last().filter(|cell| cell.len() >= WHOLE) {
                // The value that would close the page gets its own.
                (rows, taken, bytes) = (rows - 1, taken - 1, bytes - last.len());
            }
            if valid.is_empty() {
                self.levels.push_all(rows);
            } else {
                self.levels.push(&valid[..rows], rows - taken)?;
                valid = &valid[rows..];
            }
            let (page, rest) = cells.split_at(taken);
            self.take(page, bytes, arena)?;
            cells = rest;
            total += bytes + 4 * taken;
            if self.levels.rows() == PAGE_ROWS || self.plain_len() >= PAGE_BYTES {
                self.flush(false, scratch)?;
            }
        }
        Ok(total)
    }

    /// Closes the pending page and writes a large value as a page.
    fn put_whole(&mut self, value: &[u8], scratch: &mut Scratch) -> Result<()> {
        if self.levels.rows() > 0 {
            self.flush(false, scratch)?;
        }
        self.levels.push_all(1);
        let mut head = Vec::new();
        self.levels.put(&mut head);
        self.levels.clear();
        head.extend_from_slice(&(value.len() as u32).to_le_bytes());
        let bounds = byte_bounds(value, value, self.utf8);
        self.stats.push(PageStats { bounds, rows: 1, nulls: 0, nans: 0 });
        self.unencoded.push(value.len() as i64);
        let page = scratch.compress_both(&head, value)?;
        self.chunk.put_whole(head.len() + value.len(), page, Encoding::PLAIN)
    }

    fn plain_len(&self) -> usize {
        self.page_bytes + 4 * self.levels.values()
    }

    /// Returns how many rows and values the pending page takes, and the values' size. The value that brings the page
    /// to `PAGE_BYTES` is its last.
    fn fit(&self, valid: &[u8], cells: &[Cell], arena: &[u8]) -> (usize, usize, usize) {
        let max_rows = PAGE_ROWS - self.levels.rows();
        let room = PAGE_BYTES - self.plain_len();
        let (mut taken, mut bytes) = (0, 0);
        if valid.is_empty() {
            for cell in &cells[..max_rows.min(cells.len())] {
                taken += 1;
                bytes += cell.of(arena).len();
                if bytes + 4 * taken >= room {
                    break;
                }
            }
            return (taken, taken, bytes);
        }
        let mut rows = 0;
        for &valid in &valid[..max_rows.min(valid.len())] {
            rows += 1;
            if valid != 0 {
                bytes += cells[taken].of(arena).len();
                taken += 1;
                if bytes + 4 * taken >= room {
                    break;
                }
            }
        }
        (rows, taken, bytes)
    }

    /// Adds values to the pending page, as entry numbers or as copies.
    fn take(&mut self, cells: &[Cell], bytes: usize, arena: &[u8]) -> Result<()> {
        self.page_bytes += bytes;
        let mut done = 0;
        if self.mode == Mode::Dictionary {
            let known = self.indices.len();
            if self.dict.intern(cells, arena, usize::MAX, &mut self.indices)?.is_ok() {
                return Ok(());
            }
            done = self.indices.len() - known;
            self.leave_dictionary()?;
        }
        self.copy(&cells[done..], bytes, arena)
    }

    /// Appends copies of values, of at most `bytes` bytes together, to the pending page.
    fn copy(&mut self, cells: &[Cell], bytes: usize, arena: &[u8]) -> Result<()> {
        reserve(&mut self.cells, cells.len())?;
        let kept = &mut self.cells;
        append_values(&mut self.bytes, cells, bytes, arena, |place| kept.push(place))
    }

    /// Replaces the pending page's entry numbers by the values, and removes the entries that it added.
    fn leave_dictionary(&mut self) -> Result<()> {
        let indices = std::mem::take(&mut self.indices);
        reserve(&mut self.cells, indices.len())?;
        reserve(&mut self.bytes, self.page_bytes)?;
        for &index in &indices {
            let value = self.dict.get(index as usize);
            self.cells.push(Cell::new(self.bytes.len(), value.len()));
            self.bytes.extend_from_slice(value);
        }
        self.indices = indices;
        self.indices.clear();
        self.dict.truncate(self.dict_known);
        self.mode = Mode::Sampling { dictionary: false };
        Ok(())
    }

    /// Closes the pending page. `last` says that no other page follows.
    fn flush(&mut self, last: bool, scratch: &mut Scratch) -> Result<()> {
        scratch.begin();
        let added = self.dict.len() - self.dict_known;
        if self.mode == Mode::Dictionary && !keeps_paying(added, self.indices.len()) {
            self.leave_dictionary()?;
        }
        match self.mode {
            Mode::Dictionary => {
                self.note_page(true);
                self.index_trial(0, scratch)?;
            }
            Mode::Values(encoding) => {
                self.note_page(false);
                self.value_trial(encoding, scratch)?;
            }
            Mode::Sampling { dictionary } => {
                self.note_page(false);
                self.sample(dictionary, last, scratch)?;
            }
        }
        self.mode.close_page(&mut self.levels, &mut self.chunk, scratch)?;
        if !self.chunk.uses_dictionary() {
            self.dict.clear();
        }
        self.dict_known = self.dict.len();
        self.cells.clear();
        self.bytes.clear();
        self.indices.clear();
        self.page_bytes = 0;
        Ok(())
    }

    /// Records the pending page's statistics.
    fn note_page(&mut self, by_number: bool) {
        let found = if by_number {
            // Only the distinct values are compared.
            let mut used = vec![false; self.dict.len()];
            self.indices.iter().for_each(|&i| used[i as usize] = true);
            let used = used.iter().enumerate().filter(|(_, used)| **used);
            extremes(used.map(|(index, _)| self.dict.place(index)))
        } else {
            extremes(self.cells.iter().map(|&cell| (cell, &self.bytes[..])))
        };
        let bounds = found.and_then(|(min, max)| byte_bounds(min, max, self.utf8));
        let (rows, nulls) = (self.levels.rows(), self.levels.nulls());
        self.stats.push(PageStats { bounds, rows, nulls, nans: 0 });
        self.unencoded.push(self.page_bytes as i64);
    }

    /// Tries every encoding that may be best for this page, and so for those after it.
    fn sample(&mut self, dictionary: bool, last: bool, scratch: &mut Scratch) -> Result<()> {
        self.value_trial(Encoding::PLAIN, scratch)?;
        if dictionary && Mode::is_sample(self.cells.len(), last) {
            let limit = self.cells.len() * DISTINCT_QUARTERS / 4;
            if self.dict.intern(&self.cells, &self.bytes, limit, &mut self.indices)?.is_ok() {
                let share = dictionary_growth(&self.indices, self.dict.len(), last);
                let growth = self.dict.page().len() * share / self.dict.len().max(1);
                self.index_trial(growth, scratch)?;
            }
        }
        self.value_trial(Encoding::DELTA_LENGTH_BYTE_ARRAY, scratch)
    }

    fn index_trial(&mut self, growth: usize, scratch: &mut Scratch) -> Result<()> {
        let hint = self.indices.len() * 4 + 8;
        let out = scratch.trial(Encoding::RLE_DICTIONARY, growth, &self.levels, hint)?;
        put_indices(&self.indices, self.dict.len(), out);
        Ok(())
    }

    fn value_trial(&mut self, encoding: Encoding, scratch: &mut Scratch) -> Result<()> {
        let hint = self.bytes.len() + 5 * self.cells.len() + 512;
        if encoding == Encoding::DELTA_LENGTH_BYTE_ARRAY && !self.cells.is_empty() {
            let out = scratch.trial(encoding, 0, &self.levels, hint)?;
            self.lengths.clear();
            // PostgreSQL's values are shorter than 1 GiB.
            self.lengths.extend(self.cells.iter().map(|cell| cell.of(&self.bytes).len() as i32));
            put_delta_length(&self.lengths, &self.bytes, out);
        } else if encoding == Encoding::PLAIN || self.cells.is_empty() {
            let out = scratch.trial(Encoding::PLAIN, 0, &self.levels, hint)?;
            for cell in &self.cells {
                let value = cell.of(&self.bytes);
                out.extend_from_slice(&(value.len() as u32).to_le_bytes());
                out.extend_from_slice(value);
            }
        }
        Ok(())
    }

    /// Closes the chunk and starts the next.
    pub fn finish(
        &mut self,
        column: &ColumnDescPtr,
        codec: Compression,
        scratch: &mut Scratch,
    ) -> Result<EncodedChunk> {
        if self.levels.rows() > 0 {
            self.flush(true, scratch)?;
        }
        if self.chunk.uses_dictionary() {
            let page = self.dict.page();
            self.chunk.put_dictionary(page.len(), scratch.compress(page)?, self.dict.len())?;
        }
        self.close(column, codec)
    }

    /// Appends the pages of a chunk that was encoded elsewhere, and closes it. Returns `None` if a bound cannot be
    /// told from the known first bytes of a value.
    pub fn finish_external(
        &mut self,
        external: &ExternalChunk,
        column: &ColumnDescPtr,
        codec: Compression,
        scratch: Option<&mut Scratch>,
    ) -> Result<Option<EncodedChunk>> {
        for page in &external.pages {
            let bounds = match page.bounds {
                ExternalBounds::Strings { min, max } => match byte_bounds_of(min, max, self.utf8) {
                    None => {
                        (self.stats, self.unencoded) = Default::default();
                        return Ok(None);
                    }
                    known => known,
                },
                _ => None,
            };
            self.stats.push(PageStats { bounds, rows: page.rows, nulls: page.nulls, nans: 0 });
            self.unencoded.push(page.value_bytes as i64);
        }
        external.put(&mut self.chunk, scratch)?;
        self.close(column, codec).map(Some)
    }

    /// Closes the chunk, which has all its pages, and starts the next.
    fn close(&mut self, column: &ColumnDescPtr, codec: Compression) -> Result<EncodedChunk> {
        let nullable = self.levels.nullable();
        let (rows, nulls) = totals(&self.stats);
        let (min, max) = match chunk_bounds(&self.stats, Vec::cmp) {
            Some(bounds) => (Some(bounds.min), Some(bounds.max)),
            None => (None, None),
        };
        let exact = |bound: &Option<super::stats::Bound<Vec<u8>>>| bound.as_ref().is_some_and(|b| b.exact);
        let (min_exact, max_exact) = (exact(&min), exact(&max));
        let value = |bound: Option<super::stats::Bound<Vec<u8>>>| bound.map(|b| ByteArray::from(b.value));
        let statistics = ValueStatistics::new(value(min), value(max), None, Some(nulls as u64), false)
            .with_min_is_exact(min_exact)
            .with_max_is_exact(max_exact);
        let metadata = self
            .chunk
            .metadata(column.clone(), codec)
            .set_statistics(statistics.into())
            .set_unencoded_byte_array_data_bytes(Some(self.unencoded.iter().sum()))
            .set_definition_level_histogram(definition_histogram(nullable, rows, nulls))
            .build()?;
        let index = column_index(PhysicalType::BYTE_ARRAY, &self.stats, Vec::cmp, Vec::clone, nullable)?;
        let chunk = self.chunk.finish(metadata, index, &self.unencoded);
        self.dict.clear();
        self.dict_known = 0;
        self.mode = Mode::start(self.dictionary);
        self.stats.clear();
        self.unencoded.clear();
        Ok(chunk)
    }
}
