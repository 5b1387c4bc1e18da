//! Unpacks large blocks of Snappy (format_description.txt) and LZ4 (lz4_Block_format.md) in bounded steps.
//!
//! The crates unpack a block in one go, and faster; this module is for blocks that would take them too long.

use super::source::STEP;
use crate::interrupts;

type Unpacked = Result<(), String>;

/// The bytes unpacked so far, and how many there were at the last check for a cancel.
struct Out<'o> {
    bytes: &'o mut Vec<u8>,
    start: usize,
    end: usize,
    seen: usize,
}

/// Appends the bytes up to `end`, for which `out` has room.
pub fn snappy(packed: &[u8], out: &mut Vec<u8>, end: usize) -> Unpacked {
    let mut input = Input(packed);
    let mut out = Out::new(out, end);
    if input.varint()? != out.end - out.start {
        return Err(WRONG.to_owned());
    }
    while !input.0.is_empty() {
        let tag = input.number(1)?;
        match tag & 3 {
            0 => {
                let length = match tag >> 2 {
                    short @ 0..60 => short,
                    long => input.number(long - 59)?,
                };
                out.literal(input.take(length.saturating_add(1))?)?;
            }
            1 => {
                let offset = (tag >> 5) << 8 | input.number(1)?;
                out.copy(offset, 4 + (tag >> 2 & 7))?;
            }
            wide => {
                let offset = input.number(if wide == 2 { 2 } else { 4 })?;
                out.copy(offset, 1 + (tag >> 2))?;
            }
        }
    }
    Ok(())
}

/// Appends the bytes up to `end`, for which `out` has room.
pub fn lz4(packed: &[u8], out: &mut Vec<u8>, end: usize) -> Unpacked {
    /// A length of 15 continues in the next bytes; the shortest copy.
    const LONG: usize = 15;
    const SHORTEST: usize = 4;
    let mut input = Input(packed);
    let mut out = Out::new(out, end);
    loop {
        let token = input.number(1)?;
        let literal = input.length(token >> 4, LONG)?;
        out.literal(input.take(literal)?)?;
        // The last sequence has literals alone.
        if input.0.is_empty() {
            return Ok(());
        }
        let offset = input.number(2)?;
        let length = input.length(token & 15, LONG)?;
        out.copy(offset, length.saturating_add(SHORTEST))?;
    }
}

const WRONG: &str = "a compressed block is not what its codec writes";

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    #[inline]
    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(WRONG)?;
        self.0 = rest;
        Ok(taken)
    }

    /// Reads a little-endian number of so many bytes.
    #[inline]
    fn number(&mut self, bytes: usize) -> Result<usize, String> {
        Ok(self.take(bytes)?.iter().rev().fold(0, |number, &byte| number << 8 | usize::from(byte)))
    }

    fn varint(&mut self) -> Result<usize, String> {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.number(1)?;
            value |= (byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(WRONG.to_owned())
    }

    fn length(&mut self, first: usize, long: usize) -> Result<usize, String> {
        let mut length = first;
        if first == long {
            loop {
                let byte = self.number(1)?;
                length += byte;
                if byte < 255 {
                    break;
                }
            }
        }
        Ok(length)
    }
}

impl Out<'_> {
    fn new(bytes: &mut Vec<u8>, end: usize) -> Out<'_> {
        let start = bytes.len();
        Out { bytes, start, end, seen: start }
    }

    fn check(&mut self, length: usize) -> Unpacked {
        if self.bytes.len() - self.seen >= STEP {
            self.seen = self.bytes.len();
            interrupts::check();
        }
        if length > self.end - self.bytes.len() { Err(WRONG.to_owned()) } else { Ok(()) }
    }

    fn literal(&mut self, bytes: &[u8]) -> Unpacked {
        self.check(bytes.len())?;
        for part in bytes.chunks(STEP) {
            self.bytes.extend_from_slice(part);
            self.check(0)?;
        }
        Ok(())
    }

    /// Appends bytes from so far back, which may include bytes of this copy.
    fn copy(&mut self, offset: usize, length: usize) -> Unpacked {
        self.check(length)?;
        let known = self.bytes.len() - self.start;
        if offset == 0 || offset > known {
            return Err(WRONG.to_owned());
        }
        let (from, mut left) = (self.bytes.len() - offset, length);
        while left > 0 {
            // The copied bytes repeat with a period of `offset`.
            let part = left.min(self.bytes.len() - from).min(STEP / offset.min(STEP) * offset);
            self.bytes.extend_from_within(from..from + part);
            left -= part;
            self.check(0)?;
        }
        Ok(())
    }
}
