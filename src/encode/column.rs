//! What the encoders of flat columns have in common: how they choose an encoding, and the dispatch.

use parquet::basic::{Compression, Encoding};
use parquet::schema::types::ColumnDescPtr;

use super::adopt::MadeChunk;
use super::bytes::BytesColumn;
use super::chunk::{ChunkWriter, EncodedChunk, Levels, Scratch};
use super::fixed_column::{FixedColumn, count_valid};
use super::stats::PageStats;
use super::{Options, Result, invalid};
use crate::types::{Field, Kind, Lane, Physical, Values};

/// Fewer values than these say nothing of the pages to come.
const SAMPLE_VALUES: usize = 512;

/// How a column chunk encodes its next page.
///
/// A chunk starts by sampling: the first page is encoded in every way that may pay, and compressed; the
/// cheapest way is kept. A dictionary that stops paying leads back to sampling, without dictionary.
/// Only the chunk's own values decide, so that the same rows always give the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Sampling { dictionary: bool },
    Dictionary,
    Values(Encoding),
}

impl Mode {
    pub fn start(dictionary: bool) -> Mode {
        Mode::Sampling { dictionary }
    }

    /// Whether a page of so many values can be judged by: a small one only if it is the chunk.
    pub fn is_sample(values: usize, last: bool) -> bool {
        last || values >= SAMPLE_VALUES
    }

    /// Closes the pending page in the cheapest of the encodings tried; those after it follow.
    pub fn close_page(
        &mut self,
        levels: &mut Levels,
        chunk: &mut ChunkWriter,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let encoding = scratch.decide()?;
        if matches!(self, Mode::Sampling { .. }) && levels.values() >= SAMPLE_VALUES {
            *self = match encoding {
                Encoding::RLE_DICTIONARY => Mode::Dictionary,
                other => Mode::Values(other),
            };
        }
        let (raw_len, body) = scratch.decided();
        chunk.put_page(raw_len, body, levels.rows(), encoding)?;
        levels.clear();
        Ok(())
    }
}

/// Whether a dictionary that a page of so many values made grow by `added` entries still pays.
pub fn keeps_paying(added: usize, values: usize) -> bool {
    added * 2 <= values || values < SAMPLE_VALUES
}

/// The sample page's share of the dictionary, in entries: what another such page adds, going by the
/// page's second half, and an eighth of what is there. All of it when no page follows.
pub fn dictionary_growth(indices: &[u32], entries: usize, last: bool) -> usize {
    if last {
        return entries;
    }
    let first_half = indices[..indices.len() / 2].iter().max().map_or(0, |&i| i as usize + 1);
    (entries - first_half) * 2 + entries / 8
}

pub fn totals<B>(pages: &[PageStats<B>]) -> (usize, usize) {
    pages.iter().fold((0, 0), |(rows, nulls), p| (rows + p.rows, nulls + p.nulls))
}

/// The encoder of one flat column.
pub enum FlatColumn {
    Bool(FixedColumn<bool>),
    I32(FixedColumn<i32>),
    I64(FixedColumn<i64>),
    F32(FixedColumn<f32>),
    F64(FixedColumn<f64>),
    Fixed16(FixedColumn<[u8; 16]>),
    Bytes(BytesColumn),
}

/// Calls the same method of whichever encoder it is.
macro_rules! each {
    ($column:expr, $c:ident => $call:expr) => {
        match $column {
            FlatColumn::Bool($c) => $call,
            FlatColumn::I32($c) => $call,
            FlatColumn::I64($c) => $call,
            FlatColumn::F32($c) => $call,
            FlatColumn::F64($c) => $call,
            FlatColumn::Fixed16($c) => $call,
            FlatColumn::Bytes($c) => $call,
        }
    };
}

impl FlatColumn {
    pub fn new(field: &Field, physical: Physical, options: &Options) -> FlatColumn {
        let (nullable, dictionary) = (field.nullable, !options.values_only);
        let (uuid, oid) = (field.kind == Kind::Uuid, field.kind == Kind::Oid);
        let delta = Some(Encoding::DELTA_BINARY_PACKED);
        let split = options.split.then_some(Encoding::BYTE_STREAM_SPLIT);
        match physical {
            Physical::Bool => FlatColumn::Bool(FixedColumn::new(nullable, false, dictionary, None)),
            Physical::I32 => FlatColumn::I32(FixedColumn::new(nullable, oid, dictionary, delta)),
            Physical::I64 => FlatColumn::I64(FixedColumn::new(nullable, false, dictionary, delta)),
            Physical::F32 => FlatColumn::F32(FixedColumn::new(nullable, false, dictionary, split)),
            Physical::F64 => FlatColumn::F64(FixedColumn::new(nullable, false, dictionary, split)),
            Physical::Fixed16 => FlatColumn::Fixed16(FixedColumn::new(nullable, uuid, dictionary, None)),
            Physical::Bytes => {
                FlatColumn::Bytes(BytesColumn::new(nullable, field.kind != Kind::Bytea, dictionary))
            }
        }
    }

    /// Appends a lane. Returns the rows, and the bytes their values take in PLAIN encoding.
    pub fn append(&mut self, lane: &Lane, arena: &[u8], scratch: &mut Scratch) -> Result<(usize, usize)> {
        let (valid, count) = (&lane.valid[..], lane.values.len());
        if !valid.is_empty() && count_valid(valid) != count {
            return invalid(format!("a lane has {count} values for {} valid rows", count_valid(valid)));
        }
        let bytes = match (self, &lane.values) {
            (FlatColumn::Bool(c), Values::Bool(v)) => {
                c.append(valid, v, scratch)?;
                count.div_ceil(8)
            }
            (FlatColumn::I32(c), Values::I32(v)) => {
                c.append(valid, v, scratch)?;
                count * 4
            }
            (FlatColumn::I64(c), Values::I64(v)) => {
                c.append(valid, v, scratch)?;
                count * 8
            }
            (FlatColumn::F32(c), Values::F32(v)) => {
                c.append(valid, v, scratch)?;
                count * 4
            }
            (FlatColumn::F64(c), Values::F64(v)) => {
                c.append(valid, v, scratch)?;
                count * 8
            }
            (FlatColumn::Fixed16(c), Values::Fixed16(v)) => {
                c.append(valid, v, scratch)?;
                count * 16
            }
            (FlatColumn::Bytes(c), Values::Bytes(v)) => c.append(valid, v, arena, scratch)?,
            _ => return invalid("a lane is not of its column's physical type"),
        };
        Ok((if valid.is_empty() { count } else { valid.len() }, bytes))
    }

    pub fn finish(
        &mut self,
        column: &ColumnDescPtr,
        codec: Compression,
        scratch: &mut Scratch,
    ) -> Result<EncodedChunk> {
        each!(self, c => c.finish(column, codec, scratch))
    }

    /// A chunk of pages that were encoded elsewhere, while there are no rows here; `None` when its bounds
    /// cannot be told.
    pub fn adopt(
        &mut self,
        made: &MadeChunk,
        column: &ColumnDescPtr,
        codec: Compression,
        scratch: Option<&mut Scratch>,
    ) -> Result<Option<EncodedChunk>> {
        each!(self, c => c.adopt(made, column, codec, scratch))
    }

    pub fn chunk_mut(&mut self) -> &mut ChunkWriter {
        each!(self, c => c.chunk_mut())
    }

    pub fn memory(&self) -> usize {
        each!(self, c => c.memory())
    }
}
