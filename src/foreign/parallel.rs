//! Parallel scans: the leader puts the list of files and the counters of claims into shared memory.

use std::ffi::c_void;
use std::sync::Arc;

use pgrx::pg_guard;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReportable;
use serde::{Deserialize, Serialize};

use super::callbacks;
use super::claims::{ScanFile, Shared};
use super::explain::file_text;
use super::scan::Scan;
use crate::fdw::{FileId, Keys};
use crate::pg::error::{Result, internal};

/// A file in the list that the leader makes.
#[derive(Clone, Serialize, Deserialize)]
pub struct Listed {
    id: FileId,
    keys: Keys,
    groups: usize,
}

impl Listed {
    pub fn groups(&self) -> usize {
        self.groups
    }

    pub fn id(&self) -> &FileId {
        &self.id
    }

    /// Returns the file's line in EXPLAIN, of which so many bytes were read.
    pub fn text(&self, read: u64) -> String {
        file_text(&self.id.path, read, self.id.size)
    }
}

/// Returns the files of a scan, for its workers.
pub fn list_of(scan: &mut Scan) -> Result<Vec<Listed>> {
    let entry = |unit: &ScanFile| Listed {
        id: FileId::clone(&unit.id),
        keys: unit.keys.clone(),
        groups: unit.groups,
    };
    Ok(scan.list()?.iter().map(entry).collect())
}

/// Makes the leader's files those of a worker's scan.
pub fn take_list(scan: &mut Scan, list: impl IntoIterator<Item = Listed>) {
    let mut first = 0;
    let units = list.into_iter().map(|Listed { id, keys, groups }| {
        first += groups;
        ScanFile { id: Arc::new(id), keys, groups, first: first - groups }
    });
    scan.units = Some(units.collect());
}

fn listed(scan: &mut Scan) -> Vec<u8> {
    let list = list_of(scan).unwrap_or_report();
    serde_json::to_vec(&list).map_err(|cause| internal(cause.to_string())).unwrap_or_report()
}

/// # Safety
/// The planner calls it; nothing is read.
#[pg_guard]
pub unsafe extern "C-unwind" fn is_safe(
    _root: *mut pg_sys::PlannerInfo,
    _rel: *mut pg_sys::RelOptInfo,
    _rte: *mut pg_sys::RangeTblEntry,
) -> bool {
    true
}

/// # Safety
/// The leader's executor calls it between `begin` and `end`.
#[pg_guard]
pub unsafe extern "C-unwind" fn estimate(
    node: *mut pg_sys::ForeignScanState,
    _context: *mut pg_sys::ParallelContext,
) -> pg_sys::Size {
    // SAFETY: the node has a scan.
    let scan = unsafe { callbacks::of(node) };
    let list = listed(scan);
    Shared::bytes(scan.claims.files(), list.len())
}

/// # Safety
/// The leader's executor calls it after `estimate`, before a worker starts.
#[pg_guard]
pub unsafe extern "C-unwind" fn initialize(
    node: *mut pg_sys::ForeignScanState,
    _context: *mut pg_sys::ParallelContext,
    coordinate: *mut c_void,
) {
    // SAFETY: `coordinate` has as many bytes as `estimate` returned, and the list has not changed since.
    unsafe {
        let scan = callbacks::of(node);
        let list = listed(scan);
        scan.claims.share(coordinate.cast(), &list);
    }
}

/// # Safety
/// The leader's executor calls it after `initialize`, while no worker runs.
#[pg_guard]
pub unsafe extern "C-unwind" fn reinitialize(
    _node: *mut pg_sys::ForeignScanState,
    _context: *mut pg_sys::ParallelContext,
    coordinate: *mut c_void,
) {
    // SAFETY: `initialize` has written it, and no worker runs.
    unsafe { (*coordinate.cast::<Shared>()).restart() }
}

/// # Safety
/// A worker's executor calls it after `begin`, with what the leader initialised.
#[pg_guard]
pub unsafe extern "C-unwind" fn initialize_worker(
    node: *mut pg_sys::ForeignScanState,
    _toc: *mut pg_sys::shm_toc,
    coordinate: *mut c_void,
) {
    // SAFETY: the leader has initialised `coordinate`, which stays mapped until `shutdown`.
    unsafe {
        let shared = coordinate.cast::<Shared>();
        let list: Vec<Listed> = serde_json::from_slice(Shared::list(shared))
            .map_err(|cause| internal(cause.to_string()))
            .unwrap_or_report();
        let scan = callbacks::of(node);
        take_list(scan, list);
        scan.claims.join(shared);
    }
}

/// # Safety
/// The executor calls it before shared memory is unmapped.
#[pg_guard]
pub unsafe extern "C-unwind" fn shutdown(node: *mut pg_sys::ForeignScanState) {
    // SAFETY: a state that is not NULL is a scan; shared memory is still mapped.
    unsafe {
        if !(*node).fdw_state.is_null() {
            callbacks::of(node).claims.leave();
        }
    }
}
