//! The device's memory: one allocation, made at start and divided then, so that decoding never allocates.

use std::sync::Arc;

use cudarc::driver::{CudaContext, DriverError, result};

/// The alignment of parts: a page, so that copies and wide loads are aligned.
const ALIGN: u64 = 4096;

/// The bytes that a slot in flight takes on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    pub input: u64,
    pub output: u64,
    pub scratch: u64,
}

/// The addresses of a slot's parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    pub input: u64,
    pub output: u64,
    pub scratch: u64,
}

/// Returns how many slots fit into `limit` bytes, at most `depth`, and the bytes that they take.
pub fn plan(need: Need, depth: usize, limit: u64) -> Result<(usize, u64), String> {
    let stride = stride(need);
    let fit = limit.checked_div(stride).unwrap_or(0).min(depth as u64);
    if fit == 0 {
        return Err(format!(
            "{} MB of device memory may be used, and one slot needs {} MB",
            limit >> 20,
            stride.div_ceil(1 << 20)
        ));
    }
    Ok((fit as usize, fit * stride))
}

fn stride(need: Need) -> u64 {
    [need.input, need.output, need.scratch].map(|bytes| bytes.next_multiple_of(ALIGN)).iter().sum()
}

/// Device memory, freed when dropped.
pub struct Arena {
    context: Arc<CudaContext>,
    blocks: Vec<u64>,
    parts: Vec<Parts>,
}

impl Arena {
    /// Makes one allocation for `depth` slots, of `bytes` if that is more than they need.
    pub fn new(
        context: &Arc<CudaContext>,
        need: Need,
        depth: usize,
        bytes: u64,
    ) -> Result<Arena, DriverError> {
        let mut arena = Arena { context: context.clone(), blocks: Vec::new(), parts: Vec::new() };
        let start = arena.take(bytes.max(depth as u64 * stride(need)))?;
        arena.parts = (0..depth as u64).map(|index| parts(start + index * stride(need), need)).collect();
        Ok(arena)
    }

    /// Makes an allocation for each part, so that a sanitizer sees an access outside it.
    #[cfg(any(test, feature = "testing"))]
    pub fn scattered(context: &Arc<CudaContext>, need: Need, depth: usize) -> Result<Arena, DriverError> {
        let mut arena = Arena { context: context.clone(), blocks: Vec::new(), parts: Vec::new() };
        for _ in 0..depth {
            let (input, output) = (arena.take(need.input)?, arena.take(need.output)?);
            let parts = Parts { input, output, scratch: arena.take(need.scratch)? };
            arena.parts.push(parts);
        }
        Ok(arena)
    }

    fn take(&mut self, bytes: u64) -> Result<u64, DriverError> {
        self.context.bind_to_thread()?;
        // SAFETY: a context is current; nothing is read before it is written.
        let base = unsafe { result::malloc_sync(bytes as usize) }?;
        self.blocks.push(base);
        Ok(base)
    }

    /// Returns the parts of each slot in flight.
    pub fn parts(&self) -> &[Parts] {
        &self.parts
    }
}

fn parts(start: u64, need: Need) -> Parts {
    let output = start + need.input.next_multiple_of(ALIGN);
    Parts { input: start, output, scratch: output + need.output.next_multiple_of(ALIGN) }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // After a sticky error both fail; the process is about to end then.
        if self.context.bind_to_thread().is_ok() {
            for base in &self.blocks {
                // SAFETY: allocated in this context, freed once, and the streams that use it are idle: the
                // device synchronizes before it drops its arena.
                let _ = unsafe { result::free_sync(*base) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEED: Need = Need { input: 10_000, output: 4096, scratch: 1 };

    #[test]
    fn the_limit_bounds_the_depth() {
        assert_eq!(stride(NEED), 12_288 + 4096 + 4096);
        assert_eq!(plan(NEED, 4, 1 << 30), Ok((4, 4 * 20_480)));
        assert_eq!(plan(NEED, 4, 3 * 20_480 - 1), Ok((2, 2 * 20_480)));
        assert!(plan(NEED, 4, 20_479).unwrap_err().contains("one slot needs 1 MB"));
        assert!(plan(NEED, 0, 1 << 30).is_err());
        assert!(plan(Need { input: 0, output: 0, scratch: 0 }, 4, 1).is_err());
    }

    #[test]
    fn parts_follow_each_other_and_do_not_meet() {
        let mut end = 1 << 40;
        for index in 0..3 {
            let at = parts((1 << 40) + index * stride(NEED), NEED);
            assert_eq!(at.input, end);
            assert!(at.input + NEED.input <= at.output && at.output + NEED.output <= at.scratch);
            end = at.scratch + ALIGN;
            assert!(at.output.is_multiple_of(ALIGN) && at.scratch.is_multiple_of(ALIGN));
        }
    }
}
