//! Executes the plan of an aggregation on columns: the callbacks of its CustomScanState.
//!
//! The first row is asked for: leader and workers scan the table, and the groups are kept. If the query cannot be
//! computed here, PostgreSQL's own plan is started instead, on the same snapshot, before any row was returned.

use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::pg_sys::{self, NodeTag};
use pgrx::{PgMemoryContexts, pg_guard};

use super::explain;
use super::expressions::Expressions;
use super::node::{Node, Scan, State, of};
use super::run;
use super::shape::{NAME, Shape};
use super::shown_groups::ShownGroups;
use crate::foreign::FilesSeen;
use crate::pg::catalog::attributes_of;
use crate::pg::check_for_interrupts;
use crate::pg::context::context;
use crate::pg::error::{Result, internal};
use crate::pg::list::members;
use crate::pg::pg_type::base_type;
use crate::pg::tuple_slot::{clear, store_values};
use crate::query::Cursor;

struct ScanMethods(pg_sys::CustomScanMethods);

// SAFETY: the methods are never written.
unsafe impl Sync for ScanMethods {}

static SCAN_METHODS: ScanMethods =
    ScanMethods(pg_sys::CustomScanMethods { CustomName: NAME.as_ptr(), CreateCustomScanState: Some(create) });

struct ExecMethods(pg_sys::CustomExecMethods);

// SAFETY: the methods are never written.
unsafe impl Sync for ExecMethods {}

static EXEC_METHODS: ExecMethods = ExecMethods(pg_sys::CustomExecMethods {
    CustomName: NAME.as_ptr(),
    BeginCustomScan: Some(begin),
    ExecCustomScan: Some(execute),
    EndCustomScan: Some(end),
    ReScanCustomScan: Some(rescan),
    MarkPosCustomScan: None,
    RestrPosCustomScan: None,
    EstimateDSMCustomScan: None,
    InitializeDSMCustomScan: None,
    ReInitializeDSMCustomScan: None,
    InitializeWorkerCustomScan: None,
    ShutdownCustomScan: None,
    ExplainCustomScan: Some(explain::explain),
});

/// Registers the methods, by whose name a copied plan finds them. Called from `_PG_init`.
pub fn register() {
    // SAFETY: on the main thread, while the library is loaded; the methods are static.
    unsafe { pg_sys::RegisterCustomScanMethods(methods()) }
}

pub fn methods() -> *const pg_sys::CustomScanMethods {
    &raw const SCAN_METHODS.0
}

/// # Safety
/// The executor calls it with a plan of ours.
#[pg_guard]
unsafe extern "C-unwind" fn create(_plan: *mut pg_sys::CustomScan) -> *mut pg_sys::Node {
    // SAFETY: zeros are a state that the executor fills.
    unsafe {
        let node = pg_sys::palloc0(size_of::<Node>()).cast::<Node>();
        (*node).custom.ss.ps.type_ = NodeTag::T_CustomScanState;
        (*node).custom.methods = &raw const EXEC_METHODS.0;
        node.cast()
    }
}

/// # Safety
/// The executor calls it with a node of ours.
#[pg_guard]
unsafe extern "C-unwind" fn begin(
    node: *mut pg_sys::CustomScanState,
    estate: *mut pg_sys::EState,
    flags: std::ffi::c_int,
) {
    // SAFETY: the scan is dropped with the query's memory context.
    unsafe {
        let before = pg_sys::MemoryContextSwitchTo((*estate).es_query_cxt);
        let memory = context(c"pg_strata aggregation");
        let scan = Scan {
            state: State::Begun,
            flags,
            memory,
            shown: ShownGroups::new(),
            seen: FilesSeen::default(),
        };
        pg_sys::MemoryContextSwitchTo(before);
        let mut query = PgMemoryContexts::For((*estate).es_query_cxt);
        (*node.cast::<Node>()).scan = query.leak_and_drop_on_delete(scan);
    }
}

/// # Safety
/// The executor calls it between `begin` and `end`.
#[pg_guard]
unsafe extern "C-unwind" fn execute(node: *mut pg_sys::CustomScanState) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: the node is one of ours.
    unsafe {
        if matches!(of(node).state, State::Begun) {
            start(node).unwrap_or_report();
        }
        match of(node).state {
            State::Spare(_, spare) => from_spare(node, spare),
            _ => next_group(node).unwrap_or_report(),
        }
    }
}

/// Computes the groups, or starts PostgreSQL's plan.
///
/// # Safety
/// The node is one of ours, and the executor runs it.
unsafe fn start(node: *mut pg_sys::CustomScanState) -> Result<()> {
    // SAFETY: the node's plan is a CustomScan of ours; the plan below it is started once.
    unsafe {
        let ps = &(*node).ss.ps;
        let custom = ps.plan.cast::<pg_sys::CustomScan>();
        let shape = Shape::from_list((*custom).custom_private);
        let shape = shape.ok_or_else(|| internal("the plan of an aggregation has no shape"))?;
        // What PostgreSQL allocates for one run is freed with it: there may be many in a query.
        let before = pg_sys::MemoryContextSwitchTo(of(node).memory);
        let found = match Expressions::new(node).query(&shape)? {
            Ok(query) => {
                query.check_files(&mut of(node).seen)?;
                run::run(query.expecting((*ps.plan).plan_rows), (*ps.state).es_snapshot)?
            }
            Err(unfit) => Err(unfit),
        };
        pg_sys::MemoryContextSwitchTo(before);
        pg_sys::MemoryContextReset(of(node).memory);
        let attributes = attributes_of((*(*node).ss.ss_ScanTupleSlot).tts_tupleDescriptor);
        of(node).shown.restart(attributes.iter().map(|of| base_type(of.type_oid, -1).0).collect());
        of(node).state = match found {
            Ok(ran) => State::Groups(ran.into(), Cursor::default()),
            Err(unfit) => State::Spare(unfit.0, start_spare(node)),
        };
    }
    Ok(())
}

/// # Safety
/// The node is one of ours, and the executor runs it.
unsafe fn start_spare(node: *mut pg_sys::CustomScanState) -> *mut pg_sys::PlanState {
    // SAFETY: the plan has one child; its state lives as long as the query.
    unsafe {
        if let Some(&started) = members::<pg_sys::PlanState>((*node).custom_ps).first() {
            return started;
        }
        let (plan, estate) = ((*node).ss.ps.plan.cast::<pg_sys::CustomScan>(), (*node).ss.ps.state);
        let before = pg_sys::MemoryContextSwitchTo((*estate).es_query_cxt);
        let child = members::<pg_sys::Plan>((*plan).custom_plans)[0];
        let spare = pg_sys::ExecInitNode(child, estate, of(node).flags);
        (*node).custom_ps = pg_sys::lappend(std::ptr::null_mut(), spare.cast());
        pg_sys::MemoryContextSwitchTo(before);
        spare
    }
}

/// Returns a row of PostgreSQL's plan in this node's own slot, whose type the nodes above expect.
///
/// # Safety
/// The child is started.
unsafe fn from_spare(
    node: *mut pg_sys::CustomScanState,
    spare: *mut pg_sys::PlanState,
) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: both slots have the columns of the plan's target; without a projection the scan's slot is the result's.
    unsafe {
        let own = match (*node).ss.ps.ps_ProjInfo.is_null() {
            true => (*node).ss.ss_ScanTupleSlot,
            false => (*node).ss.ps.ps_ResultTupleSlot,
        };
        pg_sys::ExecClearTuple(own);
        let row = pg_sys::ExecProcNode(spare);
        if row.is_null() || (*row).tts_flags & pg_sys::TTS_FLAG_EMPTY as u16 != 0 {
            return own;
        }
        pg_sys::slot_getallattrs(row);
        let columns = (*(*row).tts_tupleDescriptor).natts as usize;
        (*own).tts_values.copy_from_nonoverlapping((*row).tts_values, columns);
        (*own).tts_isnull.copy_from_nonoverlapping((*row).tts_isnull, columns);
        pg_sys::ExecStoreVirtualTuple(own)
    }
}

/// Returns the next group that HAVING lets through, or an empty slot.
///
/// # Safety
/// The node has its groups.
unsafe fn next_group(node: *mut pg_sys::CustomScanState) -> Result<*mut pg_sys::TupleTableSlot> {
    // SAFETY: the node's slots and expressions are those that the executor made for its plan.
    unsafe {
        let scan = of(node);
        let State::Groups(ran, cursor) = &mut scan.state else {
            return Err(internal("an aggregation has no groups"));
        };
        let ps = &(*node).ss.ps;
        let (slot, context) = ((*node).ss.ss_ScanTupleSlot, ps.ps_ExprContext);
        loop {
            check_for_interrupts();
            reset((*context).ecxt_per_tuple_memory);
            clear(slot);
            let Some((values, nulls)) = scan.shown.next(&ran.executor, cursor)? else {
                return Ok(match ps.ps_ProjInfo.is_null() {
                    true => slot,
                    false => pg_sys::ExecClearTuple(ps.ps_ResultTupleSlot),
                });
            };
            store_values(slot, values, nulls);
            (*context).ecxt_scantuple = slot;
            if ps.qual.is_null() || pg_sys::ExecQual(ps.qual, context) {
                return Ok(match ps.ps_ProjInfo.is_null() {
                    true => slot,
                    false => pg_sys::ExecProject(ps.ps_ProjInfo),
                });
            }
            if !ps.instrument.is_null() {
                (*ps.instrument).nfiltered1 += 1.0;
            }
        }
    }
}

/// Resets a context, unless nothing was allocated in it: a call for each group is felt.
///
/// # Safety
/// Nothing in the context is used any more.
unsafe fn reset(context: pg_sys::MemoryContext) {
    // SAFETY: the caller passes a context.
    unsafe {
        if !(*context).isReset || !(*context).firstchild.is_null() {
            pg_sys::MemoryContextReset(context);
        }
    }
}

/// # Safety
/// The executor calls it between `begin` and `end`.
#[pg_guard]
unsafe extern "C-unwind" fn rescan(node: *mut pg_sys::CustomScanState) {
    // SAFETY: the node is one of ours; the executor propagates changed parameters to children of its own only.
    unsafe {
        let changed = (*node).ss.ps.chgParam;
        let spare = members::<pg_sys::PlanState>((*node).custom_ps).first().copied();
        if let Some(spare) = spare {
            if !changed.is_null() {
                pg_sys::UpdateChangedParamSet(spare, changed);
            }
            pg_sys::ExecReScan(spare);
        }
        let scan = of(node);
        match &mut scan.state {
            // The same groups again.
            State::Groups(_, cursor) if changed.is_null() => {
                *cursor = Cursor::default();
                scan.shown.rewind();
            }
            State::Spare(..) if changed.is_null() => {}
            state => *state = State::Begun,
        }
    }
}

/// # Safety
/// The executor calls it, also if `begin` failed.
#[pg_guard]
unsafe extern "C-unwind" fn end(node: *mut pg_sys::CustomScanState) {
    // SAFETY: the children were started by `start_spare`; the scan is dropped with the query's memory context.
    unsafe {
        for spare in members::<pg_sys::PlanState>((*node).custom_ps) {
            pg_sys::ExecEndNode(spare);
        }
        if !(*node.cast::<Node>()).scan.is_null() {
            of(node).state = State::Begun;
        }
    }
}
