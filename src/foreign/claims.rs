//! Which group of rows a process reads next: a counter, its own or one that all processes of a parallel scan share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::fdw::{FileId, Keys};

/// A file of the scan, and the number of its first group among those of all files.
pub struct ScanFile {
    pub id: Arc<FileId>,
    pub keys: Keys,
    pub groups: usize,
    pub first: usize,
}

/// The counters that a process claims from: its own, or shared ones.
pub struct Claims {
    own: Shared,
    /// Bytes read, by file.
    own_read: Vec<AtomicU64>,
    shared: *const Shared,
}

/// The counters. In shared memory the bytes read of each file and the list of files follow them. The leader writes all
/// of it before a worker starts; after that only the atomics change.
#[derive(Default)]
#[repr(C)]
pub struct Shared {
    next: AtomicUsize,
    loaded: AtomicU64,
    skipped: AtomicU64,
    files: usize,
    list_bytes: usize,
}

/// How many groups were read, and how many were skipped.
pub struct Counts {
    pub loaded: u64,
    pub skipped: u64,
}

impl Claims {
    pub fn own() -> Claims {
        Claims { own: Shared::default(), own_read: Vec::new(), shared: std::ptr::null() }
    }

    /// Makes room for the counts of so many files, before any is read.
    pub fn prepare(&mut self, files: usize) {
        self.own_read = (0..files).map(|_| AtomicU64::default()).collect();
    }

    fn counters(&self) -> &Shared {
        // SAFETY: shared memory outlives its use: `leave` is called before it goes.
        unsafe { self.shared.as_ref() }.unwrap_or(&self.own)
    }

    fn all_read(&self) -> &[AtomicU64] {
        match self.shared.is_null() {
            true => &self.own_read,
            // SAFETY: shared memory is as `share` wrote it until `leave`.
            false => unsafe { Shared::read(self.shared) },
        }
    }

    /// Returns the number of a group that no other process gets.
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

    /// Returns the bytes that were read of a file.
    pub fn read(&self, file: usize) -> u64 {
        self.all_read().get(file).map_or(0, |read| read.load(Ordering::Relaxed))
    }

    /// Returns the number of files that reads are counted for.
    pub fn files(&self) -> usize {
        self.own_read.len()
    }

    /// Moves the leader's counters, and the list of files, to shared memory, and claims from there.
    ///
    /// # Safety
    /// `shared` has as many bytes as `Shared::bytes` says, nobody else uses them yet, and they stay until `leave`.
    pub unsafe fn share(&mut self, shared: *mut Shared, list: &[u8]) {
        let files = self.files();
        // SAFETY: the caller passes room for the counters, one more for each file, and the list.
        unsafe {
            Shared::write(shared, files);
            (*shared).list_bytes = list.len();
            // What the list left out is counted already.
            (*shared).add(&self.own.counts());
            let after = shared.add(1).cast::<AtomicU64>().add(files).cast::<u8>();
            after.copy_from_nonoverlapping(list.as_ptr(), list.len());
        }
        self.shared = shared;
    }

    /// Makes a worker claim from shared memory.
    ///
    /// # Safety
    /// The leader has written `shared`, which stays until `leave`.
    pub unsafe fn join(&mut self, shared: *const Shared) {
        self.shared = shared;
    }

    /// Copies the counts from shared memory and no longer uses it. Nothing is left to claim then.
    pub fn leave(&mut self) {
        // SAFETY: shared memory is there until this returns.
        if let Some(shared) = unsafe { self.shared.as_ref() } {
            self.own = Shared { next: AtomicUsize::new(usize::MAX >> 1), ..Shared::default() };
            self.own.add(&shared.counts());
            // SAFETY: the leader wrote it.
            let read = unsafe { Shared::read(self.shared) }.iter();
            self.own_read = read.map(|read| AtomicU64::new(read.load(Ordering::Relaxed))).collect();
            self.shared = std::ptr::null();
        }
    }

    /// Begins again. The leader resets the shared counter, while no worker runs.
    pub fn restart(&self) {
        self.own.restart();
    }
}

impl Shared {
    pub fn bytes(files: usize, list_bytes: usize) -> usize {
        size_of::<Shared>() + files * size_of::<AtomicU64>() + list_bytes
    }

    /// Writes counters of nothing yet, for so many files, without a list.
    ///
    /// # Safety
    /// `shared` has as many bytes as `bytes` says, and nobody else uses them yet.
    pub unsafe fn write(shared: *mut Shared, files: usize) {
        // SAFETY: the caller passes room for the counters, and one more for each file.
        unsafe {
            shared.write(Shared { files, ..Shared::default() });
            let read = shared.add(1).cast::<AtomicU64>();
            (0..files).for_each(|file| read.add(file).write(AtomicU64::default()));
        }
    }

    /// Returns the bytes read, by file.
    ///
    /// # Safety
    /// The leader has written `shared`, which outlives the result.
    pub unsafe fn read<'a>(shared: *const Shared) -> &'a [AtomicU64] {
        // SAFETY: so many counters follow, aligned as they are.
        unsafe { std::slice::from_raw_parts(shared.add(1).cast(), (*shared).files) }
    }

    /// Returns the list of files, as the leader wrote it.
    ///
    /// # Safety
    /// The leader has written `shared`, which outlives the result.
    pub unsafe fn list<'a>(shared: *const Shared) -> &'a [u8] {
        // SAFETY: the list follows the bytes read of each file.
        unsafe {
            let list = shared.add(1).cast::<AtomicU64>().add((*shared).files).cast::<u8>();
            std::slice::from_raw_parts(list, (*shared).list_bytes)
        }
    }

    /// Makes the first group the next one, while no worker runs.
    pub fn restart(&self) {
        self.next.store(0, Ordering::Relaxed);
    }

    fn add(&self, counts: &Counts) {
        self.loaded.fetch_add(counts.loaded, Ordering::Relaxed);
        self.skipped.fetch_add(counts.skipped, Ordering::Relaxed);
    }

    pub fn counts(&self) -> Counts {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts { loaded: load(&self.loaded), skipped: load(&self.skipped) }
    }
}
