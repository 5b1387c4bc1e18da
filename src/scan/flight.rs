//! A slot on its way to a device and back.

use std::time::Instant;

use crate::slot::Tid;
use crate::slot::pool::Slot;

/// A slot under way.
pub struct Flight {
    pub slot: Slot,
    pub rows: usize,
    /// The rows after which batches end.
    pub cuts: Vec<usize>,
    /// copy_binary: the place of each row.
    pub tids: Vec<Tid>,
    /// copy_binary: the bytes of each counted column.
    pub sums: Vec<u64>,
    pub since: Instant,
}

impl Flight {
    pub fn new(slot: Slot, rows: usize) -> Flight {
        Flight { slot, rows, cuts: Vec::new(), tids: Vec::new(), sums: Vec::new(), since: Instant::now() }
    }
}

/// How a slot returned.
pub enum Completion {
    Done,
    /// This process has to decode its rows.
    Undone,
}
