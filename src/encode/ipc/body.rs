//! Compression of the buffers in a record batch's body.
//!
//! A compressed buffer begins with its uncompressed length, a 64-bit integer, or with -1 if it is stored uncompressed
//! because the codec did not make it smaller (Message.fbs, BodyCompressionMethod).

use arrow::buffer::Buffer;
use arrow::ipc::Buffer as BufferPlace;

use super::super::compress::Compressor;
use super::super::{Result, invalid};
use super::file::ALIGNMENT;
use crate::memory::reserve_by_quarter;

const AS_IT_WAS: i64 = -1;
const ZEROS: [u8; ALIGNMENT] = [0; ALIGNMENT];

/// Compresses the buffers at `places` of `body`, and updates their places. A buffer is freed once it is compressed.
pub fn compressed(
    body: Vec<Buffer>,
    places: &mut [BufferPlace],
    compressor: &mut Compressor,
) -> Result<Vec<Buffer>> {
    let mut parts = body.into_iter();
    let (mut part_at, mut end) = (0, 0);
    let mut out = Vec::with_capacity(2 * places.len());
    for place in places {
        let len = place.length() as usize;
        let at = place.offset() as usize;
        *place = BufferPlace::new(end as i64, 0);
        if len == 0 {
            continue;
        }
        // Skip the padding between the buffers.
        let buffer = loop {
            let Some(part) = parts.next() else {
                return invalid("a buffer is not where its record batch says");
            };
            let start = part_at;
            part_at += part.len();
            if start == at && part.len() == len {
                break part;
            }
        };
        let bytes = compress(&buffer, compressor)?;
        drop(buffer);
        *place = BufferPlace::new(end as i64, bytes.len() as i64);
        let padding = bytes.len().next_multiple_of(ALIGNMENT) - bytes.len();
        end += bytes.len() + padding;
        out.push(Buffer::from_vec(bytes));
        if padding > 0 {
            out.push(Buffer::from(&ZEROS[..padding]));
        }
    }
    Ok(out)
}

fn compress(raw: &[u8], compressor: &mut Compressor) -> Result<Vec<u8>> {
    let mut out = (raw.len() as i64).to_le_bytes().to_vec();
    compressor.append(&[], raw, &mut out)?;
    if out.len() > raw.len() {
        out.clear();
        reserve_by_quarter(&mut out, raw.len() + 8)?;
        out.extend_from_slice(&AS_IT_WAS.to_le_bytes());
        out.extend_from_slice(raw);
    }
    Ok(out)
}
