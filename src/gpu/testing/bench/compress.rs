//! Compresses pages on a device, for the device check: the result, and how fast.

use std::path::Path;
use std::sync::Arc;

use cudarc::driver::DriverError;
use cudarc::driver::sys::CUresult;

use super::Times;
use super::device::BenchDevice;
use crate::gpu::cuda::arena::{Arena, Need};
use crate::gpu::cuda::compress::{Arguments, FAILED, Kernels, PHASES, Place, scratch, segments};
use crate::gpu::cuda::copy::{put, take};
use crate::gpu::cuda::error::message;
use crate::gpu::cuda::memory::Heap;
use crate::gpu::cuda::module;
use crate::gpu::cuda::nvcomp::Nvcomp;
use crate::gpu::cuda::zstd_frames::{self, Failed, ZstdFrames};
use crate::slot::encode::ZSTD;

/// Bytes of memory for nvCOMP, as the service has it.
const MEMORY: u64 = 8 << 30;

/// A device with the compress kernels, and nvCOMP where that is wanted.
pub struct Compress {
    device: BenchDevice,
    kernels: Kernels,
    nvcomp: Option<(Nvcomp, Arc<Heap>)>,
}

/// Pages on the device.
struct Resident {
    work: Arguments,
    _arena: Arena,
}

impl Compress {
    pub fn open(
        ordinal: u32,
        nvrtc: Option<&Path>,
        cache: &Path,
        nvcomp: Option<&Path>,
    ) -> Result<Compress, String> {
        let device = BenchDevice::open(&module::COMPRESS, ordinal, nvrtc, cache)?;
        let kernels = Kernels::load(&device.module).map_err(|error| message("load the kernels", error))?;
        let open = |path: &Path| {
            let heap = Heap::new(&device.context, MEMORY)?;
            let nvcomp = zstd_frames::open(path, &heap, &device.stream)?;
            Ok((nvcomp, heap))
        };
        let nvcomp = nvcomp.map(open).transpose().map_err(|failed: Failed| failed.message())?;
        Ok(Compress { device, kernels, nvcomp })
    }

    /// Compresses the pages by a codec of `slot::encode`.
    pub fn compress(&self, pages: &[Vec<u8>], codec: u32) -> Result<Vec<Vec<u8>>, String> {
        if codec == ZSTD {
            return self.framed(pages, 0).map(|(frames, ..)| frames);
        }
        self.compressed(pages, codec).map_err(|error| message("compress pages", error))?
    }

    /// Times the kernels over the pages, medians over the repeats. Also returns the bytes that they make, and a note.
    pub fn time(
        &self,
        pages: &[Vec<u8>],
        codec: u32,
        repeats: usize,
    ) -> Result<(Times, u64, String), String> {
        if codec == ZSTD {
            let (frames, times, note) = self.framed(pages, repeats)?;
            return Ok((times, frames.iter().map(|frame| frame.len() as u64).sum(), note));
        }
        let timed = self.timed(pages, codec, repeats).map_err(|error| message("time the kernels", error))?;
        Ok((timed.0, timed.1, String::new()))
    }

    /// Compresses the pages by nvCOMP. Returns the frames, the time, and a note about the memory.
    fn framed(&self, pages: &[Vec<u8>], repeats: usize) -> Result<(Vec<Vec<u8>>, Times, String), String> {
        let (nvcomp, heap) = self.nvcomp.as_ref().ok_or("nvCOMP has not been opened")?;
        let stream = &self.device.stream;
        let run = || -> Result<_, Failed> {
            self.device.context.bind_to_thread()?;
            let mut memory = Vec::new();
            for page in pages {
                let block = heap.take(page.len() as u64).ok_or_else(|| "too many pages".to_string())?;
                // SAFETY: a block of our own, as large.
                unsafe { put(block.address(), page, stream)? };
                memory.push(block);
            }
            let places = memory.iter().zip(pages).map(|(block, page)| (block.address(), page.len() as u64));
            let frames = ZstdFrames::new(nvcomp, heap, stream, &places.collect::<Vec<_>>())?;
            // SAFETY: the pages are there; the stream is synchronized by `finish` and at the end of every round.
            let start = || unsafe { frames.start(stream) };
            start()?;
            let places = frames.finish(stream)?;
            // SAFETY: as many bytes are there.
            let made = places.iter().map(|&(at, bytes)| unsafe { take(at, bytes as usize) });
            let made = made.collect::<Result<Vec<Vec<u8>>, _>>()?;
            if repeats == 0 {
                return Ok((made, Times::default(), frames.cost()));
            }
            let times = self.device.time(&["compress"], repeats, |after| {
                // It went well before.
                start().map_err(|_| DriverError(CUresult::CUDA_ERROR_UNKNOWN))?;
                after(0)
            })?;
            Ok((made, times, frames.cost()))
        };
        run().map_err(|failed| failed.message())
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
                put(parts.input + place.at, page, &self.device.stream)?;
            }
            put(parts.input + table, &places, &self.device.stream)?;
        }
        let work = Arguments {
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
            // SAFETY: the buffers are ours alone and as large as the kernels ask.
            unsafe { self.kernels.launch(&self.device.stream, work, codec, after) }
        })?;
        // SAFETY: the kernels have written as many, and are done.
        let bodies: Vec<Place> = unsafe { take(work.bodies, pages.len() + 1)? };
        Ok((times, bodies[pages.len()].at))
    }
}
