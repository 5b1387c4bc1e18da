//! The callbacks of the foreign data wrapper.

use pgrx::pg_sys::{self, Datum};

use super::{analyze, callbacks, explain, import, parallel, paths, plan};

/// Returns the callbacks, in a node that PostgreSQL keeps.
pub fn routine() -> Datum {
    // SAFETY: the node is new, and of the type that its tag says.
    unsafe {
        let routine = pg_sys::palloc0(size_of::<pg_sys::FdwRoutine>()).cast::<pg_sys::FdwRoutine>();
        (*routine).type_ = pg_sys::NodeTag::T_FdwRoutine;
        (*routine).GetForeignRelSize = Some(plan::get_rel_size);
        (*routine).GetForeignPaths = Some(paths::get_paths);
        (*routine).GetForeignPlan = Some(plan::get_plan);
        (*routine).BeginForeignScan = Some(callbacks::begin);
        (*routine).IterateForeignScan = Some(callbacks::iterate);
        (*routine).ReScanForeignScan = Some(callbacks::rescan);
        (*routine).EndForeignScan = Some(callbacks::end);
        (*routine).ExplainForeignScan = Some(explain::explain);
        (*routine).AnalyzeForeignTable = Some(analyze::analyze);
        (*routine).ImportForeignSchema = Some(import::import);
        (*routine).IsForeignScanParallelSafe = Some(parallel::is_safe);
        (*routine).EstimateDSMForeignScan = Some(parallel::estimate);
        (*routine).InitializeDSMForeignScan = Some(parallel::initialize);
        (*routine).ReInitializeDSMForeignScan = Some(parallel::reinitialize);
        (*routine).InitializeWorkerForeignScan = Some(parallel::initialize_worker);
        (*routine).ShutdownForeignScan = Some(parallel::shutdown);
        Datum::from(routine)
    }
}
