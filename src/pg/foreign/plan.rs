//! Planning: rows and cost from the files' metadata, a path and a parallel one.

use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::pg_sys::{self, Oid};
use pgrx::{PgMemoryContexts, pg_guard};

use super::access::check_file_role;
use super::{members, metadata, options, report};
use crate::fdw::Source;
use crate::pg::check_for_interrupts;
use crate::pg::error::Result;

/// What the files say of themselves, kept between the callbacks for one relation.
pub struct Estimate {
    rows: f64,
    bytes: f64,
    groups: usize,
    parallel_workers: Option<i32>,
}

impl Estimate {
    pub fn new(table: Oid) -> Result<Estimate> {
        let options = options::of_table(table)?;
        let parallel_workers = options.parallel_workers;
        let mut estimate = Estimate { rows: 0.0, bytes: 0.0, groups: 0, parallel_workers };
        for file in options.files.list(options.pattern.as_ref()).map_err(report)? {
            check_for_interrupts();
            let meta = metadata(&Source::open(&file.path).map_err(report)?)?;
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
unsafe fn role(_root: *mut pg_sys::PlannerInfo, rel: *mut pg_sys::RelOptInfo) -> Oid {
    // SAFETY: the planner's relation.
    unsafe { (*rel).userid }
}

#[cfg(feature = "pg15")]
unsafe fn role(root: *mut pg_sys::PlannerInfo, rel: *mut pg_sys::RelOptInfo) -> Oid {
    // SAFETY: the planner's relation, of the range table that it has unpacked.
    unsafe { (**(*root).simple_rte_array.add((*rel).relid as usize)).checkAsUser }
}

#[pg_guard]
pub unsafe extern "C-unwind" fn get_rel_size(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    table: Oid,
) {
    // SAFETY: called by the planner with a relation of its own.
    unsafe {
        check_file_role(role(root, rel)).unwrap_or_report();
        let estimate = Estimate::new(table).unwrap_or_report();
        (*rel).tuples = estimate.rows;
        (*rel).pages = estimate.pages();
        pg_sys::set_baserel_size_estimates(root, rel);
        (*rel).fdw_private = PgMemoryContexts::CurrentMemoryContext.leak_and_drop_on_delete(estimate).cast();
    }
}

#[pg_guard]
pub unsafe extern "C-unwind" fn get_paths(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    _table: Oid,
) {
    // SAFETY: called by the planner after `get_rel_size`.
    unsafe {
        let estimate = &*(*rel).fdw_private.cast::<Estimate>();
        let cpu = estimate.rows * (pg_sys::cpu_tuple_cost + (*rel).baserestrictcost.per_tuple);
        let disk = f64::from((*rel).pages) * pg_sys::seq_page_cost;
        let startup = (*rel).baserestrictcost.startup;
        let path = path(root, rel, (*rel).rows, startup, startup + disk + cpu);
        pg_sys::add_path(rel, path.cast());
        let workers = workers(rel, estimate);
        if workers > 0 && (*rel).lateral_relids.is_null() {
            let divisor = divisor(workers);
            let rows = ((*rel).rows / divisor).max(1.0);
            let path = self::path(root, rel, rows, startup, startup + disk + cpu / divisor);
            (*path).path.parallel_aware = true;
            (*path).path.parallel_safe = true;
            (*path).path.parallel_workers = workers;
            pg_sys::add_partial_path(rel, path.cast());
        }
    }
}

/// As many as a heap of the rows that are read would have, but none without a group of its own.
unsafe fn workers(rel: *mut pg_sys::RelOptInfo, estimate: &Estimate) -> i32 {
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
unsafe fn divisor(workers: i32) -> f64 {
    let workers = f64::from(workers);
    // SAFETY: reads a process-wide setting.
    let leader = match unsafe { pg_sys::parallel_leader_participation } {
        true => (1.0 - 0.3 * workers).max(0.0),
        false => 0.0,
    };
    workers + leader
}

unsafe fn path(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    rows: f64,
    startup: f64,
    total: f64,
) -> *mut pg_sys::ForeignPath {
    // SAFETY: the planner's relation; no order, no outer path, nothing private.
    unsafe {
        pg_sys::create_foreignscan_path(
            root,
            rel,
            std::ptr::null_mut(),
            rows,
            #[cfg(feature = "pg18")]
            0,
            startup,
            total,
            std::ptr::null_mut(),
            (*rel).lateral_relids,
            std::ptr::null_mut(),
            #[cfg(any(feature = "pg17", feature = "pg18"))]
            std::ptr::null_mut(),
            std::ptr::null_mut(),
        )
    }
}

/// The plan's private list has the numbers of the attributes that are read.
#[pg_guard]
pub unsafe extern "C-unwind" fn get_plan(
    _root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    _table: Oid,
    _path: *mut pg_sys::ForeignPath,
    targets: *mut pg_sys::List,
    clauses: *mut pg_sys::List,
    outer: *mut pg_sys::Plan,
) -> *mut pg_sys::ForeignScan {
    // SAFETY: called by the planner with a relation of its own.
    unsafe {
        let clauses = pg_sys::extract_actual_clauses(clauses, false);
        let mut numbers = std::ptr::null_mut();
        for number in referenced(rel) {
            numbers = pg_sys::lappend_int(numbers, number.into());
        }
        pg_sys::make_foreignscan(
            targets,
            clauses,
            (*rel).relid,
            std::ptr::null_mut(),
            numbers,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            outer,
        )
    }
}

/// The attributes that the relation's target and conditions refer to; all of them for a whole row.
unsafe fn referenced(rel: *mut pg_sys::RelOptInfo) -> Vec<i16> {
    // SAFETY: the planner's relation; its conditions are RestrictInfos.
    unsafe {
        let mut found = std::ptr::null_mut();
        pg_sys::pull_varattnos((*(*rel).reltarget).exprs.cast(), (*rel).relid, &mut found);
        for condition in members::<pg_sys::RestrictInfo>((*rel).baserestrictinfo) {
            pg_sys::pull_varattnos((*condition).clause.cast(), (*rel).relid, &mut found);
        }
        let offset = -pg_sys::FirstLowInvalidHeapAttributeNumber;
        let has = |number: i16| pg_sys::bms_is_member(i32::from(number) + offset, found);
        (1..=(*rel).max_attr).filter(|&number| has(0) || has(number)).collect()
    }
}
