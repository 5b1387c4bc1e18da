//! Metadata of files that were read before, so that planning and running a query parse each footer once.
//!
//! One cache a process. What a file was is part of the key: a file that was replaced or written to is another.

use std::collections::HashMap;
use std::sync::Arc;

use super::error::Result;
use super::meta::FileMeta;
use super::source::{FileId, Source};

#[derive(Default)]
pub struct Cache {
    known: HashMap<Arc<FileId>, Entry>,
    stats: CacheStats,
    clock: u64,
}

/// What a cache holds, and what it was asked since the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    pub files: usize,
    pub bytes: usize,
    /// Found, and read from a file.
    pub hits: u64,
    pub misses: u64,
    /// Given up for others.
    pub evicted: u64,
}

struct Entry {
    meta: Arc<FileMeta>,
    bytes: usize,
    used: u64,
}

impl Cache {
    /// The metadata of an open file; keeps it, and of what was kept no more than `limit` bytes, about.
    pub fn get(&mut self, source: &Source, limit: usize) -> Result<Arc<FileMeta>> {
        self.clock += 1;
        if let Some(entry) = self.known.get_mut(source.id()) {
            entry.used = self.clock;
            self.stats.hits += 1;
            return Ok(entry.meta.clone());
        }
        self.stats.misses += 1;
        let meta = Arc::new(FileMeta::read(source)?);
        let bytes = meta.memory();
        if bytes <= limit {
            self.stats.bytes += bytes;
            self.known.insert(meta.id.clone(), Entry { meta: meta.clone(), bytes, used: self.clock });
        }
        while self.stats.bytes > limit {
            let oldest = self.known.iter().min_by_key(|(_, entry)| entry.used).map(|(id, _)| id.clone());
            let Some(entry) = oldest.and_then(|id| self.known.remove(&id)) else { break };
            self.stats.bytes -= entry.bytes;
            self.stats.evicted += 1;
        }
        Ok(meta)
    }

    pub fn stats(&self) -> CacheStats {
        CacheStats { files: self.known.len(), ..self.stats }
    }
}
