//! Page headers in Thrift's compact protocol (parquet.thrift, PageHeader).
//!
//! They are written by hand because a header has six small integers, and parquet's own writer would copy each page
//! once more.

use parquet::basic::Encoding;

use super::bits::put_zigzag;
use super::{Result, invalid};
use crate::interrupts;

const I32: u8 = 5;
const STRUCT: u8 = 12;
const STOP: u8 = 0;

/// parquet.thrift, PageType.
const DATA_PAGE: i32 = 0;
const DICTIONARY_PAGE: i32 = 2;

/// parquet.thrift, Encoding.
fn encoding_id(encoding: Encoding) -> i32 {
    encoding as i32
}

/// Appends the header of a data page. `body` is compressed from `raw_len` bytes.
pub fn put_data_page_header(
    out: &mut Vec<u8>,
    raw_len: usize,
    body: &[u8],
    values: usize,
    encoding: Encoding,
) -> Result<()> {
    put_page(out, DATA_PAGE, raw_len, body)?;
    put_field(out, 5 - 4, STRUCT);
    put_i32(out, 1, size(values)?);
    put_i32(out, 1, encoding_id(encoding));
    put_i32(out, 1, encoding_id(Encoding::RLE)); // definition levels
    put_i32(out, 1, encoding_id(Encoding::RLE)); // repetition levels
    out.extend([STOP, STOP]);
    Ok(())
}

pub fn put_dictionary_page_header(
    out: &mut Vec<u8>,
    raw_len: usize,
    body: &[u8],
    entries: usize,
) -> Result<()> {
    put_page(out, DICTIONARY_PAGE, raw_len, body)?;
    put_field(out, 7 - 4, STRUCT);
    put_i32(out, 1, size(entries)?);
    put_i32(out, 1, encoding_id(Encoding::PLAIN));
    out.extend([STOP, STOP]);
    Ok(())
}

/// Appends PageHeader's fields 1 to 4.
fn put_page(out: &mut Vec<u8>, page_type: i32, raw_len: usize, body: &[u8]) -> Result<()> {
    put_i32(out, 1, page_type);
    put_i32(out, 1, size(raw_len)?);
    put_i32(out, 1, size(body.len())?);
    put_i32(out, 1, checksum(body) as i32);
    Ok(())
}

pub fn checksum(body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    interrupts::in_steps(body, |step| hasher.update(step));
    hasher.finalize()
}

/// Converts a length. It must leave room for the header, with which a page's length has to fit as well (OffsetIndex).
pub fn size(len: usize) -> Result<i32> {
    match i32::try_from(len) {
        Ok(size) if size < i32::MAX - 64 => Ok(size),
        _ => invalid(format!("a page of {len} bytes is too large for Parquet")),
    }
}

/// Appends a field's header: the difference of its number to the field before it, and its type.
fn put_field(out: &mut Vec<u8>, step: u8, field_type: u8) {
    out.push(step << 4 | field_type);
}

fn put_i32(out: &mut Vec<u8>, step: u8, value: i32) {
    put_field(out, step, I32);
    put_zigzag(out, value.into());
}
