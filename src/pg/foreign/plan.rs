//! Planning: rows and cost from the files' metadata, a path and a parallel one.

use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::pg_sys::{self, Oid};
use pgrx::{PgMemoryContexts, pg_guard};

use super::access::check_may_read;
use super::condition::{Conditions, Subject};
use super::task::Task;
use super::{list, members, metadata, open, options, parameters, upper};
use crate::pg::error::Result;
use crate::pg::{check_for_interrupts, guc, pg_type};

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

#[pg_guard]
pub unsafe extern "C-unwind" fn get_rel_size(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    table: Oid,
) {
    // SAFETY: called by the planner with a relation of its own.
    unsafe {
        check_may_read(table, role(root, rel)).unwrap_or_report();
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
        let lateral = (*rel).lateral_relids;
        let path = self::path(root, rel, (*rel).rows, startup, startup + disk + cpu, lateral);
        pg_sys::add_path(rel, path.cast());
        parameters::add_paths(root, rel, estimate, disk + cpu).unwrap_or_report();
        let workers = workers(rel, estimate);
        if workers > 0 && lateral.is_null() {
            let divisor = divisor(workers);
            let rows = ((*rel).rows / divisor).max(1.0);
            let path = self::path(root, rel, rows, startup, startup + disk + cpu / divisor, lateral);
            (*path).path.parallel_aware = true;
            (*path).path.parallel_safe = true;
            (*path).path.parallel_workers = workers;
            pg_sys::add_partial_path(rel, path.cast());
        }
    }
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

/// A path of rows that needs values of `outer` relations, if there are any.
pub unsafe fn path(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    rows: f64,
    startup: f64,
    total: f64,
    outer: pg_sys::Relids,
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
            outer,
            std::ptr::null_mut(),
            #[cfg(any(feature = "pg17", feature = "pg18"))]
            std::ptr::null_mut(),
            std::ptr::null_mut(),
        )
    }
}

/// The plan of a path: the scan's own conditions are its expressions, the others the executor's.
#[pg_guard]
pub unsafe extern "C-unwind" fn get_plan(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    _table: Oid,
    path: *mut pg_sys::ForeignPath,
    targets: *mut pg_sys::List,
    clauses: *mut pg_sys::List,
    outer: *mut pg_sys::Plan,
) -> *mut pg_sys::ForeignScan {
    // SAFETY: called by the planner with a relation of its own, and a path of ours.
    unsafe {
        if (*rel).relid == 0 {
            return upper::plan(root, path, targets, outer);
        }
        let (mut decided, mut others) = (std::ptr::null_mut(), std::ptr::null_mut());
        for clause in members::<pg_sys::RestrictInfo>(clauses) {
            if (*clause).pseudoconstant {
                continue;
            }
            let list = if decides(rel, clause) { &mut decided } else { &mut others };
            *list = pg_sys::lappend(*list, (*clause).clause.cast());
        }
        let shown = referenced(rel, others);
        let hidden = referenced(rel, decided).into_iter().filter(|number| !shown.contains(number)).collect();
        pg_sys::make_foreignscan(
            targets,
            others,
            (*rel).relid,
            decided,
            Task::Rows { shown, hidden }.to_list(),
            std::ptr::null_mut(),
            pg_sys::copyObjectImpl(decided.cast()).cast(),
            outer,
        )
    }
}

/// Whether the scan can decide a condition by itself, and may: where a view hides rows, its conditions come
/// first.
pub unsafe fn decides(rel: *mut pg_sys::RelOptInfo, clause: *mut pg_sys::RestrictInfo) -> bool {
    // SAFETY: a condition of the planner's relation.
    unsafe {
        if !guc::arrow_fdw_pushdown() || !pg_sys::restriction_is_securely_promotable(clause, rel) {
            return false;
        }
        let list = pg_sys::lappend(std::ptr::null_mut(), (*clause).clause.cast());
        Conditions::new(list, std::ptr::null_mut(), &subject(rel, list)).is_some()
    }
}

/// The column of which a condition says that it equals a value from elsewhere.
pub unsafe fn equals(rel: *mut pg_sys::RelOptInfo, clause: *mut pg_sys::RestrictInfo) -> Option<i16> {
    // SAFETY: a condition of the planner's relation.
    unsafe {
        if (*clause).mergeopfamilies.is_null() && (*clause).hashjoinoperator == pg_sys::InvalidOid {
            return None;
        }
        let list = pg_sys::lappend(std::ptr::null_mut(), (*clause).clause.cast());
        let subject = subject(rel, list);
        let conditions = Conditions::new(std::ptr::null_mut(), list, &subject)?;
        conditions.columns().first().map(|&at| subject.columns[at].0)
    }
}

/// The relation's columns in some expressions, as plans have them.
unsafe fn subject(rel: *mut pg_sys::RelOptInfo, exprs: *mut pg_sys::List) -> Subject {
    // SAFETY: expressions of the planner's; what is pulled are Vars.
    unsafe {
        let vars = members::<pg_sys::Var>(pg_sys::pull_var_clause(exprs.cast(), ALL_VARS)).into_iter();
        let own = vars.filter(|&var| (*var).varno as u32 == (*rel).relid && (*var).varattno > 0);
        let column =
            |var: *mut pg_sys::Var| ((*var).varattno, pg_type::base_type((*var).vartype, (*var).vartypmod).0);
        Subject { relation: (*rel).relid, columns: own.map(column).collect(), parent: std::ptr::null_mut() }
    }
}

/// For pull_var_clause: into everything.
pub const ALL_VARS: i32 = (pg_sys::PVC_RECURSE_AGGREGATES
    | pg_sys::PVC_RECURSE_WINDOWFUNCS
    | pg_sys::PVC_RECURSE_PLACEHOLDERS) as i32;

/// The attributes that the relation's target, and some clauses, refer to; all of them for a whole row.
unsafe fn referenced(rel: *mut pg_sys::RelOptInfo, clauses: *mut pg_sys::List) -> Vec<i16> {
    // SAFETY: the planner's relation and clauses of it.
    unsafe {
        let mut found = std::ptr::null_mut();
        pg_sys::pull_varattnos((*(*rel).reltarget).exprs.cast(), (*rel).relid, &mut found);
        pg_sys::pull_varattnos(clauses.cast(), (*rel).relid, &mut found);
        let offset = -pg_sys::FirstLowInvalidHeapAttributeNumber;
        let has = |number: i16| pg_sys::bms_is_member(i32::from(number) + offset, found);
        (1..=(*rel).max_attr).filter(|&number| has(0) || has(number)).collect()
    }
}
