//! The encoder of a flat column: one of the types that the column's physical type asks for.

use parquet::basic::{Compression, Encoding};
use parquet::schema::types::ColumnDescPtr;

use super::adopt::MadeChunk;
use super::bytes::BytesColumn;
use super::chunk::{ChunkWriter, EncodedChunk, Scratch};
use super::fixed_column::{FixedColumn, count_valid};
use super::{Options, Result, invalid};
use crate::types::{Field, Kind, Lane, Physical, Values};

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
