//! Encodes columns on a device, for the device check: the result, and how fast.

use std::path::Path;

use cudarc::driver::DriverError;

use super::Times;
use super::device::BenchDevice;
use crate::gpu::cuda::arena::{Arena, Need};
use crate::gpu::cuda::copy::{put, take};
use crate::gpu::cuda::encode::{Arguments, Kernels, PHASES, Tables};
use crate::gpu::cuda::error::message;
use crate::gpu::cuda::module;
use crate::gpu::encode::{Body, ColumnPart, LIMITS, Limits, Plan, plan};

/// Columns that make a chunk: about a million rows of slots of 8 MiB.
const SLOTS: u64 = 18;

/// A device with the encode kernels.
pub struct Encode {
    device: BenchDevice,
    kernels: Kernels,
}

/// Columns on the device.
struct Resident {
    work: Arguments,
    _arena: Arena,
}

impl Encode {
    pub fn open(ordinal: u32, nvrtc: Option<&Path>, cache: &Path) -> Result<Encode, String> {
        let device = BenchDevice::open(&module::ENCODE, ordinal, nvrtc, cache)?;
        let kernels = Kernels::load(&device.module).map_err(|error| message("load the kernels", error))?;
        Ok(Encode { device, kernels })
    }

    /// The bodies of the columns' pages, then of their dictionaries.
    pub fn encode(
        &self,
        input: &[u8],
        columns: &[ColumnPart],
        page_rows: impl Fn(&ColumnPart) -> u32,
    ) -> Result<Vec<Vec<u8>>, String> {
        let plan = plan(columns, page_rows, LIMITS);
        self.encoded(input, &plan).map_err(|error| message("encode columns", error))
    }

    /// Times the kernels over `copies` of the input, medians over the repeats. Also returns the bytes of the bodies, and how
    /// many chunks have a dictionary.
    pub fn time(
        &self,
        input: &[u8],
        columns: &[ColumnPart],
        copies: usize,
        limits: Limits,
        page_rows: impl Fn(&ColumnPart) -> u32,
        repeats: usize,
    ) -> Result<(Times, u64, usize), String> {
        let stride = input.len().next_multiple_of(256) as u64;
        // A chunk is as long as a column of many slots is: its parts lie one copy apart.
        let moved = |copy: u64| columns.iter().map(move |column| moved(column, copy * stride));
        let all: Vec<ColumnPart> = (0..columns.len())
            .flat_map(|number| {
                (0..copies as u64).filter_map(move |copy| {
                    let column = moved(copy).nth(number)?;
                    Some(ColumnPart { continues: copy % SLOTS != 0, ..column })
                })
            })
            .collect();
        let plan = plan(&all, page_rows, limits);
        self.timed(input, copies, &plan, repeats).map_err(|error| message("time the kernels", error))
    }

    fn copy_in(&self, input: &[u8], copies: usize, plan: &Plan) -> Result<Resident, DriverError> {
        self.device.context.bind_to_thread()?;
        let stride = input.len().next_multiple_of(256);
        let scratch = plan.scratch_bytes.next_multiple_of(256);
        let need = Need {
            input: (stride * copies) as u64 + 256,
            output: plan.output_bytes + 256,
            scratch: Tables::at(scratch, plan).end + 256,
        };
        let arena = Arena::scattered(&self.device.context, need, 1)?;
        let parts = arena.parts()[0];
        let tables = Tables::at(parts.scratch + scratch, plan);
        // SAFETY: the parts are ours, and as large as what goes there.
        unsafe {
            for copy in 0..copies {
                put(parts.input + (stride * copy) as u64, input, &self.device.stream)?;
            }
            put(tables.pages, &plan.pages, &self.device.stream)?;
            put(tables.chunks, &plan.chunks, &self.device.stream)?;
        }
        self.device.context.synchronize()?;
        let work = Arguments::new(plan, parts.input, tables, parts.output, parts.scratch);
        Ok(Resident { work, _arena: arena })
    }

    fn launch(
        &self,
        resident: &Resident,
        after: &mut dyn FnMut(usize) -> Result<(), DriverError>,
    ) -> Result<(), DriverError> {
        // SAFETY: the buffers are ours alone and as large as the kernels ask.
        unsafe { self.kernels.launch(&self.device.stream, &resident.work, after) }
    }

    fn bodies(&self, resident: &Resident) -> Result<Vec<Body>, DriverError> {
        // SAFETY: as many were written, of integers only.
        unsafe { take(resident.work.tables.bodies, (resident.work.count + resident.work.tried) as usize) }
    }

    fn encoded(&self, input: &[u8], plan: &Plan) -> Result<Vec<Vec<u8>>, DriverError> {
        let resident = self.copy_in(input, 1, plan)?;
        self.launch(&resident, &mut |_| Ok(()))?;
        self.device.stream.synchronize()?;
        // SAFETY: the output's whole room.
        let output: Vec<u8> = unsafe { take(resident.work.output, plan.output_bytes as usize)? };
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
        let used = bodies[resident.work.count as usize..].iter().filter(|body| body.bytes > 0).count();
        Ok((times, bodies.iter().map(|body| u64::from(body.bytes)).sum(), used))
    }
}

fn moved(column: &ColumnPart, by: u64) -> ColumnPart {
    let mut column = *column;
    column.valid_at += by;
    column.values_at += by;
    column.bytes_at += by;
    column
}
