//! Launches the kernels of `kernels/decode.cu`, whose head explains the numbers used here.

use std::sync::Arc;

use cudarc::driver::sys::{CUdevice_attribute, CUfunction_attribute_enum};
use cudarc::driver::{
    CudaContext, CudaFunction, CudaModule, CudaStream, DriverError, LaunchConfig, PushKernelArg,
};

use super::arena::{Need, Parts};
use crate::slot::input::Input;
use crate::slot::layout::BLOCK;

const THREADS: u32 = 256;
/// Rows of a tile, which a block of threads decodes.
const TILE: u64 = 256;
/// The most shared memory that a block stages: three such blocks fit on a multiprocessor.
const MOST_SHARED: u64 = 73_728;
/// The shared memory that a kernel gets without asking for more.
const PLAIN_SHARED: i32 = 49_152;

/// The phases in the order of their launches; `WALK` is one of two kernels.
#[cfg(any(test, feature = "testing"))]
pub const PHASES: [&str; 5] = ["plan", "walk", "scan", "offsets", "gather"];
const PLAN: usize = 0;
const WALK: usize = 1;
const SCAN: usize = 2;
const OFFSETS: usize = 3;
const GATHER: usize = 4;

pub struct Kernels {
    plan: CudaFunction,
    walk_heap: CudaFunction,
    walk_copy: CudaFunction,
    scan: CudaFunction,
    offsets: CudaFunction,
    gather: CudaFunction,
    shared: u64,
}

/// The sizes of a slot, from which its launches follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SlotSize {
    heap: bool,
    rows: u64,
    pages: u64,
    data: u64,
    attrs: u64,
    columns: u64,
    varying: u64,
}

impl SlotSize {
    fn of(input: &Input) -> SlotSize {
        let header = input.header();
        SlotSize {
            heap: input.is_heap(),
            rows: header.rows.into(),
            pages: header.pages.into(),
            data: header.data_bytes.into(),
            attrs: header.attrs.into(),
            columns: header.columns.into(),
            varying: input.ops().iter().filter(|op| op.width().is_none()).count() as u64,
        }
    }

    fn tiles(self) -> u64 {
        self.rows.div_ceil(TILE)
    }

    /// Returns the number of parts that a tile's bytes are divided into, so that few rows of long values also keep the
    /// device busy.
    fn splits(self) -> u64 {
        (self.data / 65_536 / self.tiles().max(1)).clamp(1, 64)
    }

    fn scratch(self) -> u64 {
        256 + 64 * (self.attrs + self.columns) + 1056 * self.tiles() * self.varying
    }

    /// Returns the shared memory in which most tiles can be staged; 0 if that is more than there is.
    fn shared(self, most: u64) -> u64 {
        let rows = self.rows.max(1);
        let wanted = if self.heap {
            let pages = (TILE * self.pages).div_ceil(rows).min(self.pages.saturating_sub(1));
            BLOCK as u64 * (pages + 1)
        } else {
            (self.data * TILE / rows * 9 / 8 + 32).next_multiple_of(16)
        };
        if wanted <= most { wanted } else { 0 }
    }
}

/// Returns the scratch for any slot whose output fits: a column of varying length has 4 bytes of offsets for each row
/// there, and so at least 1024 for each tile but the last.
pub fn most_scratch(output: u64) -> u64 {
    output + output / 16 + (4 << 20)
}

/// Returns what regions of these sizes need on the device: kernels read up to a multiple of 16.
pub fn need(input: usize, output: usize) -> Need {
    let output = output as u64 & !15;
    Need { input: input as u64 + 256, output, scratch: most_scratch(output) }
}

impl Kernels {
    pub fn load(context: &Arc<CudaContext>, module: &Arc<CudaModule>) -> Result<Kernels, DriverError> {
        let optin =
            context.attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?;
        let function = |name| module.load_function(name);
        let (walk_heap, walk_copy) = (function("walk_heap")?, function("walk_copy")?);
        let mut shared = MOST_SHARED;
        for walk in [&walk_heap, &walk_copy] {
            let fixed = walk.get_attribute(CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES)?;
            shared = shared.min((optin - fixed).max(0) as u64 & !15);
        }
        for walk in [&walk_heap, &walk_copy] {
            if shared as i32 > PLAIN_SHARED {
                let name = CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
                walk.set_attribute(name, shared as i32)?;
            }
        }
        Ok(Kernels {
            plan: function("plan")?,
            walk_heap,
            walk_copy,
            scan: function("scan")?,
            offsets: function("offsets")?,
            gather: function("gather")?,
            shared,
        })
    }

    /// Whether the device's buffers have room for the scratch of the slot.
    pub fn fits(&self, input: &Input, need: Need) -> bool {
        SlotSize::of(input).scratch() <= need.scratch
    }

    /// Launches the kernels that the slot needs. `after` is called with each phase that was launched or left out.
    ///
    /// # Safety
    ///
    /// In the stream's order the input lies in its part, and nothing else uses the three parts, which are as large as
    /// `need` says, until the kernels are done.
    pub unsafe fn launch(
        &self,
        stream: &CudaStream,
        input: &Input,
        parts: Parts,
        need: Need,
        mut after: impl FnMut(usize) -> Result<(), DriverError>,
    ) -> Result<(), DriverError> {
        let work = SlotSize::of(input);
        let (tiles, varying) = (work.tiles() as u32, work.varying as u32);
        let walk = if work.heap { &self.walk_heap } else { &self.walk_copy };
        let (rows, bytes) = (tiles > 0, varying > 0);
        let launches = [
            (PLAN, &self.plan, (1, 1, 1), 0, true),
            (WALK, walk, (tiles, 1, 1), work.shared(self.shared) as u32, rows),
            (SCAN, &self.scan, (varying, 1, 1), 0, bytes),
            (OFFSETS, &self.offsets, (tiles, varying, 1), 0, rows && bytes),
            (GATHER, &self.gather, (tiles, varying, work.splits() as u32), 0, rows && bytes),
        ];
        let output_bytes = need.output as u32;
        for (phase, function, grid_dim, shared_mem_bytes, wanted) in launches {
            if wanted {
                let config = LaunchConfig { grid_dim, block_dim: (THREADS, 1, 1), shared_mem_bytes };
                let mut launch = stream.launch_builder(function);
                launch.arg(&parts.input).arg(&parts.output).arg(&parts.scratch).arg(&output_bytes);
                // SAFETY: every kernel takes these four parameters; the caller keeps the slot's parts for the kernels.
                unsafe { launch.launch(config)? };
            }
            after(phase)?;
        }
        Ok(())
    }

    /// Returns the registers and the bytes of local memory of each kernel, for reports.
    #[cfg(any(test, feature = "testing"))]
    pub fn resources(&self) -> Result<Vec<(&'static str, i32, i32)>, DriverError> {
        let named = [
            ("plan", &self.plan),
            ("walk_heap", &self.walk_heap),
            ("walk_copy", &self.walk_copy),
            ("scan", &self.scan),
            ("offsets", &self.offsets),
            ("gather", &self.gather),
        ];
        named
            .iter()
            .map(|(name, function)| Ok((*name, function.num_regs()?, function.local_size_bytes()?)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINEORDER: SlotSize = SlotSize {
        heap: true,
        rows: 57_000,
        pages: 1000,
        data: 8_192_000,
        attrs: 17,
        columns: 17,
        varying: 5,
    };

    #[test]
    fn launches_follow_the_kernels_head() {
        assert_eq!(LINEORDER.tiles(), 223);
        // 256 rows reach into ceil(4.49) pages and one more.
        assert_eq!(LINEORDER.shared(MOST_SHARED), 8192 * 6);
        assert_eq!(LINEORDER.shared(8192 * 6 - 16), 0);
        assert_eq!(LINEORDER.splits(), 1);
        assert_eq!(LINEORDER.scratch(), 256 + 64 * 34 + 1056 * 223 * 5);
        let one_page = SlotSize { pages: 1, rows: 3, data: 8192, ..LINEORDER };
        assert_eq!(one_page.shared(MOST_SHARED), 8192);
        let copy = SlotSize { heap: false, pages: 0, data: 230 * 57_000, ..LINEORDER };
        assert_eq!(copy.shared(MOST_SHARED), (230 * 256 * 9 / 8 + 32u64).next_multiple_of(16));
        let long = SlotSize { rows: 2, data: 64 << 20, ..copy };
        assert_eq!((long.splits(), long.shared(MOST_SHARED)), (64, 0));
        let none = SlotSize { rows: 0, data: 0, pages: 0, ..LINEORDER };
        assert_eq!((none.tiles(), none.splits(), none.shared(MOST_SHARED)), (0, 1, 8192));
    }

    /// A slot whose offsets alone fill its output still has its scratch.
    #[test]
    fn scratch_is_enough_for_any_output() {
        for (rows, varying) in [(1, 1600), (257, 1600), (100_000, 60), (2_000_000, 3)] {
            let work = SlotSize { rows, varying, attrs: 1600, columns: 1600, ..LINEORDER };
            let output = 4 * (rows + 1) * varying;
            assert!(work.scratch() <= most_scratch(output), "{rows} rows of {varying} columns");
        }
    }
}
