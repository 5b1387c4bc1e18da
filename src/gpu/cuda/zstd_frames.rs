//! Zstd frames that nvCOMP makes of pages on a CUDA device.
//!
//! Runs on the thread that opens the device, where a page is tried, and on the threads that answer requests, one at a
//! time. It uses the row groups' memory. A batch's temporary memory is at most a quarter of it, so that other processes'
//! columns keep their room. nvCOMP 6.0 asks for 1.1 GB on an H100 (measured) however few the pages are: the amount follows
//! from the number of the GPU's multiprocessors.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use cudarc::driver::{CudaStream, DriverError};

use super::copy::{put, take};
use super::error::message;
use super::memory::{Block, Heap};
use super::nvcomp::{Nvcomp, Plan, Tables};

/// Temporary memory may have one part in this many of the memory.
const SHARE: u64 = 4;
/// Bytes of the page that is tried.
const TRIED: usize = 150_000;

/// The reason why there are no frames.
pub enum Failed {
    Device(DriverError),
    /// An error of nvCOMP's; the device works.
    Refused(String),
}

impl From<DriverError> for Failed {
    fn from(error: DriverError) -> Failed {
        Failed::Device(error)
    }
}

impl From<String> for Failed {
    fn from(reason: String) -> Failed {
        Failed::Refused(reason)
    }
}

/// Pages that are compressed, and the memory that this takes.
pub struct ZstdFrames<'a> {
    nvcomp: &'a Nvcomp,
    plan: Plan,
    batches: Vec<Range<usize>>,
    pages: usize,
    tables: Block,
    temporary: Block,
    temporary_bytes: u64,
    frames: Block,
}

impl<'a> ZstdFrames<'a> {
    /// Takes the memory to compress `pages`, given by their addresses, multiples of 16, and lengths.
    pub fn new(
        nvcomp: &'a Nvcomp,
        heap: &Arc<Heap>,
        stream: &CudaStream,
        pages: &[(u64, u64)],
    ) -> Result<ZstdFrames<'a>, String> {
        let room = |bytes| heap.take(bytes).ok_or("no memory is left for what nvCOMP makes of a row group");
        let plan = nvcomp.plan(pages.iter().copied())?;
        let (batches, temporary_bytes) =
            nvcomp.batches(&plan, heap.bytes() / SHARE, stream.cu_stream().cast())?;
        Ok(ZstdFrames {
            nvcomp,
            batches,
            pages: pages.len(),
            tables: room(Tables::bytes(pages.len()))?,
            temporary: room(temporary_bytes)?,
            temporary_bytes,
            frames: room(plan.bytes)?,
            plan,
        })
    }

    fn tables(&self) -> Tables {
        Tables::at(self.tables.address(), self.pages)
    }

    /// Starts to compress the pages.
    ///
    /// # Safety
    ///
    /// In the stream's order the pages are there, and the value lives until the stream is synchronized.
    pub unsafe fn start(&self, stream: &CudaStream) -> Result<(), Failed> {
        let temporary = (self.temporary.address(), self.temporary_bytes);
        // SAFETY: the blocks are this value's and as large as nvCOMP asks; the caller says that the pages are there and
        // that the value outlives the copies.
        unsafe {
            put(self.tables.address(), &self.plan.words(self.frames.address()), stream)?;
            for batch in &self.batches {
                let stream = stream.cu_stream().cast();
                self.nvcomp.start(&self.plan, batch, self.tables(), temporary, stream)?;
            }
        }
        Ok(())
    }

    /// Waits for the frames and returns their addresses and lengths.
    pub fn finish(&self, stream: &CudaStream) -> Result<Vec<(u64, u64)>, Failed> {
        stream.synchronize()?;
        let tables = self.tables();
        // SAFETY: as many were written, of integers only.
        let (lengths, statuses) =
            unsafe { (take(tables.lengths(), self.pages)?, take(tables.statuses(), self.pages)?) };
        let frames = self.nvcomp.frames(&self.plan, &lengths, &statuses)?;
        let place = |frame: &Range<u64>| (self.frames.address() + frame.start, frame.end - frame.start);
        Ok(frames.iter().map(place).collect())
    }

    /// Returns the memory that the frames lie in.
    pub fn into_memory(self) -> Block {
        self.frames
    }

    /// Describes the memory that it takes besides the frames, and the number of batches.
    #[cfg(any(test, feature = "testing"))]
    pub fn cost(&self) -> String {
        let (megabytes, batches) = (self.temporary_bytes.div_ceil(1 << 20), self.batches.len());
        format!("{megabytes} MB of temporary memory, {batches} batches")
    }
}

/// Opens nvCOMP and compresses a page, which the CPU must be able to read.
pub fn open(path: &Path, heap: &Arc<Heap>, stream: &CudaStream) -> Result<Nvcomp, Failed> {
    let nvcomp = Nvcomp::open(path)?;
    let page: Vec<u8> =
        (0..TRIED as u32).map(|number| (number.wrapping_mul(number) >> 9) as u8 & 31).collect();
    let memory = heap.take(TRIED as u64).ok_or_else(|| "no memory is left to try nvCOMP".to_string())?;
    let frame = {
        let frames = ZstdFrames::new(&nvcomp, heap, stream, &[(memory.address(), TRIED as u64)])?;
        // SAFETY: the page's memory is as large; all of it lives until the stream is synchronized, which it is
        // in either case.
        let started = unsafe {
            put(memory.address(), &page, stream)?;
            frames.start(stream)
        };
        let finished = frames.finish(stream);
        started?;
        let (at, bytes) = finished?[0];
        // SAFETY: as many bytes are there.
        unsafe { take::<u8>(at, bytes as usize)? }
    };
    match ::zstd::bulk::decompress(&frame, TRIED) {
        Ok(back) if back == page => Ok(nvcomp),
        Ok(_) => Err(format!("what {nvcomp} makes of a page is another one").into()),
        Err(cause) => Err(format!("what {nvcomp} makes of a page cannot be read: {cause}").into()),
    }
}

impl Failed {
    pub fn message(&self) -> String {
        match self {
            Failed::Device(error) => message("compress pages by nvCOMP", *error),
            Failed::Refused(reason) => reason.clone(),
        }
    }
}
