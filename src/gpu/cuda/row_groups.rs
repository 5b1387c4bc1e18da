//! Row groups on a CUDA device. The columns of their slots are kept, then encoded and compressed, and the bodies of pages
//! are copied back piece by piece.
//!
//! The drainer's thread keeps columns by a copy on the stream that decodes, so that they are out of a slot's buffer before
//! it is used again. Other threads answer requests, several at the same time, each on a lane: a stream of its own, in which
//! kernels and copies wait for each other and for nothing else. Memory that is taken may be that of a group which was
//! dropped while its columns were still to be copied there, so a lane waits for the stream that decodes before it writes.

use std::path::Path;
use std::sync::{Arc, Mutex};

use cudarc::driver::sys::{cuMemcpyDtoDAsync_v2, cuMemcpyDtoHAsync_v2};
use cudarc::driver::{CudaContext, CudaEvent, CudaStream, DriverError};

use super::compress::{self, FAILED, Place};
use super::copy::{put, take};
use super::encode::{self, Arguments, Tables};
use super::error::{fault, is_sticky, refused};
use super::memory::{Block, Heap};
use super::nvcomp::Zstd;
use super::zstd_frames::{self, Failed, ZstdFrames};
use crate::gpu::Fault;
use crate::gpu::encode::{Body, Bounds, DictionaryState, Ends, LIMITS, Plan, page_rows, plan};
use crate::gpu::groups::{self, ChunkBodies, Groups, Part};
use crate::gpu::lock::lock;
use crate::slot::encode::{
    ColumnChunk, DESCRIBE, LZ4, PLAIN_BODIES, Request, SNAPPY, Wish, ZSTD, write_answer,
};
use crate::slot::layout::{Header, Op, OutColumn, OutHeader, get};

/// A device's memory, kernels and streams for row groups.
pub struct RowGroups {
    ordinal: u32,
    heap: Arc<Heap>,
    context: Arc<CudaContext>,
    /// The stream that decodes.
    decode: Arc<CudaStream>,
    /// The lanes that are idle.
    lanes: Mutex<Vec<Lane>>,
    encode: encode::Kernels,
    compress: compress::Kernels,
    zstd: Zstd,
    /// Held while nvCOMP has its temporary memory.
    zstd_turn: Mutex<()>,
    groups: Mutex<Groups<Block, Arc<Encoded>>>,
}

/// The stream in which a request's kernels and copies run.
struct Lane {
    stream: Arc<CudaStream>,
    caught_up: CudaEvent,
}

impl Lane {
    fn new(context: &Arc<CudaContext>) -> Result<Lane, DriverError> {
        Ok(Lane { stream: context.new_stream()?, caught_up: context.new_event(None)? })
    }

    /// Makes what comes next on this lane wait for what another stream has been given so far.
    fn follow(&self, other: &CudaStream) -> Result<(), DriverError> {
        self.caught_up.record(other)?;
        self.stream.wait(&self.caught_up)
    }
}

/// An encoded group: its bodies in order, and the memory that they lie in.
struct Encoded {
    pieces: Vec<Piece>,
    bytes: u64,
    _memory: Block,
}

#[derive(Clone, Copy, Debug)]
struct Piece {
    address: u64,
    bytes: u64,
}

impl Encoded {
    fn new(pieces: Vec<Piece>, memory: Block) -> Encoded {
        Encoded { bytes: pieces.iter().map(|piece| piece.bytes).sum(), pieces, _memory: memory }
    }
}

impl RowGroups {
    /// `nvcomp`: the library's path, if there is one to use.
    pub fn new(
        ordinal: u32,
        context: &Arc<CudaContext>,
        decode: Arc<CudaStream>,
        heap: Arc<Heap>,
        encode: encode::Kernels,
        compress: compress::Kernels,
        nvcomp: Option<&Path>,
    ) -> Result<RowGroups, DriverError> {
        let lane = Lane::new(context)?;
        let opened = match nvcomp.map(|path| zstd_frames::open(path, &heap, &lane.stream)) {
            Some(Err(Failed::Device(error))) if is_sticky(error) => return Err(error),
            opened => opened.map(|opened| opened.map_err(|failed| failed.message())),
        };
        let zstd = Zstd::new(opened);
        let (context, lanes) = (context.clone(), Mutex::new(vec![lane]));
        let (zstd_turn, groups) = Default::default();
        Ok(RowGroups { ordinal, heap, context, decode, lanes, encode, compress, zstd, zstd_turn, groups })
    }

    /// Lines for people that have come up since the last call.
    pub fn take_notes(&self) -> Vec<String> {
        self.zstd.take_notes()
    }

    fn fault(&self, doing: &str, error: DriverError) -> Fault {
        fault(self.ordinal, doing, error)
    }
}

/// The kernels' results for a plan's bodies.
struct Found {
    bodies: Vec<Body>,
    bounds: Vec<Bounds>,
    ends: Vec<Ends>,
    states: Vec<DictionaryState>,
}

impl RowGroups {
    fn room(&self, bytes: u64) -> Result<Block, Fault> {
        let block = self.heap.take(bytes);
        block.ok_or_else(|| refused(format!("GPU {} has no memory left for row groups", self.ordinal)))
    }

    /// Keeps the columns of a slot that was decoded into `output`, whose beginning is in `report`.
    pub fn keep(
        &self,
        group: u64,
        header: &Header,
        ops: &[Op],
        output: u64,
        report: &[u8],
    ) -> Result<(), Fault> {
        let mut groups = lock(&self.groups);
        groups.prepare(group, header.sequence).map_err(refused)?;
        let bytes = u64::from(get::<OutHeader>(report, 0).unwrap_or_default().bytes);
        let column = |number: usize| get(report, size_of::<OutHeader>() + number * size_of::<OutColumn>());
        let columns: Option<Vec<OutColumn>> = (0..ops.len()).map(column).collect();
        let columns = columns.ok_or_else(|| refused("a report without columns".into()))?;
        let memory = self.room(bytes)?;
        // SAFETY: as many bytes of the slot's buffer, which the next kernels on this stream are the first to
        // write again, to a block that is as large and nobody's else.
        unsafe {
            let (to, stream) = (memory.address(), self.decode.cu_stream());
            cuMemcpyDtoDAsync_v2(to, output, bytes as usize, stream)
        }
        .result()
        .map_err(|error| self.fault("keep columns", error))?;
        let part = Part { at: memory.offset(), memory, rows: header.rows, ops: ops.to_vec(), columns };
        groups.keep(group, part).map_err(refused)
    }

    /// Answers a request.
    pub fn answer(
        &self,
        group: u64,
        request: &Request,
        wishes: &[Wish],
        output: &mut [u8],
    ) -> Result<(), Fault> {
        let idle = lock(&self.lanes).pop();
        let lane = idle.map_or_else(|| Lane::new(&self.context), Ok);
        let lane = lane.map_err(|error| self.fault("make a stream", error))?;
        let answered = self.answer_on(&lane, group, request, wishes, output);
        lock(&self.lanes).push(lane);
        answered
    }

    fn answer_on(
        &self,
        lane: &Lane,
        group: u64,
        request: &Request,
        wishes: &[Wish],
        output: &mut [u8],
    ) -> Result<(), Fault> {
        let groups = || lock(&self.groups);
        let (mut from, mut at) = (request.from, 0);
        if request.step == DESCRIBE {
            let parts = groups().take(group, request, wishes).map_err(refused)?;
            let (codec, chunks, encoded) = self.encode(lane, &parts, wishes, request.codec)?;
            at = write_answer(output, request.rows, codec, &chunks)
                .ok_or_else(|| refused("an answer has no room in its region".into()))?;
            groups().encoded(group, Arc::new(encoded)).map_err(refused)?;
            from = 0;
        }
        let encoded = groups().get(group).map_err(refused)?.clone();
        let copied = self.bring_bodies(lane, &encoded, from, &mut output[at..])?;
        if from + copied >= encoded.bytes {
            groups().forget(group);
        }
        Ok(())
    }

    /// Copies bodies from byte `from` on, as many as have room.
    fn bring_bodies(
        &self,
        lane: &Lane,
        encoded: &Encoded,
        from: u64,
        output: &mut [u8],
    ) -> Result<u64, Fault> {
        let failed = |error| self.fault("copy pages back", error);
        let (mut at, mut copied) = (0, 0u64);
        for piece in &encoded.pieces {
            let skip = (from + copied).saturating_sub(at).min(piece.bytes);
            at += piece.bytes;
            let bytes = (piece.bytes - skip).min(output.len() as u64 - copied);
            if bytes == 0 {
                continue;
            }
            let to = output[copied as usize..][..bytes as usize].as_mut_ptr();
            // SAFETY: as many bytes of the region, which is ours until we return, from as many of the group's
            // memory, which the kernels are done with.
            unsafe {
                let stream = lane.stream.cu_stream();
                cuMemcpyDtoHAsync_v2(to.cast(), piece.address + skip, bytes as usize, stream)
            }
            .result()
            .map_err(failed)?;
            copied += bytes;
        }
        lane.stream.synchronize().map_err(failed)?;
        Ok(copied)
    }

    /// Encodes kept columns and compresses the bodies. Returns the codec that was used, which may be none.
    fn encode(
        &self,
        lane: &Lane,
        parts: &[Part<Block>],
        wishes: &[Wish],
        codec: u32,
    ) -> Result<(u32, Vec<ColumnChunk>, Encoded), Fault> {
        let columns = groups::columns(parts, wishes);
        let plan = plan(&columns, page_rows, LIMITS);
        let chunks = groups::chunks(&columns, &plan, page_rows);
        let output = self.room(plan.output_bytes + 256)?;
        let found = self.run_encode(lane, &plan, &output)?;
        let order: Vec<usize> =
            chunks.iter().flat_map(|chunk: &ChunkBodies| chunk.in_file(&plan, &found.states)).collect();
        let mut stored: Vec<u32> = found.bodies.iter().map(|body| body.bytes).collect();
        let place = |&number: &usize| {
            let body = found.bodies[number];
            Piece { address: output.address() + body.at, bytes: body.bytes.into() }
        };
        let plain: Vec<Piece> = order.iter().map(place).collect();
        let compressed = match codec {
            SNAPPY | LZ4 => Some(self.compress(lane, codec, &found.bodies, &order, &output, &mut stored)?),
            ZSTD => self.compress_zstd(lane, &plain, &order, &mut stored)?,
            _ => None,
        };
        let (codec, encoded) = match compressed {
            Some(encoded) => (codec, encoded),
            None => (PLAIN_BODIES, Encoded::new(plain, output)),
        };
        let Found { bodies, bounds, ends, states } = &found;
        let tables = groups::Tables { bodies, bounds, ends, states, stored: &stored };
        Ok((codec, groups::describe(wishes, &chunks, &plan, &tables), encoded))
    }

    /// Runs the encode kernels to their end.
    fn run_encode(&self, lane: &Lane, plan: &Plan, output: &Block) -> Result<Found, Fault> {
        let tables = self.room(Tables::at(0, plan).end)?;
        let scratch = self.room(plan.scratch_bytes + 256)?;
        let places = Tables::at(tables.address(), plan);
        let work = Arguments::new(plan, self.heap.base(), places, output.address(), scratch.address());
        let run = || -> Result<Found, DriverError> {
            let stream = &lane.stream;
            lane.follow(&self.decode)?;
            // SAFETY: blocks of our own, as large as the plan says; the kept columns are where the plan says,
            // and what was copied there comes before in the order of the streams.
            unsafe {
                put(places.pages, &plan.pages, stream)?;
                put(places.chunks, &plan.chunks, stream)?;
                self.encode.launch(stream, &work, |_| Ok(()))?;
            }
            stream.synchronize()?;
            let (count, tried) = (plan.pages.len(), plan.chunks.len());
            // SAFETY: as many were written, of integers only; those of `ends` that were not mean nothing.
            unsafe {
                Ok(Found {
                    bodies: take(places.bodies, count + tried)?,
                    bounds: take(places.bounds, count)?,
                    ends: if work.ends { take(places.ends, count)? } else { vec![Ends::default(); count] },
                    states: take(places.states, tried)?,
                })
            }
        };
        let found = run().map_err(|error| self.give_up(lane, "encode a row group", error))?;
        let outside = |body: &Body| body.at + u64::from(body.bytes) > plan.output_bytes;
        match found.bodies.iter().any(outside) {
            true => Err(refused(format!("GPU {}: a page lies outside of its room", self.ordinal))),
            false => Ok(found),
        }
    }

    /// Compresses bodies of `output` in order, and writes their compressed lengths to `stored`.
    fn compress(
        &self,
        lane: &Lane,
        codec: u32,
        bodies: &[Body],
        order: &[usize],
        output: &Block,
        stored: &mut [u32],
    ) -> Result<Encoded, Fault> {
        let place =
            |&number: &usize| Place { at: bodies[number].at, bytes: bodies[number].bytes, reserved: 0 };
        let places: Vec<Place> = order.iter().map(place).collect();
        let lengths = || places.iter().map(|place| place.bytes as usize);
        let (count, bound) = (places.len() as u32, compress::segments(lengths()));
        // More than an LZ4 block takes, too.
        let room: u64 = lengths().map(|bytes| snap::raw::max_compress_len(bytes) as u64).sum();
        let size = size_of::<Place>() as u64;
        let made = (u64::from(count) * size).next_multiple_of(256);
        let tables = self.room(made + (u64::from(count) + 1) * size)?;
        let scratch = self.room(compress::scratch(count, bound))?;
        let mut streams = self.room(room + 256)?;
        let work = compress::Arguments {
            input: output.address(),
            pages: tables.address(),
            output: streams.address(),
            bodies: tables.address() + made,
            scratch: scratch.address(),
            output_bytes: room,
            count,
            bound,
        };
        let run = || -> Result<Vec<Place>, DriverError> {
            lane.follow(&self.decode)?;
            // SAFETY: blocks of our own, as large as compress.cu asks. Bodies start at multiples of 16, and are
            // followed by their room's slack or the next one.
            unsafe {
                put(work.pages, &places, &lane.stream)?;
                self.compress.launch(&lane.stream, &work, codec, |_| Ok(()))?;
            }
            lane.stream.synchronize()?;
            // SAFETY: as many were written, of integers only.
            unsafe { take(work.bodies, places.len() + 1) }
        };
        let found = run().map_err(|error| self.give_up(lane, "compress a row group", error))?;
        let end = found[places.len()];
        let mut at = 0;
        for (&number, stream) in order.iter().zip(&found) {
            if end.bytes == FAILED || stream.at != at {
                return Err(refused(format!("GPU {}: pages have no room compressed", self.ordinal)));
            }
            at += u64::from(stream.bytes);
            stored[number] = stream.bytes;
        }
        if at != end.at || at > room {
            return Err(refused(format!("GPU {}: {at} bytes of pages are {}", self.ordinal, end.at)));
        }
        streams.shrink(at);
        Ok(Encoded::new(vec![Piece { address: streams.address(), bytes: at }], streams))
    }

    /// Compresses bodies in order by nvCOMP, and writes their compressed lengths to `stored`. Returns `None`, and notes why,
    /// if nvCOMP cannot be used.
    fn compress_zstd(
        &self,
        lane: &Lane,
        bodies: &[Piece],
        order: &[usize],
        stored: &mut [u32],
    ) -> Result<Option<Encoded>, Fault> {
        let (RowGroups { heap, zstd, .. }, stream) = (self, &lane.stream);
        let Some(nvcomp) = zstd.nvcomp() else { return Ok(None) };
        let _turn = lock(&self.zstd_turn);
        let pages: Vec<(u64, u64)> = bodies.iter().map(|body| (body.address, body.bytes)).collect();
        let frames = match ZstdFrames::new(nvcomp, heap, stream, &pages) {
            Ok(frames) => frames,
            Err(reason) => {
                zstd.give_up(&reason);
                return Ok(None);
            }
        };
        let followed = lane.follow(&self.decode).map_err(Failed::from);
        // SAFETY: the encode kernels are done with the bodies, which start at multiples of 16; whatever comes of
        // it, the stream is synchronized below.
        let started = followed.and_then(|()| unsafe { frames.start(stream) });
        let places = started.and_then(|()| frames.finish(stream));
        let places = match places {
            Ok(places) => places,
            Err(failed) => {
                let doing = "compress a row group by nvCOMP";
                if let Failed::Device(error) = failed
                    && is_sticky(error)
                {
                    return Err(self.fault(doing, error));
                }
                stream.synchronize().map_err(|error| self.fault(doing, error))?;
                zstd.give_up(&failed.message());
                return Ok(None);
            }
        };
        for (&number, &(_, bytes)) in order.iter().zip(&places) {
            stored[number] = bytes as u32;
        }
        let pieces = places.into_iter().map(|(address, bytes)| Piece { address, bytes }).collect();
        Ok(Some(Encoded::new(pieces, frames.into_memory())))
    }

    /// Waits for what was started, which may still use the blocks that are about to be given back.
    fn give_up(&self, lane: &Lane, doing: &str, error: DriverError) -> Fault {
        let fault = self.fault(doing, error);
        match lane.stream.synchronize() {
            Err(error) if !fault.sticky => self.fault("finish what was started", error),
            _ => fault,
        }
    }
}
