//! nvCOMP, NVIDIA's library of codecs, compresses pages on a device by zstd if the user has installed it and names it. It
//! is not searched for, and no part of it is shipped.
//!
//! Version 6 is supported, by the prototypes of its `nvcomp/zstd.h`. In version 5 the function for the temporary memory
//! has another name and takes no stream; older versions have an int for options and no statuses. They are refused.
//!
//! A page is a chunk in nvCOMP's words, and becomes one standard zstd frame. It may have 16 MB; a frame gets the room
//! that the library names for a page of that length. Both start at multiples of 16; the library asks for less. It has no
//! levels.
//!
//! Runs in the engine, on the thread that opens a device and then on those that answer requests. Addresses are the
//! device's.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::dynamic::Library;
use crate::gpu::lock::lock;

const MAJOR: u32 = 6;
/// `nvcompBatchedZstdCompressAsync`: "Chunk sizes must not exceed 16 MB".
const MAX_PAGE: u64 = 16 << 20;
/// The alignment of pages, frames and temporary memory.
const ALIGN: u64 = 16;

pub type Stream = *mut c_void;

/// `nvcompBatchedZstdCompressOpts_t`: reserved, to be zeros.
#[repr(C)]
#[derive(Clone, Copy)]
struct Options([u8; 64]);

const OPTIONS: Options = Options([0; 64]);

/// `nvcompProperties_t`.
#[repr(C)]
#[derive(Default)]
struct Properties {
    version: u32,
    cuda_runtime: u32,
}

/// `nvcompAlignmentRequirements_t`.
#[repr(C)]
#[derive(Default)]
struct Alignments {
    input: usize,
    output: usize,
    temporary: usize,
}

type GetAlignments = unsafe extern "C" fn(Options, *mut Alignments) -> c_int;
type GetTemporary = unsafe extern "C" fn(usize, usize, Options, *mut usize, usize, Stream) -> c_int;
type GetRoom = unsafe extern "C" fn(usize, Options, *mut usize) -> c_int;
type Compress = unsafe extern "C" fn(
    *const *const c_void,
    *const usize,
    usize,
    usize,
    *mut c_void,
    usize,
    *const *mut c_void,
    *mut usize,
    Options,
    *mut c_int,
    Stream,
) -> c_int;

/// The open library.
#[derive(Debug)]
pub struct Nvcomp {
    file: PathBuf,
    version: u32,
    temporary: GetTemporary,
    room: GetRoom,
    compress: Compress,
    error: unsafe extern "C" fn(c_int) -> *const c_char,
}

/// Pages by their addresses and lengths, and the place of each page's frame in one block of memory.
#[derive(Debug, Default)]
pub struct Plan {
    pages: Vec<(u64, u64)>,
    frames: Vec<Range<u64>>,
    /// Bytes of the block.
    pub bytes: u64,
}

/// The tables of a plan: u64 each for pages, their lengths, frames and their lengths, then i32 statuses.
#[derive(Clone, Copy, Debug)]
pub struct Tables {
    at: u64,
    count: u64,
}

impl Nvcomp {
    pub fn open(path: &Path) -> Result<Nvcomp, String> {
        Library::open(&path.to_string_lossy(), false).and_then(Nvcomp::from_library)
    }

    fn from_library(library: Library) -> Result<Nvcomp, String> {
        let file = library.file_of(c"nvcompGetProperties").unwrap_or_default();
        let mut properties = Properties::default();
        // SAFETY: the function has this type in every version since 3.
        let version = unsafe {
            let get: unsafe extern "C" fn(*mut Properties) -> c_int =
                library.function(c"nvcompGetProperties")?;
            get(&mut properties);
            properties.version
        };
        if version / 1000 != MAJOR {
            return Err(format!("{} is nvCOMP {}, not {MAJOR}", file.display(), name(version)));
        }
        // SAFETY: the functions have these types in version 6.
        let (nvcomp, alignments) = unsafe {
            let alignments: GetAlignments =
                library.function(c"nvcompBatchedZstdCompressGetRequiredAlignments")?;
            let nvcomp = Nvcomp {
                file,
                version,
                temporary: library.function(c"nvcompBatchedZstdCompressGetTempSize")?,
                room: library.function(c"nvcompBatchedZstdCompressGetMaxOutputChunkSize")?,
                compress: library.function(c"nvcompBatchedZstdCompressAsync")?,
                error: library.function(c"nvcompGetStatusString")?,
            };
            (nvcomp, alignments)
        };
        let mut asked = Alignments::default();
        // SAFETY: writes the three numbers.
        nvcomp.check("tell alignments", unsafe { alignments(OPTIONS, &mut asked) })?;
        let most = asked.input.max(asked.output).max(asked.temporary) as u64;
        if most == 0 || !ALIGN.is_multiple_of(most) {
            return Err(format!("{} asks for pages at multiples of {most}", nvcomp.file.display()));
        }
        Ok(nvcomp)
    }

    fn check(&self, doing: &str, status: c_int) -> Result<(), String> {
        if status == 0 {
            return Ok(());
        }
        // SAFETY: gives a static string, or nothing, for any number.
        let text = unsafe {
            let text = (self.error)(status);
            if text.is_null() { c"unknown" } else { CStr::from_ptr(text) }
        };
        let text = text.to_string_lossy();
        Err(format!("nvCOMP cannot {doing}: {text} ({status})"))
    }

    /// Plans pages, given by their addresses, multiples of 16, and lengths.
    pub fn plan(&self, pages: impl IntoIterator<Item = (u64, u64)>) -> Result<Plan, String> {
        let mut plan = Plan::default();
        for (at, bytes) in pages {
            if bytes > MAX_PAGE {
                return Err("a page has more than the 16 MB that nvCOMP takes".into());
            }
            let mut room = 0;
            // SAFETY: writes one number.
            let status = unsafe { (self.room)(bytes as usize, OPTIONS, &mut room) };
            self.check("tell a frame's room", status)?;
            plan.pages.push((at, bytes));
            plan.frames.push(plan.bytes..plan.bytes + room as u64);
            plan.bytes = (plan.bytes + room as u64).next_multiple_of(ALIGN);
        }
        Ok(plan)
    }

    /// Divides the pages into batches that take at most `most` bytes of temporary memory each; also returns what the largest
    /// takes.
    pub fn batches(
        &self,
        plan: &Plan,
        most: u64,
        stream: Stream,
    ) -> Result<(Vec<Range<usize>>, u64), String> {
        let count = plan.pages.len();
        let mut pages = count;
        loop {
            let starts = (0..count).step_by(pages.max(1));
            let batches: Vec<_> = starts.map(|start| start..count.min(start + pages)).collect();
            let mut largest = 0;
            for batch in &batches {
                largest = self.temporary(plan, batch, stream)?.max(largest);
            }
            match pages {
                _ if largest <= most => return Ok((batches, largest)),
                0 | 1 => return Err("nvCOMP needs more temporary memory than there is for it".into()),
                _ => pages = pages.div_ceil(2),
            }
        }
    }

    fn temporary(&self, plan: &Plan, batch: &Range<usize>, stream: Stream) -> Result<u64, String> {
        let (longest, mut bytes) = (plan.longest(batch), 0);
        let total: u64 = plan.pages[batch.clone()].iter().map(|page| page.1).sum();
        // SAFETY: writes one number.
        let status =
            unsafe { (self.temporary)(batch.len(), longest, OPTIONS, &mut bytes, total as usize, stream) };
        self.check("tell its temporary memory", status)?;
        Ok(bytes as u64)
    }

    /// Starts to compress a batch whose tables hold what `Plan::words` returns.
    ///
    /// # Safety
    ///
    /// In the stream's order tables and pages are there, and nothing else uses the tables, the frames' memory and the
    /// temporary memory, which are as large as asked for, until the batch is done.
    pub unsafe fn start(
        &self,
        plan: &Plan,
        batch: &Range<usize>,
        tables: Tables,
        (temporary, temporary_bytes): (u64, u64),
        stream: Stream,
    ) -> Result<(), String> {
        let column = |number: u64| pointer(tables.column(number) + 8 * batch.start as u64);
        // SAFETY: the caller says that tables, pages and temporary memory are on the device until the batch is done; the
        // tables have as many entries from the batch's start on.
        let status = unsafe {
            (self.compress)(
                column(0).cast(),
                column(1).cast(),
                plan.longest(batch),
                batch.len(),
                pointer(temporary),
                temporary_bytes as usize,
                column(2).cast(),
                column(3).cast(),
                OPTIONS,
                pointer(tables.statuses() + 4 * batch.start as u64).cast(),
                stream,
            )
        };
        self.check("start to compress pages", status)
    }

    /// Returns the place of each page's frame in the block, from what the tables hold at the end.
    pub fn frames(&self, plan: &Plan, lengths: &[u64], statuses: &[i32]) -> Result<Vec<Range<u64>>, String> {
        let frame = |((room, &bytes), &status): ((&Range<u64>, &u64), &i32)| {
            self.check("compress a page", status)?;
            match (1..=room.end - room.start).contains(&bytes) {
                true => Ok(room.start..room.start + bytes),
                false => Err("nvCOMP says of a frame that it is longer than its room, or empty".into()),
            }
        };
        plan.frames.iter().zip(lengths).zip(statuses).map(frame).collect()
    }

    /// Compresses pages on the host, by a test's library that takes the host's addresses.
    #[cfg(any(test, feature = "testing"))]
    pub fn compress_here(&self, pages: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, String> {
        let plan = self.plan(pages.iter().map(|page| (page.as_ptr() as u64, page.len() as u64)))?;
        let (count, stream) = (pages.len(), std::ptr::null_mut());
        // So little that there are several batches.
        let (batches, bytes) = self.batches(&plan, 2 * MAX_PAGE, stream)?;
        let mut frames = vec![0u8; plan.bytes as usize];
        let mut temporary = vec![0u64; bytes.div_ceil(8) as usize];
        let mut words = plan.words(frames.as_mut_ptr() as u64);
        words.resize(Tables::bytes(count).div_ceil(8) as usize, 0);
        let tables = Tables::at(words.as_mut_ptr() as u64, count);
        for batch in &batches {
            // SAFETY: the memory is ours and as large as asked for; a test's library is done when it returns.
            unsafe { self.start(&plan, batch, tables, (temporary.as_mut_ptr() as u64, bytes), stream)? };
        }
        let statuses: Vec<i32> =
            words[4 * count..].iter().flat_map(|word| [*word as i32, (word >> 32) as i32]).collect();
        let places = self.frames(&plan, &words[3 * count..4 * count], &statuses)?;
        Ok(places.iter().map(|place| frames[place.start as usize..place.end as usize].to_vec()).collect())
    }
}

impl fmt::Display for Nvcomp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nvCOMP {} ({})", name(self.version), self.file.display())
    }
}

/// Returns the version in a number of `nvcomp/version.h`.
fn name(version: u32) -> String {
    format!("{}.{}.{}", version / 1000, version % 1000 / 100, version % 100)
}

fn pointer(address: u64) -> *mut c_void {
    address as usize as *mut c_void
}

impl Plan {
    /// Returns the first words of the tables, for frames in a block that starts at `frames`.
    pub fn words(&self, frames: u64) -> Vec<u64> {
        let pages = || self.pages.iter();
        let starts = self.frames.iter().map(|frame| frames + frame.start);
        pages().map(|page| page.0).chain(pages().map(|page| page.1)).chain(starts).collect()
    }

    fn longest(&self, batch: &Range<usize>) -> usize {
        self.pages[batch.clone()].iter().map(|page| page.1 as usize).max().unwrap_or(0)
    }
}

impl Tables {
    pub fn at(at: u64, pages: usize) -> Tables {
        Tables { at, count: pages as u64 }
    }

    pub fn bytes(pages: usize) -> u64 {
        36 * pages as u64
    }

    fn column(self, number: u64) -> u64 {
        self.at + 8 * self.count * number
    }

    /// The address of the frames' lengths, which nvCOMP writes.
    pub fn lengths(self) -> u64 {
        self.column(3)
    }

    pub fn statuses(self) -> u64 {
        self.column(4)
    }
}

/// A device's nvCOMP, and the notes about it.
#[derive(Debug, Default)]
pub struct Zstd {
    nvcomp: Option<Nvcomp>,
    notes: Mutex<Notes>,
}

#[derive(Debug, Default)]
struct Notes {
    waiting: Vec<String>,
    last: String,
}

impl Zstd {
    /// `None` if no library was named.
    pub fn new(opened: Option<Result<Nvcomp, String>>) -> Zstd {
        let mut zstd = Zstd::default();
        match opened {
            Some(Ok(nvcomp)) => {
                zstd.note(format!("zstd pages are compressed by {nvcomp}"));
                zstd.nvcomp = Some(nvcomp);
            }
            Some(Err(reason)) => zstd.give_up(&reason),
            None => {}
        }
        zstd
    }

    pub fn nvcomp(&self) -> Option<&Nvcomp> {
        self.nvcomp.as_ref()
    }

    /// Stops using the library; the CPU compresses the pages from now on.
    pub fn give_up(&self, reason: &str) {
        self.note(format!("zstd pages are left to the CPU: {reason}"));
    }

    /// Notes a line, unless it was the last one.
    fn note(&self, line: String) {
        let mut notes = lock(&self.notes);
        if notes.last != line {
            notes.last.clone_from(&line);
            notes.waiting.push(line);
        }
    }

    pub fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.notes).waiting)
    }
}

#[cfg(test)]
#[path = "nvcomp_tests.rs"]
mod tests;
