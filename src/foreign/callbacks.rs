//! The executor's callbacks: a scan begins, gives rows, begins again, ends.

use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::pg_sys::{self, Oid};
use pgrx::{PgMemoryContexts, pg_guard};

use super::access::check_may_read;
use super::scan::Scan;
use super::task::Task;
use crate::pg::error::{Result, internal};

/// Returns the scan of a node.
///
/// # Safety
/// The node is between `begin` and `end`.
pub unsafe fn of<'a>(node: *mut pg_sys::ForeignScanState) -> &'a mut Scan {
    // SAFETY: `begin` has made the scan, and the executor runs one callback at a time.
    unsafe { &mut *(*node).fdw_state.cast::<Scan>() }
}

/// Returns whether callbacks, which may be NULL, are ours.
///
/// # Safety
/// The pointer is NULL, or that of a foreign data wrapper's callbacks.
pub unsafe fn are_ours(routine: *const pg_sys::FdwRoutine) -> bool {
    let address = |of: unsafe extern "C-unwind" fn(*mut pg_sys::ForeignScanState, i32)| of as usize;
    // SAFETY: the caller passes callbacks or NULL.
    let found = unsafe { routine.as_ref() }.and_then(|routine| routine.BeginForeignScan);
    found.map(address) == Some(address(begin))
}

/// Returns whose privileges count for a scan of a relation: the query's user's, or the view's owner's.
///
/// # Safety
/// The node is a scan of a relation, in `begin`.
#[cfg(not(feature = "pg15"))]
unsafe fn role(node: *mut pg_sys::ForeignScanState) -> Oid {
    // SAFETY: the node's plan is a ForeignScan.
    unsafe { (*(*node).ss.ps.plan.cast::<pg_sys::ForeignScan>()).checkAsUser }
}

/// # Safety
/// The node is a scan of a relation, in `begin`.
#[cfg(feature = "pg15")]
unsafe fn role(node: *mut pg_sys::ForeignScanState) -> Oid {
    // SAFETY: the node's plan is a ForeignScan, of a relation of the range table.
    unsafe {
        let plan = (*node).ss.ps.plan.cast::<pg_sys::ForeignScan>();
        let table = pg_sys::exec_rt_fetch((*plan).scan.scanrelid, (*node).ss.ps.state);
        (*table).checkAsUser
    }
}

/// # Safety
/// The executor calls it with a node of one of our plans.
#[pg_guard]
pub unsafe extern "C-unwind" fn begin(node: *mut pg_sys::ForeignScanState, flags: i32) {
    let running = flags & pg_sys::EXEC_FLAG_EXPLAIN_ONLY as i32 == 0;
    // SAFETY: the node has a state; the scan is dropped with the query's memory context.
    unsafe {
        let query = (*(*node).ss.ps.state).es_query_cxt;
        let before = pg_sys::MemoryContextSwitchTo(query);
        let scan = start(node, running).unwrap_or_report();
        (*node).fdw_state = PgMemoryContexts::For(query).leak_and_drop_on_delete(scan).cast();
        pg_sys::MemoryContextSwitchTo(before);
    }
}

/// Returns the scan of a node.
///
/// # Safety
/// The node is one of our plans, in `begin`; the current context is the query's.
unsafe fn start(node: *mut pg_sys::ForeignScanState, running: bool) -> Result<Scan> {
    // SAFETY: the node's relation is open; the private list is a task's.
    unsafe {
        let plan = (*node).ss.ps.plan.cast::<pg_sys::ForeignScan>();
        let task = Task::from_list((*plan).fdw_private);
        let task = task.ok_or_else(|| internal("the plan of a foreign scan has no task"))?;
        let relation = (*node).ss.ss_currentRelation;
        check_may_read((*relation).rd_id, role(node))?;
        let mut scan = Scan::new((*relation).rd_id, &task.shown, &task.hidden, (*relation).rd_att)?;
        scan.take_conditions(node, (*plan).scan.scanrelid, running);
        Ok(scan)
    }
}

/// # Safety
/// The executor calls it between `begin` and `end`.
#[pg_guard]
pub unsafe extern "C-unwind" fn iterate(node: *mut pg_sys::ForeignScanState) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: the node has a scan, and a slot for its rows.
    unsafe {
        let slot = (*node).ss.ss_ScanTupleSlot;
        of(node).next_row(slot).unwrap_or_report();
        slot
    }
}

/// # Safety
/// The executor calls it between `begin` and `end`.
#[pg_guard]
pub unsafe extern "C-unwind" fn rescan(node: *mut pg_sys::ForeignScanState) {
    // SAFETY: the node has a scan.
    unsafe { of(node).restart() }
}

/// # Safety
/// The executor calls it, also if `begin` failed.
#[pg_guard]
pub unsafe extern "C-unwind" fn end(node: *mut pg_sys::ForeignScanState) {
    // SAFETY: a state that is not NULL is a scan. What it holds is dropped with the query's memory context.
    unsafe {
        if !(*node).fdw_state.is_null() {
            of(node).close();
        }
    }
}
