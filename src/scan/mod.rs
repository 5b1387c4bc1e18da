//! Turns block ranges into rows: reads and deforms pages, and resolves what only the server can read.
//!
//! Runs in the leader and in every worker, on the main thread, with one reader in each process.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::pg::catalog::Table;
use crate::pg::check_for_interrupts;
use crate::pg::error::{Result, with_detail};
use crate::pg::heap::{BLOCK_SIZE, HeapScan, PinnedPage};
use crate::pg::query::QueryRows;
use crate::pg::render::{self, Renderer};
use crate::pg::virtual_columns::VirtualColumns;
use crate::plan::{Output, Pass, ScanKind};
use crate::slot::{Batch, TARGET_BYTES, Tid};
use crate::types::{Cell, Repr};
use crate::wire::deform::deform;
use crate::wire::tuple::{Fixup, TupleLayout};

use pool_client::PoolClient;

mod aggregated;
mod completion;
mod decoded;
mod failure;
mod flight;
mod group;
mod kept_group;
mod layout;
mod pool_client;
mod program;
mod stream;
mod tally;

pub use decoded::Decoded;
pub use failure::value_error;
pub use group::Encoded;
pub use kept_group::COLUMN_BYTES;
pub use program::{operations, whole_numbers};
pub use tally::Tally;

/// Size at which resolved values are handed on: a batch of TOAST pointers can stand for gigabytes.
const RESOLVED_BYTES: usize = 16 << 20;

/// Capacity that an arena keeps after large values.
const KEPT_BYTES: usize = 4 * RESOLVED_BYTES;

/// Pages of a batch.
const BATCH_PAGES: usize = TARGET_BYTES / BLOCK_SIZE;

/// What a process has read, counted when it was found, so that rows lost later are noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scanned {
    pub rows: u64,
    /// Bytes of pages or of the stream.
    pub bytes: u64,
}

impl Scanned {
    pub fn add(&mut self, other: Scanned) {
        self.rows += other.rows;
        self.bytes += other.bytes;
    }
}

/// Rows as the scan hands them on.
pub struct Rows<'a> {
    pub range: Range<usize>,
    pub place: Place<'a>,
    /// A batch ends with these rows. Batches end at the same rows on every device, so that row groups do too.
    pub ends_batch: bool,
    pub values: RowValues<'a>,
}

/// The values of the rows.
pub enum RowValues<'a> {
    Cells { cells: &'a [Vec<Cell>], arena: &'a mut Vec<u8>, repr: Repr },
    Decoded(Decoded<'a>),
}

/// The place of rows, for messages.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub table: &'a str,
    pub tids: &'a [Tid],
}

/// Takes the rows.
pub trait Sink {
    fn rows(&mut self, rows: Rows) -> Result<()>;
    /// Takes rows of the COPY BINARY stream, for an export of the stream itself.
    fn stream(&mut self, bytes: &[u8], rows: usize) -> Result<()>;
    /// Takes a row group that a device has encoded; returns false when it needs the rows instead.
    fn group(&mut self, group: Encoded) -> Result<bool>;
    /// Takes note of rows that a device has added to the groups of a query.
    fn aggregated(&mut self, _rows: u64) {}
    /// Takes note that a device has failed, so that nobody knows which rows are in its groups.
    fn lost(&mut self) {}
    /// Returns whether no more rows are wanted.
    fn stopped(&self) -> bool;
}

pub struct Reader<'j> {
    pass: &'j Pass<'j>,
    leaf: Option<OpenLeaf>,
    batch: Batch,
    /// Pages since the last batch ended, those in slots included.
    pages: usize,
    fixups: Vec<Fixup>,
    renderer: Renderer,
    /// Columns whose cells are text that may need conversion to UTF-8.
    convert: Vec<usize>,
    stream: stream::Stream,
    scanned: Scanned,
    /// Present when the job is to be decoded on a GPU.
    client: Option<Box<PoolClient>>,
    /// Length of the arena's beginning that later rows need.
    base: usize,
    /// Row of the batch and column of the value that the server is resolving.
    resolving: Option<(usize, usize)>,
}

struct OpenLeaf {
    index: usize,
    rows: RowsOf,
    layout: TupleLayout,
    virtual_columns: Option<VirtualColumns>,
}

enum RowsOf {
    Table(HeapScan),
    Query(Rc<QueryRows>),
}

impl OpenLeaf {
    /// Pins a block of a table.
    fn pin(&mut self, block: u32) -> Option<PinnedPage<'_>> {
        match &mut self.rows {
            RowsOf::Table(scan) => scan.pin(block),
            RowsOf::Query(_) => None,
        }
    }
}

impl<'j> Reader<'j> {
    pub fn new(pass: &'j Pass<'j>) -> Reader<'j> {
        let columns = &pass.reading.columns;
        let renderer =
            Renderer::new(columns.iter().map(|column| (column.call(&pass.shapes), column.storage())));
        let convert = match pass.converts_text() {
            true => (0..columns.len()).filter(|&index| columns[index].is_text(&pass.shapes)).collect(),
            false => Vec::new(),
        };
        let stream = stream::Stream::new(pass);
        let client = PoolClient::new(pass, &stream);
        Reader {
            pass,
            leaf: None,
            batch: Batch::new(columns.len()),
            pages: 0,
            fixups: Vec::new(),
            renderer,
            convert,
            stream,
            scanned: Scanned::default(),
            client,
            base: 0,
            resolving: None,
        }
    }

    /// Reads a range of blocks in order; they are numbered over all leaf tables.
    pub fn read(&mut self, range: Range<u64>, sink: &mut dyn Sink) -> Result<()> {
        self.locating_errors(|reader| {
            if reader.read_group(range.clone(), sink)? {
                return Ok(());
            }
            reader.begin_group(range.start);
            reader.read_blocks(range, sink)
        })
    }

    /// Runs a step of the reading. An error that the server raises for a value gets the place of the value.
    fn locating_errors(&mut self, work: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        self.resolving = None;
        let done = catch_unwind(AssertUnwindSafe(|| work(self)));
        done.unwrap_or_else(|raised| resume_unwind(with_detail(raised, || self.resolved_place())))
    }

    /// Returns the place of the value that the server is resolving.
    fn resolved_place(&self) -> Option<String> {
        let ((row, column), leaf) = (self.resolving?, self.leaf.as_ref()?);
        let (table, name) = (
            &self.pass.reading.source.leaves[leaf.index].name,
            &self.pass.reading.columns[column].field.name,
        );
        Some(failure::place_text(Place { table, tids: &self.batch.tids }, row, Some(name)))
    }

    fn read_blocks(&mut self, range: Range<u64>, sink: &mut dyn Sink) -> Result<()> {
        for block in range {
            check_for_interrupts();
            if sink.stopped() {
                self.abandon();
                return Ok(());
            }
            let Some((index, block)) = self.pass.reading.source.locate(block) else { break };
            if self.leaf.as_ref().is_none_or(|leaf| leaf.index != index) {
                self.settle(sink)?;
                self.leaf = None;
                self.leaf = Some(self.open(index)?);
            }
            if self.pass.reading.scan == ScanKind::Heap {
                self.scanned.bytes += BLOCK_SIZE as u64;
            }
            match self.sends_pages() {
                true => self.send_block(block, sink)?,
                false => self.read_block(block, sink)?,
            }
        }
        match self.pass.output {
            // Rows that are dropped anyway need not be waited for at the end of a range.
            Output::Dropped | Output::Aggregated(_) => Ok(()),
            _ => self.settle(sink),
        }
    }

    /// Returns what was scanned, and what a device did for it.
    pub fn finish(self) -> (Scanned, Tally) {
        (self.scanned, self.client.map_or_else(Tally::default, |client| client.tally))
    }

    fn open(&mut self, index: usize) -> Result<OpenLeaf> {
        if let Some(rows) = &self.pass.reading.query {
            rows.rewind();
            let attributes = layout::of_query(self.pass, &rows.attributes());
            let layout = TupleLayout::new(attributes, self.pass.reading.columns.len());
            return Ok(OpenLeaf { index, rows: RowsOf::Query(rows.clone()), layout, virtual_columns: None });
        }
        let oid = self.pass.reading.source.leaves[index].oid;
        let scan = HeapScan::open(oid.into())?;
        let attributes = layout::of_table(self.pass, &scan.table, &mut self.renderer)?;
        if let Some(client) = &mut self.client {
            client.begin_leaf(self.pass, &attributes);
        }
        let layout = TupleLayout::new(attributes, self.pass.reading.columns.len());
        let virtual_columns = self.open_virtual(&scan.table)?;
        Ok(OpenLeaf { index, rows: RowsOf::Table(scan), layout, virtual_columns })
    }

    fn open_virtual(&self, table: &Table) -> Result<Option<VirtualColumns>> {
        let names: Vec<(usize, &str)> = (self.pass.reading.columns.iter().enumerate())
            .filter(|(_, column)| column.is_virtual)
            .map(|(index, column)| (index, column.field.name.as_str()))
            .collect();
        if names.is_empty() {
            return Ok(None);
        }
        let parent = Table::open(self.pass.reading.source.oid.into())?;
        Ok(Some(VirtualColumns::new(table, &parent, &names)))
    }

    /// Adds a block to the batch, to be decoded by this process.
    fn read_block(&mut self, block: u32, sink: &mut dyn Sink) -> Result<()> {
        let Some(leaf) = &mut self.leaf else { return Ok(()) };
        let rows = match &mut leaf.rows {
            RowsOf::Table(scan) => scan.read_block(block, &mut self.batch)?,
            RowsOf::Query(rows) => {
                let rows = rows.clone();
                return self.read_query(&rows, sink);
            }
        };
        self.scanned.rows += rows as u64;
        self.pages += usize::from(rows > 0);
        match self.pages < BATCH_PAGES {
            true => Ok(()),
            false => self.end_batch(sink),
        }
    }

    /// Reads all rows of a query, which is one block.
    fn read_query(&mut self, query: &QueryRows, sink: &mut dyn Sink) -> Result<()> {
        loop {
            let rows = query.read(&mut self.batch)?;
            self.scanned.rows += rows as u64;
            if rows == 0 {
                return Ok(());
            }
            self.end_batch(sink)?;
            check_for_interrupts();
            if sink.stopped() {
                self.abandon();
                return Ok(());
            }
        }
    }

    /// Hands on everything that was read. The batch goes first: its rows may go into a slot, and otherwise no
    /// slot holds any.
    pub fn settle(&mut self, sink: &mut dyn Sink) -> Result<()> {
        self.locating_errors(|reader| {
            reader.end_batch(sink)?;
            reader.cut();
            reader.submit();
            reader.take_all(sink)
        })
    }

    fn end_batch(&mut self, sink: &mut dyn Sink) -> Result<()> {
        self.pages = 0;
        self.flush(true, sink)
    }

    /// Forgets what was read.
    fn abandon(&mut self) {
        self.pages = 0;
        self.batch.clear();
        if let Some(client) = &mut self.client {
            client.abandon();
        }
    }

    /// Deforms what was read and hands it on.
    fn flush(&mut self, ends_batch: bool, sink: &mut dyn Sink) -> Result<()> {
        let rows = self.batch.rows();
        let Some(leaf) = self.leaf.as_mut().filter(|_| rows > 0) else { return Ok(()) };
        let table = &self.pass.reading.source.leaves[leaf.index].name;
        let batch = &mut self.batch;
        self.fixups.clear();
        deform(&mut batch.arena, &batch.tuples, &leaf.layout, &mut batch.cells, &mut self.fixups).map_err(
            |failed| value_error(Place { table, tids: &batch.tids }, failed.row, None, &failed.reason),
        )?;
        self.fixups.sort_by_key(|fixup| fixup.row);
        self.resolve(ends_batch, sink)?;
        self.batch.clear();
        Ok(())
    }

    /// Resolves the fixups row by row, and hands rows on whenever their values have grown large.
    fn resolve(&mut self, ends_batch: bool, sink: &mut dyn Sink) -> Result<()> {
        let base = self.batch.arena.len();
        self.base = base;
        let rows = self.batch.rows();
        let fixups = std::mem::take(&mut self.fixups);
        let per_row = self.leaf.as_ref().is_some_and(|leaf| leaf.virtual_columns.is_some());
        let (mut done, mut next) = (0, 0);
        if fixups.is_empty() && !per_row {
            return self.hand_on(0..rows, ends_batch, sink);
        }
        for row in 0..rows {
            while let Some(fixup) = fixups.get(next).filter(|fixup| fixup.row as usize == row) {
                self.resolve_one(fixup)?;
                next += 1;
            }
            if let Some(columns) = self.leaf.as_mut().and_then(|leaf| leaf.virtual_columns.as_mut()) {
                let at = &mut self.resolving.insert((row, 0)).1;
                columns.compute(row, &mut self.batch, &mut self.renderer, at)?;
            }
            self.resolving = None;
            if self.batch.arena.len() > base + RESOLVED_BYTES {
                check_for_interrupts();
                self.hand_on(done..row + 1, true, sink)?;
                self.batch.arena.truncate(base);
                self.batch.arena.shrink_to(KEPT_BYTES);
                done = row + 1;
            }
        }
        self.fixups = fixups;
        self.hand_on(done..rows, ends_batch, sink)
    }

    fn resolve_one(&mut self, fixup: &Fixup) -> Result<()> {
        let (row, column) = (fixup.row as usize, fixup.column as usize);
        self.resolving = Some((row, column));
        let cell = self.renderer.resolve(column, fixup.pos as usize, &mut self.batch.arena)?;
        self.batch.cells[column][row] = cell;
        Ok(())
    }

    fn hand_on(&mut self, range: Range<usize>, ends_batch: bool, sink: &mut dyn Sink) -> Result<()> {
        let Some(leaf) = self.leaf.as_ref().filter(|_| !range.is_empty()) else { return Ok(()) };
        let table = self.pass.reading.source.leaves[leaf.index].name.as_str();
        // Rows that go to a device take others back to make room, which uses `self.batch`.
        let mut batch = std::mem::take(&mut self.batch);
        self.convert(&mut batch, range.clone(), table)?;
        let Batch { arena, cells, tids, .. } = &mut batch;
        match self.pass.reading.scan {
            ScanKind::Heap => {
                let values = RowValues::Cells { cells, arena, repr: Repr::Heap };
                sink.rows(Rows { range, place: Place { table, tids }, ends_batch, values })?;
            }
            ScanKind::CopyBinary => {
                let place = Place { table, tids: &tids[range.clone()] };
                match self.sends_rows() {
                    true => self.send_rows(cells, range, arena, place, ends_batch, sink)?,
                    false => self.host_rows(cells, range, arena, place, ends_batch, sink)?,
                }
            }
        }
        self.batch = batch;
        Ok(())
    }

    /// Writes rows as the stream, and hands it on in this process.
    fn host_rows(
        &mut self,
        cells: &[Vec<Cell>],
        rows: Range<usize>,
        arena: &mut Vec<u8>,
        place: Place,
        ends_batch: bool,
        sink: &mut dyn Sink,
    ) -> Result<()> {
        self.stream.write(cells, rows, arena, place)?;
        if arena.len() > self.base + RESOLVED_BYTES {
            // The stream contains all values that were resolved for the rows.
            arena.truncate(self.base);
            arena.shrink_to(KEPT_BYTES);
        }
        self.scanned.bytes += self.stream.bytes.len() as u64;
        self.stream.hand_on(place, ends_batch, sink)
    }

    /// Converts the columns that need it to UTF-8.
    fn convert(&self, batch: &mut Batch, range: Range<usize>, table: &str) -> Result<()> {
        let Batch { arena, cells, tids, .. } = batch;
        let place = Place { table, tids };
        for &column in &self.convert {
            for row in range.clone() {
                let cell = &mut cells[column][row];
                if cell.is_null() {
                    continue;
                }
                *cell = render::to_utf8(*cell, arena).map_err(|failed| {
                    let name = &self.pass.reading.columns[column].field.name;
                    failed.set_detail(failure::place_text(place, row, Some(name)))
                })?;
            }
        }
        Ok(())
    }
}
