//! Takes the rows that a process reads, until they are all or one cannot be computed.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use super::odd::{Failure, OddRows};
use crate::pg::error::{Result, internal};
use crate::query::{self, Executor, Unfit};
use crate::scan::{Encoded, RowValues, Rows, Sink};

/// What stops a query that a device was to compute: it is computed again without one.
pub const DEVICE_FAILED: u64 = 2;

/// Takes the rows of a process.
pub struct QuerySink<'w> {
    pub executor: Executor,
    odd: OddRows,
    pub unfit: Option<Unfit>,
    /// No more rows are needed once one was counted, by the only aggregate.
    pub is_first_enough: bool,
    /// Not 0 if a process cannot compute the query, or has counted the row that is enough, or a device has failed.
    stop: &'w AtomicU64,
    /// Rows that a device has added to its groups.
    pub on_device: u64,
}

impl<'w> QuerySink<'w> {
    pub fn new(executor: Executor, odd: OddRows, stop: &'w AtomicU64) -> QuerySink<'w> {
        QuerySink { executor, odd, unfit: None, is_first_enough: false, stop, on_device: 0 }
    }

    /// Adds rows, unless the query cannot be computed here.
    pub fn add(&mut self, rows: &query::Rows, range: Range<usize>) -> Result<()> {
        if self.unfit.is_some() {
            return Ok(());
        }
        match self.executor.add(rows, range, &mut self.odd) {
            Ok(()) => {
                if self.is_first_enough && self.executor.has_counted() {
                    self.stop.store(1, Ordering::Relaxed);
                }
                Ok(())
            }
            Err(Failure::Raised(error)) => Err(error),
            Err(Failure::Unfit(unfit)) => {
                self.give_up(unfit);
                Ok(())
            }
        }
    }

    /// Leaves the query to PostgreSQL's plan.
    pub fn give_up(&mut self, unfit: Unfit) {
        self.stop.store(1, Ordering::Relaxed);
        self.unfit = Some(unfit);
    }

    /// Returns whether no more rows are taken: a process cannot compute the query, or one row is enough.
    pub fn is_stopped(&self) -> bool {
        self.unfit.is_some() || self.stop.load(Ordering::Relaxed) != 0
    }
}

impl Sink for QuerySink<'_> {
    fn rows(&mut self, rows: Rows) -> Result<()> {
        let RowValues::Cells { cells, arena, .. } = rows.values else {
            return Err(internal("an aggregation got rows that are decoded"));
        };
        self.add(&query::Rows::heap(cells, arena), rows.range)
    }

    fn stream(&mut self, _bytes: &[u8], _rows: usize) -> Result<()> {
        Err(internal("an aggregation got a stream"))
    }

    fn group(&mut self, _group: Encoded) -> Result<bool> {
        Ok(false)
    }

    fn aggregated(&mut self, rows: u64) {
        self.executor.counted += rows;
        self.on_device += rows;
    }

    fn lost(&mut self) {
        self.stop.store(DEVICE_FAILED, Ordering::Relaxed);
        self.unfit = Some(Unfit("a GPU that failed"));
    }

    fn stopped(&self) -> bool {
        self.is_stopped()
    }
}
