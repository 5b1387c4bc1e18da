//! Writes the parallel scan's COPY BINARY stream as one file in `ctid` order, or only counts its bytes.

use pgrx::pg_sys::Oid;

use super::message::Part;
use super::pass;
use super::prepare::{check_context, choose_columns, choose_scan, choose_workers};
use crate::memory::reserve;
use crate::pg::access::check_file_role;
use crate::pg::error::{Result, internal};
use crate::pg::heap::BLOCK_SIZE;
use crate::pg::memory;
use crate::pg::progress::Progress;
use crate::plan::chunks::{Chunks, Density};
use crate::plan::{Job, Output, Pass, Reading, ScanKind, columns, relation};
use crate::publish::{Target, Writer};
use crate::types::Shapes;
use crate::wire::copy_binary::{write_header, write_trailer};

/// Blocks of a chunk: the stream has no row groups to fill.
const CHUNK_BLOCKS: u64 = 4096;
const COPY_BYTES: usize = 4 << 20;

pub struct Dumped {
    pub rows: u64,
    pub bytes: u64,
}

/// Writes the table's rows to `path`, or counts the stream's bytes when there is no path.
pub fn dump(table: Oid, path: Option<&str>, workers: Option<usize>, overwrite: bool) -> Result<Dumped> {
    memory::checked(|| dump_checked(table, path, workers, overwrite))
}

fn dump_checked(table: Oid, path: Option<&str>, workers: Option<usize>, overwrite: bool) -> Result<Dumped> {
    check_context()?;
    if path.is_some() {
        check_file_role()?;
    }
    let relation::Opened { source, attributes, guard: _guard } = relation::open(table)?;
    let chosen = choose_columns(&source, &attributes, None)?;
    let scan = choose_scan(&source, Some(ScanKind::CopyBinary))?;
    let target = path.map(|path| Target::new(path, true, None, overwrite)).transpose()?;
    let columns = columns::select_for_stream(&chosen);
    let workers = choose_workers(&source, workers);
    let progress = Progress::start(source.oid.into(), source.blocks() * BLOCK_SIZE as u64);
    let staged = target.map(|target| target.stage(1)).transpose()?;

    // Chunks are written in the order in which they finish; a second file takes them in `ctid` order.
    let unordered = staged.as_ref().map(|staged| staged.sibling()).transpose()?;
    let density = Density { rows_per_block: 1.0, bytes_per_row: 1.0 };
    let chunks = Chunks::new(source.blocks(), density, CHUNK_BLOCKS, u64::MAX, workers + 1);
    let reading = Reading { source, query: None, columns, scan, device: None };
    let files = unordered.iter().map(|file| file.path().to_owned()).collect();
    let job = Job { reading, append: None, chunks, files };
    let output = Output::Stream { write: staged.is_some() };
    let pass = Pass { reading: &job.reading, shapes: Shapes::new(0), surveyed: false, output };
    let passed = pass::run(&job, &pass, workers, 0, &progress)?;
    let report = passed.report.ok_or_else(|| internal("a stream has no shapes to misfit"))?;
    let rows = report.rows;
    let mut bytes = HEADER_AND_TRAILER + report.parts.iter().map(|part| part.bytes).sum::<u64>();
    if let (Some(staged), Some(unordered)) = (staged, unordered) {
        bytes = assemble(report.parts, unordered.path(), &staged.files[0])?;
        drop(unordered);
        staged.publish()?;
    }
    Ok(Dumped { rows, bytes })
}

const HEADER_AND_TRAILER: u64 = 19 + 2;

fn assemble(mut parts: Vec<Part>, from: &std::path::Path, to: &std::path::Path) -> Result<u64> {
    parts.sort_by_key(|part| (part.chunk, part.sequence));
    let (from, to) = (Writer::open(from)?, Writer::open(to)?);
    let mut buffer = Vec::new();
    write_header(&mut buffer);
    let mut end = 0;
    let mut flush = |buffer: &mut Vec<u8>| -> Result<()> {
        to.write_at(buffer, end)?;
        end += buffer.len() as u64;
        buffer.clear();
        Ok(())
    };
    flush(&mut buffer)?;
    for part in &parts {
        let mut at = part.offset;
        while at < part.offset + part.bytes {
            let piece = COPY_BYTES.min((part.offset + part.bytes - at) as usize);
            reserve(&mut buffer, piece)?;
            buffer.resize(piece, 0);
            from.read_at(&mut buffer, at)?;
            flush(&mut buffer)?;
            at += piece as u64;
        }
    }
    write_trailer(&mut buffer);
    flush(&mut buffer)?;
    to.sync(end)?;
    Ok(end)
}
