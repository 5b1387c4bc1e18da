//! The kernels of `kernels/compress.cu` and how they are launched: its head tells the numbers used here.

use std::sync::Arc;

use cudarc::driver::{CudaFunction, CudaModule, CudaStream, DriverError, LaunchConfig, PushKernelArg};

/// Bytes that one warp compresses.
const SEGMENT: u64 = 65_536;
/// Room for a segment's elements.
const SLOT: u64 = 66_576;

/// In the order of their launches.
pub const PHASES: [&str; 4] = ["divide", "compress", "place", "join"];

/// Where a page lies in the input, or a stream in the output.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub at: u64,
    pub bytes: u32,
    pub reserved: u32,
}

/// In the `bytes` of the last of the bodies: the output has no room.
pub const FAILED: u32 = u32::MAX;

/// Addresses on the device and what they hold: see the head of compress.cu.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    pub input: u64,
    pub pages: u64,
    pub output: u64,
    pub bodies: u64,
    pub scratch: u64,
    pub output_bytes: u64,
    pub count: u32,
    pub bound: u32,
}

/// Segments of pages with these lengths.
pub fn segments(lengths: impl Iterator<Item = usize>) -> u32 {
    lengths.map(|bytes| (bytes as u64).div_ceil(SEGMENT).max(1) as u32).sum()
}

pub fn scratch(count: u32, bound: u32) -> u64 {
    let (count, bound) = (u64::from(count), u64::from(bound));
    let words = 256 + (4 * (count + 1)).next_multiple_of(64) + (4 * bound).next_multiple_of(64);
    words + (8 * (bound + 1)).next_multiple_of(64) + SLOT * bound
}

pub struct Kernels {
    functions: [CudaFunction; 4],
}

impl Kernels {
    pub fn load(module: &Arc<CudaModule>) -> Result<Kernels, DriverError> {
        let [divide, compress, place, join] = PHASES.map(|name| module.load_function(name));
        Ok(Kernels { functions: [divide?, compress?, place?, join?] })
    }

    /// Launches all kernels. `after` is called with the phase that was just launched, or left out.
    ///
    /// # Safety
    ///
    /// In the stream's order: input and pages are there, and no one else uses what is written, which is as
    /// large as compress.cu asks, until the kernels are done.
    pub unsafe fn launch(
        &self,
        stream: &CudaStream,
        work: &Work,
        mut after: impl FnMut(usize) -> Result<(), DriverError>,
    ) -> Result<(), DriverError> {
        let shapes = [(1, 256), (work.bound, 32), (1, 256), (work.bound, 256)];
        for (phase, (blocks, threads)) in shapes.into_iter().enumerate() {
            if blocks > 0 {
                let config = LaunchConfig {
                    grid_dim: (blocks, 1, 1),
                    block_dim: (threads, 1, 1),
                    shared_mem_bytes: 0,
                };
                let mut launch = stream.launch_builder(&self.functions[phase]);
                launch.arg(&work.input).arg(&work.pages).arg(&work.output).arg(&work.bodies);
                launch.arg(&work.scratch).arg(&work.output_bytes).arg(&work.count).arg(&work.bound);
                // SAFETY: the eight parameters that every kernel takes; the caller vouches for the memory.
                unsafe { launch.launch(config)? };
            }
            after(phase)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_the_kernels_head() {
        assert_eq!(segments([0, 1, 65_536, 65_537].into_iter()), 1 + 1 + 1 + 2);
        assert_eq!(segments(std::iter::empty()), 0);
        assert_eq!(scratch(0, 0), 256 + 64 + 64);
        assert_eq!(scratch(16, 5), 256 + 128 + 64 + 64 + 5 * 66_576);
    }
}
