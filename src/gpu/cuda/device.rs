//! A CUDA device that decodes slots.
//!
//! A slot in flight has a buffer of its own on the device and goes through four streams, so that one slot's
//! copies run beside another's kernels:
//!
//! ```text
//! submit    copy_in  input region -> device | compute  kernels | report  header, columns, statuses -> host
//! collect   waits for the report, checks it | copy_out  exactly the bytes in use -> output region
//! ```
//!
//! `row_groups` keeps columns and answers requests to encode them.
//!
//! The report has a stream of its own: on `copy_out` it would wait for other slots' columns, and on `compute` it would
//! hold up the next slot's kernels. The feeder's thread calls `submit`; the drainer's thread and those that answer
//! requests call `collect`. All bind the context first.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use cudarc::driver::sys::{CUevent_flags, cuMemcpyDtoHAsync_v2, cuMemcpyHtoDAsync_v2};
use cudarc::driver::{CudaContext, CudaEvent, CudaStream, DriverError};

use super::arena::{Arena, Need, Parts};
use super::bandwidth::Bandwidth;
use super::error::{fault, refused};
use super::launch::Kernels;
use super::pinned::{Pinned, Registered};
use super::query::{CudaQueries, Query};
use super::row_groups::RowGroups;
use crate::gpu::lock::lock;
use crate::gpu::{Device, DeviceInfo, Fault};
use crate::slot::encode::{Request, Wish, read_request};
use crate::slot::input::Input;
use crate::slot::layout::{AGGREGATE, Header, KEEP, Op, OutHeader, columns_start, get, lay_out, put};
use crate::slot::query::{self, BITMAP_AT, Marks};

/// Columns that a report has room for: PostgreSQL's tables have at most 1600.
const MAX_COLUMNS: usize = 1664;

pub(in crate::gpu) struct Streams {
    pub copy_in: Arc<CudaStream>,
    pub compute: Arc<CudaStream>,
    pub report: Arc<CudaStream>,
    pub copy_out: Arc<CudaStream>,
}

impl Streams {
    pub fn new(context: &Arc<CudaContext>) -> Result<Streams, DriverError> {
        let stream = || context.new_stream();
        Ok(Streams { copy_in: stream()?, compute: stream()?, report: stream()?, copy_out: stream()? })
    }
}

/// The memory and the events of a slot in flight.
struct Buffer {
    parts: Parts,
    report: Pinned,
    copied: CudaEvent,
    computed: CudaEvent,
    reported: CudaEvent,
    written: CudaEvent,
    /// The slot's task; `None` while the buffer is free.
    task: Mutex<Option<Task>>,
}

/// Rows to decode.
#[derive(Clone)]
struct Task {
    group: u64,
    header: Header,
    ops: Vec<Op>,
    /// The query that the rows go to.
    query: Option<Arc<Query>>,
}

/// A request for an encoded row group, or of a query.
enum Asked {
    Group(u64, Request, Vec<Wish>),
    Query(u64, query::Request, Vec<u8>),
}

impl Buffer {
    fn new(context: &Arc<CudaContext>, parts: Parts) -> Result<Buffer, DriverError> {
        let event = || context.new_event(Some(CUevent_flags::CU_EVENT_BLOCKING_SYNC));
        Ok(Buffer {
            parts,
            report: Pinned::new(context, columns_start(MAX_COLUMNS))?,
            copied: context.new_event(None)?,
            computed: context.new_event(None)?,
            reported: event()?,
            written: event()?,
            task: Mutex::new(None),
        })
    }
}

/// A kernel that is launched with a test's slot, counted from 0, and faults.
#[cfg(any(test, feature = "testing"))]
pub(super) struct Planted {
    pub slot: u64,
    pub kernel: cudarc::driver::CudaFunction,
}

pub struct CudaDevice {
    info: DeviceInfo,
    #[cfg_attr(not(any(test, feature = "testing")), expect(dead_code))]
    pub(in crate::gpu) bandwidth: Bandwidth,
    pub(in crate::gpu) context: Arc<CudaContext>,
    pub(in crate::gpu) streams: Streams,
    pub(in crate::gpu) kernels: Kernels,
    pub(in crate::gpu) need: Need,
    row_groups: RowGroups,
    queries: CudaQueries,
    buffers: Vec<Buffer>,
    /// Requests in flight by their tickets, which follow those of the buffers.
    asked: Mutex<HashMap<usize, Asked>>,
    next_request: AtomicUsize,
    free: Mutex<Vec<usize>>,
    freed: Condvar,
    #[cfg(any(test, feature = "testing"))]
    planted: Option<Planted>,
    #[cfg(any(test, feature = "testing"))]
    submitted: std::sync::atomic::AtomicU64,
    lost: AtomicBool,
    // Dropped last, in this order.
    _arena: Arena,
    _pool: Arc<Registered>,
}

/// The parts of a device that is opened.
pub(super) struct Made {
    pub info: DeviceInfo,
    pub bandwidth: Bandwidth,
    pub context: Arc<CudaContext>,
    pub streams: Streams,
    pub kernels: Kernels,
    pub need: Need,
    pub row_groups: RowGroups,
    pub queries: CudaQueries,
    pub arena: Arena,
    pub pool: Arc<Registered>,
    #[cfg(any(test, feature = "testing"))]
    pub planted: Option<Planted>,
}

impl CudaDevice {
    pub(super) fn new(made: Made) -> Result<CudaDevice, DriverError> {
        let Made {
            info, bandwidth, context, streams, kernels, need, row_groups, queries, arena, pool, ..
        } = made;
        let buffers =
            arena.parts().iter().map(|parts| Buffer::new(&context, *parts)).collect::<Result<Vec<_>, _>>()?;
        Ok(CudaDevice {
            info,
            bandwidth,
            context,
            streams,
            kernels,
            need,
            row_groups,
            queries,
            free: Mutex::new((0..buffers.len()).collect()),
            asked: Mutex::default(),
            next_request: AtomicUsize::new(buffers.len()),
            buffers,
            freed: Condvar::new(),
            #[cfg(any(test, feature = "testing"))]
            planted: made.planted,
            #[cfg(any(test, feature = "testing"))]
            submitted: Default::default(),
            lost: AtomicBool::new(false),
            _arena: arena,
            _pool: pool,
        })
    }

    fn bind(&self) -> Result<(), Fault> {
        if self.lost.load(Ordering::Relaxed) {
            return Err(Fault {
                message: format!("GPU {} is lost since an earlier fault", self.info.ordinal),
                sticky: true,
            });
        }
        self.context.bind_to_thread().map_err(|error| self.fault("use the device", error))
    }

    pub(in crate::gpu) fn fault(&self, doing: &str, error: DriverError) -> Fault {
        self.noted(fault(self.info.ordinal, doing, error))
    }

    /// Remembers that the device is lost, if the fault says so.
    fn noted(&self, fault: Fault) -> Fault {
        if fault.sticky {
            self.lost.store(true, Ordering::Relaxed);
            self.freed.notify_all();
        }
        fault
    }

    /// Waits for a free buffer.
    fn acquire(&self) -> Result<usize, Fault> {
        let mut free = lock(&self.free);
        loop {
            if let Some(index) = free.pop() {
                return Ok(index);
            }
            if self.lost.load(Ordering::Relaxed) {
                self.bind()?;
            }
            free = self.freed.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn release(&self, index: usize) {
        *lock(&self.buffers[index].task) = None;
        lock(&self.free).push(index);
        self.freed.notify_one();
    }

    /// Waits for what a failed slot has started, which may still use its memory.
    fn settle(&self, fault: Fault) -> Fault {
        match self.context.synchronize() {
            Err(error) if !fault.sticky => self.fault("finish what was started", error),
            _ => fault,
        }
    }

    fn abandon(&self, index: usize, fault: Fault) -> Fault {
        let fault = self.settle(fault);
        self.release(index);
        fault
    }

    /// Keeps a request for `collect` and returns its ticket.
    fn ask(&self, asked: Asked) -> usize {
        let ticket = self.next_request.fetch_add(1, Ordering::Relaxed);
        lock(&self.asked).insert(ticket, asked);
        ticket
    }

    #[cfg(any(test, feature = "testing"))]
    pub(in crate::gpu) fn parts(&self, index: usize) -> Parts {
        self.buffers[index].parts
    }

    /// Copies the parts of the input that the kernels read.
    pub(in crate::gpu) fn copy_in(
        &self,
        region: &[u8],
        input: &Input,
        parts: Parts,
    ) -> Result<(), DriverError> {
        for (start, end) in used_ranges(input) {
            // SAFETY: the range lies in the region, as `Input` has checked, and in the device's buffer, which
            // is as large. The region stays until the slot is collected.
            unsafe {
                cuMemcpyHtoDAsync_v2(
                    parts.input + start as u64,
                    region[start..end].as_ptr().cast(),
                    end - start,
                    self.streams.copy_in.cu_stream(),
                )
            }
            .result()?;
        }
        Ok(())
    }

    fn start(
        &self,
        region: &[u8],
        input: &Input,
        index: usize,
        query: Option<&Query>,
    ) -> Result<(), DriverError> {
        let (buffer, streams) = (&self.buffers[index], &self.streams);
        self.copy_in(region, input, buffer.parts)?;
        buffer.copied.record(&streams.copy_in)?;
        streams.compute.wait(&buffer.copied)?;
        // SAFETY: the input's copy is complete before the kernels run, in stream order, and the buffer is
        // this slot's alone until it is released.
        unsafe { self.kernels.launch(&streams.compute, input, buffer.parts, self.need, |_| Ok(()))? };
        #[cfg(any(test, feature = "testing"))]
        self.launch_planted()?;
        let mut report = vec![(buffer.parts.output, columns_start(input.columns()))];
        if let Some(query) = query {
            // SAFETY: the slot is decoded before, in stream order, and its scratch is not needed any more.
            unsafe { self.queries.launch(query, input.header().rows, buffer.parts)? };
            report = vec![(buffer.parts.scratch, BITMAP_AT), (query.count(), size_of::<u32>())];
        }
        buffer.computed.record(&streams.compute)?;
        streams.report.wait(&buffer.computed)?;
        let mut to = buffer.report.address();
        for (from, bytes) in report {
            // SAFETY: the report has room for as many columns as `submit` lets through, which is more than a query's
            // part of it takes.
            unsafe {
                cuMemcpyDtoHAsync_v2(to.cast(), from, bytes, streams.report.cu_stream()).result()?;
                to = to.add(bytes);
            }
        }
        buffer.reported.record(&streams.report)
    }

    #[cfg(any(test, feature = "testing"))]
    fn launch_planted(&self) -> Result<(), DriverError> {
        let slot = self.submitted.fetch_add(1, Ordering::Relaxed);
        if let Some(planted) = self.planted.as_ref().filter(|planted| planted.slot == slot) {
            let one = cudarc::driver::LaunchConfig::for_num_elems(1);
            // SAFETY: a kernel without arguments. It is meant to fault.
            unsafe { self.streams.compute.launch_builder(&planted.kernel).launch(one)? };
        }
        Ok(())
    }

    /// Returns the bytes of the region to copy back, by the report.
    fn check_report(&self, header: &Header, report: &[u8], room: usize) -> Result<usize, Fault> {
        let found: OutHeader = get(report, 0).unwrap_or_default();
        let ordinal = self.info.ordinal;
        if found.statuses == u32::MAX {
            return Err(refused(format!("GPU {ordinal}: a slot's columns do not fit its output region")));
        }
        let report = columns_start(header.columns as usize);
        if (found.rows, found.columns) != (header.rows, header.columns) || (found.bytes as usize) < report {
            let message = format!(
                "GPU {ordinal}: {} rows and {} columns in {} bytes came back for {} and {}",
                found.rows, found.columns, found.bytes, header.rows, header.columns
            );
            return Err(refused(message));
        }
        let bytes = if header.returns_columns() { found.bytes as usize } else { report };
        if bytes > room || u64::from(found.bytes) > self.need.output {
            return Err(refused(format!(
                "GPU {ordinal}: {} bytes came back for a region of {room}",
                found.bytes
            )));
        }
        Ok(bytes)
    }

    /// Brings back which rows a query leaves to their process.
    fn bring_marks(&self, index: usize, query: &Query, rows: u32, output: &mut [u8]) -> Result<(), Fault> {
        let buffer = &self.buffers[index];
        // SAFETY: the copies to the report are complete.
        let report = unsafe { buffer.report.get() };
        let marks: Marks = get(report, 0).unwrap_or_default();
        let bitmap = if marks.marked > 0 { rows.div_ceil(32) as usize * 4 } else { 0 };
        if marks.rows != rows || marks.marked > rows || BITMAP_AT + bitmap > output.len() {
            let (found, ordinal) = (marks.rows, self.info.ordinal);
            return Err(refused(format!("GPU {ordinal}: marks of {found} rows came back for {rows}")));
        }
        query.found(get::<OutHeader>(report, BITMAP_AT).unwrap_or_default().rows);
        let written = put(output, 0, marks);
        debug_assert!(written, "the bitmap behind it has room");
        self.copy_back(index, buffer.parts.scratch + BITMAP_AT as u64, &mut output[BITMAP_AT..][..bitmap])
    }

    /// Copies bytes of a slot's parts to the host.
    fn copy_back(&self, index: usize, from: u64, to: &mut [u8]) -> Result<(), Fault> {
        if to.is_empty() {
            return Ok(());
        }
        let (written, stream) = (&self.buffers[index].written, &self.streams.copy_out);
        let copied = |error| self.fault("copy columns back", error);
        // SAFETY: as many bytes of the output region, which is ours until we return, from as many of the part.
        unsafe { cuMemcpyDtoHAsync_v2(to.as_mut_ptr().cast(), from, to.len(), stream.cu_stream()) }
            .result()
            .map_err(copied)?;
        written.record(stream).map_err(copied)?;
        written.synchronize().map_err(copied)
    }

    fn bring_back(&self, index: usize, task: &Task, output: &mut [u8]) -> Result<(), Fault> {
        let buffer = &self.buffers[index];
        let Task { group, header, ops, query } = task;
        buffer.reported.synchronize().map_err(|error| self.fault("decode a slot", error))?;
        if let Some(query) = query {
            return self.bring_marks(index, query, header.rows, output);
        }
        // SAFETY: the one copy to the report is complete.
        let report = unsafe { buffer.report.get() };
        let bytes = self.check_report(header, report, output.len())?;
        if !header.returns_columns() {
            output[..bytes].copy_from_slice(&report[..bytes]);
            let kept = header.flags & KEEP != 0;
            if !kept {
                return Ok(());
            }
            let kept = self.row_groups.keep(*group, header, ops, buffer.parts.output, report);
            return kept.map_err(|fault| self.noted(fault));
        }
        self.copy_back(index, buffer.parts.output, &mut output[..bytes])
    }
}

impl Device for CudaDevice {
    fn info(&self) -> DeviceInfo {
        self.info.clone()
    }

    fn depth(&self) -> usize {
        self.buffers.len()
    }

    fn submit(&self, group: u64, region: &[u8]) -> Result<usize, Fault> {
        self.bind()?;
        if let Some(request) = read_request(region) {
            let (request, wishes) = request.map_err(refused)?;
            return Ok(self.ask(Asked::Group(group, request, wishes)));
        }
        if let Some(request) = query::read_request(region) {
            let (request, text) = request.map_err(refused)?;
            return Ok(self.ask(Asked::Query(group, request, text.to_vec())));
        }
        let input = Input::new(region).map_err(|what| refused(format!("a slot's input: {what}")))?;
        let fixed = lay_out(input.rows(), input.ops()).1;
        let fits = input.columns() <= MAX_COLUMNS
            && input.used() as u64 <= self.need.input
            && fixed as u64 <= self.need.output
            && self.kernels.fits(&input, self.need);
        if !fits {
            let (columns, used) = (input.columns(), input.used());
            return Err(refused(format!(
                "a slot of {columns} columns and {used} bytes does not fit the device's buffers"
            )));
        }
        let query = match input.header().flags & AGGREGATE {
            0 => None,
            _ => Some(self.queries.find(group)?),
        };
        let index = self.acquire()?;
        let task = Task { group, header: *input.header(), ops: input.ops().to_vec(), query: query.clone() };
        *lock(&self.buffers[index].task) = Some(task);
        match self.start(region, &input, index, query.as_deref()) {
            Ok(()) => Ok(index),
            Err(error) => Err(self.abandon(index, self.fault("start a slot", error))),
        }
    }

    fn collect(&self, ticket: usize, output: &mut [u8]) -> Result<(), Fault> {
        let asked = lock(&self.asked).remove(&ticket);
        if let Some(asked) = asked {
            self.bind()?;
            let answered = match asked {
                Asked::Group(group, request, wishes) => {
                    self.row_groups.answer(group, &request, &wishes, output)
                }
                Asked::Query(number, request, text) => self.queries.answer(number, &request, &text, output),
            };
            return answered.map_err(|fault| self.settle(self.noted(fault)));
        }
        let task = self.buffers.get(ticket).and_then(|buffer| lock(&buffer.task).clone());
        let Some(task) = task else { return Err(refused(format!("no slot has ticket {ticket}"))) };
        if let Err(fault) = self.bind() {
            self.release(ticket);
            return Err(fault);
        }
        match self.bring_back(ticket, &task, output) {
            Ok(()) => {
                self.release(ticket);
                Ok(())
            }
            Err(fault) => Err(self.abandon(ticket, fault)),
        }
    }

    fn notes(&self) -> Vec<String> {
        self.row_groups.take_notes()
    }
}

impl Drop for CudaDevice {
    fn drop(&mut self) {
        // Work that was started still reads the pool and writes the buffers. After a sticky error this fails at
        // once, and so does everything that the fields' drops try.
        let _ = self.context.bind_to_thread();
        let _ = self.context.synchronize();
    }
}

/// Smaller gaps are copied too: a copy costs as much as some ten thousand bytes do.
const GAP: usize = 64 << 10;

/// Returns the ranges that the kernels read, in order and joined. They do not read the block numbers.
fn used_ranges(input: &Input) -> Vec<(usize, usize)> {
    let header = input.header();
    let (rows, heap) = (header.rows as usize, input.is_heap());
    let part = |at: u32, bytes: usize| (at as usize, at as usize + bytes);
    let index = if heap { 2 * rows } else { 4 * (rows + 1) };
    let page_rows = if heap { 4 * (header.pages as usize + 1) } else { 0 };
    join(vec![
        (0, size_of::<Header>()),
        part(header.attrs_at, size_of_val(input.attrs())),
        part(header.missing_at, header.missing_bytes as usize),
        part(header.data_at, header.data_bytes as usize),
        part(header.index_at, index),
        part(header.page_rows_at, page_rows),
    ])
}

fn join(mut ranges: Vec<(usize, usize)>) -> Vec<(usize, usize)> {
    ranges.retain(|(start, end)| start < end);
    ranges.sort_unstable();
    let mut joined: Vec<(usize, usize)> = Vec::new();
    for (start, end) in ranges {
        match joined.last_mut() {
            Some(last) if start <= last.1 + GAP => last.1 = last.1.max(end),
            _ => joined.push((start, end)),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_ranges_are_one_copy() {
        assert_eq!(join(vec![(4096, 9000), (0, 64), (64, 100), (50, 50)]), [(0, 9000)]);
        assert_eq!(join(vec![(0, 64), (64 + GAP, 200_000)]), [(0, 200_000)]);
        assert_eq!(
            join(vec![(0, 64), (65 + GAP, 200_000), (70_000, 80_000)]),
            [(0, 64), (65 + GAP, 200_000)]
        );
        assert_eq!(join(vec![(0, 0)]), []);
    }
}
