//! Pages compressed on a device by themselves, for the device check: what becomes of them, and how fast.

use std::path::Path;

use cudarc::driver::DriverError;

use super::alone::{Alone, put, take};
use super::arena::{Arena, Need};
use super::bench::Times;
use super::compress::{FAILED, Kernels, PHASES, Place, Work, scratch, segments};
use super::error::message;
use super::module;

/// A device with the compress kernels.
pub struct Compress {
    device: Alone,
    kernels: Kernels,
}

/// Pages on the device.
struct Resident {
    work: Work,
    _arena: Arena,
}

impl Compress {
    pub fn open(ordinal: u32, nvrtc: Option<&Path>, cache: &Path) -> Result<Compress, String> {
        let device = Alone::open(&module::COMPRESS, ordinal, nvrtc, cache)?;
        let kernels = Kernels::load(&device.module).map_err(|error| message("load the kernels", error))?;
        Ok(Compress { device, kernels })
    }

    /// What becomes of the pages, by a codec of `slot::encode`.
    pub fn compress(&self, pages: &[Vec<u8>], codec: u32) -> Result<Vec<Vec<u8>>, String> {
        self.compressed(pages, codec).map_err(|error| message("compress pages", error))?
    }

    /// Times the kernels over the pages, medians over the repeats. Gives the bytes that they make, too.
    pub fn time(&self, pages: &[Vec<u8>], codec: u32, repeats: usize) -> Result<(Times, u64), String> {
        self.timed(pages, codec, repeats).map_err(|error| message("time the kernels", error))
    }

    fn copy_in(&self, pages: &[Vec<u8>]) -> Result<Resident, DriverError> {
        self.device.context.bind_to_thread()?;
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
        let arena = Arena::scattered(&self.device.context, need, 1)?;
        let parts = arena.parts()[0];
        // SAFETY: the input part has room for every page at its place, and for the table behind them.
        unsafe {
            for (page, place) in pages.iter().zip(&places) {
                put(parts.input + place.at, page)?;
            }
            put(parts.input + table, &places)?;
        }
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
        Ok(Resident { work, _arena: arena })
    }

    fn compressed(&self, pages: &[Vec<u8>], codec: u32) -> Result<Result<Vec<Vec<u8>>, String>, DriverError> {
        let resident = self.copy_in(pages)?;
        let work = &resident.work;
        // SAFETY: the buffers are ours alone and as large as the kernels ask.
        unsafe { self.kernels.launch(&self.device.stream, work, codec, |_| Ok(()))? };
        self.device.stream.synchronize()?;
        // SAFETY: as many were written.
        let bodies: Vec<Place> = unsafe { take(work.bodies, pages.len() + 1)? };
        let end = bodies[pages.len()];
        if end.bytes == FAILED || end.at > work.output_bytes {
            return Ok(Err(format!("no room for the streams: {end:?}")));
        }
        // SAFETY: as many bytes of the output are in use.
        let output: Vec<u8> = unsafe { take(work.output, end.at as usize)? };
        let streams = bodies[..pages.len()].iter().map(|body| {
            let stream = output.get(body.at as usize..body.at as usize + body.bytes as usize);
            stream.map(<[u8]>::to_vec).ok_or(format!("a stream outside of the output: {body:?}"))
        });
        Ok(streams.collect())
    }

    fn timed(&self, pages: &[Vec<u8>], codec: u32, repeats: usize) -> Result<(Times, u64), DriverError> {
        let resident = self.copy_in(pages)?;
        let work = &resident.work;
        let times = self.device.time(&PHASES, repeats, |after| {
            // SAFETY: as above.
            unsafe { self.kernels.launch(&self.device.stream, work, codec, after) }
        })?;
        // SAFETY: as above.
        let bodies: Vec<Place> = unsafe { take(work.bodies, pages.len() + 1)? };
        Ok((times, bodies[pages.len()].at))
    }
}
