//! Compression of pages and buffers. Large ones are compressed in steps, with a check for a cancel before each; the
//! slower the codec, the shorter the steps.

use std::io::{self, Write};

use zstd::zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd::zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer, ResetDirective, get_error_name};

use super::bits::put_varint;
use super::codec::Codec;
use super::lz4::Joiner;
use super::{EncodeError, Result, invalid, other};
use crate::interrupts::{STEP_BYTES, check, steps};
use crate::memory::{OutOfMemory, headroom, reserve_by_quarter};

/// Snappy compresses each block by itself.
const SNAPPY_BLOCK: usize = 1 << 16;
const SNAPPY_STEP: usize = 64 * SNAPPY_BLOCK;
/// Larger than all pages but those of large values: matches do not reach from one step into the next.
const LZ4_STEP: usize = 8 << 20;
const GZIP_STEP: usize = 256 << 10;
const BROTLI_STEP: usize = 256 << 10;

/// The same window as in parquet's own writer.
const BROTLI_WINDOW: i32 = 22;
/// From this quality on, each step ends its meta-block: the time to build one grows faster than its length, for indexes of
/// a dictionary from 0.06 s for 16 kB to 0.5 s for 64 kB. Texts come out 0.3 % larger, indexes 1 % smaller.
const BROTLI_SLOW: u32 = 10;
const BROTLI_SLOW_STEP: usize = 16 << 10;
/// The logarithm of the smallest block that the encoder can search at once.
const BROTLI_SLOW_BLOCK: i32 = 16;

/// The largest window. RFC 8878, 3.1.1.1.2, recommends that decoders support windows of 8 MB, and some readers of
/// Parquet do not support larger ones.
const ZSTD_WINDOW: u32 = 23;
/// The format's largest block; the encoder works on a block at once.
const ZSTD_BLOCK: usize = 128 << 10;

/// Compresses pages. Contexts and tables are created once: a zstd context costs more than a small page.
pub enum Compressor {
    None,
    Snappy(Box<snap::raw::Encoder>),
    Gzip(u32),
    Brotli(u32),
    Lz4Raw(Joiner),
    /// LZ4's frame format, which Arrow uses.
    Lz4Frame,
    Zstd {
        context: CCtx<'static>,
        step: usize,
    },
}

impl Compressor {
    pub fn new(codec: Codec) -> Result<Compressor> {
        headroom(codec.memory())?;
        Ok(match codec {
            Codec::None => Compressor::None,
            Codec::Snappy => Compressor::Snappy(Box::new(snap::raw::Encoder::new())),
            Codec::Gzip(level) => Compressor::Gzip(level),
            Codec::Brotli(level) => Compressor::Brotli(level),
            Codec::Lz4Raw => Compressor::Lz4Raw(Joiner::new()),
            Codec::Zstd(level) => Compressor::zstd(level)?,
        })
    }

    pub fn zstd(level: i32) -> Result<Compressor> {
        let mut context = CCtx::try_create().ok_or(OutOfMemory(0))?;
        context.set_parameter(CParameter::CompressionLevel(level)).map_err(zstd_error)?;
        if level > 19 {
            context.set_parameter(CParameter::WindowLog(ZSTD_WINDOW)).map_err(zstd_error)?;
        }
        let step = match level {
            ..=4 => 8 << 20,
            5..=9 => 2 << 20,
            10..=12 => 1 << 20,
            _ => ZSTD_BLOCK,
        };
        Ok(Compressor::Zstd { context, step })
    }

    pub fn is_none(&self) -> bool {
        matches!(self, Compressor::None)
    }

    /// Replaces the content of `out` by the compressed `raw`.
    pub fn compress(&mut self, raw: &[u8], out: &mut Vec<u8>) -> Result<()> {
        out.clear();
        self.append(&[], raw, out)
    }

    /// Appends `head` and `body`, compressed as one page.
    pub fn append(&mut self, head: &[u8], body: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let len = head.len() + body.len();
        match self {
            Compressor::None => {
                reserve_by_quarter(out, len)?;
                feed(head, body, STEP_BYTES, |step, _| {
                    out.extend_from_slice(step);
                    Ok(())
                })
            }
            Compressor::Snappy(encoder) => {
                put_varint(out, len as u64);
                feed(head, body, SNAPPY_STEP, |step, _| append_snappy(encoder, step, out))
            }
            Compressor::Gzip(level) => {
                headroom(Codec::Gzip(*level).memory())?;
                let level = flate2::Compression::new(*level);
                let mut encoder = flate2::write::GzEncoder::new(Growing::new(out), level);
                feed(head, body, GZIP_STEP, |step, _| Ok(encoder.write_all(step)?))?;
                encoder.finish()?;
                Ok(())
            }
            Compressor::Brotli(level) => {
                headroom(Codec::Brotli(*level).memory())?;
                append_brotli(*level, head, body, out)
            }
            Compressor::Lz4Raw(joiner) => {
                joiner.begin(out);
                feed(head, body, LZ4_STEP, |step, last| joiner.append(step, last, out))
            }
            Compressor::Lz4Frame => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(Growing::new(out));
                feed(head, body, LZ4_STEP, |step, _| Ok(encoder.write_all(step)?))?;
                encoder.finish().map_err(other)?;
                Ok(())
            }
            Compressor::Zstd { context, step } => append_zstd(context, *step, head, body, out),
        }
    }
}

/// Calls `each` for steps of `head` and `body`, of `size` bytes, and says which is the last. The check comes before
/// each.
fn feed(
    head: &[u8],
    body: &[u8],
    size: usize,
    mut each: impl FnMut(&[u8], bool) -> Result<()>,
) -> Result<()> {
    let (first, rest) = body.split_at(body.len().min(size - head.len()));
    let joined;
    let first = match head {
        [] => first,
        _ => {
            joined = [head, first].concat();
            &joined
        }
    };
    check();
    each(first, rest.is_empty())?;
    let last = rest.len().div_ceil(size);
    steps(rest, size).enumerate().try_for_each(|(number, step)| each(step, number + 1 == last))
}

/// Appends the blocks of `step`. Only the last step of a page may end in a block that is not whole, so the blocks are
/// those that the encoder would write for the page at once. The encoder writes the step's length before them, over
/// the page's length, which is then restored.
fn append_snappy(encoder: &mut snap::raw::Encoder, step: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let mut length = Vec::new();
    put_varint(&mut length, step.len() as u64);
    let Some(start) = out.len().checked_sub(length.len()) else {
        return invalid("a page without its length");
    };
    length.copy_from_slice(&out[start..]);
    let most = snap::raw::max_compress_len(step.len());
    reserve_by_quarter(out, most)?;
    out.resize(start + most, 0);
    let len = encoder.compress(step, &mut out[start..]).map_err(other)?;
    out[start..][..length.len()].copy_from_slice(&length);
    out.truncate(start + len);
    Ok(())
}

fn append_brotli(level: u32, head: &[u8], body: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let mut params = brotli::enc::BrotliEncoderParams { quality: level as i32, ..Default::default() };
    params.lgwin = BROTLI_WINDOW;
    let mut size = BROTLI_STEP;
    let is_slow = level >= BROTLI_SLOW;
    if is_slow {
        params.lgblock = BROTLI_SLOW_BLOCK;
        size = BROTLI_SLOW_STEP;
    }
    let mut encoder = brotli::CompressorWriter::with_params(Growing::new(out), 4096, &params);
    feed(head, body, size, |step, last| {
        encoder.write_all(step)?;
        if is_slow && !last {
            encoder.flush()?;
        }
        Ok(())
    })?;
    encoder.flush()?;
    // This writes the end, but does not report an error.
    match encoder.into_inner().failed {
        Some(failed) => Err(failed),
        None => Ok(()),
    }
}

fn append_zstd(
    context: &mut CCtx<'static>,
    size: usize,
    head: &[u8],
    body: &[u8],
    out: &mut Vec<u8>,
) -> Result<()> {
    context.reset(ResetDirective::SessionOnly).map_err(zstd_error)?;
    // If the length is known beforehand, it is written to the frame and the parameters suit it.
    let len = (head.len() + body.len()) as u64;
    context.set_pledged_src_size(Some(len)).map_err(zstd_error)?;
    feed(head, body, size, |step, last| {
        let mut input = InBuffer::around(step);
        let end = if last { ZSTD_EndDirective::ZSTD_e_end } else { ZSTD_EndDirective::ZSTD_e_continue };
        loop {
            // With this much room, zstd compresses into `out` without another copy.
            reserve_by_quarter(out, zstd::zstd_safe::compress_bound(step.len()))?;
            let at = out.len();
            let mut output = OutBuffer::around_pos(out, at);
            let left = context.compress_stream2(&mut output, &mut input, end).map_err(zstd_error)?;
            let all_read = input.pos() == step.len();
            if all_read && (left == 0 || !last) {
                return Ok(());
            }
            check();
        }
    })
}

/// An output that grows, and that fails where `Vec` would abort the process.
struct Growing<'a> {
    out: &'a mut Vec<u8>,
    /// The error of the write that failed.
    failed: Option<EncodeError>,
}

impl<'a> Growing<'a> {
    fn new(out: &'a mut Vec<u8>) -> Growing<'a> {
        Growing { out, failed: None }
    }
}

impl Write for Growing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(failed) = reserve_by_quarter(self.out, bytes.len()) {
            self.failed = Some(failed.into());
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn zstd_error(code: usize) -> EncodeError {
    EncodeError::Io(io::Error::other(get_error_name(code)))
}

#[cfg(test)]
#[path = "compress_tests.rs"]
mod tests;
