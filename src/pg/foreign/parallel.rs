//! A parallel scan: the leader's list of files in shared memory, and a counter from which every process
//! claims the next row group or record batch.

use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use pgrx::pg_guard;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReportable;
use serde::{Deserialize, Serialize};

use super::callbacks;
use super::scan::{Scan, Unit};
use crate::fdw::{FileId, Keys};
use crate::pg::error::internal;

/// What a process claims from, and where it counts: its own, or in shared memory.
pub struct Claims {
    own: Shared,
    /// Bytes read, by file.
    own_read: Vec<AtomicU64>,
    shared: *const Shared,
}

/// In shared memory, before the bytes read of each file and the list of files. The leader writes all of it before
/// a worker starts; after that only the atomics change.
#[derive(Default)]
#[repr(C)]
pub struct Shared {
    next: AtomicUsize,
    loaded: AtomicU64,
    skipped: AtomicU64,
    files: usize,
    list_bytes: usize,
}

/// Groups that were read, groups that were left out.
pub struct Counts {
    pub loaded: u64,
    pub skipped: u64,
}

/// A file as the list has it.
#[derive(Serialize, Deserialize)]
struct Listed {
    id: FileId,
    keys: Keys,
    groups: usize,
}

impl Claims {
    pub fn own() -> Claims {
        Claims { own: Shared::default(), own_read: Vec::new(), shared: std::ptr::null() }
    }

    /// Before anything is read of so many files.
    pub fn prepare(&mut self, files: usize) {
        self.own_read = (0..files).map(|_| AtomicU64::default()).collect();
    }

    fn counters(&self) -> &Shared {
        // SAFETY: shared memory outlives its use: `shutdown` lets go of it.
        unsafe { self.shared.as_ref() }.unwrap_or(&self.own)
    }

    fn all_read(&self) -> &[AtomicU64] {
        match self.shared.is_null() {
            true => &self.own_read,
            // SAFETY: as above.
            false => unsafe { Shared::read(self.shared) },
        }
    }

    /// The number of a group that nobody else gets.
    pub fn next(&self) -> usize {
        self.counters().next.fetch_add(1, Ordering::Relaxed)
    }

    pub fn count(&self, loaded: u64, skipped: u64) {
        self.counters().add(&Counts { loaded, skipped });
    }

    pub fn counts(&self) -> Counts {
        self.counters().counts()
    }

    /// Counts bytes that were read of a file.
    pub fn count_read(&self, file: usize, bytes: u64) {
        if let Some(read) = self.all_read().get(file) {
            read.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// The bytes that were read of a file.
    pub fn read(&self, file: usize) -> u64 {
        self.all_read().get(file).map_or(0, |read| read.load(Ordering::Relaxed))
    }

    /// Lets go of shared memory, and keeps its counts. There is nothing left to claim then.
    fn leave(&mut self) {
        // SAFETY: shared memory is still there.
        if let Some(shared) = unsafe { self.shared.as_ref() } {
            self.own = Shared { next: AtomicUsize::new(usize::MAX >> 1), ..Shared::default() };
            self.own.add(&shared.counts());
            // SAFETY: as above.
            let read = unsafe { Shared::read(self.shared) }.iter();
            self.own_read = read.map(|read| AtomicU64::new(read.load(Ordering::Relaxed))).collect();
            self.shared = std::ptr::null();
        }
    }

    /// Begins again; the shared counter is the leader's to reset, while no worker runs.
    pub fn restart(&self) {
        self.own.next.store(0, Ordering::Relaxed);
    }
}

impl Shared {
    fn bytes(files: usize, list_bytes: usize) -> usize {
        size_of::<Shared>() + files * size_of::<AtomicU64>() + list_bytes
    }

    /// Bytes read, by file.
    ///
    /// # Safety
    /// In shared memory, as the leader has written it.
    unsafe fn read<'a>(shared: *const Shared) -> &'a [AtomicU64] {
        // SAFETY: as the caller says: there are as many behind it, aligned as it is.
        unsafe { std::slice::from_raw_parts(shared.add(1).cast(), (*shared).files) }
    }

    fn add(&self, counts: &Counts) {
        self.loaded.fetch_add(counts.loaded, Ordering::Relaxed);
        self.skipped.fetch_add(counts.skipped, Ordering::Relaxed);
    }

    fn counts(&self) -> Counts {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts { loaded: load(&self.loaded), skipped: load(&self.skipped) }
    }
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
    Shared::bytes(scan.claims.own_read.len(), list.len())
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
        let shared = coordinate.cast::<Shared>();
        let files = scan.claims.own_read.len();
        shared.write(Shared { files, list_bytes: list.len(), ..Shared::default() });
        let read = shared.add(1).cast::<AtomicU64>();
        (0..files).for_each(|file| read.add(file).write(AtomicU64::default()));
        // What the list left out is counted already.
        (*shared).add(&scan.claims.own.counts());
        read.add(files).cast::<u8>().copy_from_nonoverlapping(list.as_ptr(), list.len());
        scan.claims.shared = shared;
    }
}

#[pg_guard]
pub unsafe extern "C-unwind" fn reinitialize(
    _node: *mut pg_sys::ForeignScanState,
    _context: *mut pg_sys::ParallelContext,
    coordinate: *mut c_void,
) {
    // SAFETY: initialised above; no worker runs.
    unsafe { (*coordinate.cast::<Shared>()).next.store(0, Ordering::Relaxed) }
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
        let list = shared.add(1).cast::<AtomicU64>().add((*shared).files).cast::<u8>();
        let list = std::slice::from_raw_parts(list, (*shared).list_bytes);
        let list: Vec<Listed> =
            serde_json::from_slice(list).map_err(|cause| internal(cause.to_string())).unwrap_or_report();
        let mut first = 0;
        let units = list.into_iter().map(|Listed { id, keys, groups }| {
            first += groups;
            Unit { id: Arc::new(id), keys, groups, first: first - groups }
        });
        let scan = callbacks::of(node);
        scan.units = Some(units.collect());
        scan.claims.shared = shared;
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
