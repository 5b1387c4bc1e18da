//! The files of foreign tables: opened, listed, and their metadata, which a session caches.

use std::cell::RefCell;
use std::sync::Arc;

use super::error::report;
use super::options::TableOptions;
use crate::fdw::{Cache, CacheStats, DataFile, FileId, FileMeta, Source};
use crate::pg::error::Result;
use crate::pg::{check_for_interrupts, guc};

thread_local! {
    /// Main thread only, as everything here.
    static CACHE: RefCell<Cache> = RefCell::default();
}

/// Opens a file, to be read with looks at who wants to cancel.
pub fn open(path: &str) -> Result<Source> {
    Ok(Source::open(path).map_err(report)?.with_look(check_for_interrupts))
}

/// Opens the file that `id` was taken of, and no other.
pub fn reopen(id: &FileId) -> Result<Source> {
    Ok(Source::reopen(id).map_err(report)?.with_look(check_for_interrupts))
}

/// The files that there are now.
pub fn list(options: &TableOptions) -> Result<Vec<DataFile>> {
    options.files.list(options.pattern.as_ref(), check_for_interrupts).map_err(report)
}

/// The metadata of an open file, from the cache where it is known.
pub fn metadata(source: &Source) -> Result<Arc<FileMeta>> {
    CACHE.with_borrow_mut(|cache| cache.get(source, guc::arrow_fdw_metadata_cache())).map_err(report)
}

/// What this session's cache of metadata holds.
pub fn metadata_stats() -> CacheStats {
    CACHE.with_borrow(Cache::stats)
}
