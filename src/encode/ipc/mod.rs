//! Encodes columns as Arrow IPC files: record batches, the header before them and the footer after them.
//!
//! ```text
//! Lane ──append──▶ column ─┐
//!                          ├─finish─▶ EncodedBatch ─metadata_at─▶ bytes ─▶ BatchMeta ─▶ file::footer
//! ArrayRef ────▶ (nested) ─┘
//!
//! file    "ARROW1" 0 0, schema message       written last: its size is known first
//!         record batch messages and bodies   at reserved offsets, in any order
//!         end of stream, footer, its length, "ARROW1"
//! ```
//!
//! (Arrow's format documentation, Columnar.rst, "IPC File Format".) The header, messages and every buffer begin at
//! multiples of 64 bytes of the file, so that readers can map it and use the buffers in place. There are no
//! dictionaries.

use arrow::ipc::CompressionType;

use super::Result;
use super::codec::{CodecError, name_and_level, parse_level, without_level};
use super::compress::Compressor;

mod batch;
mod body;
mod column;
pub mod file;
mod stats;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_stats;

pub use batch::{BatchEncoder, BatchMeta, BatchWriter, EncodedBatch, exact_shapes};
pub use stats::has_bounds;

/// The codecs that `BufferCodec::parse` accepts, for error messages.
pub const BUFFER_CODECS: &str = "none, lz4, zstd[:1-22]";

/// How the buffers of record batches are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BufferCodec {
    /// The buffers are not compressed, and the file can be mapped.
    #[default]
    None,
    Lz4,
    Zstd(i32),
}

impl BufferCodec {
    /// Parses `name` or `name:level`; the case of names does not matter.
    pub fn parse(text: &str) -> std::result::Result<BufferCodec, CodecError> {
        let (name, level) = name_and_level(text);
        match name.as_str() {
            "none" => without_level("none", level, BufferCodec::None),
            "lz4" => without_level("lz4", level, BufferCodec::Lz4),
            "zstd" => Ok(BufferCodec::Zstd(parse_level("zstd", level, 1, 1..=22, "1 to 22")? as i32)),
            _ => Err(CodecError::Unknown { name, allowed: BUFFER_CODECS }),
        }
    }

    /// Returns the compressor; `None` if the buffers are not compressed.
    fn compressor(self) -> Result<Option<Compressor>> {
        Ok(match self {
            BufferCodec::None => None,
            BufferCodec::Lz4 => Some(Compressor::Lz4Frame),
            BufferCodec::Zstd(level) => Some(Compressor::zstd(level)?),
        })
    }

    fn compression_type(self) -> Option<CompressionType> {
        match self {
            BufferCodec::None => None,
            BufferCodec::Lz4 => Some(CompressionType::LZ4_FRAME),
            BufferCodec::Zstd(_) => Some(CompressionType::ZSTD),
        }
    }
}
