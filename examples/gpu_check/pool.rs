//! Memory like the pool's: one shared mapping of slots, each an input and an output region.

use std::slice;

use pg_strata::gpu::cuda::Pool;

pub struct Memory {
    start: *mut u8,
    slots: usize,
    input: usize,
    output: usize,
}

impl Memory {
    pub fn new(slots: usize, input: usize, output: usize) -> Memory {
        let bytes = slots * (input + output);
        // SAFETY: an anonymous file of our own, mapped whole.
        let start = unsafe {
            let file = libc::memfd_create(c"gpu_check".as_ptr(), libc::MFD_CLOEXEC);
            assert!(file >= 0 && libc::ftruncate(file, bytes as i64) == 0, "no memfd of {bytes} bytes");
            let start = libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_POPULATE,
                file,
                0,
            );
            libc::close(file);
            start
        };
        assert!(start != libc::MAP_FAILED, "no mapping of {bytes} bytes");
        Memory { start: start.cast(), slots, input, output }
    }

    pub fn pool(&self) -> Pool {
        Pool { start: self.start, bytes: self.slots * (self.input + self.output) }
    }

    pub fn slots(&self) -> usize {
        self.slots
    }

    pub fn input_bytes(&self) -> usize {
        self.input
    }

    pub fn output_bytes(&self) -> usize {
        self.output
    }

    /// The slot's input and output. Two threads may hold the regions of different slots, or one the input
    /// and one the output of the same: see `Shared`.
    pub fn slot(&mut self, index: usize) -> (&mut [u8], &mut [u8]) {
        assert!(index < self.slots);
        // SAFETY: two ranges of the mapping that do not meet, borrowed as long as the memory itself.
        unsafe {
            let start = self.start.add(index * (self.input + self.output));
            (
                slice::from_raw_parts_mut(start, self.input),
                slice::from_raw_parts_mut(start.add(self.input), self.output),
            )
        }
    }

    pub fn input(&self, index: usize) -> &[u8] {
        assert!(index < self.slots);
        // SAFETY: a range of the mapping.
        unsafe { slice::from_raw_parts(self.start.add(index * (self.input + self.output)), self.input) }
    }

    /// # Safety
    ///
    /// No other reference to the output region of this slot lives.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn output(&self, index: usize) -> &mut [u8] {
        assert!(index < self.slots);
        // SAFETY: a range of the mapping; the caller keeps it apart.
        unsafe {
            let start = self.start.add(index * (self.input + self.output) + self.input);
            slice::from_raw_parts_mut(start, self.output)
        }
    }
}

// SAFETY: plain memory; who hands out two references to a region keeps them apart.
unsafe impl Sync for Memory {}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping that `new` made. Devices that registered it are gone: they are declared later.
        unsafe { libc::munmap(self.start.cast(), self.slots * (self.input + self.output)) };
    }
}
