//! Columns encoded on a device by themselves, for the device check: what becomes of them, and how fast.

use std::path::Path;

use cudarc::driver::{CudaFunction, DriverError, LaunchConfig, PushKernelArg};

use super::alone::{Alone, put, take};
use super::arena::{Arena, Need};
use super::bench::Times;
use super::error::message;
use super::module;
use crate::gpu::encode::{Body, Bounds, Column, Page, divide};

/// As kernels/encode.cu has it.
const THREADS: u32 = 256;

/// A device with the encode kernels.
pub struct Encode {
    device: Alone,
    plain: CudaFunction,
}

/// Columns on the device.
struct Resident {
    input: u64,
    pages: u64,
    output: u64,
    bodies: u64,
    bounds: u64,
    count: u32,
    _arena: Arena,
}

impl Encode {
    pub fn open(ordinal: u32, nvrtc: Option<&Path>, cache: &Path) -> Result<Encode, String> {
        let device = Alone::open(&module::ENCODE, ordinal, nvrtc, cache)?;
        let plain = device.module.load_function("plain");
        Ok(Encode { plain: plain.map_err(|error| message("load the kernels", error))?, device })
    }

    /// The bodies of the columns' pages.
    pub fn encode(
        &self,
        input: &[u8],
        columns: &[Column],
        page_rows: impl Fn(&Column) -> u32,
    ) -> Result<Vec<Vec<u8>>, String> {
        let (pages, room) = divide(columns, page_rows);
        self.encoded(&[input], &pages, room).map_err(|error| message("encode columns", error))
    }

    /// Times the kernels over `copies` of the input, medians over the repeats. Gives the bytes of the bodies,
    /// too.
    pub fn time(
        &self,
        input: &[u8],
        columns: &[Column],
        copies: usize,
        page_rows: impl Fn(&Column) -> u32,
        repeats: usize,
    ) -> Result<(Times, u64), String> {
        let stride = input.len().next_multiple_of(256) as u64;
        let all: Vec<Column> = (0..copies as u64)
            .flat_map(|copy| columns.iter().map(move |column| moved(column, copy * stride)))
            .collect();
        let (pages, room) = divide(&all, page_rows);
        self.timed(&vec![input; copies], &pages, room, repeats)
            .map_err(|error| message("time the kernels", error))
    }

    fn copy_in(&self, inputs: &[&[u8]], pages: &[Page], room: u64) -> Result<Resident, DriverError> {
        self.device.context.bind_to_thread()?;
        let stride = inputs.iter().map(|input| input.len().next_multiple_of(256) as u64).max().unwrap_or(0);
        let (count, bodies) = (pages.len() as u64, room.next_multiple_of(256));
        let bounds = count * size_of::<Body>() as u64;
        let need = Need {
            input: (stride * inputs.len() as u64).max(16),
            output: bodies + bounds + count * size_of::<Bounds>() as u64 + 16,
            scratch: count * size_of::<Page>() as u64 + 16,
        };
        let arena = Arena::scattered(&self.device.context, need, 1)?;
        let parts = arena.parts()[0];
        // SAFETY: the parts are ours, and as large as what goes there.
        unsafe {
            for (number, input) in inputs.iter().enumerate() {
                put(parts.input + stride * number as u64, input)?;
            }
            put(parts.scratch, pages)?;
        }
        let bodies = parts.output + bodies;
        Ok(Resident {
            input: parts.input,
            pages: parts.scratch,
            output: parts.output,
            bodies,
            bounds: bodies + bounds,
            count: pages.len() as u32,
            _arena: arena,
        })
    }

    fn launch(&self, resident: &Resident) -> Result<(), DriverError> {
        if resident.count == 0 {
            return Ok(());
        }
        let config = LaunchConfig {
            grid_dim: (resident.count, 1, 1),
            block_dim: (THREADS, 1, 1),
            shared_mem_bytes: 0,
        };
        let mut launch = self.device.stream.launch_builder(&self.plain);
        launch.arg(&resident.input).arg(&resident.pages).arg(&resident.output);
        launch.arg(&resident.bodies).arg(&resident.bounds).arg(&resident.count);
        // SAFETY: the parameters that kernels/encode.cu asks for, and buffers as large as it says.
        unsafe { launch.launch(config)? };
        Ok(())
    }

    fn encoded(&self, inputs: &[&[u8]], pages: &[Page], room: u64) -> Result<Vec<Vec<u8>>, DriverError> {
        let resident = self.copy_in(inputs, pages, room)?;
        self.launch(&resident)?;
        self.device.stream.synchronize()?;
        // SAFETY: as many were written, of integers only.
        let bodies: Vec<Body> = unsafe { take(resident.bodies, pages.len())? };
        // SAFETY: the output's whole room.
        let output: Vec<u8> = unsafe { take(resident.output, room as usize)? };
        let body = |body: &Body| output[body.at as usize..body.at as usize + body.bytes as usize].to_vec();
        Ok(bodies.iter().map(body).collect())
    }

    fn timed(
        &self,
        inputs: &[&[u8]],
        pages: &[Page],
        room: u64,
        repeats: usize,
    ) -> Result<(Times, u64), DriverError> {
        let resident = self.copy_in(inputs, pages, room)?;
        let times = self.device.time(&["plain"], repeats, |after| {
            self.launch(&resident)?;
            after(0)
        })?;
        // SAFETY: as above.
        let bodies: Vec<Body> = unsafe { take(resident.bodies, pages.len())? };
        Ok((times, bodies.iter().map(|body| u64::from(body.bytes)).sum()))
    }
}

fn moved(column: &Column, by: u64) -> Column {
    let mut column = *column;
    column.valid_at += by;
    column.values_at += by;
    column.bytes_at += by;
    column
}
