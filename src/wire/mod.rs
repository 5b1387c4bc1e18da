//! Formats that PostgreSQL defines: heap pages and tuples, numeric, COPY BINARY.
//!
//! Pure, and safe on any input: a hostile page or stream gives an error, never a panic or a read out of bounds. Heap
//! pages are read as little-endian, so only such servers are supported.

#[cfg(target_endian = "big")]
compile_error!(
    "the heap's varlena headers and line pointers are read as a little-endian server lays them out"
);

pub mod copy_binary;
pub mod deform;
pub mod numeric;
pub mod numeric_lanes;
mod numeric_text;
pub mod page;
pub mod short_numeric;
mod short_varlenas;
pub mod tuple;
mod varlena;

#[inline]
fn le_u16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[inline]
fn le_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
