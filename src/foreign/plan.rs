//! Planning: the size of a relation, and the plan of a path.

use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::pg_sys::{self, Oid};
use pgrx::{PgMemoryContexts, pg_guard};

use super::access::check_may_read;
use super::estimate::{Estimate, role};
use super::pushdown::decides;
use super::task::Task;
use crate::pg::list::members;

/// # Safety
/// The planner calls it.
#[pg_guard]
pub unsafe extern "C-unwind" fn get_rel_size(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    table: Oid,
) {
    // SAFETY: the relation is the planner's; the estimate is dropped with its memory context.
    unsafe {
        check_may_read(table, role(root, rel)).unwrap_or_report();
        let estimate = Estimate::new(table).unwrap_or_report();
        (*rel).tuples = estimate.rows;
        (*rel).pages = estimate.pages();
        pg_sys::set_baserel_size_estimates(root, rel);
        (*rel).fdw_private = PgMemoryContexts::CurrentMemoryContext.leak_and_drop_on_delete(estimate).cast();
    }
}

/// Makes the plan of a path: the scan's own conditions are its expressions, the others are the executor's.
///
/// # Safety
/// The planner calls it with a path of ours.
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
    // SAFETY: the clauses are RestrictInfos of the planner's relation.
    unsafe {
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
            Task { shown, hidden }.to_list(),
            std::ptr::null_mut(),
            pg_sys::copyObjectImpl(decided.cast()).cast(),
            outer,
        )
    }
}

/// Returns the attributes that the relation's target and some clauses refer to; all of them for a whole row.
///
/// # Safety
/// The relation is the planner's, and the clauses are of it.
unsafe fn referenced(rel: *mut pg_sys::RelOptInfo, clauses: *mut pg_sys::List) -> Vec<i16> {
    // SAFETY: the target and the clauses are lists of expressions.
    unsafe {
        let mut found = std::ptr::null_mut();
        pg_sys::pull_varattnos((*(*rel).reltarget).exprs.cast(), (*rel).relid, &mut found);
        pg_sys::pull_varattnos(clauses.cast(), (*rel).relid, &mut found);
        let offset = -pg_sys::FirstLowInvalidHeapAttributeNumber;
        let has = |number: i16| pg_sys::bms_is_member(i32::from(number) + offset, found);
        (1..=(*rel).max_attr).filter(|&number| has(0) || has(number)).collect()
    }
}
