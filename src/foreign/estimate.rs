//! What a foreign table's files say of themselves: rows, bytes, groups, and how many workers they are worth.

use pgrx::pg_sys::{self, Oid};

use super::files::{list, metadata, open};
use super::options;
use crate::pg::check_for_interrupts;
use crate::pg::error::Result;

/// What the files say of themselves, kept between the callbacks for one relation.
pub struct Estimate {
    pub table: Oid,
    pub rows: f64,
    bytes: f64,
    groups: usize,
    parallel_workers: Option<i32>,
}

impl Estimate {
    pub fn new(table: Oid) -> Result<Estimate> {
        let options = options::of_table(table)?;
        let parallel_workers = options.parallel_workers;
        let mut estimate = Estimate { table, rows: 0.0, bytes: 0.0, groups: 0, parallel_workers };
        for file in list(&options)? {
            check_for_interrupts();
            let meta = metadata(&open(&file.path)?)?;
            estimate.rows += meta.rows() as f64;
            estimate.bytes += meta.id.size as f64;
            estimate.groups += meta.groups();
        }
        Ok(estimate)
    }

    /// Of the files, in blocks of the server's size.
    pub fn pages(&self) -> u32 {
        (self.bytes / f64::from(pg_sys::BLCKSZ)).min(f64::from(u32::MAX - 1)) as u32
    }
}

#[cfg(not(feature = "pg15"))]
pub unsafe fn role(_root: *mut pg_sys::PlannerInfo, rel: *mut pg_sys::RelOptInfo) -> Oid {
    // SAFETY: the planner's relation.
    unsafe { (*rel).userid }
}

#[cfg(feature = "pg15")]
pub unsafe fn role(root: *mut pg_sys::PlannerInfo, rel: *mut pg_sys::RelOptInfo) -> Oid {
    // SAFETY: the planner's relation, of the range table that it has unpacked.
    unsafe { (**(*root).simple_rte_array.add((*rel).relid as usize)).checkAsUser }
}

/// As many as a heap of the rows that are read would have, but none without a group of its own.
pub unsafe fn workers(rel: *mut pg_sys::RelOptInfo, estimate: &Estimate) -> i32 {
    const ROW_OVERHEAD: f64 = 28.0;
    // SAFETY: the planner's relation.
    unsafe {
        if !(*rel).consider_parallel {
            return 0;
        }
        let limit = pg_sys::max_parallel_workers_per_gather;
        let wanted = match estimate.parallel_workers {
            Some(workers) => workers.min(limit),
            None => {
                let width = f64::from((*(*rel).reltarget).width) + ROW_OVERHEAD;
                let pages = estimate.rows * width / f64::from(pg_sys::BLCKSZ);
                pg_sys::compute_parallel_worker(rel, pages, -1.0, limit)
            }
        };
        wanted.min(i32::try_from(estimate.groups.saturating_sub(1)).unwrap_or(i32::MAX))
    }
}

/// How many processes work, the leader in part (get_parallel_divisor in costsize.c).
pub unsafe fn divisor(workers: i32) -> f64 {
    let workers = f64::from(workers);
    // SAFETY: reads a process-wide setting.
    let leader = match unsafe { pg_sys::parallel_leader_participation } {
        true => (1.0 - 0.3 * workers).max(0.0),
        false => 0.0,
    };
    workers + leader
}
