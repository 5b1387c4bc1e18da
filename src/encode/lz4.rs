//! Joins LZ4 blocks into one.
//!
//! ```text
//! block      := sequence*
//! sequence   := token, literal length, literals, offset: u16, match length
//! token      := literal length: 4 bits, match length: 4 bits; at 15, bytes of up to 255 more follow
//! ```
//!
//! A block's last sequence ends after its literals (lz4_Block_format.md), and no other sequence may. Where two blocks
//! meet, the literals that end the first and those that begin the second therefore become one sequence's.

use lz4_flex::block::{CompressTable, compress_into_with_table, get_maximum_output_size};

use super::{Result, invalid, other, reserve};
use crate::memory::reserve_by_quarter;

/// The length in a token that says that further bytes follow.
const MORE: usize = 15;

pub struct Joiner {
    table: CompressTable,
    block: Vec<u8>,
    begun_at: usize,
    /// The start of the literals at the output's end whose sequence is not complete.
    literals_at: usize,
}

impl Joiner {
    pub fn new() -> Joiner {
        // Most pages are larger than 64 KiB, which is the limit of the small table.
        Joiner { table: CompressTable::large(), block: Vec::new(), begun_at: 0, literals_at: 0 }
    }

    /// Starts a block at the end of `out`.
    pub fn begin(&mut self, out: &[u8]) {
        (self.begun_at, self.literals_at) = (out.len(), out.len());
    }

    /// Compresses `raw` and joins it to the block.
    pub fn append(&mut self, raw: &[u8], last: bool, out: &mut Vec<u8>) -> Result<()> {
        let most = get_maximum_output_size(raw.len());
        if last && out.len() == self.begun_at {
            reserve_by_quarter(out, most)?;
            out.resize(self.begun_at + most, 0);
            let only = &mut out[self.begun_at..];
            let len = compress_into_with_table(raw, only, &mut self.table).map_err(other)?;
            out.truncate(self.begun_at + len);
            return Ok(());
        }
        if self.block.len() < most {
            let more = most - self.block.len();
            reserve(&mut self.block, more)?;
            self.block.resize(most, 0);
        }
        let len = compress_into_with_table(raw, &mut self.block, &mut self.table).map_err(other)?;
        let Some(ends) = Ends::of(&self.block[..len]) else { return invalid("an LZ4 block without an end") };
        let block = &self.block[..len];
        reserve_by_quarter(out, len + len / 255 + 16)?;
        out.extend_from_slice(&block[ends.first.clone()]);
        if let Some(last) = ends.last {
            seal(out, self.literals_at, block[0] & 0xf)?;
            out.extend_from_slice(&block[ends.first.end..last.sequence]);
            self.literals_at = out.len();
            out.extend_from_slice(&block[last.literals..]);
        }
        if last { seal(out, self.literals_at, 0) } else { Ok(()) }
    }
}

/// Inserts the token and the length of the literals that begin at `at`.
fn seal(out: &mut Vec<u8>, at: usize, match_bits: u8) -> Result<()> {
    let count = out.len() - at;
    let mut head = vec![(count.min(MORE) as u8) << 4 | match_bits];
    if let Some(mut left) = count.checked_sub(MORE) {
        reserve(&mut head, left / 255 + 1)?;
        while left >= 255 {
            head.push(255);
            left -= 255;
        }
        head.push(left as u8);
    }
    reserve_by_quarter(out, head.len())?;
    out.splice(at..at, head);
    Ok(())
}

/// The places in a block of the first sequence's literals, and of the last sequence if that is another one.
struct Ends {
    first: std::ops::Range<usize>,
    last: Option<Last>,
}

struct Last {
    sequence: usize,
    literals: usize,
}

impl Ends {
    fn of(block: &[u8]) -> Option<Ends> {
        let (first, mut at) = literals(block, 0)?;
        let mut ends = Ends { first: first..at, last: None };
        let mut sequence = 0;
        while at < block.len() {
            at += size_of::<u16>();
            if usize::from(block.get(sequence)? & 0xf) == MORE {
                at = more(block, at)?.1;
            }
            sequence = at;
            let start;
            (start, at) = literals(block, sequence)?;
            ends.last = Some(Last { sequence, literals: start });
        }
        Some(ends)
    }
}

/// Returns where the literals of the sequence at `at` begin and end.
fn literals(block: &[u8], at: usize) -> Option<(usize, usize)> {
    let mut count = usize::from(block.get(at)? >> 4);
    let mut start = at + 1;
    if count == MORE {
        let further;
        (further, start) = more(block, start)?;
        count += further;
    }
    (start + count <= block.len()).then_some((start, start + count))
}

/// Returns the rest of a length, and where its bytes end.
fn more(block: &[u8], start: usize) -> Option<(usize, usize)> {
    let full = block.get(start..)?.iter().position(|&byte| byte != 255)?;
    Some((255 * full + usize::from(block[start + full]), start + full + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn join(raw: &[u8], size: usize) -> Vec<u8> {
        let (mut joiner, mut out) = (Joiner::new(), Vec::new());
        let count = raw.len().div_ceil(size);
        for (number, step) in raw.chunks(size).enumerate() {
            joiner.append(step, number + 1 == count, &mut out).unwrap();
        }
        out
    }

    #[test]
    fn a_single_block_is_as_it_was() {
        let raw: Vec<u8> = (0..200_000u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
        assert_eq!(join(&raw, raw.len()), lz4_flex::block::compress(&raw));
    }

    proptest! {
        /// Joins any number of literals over any number of blocks, and matches of any length.
        #[test]
        fn joined_blocks_are_one(
            runs in prop::collection::vec((any::<u64>(), 1usize..700, any::<bool>()), 1..30), size in 1usize..900
        ) {
            let mut raw = Vec::new();
            for (seed, count, random) in runs {
                let byte = |i: usize| if random { seed.wrapping_mul(0x9e37_79b9_7f4a_7c15 ^ (i as u64) << 17).rotate_left(29) as u8 } else { seed as u8 };
                raw.extend((0..count).map(byte));
            }
            let joined = join(&raw, size);
            prop_assert_eq!(lz4_flex::block::decompress(&joined, raw.len()).unwrap(), raw);
        }
    }
}
