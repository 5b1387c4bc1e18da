//! Runs an aggregation over a table: the leader and its workers claim chunks of blocks or groups of files' rows, each has
//! its own groups, and the leader merges them.

use std::sync::atomic::{AtomicU64, Ordering};

use pgrx::pg_sys::{self, Node, NodeTag};
use serde::{Deserialize, Serialize};

use super::candidate::{function_of, is_distinct, translate_all};
use super::file_rows::FileRows;
use super::nodes::{list, replace_leaves};
use super::odd::OddRows;
use super::shape::Shape;
use super::sink::QuerySink;
use super::translate::Translator;
use super::types::{declared_scale, type_of};
use crate::foreign::Counts;
use crate::pg::catalog::{Attribute, Table};
use crate::pg::check_for_interrupts;
use crate::pg::error::{Error, Result, internal};
use crate::pg::list::members;
use crate::pg::memory;
use crate::pg::parallel::{self, Body, RESERVED_WORDS, Workers};
use crate::pg::snapshot::Snapshot;
use crate::plan::relation::LeafRelation;
use crate::plan::{Output, Pass, Reading, ScanKind, Source, columns};
use crate::query::{self, Executor, Plan, Unfit};
use crate::scan::Reader;
use crate::types::Shapes;

const NEXT: usize = RESERVED_WORDS;
const STOP: usize = RESERVED_WORDS + 1;
/// The first of the foreign tables' own words.
const OF_FILES: usize = RESERVED_WORDS + 2;

/// What every process needs.
#[derive(Serialize, Deserialize)]
struct Job {
    input: Input,
    plan: Plan,
    /// The node's expressions over the columns, as nodeToString writes them, for rows that PostgreSQL evaluates.
    expressions: String,
    /// Bytes that the groups of a process may take.
    limit: usize,
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
    /// Returns how many words the processes share.
    fn words(&self) -> usize {
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

    fn counts(&self, words: &[AtomicU64]) -> Option<Counts> {
        let counts = self.files(words).map(|(rows, words)| rows.counts(words));
        counts.reduce(|a, b| Counts { loaded: a.loaded + b.loaded, skipped: a.skipped + b.skipped })
    }
}

/// An aggregation whose parameters are known.
pub struct Query {
    job: Job,
    workers: usize,
}

/// The groups of all processes.
pub struct Ran {
    pub executor: Executor,
    pub planned: usize,
    pub launched: usize,
    /// Groups of a foreign table's rows.
    pub groups: Option<Counts>,
}

type Fit<T> = std::result::Result<T, Unfit>;

impl Query {
    /// Reads a node's expressions, with the values that its parameters have now.
    ///
    /// # Safety
    /// The node is one of ours, and the executor runs it.
    pub unsafe fn new(node: *mut pg_sys::CustomScanState, shape: &Shape) -> Result<Fit<Query>> {
        // SAFETY: the node's plan is a CustomScan of ours.
        unsafe {
            let plan = (*node).ss.ps.plan.cast::<pg_sys::CustomScan>();
            let tuple = members::<pg_sys::TargetEntry>((*plan).custom_scan_tlist);
            let tuple: Vec<*mut Node> = tuple.into_iter().map(|entry| (*entry).expr.cast()).collect();
            let mut numbers: Vec<i16> = Vec::new();
            let mut own: Vec<*mut Node> = members::<Node>((*plan).custom_exprs)
                .into_iter()
                .map(|expr| pg_sys::copyObjectImpl(expr.cast()).cast())
                .collect();
            // The planner has replaced parts of the expressions that are keys, too, by Vars of the tuple.
            for place in &mut own {
                replace_leaves(place, &mut |leaf| match (*leaf).type_ {
                    NodeTag::T_Var => {
                        let member = tuple[(*leaf.cast::<pg_sys::Var>()).varattno as usize - 1];
                        pg_sys::copyObjectImpl(member.cast()).cast()
                    }
                    _ => leaf,
                });
                replace_leaves(place, &mut |leaf| match (*leaf).type_ {
                    NodeTag::T_Var => own_column(leaf.cast(), &mut numbers),
                    _ => known(leaf, node),
                });
            }
            let table = Table::open(shape.table)?;
            let attributes = table.attributes();
            let chosen: Option<Vec<&Attribute>> =
                numbers.iter().map(|number| attributes.iter().find(|of| of.number == *number)).collect();
            let chosen = chosen.ok_or_else(column_is_gone)?;
            let aggrefs = tuple.iter().filter(|node| (***node).type_ == NodeTag::T_Aggref);
            let aggrefs: Vec<*mut pg_sys::Aggref> = aggrefs.map(|node| node.cast()).collect();
            let Some(plan) = translate(&own, shape, &aggrefs, &chosen) else {
                return Ok(Err(Unfit("a parameter's value")));
            };
            let expressions = pg_sys::nodeToString(list(own).cast());
            let expressions = std::ffi::CStr::from_ptr(expressions).to_string_lossy().into_owned();
            let (input, workers) = Query::input(&table, shape, &chosen, &expressions)?;
            let limit = pg_sys::get_hash_memory_limit();
            Ok(Ok(Query { job: Job { input, plan, expressions, limit }, workers }))
        }
    }

    /// Returns what is read, and the workers that it wants.
    fn input(
        table: &Table,
        shape: &Shape,
        chosen: &[&Attribute],
        expressions: &str,
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
                let rows = FileRows::list((oid, role), numbers, expressions, shape.filters)?;
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

fn column_is_gone() -> Error {
    internal("a column of an aggregation is gone")
}

/// Returns the value now of a parameter, or of an expression that is evaluated ahead, as a constant.
///
/// # Safety
/// The executor runs the node.
unsafe fn known(expr: *mut Node, node: *mut pg_sys::CustomScanState) -> *mut Node {
    // SAFETY: the expression is one of the node's plan; its value stays as it is while the node
    // computes its groups.
    unsafe {
        let of = pg_sys::exprType(expr);
        let state = pg_sys::ExecInitExpr(expr.cast(), &raw mut (*node).ss.ps);
        let mut is_null = false;
        let value = pg_sys::ExecEvalExpr(state, (*node).ss.ps.ps_ExprContext, &mut is_null);
        let (mut length, mut by_value) = (0, false);
        pg_sys::get_typlenbyval(of, &mut length, &mut by_value);
        let (typmod, collation) = (pg_sys::exprTypmod(expr), pg_sys::exprCollation(expr));
        pg_sys::makeConst(of, typmod, collation, length.into(), value, is_null, by_value).cast()
    }
}

/// Makes a Var of the table one of the columns that are read, whose numbers are noted.
///
/// # Safety
/// The Var is a copy of our own.
unsafe fn own_column(var: *mut pg_sys::Var, numbers: &mut Vec<i16>) -> *mut Node {
    // SAFETY: the caller passes a Var that it owns.
    unsafe {
        let number = (*var).varattno;
        let index = numbers.iter().position(|known| *known == number).unwrap_or_else(|| {
            numbers.push(number);
            numbers.len() - 1
        });
        (*var).varno = 1;
        (*var).varattno = index as i16 + 1;
        var.cast()
    }
}

/// Translates the expressions, in which no parameters are left.
///
/// # Safety
/// The expressions are those of a plan of ours, over columns.
unsafe fn translate(
    own: &[*mut Node],
    shape: &Shape,
    aggrefs: &[*mut pg_sys::Aggref],
    chosen: &[&Attribute],
) -> Option<Plan> {
    let column = |attribute: &&Attribute| {
        let scale = declared_scale(attribute.type_oid, attribute.typmod);
        Some(query::Column { of: type_of(attribute.type_oid)?, scale })
    };
    let columns = chosen.iter().map(column).collect::<Option<Vec<_>>>()?;
    let mut number = |var: &pg_sys::Var| Some(var.varattno as usize - 1);
    let mut translator = Translator { column: &mut number, has_parameters: false, case: None, depth: 0 };
    // SAFETY: the caller passes expressions; the aggregates are the plan's.
    unsafe {
        let exprs = translate_all(&mut translator, own)?.into_iter().map(|(expr, _)| expr);
        let mut exprs = exprs.collect::<Vec<_>>().into_iter();
        let filters = exprs.by_ref().take(shape.filters).collect();
        let keys = exprs.by_ref().take(shape.keys).collect();
        let aggregates = aggrefs.iter().map(|&aggref| {
            let (function, output) = function_of(&*aggref)?;
            let argument = if (*aggref).args.is_null() { None } else { Some(exprs.next()?) };
            let filter = if (*aggref).aggfilter.is_null() { None } else { Some(exprs.next()?) };
            let is_distinct = is_distinct(&*aggref, function);
            Some(query::Aggregate { function, argument, filter, is_distinct, output })
        });
        let aggregates = aggregates.collect::<Option<Vec<_>>>()?;
        Some(Plan { columns, filters, keys, aggregates })
    }
}

/// Scans the table under a snapshot; the result is that of all processes.
pub fn run(query: Query, snapshot: pg_sys::Snapshot) -> Result<Fit<Ran>> {
    let _active = Snapshot::push(snapshot);
    memory::checked(|| {
        let Query { job, workers } = query;
        let message = serde_json::to_vec(&job).map_err(|cause| internal(cause.to_string()))?;
        let words = job.input.words();
        let planned = parallel::with_room(workers, &message, words);
        if planned == 0 {
            let words: Vec<AtomicU64> = (0..words).map(|_| AtomicU64::new(0)).collect();
            prepare(&job, &words);
            let done = process(&job, &words)?;
            let groups = job.input.counts(&words);
            return Ok(done.map(|executor| Ran { executor, planned: workers, launched: 0, groups }));
        }
        let mut team = Workers::launch(Body::Query, planned, &message, words);
        prepare(&job, team.shared());
        let launched = team.start();
        let done = process(&job, team.shared())?;
        let (messages, words) = team.finish()?;
        let groups = job.input.counts(&words);
        Ok(done.and_then(|mut executor| {
            for message in &messages {
                match message.split_first() {
                    Some((&FIT, groups)) => executor.merge(groups, check_for_interrupts)?,
                    _ => return Err(Unfit("rows that a worker cannot compute")),
                }
            }
            Ok(Ran { executor, planned: workers, launched, groups })
        }))
    })
}

/// Fills the shared words, before any other process uses them.
fn prepare(job: &Job, words: &[AtomicU64]) {
    job.input.files(words).for_each(|(rows, words)| rows.share(words));
}

/// The first byte of a worker's message that has groups.
const FIT: u8 = 1;

/// Runs a parallel worker; registered when the library is loaded.
pub fn worker_body(message: &[u8], words: &[AtomicU64], _number: usize) -> Result<Vec<u8>> {
    memory::checked(|| {
        let job: Job = serde_json::from_slice(message).map_err(|cause| internal(cause.to_string()))?;
        let groups = process(&job, words)?.and_then(|executor| executor.to_message());
        Ok(match groups {
            Ok(groups) => [&[FIT], &groups[..]].concat(),
            Err(_) => vec![0],
        })
    })
}

/// Claims chunks and adds their rows, in the leader and in each worker.
fn process(job: &Job, words: &[AtomicU64]) -> Result<Fit<Executor>> {
    let executor = match Executor::new(job.plan.clone(), job.limit) {
        Ok(executor) => executor,
        Err(unfit) => return Ok(Err(unfit)),
    };
    let odd = OddRows::new(&job.expressions, &job.plan)?;
    let mut sink = QuerySink::new(executor, odd, &words[STOP]);
    if let Some(heaps) = &job.input.heaps {
        read_heaps(heaps, &words[NEXT], &mut sink)?;
    }
    for (rows, words) in job.input.files(words) {
        rows.read(&job.plan, &job.expressions, words, &mut sink)?;
    }
    match sink.unfit {
        Some(unfit) => Ok(Err(unfit)),
        None if sink.is_stopped() => Ok(Err(Unfit("rows that another process cannot compute"))),
        None => Ok(Ok(sink.executor)),
    }
}

/// Adds the rows of chunks of blocks until none are left.
fn read_heaps(heaps: &Heaps, next: &AtomicU64, sink: &mut QuerySink) -> Result<()> {
    let Heaps { reading, chunk } = heaps;
    let shapes = Shapes::new(reading.columns.len());
    let pass = Pass { reading, shapes, surveyed: true, output: Output::Cells };
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
    if scanned.rows != sink.executor.counted && sink.unfit.is_none() {
        let found = sink.executor.counted;
        return Err(internal(format!(
            "an aggregation saw {found} rows of {} that were scanned",
            scanned.rows
        )));
    }
    Ok(())
}
