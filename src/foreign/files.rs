//! Opens and lists the files of foreign tables, and reads their metadata, which a session caches.

use std::cell::RefCell;
use std::sync::Arc;

use super::error::report;
use super::options::TableOptions;
use crate::fdw::{Cache, CacheStats, DataFile, FileId, FileMeta, Source};
use crate::pg::error::Result;
use crate::pg::guc;

thread_local! {
    /// Used on the main thread only.
    static CACHE: RefCell<Cache> = RefCell::default();
}

/// Opens a file; a cancel interrupts its reading.
pub fn open(path: &str) -> Result<Source> {
    Source::open(path).map_err(report)
}

/// Opens the file that has this id, and no other.
pub fn reopen(id: &FileId) -> Result<Source> {
    Source::reopen(id).map_err(report)
}

/// Returns the files that exist now.
pub fn list(options: &TableOptions) -> Result<Vec<DataFile>> {
    options.files.list(options.pattern.as_ref()).map_err(report)
}

/// Returns the metadata of an open file, from the cache if it is there.
pub fn metadata(source: &Source) -> Result<Arc<FileMeta>> {
    CACHE.with_borrow_mut(|cache| cache.get(source, guc::arrow_fdw_metadata_cache())).map_err(report)
}

/// Returns what this session's cache of metadata holds.
pub fn metadata_stats() -> CacheStats {
    CACHE.with_borrow(Cache::stats)
}
