//! The leader's part of an export: check, plan, sample, run passes, write the footers, publish.

use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::footers::{self, Finished};
use super::group_builder::encode_error;
use super::passes::{self, widened};
use super::placement::{self, Placement, Product};
use super::prepare::{check_context, choose_columns, choose_workers};
use super::request::{Request, Subject};
use super::{encode_plan, sample};
use crate::encode::ipc::has_bounds;
use crate::encode::{FileSchema, has_bloom_filter};
use crate::pg::access::check_file_role;
use crate::pg::error::{Code, Result, error};
use crate::pg::heap::BLOCK_SIZE;
use crate::pg::memory;
use crate::pg::progress::Progress;
use crate::pg::query::QueryRows;
use crate::pg::session::PinnedSettings;
use crate::pg::snapshot;
use crate::plan::chunks::Chunks;
use crate::plan::{Column, Format, Job, Output, Reading, ScanKind, Source, columns, relation};
use crate::publish::{Append, Manifest, ManifestColumn, ManifestFile, Target, names_file};
use crate::types::{Kind, Shapes};

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
    let Opened { source, columns, shape_count, query, guard: _guard } = open(&request.subject)?;
    check_named(&source, &columns, &request.format)?;
    let product = product(request);
    let Placement { scan, device } = match query {
        Some(_) => Placement { scan: ScanKind::Heap, device: None },
        None => placement::choose(&source, &columns, request.scan, request.device, product)?,
    };

    let _settings = PinnedSettings::pin();
    let workers = choose_workers(&source, request.workers);
    let progress = Progress::start(source.oid.into(), source.blocks() * BLOCK_SIZE as u64);
    let reading = Reading { source, query, columns, scan, device };
    let (density, mut seen) = sample::take(&reading, Shapes::new(shape_count))?;
    if let Some(append) = &append {
        append.seed(&reading.fields(), &mut seen);
        let schema = FileSchema::new(&reading.fields(), &widened(&reading.columns, &seen));
        append.merged(&schema.map_err(encode_error)?.arrow_file())?;
    }
    let encode = match reading.device {
        Some(_) => encode_plan::choose(&reading, &mut seen, request)?,
        None => None,
    };
    let staged = target.stage(if is_file { 1 } else { workers + 1 })?;
    let (group_rows, group_bytes) = (request.group_rows, request.group_bytes);
    let chunks = Chunks::new(reading.source.blocks(), density, group_rows, group_bytes, workers + 1);
    let job = Job { reading, append, chunks, files: staged.files.clone() };
    let output = Output::Groups {
        format: request.format.clone(),
        compression: request.compression.clone(),
        rows: group_rows,
        bytes: group_bytes,
        encode,
    };
    let fitted = passes::run(&job, &output, seen, workers, Some(&staged), &progress)?;
    let tally = fitted.report.device.clone();
    let files = footers::finish(&job, &fitted.shapes, &request.format, fitted.report, &staged)?;
    let exported = summary(&job.reading, &files, fitted.workers, began);
    if !is_file {
        staged.write_manifest(&manifest(&job, &request.format, files))?;
    }
    if let Some(append) = &job.append {
        append.check_unchanged()?;
    }
    staged.publish()?;
    let Reading { source, query, device, .. } = &job.reading;
    let planned = device.is_some();
    if query.is_none() {
        placement::record_rate(source, scan, product, planned, began.elapsed(), fitted.workers + 1);
    }
    let device = placement::conclude(source, planned, &tally);
    Ok(Exported { device, elapsed: began.elapsed(), ..exported })
}

fn product(request: &Request) -> Product<'_> {
    match request.format {
        Format::Parquet { .. } => Product::Parquet(&request.compression),
        Format::Arrow { .. } => Product::Arrow(&request.compression),
    }
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
    shape_count: usize,
    query: Option<Rc<QueryRows>>,
    /// Present for a table.
    guard: Option<relation::Guard>,
}

fn open(subject: &Subject) -> Result<Opened> {
    match subject {
        Subject::Table { oid, columns: names } => {
            let relation::Opened { source, attributes, guard } = relation::open(*oid)?;
            let chosen = choose_columns(&source, &attributes, names.as_deref())?;
            let (columns, shape_count) = columns::select(&chosen);
            Ok(Opened { source, columns, shape_count, query: None, guard: Some(guard) })
        }
        Subject::Query(text) => {
            let rows = QueryRows::run(text)?;
            let (columns, shape_count) = columns::of_query(&rows.attributes())?;
            let query = Some(Rc::new(rows));
            Ok(Opened { source: relation::of_query(), columns, shape_count, query, guard: None })
        }
    }
}

/// Checks that columns named for bounds or Bloom filters are exported and of a type that has them.
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
        Format::Parquet { bloom_filters, .. } => (
            "bloom_filters",
            bloom_filters,
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

fn summary(reading: &Reading, files: &[Finished], workers: usize, began: Instant) -> Exported {
    Exported {
        files: files.len(),
        groups: files.iter().map(|file| file.groups).sum(),
        rows: files.iter().map(|file| file.rows).sum(),
        bytes: files.iter().map(|file| file.bytes).sum(),
        scan: if reading.query.is_some() { "query" } else { reading.scan.name() },
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
        table: job.reading.source.name.clone(),
        rows: files.iter().map(|file| file.rows).sum(),
        bytes: files.iter().map(|file| file.bytes).sum(),
        snapshot: snapshot::id_text(),
        columns: job.reading.columns.iter().map(column).collect(),
        files: files.iter().map(file).collect(),
        pg_strata: env!("CARGO_PKG_VERSION"),
    }
}
