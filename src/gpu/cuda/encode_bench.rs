//! Columns encoded on a device by themselves, for the device check: what becomes of them, and how fast.

use std::path::Path;

use cudarc::driver::{CudaFunction, DriverError, LaunchConfig, PushKernelArg};

use super::alone::{Alone, put, take};
use super::arena::{Arena, Need};
use super::bench::Times;
use super::error::message;
use super::module;
use crate::gpu::encode::{Body, Bounds, Chunk, Column, LIMITS, Limits, Page, Plan, State, plan};

/// As kernels/encode.cu has it.
const THREADS: u32 = 256;
/// Blocks that share the work on a chunk's table.
const SHARE: u32 = 64;
/// Columns that make a chunk: about a million rows of slots of 8 MiB.
const SLOTS: u64 = 18;
/// In the order of their launches.
const PHASES: [&str; 8] = ["clear", "insert", "mark", "rank", "number", "decide", "entries", "encode"];

/// A device with the encode kernels.
pub struct Encode {
    device: Alone,
    kernels: Vec<CudaFunction>,
}

/// Columns on the device.
struct Resident {
    input: u64,
    pages: u64,
    chunks: u64,
    output: u64,
    bodies: u64,
    bounds: u64,
    states: u64,
    scratch: u64,
    count: u32,
    tried: u32,
    _arena: Arena,
}

/// Parts of an allocation, one behind the other.
struct Parts(u64);

impl Parts {
    fn take<T>(&mut self, count: usize) -> u64 {
        let at = self.0;
        self.0 = (at + (count * size_of::<T>()) as u64).next_multiple_of(256);
        at
    }
}

impl Encode {
    pub fn open(ordinal: u32, nvrtc: Option<&Path>, cache: &Path) -> Result<Encode, String> {
        let device = Alone::open(&module::ENCODE, ordinal, nvrtc, cache)?;
        let kernels = PHASES.iter().map(|name| device.module.load_function(name)).collect::<Result<_, _>>();
        Ok(Encode { kernels: kernels.map_err(|error| message("load the kernels", error))?, device })
    }

    /// The bodies of the columns' pages, then of their dictionaries.
    pub fn encode(
        &self,
        input: &[u8],
        columns: &[Column],
        page_rows: impl Fn(&Column) -> u32,
    ) -> Result<Vec<Vec<u8>>, String> {
        let plan = plan(columns, page_rows, LIMITS);
        self.encoded(input, &plan).map_err(|error| message("encode columns", error))
    }

    /// Times the kernels over `copies` of the input, medians over the repeats. Gives the bytes of the bodies,
    /// too, and how many chunks have a dictionary.
    pub fn time(
        &self,
        input: &[u8],
        columns: &[Column],
        copies: usize,
        limits: Limits,
        page_rows: impl Fn(&Column) -> u32,
        repeats: usize,
    ) -> Result<(Times, u64, usize), String> {
        let stride = input.len().next_multiple_of(256) as u64;
        // A chunk is as long as a column of many slots is: its parts lie one copy apart.
        let moved = |copy: u64| columns.iter().map(move |column| moved(column, copy * stride));
        let all: Vec<Column> = (0..columns.len())
            .flat_map(|number| {
                (0..copies as u64).filter_map(move |copy| {
                    let column = moved(copy).nth(number)?;
                    Some(Column { continues: copy % SLOTS != 0, ..column })
                })
            })
            .collect();
        let plan = plan(&all, page_rows, limits);
        self.timed(input, copies, &plan, repeats).map_err(|error| message("time the kernels", error))
    }

    fn copy_in(&self, input: &[u8], copies: usize, plan: &Plan) -> Result<Resident, DriverError> {
        self.device.context.bind_to_thread()?;
        let (count, tried) = (plan.pages.len(), plan.chunks.len());
        let stride = input.len().next_multiple_of(256);
        let mut places = Parts(0);
        let (all, pages) = (places.take::<u8>(stride * copies), places.take::<Page>(count));
        let chunks = places.take::<Chunk>(tried);
        let mut made = Parts(0);
        let (output, bodies) =
            (made.take::<u8>(plan.output_bytes as usize), made.take::<Body>(count + tried));
        let (bounds, states) = (made.take::<Bounds>(count), made.take::<State>(tried));
        let need = Need { input: places.0 + 256, output: made.0 + 256, scratch: plan.scratch_bytes + 256 };
        let arena = Arena::scattered(&self.device.context, need, 1)?;
        let parts = arena.parts()[0];
        // SAFETY: the parts are ours, and as large as what goes there.
        unsafe {
            for copy in 0..copies {
                put(parts.input + all + (stride * copy) as u64, input)?;
            }
            put(parts.input + pages, &plan.pages)?;
            put(parts.input + chunks, &plan.chunks)?;
        }
        Ok(Resident {
            input: parts.input + all,
            pages: parts.input + pages,
            chunks: parts.input + chunks,
            output: parts.output + output,
            bodies: parts.output + bodies,
            bounds: parts.output + bounds,
            states: parts.output + states,
            scratch: parts.scratch,
            count: count as u32,
            tried: tried as u32,
            _arena: arena,
        })
    }

    fn launch(
        &self,
        resident: &Resident,
        after: &mut dyn FnMut(usize) -> Result<(), DriverError>,
    ) -> Result<(), DriverError> {
        let (count, tried) = (resident.count, resident.tried);
        let (wide, each) = ((SHARE, tried, 1), (tried, 1, 1));
        let pages = (if tried > 0 { count } else { 0 }, 1, 1);
        let grids = [wide, pages, wide, each, wide, each, wide, (count, 1, 1)];
        for (phase, grid_dim) in grids.into_iter().enumerate() {
            if grid_dim.0 > 0 && grid_dim.1 > 0 {
                let config = LaunchConfig { grid_dim, block_dim: (THREADS, 1, 1), shared_mem_bytes: 0 };
                let mut launch = self.device.stream.launch_builder(&self.kernels[phase]);
                launch.arg(&resident.input).arg(&resident.pages).arg(&resident.chunks).arg(&resident.output);
                launch.arg(&resident.bodies).arg(&resident.bounds).arg(&resident.states);
                launch.arg(&resident.scratch).arg(&resident.count).arg(&resident.tried);
                // SAFETY: the parameters that kernels/encode.cu asks for, and buffers as large as it says.
                unsafe { launch.launch(config)? };
            }
            after(phase)?;
        }
        Ok(())
    }

    fn bodies(&self, resident: &Resident) -> Result<Vec<Body>, DriverError> {
        // SAFETY: as many were written, of integers only.
        unsafe { take(resident.bodies, (resident.count + resident.tried) as usize) }
    }

    fn encoded(&self, input: &[u8], plan: &Plan) -> Result<Vec<Vec<u8>>, DriverError> {
        let resident = self.copy_in(input, 1, plan)?;
        self.launch(&resident, &mut |_| Ok(()))?;
        self.device.stream.synchronize()?;
        // SAFETY: the output's whole room.
        let output: Vec<u8> = unsafe { take(resident.output, plan.output_bytes as usize)? };
        let body = |body: &Body| output[body.at as usize..body.at as usize + body.bytes as usize].to_vec();
        Ok(self.bodies(&resident)?.iter().map(body).collect())
    }

    fn timed(
        &self,
        input: &[u8],
        copies: usize,
        plan: &Plan,
        repeats: usize,
    ) -> Result<(Times, u64, usize), DriverError> {
        let resident = self.copy_in(input, copies, plan)?;
        let times = self.device.time(&PHASES, repeats, |after| self.launch(&resident, after))?;
        let bodies = self.bodies(&resident)?;
        let used = bodies[resident.count as usize..].iter().filter(|body| body.bytes > 0).count();
        Ok((times, bodies.iter().map(|body| u64::from(body.bytes)).sum(), used))
    }
}

fn moved(column: &Column, by: u64) -> Column {
    let mut column = *column;
    column.valid_at += by;
    column.values_at += by;
    column.bytes_at += by;
    column
}
