//! The size of a foreign table by its files' metadata, and how many workers suit it.

use pgrx::pg_sys::{self, Oid};

use super::files::{list, metadata, open};
use super::options;
use crate::pg::check_for_interrupts;
use crate::pg::error::Result;

/// The sizes that the files' metadata tell, kept between the callbacks for one relation.
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

    /// Returns the size of the files in blocks of the server's.
    pub fn pages(&self) -> u32 {
        (self.bytes / f64::from(pg_sys::BLCKSZ)).min(f64::from(u32::MAX - 1)) as u32
    }
}

/// Returns whose privileges count for a relation: the query's user's, or the view's owner's.
///
/// # Safety
/// The relation is the planner's.
#[cfg(not(feature = "pg15"))]
pub unsafe fn role(_root: *mut pg_sys::PlannerInfo, rel: *mut pg_sys::RelOptInfo) -> Oid {
    // SAFETY: the relation exists while the query is planned.
    unsafe { (*rel).userid }
}

/// # Safety
/// The relation is the planner's.
#[cfg(feature = "pg15")]
pub unsafe fn role(root: *mut pg_sys::PlannerInfo, rel: *mut pg_sys::RelOptInfo) -> Oid {
    // SAFETY: the relation is one of the range table that the planner has unpacked.
    unsafe { (**(*root).simple_rte_array.add((*rel).relid as usize)).checkAsUser }
}

/// Returns how many workers to plan: as many as a heap with the rows would have, but fewer than groups.
///
/// # Safety
/// The relation is the planner's.
pub unsafe fn workers(rel: *mut pg_sys::RelOptInfo, estimate: &Estimate) -> i32 {
    const ROW_OVERHEAD: f64 = 28.0;
    // SAFETY: the relation exists while the query is planned.
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

/// Returns how many processes work, the leader in part (get_parallel_divisor in costsize.c).
pub fn divisor(workers: i32) -> f64 {
    let workers = f64::from(workers);
    // SAFETY: reads a process-wide setting.
    let leader = match unsafe { pg_sys::parallel_leader_participation } {
        true => (1.0 - 0.3 * workers).max(0.0),
        false => 0.0,
    };
    workers + leader
}
