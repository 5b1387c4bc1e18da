//! Device memory for row groups: one allocation, parts of which are taken and given back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use cudarc::driver::{CudaContext, DriverError, result};

use crate::gpu::lock::lock;

/// Parts start at multiples of it and are as long.
const ALIGN: u64 = 4096;

/// The free parts: their bytes by their start. No two of them touch.
#[derive(Debug, Default)]
struct Free(BTreeMap<u64, u64>);

impl Free {
    /// Takes the first free part that is large enough, or the start of it.
    fn take(&mut self, bytes: u64) -> Option<u64> {
        let (&at, &length) = self.0.iter().find(|(_, length)| **length >= bytes)?;
        self.0.remove(&at);
        if length > bytes {
            self.0.insert(at + bytes, length - bytes);
        }
        Some(at)
    }

    fn give(&mut self, mut at: u64, mut bytes: u64) {
        if let Some((&before, &length)) = self.0.range(..at).next_back()
            && before + length == at
        {
            self.0.remove(&before);
            (at, bytes) = (before, length + bytes);
        }
        if let Some(length) = self.0.remove(&(at + bytes)) {
            bytes += length;
        }
        self.0.insert(at, bytes);
    }
}

/// The allocation. It is freed with the last of its parts.
pub struct Heap {
    context: Arc<CudaContext>,
    base: u64,
    bytes: u64,
    free: Mutex<Free>,
}

impl Heap {
    /// Allocates that many bytes of the device's memory, rounded down to whole parts.
    pub fn new(context: &Arc<CudaContext>, bytes: u64) -> Result<Arc<Heap>, DriverError> {
        let bytes = bytes / ALIGN * ALIGN;
        let mut heap = Heap { context: context.clone(), base: 0, bytes, free: Mutex::default() };
        if bytes > 0 {
            context.bind_to_thread()?;
            // SAFETY: a context is current; nothing is read before it is written.
            heap.base = unsafe { result::malloc_sync(bytes as usize) }?;
            heap.free = Mutex::new(Free(BTreeMap::from([(0, bytes)])));
        }
        Ok(Arc::new(heap))
    }

    /// The address from which offsets are counted.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Bytes of the allocation.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes a part of that many bytes, if there is one.
    pub fn take(self: &Arc<Heap>, bytes: u64) -> Option<Block> {
        let bytes = bytes.max(1).next_multiple_of(ALIGN);
        let at = lock(&self.free).take(bytes)?;
        Some(Block { heap: self.clone(), at, bytes })
    }

    fn give(&self, at: u64, bytes: u64) {
        lock(&self.free).give(at, bytes);
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        // After a sticky error both fail; the process is about to end then.
        if self.base != 0 && self.context.bind_to_thread().is_ok() {
            // SAFETY: allocated in this context, freed once, and the device is idle: it synchronizes before it
            // drops what it has.
            let _ = unsafe { result::free_sync(self.base) };
        }
    }
}

/// A part, given back when dropped. Nothing may use it then, except for copies that come before its next use in their
/// stream's order.
pub struct Block {
    heap: Arc<Heap>,
    at: u64,
    bytes: u64,
}

impl Block {
    /// The part's start, counted from the heap's base.
    pub fn offset(&self) -> u64 {
        self.at
    }

    pub fn address(&self) -> u64 {
        self.heap.base + self.at
    }

    /// Gives back what lies after that many bytes.
    pub fn shrink(&mut self, bytes: u64) {
        let bytes = bytes.max(1).next_multiple_of(ALIGN);
        if bytes < self.bytes {
            self.heap.give(self.at + bytes, self.bytes - bytes);
            self.bytes = bytes;
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.heap.give(self.at, self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_are_given_back_grow_together() {
        let mut free = Free(BTreeMap::from([(0, 100)]));
        let parts: Vec<u64> = (0..5).map(|_| free.take(20).unwrap()).collect();
        assert_eq!(parts, [0, 20, 40, 60, 80]);
        assert_eq!(free.take(1), None);
        free.give(20, 20);
        free.give(60, 20);
        assert_eq!(free.take(30), None);
        free.give(40, 20);
        assert_eq!(free.0, BTreeMap::from([(20, 60)]));
        assert_eq!(free.take(30), Some(20));
        free.give(0, 20);
        free.give(80, 20);
        assert_eq!(free.0, BTreeMap::from([(0, 20), (50, 50)]));
        free.give(20, 30);
        assert_eq!(free.0, BTreeMap::from([(0, 100)]));
    }
}
