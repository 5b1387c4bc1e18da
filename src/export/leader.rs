//! The leader's part of an export: check, plan, sample, run passes, write the footers, publish.

use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use pgrx::pg_sys::Oid;

use super::device::{self, Wanted, Way, Work};
use super::footers::{self, Finished};
use super::message::Report;
use super::sink::encode_error;
use super::{choices, pass, sample};
use crate::encode::ipc::has_bounds;
use crate::encode::{FileSchema, has_bloom_filter};
use crate::pg::access::{check_file_role, check_row_security, check_select};
use crate::pg::catalog::{self, Attribute};
use crate::pg::error::{Code, Result, error, internal};
use crate::pg::heap::BLOCK_SIZE;
use crate::pg::memory;
use crate::pg::parallel;
use crate::pg::progress::Progress;
use crate::pg::query::QueryRows;
use crate::pg::session::PinnedSettings;
use crate::plan::chunks::{Chunks, Density};
use crate::plan::{Column, Format, Job, Output, ScanKind, Source, columns, relation};
use crate::publish::{Append, Manifest, ManifestColumn, ManifestFile, Staged, Target, names_file};
use crate::types::{Kind, Shapes};

/// Passes that may end early before a survey reads all the data.
const GUESSES: usize = 2;

/// What is exported.
pub enum Subject {
    /// All or some columns of a table.
    Table { oid: Oid, columns: Option<Vec<String>> },
    /// The result of a query.
    Query(String),
}

/// The arguments of an export, their form already checked.
pub struct Request {
    pub subject: Subject,
    pub path: String,
    pub format: Format,
    pub compression: String,
    /// The most rows of a row group or record batch.
    pub group_rows: u64,
    pub group_bytes: u64,
    pub workers: Option<usize>,
    /// `None` chooses the best that the table allows.
    pub scan: Option<ScanKind>,
    pub device: Wanted,
    pub overwrite: bool,
    /// Adds record batches to an existing file.
    pub append: bool,
}

impl Request {
    fn work(&self) -> Work<'_> {
        match self.format {
            Format::Parquet { .. } => Work::Parquet(&self.compression),
            Format::Arrow { .. } => Work::Arrow(&self.compression),
        }
    }
}

/// The result row of an export.
pub struct Exported {
    pub files: usize,
    /// Row groups or record batches.
    pub groups: usize,
    pub rows: u64,
    pub bytes: u64,
    /// "heap", "copy_binary" or "query".
    pub scan: &'static str,
    /// "cpu", "gpu" or "gpu+cpu".
    pub device: &'static str,
    pub workers: usize,
    pub elapsed: Duration,
}

pub fn export(request: &Request) -> Result<Exported> {
    memory::checked(|| export_checked(request))
}

fn export_checked(request: &Request) -> Result<Exported> {
    let began = Instant::now();
    check_context()?;
    check_file_role()?;
    let extension = request.format.extension();
    let is_file = names_file(&request.path, extension)?;
    let appends = appends(request, is_file)?;
    let target = Target::new(&request.path, is_file, Some(extension), request.overwrite || appends)?;
    let append = appends.then(|| Append::open(&request.path).map(Rc::new)).transpose()?;
    let Opened { source, columns, slots, query, guard: _guard } = open(&request.subject)?;
    check_named(&source, &columns, &request.format)?;
    let way = match query {
        Some(_) => Way { scan: ScanKind::Heap, device: None },
        None => device::choose(&source, &columns, request.scan, request.device, request.work())?,
    };

    let _settings = PinnedSettings::pin();
    let workers = choose_workers(&source, request.workers);
    let progress = Progress::start(source.oid.into(), source.blocks() * BLOCK_SIZE as u64);
    let mut job = new_job(source, columns, way.scan, Shapes::new(slots));
    (job.query, job.append) = (query, append);
    let (density, mut seen) = sample::take(&job)?;
    if let Some(append) = &job.append {
        append.seed(&job.fields(), &mut seen);
        append.merged(
            &FileSchema::new(&job.fields(), &widened(&job.columns, &seen))
                .map_err(encode_error)?
                .arrow_file(),
        )?;
    }
    if way.device.is_some() {
        job.encode = choices::take(&mut job, &mut seen, request)?;
        job.device = way.device;
    }
    let staged = target.stage(if is_file { 1 } else { workers + 1 })?;
    job.chunks =
        Chunks::new(job.source.blocks(), density, request.group_rows, request.group_bytes, workers + 1);
    job.files = staged.files.clone();
    let output = Output::Groups {
        format: request.format.clone(),
        compression: request.compression.clone(),
        rows: request.group_rows,
        bytes: request.group_bytes,
    };
    let (report, started) = run_passes(&mut job, output, seen, workers, Some(&staged), &progress)?;
    let tally = report.device.clone();
    let files = footers::finish(&job, &request.format, report, &staged)?;
    let exported = summary(&job, &files, started, began);
    if !is_file {
        staged.write_manifest(&manifest(&job, &request.format, files))?;
    }
    if let Some(append) = &job.append {
        append.check_unchanged()?;
    }
    staged.publish()?;
    let planned = job.device.is_some();
    if job.query.is_none() {
        device::record_rate(&job.source, job.scan, request.work(), planned, began.elapsed(), started + 1);
    }
    let device = device::conclude(&job.source, planned, &tally);
    Ok(Exported { device, elapsed: began.elapsed(), ..exported })
}

/// Returns whether there is a file to append to.
fn appends(request: &Request, is_file: bool) -> Result<bool> {
    let refused = match (is_file, request.overwrite) {
        _ if !request.append => return Ok(false),
        (false, _) => "rows are appended to a file, and the path is a directory's",
        (_, true) => "append and overwrite exclude each other",
        _ => return Ok(Path::new(&request.path).try_exists().unwrap_or(true)),
    };
    Err(error(Code::ERRCODE_INVALID_PARAMETER_VALUE, refused)
        .set_hint("Pass a path that ends in .arrow, and one of append and overwrite."))
}

/// What is to be read; the caller's privileges to read it have been checked.
struct Opened {
    source: Source,
    columns: Vec<Column>,
    /// Number of shapes that the columns have.
    slots: usize,
    query: Option<Rc<QueryRows>>,
    /// Present for a table.
    guard: Option<relation::Guard>,
}

fn open(subject: &Subject) -> Result<Opened> {
    match subject {
        Subject::Table { oid, columns: names } => {
            let relation::Opened { source, attributes, guard } = relation::open(*oid)?;
            check_reading(&source, &attributes, names.as_deref())?;
            let (columns, slots) = columns::select(&source.name, &attributes, names.as_deref())?;
            Ok(Opened { source, columns, slots, query: None, guard: Some(guard) })
        }
        Subject::Query(text) => {
            let rows = QueryRows::run(text)?;
            let (columns, slots) = columns::of_query(&rows.attributes())?;
            let query = Some(Rc::new(rows));
            Ok(Opened { source: relation::of_query(), columns, slots, query, guard: None })
        }
    }
}

pub(super) fn check_context() -> Result<()> {
    if !parallel::in_parallel_worker() {
        return Ok(());
    }
    Err(error(Code::ERRCODE_INVALID_TRANSACTION_STATE, "cannot export from within a parallel operation")
        .set_hint("The functions are PARALLEL UNSAFE; do not call them from one marked PARALLEL SAFE."))
}

pub(super) fn check_reading(
    source: &Source,
    attributes: &[Attribute],
    names: Option<&[String]>,
) -> Result<()> {
    let chosen: Vec<(i16, String)> = columns::choose(&source.name, attributes, names)?
        .into_iter()
        .map(|attribute| (attribute.number, attribute.name.clone()))
        .collect();
    check_select(source.oid.into(), &source.name, &chosen)?;
    check_row_security(source.oid.into(), &source.name)
}

/// Checks that columns named for bounds or filters are exported and of a type that has them.
fn check_named(source: &Source, columns: &[Column], format: &Format) -> Result<()> {
    type Has = fn(&Kind) -> bool;
    let (argument, names, has, what, hint): (_, _, Has, _, _) = match format {
        Format::Arrow { stats: None } => return Ok(()),
        Format::Arrow { stats: Some(names) } => (
            "stats",
            names,
            has_bounds,
            "minimum and maximum in an Arrow file",
            "Leave it out of stats; uuid, json, jsonb, bytea, arrays and composites have none.",
        ),
        Format::Parquet { filters, .. } => (
            "bloom_filters",
            filters,
            has_bloom_filter,
            "Bloom filter",
            "Leave it out of bloom_filters; boolean, real, double precision, arrays and composites have none.",
        ),
    };
    for name in names {
        let Some(column) = columns.iter().find(|column| column.field.name == *name) else {
            let message = format!(
                "column \"{name}\" of {argument} is not among the exported columns of {}",
                source.name
            );
            return Err(error(Code::ERRCODE_UNDEFINED_COLUMN, message)
                .set_hint("Names are compared as they are stored, case included."));
        };
        if !has(&column.field.kind) {
            let message = format!("column \"{name}\" of type {} has no {what}", column.field.pg_type);
            return Err(error(Code::ERRCODE_FEATURE_NOT_SUPPORTED, message).set_hint(hint));
        }
    }
    Ok(())
}

pub(super) fn choose_scan(source: &Source, asked: Option<ScanKind>) -> Result<ScanKind> {
    if source.is_heap {
        return Ok(asked.unwrap_or(ScanKind::Heap));
    }
    Err(error(
        Code::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("cannot export {}: its table access method is not heap", source.name),
    )
    .set_hint("Copy the rows into an ordinary table and export that."))
}

/// Returns the number of workers. They cannot see temporary tables, and have nothing to do in an empty one.
pub(super) fn choose_workers(source: &Source, asked: Option<usize>) -> usize {
    let blocks = source.blocks();
    if source.is_temporary || blocks < 2 {
        return 0;
    }
    match asked {
        Some(workers) => workers.min(parallel::max_workers()),
        None => parallel::workers_for(blocks, source.workers_option),
    }
}

pub(super) fn new_job(source: Source, columns: Vec<Column>, scan: ScanKind, shapes: Shapes) -> Job {
    let density = Density { rows_per_block: 1.0, bytes_per_row: 1.0 };
    let chunks = Chunks::new(0, density, 1, 1, 1);
    Job {
        source,
        columns,
        chunks,
        query: None,
        append: None,
        scan,
        shapes,
        surveyed: false,
        output: Output::Survey,
        device: None,
        encode: None,
        files: Vec::new(),
    }
}

/// Repeats the pass with wider shapes until the data fit. A pass that ended early without widening a shape met
/// a value that only text can hold: a survey of all the data then decides whether its column is text.
pub(super) fn run_passes(
    job: &mut Job,
    output: Output,
    mut seen: Shapes,
    workers: usize,
    staged: Option<&Staged>,
    progress: &Progress,
) -> Result<(Report, usize)> {
    let mut guesses = GUESSES;
    loop {
        if guesses == 0 {
            job.output = Output::Survey;
            job.shapes = seen.clone();
            seen = merged(&seen, &pass::run(job, workers, 0, progress)?.needs);
            job.surveyed = true;
        }
        job.output = output.clone();
        job.shapes = widened(&job.columns, &seen);
        columns::check_nesting(&job.columns, &job.shapes)?;
        let passed = pass::run(job, workers, head(job)?, progress)?;
        match passed.report {
            Some(report) => return Ok((report, passed.workers)),
            None if job.surveyed => return Err(internal("the survey did not see all the data")),
            None => {}
        }
        let wider = merged(&seen, &passed.needs);
        guesses = if wider == seen { 0 } else { guesses - 1 };
        seen = wider;
        if let Some(staged) = staged {
            staged.restart()?;
        }
    }
}

/// Returns how many bytes at the start of each file are left to the leader.
fn head(job: &Job) -> Result<u64> {
    match &job.output {
        Output::Groups { format, .. } => footers::head(job, format),
        _ => Ok(0),
    }
}

fn merged(one: &Shapes, other: &Shapes) -> Shapes {
    let mut all = one.clone();
    other.iter().enumerate().for_each(|(slot, shape)| {
        all.merge(slot, shape);
    });
    all
}

/// Returns the shapes to try: those seen, widened as far as that costs nothing.
pub(super) fn widened(columns: &[Column], seen: &Shapes) -> Shapes {
    let mut shapes = seen.clone();
    for column in columns {
        widen_kind(&column.field.kind, &mut shapes);
    }
    shapes
}

fn widen_kind(kind: &Kind, shapes: &mut Shapes) {
    match kind {
        Kind::Numeric { shape_index } => shapes.set(*shape_index, shapes.get(*shape_index).widened_numeric()),
        Kind::List { shape_index, element } => {
            shapes.set(*shape_index, shapes.get(*shape_index).widened_list());
            widen_kind(&element.kind, shapes);
        }
        Kind::Struct { fields } => fields.iter().for_each(|field| widen_kind(&field.kind, shapes)),
        _ => {}
    }
}

fn summary(job: &Job, files: &[Finished], workers: usize, began: Instant) -> Exported {
    Exported {
        files: files.len(),
        groups: files.iter().map(|file| file.groups).sum(),
        rows: files.iter().map(|file| file.rows).sum(),
        bytes: files.iter().map(|file| file.bytes).sum(),
        scan: if job.query.is_some() { "query" } else { job.scan.name() },
        device: "cpu",
        workers,
        elapsed: began.elapsed(),
    }
}

fn manifest(job: &Job, format: &Format, files: Vec<Finished>) -> Manifest {
    let column = |column: &Column| ManifestColumn {
        name: column.field.name.clone(),
        pg_type: column.field.pg_type.clone(),
        nullable: column.field.nullable,
    };
    let file = |file: &Finished| ManifestFile {
        name: job.files[file.index].file_name().unwrap_or_default().to_string_lossy().into_owned(),
        row_groups: matches!(format, Format::Parquet { .. }).then_some(file.groups as u64),
        record_batches: matches!(format, Format::Arrow { .. }).then_some(file.groups as u64),
        rows: file.rows,
        bytes: file.bytes,
    };
    Manifest {
        table: job.source.name.clone(),
        rows: files.iter().map(|file| file.rows).sum(),
        bytes: files.iter().map(|file| file.bytes).sum(),
        snapshot: catalog::snapshot_text(),
        columns: job.columns.iter().map(column).collect(),
        files: files.iter().map(file).collect(),
        pg_strata: env!("CARGO_PKG_VERSION"),
    }
}
