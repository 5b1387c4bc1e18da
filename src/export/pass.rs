//! Runs one pass over the table: the leader and the workers claim chunks until none is left.

use std::sync::atomic::AtomicU64;

use super::message::Report;
use super::shared::Shared;
use super::sink::ChunkSink;
use crate::pg::error::{Result, internal};
use crate::pg::heap::BLOCK_SIZE;
use crate::pg::memory;
use crate::pg::parallel::{self, Body, Workers};
use crate::pg::progress::Progress;
use crate::pg::session::Utf8Client;
use crate::plan::{Job, Output, Pass};
use crate::scan::Reader;
use crate::types::Shapes;

/// The result of a pass.
pub struct Passed {
    /// `None` when the data need wider shapes than the pass had.
    pub report: Option<Report>,
    /// The shapes that the data were found to need beyond the pass's; after a survey, all that they need.
    pub needs: Shapes,
    /// Workers that started.
    pub workers: usize,
}

/// Runs the pass with up to `workers` workers. Each file's first `head` bytes are left to the leader.
pub fn run(job: &Job, pass: &Pass, workers: usize, head: u64, progress: &Progress) -> Result<Passed> {
    let words = Shared::words(pass.shapes.len(), job.files.len().max(1));
    if workers > 0 {
        let encoded = to_message(job, pass)?;
        let workers = parallel::with_room(workers, &encoded, words);
        if workers > 0 {
            return run_team(
                job,
                pass,
                Workers::launch(Body::Export, workers, &encoded, words),
                head,
                progress,
            );
        }
    }
    let memory: Vec<AtomicU64> = (0..words).map(|_| AtomicU64::new(0)).collect();
    let shared = Shared::new(&memory, pass.shapes.len());
    reserve_heads(job, shared, head);
    let report = process(job, pass, shared, 0, Some(progress))?;
    conclude(job, pass, shared, report, 0)
}

fn run_team(job: &Job, pass: &Pass, mut team: Workers, head: u64, progress: &Progress) -> Result<Passed> {
    reserve_heads(job, Shared::new(team.shared(), pass.shapes.len()), head);
    let started = team.start();
    let shared = Shared::new(team.shared(), pass.shapes.len());
    let mut report = process(job, pass, shared, 0, Some(progress))?;
    let (messages, words) = team.finish()?;
    for message in messages {
        report.add(Report::from_message(&message)?);
    }
    conclude(job, pass, Shared::new(&words, pass.shapes.len()), report, started)
}

fn reserve_heads(job: &Job, shared: Shared, head: u64) {
    for file in 0..job.files.len().max(1) {
        shared.reserve(file, head);
    }
}

fn conclude(job: &Job, pass: &Pass, shared: Shared, report: Report, workers: usize) -> Result<Passed> {
    let needs = shared.needs();
    if shared.stopped() {
        return Ok(Passed { report: None, needs, workers });
    }
    let written: u64 = report.parts.iter().map(|part| part.rows).sum();
    let scanned = report.scanned.rows;
    let complete = report.chunks == job.chunks.len() && report.rows == scanned;
    if !complete || pass.output.is_written() && written != scanned {
        return Err(internal(format!(
            "export of {} is incomplete: {} of {} chunks, {} decoded and {written} written of {scanned} rows",
            job.reading.source.name,
            report.chunks,
            job.chunks.len(),
            report.rows
        )));
    }
    Ok(Passed { report: Some(report), needs, workers })
}

/// Claims chunks, reads them and writes what they become, in the leader and in each worker.
fn process(
    job: &Job,
    pass: &Pass,
    shared: Shared,
    number: usize,
    progress: Option<&Progress>,
) -> Result<Report> {
    let _encoding = match pass.output {
        Output::Stream { .. } => Utf8Client::enter_database_encoding(),
        _ => Utf8Client::enter(),
    };
    let mut reader = Reader::new(pass);
    let mut sink = ChunkSink::new(job, pass, shared, number)?;
    loop {
        let chunk = shared.claim();
        if chunk >= job.chunks.len() || shared.stopped() {
            break;
        }
        let range = job.chunks.range(chunk);
        let blocks = range.end - range.start;
        sink.begin(chunk);
        reader.read(range, &mut sink)?;
        if shared.stopped() {
            break;
        }
        sink.end()?;
        shared.add_progress(0, blocks);
        if let Some(progress) = progress {
            let (rows, blocks) = shared.progress();
            progress.update(rows, blocks * BLOCK_SIZE as u64);
        }
    }
    reader.settle(&mut sink)?;
    let mut report = sink.finish();
    report.close()?;
    (report.scanned, report.device) = reader.finish();
    Ok(report)
}

fn to_message(job: &Job, pass: &Pass) -> Result<Vec<u8>> {
    serde_json::to_vec(&(job, &pass.shapes, pass.surveyed, &pass.output))
        .map_err(|cause| internal(cause.to_string()))
}

/// Runs a parallel worker; registered when the library is loaded.
pub fn worker_body(message: &[u8], words: &[AtomicU64], number: usize) -> Result<Vec<u8>> {
    memory::checked(|| {
        let (job, shapes, surveyed, output): (Job, Shapes, bool, Output) =
            serde_json::from_slice(message).map_err(|cause| internal(cause.to_string()))?;
        let pass = Pass { reading: &job.reading, shapes, surveyed, output };
        let shared = Shared::new(words, pass.shapes.len());
        process(&job, &pass, shared, number, None)?.into_message()
    })
}
