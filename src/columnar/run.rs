//! Runs an aggregation over a table: the leader and its workers claim chunks of blocks or groups of files' rows, each has
//! its own groups, and the leader merges them.

use std::sync::atomic::{AtomicU64, Ordering};

use pgrx::pg_sys;
use serde::{Deserialize, Serialize};

use super::device::{self, Begun, Share};
use super::exchange::{self, Exchange, STOPPED};
use super::file_rows::FileRows;
use super::odd::OddRows;
use super::shape::Shape;
use super::sink::{DEVICE_FAILED, QuerySink};
use crate::foreign::{FilesRead, FilesSeen};
use crate::pg::catalog::{Attribute, Table};
use crate::pg::check_for_interrupts;
use crate::pg::error::{Error, Result, internal};
use crate::pg::guc::{self, SqlMode};
use crate::pg::memory;
use crate::pg::parallel::{self, Body, RESERVED_WORDS, Workers};
use crate::pg::snapshot::Snapshot;
use crate::plan::relation::LeafRelation;
use crate::plan::{Output, Pass, Reading, ScanKind, Source, columns};
use crate::query::{Executor, Plan, Unfit};
use crate::scan::{Reader, whole_numbers};
use crate::types::Shapes;

const NEXT: usize = RESERVED_WORDS;
const STOP: usize = RESERVED_WORDS + 1;
/// Rows in a device's groups.
const ON_DEVICE: usize = RESERVED_WORDS + 2;
/// The first of the foreign tables' own words.
const OF_FILES: usize = RESERVED_WORDS + 3;

/// What every process needs.
#[derive(Serialize, Deserialize)]
struct Job {
    input: Input,
    plan: Plan,
    /// The node's expressions over the columns, as nodeToString writes them, for rows that PostgreSQL evaluates.
    expressions: String,
    /// Bytes that the groups of a process may take.
    limit: usize,
    /// No more rows are needed once one was counted, by the only aggregate.
    is_first_enough: bool,
    /// The number of the query on a device that computes a part of it.
    query: Option<u64>,
}

/// Where rows come from.
#[derive(Serialize, Deserialize)]
struct Input {
    heaps: Option<Heaps>,
    files: Vec<FileRows>,
}

/// Heaps as one row of blocks.
#[derive(Serialize, Deserialize)]
struct Heaps {
    reading: Reading,
    /// Blocks that are claimed together.
    chunk: u64,
}

impl Input {
    /// Returns how many words the leader and so many workers share: the last ones are those of their exchange.
    fn words(&self, workers: usize) -> usize {
        self.before_exchange() + exchange::words(workers)
    }

    fn before_exchange(&self) -> usize {
        OF_FILES + self.files.iter().map(FileRows::words).sum::<usize>()
    }

    /// Returns each foreign table's rows with its shared words.
    fn files<'a>(&'a self, words: &'a [AtomicU64]) -> impl Iterator<Item = (&'a FileRows, &'a [AtomicU64])> {
        let mut rest = &words[OF_FILES..];
        self.files.iter().map(move |rows| {
            let (own, others) = rest.split_at(rows.words());
            rest = others;
            (rows, own)
        })
    }

    /// Returns what was read of foreign tables; `None` if there are none.
    fn read(&self, words: &[AtomicU64]) -> Option<FilesRead> {
        self.files(words).map(|(rows, words)| rows.read_of(words)).reduce(FilesRead::and)
    }
}

/// An aggregation whose parameters are known.
pub struct Query {
    job: Job,
    workers: usize,
    /// Groups that the planner expects.
    groups: u64,
}

/// The groups of all processes.
pub struct Ran {
    pub executor: Executor,
    pub planned: usize,
    pub launched: usize,
    /// What was read of foreign tables.
    pub files: Option<FilesRead>,
    pub share: Share,
}

pub type Fit<T> = std::result::Result<T, Unfit>;

impl Query {
    /// Makes a query of a plan, which computes expressions as nodeToString writes them.
    pub fn new(
        table: &Table,
        shape: &Shape,
        chosen: &[&Attribute],
        plan: Plan,
        expressions: String,
    ) -> Result<Query> {
        let (input, workers) = Query::input(table, shape, chosen, &expressions, plan.filters.len())?;
        // SAFETY: reads settings.
        let limit = unsafe { pg_sys::get_hash_memory_limit() };
        let job = Job { input, plan, expressions, limit, is_first_enough: false, query: None };
        Ok(Query { job, workers, groups: 0 })
    }

    /// Takes how many groups the planner expects.
    pub fn expecting(self, groups: f64) -> Query {
        Query { groups: groups as u64, ..self }
    }

    /// Adds the files to those that earlier runs of the node have read, which must not have changed.
    pub fn check_files(&self, seen: &mut FilesSeen) -> Result<()> {
        self.job.input.files.iter().try_for_each(|rows| seen.add(&rows.files))
    }

    /// Leaves out all rows.
    pub fn without_rows(mut self) -> Query {
        (self.job.input, self.workers) = (Input { heaps: None, files: Vec::new() }, 0);
        self
    }

    /// Returns what is read, and the workers that it wants.
    fn input(
        table: &Table,
        shape: &Shape,
        chosen: &[&Attribute],
        expressions: &str,
        filters: usize,
    ) -> Result<(Input, usize)> {
        let mut source = Source {
            oid: table.oid().to_u32(),
            name: table.qualified_name(),
            leaves: Vec::new(),
            is_temporary: false,
            is_heap: true,
            workers_option: table.parallel_workers_option(),
        };
        let mut files = Vec::new();
        for &(oid, role) in &shape.leaves {
            let leaf = Table::open(oid)?;
            if leaf.is_foreign() {
                let numbers = numbers_of(&leaf, chosen)?;
                let rows = FileRows::list((oid, role), numbers, expressions, filters)?;
                files.push(rows);
                continue;
            }
            source.is_temporary |= leaf.is_temporary();
            source.leaves.push(LeafRelation {
                oid: oid.to_u32(),
                name: leaf.qualified_name(),
                first: source.blocks(),
                blocks: leaf.blocks(),
            });
        }
        let blocks = source.blocks();
        let option = source.workers_option.or(files.iter().find_map(|rows| rows.workers_option));
        let workers = match source.is_temporary || parallel::is_worker() {
            true => 0,
            false => parallel::workers_for(blocks + u64::from(shape.blocks), option),
        };
        // Each process has a part to claim.
        let parts = blocks.saturating_add(files.iter().map(|rows| rows.groups() as u64).sum());
        let workers = workers.min(usize::try_from(parts.saturating_sub(1)).unwrap_or(usize::MAX));
        // So many that all processes end at about the same time.
        let chunk = (blocks / (16 * (workers as u64 + 1))).clamp(32, 1024);
        let columns = columns::select(chosen).0;
        let reading = Reading { source, query: None, columns, scan: ScanKind::Heap, device: None };
        let heaps = (!reading.source.leaves.is_empty()).then_some(Heaps { reading, chunk });
        Ok((Input { heaps, files }, workers))
    }
}

/// Returns the numbers in a partition or child of a table's attributes, which have the same names there.
fn numbers_of(leaf: &Table, attributes: &[&Attribute]) -> Result<Vec<i16>> {
    let own = leaf.attributes();
    let number = |of: &&Attribute| own.iter().find(|own| !own.dropped && own.name == of.name);
    let numbers = attributes.iter().map(|of| number(of).map(|own| own.number));
    numbers.collect::<Option<Vec<i16>>>().ok_or_else(column_is_gone)
}

pub fn column_is_gone() -> Error {
    internal("a column of an aggregation is gone")
}

/// Scans the table under a snapshot; the result is that of all processes.
pub fn run(query: Query, snapshot: pg_sys::Snapshot) -> Result<Fit<Ran>> {
    let _active = Snapshot::push(snapshot);
    memory::checked(|| {
        let Query { mut job, workers, groups } = query;
        let refused = match begin(&mut job, groups)? {
            Ok(None) => Share::None,
            Ok(Some(begun)) => match attempt(&job, workers, Some(&begun))? {
                Tried::Done(done) => return Ok(*done),
                Tried::DeviceFailed(reason) => Share::Refused(reason),
            },
            Err(reason) => Share::Refused(reason),
        };
        job.query = None;
        if let Some(heaps) = &mut job.input.heaps {
            heaps.reading.device = None;
        }
        match attempt(&job, workers, None)? {
            Tried::Done(done) => Ok((*done).map(|ran| Ran { share: refused, ..ran })),
            Tried::DeviceFailed(_) => Err(internal("a device failed in a query without one")),
        }
    })
}

/// Begins the job on a device, if it is to have one; otherwise returns why it has none.
fn begin(job: &mut Job, groups: u64) -> Result<std::result::Result<Option<Begun>, String>> {
    let Some(heaps) =
        job.input.heaps.as_mut().filter(|_| guc::gpu_sql() != SqlMode::Off && !job.is_first_enough)
    else {
        return Ok(Ok(None));
    };
    let begun = device::begin(&job.plan, &heaps.reading, groups, job.limit)?;
    Ok(begun.map(|begun| {
        heaps.reading.device = Some(begun.device);
        job.query = Some(begun.number);
        Some(begun)
    }))
}

/// What came of running a job once.
enum Tried {
    Done(Box<Fit<Ran>>),
    /// For a reason. Nobody knows which rows are in its groups.
    DeviceFailed(String),
}

/// Runs a job by leader and workers.
fn attempt(job: &Job, workers: usize, begun: Option<&Begun>) -> Result<Tried> {
    let message = serde_json::to_vec(&job).map_err(|cause| internal(cause.to_string()))?;
    let planned = parallel::with_room(workers, &message, job.input.words(workers));
    let words = job.input.words(planned);
    let (done, messages, words, launched) = if planned == 0 {
        let words: Vec<AtomicU64> = (0..words).map(|_| AtomicU64::new(0)).collect();
        prepare(job, &words);
        (process(job, &words, 0)?, Vec::new(), words, 0)
    } else {
        let mut team = Workers::launch(Body::Query, planned, &message, words);
        prepare(job, team.shared());
        let launched = team.start();
        let done = process(job, team.shared(), 0)?;
        let (messages, words) = team.finish()?;
        (done, messages, words, launched)
    };
    if words[STOP].load(Ordering::Relaxed) == DEVICE_FAILED {
        return Ok(Tried::DeviceFailed("it failed, and all was computed again".into()));
    }
    let merged = done.and_then(|executor| merge(executor, &messages));
    let (mut executor, rows) = match merged {
        Ok(executor) => (executor, words[ON_DEVICE].load(Ordering::Relaxed)),
        Err(unfit) => return Ok(Tried::Done(Box::new(Err(unfit)))),
    };
    let share = match begun {
        None => Share::None,
        Some(begun) => match begun.merge(&mut executor)? {
            Ok(Ok(())) => Share::Rows(rows),
            Ok(Err(unfit)) => return Ok(Tried::Done(Box::new(Err(unfit)))),
            Err(reason) => return Ok(Tried::DeviceFailed(reason)),
        },
    };
    let files = job.input.read(&words);
    Ok(Tried::Done(Box::new(Ok(Ran { executor, planned: workers, launched, files, share }))))
}

/// Merges the groups of workers with the leader's.
fn merge(mut executor: Executor, messages: &[Vec<u8>]) -> Fit<Executor> {
    for message in messages {
        match message.split_first() {
            Some((&FIT, groups)) => executor.merge(groups, check_for_interrupts)?,
            Some((&PARTS, parts)) => executor.take_parts(parts)?,
            _ => return Err(Unfit("rows that a worker cannot compute")),
        }
    }
    Ok(executor)
}

/// Returns whether there is a row that the filters of a query let through, whose only aggregate counts rows.
pub fn has_row(mut query: Query, snapshot: pg_sys::Snapshot) -> Result<Fit<bool>> {
    query.job.is_first_enough = true;
    // The first row is found before workers have started.
    if query.job.plan.filters.is_empty() {
        query.workers = 0;
    }
    Ok(run(query, snapshot)?.map(|ran| ran.executor.has_counted()))
}

/// Fills the shared words, before any other process uses them.
fn prepare(job: &Job, words: &[AtomicU64]) {
    job.input.files(words).for_each(|(rows, words)| rows.share(words));
}

/// The first byte of a worker's message that has groups, and of one with complete parts of them.
const FIT: u8 = 1;
const PARTS: u8 = 2;

/// Runs a parallel worker; registered when the library is loaded.
pub fn worker_body(message: &[u8], words: &[AtomicU64], number: usize) -> Result<Vec<u8>> {
    memory::checked(|| {
        let job: Job = serde_json::from_slice(message).map_err(|cause| internal(cause.to_string()))?;
        let executor = process(&job, words, number)?;
        let message = executor.and_then(|executor| match executor.parts.is_empty() {
            true => Ok((FIT, executor.to_message()?)),
            false => Ok((PARTS, executor.to_parts()?)),
        });
        Ok(match message {
            Ok((kind, groups)) => [&[kind], &groups[..]].concat(),
            Err(_) => vec![0],
        })
    })
}

/// Claims chunks and adds their rows, in the leader and in each worker.
fn process(job: &Job, words: &[AtomicU64], number: usize) -> Result<Fit<Executor>> {
    let executor = match Executor::new(job.plan.clone(), job.limit) {
        Ok(executor) => executor,
        Err(unfit) => return Ok(Err(unfit)),
    };
    let odd = OddRows::new(&job.expressions, &job.plan)?;
    let mut sink = QuerySink::new(executor, odd, &words[STOP]);
    let exchange = Exchange::join(&words[job.input.before_exchange()..], number);
    sink.is_first_enough = job.is_first_enough;
    if let Some(heaps) = &job.input.heaps {
        read_heaps(heaps, job.query, &words[NEXT], &mut sink)?;
        words[ON_DEVICE].fetch_add(sink.on_device, Ordering::Relaxed);
    }
    for (rows, words) in job.input.files(words) {
        rows.read(&job.expressions, words, &mut sink)?;
    }
    if let Some(unfit) = sink.unfit {
        return Ok(Err(unfit));
    }
    if sink.is_stopped() && !job.is_first_enough {
        return Ok(Err(STOPPED));
    }
    // A device's groups are merged with those of all processes, which then lie in one table.
    let is_stopped = || words[STOP].load(Ordering::Relaxed) != 0;
    let merged = if job.query.is_none() { exchange.merge(&mut sink.executor, is_stopped)? } else { Ok(()) };
    if let Err(unfit) = merged {
        sink.give_up(unfit);
        return Ok(Err(unfit));
    }
    Ok(Ok(sink.executor))
}

/// Adds the rows of chunks of blocks until none are left.
fn read_heaps(heaps: &Heaps, query: Option<u64>, next: &AtomicU64, sink: &mut QuerySink) -> Result<()> {
    let Heaps { reading, chunk } = heaps;
    let columns = reading.columns.len();
    let shapes = if query.is_some() { whole_numbers(columns) } else { Shapes::new(columns) };
    let output = query.map_or(Output::Cells, Output::Aggregated);
    let pass = Pass { reading, shapes, surveyed: true, output };
    let mut reader = Reader::new(&pass);
    let blocks = reading.source.blocks();
    loop {
        let start = next.fetch_add(1, Ordering::Relaxed) * chunk;
        if start >= blocks || sink.is_stopped() {
            break;
        }
        reader.read(start..blocks.min(start + chunk), sink)?;
    }
    if sink.is_stopped() {
        return Ok(());
    }
    reader.settle(sink)?;
    let (scanned, _) = reader.finish();
    if sink.is_stopped() {
        return Ok(());
    }
    if scanned.rows != sink.executor.counted && sink.unfit.is_none() {
        let found = sink.executor.counted;
        return Err(internal(format!(
            "an aggregation saw {found} rows of {} that were scanned",
            scanned.rows
        )));
    }
    Ok(())
}
