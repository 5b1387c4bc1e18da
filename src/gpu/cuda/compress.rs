//! Launches the kernels of `kernels/compress.cu`, whose head explains the numbers used here.

use std::sync::Arc;

use cudarc::driver::{CudaFunction, CudaModule, CudaStream, DriverError, LaunchConfig, PushKernelArg};

use crate::slot::encode::LZ4;

/// Bytes that one warp compresses.
const SEGMENT: u64 = 65_536;
/// Room for a compressed segment and its edges.
const SEGMENT_ROOM: u64 = 66_576 + 16;

/// In the order of their launches.
#[cfg(any(test, feature = "testing"))]
pub const PHASES: [&str; 5] = ["divide", "compress", "measure", "place", "join"];

/// The place of a page in the input, or of a stream in the output.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub at: u64,
    pub bytes: u32,
    pub reserved: u32,
}

/// The `bytes` of the last body if the output has no room.
pub const FAILED: u32 = u32::MAX;

/// The kernels' arguments, explained at the head of compress.cu.
#[derive(Clone, Copy, Debug)]
pub struct Arguments {
    pub input: u64,
    pub pages: u64,
    pub output: u64,
    pub bodies: u64,
    pub scratch: u64,
    pub output_bytes: u64,
    pub count: u32,
    pub bound: u32,
}

/// Returns the number of segments of pages with these lengths.
pub fn segments(lengths: impl Iterator<Item = usize>) -> u32 {
    lengths.map(|bytes| (bytes as u64).div_ceil(SEGMENT).max(1) as u32).sum()
}

pub fn scratch(count: u32, bound: u32) -> u64 {
    let (count, bound) = (u64::from(count), u64::from(bound));
    let words = 256 + (4 * (count + 1)).next_multiple_of(64) + (4 * bound).next_multiple_of(64);
    words + (8 * (bound + 1)).next_multiple_of(64) + SEGMENT_ROOM * bound
}

pub struct Kernels {
    divide: CudaFunction,
    place: CudaFunction,
    measure: CudaFunction,
    snappy: Segments,
    lz4: Segments,
}

/// The kernels of one codec.
struct Segments {
    compress: CudaFunction,
    join: CudaFunction,
}

impl Kernels {
    pub fn load(module: &Arc<CudaModule>) -> Result<Kernels, DriverError> {
        let function = |name| module.load_function(name);
        Ok(Kernels {
            divide: function("divide")?,
            place: function("place")?,
            measure: function("measure")?,
            snappy: Segments { compress: function("compress_snappy")?, join: function("join_snappy")? },
            lz4: Segments { compress: function("compress_lz4")?, join: function("join_lz4")? },
        })
    }

    /// Launches all kernels of a codec, `SNAPPY` or `LZ4`. `after` is called with
    /// each phase that was launched or left out.
    ///
    /// # Safety
    ///
    /// In the stream's order input and pages are there, and nothing else uses the memory that is written, which is as
    /// large as compress.cu asks, until the kernels are done.
    pub unsafe fn launch(
        &self,
        stream: &CudaStream,
        work: &Arguments,
        codec: u32,
        mut after: impl FnMut(usize) -> Result<(), DriverError>,
    ) -> Result<(), DriverError> {
        let (segments, measured) = match codec {
            LZ4 => (&self.lz4, work.count),
            _ => (&self.snappy, 0),
        };
        let launches = [
            (&self.divide, 1, 256),
            (&segments.compress, work.bound, 32),
            (&self.measure, measured, 32),
            (&self.place, 1, 256),
            (&segments.join, work.bound, 256),
        ];
        for (phase, (function, blocks, threads)) in launches.into_iter().enumerate() {
            if blocks > 0 {
                let config = LaunchConfig {
                    grid_dim: (blocks, 1, 1),
                    block_dim: (threads, 1, 1),
                    shared_mem_bytes: 0,
                };
                let mut launch = stream.launch_builder(function);
                launch.arg(&work.input).arg(&work.pages).arg(&work.output).arg(&work.bodies);
                launch.arg(&work.scratch).arg(&work.output_bytes).arg(&work.count).arg(&work.bound);
                // SAFETY: every kernel takes these eight parameters; the caller keeps the memory that they name for the kernels.
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
        assert_eq!(scratch(16, 5), 256 + 128 + 64 + 64 + 5 * 66_592);
    }
}
