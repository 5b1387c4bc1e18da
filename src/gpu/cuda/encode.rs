//! Launches the kernels of `kernels/encode.cu`, whose head explains the numbers used here.

use std::sync::Arc;

use cudarc::driver::{CudaFunction, CudaModule, CudaStream, DriverError, LaunchConfig, PushKernelArg};

use crate::gpu::encode::{
    Body, Bounds, DictionaryChunk, DictionaryState, Ends, Order, Page, Plan, Shape, has_deltas,
};

const THREADS: u32 = 256;
/// Blocks that share the work on a chunk's table.
const SHARE: u32 = 64;

/// In the order of their launches.
pub const PHASES: [&str; 10] =
    ["clear", "insert", "mark", "rank", "number", "decide", "entries", "encode", "deltas", "find_ends"];

/// The kernels' arguments, explained at the head of encode.cu.
#[derive(Clone, Copy, Debug)]
pub struct Arguments {
    pub input: u64,
    pub tables: Tables,
    pub output: u64,
    pub scratch: u64,
    pub count: u32,
    pub tried: u32,
    pub deltas: bool,
    pub ends: bool,
}

/// The addresses of the plan's tables and of those that the kernels fill.
#[derive(Clone, Copy, Debug)]
pub struct Tables {
    pub pages: u64,
    pub chunks: u64,
    pub bodies: u64,
    pub bounds: u64,
    pub ends: u64,
    pub states: u64,
    /// The end of the last table.
    pub end: u64,
}

impl Tables {
    /// Places the tables one after the other from `start`, a multiple of 256.
    pub fn at(start: u64, plan: &Plan) -> Tables {
        let (count, tried) = (plan.pages.len(), plan.chunks.len());
        let mut end = start;
        let mut take = |size: usize, count: usize| {
            let at = end;
            end = (at + (size * count) as u64).next_multiple_of(256);
            at
        };
        let pages = take(size_of::<Page>(), count);
        let chunks = take(size_of::<DictionaryChunk>(), tried);
        let bodies = take(size_of::<Body>(), count + tried);
        let bounds = take(size_of::<Bounds>(), count);
        let ends = take(size_of::<Ends>(), count);
        let states = take(size_of::<DictionaryState>(), tried);
        Tables { pages, chunks, bodies, bounds, ends, states, end }
    }
}

impl Arguments {
    pub fn new(plan: &Plan, input: u64, tables: Tables, output: u64, scratch: u64) -> Arguments {
        let bounded = |page: &Page| page.shape == Shape::Strings as u8 && page.order != Order::None as u8;
        Arguments {
            input,
            tables,
            output,
            scratch,
            count: plan.pages.len() as u32,
            tried: plan.chunks.len() as u32,
            deltas: plan.pages.iter().any(|page| has_deltas(page.encoding.into())),
            ends: plan.pages.iter().any(bounded),
        }
    }
}

pub struct Kernels {
    functions: [CudaFunction; 10],
}

impl Kernels {
    pub fn load(module: &Arc<CudaModule>) -> Result<Kernels, DriverError> {
        let [a, b, c, d, e, f, g, h, i, j] = PHASES.map(|name| module.load_function(name));
        Ok(Kernels { functions: [a?, b?, c?, d?, e?, f?, g?, h?, i?, j?] })
    }

    /// Launches all kernels. `after` is called with each phase that was launched or left out.
    ///
    /// # Safety
    ///
    /// In the stream's order input, pages and chunks are there, and nothing else uses the memory that is written, which
    /// is as large as encode.cu asks, until the kernels are done.
    pub unsafe fn launch(
        &self,
        stream: &CudaStream,
        work: &Arguments,
        mut after: impl FnMut(usize) -> Result<(), DriverError>,
    ) -> Result<(), DriverError> {
        let (count, tried, tables) = (work.count, work.tried, &work.tables);
        let (wide, each) = ((SHARE, tried, 1), (tried, 1, 1));
        let pages = |wanted: bool| (if wanted { count } else { 0 }, 1, 1);
        let tried_pages = pages(tried > 0);
        let grids = [
            wide,
            tried_pages,
            wide,
            each,
            wide,
            each,
            wide,
            pages(true),
            pages(work.deltas),
            pages(work.ends),
        ];
        for (phase, grid_dim) in grids.into_iter().enumerate() {
            if grid_dim.0 > 0 && grid_dim.1 > 0 {
                let config = LaunchConfig { grid_dim, block_dim: (THREADS, 1, 1), shared_mem_bytes: 0 };
                let mut launch = stream.launch_builder(&self.functions[phase]);
                launch.arg(&work.input).arg(&tables.pages).arg(&tables.chunks).arg(&work.output);
                launch.arg(&tables.bodies).arg(&tables.bounds).arg(&tables.ends).arg(&tables.states);
                launch.arg(&work.scratch).arg(&work.count).arg(&work.tried);
                // SAFETY: every kernel takes these eleven parameters; the caller keeps the memory that they name for the kernels.
                unsafe { launch.launch(config)? };
            }
            after(phase)?;
        }
        Ok(())
    }
}
