//! Checksums for the pages of parquet's own writer, which writes none.

use super::bits::put_zigzag;
use super::chunk::EncodedChunk;
use super::{EncodeError, Result, invalid, reserve};

/// In Thrift's compact protocol: an I32 whose number is the one after the last field's.
const NEXT_I32: u8 = 0x15;

/// Bytes that a checksum takes, at most.
const ROOM: usize = 6;

/// The chunk with the checksum of each page in its header. The dictionary, if there is one, lies before the pages.
pub fn with_checksums(mut chunk: EncodedChunk) -> Result<EncodedChunk> {
    let locations = &mut chunk.offset_index.page_locations;
    let mut out = Vec::new();
    reserve(&mut out, chunk.pages.len() + (locations.len() + 1) * ROOM)?;
    let first = locations.first().map_or(chunk.pages.len(), |page| page.offset as usize);
    let (dictionary, mut pages) = chunk.pages.split_at_checked(first).ok_or_else(outside)?;
    if !dictionary.is_empty() {
        put_page(&mut out, dictionary)?;
    }
    let begin = out.len();
    for location in locations.iter_mut() {
        let size = location.compressed_page_size as usize;
        let (page, rest) = pages.split_at_checked(size).ok_or_else(outside)?;
        let start = out.len();
        put_page(&mut out, page)?;
        location.offset = start as i64;
        location.compressed_page_size = (out.len() - start) as i32;
        pages = rest;
    }
    let added = (out.len() - chunk.pages.len()) as i64;
    let metadata = &chunk.metadata;
    let sizes = (metadata.compressed_size() + added, metadata.uncompressed_size() + added);
    let data_page = metadata.data_page_offset() + (begin - first) as i64;
    chunk.metadata = chunk
        .metadata
        .into_builder()
        .set_total_compressed_size(sizes.0)
        .set_total_uncompressed_size(sizes.1)
        .set_data_page_offset(data_page)
        .build()?;
    chunk.pages = out;
    Ok(chunk)
}

fn outside() -> EncodeError {
    EncodeError::Invalid("parquet wrote a page outside its chunk".to_owned())
}

/// Appends a page, its checksum as field 4 between the body's size and the header of the page's type
/// (parquet.thrift, PageHeader).
fn put_page(out: &mut Vec<u8>, page: &[u8]) -> Result<()> {
    let mut at = 0;
    let mut size = 0;
    for _field in 1..=3 {
        if page.get(at) != Some(&NEXT_I32) {
            return invalid("parquet wrote a page header in another form");
        }
        (size, at) = zigzag(page, at + 1)?;
    }
    let begin = usize::try_from(size).ok().and_then(|size| page.len().checked_sub(size));
    let (Some(begin), Some(&next)) = (begin.filter(|begin| at < *begin), page.get(at)) else {
        return invalid("parquet wrote a page header of another length");
    };
    if next >> 4 < 2 {
        return invalid("parquet wrote a page with a checksum");
    }
    out.extend_from_slice(&page[..at]);
    out.push(NEXT_I32);
    put_zigzag(out, (crc32fast::hash(&page[begin..]) as i32).into());
    out.push(next - (1 << 4));
    out.extend_from_slice(&page[at + 1..]);
    Ok(())
}

/// A number, and where it ends.
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
