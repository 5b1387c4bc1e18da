//! The unit that travels from the scan to decode: some rows, where their values lie, and the bytes.
//!
//! Pure. A batch belongs to one process and is reused; its size is bounded by `TARGET_BYTES` and one
//! value more.

use crate::types::Cell;
use crate::wire::tuple::TupleRef;

mod control;
pub mod encode;
pub mod fill;
mod futex;
mod handle;
pub mod input;
pub mod layout;
mod mapped;
mod memory;
pub mod monitoring;
pub mod output;
pub mod pool;
pub mod query;
pub mod rates;
pub mod service_file;
pub mod watch;

/// A batch is decoded once it holds this many bytes, so that what is read twice is still in the cache.
pub const TARGET_BYTES: usize = 256 << 10;

/// A row's place in its table, for messages: block and offset number as in `ctid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tid {
    pub block: u32,
    pub offset: u16,
}

#[derive(Default)]
pub struct Batch {
    /// Heap pages or COPY BINARY rows, followed by values that the server had to resolve.
    pub arena: Vec<u8>,
    /// Heap only: the visible tuples, in `ctid` order.
    pub tuples: Vec<TupleRef>,
    pub tids: Vec<Tid>,
    /// One vector a column, one cell a row.
    pub cells: Vec<Vec<Cell>>,
}

impl Batch {
    pub fn new(columns: usize) -> Batch {
        Batch { cells: vec![Vec::new(); columns], ..Batch::default() }
    }

    pub fn rows(&self) -> usize {
        self.tids.len()
    }

    pub fn clear(&mut self) {
        self.arena.clear();
        self.tuples.clear();
        self.tids.clear();
        self.cells.iter_mut().for_each(Vec::clear);
    }
}
