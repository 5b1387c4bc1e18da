//! A device that works on the CPU, by its decode and the encode kernels' reference, for tests of everything around a
//! device.
//!
//! It works on the drainer's thread and those that answer requests. It can be slow and it can fail, as a test asks.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::fake_query::FakeQueries;
use super::reference;
use crate::decode::decode_slot;
use crate::gpu::cuda::nvcomp::{Nvcomp, Zstd};
use crate::gpu::encode::{Body, Ends, LIMITS, page_rows, plan};
use crate::gpu::groups::{Groups, Part, Tables, chunks, columns, describe};
use crate::gpu::lock::lock;
use crate::gpu::{Device, DeviceInfo, Fault};
use crate::slot;
use crate::slot::encode::{
    DESCRIBE, LZ4, PLAIN_BODIES, Request, SNAPPY, Wish, ZSTD, read_request, write_answer,
};
use crate::slot::input::Input;
use crate::slot::layout::{AGGREGATE, Header, KEEP, OutColumn, OutHeader, columns_start, get};

#[derive(Debug)]
pub struct FakeDevice {
    info: DeviceInfo,
    depth: usize,
    delay: Duration,
    /// The slot, from 0, that is a fault, and whether that is sticky.
    fault: Option<(u64, bool)>,
    /// Bytes of columns that may be kept.
    memory: usize,
    flights: Mutex<Flights>,
    landed: Condvar,
    lost: AtomicBool,
    kept: Mutex<Kept>,
    queries: FakeQueries,
    in_use: Arc<AtomicUsize>,
    zstd: Zstd,
}

/// Slots between `submit` and `collect`, by their tickets: number, group and input.
#[derive(Debug)]
struct Flights {
    tickets: Vec<Option<(u64, u64, Vec<u8>)>>,
    next: u64,
}

/// A slot's output region, counted while it is there.
struct Region {
    bytes: Vec<u8>,
    in_use: Arc<AtomicUsize>,
}

impl Drop for Region {
    fn drop(&mut self) {
        self.in_use.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

/// Row groups; one that is encoded is its bodies end to end.
#[derive(Default)]
struct Kept(Groups<Region, Vec<u8>>);

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Kept")
    }
}

impl FakeDevice {
    pub fn new(ordinal: u32) -> FakeDevice {
        let name = format!("fake device {ordinal}");
        FakeDevice {
            info: DeviceInfo { ordinal, name, ..DeviceInfo::default() },
            depth: 3,
            delay: Duration::ZERO,
            fault: None,
            memory: usize::MAX,
            flights: Mutex::new(Flights { tickets: vec![None; 3], next: 0 }),
            landed: Condvar::new(),
            lost: AtomicBool::new(false),
            kept: Mutex::default(),
            queries: FakeQueries::default(),
            in_use: Arc::default(),
            zstd: Zstd::default(),
        }
    }

    pub fn with_depth(self, depth: usize) -> FakeDevice {
        let flights = Mutex::new(Flights { tickets: vec![None; depth.max(1)], next: 0 });
        FakeDevice { depth: depth.max(1), flights, ..self }
    }

    /// Makes each slot take this long.
    pub fn with_delay(self, delay: Duration) -> FakeDevice {
        FakeDevice { delay, ..self }
    }

    /// Makes the slot after that many fail and, if the fault is sticky, all after it.
    pub fn with_fault(self, after: u64, sticky: bool) -> FakeDevice {
        FakeDevice { fault: Some((after, sticky)), ..self }
    }

    /// Limits the bytes of row groups that are kept.
    pub fn with_memory(self, memory: usize) -> FakeDevice {
        FakeDevice { memory, ..self }
    }

    /// Compresses zstd pages by the library, which has to take addresses of the host's.
    pub fn with_nvcomp(self, library: &Path) -> FakeDevice {
        FakeDevice { zstd: Zstd::new(Some(Nvcomp::open(library))), ..self }
    }

    fn flights(&self) -> MutexGuard<'_, Flights> {
        lock(&self.flights)
    }

    fn lost(&self) -> Result<(), Fault> {
        let message = format!("{} is lost", self.info.name);
        if self.lost.load(Ordering::Relaxed) { Err(Fault { message, sticky: true }) } else { Ok(()) }
    }

    fn work(&self, group: u64, input: &[u8], output: &mut [u8]) -> Result<(), String> {
        if let Some(request) = read_request(input) {
            let (request, wishes) = request?;
            return self.answer(group, &request, &wishes, output);
        }
        if let Some(request) = slot::query::read_request(input) {
            let (request, text) = request?;
            return self.queries.answer(group, &request, text, output);
        }
        let header: Header = get(input, 0).unwrap_or_default();
        match header.flags & (KEEP | AGGREGATE) {
            0 => decode_slot(input, output),
            AGGREGATE => self.queries.add(group, input, output),
            _ => self.keep(group, header.sequence, input, output),
        }
    }

    /// Decodes a slot, keeps its columns, and returns what comes before them.
    fn keep(&self, group: u64, sequence: u32, input: &[u8], output: &mut [u8]) -> Result<(), String> {
        let kept = &mut lock(&self.kept).0;
        kept.prepare(group, sequence)?;
        let mut bytes = vec![0; output.len()];
        decode_slot(input, &mut bytes)?;
        let input = Input::new(input)?;
        let header: OutHeader = get(&bytes, 0).ok_or("no header")?;
        let column = |number: usize| {
            get::<OutColumn>(&bytes, size_of::<OutHeader>() + number * size_of::<OutColumn>())
        };
        let columns: Option<Vec<OutColumn>> = (0..input.columns()).map(column).collect();
        let columns = columns.ok_or("no columns")?;
        let head = columns_start(input.columns());
        output[..head].copy_from_slice(&bytes[..head]);
        bytes.truncate(header.bytes as usize);
        if self.in_use.fetch_add(bytes.len(), Ordering::Relaxed) + bytes.len() > self.memory {
            self.in_use.fetch_sub(bytes.len(), Ordering::Relaxed);
            return Err(format!("{} has no memory left for row groups", self.info.name));
        }
        let memory = Region { bytes, in_use: self.in_use.clone() };
        let rows = input.rows() as u32;
        kept.keep(group, Part { memory, at: 0, rows, ops: input.ops().to_vec(), columns })
    }

    fn answer(
        &self,
        group: u64,
        request: &Request,
        wishes: &[Wish],
        output: &mut [u8],
    ) -> Result<(), String> {
        let kept = &mut lock(&self.kept).0;
        let (from, mut at) = (request.from as usize, 0);
        if request.step == DESCRIBE {
            let parts = kept.take(group, request, wishes)?;
            let (codec, chunks, bodies) = encode(&parts, wishes, request.codec, &self.zstd)?;
            at = write_answer(output, request.rows, codec, &chunks)
                .ok_or("an answer has no room in its region")?;
            kept.encoded(group, bodies)?;
        }
        let bodies = kept.get(group)?;
        let from = if request.step == DESCRIBE { 0 } else { from };
        let left = bodies.get(from..).ok_or("bytes behind the last were asked for")?;
        let length = left.len().min(output.len() - at);
        output[at..at + length].copy_from_slice(&left[..length]);
        if length == left.len() {
            kept.forget(group);
        }
        Ok(())
    }
}

/// Encodes the kept columns: the codec that was used, how the chunks are described, and their bodies in order.
fn encode(
    parts: &[Part<Region>],
    wishes: &[Wish],
    codec: u32,
    zstd: &Zstd,
) -> Result<(u32, Vec<crate::slot::encode::ColumnChunk>, Vec<u8>), String> {
    // One input, as a device's memory is.
    let mut input = Vec::new();
    let mut placed = Vec::new();
    for part in parts {
        let at = input.len().next_multiple_of(256);
        input.resize(at, 0);
        input.extend_from_slice(&part.memory.bytes);
        let (ops, columns) = (part.ops.clone(), part.columns.clone());
        placed.push(Part { memory: (), at: at as u64, rows: part.rows, ops, columns });
    }
    let columns = columns(&placed, wishes);
    let plan = plan(&columns, page_rows, LIMITS);
    let encoded = reference::encode(&input, &plan);
    let (codec, stored) = compress(&encoded.bodies, codec, zstd)?;
    let sizes: Vec<u32> = stored.iter().map(|body| body.len() as u32).collect();
    let nulls = encoded.nulls.iter().copied().chain(encoded.states.iter().map(|state| state.entries));
    let bodies: Vec<Body> = (encoded.bodies.iter().zip(nulls))
        .map(|(body, nulls)| Body { at: 0, bytes: body.len() as u32, nulls })
        .collect();
    let ends: Vec<Ends> = encoded.ends.iter().map(|ends| ends.unwrap_or_default()).collect();
    let (bounds, states) = (&encoded.bounds, &encoded.states);
    let tables = Tables { bodies: &bodies, bounds, ends: &ends, states, stored: &sizes };
    let chunks = chunks(&columns, &plan, page_rows);
    let described = describe(wishes, &chunks, &plan, &tables);
    let order = chunks.iter().flat_map(|chunk| chunk.in_file(&plan, states));
    Ok((codec, described, order.flat_map(|number| &stored[number]).copied().collect()))
}

/// The bodies in the codec, or as they are, and which of the two.
pub(in crate::gpu) fn compress(
    bodies: &[Vec<u8>],
    codec: u32,
    zstd: &Zstd,
) -> Result<(u32, Vec<Vec<u8>>), String> {
    match codec {
        SNAPPY => {
            let stream = |body: &Vec<u8>| snap::raw::Encoder::new().compress_vec(body);
            let streams: Result<_, _> = bodies.iter().map(stream).collect();
            return Ok((SNAPPY, streams.map_err(|error| error.to_string())?));
        }
        LZ4 => return Ok((LZ4, bodies.iter().map(|body| lz4_flex::block::compress(body)).collect())),
        ZSTD => match zstd.nvcomp().map(|nvcomp| nvcomp.compress_here(bodies)) {
            Some(Ok(frames)) => return Ok((ZSTD, frames)),
            Some(Err(reason)) => zstd.give_up(&reason),
            None => {}
        },
        _ => {}
    }
    Ok((PLAIN_BODIES, bodies.to_vec()))
}

impl Device for FakeDevice {
    fn info(&self) -> DeviceInfo {
        self.info.clone()
    }

    fn depth(&self) -> usize {
        self.depth
    }

    fn submit(&self, group: u64, input: &[u8]) -> Result<usize, Fault> {
        self.lost()?;
        let mut flights = self.flights();
        loop {
            if let Some(ticket) = flights.tickets.iter().position(Option::is_none) {
                flights.tickets[ticket] = Some((flights.next, group, input.to_vec()));
                flights.next += 1;
                return Ok(ticket);
            }
            flights = self.landed.wait(flights).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn collect(&self, ticket: usize, output: &mut [u8]) -> Result<(), Fault> {
        let flight = self.flights().tickets.get_mut(ticket).and_then(Option::take);
        self.landed.notify_one();
        let refused = |message: String| Fault { message, sticky: false };
        let Some((number, group, input)) = flight else {
            return Err(refused(format!("no slot has ticket {ticket}")));
        };
        self.lost()?;
        if !self.delay.is_zero() {
            std::thread::sleep(self.delay);
        }
        if let Some((_, sticky)) = self.fault.filter(|&(after, _)| after == number) {
            self.lost.store(sticky, Ordering::Relaxed);
            return Err(Fault { message: format!("{}: a fault, as told", self.info.name), sticky });
        }
        self.work(group, &input, output).map_err(refused)
    }

    fn notes(&self) -> Vec<String> {
        self.zstd.take_notes()
    }
}
