//! A parallel scan: the leader's list of files in shared memory, and the counter of claims.

use std::ffi::c_void;
use std::sync::Arc;

use pgrx::pg_guard;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReportable;
use serde::{Deserialize, Serialize};

use super::callbacks;
use super::claims::{Shared, Unit};
use super::scan::Scan;
use crate::fdw::{FileId, Keys};
use crate::pg::error::internal;

/// A file as the list has it.
#[derive(Serialize, Deserialize)]
struct Listed {
    id: FileId,
    keys: Keys,
    groups: usize,
}

fn listed(scan: &mut Scan) -> Vec<u8> {
    let units = scan.list().unwrap_or_report();
    let entry =
        |unit: &Unit| Listed { id: FileId::clone(&unit.id), keys: unit.keys.clone(), groups: unit.groups };
    let list: Vec<Listed> = units.iter().map(entry).collect();
    serde_json::to_vec(&list).map_err(|cause| internal(cause.to_string())).unwrap_or_report()
}

#[pg_guard]
pub unsafe extern "C-unwind" fn is_safe(
    _root: *mut pg_sys::PlannerInfo,
    _rel: *mut pg_sys::RelOptInfo,
    _rte: *mut pg_sys::RangeTblEntry,
) -> bool {
    true
}

#[pg_guard]
pub unsafe extern "C-unwind" fn estimate(
    node: *mut pg_sys::ForeignScanState,
    _context: *mut pg_sys::ParallelContext,
) -> pg_sys::Size {
    // SAFETY: called by the leader's executor between `begin` and `end`.
    let scan = unsafe { callbacks::of(node) };
    let list = listed(scan);
    Shared::bytes(scan.claims.files(), list.len())
}

#[pg_guard]
pub unsafe extern "C-unwind" fn initialize(
    node: *mut pg_sys::ForeignScanState,
    _context: *mut pg_sys::ParallelContext,
    coordinate: *mut c_void,
) {
    // SAFETY: `coordinate` has as many bytes as `estimate` asked for; the list has not changed since.
    unsafe {
        let scan = callbacks::of(node);
        let list = listed(scan);
        scan.claims.share(coordinate.cast(), &list);
    }
}

#[pg_guard]
pub unsafe extern "C-unwind" fn reinitialize(
    _node: *mut pg_sys::ForeignScanState,
    _context: *mut pg_sys::ParallelContext,
    coordinate: *mut c_void,
) {
    // SAFETY: initialised above; no worker runs.
    unsafe { (*coordinate.cast::<Shared>()).restart() }
}

#[pg_guard]
pub unsafe extern "C-unwind" fn initialize_worker(
    node: *mut pg_sys::ForeignScanState,
    _toc: *mut pg_sys::shm_toc,
    coordinate: *mut c_void,
) {
    // SAFETY: the leader initialised `coordinate`; it stays mapped until `shutdown`.
    unsafe {
        let shared = coordinate.cast::<Shared>();
        let list: Vec<Listed> = serde_json::from_slice(Shared::list(shared))
            .map_err(|cause| internal(cause.to_string()))
            .unwrap_or_report();
        let mut first = 0;
        let units = list.into_iter().map(|Listed { id, keys, groups }| {
            first += groups;
            Unit { id: Arc::new(id), keys, groups, first: first - groups }
        });
        let scan = callbacks::of(node);
        scan.units = Some(units.collect());
        scan.claims.join(shared);
    }
}

#[pg_guard]
pub unsafe extern "C-unwind" fn shutdown(node: *mut pg_sys::ForeignScanState) {
    // SAFETY: called before shared memory goes away.
    unsafe {
        if !(*node).fdw_state.is_null() {
            callbacks::of(node).claims.leave();
        }
    }
}
