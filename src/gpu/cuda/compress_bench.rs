//! Pages compressed on a device by themselves, for the device check: what becomes of them, and how fast.

use std::path::Path;
use std::sync::Arc;

use cudarc::driver::sys::{CUevent_flags, cuMemcpyDtoH_v2, cuMemcpyHtoD_v2};
use cudarc::driver::{CudaContext, CudaStream, DriverError};

use super::arena::{Arena, Need};
use super::bench::{Times, median};
use super::compress::{FAILED, Kernels, PHASES, Place, Work, scratch, segments};
use super::error::message;
use super::{load, module, probe};

/// A device with the compress kernels.
pub struct Compress {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    kernels: Kernels,
}

/// Pages on the device.
struct Resident {
    work: Work,
    arena: Arena,
}

impl Compress {
    pub fn open(ordinal: u32, nvrtc: Option<&Path>, cache: &Path) -> Result<Compress, String> {
        let driver = probe()?;
        if ordinal >= driver.devices {
            return Err(format!("GPU {ordinal} is not there: the driver sees {} of them", driver.devices));
        }
        let failed = |error: DriverError| message("open the device", error);
        let context = CudaContext::new(ordinal as usize).map_err(failed)?;
        // SAFETY: one stream is used, and no `CudaSlice`.
        unsafe { context.disable_event_tracking() };
        let (major, minor) = context.compute_capability().map_err(failed)?;
        let module = load(&context, &module::COMPRESS, (10 * major + minor) as u32, nvrtc, cache)?;
        let kernels = Kernels::load(&module).map_err(|error| message("load the kernels", error))?;
        let stream = context.new_stream().map_err(failed)?;
        Ok(Compress { context, stream, kernels })
    }

    /// The pages' streams.
    pub fn compress(&self, pages: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, String> {
        self.compressed(pages).map_err(|error| message("compress pages", error))?
    }

    /// Times the kernels over the pages, medians over the repeats. Gives the bytes that they make, too.
    pub fn time(&self, pages: &[Vec<u8>], repeats: usize) -> Result<(Times, u64), String> {
        self.timed(pages, repeats).map_err(|error| message("time the kernels", error))
    }

    fn copy_in(&self, pages: &[Vec<u8>]) -> Result<Resident, DriverError> {
        self.context.bind_to_thread()?;
        let count = pages.len() as u32;
        let bound = segments(pages.iter().map(Vec::len));
        let mut at = 0;
        let places: Vec<Place> = pages
            .iter()
            .map(|page| {
                let start = at;
                at = (at + page.len() as u64).next_multiple_of(16);
                Place { at: start, bytes: page.len() as u32, reserved: 0 }
            })
            .collect();
        let table = at.next_multiple_of(256);
        let output_bytes: u64 = pages.iter().map(|page| snap::raw::max_compress_len(page.len()) as u64).sum();
        let bodies = output_bytes.next_multiple_of(256);
        let place = size_of::<Place>() as u64;
        let need = Need {
            input: table + u64::from(count) * place + 16,
            output: bodies + (u64::from(count) + 1) * place,
            scratch: scratch(count, bound),
        };
        let arena = Arena::scattered(&self.context, need, 1)?;
        let parts = arena.parts()[0];
        for (page, place) in pages.iter().zip(&places) {
            // SAFETY: the input part has room for every page at its place.
            unsafe { cuMemcpyHtoD_v2(parts.input + place.at, page.as_ptr().cast(), page.len()) }.result()?;
        }
        // SAFETY: and for the table behind them.
        unsafe {
            cuMemcpyHtoD_v2(parts.input + table, places.as_ptr().cast(), size_of_val(&places[..])).result()?
        };
        let work = Work {
            input: parts.input,
            pages: parts.input + table,
            output: parts.output,
            bodies: parts.output + bodies,
            scratch: parts.scratch,
            output_bytes,
            count,
            bound,
        };
        Ok(Resident { work, arena })
    }

    fn compressed(&self, pages: &[Vec<u8>]) -> Result<Result<Vec<Vec<u8>>, String>, DriverError> {
        let resident = self.copy_in(pages)?;
        let work = &resident.work;
        // SAFETY: the buffers are ours alone and as large as the kernels ask.
        unsafe { self.kernels.launch(&self.stream, work, |_| Ok(()))? };
        self.stream.synchronize()?;
        let mut bodies = vec![Place::default(); pages.len() + 1];
        // SAFETY: as many lie there, of integers only.
        unsafe {
            cuMemcpyDtoH_v2(bodies.as_mut_ptr().cast(), work.bodies, size_of_val(&bodies[..])).result()?
        };
        let end = bodies[pages.len()];
        if end.bytes == FAILED || end.at > work.output_bytes {
            return Ok(Err(format!("no room for the streams: {end:?}")));
        }
        let mut output = vec![0; end.at as usize];
        // SAFETY: as many bytes of the output are in use.
        unsafe { cuMemcpyDtoH_v2(output.as_mut_ptr().cast(), work.output, output.len()).result()? };
        drop(resident.arena);
        let streams = bodies[..pages.len()].iter().map(|body| {
            let stream = output.get(body.at as usize..body.at as usize + body.bytes as usize);
            stream.map(<[u8]>::to_vec).ok_or(format!("a stream outside of the output: {body:?}"))
        });
        Ok(streams.collect())
    }

    fn timed(&self, pages: &[Vec<u8>], repeats: usize) -> Result<(Times, u64), DriverError> {
        let resident = self.copy_in(pages)?;
        let (stream, work) = (&self.stream, &resident.work);
        let event = || self.context.new_event(Some(CUevent_flags::CU_EVENT_DEFAULT));
        let marks = (0..=PHASES.len()).map(|_| event()).collect::<Result<Vec<_>, _>>()?;
        let (mut phases, mut totals) = (vec![Vec::new(); PHASES.len()], Vec::new());
        // The first round warms up.
        for round in 0..=repeats {
            marks[0].record(stream)?;
            // SAFETY: as above.
            unsafe { self.kernels.launch(stream, work, |phase| marks[phase + 1].record(stream))? };
            stream.synchronize()?;
            if round == 0 {
                continue;
            }
            totals.push(f64::from(marks[0].elapsed_ms(&marks[PHASES.len()])?) / 1e3);
            for (phase, times) in phases.iter_mut().enumerate() {
                times.push(f64::from(marks[phase].elapsed_ms(&marks[phase + 1])?) / 1e3);
            }
        }
        let mut end = Place::default();
        let last = work.bodies + u64::from(work.count) * size_of::<Place>() as u64;
        // SAFETY: the last of the bodies, of integers only.
        unsafe { cuMemcpyDtoH_v2((&raw mut end).cast(), last, size_of::<Place>()).result()? };
        let phases = PHASES.iter().zip(&mut phases).map(|(name, times)| (*name, median(times))).collect();
        drop(resident.arena);
        Ok((Times { phases, total: median(&mut totals) }, end.at))
    }
}
