//! Chunks, the units of work: ranges of blocks, numbered in `ctid` order over all relations. Each makes about one row
//! group. They get smaller towards the end, so that all processes finish together.

use serde::{Deserialize, Serialize};

/// The smallest chunk, 8 MB of heap: a row group of few rows compresses and prunes badly.
const MIN_BLOCKS: u64 = 1024;

/// Row groups are planned a little below their limit. Otherwise a range with more rows than the sample's mean would
/// be split into a full row group and a tiny one.
const FILL: f64 = 0.9;

/// The density of a table, estimated from a sample.
#[derive(Clone, Copy, Debug)]
pub struct Density {
    pub rows_per_block: f64,
    /// The size of the values in a row, as the scan reads them.
    pub bytes_per_row: f64,
}

/// The boundaries of chunks, in blocks numbered over the concatenation of all relations. Chunk i is
/// `bounds[i]..bounds[i + 1]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunks {
    bounds: Vec<u64>,
}

impl Chunks {
    /// Divides `blocks` into chunks. `processes` is the planned number, whether or not all of them start.
    pub fn new(
        blocks: u64,
        density: Density,
        row_group_rows: u64,
        row_group_bytes: u64,
        processes: usize,
    ) -> Chunks {
        let per_block = density.rows_per_block.max(1.0);
        let by_rows = row_group_rows as f64 / per_block;
        let by_bytes = row_group_bytes as f64 / (per_block * density.bytes_per_row.max(1.0));
        let full = ((by_rows.min(by_bytes) * FILL) as u64).max(1);
        let mut bounds = vec![0];
        let mut at = 0;
        while at < blocks {
            let share = ((blocks - at) / (2 * processes as u64)).max(MIN_BLOCKS);
            at = (at + share.min(full)).min(blocks);
            bounds.push(at);
        }
        Chunks { bounds }
    }

    pub fn len(&self) -> usize {
        self.bounds.len() - 1
    }

    pub fn range(&self, chunk: usize) -> std::ops::Range<u64> {
        self.bounds[chunk]..self.bounds[chunk + 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINEORDER: Density = Density { rows_per_block: 52.0, bytes_per_row: 110.0 };

    #[test]
    fn chunks_cover_every_block_once() {
        for blocks in [0, 1, 1023, 1024, 1025, 114_000, 1_200_000] {
            let chunks = Chunks::new(blocks, LINEORDER, 1_000_000, 128 << 20, 2);
            let covered: u64 = (0..chunks.len()).map(|chunk| chunks.range(chunk).count() as u64).sum();
            assert_eq!(covered, blocks);
            assert!((0..chunks.len()).all(|chunk| !chunks.range(chunk).is_empty()));
        }
    }

    #[test]
    fn a_chunk_stays_below_a_row_group_and_the_last_are_small() {
        let chunks = Chunks::new(1_200_000, LINEORDER, 1_000_000, 128 << 20, 2);
        let rows = |chunk| chunks.range(chunk).count() as f64 * LINEORDER.rows_per_block;
        assert!((0..chunks.len()).all(|chunk| rows(chunk) <= 1_000_000.0));
        assert!(chunks.range(chunks.len() - 1).count() as u64 <= MIN_BLOCKS);
    }

    #[test]
    fn wide_rows_are_bounded_by_bytes() {
        let toasted = Density { rows_per_block: 4.0, bytes_per_row: 1e6 };
        let chunks = Chunks::new(10_000, toasted, 1_000_000, 128 << 20, 1);
        assert!(chunks.range(0).count() <= 32);
    }
}
