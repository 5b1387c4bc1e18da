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
    bytes: usize,
    clock: u64,
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
            return Ok(entry.meta.clone());
        }
        let meta = Arc::new(FileMeta::read(source)?);
        let bytes = meta.memory();
        if bytes <= limit {
            self.bytes += bytes;
            self.known.insert(meta.id.clone(), Entry { meta: meta.clone(), bytes, used: self.clock });
        }
        while self.bytes > limit {
            let oldest = self.known.iter().min_by_key(|(_, entry)| entry.used).map(|(id, _)| id.clone());
            let Some(entry) = oldest.and_then(|id| self.known.remove(&id)) else { break };
            self.bytes -= entry.bytes;
        }
        Ok(meta)
    }
}
