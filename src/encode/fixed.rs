//! Columns of fixed width: booleans, integers, floats and 16-byte values.

use std::cmp::Ordering;

use parquet::basic::{Compression, Encoding, Type as PhysicalType};
use parquet::data_type::{ByteArray, FixedLenByteArray};
use parquet::file::statistics::{Statistics, ValueStatistics};
use parquet::schema::types::ColumnDescPtr;

use super::adopt::{MadeBounds, MadeChunk};
use super::bits::{pack_flags, put_hybrid, width_of};
use super::chunk::{ChunkWriter, EncodedChunk, Levels, PAGE_ROWS, Scratch};
use super::column::{Mode, dictionary_growth, keeps_paying};
use super::delta::put_delta;
use super::dict::{DictKey, FixedDict, MAX_BYTES};
use super::stats::{Bound, Bounds, PageStats, chunk_bounds, column_index, definition_histogram};
use super::{Result, reserve};

/// A value of fixed width.
pub trait Fixed: Copy + 'static {
    /// The bits, which tell values apart in a dictionary.
    type Key: DictKey;
    const PHYSICAL: PhysicalType;
    /// Bytes in PLAIN encoding, rounded up.
    const WIDTH: usize = size_of::<Self>();
    /// Whether a dictionary can be smaller than the values.
    const DICTIONARY: bool = true;

    fn key(self) -> Self::Key;
    fn of_key(key: Self::Key) -> Self;
    fn put_plain(values: &[Self], out: &mut Vec<u8>);

    /// Appends DELTA_BINARY_PACKED, for types that have it.
    fn put_delta(_values: &[Self], _out: &mut Vec<u8>) -> bool {
        false
    }

    /// Order of two values that are not NaN.
    fn order(self, other: Self, unsigned: bool) -> Ordering;
    /// Bounds, and how many values are NaN.
    fn bounds(values: &[Self], unsigned: bool) -> (Option<Bounds<Self>>, usize);
    fn statistics(bounds: Option<Bounds<Self>>, nulls: u64, nans: u64) -> Statistics;
    /// A bound from its bits; 16 bytes from those of a big-endian number.
    fn bound(bits: u128) -> Bound<Self>;
}

fn exact<T>(min: T, max: T) -> Bounds<T> {
    Bounds { min: Bound { value: min, exact: true }, max: Bound { value: max, exact: true } }
}

fn put_le<T: Copy, const N: usize>(values: &[T], out: &mut Vec<u8>, le: impl Fn(T) -> [u8; N]) {
    let start = out.len();
    out.resize(start + values.len() * N, 0);
    for (bytes, &value) in out[start..].as_chunks_mut::<N>().0.iter_mut().zip(values) {
        *bytes = le(value);
    }
}

fn value_statistics<T>(bounds: Option<Bounds<T>>, nulls: u64) -> ValueStatistics<T> {
    let (min, max, exact) = match bounds {
        Some(b) => (Some(b.min.value), Some(b.max.value), (b.min.exact, b.max.exact)),
        None => (None, None, (false, false)),
    };
    ValueStatistics::new(min, max, None, Some(nulls), false)
        .with_min_is_exact(exact.0)
        .with_max_is_exact(exact.1)
}

macro_rules! fixed_integer {
    ($t:ty, $unsigned:ty, $physical:ident) => {
        impl Fixed for $t {
            type Key = $unsigned;
            const PHYSICAL: PhysicalType = PhysicalType::$physical;

            #[inline(always)]
            fn key(self) -> $unsigned {
                self as $unsigned
            }
            fn of_key(key: $unsigned) -> $t {
                key as $t
            }
            fn put_plain(values: &[$t], out: &mut Vec<u8>) {
                put_le(values, out, <$t>::to_le_bytes);
            }
            fn put_delta(values: &[$t], out: &mut Vec<u8>) -> bool {
                put_delta(values, out);
                true
            }
            fn order(self, other: $t, unsigned: bool) -> Ordering {
                if unsigned { self.key().cmp(&other.key()) } else { self.cmp(&other) }
            }
            fn bounds(values: &[$t], unsigned: bool) -> (Option<Bounds<$t>>, usize) {
                // With the sign bit turned over, signed comparison orders as unsigned does.
                let flip = if unsigned { <$t>::MIN } else { 0 };
                let Some(&first) = values.first() else { return (None, 0) };
                let first = first ^ flip;
                let (min, max) = values
                    .iter()
                    .fold((first, first), |(min, max), &v| (min.min(v ^ flip), max.max(v ^ flip)));
                (Some(exact(min ^ flip, max ^ flip)), 0)
            }
            fn statistics(bounds: Option<Bounds<$t>>, nulls: u64, _nans: u64) -> Statistics {
                value_statistics(bounds, nulls).into()
            }
            fn bound(bits: u128) -> Bound<$t> {
                Bound { value: bits as $t, exact: true }
            }
        }
    };
}

fixed_integer!(i32, u32, INT32);
fixed_integer!(i64, u64, INT64);

macro_rules! fixed_float {
    ($t:ty, $bits:ty, $physical:ident) => {
        impl Fixed for $t {
            type Key = $bits;
            const PHYSICAL: PhysicalType = PhysicalType::$physical;

            #[inline(always)]
            fn key(self) -> $bits {
                self.to_bits()
            }
            fn of_key(key: $bits) -> $t {
                <$t>::from_bits(key)
            }
            fn put_plain(values: &[$t], out: &mut Vec<u8>) {
                put_le(values, out, <$t>::to_le_bytes);
            }
            fn order(self, other: $t, _unsigned: bool) -> Ordering {
                self.total_cmp(&other)
            }
            fn bounds(values: &[$t], _unsigned: bool) -> (Option<Bounds<$t>>, usize) {
                let nans = values.iter().filter(|v| v.is_nan()).count();
                if nans == values.len() {
                    return (None, nans);
                }
                // NaN compares false, so it never becomes a bound.
                let (min, max) =
                    values.iter().fold((<$t>::INFINITY, <$t>::NEG_INFINITY), |(min, max), &v| {
                        (if v < min { v } else { min }, if v > max { v } else { max })
                    });
                // parquet.thrift, ColumnOrder: a zero bound includes the zero of the other sign.
                let min = Self::bound((if min == 0.0 { -0.0 } else { min }).to_bits().into());
                let max = Self::bound((if max == 0.0 { 0.0 } else { max }).to_bits().into());
                (Some(Bounds { min, max }), nans)
            }
            fn bound(bits: u128) -> Bound<$t> {
                let value = <$t>::from_bits(bits as $bits);
                Bound { value, exact: value != 0.0 }
            }
            fn statistics(bounds: Option<Bounds<$t>>, nulls: u64, nans: u64) -> Statistics {
                value_statistics(bounds, nulls).with_nan_count(Some(nans)).into()
            }
        }
    };
}

fixed_float!(f32, u32, FLOAT);
fixed_float!(f64, u64, DOUBLE);

impl Fixed for bool {
    type Key = u32;
    const PHYSICAL: PhysicalType = PhysicalType::BOOLEAN;
    const DICTIONARY: bool = false;

    fn key(self) -> u32 {
        self.into()
    }
    fn of_key(key: u32) -> bool {
        key != 0
    }
    fn put_plain(values: &[bool], out: &mut Vec<u8>) {
        let mut block = [0u8; 512];
        for values in values.chunks(block.len()) {
            block.iter_mut().zip(values).for_each(|(b, &v)| *b = v.into());
            pack_flags(&block[..values.len()], out);
        }
    }
    fn order(self, other: bool, _unsigned: bool) -> Ordering {
        self.cmp(&other)
    }
    fn bounds(values: &[bool], _unsigned: bool) -> (Option<Bounds<bool>>, usize) {
        if values.is_empty() {
            return (None, 0);
        }
        (Some(exact(!values.contains(&false), values.contains(&true))), 0)
    }
    fn statistics(bounds: Option<Bounds<bool>>, nulls: u64, _nans: u64) -> Statistics {
        value_statistics(bounds, nulls).into()
    }
    fn bound(bits: u128) -> Bound<bool> {
        Bound { value: bits != 0, exact: true }
    }
}

impl Fixed for [u8; 16] {
    type Key = u128;
    const PHYSICAL: PhysicalType = PhysicalType::FIXED_LEN_BYTE_ARRAY;

    #[inline(always)]
    fn key(self) -> u128 {
        u128::from_ne_bytes(self)
    }
    fn of_key(key: u128) -> [u8; 16] {
        key.to_ne_bytes()
    }
    fn put_plain(values: &[[u8; 16]], out: &mut Vec<u8>) {
        out.extend_from_slice(values.as_flattened());
    }
    fn order(self, other: [u8; 16], unsigned: bool) -> Ordering {
        if unsigned { self.cmp(&other) } else { i128::from_be_bytes(self).cmp(&i128::from_be_bytes(other)) }
    }
    fn bounds(values: &[[u8; 16]], unsigned: bool) -> (Option<Bounds<[u8; 16]>>, usize) {
        let flip = if unsigned { i128::MIN } else { 0 };
        let rank = |v: &[u8; 16]| i128::from_be_bytes(*v) ^ flip;
        let Some(first) = values.first().map(rank) else { return (None, 0) };
        let (min, max) =
            values.iter().map(rank).fold((first, first), |(min, max), v| (min.min(v), max.max(v)));
        (Some(exact((min ^ flip).to_be_bytes(), (max ^ flip).to_be_bytes())), 0)
    }
    fn statistics(bounds: Option<Bounds<[u8; 16]>>, nulls: u64, _nans: u64) -> Statistics {
        let bytes = |b: Bound<[u8; 16]>| Bound {
            value: FixedLenByteArray::from(ByteArray::from(b.value.to_vec())),
            exact: b.exact,
        };
        value_statistics(bounds.map(|b| Bounds { min: bytes(b.min), max: bytes(b.max) }), nulls).into()
    }
    fn bound(bits: u128) -> Bound<[u8; 16]> {
        Bound { value: bits.to_be_bytes(), exact: true }
    }
}

/// The encoder of one column of fixed width.
pub struct FixedColumn<T: Fixed> {
    unsigned: bool,
    /// A dictionary may be tried.
    dictionary: bool,
    levels: Levels,
    /// The pending page's values.
    values: Vec<T>,
    indices: Vec<u32>,
    dict: FixedDict<T::Key>,
    mode: Mode,
    stats: Vec<PageStats<T>>,
    chunk: ChunkWriter,
}

impl<T: Fixed> FixedColumn<T> {
    pub fn new(nullable: bool, unsigned: bool, dictionary: bool) -> Self {
        FixedColumn {
            unsigned,
            dictionary,
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

    /// Appends rows: `valid` is empty when each has a value, else has a byte per row.
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

    /// Closes the pending page. `last` tells that no other page follows.
    fn flush(&mut self, last: bool, scratch: &mut Scratch) -> Result<()> {
        let (bounds, nans) = T::bounds(&self.values, self.unsigned);
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

    /// Encodes the page by the dictionary, or goes back to sampling where that no longer pays.
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

    /// Tries every encoding that may be the best for this page, and so for those after it.
    fn sample(&mut self, dictionary: bool, last: bool, scratch: &mut Scratch) -> Result<()> {
        self.value_trial(Encoding::PLAIN, scratch)?;
        if dictionary && T::DICTIONARY && Mode::is_sample(self.values.len(), last) {
            let keys = self.values.iter().map(|v| v.key());
            // More than half of the values distinct: hopeless.
            let limit = (self.values.len() / 2).min(MAX_BYTES / T::WIDTH);
            if self.dict.intern(keys, limit, &mut self.indices)?.is_ok() {
                let growth = dictionary_growth(&self.indices, self.dict.entries().len(), last);
                self.index_trial(growth * T::WIDTH, scratch)?;
            }
        }
        self.value_trial(Encoding::DELTA_BINARY_PACKED, scratch)
    }

    fn index_trial(&mut self, growth: usize, scratch: &mut Scratch) -> Result<()> {
        let hint = self.indices.len() * 4 + 8;
        let out = scratch.trial(Encoding::RLE_DICTIONARY, growth, &self.levels, hint)?;
        put_indices(&self.indices, self.dict.entries().len(), out);
        Ok(())
    }

    fn value_trial(&mut self, encoding: Encoding, scratch: &mut Scratch) -> Result<()> {
        let delta = encoding == Encoding::DELTA_BINARY_PACKED && !self.values.is_empty();
        if delta && matches!(T::PHYSICAL, PhysicalType::INT32 | PhysicalType::INT64) {
            let hint = self.values.len() * (T::WIDTH + 1) + 512;
            let out = scratch.trial(encoding, 0, &self.levels, hint)?;
            T::put_delta(&self.values, out);
        } else if encoding == Encoding::PLAIN || self.values.is_empty() {
            let hint = self.values.len() * T::WIDTH;
            let out = scratch.trial(Encoding::PLAIN, 0, &self.levels, hint)?;
            T::put_plain(&self.values, out);
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
    pub fn adopt(
        &mut self,
        made: &MadeChunk,
        column: &ColumnDescPtr,
        codec: Compression,
        scratch: Option<&mut Scratch>,
    ) -> Result<Option<EncodedChunk>> {
        for page in &made.pages {
            let bounds = match page.bounds {
                MadeBounds::Bits { min, max } => Some(Bounds { min: T::bound(min), max: T::bound(max) }),
                _ => None,
            };
            self.stats.push(PageStats { bounds, rows: page.rows, nulls: page.nulls, nans: page.nans });
        }
        made.put(&mut self.chunk, scratch)?;
        self.close(column, codec).map(Some)
    }

    /// Closes the chunk, whose pages are all there, and starts the next.
    fn close(&mut self, column: &ColumnDescPtr, codec: Compression) -> Result<EncodedChunk> {
        let order = |a: &T, b: &T| a.order(*b, self.unsigned);
        let plain = |v: &T| {
            let mut out = Vec::with_capacity(T::WIDTH);
            T::put_plain(&[*v], &mut out);
            out
        };
        let nullable = self.levels.nullable();
        let (rows, nulls) = super::column::totals(&self.stats);
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

/// One byte of index width, then the hybrid (Encodings.md, RLE_DICTIONARY).
pub fn put_indices(indices: &[u32], entries: usize, out: &mut Vec<u8>) {
    // A width of 0 is legal for a single entry, but not every reader has met it.
    let width = width_of(entries.saturating_sub(1) as u64).max(1);
    out.push(width as u8);
    put_hybrid(indices, width, out);
}

pub fn count_valid(valid: &[u8]) -> usize {
    // In blocks whose sum fits a byte, so that the compiler adds bytes side by side.
    valid.chunks(255).map(|block| usize::from(block.iter().fold(0u8, |sum, &v| sum.wrapping_add(v)))).sum()
}
