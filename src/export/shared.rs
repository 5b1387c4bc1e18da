//! The atomic words that the leader and the workers share: in the parallel context's segment, or in the
//! leader's memory when it works alone.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::pg::parallel::RESERVED_WORDS;
use crate::types::{Shape, Shapes};

const NEXT_CHUNK: usize = RESERVED_WORDS;
const STOP: usize = RESERVED_WORDS + 1;
const ROWS: usize = RESERVED_WORDS + 2;
const BLOCKS: usize = RESERVED_WORDS + 3;
const FIRST_SHAPE: usize = RESERVED_WORDS + 4;

/// A view of the words. The shapes are followed by two words for each file: its end, and its number of row
/// groups or record batches.
#[derive(Clone, Copy)]
pub struct Shared<'a> {
    words: &'a [AtomicU64],
    shapes: usize,
}

impl<'a> Shared<'a> {
    pub fn words(shapes: usize, files: usize) -> usize {
        FIRST_SHAPE + shapes + 2 * files
    }

    pub fn new(words: &'a [AtomicU64], shapes: usize) -> Shared<'a> {
        Shared { words, shapes }
    }

    /// Claims the next chunk; the number is past the last one when all are claimed.
    pub fn claim(&self) -> usize {
        self.words[NEXT_CHUNK].fetch_add(1, Ordering::Relaxed) as usize
    }

    /// Asks every process to end the pass, whose result will not be used.
    pub fn stop(&self) {
        self.words[STOP].store(1, Ordering::Release);
    }

    pub fn stopped(&self) -> bool {
        self.words[STOP].load(Ordering::Acquire) != 0
    }

    pub fn add_progress(&self, rows: u64, blocks: u64) {
        self.words[ROWS].fetch_add(rows, Ordering::Relaxed);
        self.words[BLOCKS].fetch_add(blocks, Ordering::Relaxed);
    }

    /// Returns the rows and blocks that all processes have read so far.
    pub fn progress(&self) -> (u64, u64) {
        (self.words[ROWS].load(Ordering::Relaxed), self.words[BLOCKS].load(Ordering::Relaxed))
    }

    /// Widens a shape that the data are known to need.
    pub fn widen(&self, slot: usize, needs: Shape) {
        let merge = |bits| Some(Shape::unpack(bits).merge(needs).pack());
        // The closure never declines, so this cannot fail.
        let _ = self.words[FIRST_SHAPE + slot].fetch_update(Ordering::AcqRel, Ordering::Acquire, merge);
    }

    /// Returns the shapes that the processes have found the data to need.
    pub fn needs(&self) -> Shapes {
        let mut shapes = Shapes::new(self.shapes);
        for slot in 0..self.shapes {
            shapes.set(slot, Shape::unpack(self.words[FIRST_SHAPE + slot].load(Ordering::Acquire)));
        }
        shapes
    }

    /// Reserves `bytes` at the end of a file for the caller alone; returns their offset.
    pub fn reserve(&self, file: usize, bytes: u64) -> u64 {
        self.of_file(file)[0].fetch_add(bytes, Ordering::Relaxed)
    }

    /// Counts a row group or record batch of a file; returns how many it had before.
    pub fn add_group(&self, file: usize) -> u64 {
        self.of_file(file)[1].fetch_add(1, Ordering::Relaxed)
    }

    fn of_file(&self, file: usize) -> &[AtomicU64] {
        &self.words[FIRST_SHAPE + self.shapes + 2 * file..]
    }
}
