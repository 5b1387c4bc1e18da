//! Caches metadata of files, so that planning and running a query parse each footer once.
//!
//! Each process has one cache, by path: a file that was replaced or written to replaces the earlier entry. An
//! entry of a file that had just been changed is not trusted, as the file may have been changed again at the
//! same time stamp.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::error::Result;
use super::meta::FileMeta;
use super::source::{Source, coarse_now};

#[derive(Default)]
pub struct Cache {
    known: HashMap<Arc<str>, Entry>,
    /// Paths by their last use.
    used: BTreeMap<u64, Arc<str>>,
    stats: CacheStats,
    clock: u64,
}

/// The cache's contents, and its lookups since the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    pub files: usize,
    pub bytes: usize,
    /// Lookups answered by the cache, and by reading a file.
    pub hits: u64,
    pub misses: u64,
    /// Entries removed to make room for others.
    pub evicted: u64,
}

struct Entry {
    meta: Arc<FileMeta>,
    /// The file had not changed for a while when its metadata was read.
    was_old: bool,
    bytes: usize,
    used: u64,
}

impl Cache {
    /// Returns the metadata of an open file and caches it; entries are evicted beyond about `limit` bytes.
    pub fn get(&mut self, source: &Source, limit: usize) -> Result<Arc<FileMeta>> {
        self.clock += 1;
        if let Some(entry) = self.remove(source.path())
            && entry.was_old
            && entry.meta.id == *source.id()
        {
            self.stats.hits += 1;
            let meta = entry.meta.clone();
            self.insert(entry);
            return Ok(meta);
        }
        self.stats.misses += 1;
        let was_old = source.id().is_old(coarse_now());
        let meta = Arc::new(FileMeta::read(source)?);
        let bytes = meta.memory();
        if bytes <= limit {
            self.insert(Entry { meta: meta.clone(), was_old, bytes, used: 0 });
        }
        while self.stats.bytes > limit {
            let Some((_, oldest)) = self.used.pop_first() else { break };
            self.remove(&oldest);
            self.stats.evicted += 1;
        }
        Ok(meta)
    }

    fn insert(&mut self, entry: Entry) {
        let path: Arc<str> = entry.meta.id.path.as_str().into();
        self.stats.bytes += entry.bytes;
        self.used.insert(self.clock, path.clone());
        self.known.insert(path, Entry { used: self.clock, ..entry });
    }

    fn remove(&mut self, path: &str) -> Option<Entry> {
        let entry = self.known.remove(path)?;
        self.used.remove(&entry.used);
        self.stats.bytes -= entry.bytes;
        Some(entry)
    }

    pub fn stats(&self) -> CacheStats {
        CacheStats { files: self.known.len(), ..self.stats }
    }
}
