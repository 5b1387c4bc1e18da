//! Unpacks pages and buffers in bounded steps, to exactly as many bytes as are stated.
//!
//! A kilobyte may unpack to gigabytes: memory is allocated as bytes come, and one byte too many is damage.

use std::io::{self, Cursor, Read};

use flate2::bufread::MultiGzDecoder;
use lz4_flex::frame::FrameDecoder;
use parquet::basic::Compression;

use super::blocks;
use super::source::STEP;
use crate::interrupts;

/// The most that is unpacked at once by codecs that do not stop in between.
const WHOLE: usize = 16 << 20;

pub struct Unpacker {
    codec: Compression,
    zstd: Option<zstd::bulk::Decompressor<'static>>,
}

type Unpacked = Result<(), String>;

impl Unpacker {
    pub fn new(codec: Compression) -> Unpacker {
        Unpacker { codec, zstd: None }
    }

    pub fn packs(&self) -> bool {
        self.codec != Compression::UNCOMPRESSED
    }

    /// Appends `size` bytes to `out`, which has room for them.
    pub fn unpack(&mut self, packed: &[u8], out: &mut Vec<u8>, size: usize) -> Unpacked {
        let (start, end) = (out.len(), out.len().saturating_add(size));
        match self.codec {
            Compression::SNAPPY if size <= WHOLE => {
                out.resize(end, 0);
                let length = snap::raw::Decoder::new().decompress(packed, &mut out[start..]);
                out.truncate(start + length.map_err(said)?);
            }
            Compression::SNAPPY => blocks::snappy(packed, out, end)?,
            Compression::LZ4_RAW => self.lz4(packed, out, end)?,
            Compression::LZ4 => self.old_lz4(packed, out, end)?,
            Compression::ZSTD(_) => self.zstd(packed, out, end)?,
            Compression::GZIP(_) => self.stream(MultiGzDecoder::new(packed), out, end)?,
            Compression::BROTLI(_) => self.stream(brotli::Decompressor::new(packed, 1 << 16), out, end)?,
            other => return Err(format!("unsupported: its pages are compressed by {other}")),
        }
        if out.len() == end { Ok(()) } else { Err(other_size()) }
    }

    /// Unpacks Arrow's LZ4_FRAME.
    pub fn lz4_frame(&self, packed: &[u8], out: &mut Vec<u8>, size: usize) -> Unpacked {
        let end = out.len().saturating_add(size);
        self.stream(FrameDecoder::new(packed), out, end)
    }

    fn stream(&self, mut from: impl Read, out: &mut Vec<u8>, end: usize) -> Unpacked {
        while out.len() < end {
            let at = out.len();
            out.resize(end.min(at.saturating_add(STEP)), 0);
            from.read_exact(&mut out[at..]).map_err(|cause| match cause.kind() {
                io::ErrorKind::UnexpectedEof => other_size(),
                _ => said(cause),
            })?;
            interrupts::check();
        }
        // Reading on checks the end of the stream, too.
        match from.read(&mut [0]).map_err(said)? {
            0 => Ok(()),
            _ => Err(other_size()),
        }
    }

    fn zstd(&mut self, packed: &[u8], out: &mut Vec<u8>, end: usize) -> Unpacked {
        let start = out.len();
        if end - start > WHOLE {
            let mut stream = zstd::stream::read::Decoder::with_buffer(packed).map_err(said)?;
            stream.window_log_max(MOST_WINDOW).map_err(said)?;
            return self.stream(stream, out, end);
        }
        let zstd = match &mut self.zstd {
            Some(zstd) => zstd,
            none => none.insert(zstd::bulk::Decompressor::new().map_err(said)?),
        };
        let mut cursor = Cursor::new(out);
        cursor.set_position(start as u64);
        zstd.decompress_to_buffer(packed, &mut cursor).map(drop).map_err(said)
    }

    /// Unpacks one block.
    fn lz4(&self, packed: &[u8], out: &mut Vec<u8>, end: usize) -> Unpacked {
        let start = out.len();
        if end - start > WHOLE {
            return blocks::lz4(packed, out, end);
        }
        out.resize(end, 0);
        let length = lz4_flex::block::decompress_into(packed, &mut out[start..]).map_err(said)?;
        out.truncate(start + length);
        Ok(())
    }

    /// Unpacks Parquet's deprecated LZ4: blocks as Hadoop frames them or, by old writers, a frame or one block.
    fn old_lz4(&self, packed: &[u8], out: &mut Vec<u8>, end: usize) -> Unpacked {
        let start = out.len();
        self.hadoop(packed, out, end).or_else(|_| {
            out.truncate(start);
            self.stream(FrameDecoder::new(packed), out, end).or_else(|_| {
                out.truncate(start);
                self.lz4(packed, out, end)
            })
        })
    }

    fn hadoop(&self, mut packed: &[u8], out: &mut Vec<u8>, end: usize) -> Unpacked {
        while let Some((lengths, rest)) = packed.split_first_chunk::<8>() {
            let length = u32::from_be_bytes([lengths[4], lengths[5], lengths[6], lengths[7]]);
            let unpacked = u32::from_be_bytes([lengths[0], lengths[1], lengths[2], lengths[3]]);
            let block_end = out.len().checked_add(unpacked as usize).filter(|&at| at <= end);
            let parts = rest.split_at_checked(length as usize).zip(block_end);
            let ((block, rest), block_end) = parts.ok_or_else(other_size)?;
            self.lz4(block, out, block_end)?;
            if out.len() != block_end {
                return Err(other_size());
            }
            interrupts::check();
            packed = rest;
        }
        if packed.is_empty() && out.len() == end { Ok(()) } else { Err(other_size()) }
    }
}

/// Zstandard's window of any size is accepted. It takes memory only as it is written to.
const MOST_WINDOW: u32 = 31;

fn said(cause: impl std::fmt::Display) -> String {
    cause.to_string()
}

fn other_size() -> String {
    "it does not unpack to as many bytes as it says".to_owned()
}

#[cfg(test)]
#[path = "unpack_tests.rs"]
mod tests;
