//! The encoder of a flat column, chosen by the column's physical type.

use parquet::basic::{Compression, Encoding};
use parquet::schema::types::ColumnDescPtr;

use super::bytes_encoder::BytesEncoder;
use super::chunk::{ChunkWriter, EncodedChunk, Scratch};
use super::external_chunk::ExternalChunk;
use super::fixed_encoder::{FixedEncoder, count_valid};
use super::{Options, Result, invalid};
use crate::types::{Field, Kind, Lane, Physical, Values};

/// The encoder of one flat column.
pub enum FlatEncoder {
    Bool(FixedEncoder<bool>),
    I32(FixedEncoder<i32>),
    I64(FixedEncoder<i64>),
    F32(FixedEncoder<f32>),
    F64(FixedEncoder<f64>),
    Fixed16(FixedEncoder<[u8; 16]>),
    Bytes(BytesEncoder),
}

/// Calls a method of the encoder.
macro_rules! each {
    ($column:expr, $c:ident => $call:expr) => {
        match $column {
            FlatEncoder::Bool($c) => $call,
            FlatEncoder::I32($c) => $call,
            FlatEncoder::I64($c) => $call,
            FlatEncoder::F32($c) => $call,
            FlatEncoder::F64($c) => $call,
            FlatEncoder::Fixed16($c) => $call,
            FlatEncoder::Bytes($c) => $call,
        }
    };
}

impl FlatEncoder {
    pub fn new(field: &Field, physical: Physical, options: &Options) -> FlatEncoder {
        let (nullable, dictionary) = (field.nullable, !options.values_only);
        let (uuid, oid) = (field.kind == Kind::Uuid, field.kind == Kind::Oid);
        let delta = Some(Encoding::DELTA_BINARY_PACKED);
        let split = options.split.then_some(Encoding::BYTE_STREAM_SPLIT);
        match physical {
            Physical::Bool => FlatEncoder::Bool(FixedEncoder::new(nullable, false, dictionary, None)),
            Physical::I32 => FlatEncoder::I32(FixedEncoder::new(nullable, oid, dictionary, delta)),
            Physical::I64 => FlatEncoder::I64(FixedEncoder::new(nullable, false, dictionary, delta)),
            Physical::F32 => FlatEncoder::F32(FixedEncoder::new(nullable, false, dictionary, split)),
            Physical::F64 => FlatEncoder::F64(FixedEncoder::new(nullable, false, dictionary, split)),
            Physical::Fixed16 => FlatEncoder::Fixed16(FixedEncoder::new(nullable, uuid, dictionary, None)),
            Physical::Bytes => {
                FlatEncoder::Bytes(BytesEncoder::new(nullable, field.kind != Kind::Bytea, dictionary))
            }
        }
    }

    /// Appends a lane. Returns the number of rows, and the size of their values in PLAIN encoding.
    pub fn append(&mut self, lane: &Lane, arena: &[u8], scratch: &mut Scratch) -> Result<(usize, usize)> {
        let (valid, count) = (&lane.valid[..], lane.values.len());
        if !valid.is_empty() && count_valid(valid) != count {
            return invalid(format!("a lane has {count} values for {} valid rows", count_valid(valid)));
        }
        let bytes = match (self, &lane.values) {
            (FlatEncoder::Bool(c), Values::Bool(v)) => {
                c.append(valid, v, scratch)?;
                count.div_ceil(8)
            }
            (FlatEncoder::I32(c), Values::I32(v)) => {
                c.append(valid, v, scratch)?;
                count * 4
            }
            (FlatEncoder::I64(c), Values::I64(v)) => {
                c.append(valid, v, scratch)?;
                count * 8
            }
            (FlatEncoder::F32(c), Values::F32(v)) => {
                c.append(valid, v, scratch)?;
                count * 4
            }
            (FlatEncoder::F64(c), Values::F64(v)) => {
                c.append(valid, v, scratch)?;
                count * 8
            }
            (FlatEncoder::Fixed16(c), Values::Fixed16(v)) => {
                c.append(valid, v, scratch)?;
                count * 16
            }
            (FlatEncoder::Bytes(c), Values::Bytes(v)) => c.append(valid, v, arena, scratch)?,
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

    /// Makes a chunk of pages that were encoded elsewhere; no rows may be pending here. Returns `None` if the bounds
    /// cannot be told.
    pub fn finish_external(
        &mut self,
        external: &ExternalChunk,
        column: &ColumnDescPtr,
        codec: Compression,
        scratch: Option<&mut Scratch>,
    ) -> Result<Option<EncodedChunk>> {
        each!(self, c => c.finish_external(external, column, codec, scratch))
    }

    pub fn chunk_mut(&mut self) -> &mut ChunkWriter {
        each!(self, c => c.chunk_mut())
    }

    pub fn memory(&self) -> usize {
        each!(self, c => c.memory())
    }
}
