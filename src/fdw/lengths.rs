//! Reads numbers in DELTA_BINARY_PACKED (Encodings.md), which encodes the lengths of texts.

use super::thrift::{Checked, Reader};

/// The numbers after the header, which has the first one.
pub struct Lengths<'a> {
    block: u64,
    miniblocks: u64,
    /// Numbers still to come.
    pub left: u64,
    reader: Reader<'a>,
    is_first: bool,
    value: i32,
    least: i32,
    /// The widths of the block's miniblocks still to come, and the rest of the current one.
    widths: &'a [u8],
    packed: Packed<'a>,
}

#[derive(Default)]
struct Packed<'a> {
    bytes: &'a [u8],
    width: usize,
    at: usize,
    left: u64,
}

const WRONG: &str = "a page's lengths end too early";

impl<'a> Lengths<'a> {
    pub fn parse(bytes: &'a [u8]) -> Checked<Lengths<'a>> {
        let mut reader = Reader { rest: bytes };
        let (block, miniblocks, left) = (reader.varint()?, reader.varint()?, reader.varint()?);
        let value = reader.zigzag()? as i32;
        let packed = Packed::default();
        Ok(Lengths { block, miniblocks, left, reader, is_first: true, value, least: 0, widths: &[], packed })
    }

    fn size(&self) -> Checked<u64> {
        self.block.checked_div(self.miniblocks).filter(|&size| size > 0).ok_or(WRONG)
    }

    /// Skips the numbers; returns the bytes after them.
    pub fn rest(mut self) -> Checked<&'a [u8]> {
        self.left = self.left.saturating_sub(1);
        while self.left > 0 {
            let size = self.size()?;
            self.open()?;
            self.left = self.left.saturating_sub(size);
        }
        Ok(self.reader.rest)
    }

    /// Begins the next miniblock.
    fn open(&mut self) -> Checked<()> {
        let size = self.size()?;
        if self.widths.is_empty() {
            self.least = self.reader.zigzag()? as i32;
            let widths = usize::try_from(self.miniblocks).ok();
            let widths = widths.and_then(|count| self.reader.rest.split_at_checked(count));
            (self.widths, self.reader.rest) = widths.ok_or(WRONG)?;
        }
        let (width, widths) = self.widths.split_first().ok_or(WRONG)?;
        let length = size.checked_mul((*width).into()).and_then(|bits| usize::try_from(bits / 8).ok());
        let parts = length.and_then(|length| self.reader.rest.split_at_checked(length));
        let (bytes, rest) = parts.ok_or(WRONG)?;
        (self.widths, self.reader.rest) = (widths, rest);
        self.packed = Packed { bytes, width: (*width).into(), at: 0, left: size };
        Ok(())
    }

    pub fn next(&mut self) -> Checked<Option<i32>> {
        if self.left == 0 {
            return Ok(None);
        }
        if !std::mem::take(&mut self.is_first) {
            if self.packed.left == 0 {
                self.open()?;
            }
            let step = self.packed.next().wrapping_add(self.least);
            self.value = self.value.wrapping_add(step);
        }
        self.left -= 1;
        Ok(Some(self.value))
    }
}

impl Packed<'_> {
    /// Returns the next number's bits; beyond the end they are zero.
    fn next(&mut self) -> i32 {
        let (byte, shift) = (self.at / 8, self.at % 8);
        let mut word = [0; 8];
        let there = self.bytes.get(byte..).unwrap_or_default();
        let length = there.len().min(word.len());
        word[..length].copy_from_slice(&there[..length]);
        self.at += self.width;
        self.left -= 1;
        let bits = u64::from_le_bytes(word) >> shift;
        let mask = if self.width >= 32 { u64::from(u32::MAX) } else { (1 << self.width) - 1 };
        (bits & mask) as i32
    }
}
