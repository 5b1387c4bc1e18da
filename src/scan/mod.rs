//! From block ranges to rows: pages are read, deformed, and what only the server can read is resolved.
//!
//! Runs in the leader and in every worker, on the main thread, one reader a process.

use std::ops::Range;

use crate::pg::catalog::Table;
use crate::pg::check_for_interrupts;
use crate::pg::error::Result;
use crate::pg::heap::HeapScan;
use crate::pg::render::{self, Renderer};
use crate::pg::virtual_columns::VirtualColumns;
use crate::plan::{Job, ScanKind};
use crate::slot::{Batch, TARGET_BYTES, Tid};
use crate::types::{Cell, Repr};
use crate::wire::deform::deform;
use crate::wire::tuple::{Fixup, TupleLayout};

mod failure;
mod layout;
mod stream;

pub use failure::value_error;

/// Resolved values are handed on once they are this large: a batch of TOAST pointers can stand for
/// gigabytes.
const RESOLVED_BYTES: usize = 16 << 20;

/// Some rows, as the scan hands them on.
pub struct Rows<'a> {
    pub cells: &'a [Vec<Cell>],
    pub range: Range<usize>,
    pub arena: &'a mut Vec<u8>,
    pub repr: Repr,
    pub place: Place<'a>,
}

/// Where rows come from, for messages.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub table: &'a str,
    pub tids: &'a [Tid],
}

/// What takes the rows.
pub trait Sink {
    fn rows(&mut self, rows: Rows) -> Result<()>;
    /// Rows of the COPY BINARY stream, for an export that wants the stream itself.
    fn stream(&mut self, bytes: &[u8], rows: usize) -> Result<()>;
    /// No more rows are wanted.
    fn stopped(&self) -> bool;
}

pub struct Reader<'j> {
    job: &'j Job,
    leaf: Option<OpenLeaf>,
    batch: Batch,
    fixups: Vec<Fixup>,
    renderer: Renderer,
    /// Columns whose cells are text that may need conversion to UTF-8.
    convert: Vec<usize>,
    stream: stream::Stream,
}

struct OpenLeaf {
    index: usize,
    scan: HeapScan,
    layout: TupleLayout,
    virtual_columns: Option<VirtualColumns>,
}

impl<'j> Reader<'j> {
    pub fn new(job: &'j Job) -> Reader<'j> {
        let columns = &job.columns;
        let renderer =
            Renderer::new(columns.iter().map(|column| (column.call(&job.shapes), column.storage())));
        let convert = match job.converts_text() {
            true => (0..columns.len()).filter(|&index| columns[index].is_text(&job.shapes)).collect(),
            false => Vec::new(),
        };
        Reader {
            job,
            leaf: None,
            batch: Batch::new(columns.len()),
            fixups: Vec::new(),
            renderer,
            convert,
            stream: stream::Stream::new(job),
        }
    }

    /// Reads a range of blocks, numbered over all leaves, in order.
    pub fn read(&mut self, range: Range<u64>, sink: &mut dyn Sink) -> Result<()> {
        for block in range {
            check_for_interrupts();
            if sink.stopped() {
                self.batch.clear();
                return Ok(());
            }
            let Some((index, block)) = self.job.source.locate(block) else { break };
            if self.leaf.as_ref().is_none_or(|leaf| leaf.index != index) {
                self.flush(sink)?;
                self.leaf = None;
                self.leaf = Some(self.open(index)?);
            }
            if let Some(leaf) = &mut self.leaf {
                leaf.scan.read_block(block, &mut self.batch)?;
            }
            if self.batch.arena.len() >= TARGET_BYTES {
                self.flush(sink)?;
            }
        }
        self.flush(sink)
    }

    fn open(&mut self, index: usize) -> Result<OpenLeaf> {
        let oid = self.job.source.leaves[index].oid;
        let scan = HeapScan::open(oid.into())?;
        let layout = layout::build(self.job, &scan.table, &mut self.renderer)?;
        let virtual_columns = self.open_virtual(&scan.table);
        Ok(OpenLeaf { index, scan, layout, virtual_columns })
    }

    fn open_virtual(&self, table: &Table) -> Option<VirtualColumns> {
        let names: Vec<(usize, &str)> = (self.job.columns.iter().enumerate())
            .filter(|(_, column)| column.is_virtual)
            .map(|(index, column)| (index, column.field.name.as_str()))
            .collect();
        (!names.is_empty()).then(|| VirtualColumns::new(table, &names))
    }

    /// Deforms what was read and hands it on.
    fn flush(&mut self, sink: &mut dyn Sink) -> Result<()> {
        let rows = self.batch.rows();
        let Some(leaf) = self.leaf.as_mut().filter(|_| rows > 0) else { return Ok(()) };
        let table = &self.job.source.leaves[leaf.index].name;
        let batch = &mut self.batch;
        self.fixups.clear();
        deform(&mut batch.arena, &batch.tuples, &leaf.layout, &mut batch.cells, &mut self.fixups).map_err(
            |failed| value_error(Place { table, tids: &batch.tids }, failed.row, None, &failed.reason),
        )?;
        self.fixups.sort_by_key(|fixup| fixup.row);
        self.resolve(sink)?;
        self.batch.clear();
        Ok(())
    }

    /// Resolves the fixups row by row, handing rows on whenever their values have grown large.
    fn resolve(&mut self, sink: &mut dyn Sink) -> Result<()> {
        let base = self.batch.arena.len();
        let rows = self.batch.rows();
        let fixups = std::mem::take(&mut self.fixups);
        let per_row = self.leaf.as_ref().is_some_and(|leaf| leaf.virtual_columns.is_some());
        let (mut done, mut next) = (0, 0);
        if fixups.is_empty() && !per_row {
            return self.hand_on(0..rows, sink);
        }
        for row in 0..rows {
            while let Some(fixup) = fixups.get(next).filter(|fixup| fixup.row as usize == row) {
                self.resolve_one(fixup)?;
                next += 1;
            }
            if let Some(columns) = self.leaf.as_mut().and_then(|leaf| leaf.virtual_columns.as_mut()) {
                columns.compute(row, &mut self.batch, &mut self.renderer)?;
            }
            if self.batch.arena.len() > base + RESOLVED_BYTES {
                check_for_interrupts();
                self.hand_on(done..row + 1, sink)?;
                self.batch.arena.truncate(base);
                self.batch.arena.shrink_to(4 * RESOLVED_BYTES);
                done = row + 1;
            }
        }
        self.fixups = fixups;
        self.hand_on(done..rows, sink)
    }

    fn resolve_one(&mut self, fixup: &Fixup) -> Result<()> {
        let (row, column) = (fixup.row as usize, fixup.column as usize);
        let cell = self.renderer.resolve(column, fixup.pos as usize, &mut self.batch.arena)?;
        self.batch.cells[column][row] = cell;
        Ok(())
    }

    fn hand_on(&mut self, range: Range<usize>, sink: &mut dyn Sink) -> Result<()> {
        let Some(leaf) = self.leaf.as_ref().filter(|_| !range.is_empty()) else { return Ok(()) };
        let table = &self.job.source.leaves[leaf.index].name;
        let Batch { arena, cells, tids, .. } = &mut self.batch;
        let place = Place { table, tids };
        for &column in &self.convert {
            for row in range.clone() {
                let cell = &mut cells[column][row];
                if cell.is_null() {
                    continue;
                }
                *cell = render::to_utf8(*cell, arena).map_err(|failed| {
                    let name = &self.job.columns[column].field.name;
                    failed.set_detail(failure::place_text(place, row, Some(name)))
                })?;
            }
        }
        match self.job.scan {
            ScanKind::Heap => sink.rows(Rows { cells, range, arena, repr: Repr::Heap, place }),
            ScanKind::CopyBinary => self.stream.pass(cells, range, arena, place, sink),
        }
    }
}
