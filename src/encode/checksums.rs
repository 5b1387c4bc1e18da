//! Adds checksums to pages that parquet's writer wrote, which writes none, and compresses them where the codec is
//! slow, which parquet's writer does not do in steps.

use super::bits::put_zigzag;
use super::chunk::{EncodedChunk, Scratch};
use super::thrift::{checksum, size as size_of_body};
use super::{EncodeError, Result, invalid, reserve};

/// The header of an I32 field, numbered after the field before it, in Thrift's compact protocol.
const NEXT_I32: u8 = 0x15;

/// The most bytes that a checksum takes.
const ROOM: usize = 6;

/// Adds a checksum to the header of each page of a chunk, which parquet's writer wrote to `raw`, and compresses the
/// pages if there is a `scratch`. The dictionary page, if there is one, comes first.
pub fn with_checksums(
    mut chunk: EncodedChunk,
    raw: &[u8],
    mut scratch: Option<&mut Scratch>,
) -> Result<EncodedChunk> {
    let locations = &mut chunk.offset_index.page_locations;
    let mut out = Vec::new();
    reserve(&mut out, if scratch.is_none() { raw.len() + (locations.len() + 1) * ROOM } else { 0 })?;
    let first = locations.first().map_or(raw.len(), |page| page.offset as usize);
    let (dictionary, mut pages) = raw.split_at_checked(first).ok_or_else(outside)?;
    let mut added = 0;
    if !dictionary.is_empty() {
        added += put_page(&mut out, dictionary, scratch.as_deref_mut())?;
    }
    let begin = out.len();
    for location in locations.iter_mut() {
        let size = location.compressed_page_size as usize;
        let (page, rest) = pages.split_at_checked(size).ok_or_else(outside)?;
        let start = out.len();
        added += put_page(&mut out, page, scratch.as_deref_mut())?;
        location.offset = start as i64;
        location.compressed_page_size = (out.len() - start) as i32;
        pages = rest;
    }
    let metadata = &chunk.metadata;
    let uncompressed = metadata.uncompressed_size() + added;
    let data_page = metadata.data_page_offset() + (begin as i64 - first as i64);
    chunk.metadata = chunk
        .metadata
        .into_builder()
        .set_total_compressed_size(out.len() as i64)
        .set_total_uncompressed_size(uncompressed)
        .set_data_page_offset(data_page)
        .build()?;
    chunk.pages = vec![out];
    Ok(chunk)
}

fn outside() -> EncodeError {
    EncodeError::Invalid("parquet wrote a page outside its chunk".to_owned())
}

/// Appends a page with its checksum as field 4, between the body's size and the header of the page's type
/// (parquet.thrift, PageHeader). Returns by how many bytes the header grew.
fn put_page(out: &mut Vec<u8>, page: &[u8], scratch: Option<&mut Scratch>) -> Result<i64> {
    let (mut at, mut size_at, mut size) = (0, 0, 0);
    for _field in 1..=3 {
        if page.get(at) != Some(&NEXT_I32) {
            return invalid("parquet wrote a page header in another form");
        }
        size_at = at + 1;
        (size, at) = zigzag(page, size_at)?;
    }
    let begin = usize::try_from(size).ok().and_then(|size| page.len().checked_sub(size));
    let (Some(begin), Some(&next)) = (begin.filter(|begin| at < *begin), page.get(at)) else {
        return invalid("parquet wrote a page header of another length");
    };
    if next >> 4 < 2 {
        return invalid("parquet wrote a page with a checksum");
    }
    let body = match scratch {
        Some(scratch) => scratch.compress(&page[begin..])?,
        None => &page[begin..],
    };
    let start = out.len();
    reserve(out, begin + body.len() + 2 * ROOM)?;
    out.extend_from_slice(&page[..size_at]);
    put_zigzag(out, size_of_body(body.len())?.into());
    out.push(NEXT_I32);
    put_zigzag(out, (checksum(body) as i32).into());
    out.push(next - (1 << 4));
    out.extend_from_slice(&page[at + 1..begin]);
    let header = out.len() - start;
    out.extend_from_slice(body);
    Ok(header as i64 - begin as i64)
}

/// Reads a number; returns it and where it ends.
fn zigzag(bytes: &[u8], start: usize) -> Result<(i64, usize)> {
    let mut value = 0u64;
    for (at, &byte) in bytes.iter().enumerate().skip(start).take(5) {
        value |= u64::from(byte & 0x7f) << (7 * (at - start));
        if byte & 0x80 == 0 {
            return Ok(((value >> 1) as i64 ^ -((value & 1) as i64), at + 1));
        }
    }
    invalid("parquet wrote a number without an end")
}
