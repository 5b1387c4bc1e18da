//! The encoder of columns of fixed width.

use parquet::basic::{Compression, Encoding};
use parquet::schema::types::ColumnDescPtr;

use super::bits::put_indices;
use super::chunk::{ChunkWriter, EncodedChunk, Levels, PAGE_ROWS, Scratch};
use super::dict::{FixedDict, MAX_BYTES};
use super::external_chunk::{ExternalBounds, ExternalChunk};
use super::fixed::Fixed;
use super::mode::{Mode, dictionary_growth, keeps_paying};
use super::stats::{Bounds, PageStats, chunk_bounds, column_index, definition_histogram, totals};
use super::{Result, reserve};

/// The encoder of one column of fixed width.
pub struct FixedEncoder<T: Fixed> {
    unsigned: bool,
    /// Whether a dictionary may be tried.
    dictionary: bool,
    /// The type's encoding that is tried beside PLAIN.
    other: Option<Encoding>,
    levels: Levels,
    /// The pending page's values.
    values: Vec<T>,
    indices: Vec<u32>,
    dict: FixedDict<T::Key>,
    mode: Mode,
    stats: Vec<PageStats<T>>,
    chunk: ChunkWriter,
}

impl<T: Fixed> FixedEncoder<T> {
    pub fn new(nullable: bool, unsigned: bool, dictionary: bool, other: Option<Encoding>) -> Self {
        FixedEncoder {
            unsigned,
            dictionary,
            other,
            levels: Levels::new(nullable),
            values: Vec::new(),
            indices: Vec::new(),
            dict: FixedDict::new(),
            mode: Mode::start(dictionary),
            stats: Vec::new(),
            chunk: ChunkWriter::default(),
        }
    }

    pub fn chunk_mut(&mut self) -> &mut ChunkWriter {
        &mut self.chunk
    }

    pub fn memory(&self) -> usize {
        self.values.capacity() * size_of::<T>()
            + self.indices.capacity() * 4
            + self.dict.memory()
            + self.chunk.memory()
    }

    /// Appends rows. `valid` has a byte for each row, or is empty if each has a value.
    pub fn append(&mut self, mut valid: &[u8], mut values: &[T], scratch: &mut Scratch) -> Result<()> {
        reserve(&mut self.values, values.len().min(PAGE_ROWS))?;
        while !values.is_empty() || !valid.is_empty() {
            let room = PAGE_ROWS - self.levels.rows();
            let taken = if valid.is_empty() {
                let rows = room.min(values.len());
                self.levels.push_all(rows);
                rows
            } else {
                let (page, rest) = valid.split_at(room.min(valid.len()));
                let taken = count_valid(page);
                self.levels.push(page, page.len() - taken)?;
                valid = rest;
                taken
            };
            // The caller has checked that `valid` counts `values`.
            let (page, rest) = values.split_at(taken);
            self.values.extend_from_slice(page);
            values = rest;
            if self.levels.rows() == PAGE_ROWS {
                self.flush(false, scratch)?;
            }
        }
        Ok(())
    }

    /// Closes the pending page. `last` says that no other page follows.
    fn flush(&mut self, last: bool, scratch: &mut Scratch) -> Result<()> {
        let (bounds, nans) = T::bounds(&self.values, self.unsigned);
        let bounds = bounds.filter(|_| nans == 0);
        let (rows, nulls) = (self.levels.rows(), self.levels.nulls());
        self.stats.push(PageStats { bounds, rows, nulls, nans });
        scratch.begin();
        match self.mode {
            Mode::Dictionary => self.index_page(scratch)?,
            Mode::Values(encoding) => self.value_trial(encoding, scratch)?,
            Mode::Sampling { .. } => {}
        }
        if let Mode::Sampling { dictionary } = self.mode {
            self.sample(dictionary, last, scratch)?;
        }
        self.mode.close_page(&mut self.levels, &mut self.chunk, scratch)?;
        if !self.chunk.uses_dictionary() {
            self.dict.clear();
        }
        self.values.clear();
        Ok(())
    }

    /// Encodes the page with the dictionary, or goes back to sampling if that no longer pays.
    fn index_page(&mut self, scratch: &mut Scratch) -> Result<()> {
        let known = self.dict.entries().len();
        let keys = self.values.iter().map(|v| v.key());
        let fits = self.dict.intern(keys, MAX_BYTES / T::WIDTH, &mut self.indices)?;
        if fits.is_ok() && keeps_paying(self.dict.entries().len() - known, self.values.len()) {
            self.index_trial(0, scratch)
        } else {
            self.dict.truncate(known);
            self.mode = Mode::Sampling { dictionary: false };
            Ok(())
        }
    }

    /// Tries every encoding that may be best for this page, and so for those after it.
    fn sample(&mut self, dictionary: bool, last: bool, scratch: &mut Scratch) -> Result<()> {
        self.value_trial(Encoding::PLAIN, scratch)?;
        if dictionary && T::DICTIONARY && Mode::is_sample(self.values.len(), last) {
            let keys = self.values.iter().map(|v| v.key());
            // A dictionary of more than half of the values does not pay.
            let limit = (self.values.len() / 2).min(MAX_BYTES / T::WIDTH);
            if self.dict.intern(keys, limit, &mut self.indices)?.is_ok() {
                let growth = dictionary_growth(&self.indices, self.dict.entries().len(), last);
                self.index_trial(growth * T::WIDTH, scratch)?;
            }
        }
        match self.other.filter(|_| !self.values.is_empty()) {
            Some(other) => self.value_trial(other, scratch),
            None => Ok(()),
        }
    }

    fn index_trial(&mut self, growth: usize, scratch: &mut Scratch) -> Result<()> {
        let hint = self.indices.len() * 4 + 8;
        let out = scratch.trial(Encoding::RLE_DICTIONARY, growth, &self.levels, hint)?;
        put_indices(&self.indices, self.dict.entries().len(), out);
        Ok(())
    }

    /// Encodes the values in PLAIN or `other` encoding; a page without values is PLAIN.
    fn value_trial(&mut self, encoding: Encoding, scratch: &mut Scratch) -> Result<()> {
        let encoding = if self.values.is_empty() { Encoding::PLAIN } else { encoding };
        let hint = self.values.len() * (T::WIDTH + 1) + 512;
        let out = scratch.trial(encoding, 0, &self.levels, hint)?;
        match encoding {
            Encoding::PLAIN => T::put_plain(&self.values, out),
            _ => T::put_other(&self.values, out),
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
            let entries: Vec<T> = self.dict.entries().iter().map(|&k| T::of_key(k)).collect();
            let mut page = Vec::new();
            T::put_plain(&entries, &mut page);
            self.chunk.put_dictionary(page.len(), scratch.compress(&page)?, entries.len())?;
        }
        self.close(column, codec)
    }

    /// Appends the pages of a chunk that was encoded elsewhere, and closes it.
    pub fn finish_external(
        &mut self,
        external: &ExternalChunk,
        column: &ColumnDescPtr,
        codec: Compression,
        scratch: Option<&mut Scratch>,
    ) -> Result<Option<EncodedChunk>> {
        for page in &external.pages {
            let bounds = match page.bounds {
                ExternalBounds::Bits { min, max } if page.nans == 0 => {
                    Some(Bounds { min: T::bound(min), max: T::bound(max) })
                }
                _ => None,
            };
            self.stats.push(PageStats { bounds, rows: page.rows, nulls: page.nulls, nans: page.nans });
        }
        external.put(&mut self.chunk, scratch)?;
        self.close(column, codec).map(Some)
    }

    /// Closes the chunk, which has all its pages, and starts the next.
    fn close(&mut self, column: &ColumnDescPtr, codec: Compression) -> Result<EncodedChunk> {
        let order = |a: &T, b: &T| a.order(*b, self.unsigned);
        let plain = |v: &T| {
            let mut out = Vec::with_capacity(T::WIDTH);
            T::put_plain(&[*v], &mut out);
            out
        };
        let nullable = self.levels.nullable();
        let (rows, nulls) = totals(&self.stats);
        let nans = self.stats.iter().map(|p| p.nans).sum::<usize>();
        let bounds = chunk_bounds(&self.stats, order);
        let metadata = self
            .chunk
            .metadata(column.clone(), codec)
            .set_statistics(T::statistics(bounds, nulls as u64, nans as u64))
            .set_definition_level_histogram(definition_histogram(nullable, rows, nulls))
            .build()?;
        let index = column_index(T::PHYSICAL, &self.stats, order, plain, nullable)?;
        let chunk = self.chunk.finish(metadata, index, &[]);
        self.dict.clear();
        self.mode = Mode::start(self.dictionary);
        self.stats.clear();
        Ok(chunk)
    }
}

pub fn count_valid(valid: &[u8]) -> usize {
    // A block's sum fits a byte, so that the compiler can vectorize the addition.
    valid.chunks(255).map(|block| usize::from(block.iter().fold(0u8, |sum, &v| sum.wrapping_add(v)))).sum()
}
