//! DELTA_BINARY_PACKED and DELTA_LENGTH_BYTE_ARRAY (Encodings.md).
//!
//! ```text
//! delta      := varint(128), varint(4), varint(count), zigzag(first value), block*
//! block      := zigzag(min delta), width: u8 * 4, miniblock * 4
//! miniblock  := 32 deltas less the min delta, of the miniblock's width
//! ```
//!
//! Differences wrap at the value's own width, so that no miniblock is wider.

use super::bits::{pack, put_varint, put_zigzag, width_of};

const BLOCK: usize = 128;
const MINIBLOCK: usize = 32;

/// An integer that DELTA_BINARY_PACKED holds.
pub trait Delta: Copy + Default + Ord + Into<i64> {
    fn less(self, other: Self) -> Self;
    /// Returns the same bits without a sign.
    fn bits(self) -> u64;
}

impl Delta for i32 {
    #[inline]
    fn less(self, other: i32) -> i32 {
        self.wrapping_sub(other)
    }
    #[inline]
    fn bits(self) -> u64 {
        u64::from(self as u32)
    }
}

impl Delta for i64 {
    #[inline]
    fn less(self, other: i64) -> i64 {
        self.wrapping_sub(other)
    }
    #[inline]
    fn bits(self) -> u64 {
        self as u64
    }
}

pub fn put_delta<T: Delta>(values: &[T], out: &mut Vec<u8>) {
    put_varint(out, BLOCK as u64);
    put_varint(out, (BLOCK / MINIBLOCK) as u64);
    put_varint(out, values.len() as u64);
    put_zigzag(out, values.first().copied().unwrap_or_default().into());
    let mut deltas = [T::default(); BLOCK];
    let mut at = 1;
    while at < values.len() {
        let count = BLOCK.min(values.len() - at);
        let (before, after) = (&values[at - 1..at - 1 + count], &values[at..at + count]);
        for ((delta, &a), &b) in deltas.iter_mut().zip(before).zip(after) {
            *delta = b.less(a);
        }
        put_block(&deltas[..count], out);
        at += count;
    }
}

fn put_block<T: Delta>(deltas: &[T], out: &mut Vec<u8>) {
    let min = deltas.iter().copied().min().unwrap_or_default();
    put_zigzag(out, min.into());
    let widths_at = out.len();
    // A miniblock without values has width 0 and no body.
    out.extend_from_slice(&[0; BLOCK / MINIBLOCK]);
    let mut excess = [0u64; MINIBLOCK];
    for (index, miniblock) in deltas.chunks(MINIBLOCK).enumerate() {
        excess[miniblock.len()..].fill(0);
        let mut all = 0;
        for (excess, delta) in excess.iter_mut().zip(miniblock) {
            *excess = delta.less(min).bits();
            all |= *excess;
        }
        let width = width_of(all);
        out[widths_at + index] = width as u8;
        pack(&excess, width, out);
    }
}

/// Appends values as DELTA_LENGTH_BYTE_ARRAY: `bytes` has their bytes end to end, `lengths` the length of each.
pub fn put_delta_length(lengths: &[i32], bytes: &[u8], out: &mut Vec<u8>) {
    put_delta(lengths, out);
    out.extend_from_slice(bytes);
}
