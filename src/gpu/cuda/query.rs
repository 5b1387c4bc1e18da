//! Queries on a CUDA device: their kernels, which NVRTC makes of generated text, and their groups.
//!
//! An answerer's thread begins a query: it compiles, and takes memory. The feeder's thread launches the query's kernels
//! behind those that decode a slot, on the same stream, so that the slots of a query follow each other. Between two of them
//! the groups get more room, once half of it is known to be taken. A row that finds none goes back to its process, so that
//! it does no harm if there is no more memory or the number of groups is known too late.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use cudarc::driver::sys::{cuMemcpyDtoDAsync_v2, cuMemcpyDtoH_v2, cuMemsetD8Async};
use cudarc::driver::{CudaContext, CudaFunction, CudaStream, DriverError, LaunchConfig, PushKernelArg};

use super::arena::Parts;
use super::copy::{put, take};
use super::error::{fault, message, refused};
use super::memory::{Block, Heap};
use super::module;
use crate::gpu::Fault;
use crate::gpu::lock::lock;
use crate::gpu::queries::Queries;
use crate::query::cuda::{Task, generate};
use crate::slot::query::{BEGIN, GROUPS, Request};

const THREADS: u32 = 256;
/// Groups that have room at first, unless more are expected, and the most.
const FIRST_ROOM: u64 = 1 << 15;
const MOST_ROOM: u64 = 1 << 28;

/// What compiles and keeps queries.
pub struct CudaQueries {
    ordinal: u32,
    architecture: u32,
    context: Arc<CudaContext>,
    /// The stream that decodes.
    stream: Arc<CudaStream>,
    heap: Arc<Heap>,
    nvrtc: Option<PathBuf>,
    cache: PathBuf,
    begun: Queries<Arc<Query>>,
}

pub struct Query {
    mark: CudaFunction,
    aggregate: CudaFunction,
    enter: CudaFunction,
    constants: Block,
    count: Block,
    /// Words of a group.
    stride: u64,
    /// The most groups that room is made for.
    limit: u64,
    room: Mutex<Room>,
}

/// The groups and their index.
struct Room {
    index: Block,
    groups: Block,
    places: u32,
    room: u32,
    /// Groups that there were when a slot last came back.
    known: u32,
}

impl Room {
    /// Takes memory for as many groups, with an index that is empty.
    fn new(
        heap: &Arc<Heap>,
        stream: &CudaStream,
        room: u64,
        stride: u64,
    ) -> Result<Option<Room>, DriverError> {
        let places = (2 * room).next_power_of_two();
        let (Some(index), Some(groups)) = (heap.take(4 * places), heap.take(8 * room * stride)) else {
            return Ok(None);
        };
        // SAFETY: a block of as many bytes, which is nobody else's; what comes later on the stream reads zeros.
        unsafe { cuMemsetD8Async(index.address(), 0, 4 * places as usize, stream.cu_stream()) }.result()?;
        Ok(Some(Room { index, groups, places: places as u32, room: room as u32, known: 0 }))
    }
}

impl CudaQueries {
    pub fn new(
        (ordinal, architecture): (u32, u32),
        context: &Arc<CudaContext>,
        stream: Arc<CudaStream>,
        heap: Arc<Heap>,
        nvrtc: Option<PathBuf>,
        cache: PathBuf,
    ) -> CudaQueries {
        let (context, begun) = (context.clone(), Queries::default());
        CudaQueries { ordinal, architecture, context, stream, heap, nvrtc, cache, begun }
    }

    fn fault(&self, doing: &str, error: DriverError) -> Fault {
        fault(self.ordinal, doing, error)
    }

    fn no_memory(&self) -> Fault {
        refused(format!("GPU {} has no memory left for groups", self.ordinal))
    }

    /// Returns the query that a slot's rows go to.
    pub fn find(&self, number: u64) -> Result<Arc<Query>, Fault> {
        self.begun.find(number).map_err(refused)
    }

    pub fn answer(
        &self,
        number: u64,
        request: &Request,
        text: &[u8],
        output: &mut [u8],
    ) -> Result<(), Fault> {
        match request.step {
            BEGIN => {
                self.begun.prepare(number);
                let query = self.begin(request, text)?;
                self.begun.begin(number, Arc::new(query));
                Ok(())
            }
            GROUPS => {
                let query = self.find(number)?;
                let is_last = query.bring_groups(request.from, output).map_err(|error| match error {
                    Some(error) => self.fault("copy groups back", error),
                    None => refused("groups behind the last were asked for".into()),
                })?;
                if is_last {
                    self.begun.forget(number);
                }
                Ok(())
            }
            _ => Err(refused("a query's request out of order".into())),
        }
    }

    fn begin(&self, request: &Request, text: &[u8]) -> Result<Query, Fault> {
        let task: Task = serde_json::from_slice(text).map_err(|error| refused(error.to_string()))?;
        let made = generate(&task).map_err(|unfit| refused(unfit.0.into()))?;
        let unit = module::query(&made.text);
        let module =
            module::load(&self.context, &unit, self.architecture, self.nvrtc.as_deref(), &self.cache);
        let module = module.map_err(|reason| refused(format!("GPU {}: {reason}", self.ordinal)))?;
        let function = |name| {
            let loaded = module.load_function(name);
            loaded.map_err(|error| refused(message("load a query's kernels", error)))
        };
        let stride = made.stride as u64;
        let take = |bytes: u64| self.heap.take(bytes).ok_or_else(|| self.no_memory());
        let limit = (request.limit / (8 * stride)).clamp(1, MOST_ROOM);
        let first = if made.only.is_empty() { (2 * request.expected).max(FIRST_ROOM).min(limit) } else { 1 };
        let failed = |error| self.fault("begin a query", error);
        let room = Room::new(&self.heap, &self.stream, first, stride).map_err(failed)?;
        let room = Mutex::new(room.ok_or_else(|| self.no_memory())?);
        let query = Query {
            mark: function("mark")?,
            aggregate: function("aggregate")?,
            enter: function("enter")?,
            constants: take(8 * made.constants.len() as u64)?,
            count: take(4)?,
            stride,
            limit,
            room,
        };
        // SAFETY: blocks of our own with room for what is copied; kernels come later on the stream.
        unsafe {
            put(query.constants.address(), &made.constants, &self.stream).map_err(failed)?;
            put(lock(&query.room).groups.address(), &made.only, &self.stream).map_err(failed)?;
            put(query.count.address(), &[u32::from(!made.only.is_empty())], &self.stream).map_err(failed)?;
        }
        Ok(query)
    }

    /// Launches a query's kernels on a slot that was decoded into `parts`. Its marks lie in the scratch then.
    ///
    /// # Safety
    ///
    /// In the stream's order the slot is decoded, and nothing else uses its parts until the kernels are done.
    pub unsafe fn launch(&self, query: &Query, rows: u32, parts: Parts) -> Result<(), DriverError> {
        let mut room = lock(&query.room);
        if u64::from(room.known) > u64::from(room.room) / 2
            && u64::from(room.room) < query.limit
            && query.stride > 0
        {
            self.grow(query, &mut room)?;
        }
        let Parts { output, scratch, .. } = parts;
        let (constants, count) = (query.constants.address(), query.count.address());
        let (index, groups) = (room.index.address(), room.groups.address());
        // SAFETY: the kernels take these parameters, of blocks of the query's own; the caller keeps the slot's parts.
        unsafe {
            self.stream.launch_builder(&query.mark).arg(&output).arg(&scratch).launch(blocks(1))?;
            if rows > 0 {
                let mut launch = self.stream.launch_builder(&query.aggregate);
                launch.arg(&output).arg(&scratch).arg(&constants).arg(&index).arg(&groups).arg(&count);
                launch.arg(&room.places).arg(&room.room).launch(blocks(rows.div_ceil(THREADS)))?;
            }
        }
        Ok(())
    }

    /// Gives the groups four times the room, if there is memory. What is given back is used again only behind what comes
    /// before on the stream.
    fn grow(&self, query: &Query, room: &mut Room) -> Result<(), DriverError> {
        let wanted = (4 * u64::from(room.room)).min(query.limit);
        let Some(mut larger) = Room::new(&self.heap, &self.stream, wanted, query.stride)? else {
            return Ok(());
        };
        let (index, groups, count) = (larger.index.address(), larger.groups.address(), query.count.address());
        let bytes = 8 * u64::from(room.room) * query.stride;
        // SAFETY: the larger block has room for the smaller one's bytes; the kernel takes these parameters.
        unsafe {
            cuMemcpyDtoDAsync_v2(groups, room.groups.address(), bytes as usize, self.stream.cu_stream())
                .result()?;
            let mut launch = self.stream.launch_builder(&query.enter);
            launch.arg(&index).arg(&groups).arg(&count).arg(&larger.places);
            launch.launch(blocks(room.room.div_ceil(THREADS)))?;
        }
        larger.known = room.known;
        *room = larger;
        Ok(())
    }
}

impl Query {
    /// The address of the number of groups.
    pub fn count(&self) -> u64 {
        self.count.address()
    }

    /// Notes how many groups there were.
    pub fn found(&self, groups: u32) {
        let mut room = lock(&self.room);
        room.known = room.known.max(groups);
    }

    /// Copies groups from word `from` on, as many as have room; returns whether the last one is among them. All slots have
    /// come back.
    fn bring_groups(&self, from: u64, output: &mut [u8]) -> Result<bool, Option<DriverError>> {
        let room = lock(&self.room);
        // SAFETY: one number, which no kernel writes any more.
        let groups = u64::from(unsafe { take::<u32>(self.count.address(), 1) }?[0]).min(room.room.into());
        let left = (groups * self.stride).checked_sub(from).ok_or(None)?;
        let (head, rest) = output.split_first_chunk_mut::<8>().ok_or(None)?;
        *head = groups.to_le_bytes();
        let words = left.min(rest.len() as u64 / 8);
        if words > 0 {
            let start = room.groups.address() + 8 * from;
            // SAFETY: as many words lie there, which no kernel writes any more, and have room in the region.
            unsafe { cuMemcpyDtoH_v2(rest.as_mut_ptr().cast(), start, 8 * words as usize) }.result()?;
        }
        Ok(words == left)
    }
}

fn blocks(count: u32) -> LaunchConfig {
    LaunchConfig { grid_dim: (count, 1, 1), block_dim: (THREADS, 1, 1), shared_mem_bytes: 0 }
}
