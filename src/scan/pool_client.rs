//! Sends rows to a device: fills slots, and waits for those under way in order.
//!
//! A slot holds rows of one leaf table. Columns return in the order in which the slots were sent, so the sink
//! sees the same rows in the same order as without a device. A process fills one slot while others are under
//! way. When no slot is free and none of its own can become so, this process decodes the batch itself.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use super::decoded::Patches;
use super::flight::{Completion, Flight};
use super::kept_group::{GroupEncoding, KeptGroup};
use super::program::{self, Form};
use super::stream::{self, Stream};
use super::tally::Tally;
use super::{BATCH_PAGES, Place, Reader, Sink};
use crate::pg::check_for_interrupts;
use crate::pg::error::Result;
use crate::pg::guc;
use crate::pg::wait_event::{Event, during};
use crate::plan::{Output, Pass, ScanKind};
use crate::slot::Tid;
use crate::slot::fill::{AttrSpec, InputWriter};
use crate::slot::layout::{AGGREGATE, COPY_BINARY, HEAP, KEEP, Op, WANT_COLUMNS};
use crate::slot::pool::{Pool, Slot, State};
use crate::types::Cell;
use crate::wire::copy_binary::{RowSource, SendMethod};
use crate::wire::tuple;

/// Slots of a process that are under way while it fills another.
const UNDER_WAY: usize = 2;
/// How often a wait checks for interrupts.
const WAIT: Duration = Duration::from_millis(10);
/// How much later an exporter gives up the service, when the service itself does not replace an engine that
/// hangs.
const SERVICE_TIME: Duration = Duration::from_secs(10);

pub struct PoolClient {
    pool: Option<Pool>,
    kind: u32,
    flags: u32,
    /// The row group that slots belong to, or their query.
    group: u64,
    /// A device adds the rows to groups of a query.
    pub is_query: bool,
    program: Vec<AttrSpec>,
    /// Rows of this leaf do not fit into a slot, or a device leaves most of them out.
    pub unfit: bool,
    pub forms: Vec<Form>,
    /// copy_binary: columns whose bytes return unchanged, so that their number can be checked.
    counted: Vec<usize>,
    filling: Option<Filling>,
    under_way: VecDeque<Flight>,
    pub patches: Patches,
    /// Present when row groups are encoded on the device too.
    pub encoding: Option<GroupEncoding>,
    /// The row group that the device is keeping.
    pub kept: Option<KeptGroup>,
    /// Decodes rows that return undone.
    pub redo: Stream,
    pub tally: Tally,
}

struct Filling {
    // It writes into `slot`, so it is declared, and dropped, first.
    writer: InputWriter<'static>,
    slot: Slot,
    cuts: Vec<usize>,
    tids: Vec<Tid>,
    sums: Vec<u64>,
}

impl PoolClient {
    /// Attaches to the device that the job is to be decoded on, if there is one.
    pub fn new(pass: &Pass, stream: &Stream) -> Option<Box<PoolClient>> {
        let plan = pass.reading.device.as_ref()?;
        let flags = match pass.output {
            Output::Groups { .. } => WANT_COLUMNS,
            Output::Aggregated(_) => AGGREGATE,
            Output::Dropped => 0,
            Output::Stream { .. } | Output::Survey | Output::Cells => return None,
        };
        let (kind, program) = match pass.reading.scan {
            ScanKind::Heap => (HEAP, Vec::new()),
            ScanKind::CopyBinary => (COPY_BINARY, program::copy_binary(pass, &stream.send)),
        };
        let query = match pass.output {
            Output::Aggregated(query) => Some(query),
            _ => None,
        };
        let forms = program::forms(pass);
        let mut tally = Tally::default();
        let pool = match Pool::attach(plan.pid, plan.fd, plan.generation) {
            Ok(pool) => Some(pool),
            Err(cause) => {
                tally.note(format!("the GPU service's memory could not be attached: {cause}"));
                tally.lost = true;
                None
            }
        };
        Some(Box::new(PoolClient {
            pool,
            kind,
            flags,
            group: query.unwrap_or(0),
            is_query: query.is_some(),
            counted: counted(&program, &stream.send),
            program,
            unfit: false,
            encoding: GroupEncoding::of(pass, &forms),
            kept: None,
            forms,
            filling: None,
            under_way: VecDeque::new(),
            patches: Patches::default(),
            redo: Stream::new(pass),
            tally,
        }))
    }

    pub fn begin_leaf(&mut self, pass: &Pass, attributes: &[tuple::Attr]) {
        if self.kind == HEAP {
            self.program = program::heap(pass, attributes);
            self.unfit = false;
        }
    }

    pub fn is_usable(&self) -> bool {
        self.pool.is_some() && !self.tally.lost && !self.unfit
    }

    /// Gives up the slot being filled and those under way.
    pub fn abandon(&mut self) {
        self.filling = None;
        self.under_way.clear();
    }

    /// Claims a slot to fill; returns false when none is free.
    fn claim(&mut self) -> bool {
        let Some(pool) = &self.pool else { return false };
        let Some(mut slot) = pool.claim(self.group) else { return false };
        let region: *mut [u8] = slot.input_mut();
        // SAFETY: the region is mapped while the slot is held, and only this process writes to it while it
        // fills the slot; the writer is dropped before the slot is submitted or dropped.
        let region: &'static mut [u8] = unsafe { &mut *region };
        let columns = self.forms.len();
        let flags = if self.kept.is_some() { self.flags | KEEP } else { self.flags };
        let writer = InputWriter::new(region, self.kind, &self.program, columns, pool.output_bytes(), flags);
        let Some(writer) = writer else {
            self.tally.note("the columns leave no room for rows in a slot".into());
            self.unfit = true;
            return false;
        };
        let sums = vec![0; self.counted.len()];
        self.filling = Some(Filling { writer, slot, cuts: Vec::new(), tids: Vec::new(), sums });
        true
    }

    fn submit(&mut self) {
        let Some(filling) = self.filling.take() else { return };
        let Filling { writer, mut slot, cuts, tids, sums } = filling;
        let rows = writer.rows_len();
        if rows == 0 {
            return;
        }
        self.tally.bytes += writer.bytes() as u64;
        writer.finish();
        if let Some(kept) = &mut self.kept {
            slot.set_sequence(kept.slots);
            kept.slots += 1;
            kept.has_waited();
        }
        slot.submit();
        self.under_way.push_back(Flight { cuts, tids, sums, ..Flight::new(slot, rows) });
    }

    /// Ends a batch after the last row that went into a slot.
    fn cut(&mut self) {
        let (cuts, rows) = match (&mut self.filling, self.under_way.back_mut()) {
            (Some(filling), _) if filling.writer.rows_len() > 0 => {
                (&mut filling.cuts, filling.writer.rows_len())
            }
            (_, Some(flight)) => (&mut flight.cuts, flight.rows),
            _ => return,
        };
        if cuts.last() != Some(&rows) {
            cuts.push(rows);
        }
    }

    /// Waits for a slot.
    pub fn wait_for(&mut self, flight: &mut Flight) -> Completion {
        loop {
            let time = if self.tally.lost { Duration::ZERO } else { WAIT };
            match during(Event::Gpu, || flight.slot.wait(time)) {
                State::Done => return Completion::Done,
                State::Failed => {
                    self.lose_if_dead();
                    self.tally.note(match flight.slot.error() {
                        error if error.is_empty() => "a slot failed".into(),
                        error => error,
                    });
                    return Completion::Undone;
                }
                _ => self.lose_if_dead(),
            }
            let limit = guc::gpu_timeout().map(|limit| limit + SERVICE_TIME);
            if let Some(limit) = limit.filter(|limit| !self.tally.lost && flight.since.elapsed() > *limit) {
                self.lose(format!("a slot did not come back within {} seconds", limit.as_secs()));
            }
            if self.tally.lost {
                return Completion::Undone;
            }
            check_for_interrupts();
        }
    }

    pub fn pool(&self) -> Option<&Pool> {
        self.pool.as_ref()
    }

    /// Returns the row group that slots belong to.
    pub fn group(&self) -> u64 {
        self.group
    }

    pub fn lose_if_dead(&mut self) {
        let gone = self.pool.as_ref().and_then(|pool| pool.gone());
        if let Some(reason) = gone.filter(|_| !self.tally.lost) {
            self.lose(reason);
        }
    }

    pub fn lose(&mut self, reason: String) {
        self.tally.lost = true;
        self.tally.note(reason);
    }

    /// Returns a column whose bytes that returned are not as many as were sent.
    pub fn miscounted(&self, flight: &Flight, bytes: impl Fn(usize) -> u64) -> Option<usize> {
        self.counted.iter().zip(&flight.sums).find(|(column, sum)| bytes(**column) != **sum).map(|(c, _)| *c)
    }
}

/// Columns whose cells are the field's bytes, except for a version that is removed again.
fn counted(program: &[AttrSpec], send: &[SendMethod]) -> Vec<usize> {
    let whole = |column: &usize| {
        program[*column].attr.op == Op::Bytes as u8
            && matches!(send[*column], SendMethod::Raw | SendMethod::Done | SendMethod::Jsonb)
    };
    (0..program.len()).filter(whole).collect()
}

/// The result of adding a page to a slot.
enum Page {
    Taken,
    /// The page has no visible row.
    Empty,
    /// The page belongs in the next slot.
    Refused,
}

impl Reader<'_> {
    /// Returns whether heap pages go into slots.
    pub(super) fn sends_pages(&self) -> bool {
        self.client.as_ref().is_some_and(|client| client.kind == HEAP)
    }

    /// Returns whether rows of the stream go into slots.
    pub(super) fn sends_rows(&self) -> bool {
        self.client.as_ref().is_some_and(|client| client.kind == COPY_BINARY) && !self.stream.raw
    }

    /// Gives the following slots a row group of their own.
    pub(super) fn begin_group(&mut self, first_block: u64) {
        if let Some(client) = self.client.as_mut().filter(|client| !client.is_query) {
            client.group = u64::from(std::process::id()) << 40 ^ first_block;
        }
    }

    /// Reads a block into a slot, or into the batch when no slot is to be had.
    pub(super) fn send_block(&mut self, block: u32, sink: &mut dyn Sink) -> Result<()> {
        loop {
            // A batch that this process began to decode is ended here.
            if self.batch.rows() > 0 || !self.acquire(sink)? {
                return self.read_block(block, sink);
            }
            match self.fill(block) {
                Page::Refused => self.submit(),
                Page::Empty => return Ok(()),
                Page::Taken => break,
            }
        }
        self.pages += 1;
        if self.pages >= BATCH_PAGES {
            self.pages = 0;
            self.cut();
        }
        Ok(())
    }

    fn fill(&mut self, block: u32) -> Page {
        let filling = self.client.as_mut().and_then(|client| client.filling.as_mut());
        let (Some(filling), Some(leaf)) = (filling, &mut self.leaf) else { return Page::Empty };
        let Some(page) = leaf.pin(block) else { return Page::Empty };
        let Some(room) = filling.writer.page() else { return Page::Refused };
        page.copy_to(room);
        match filling.writer.commit_page(page.block, page.lines) {
            true => {
                self.scanned.rows += page.lines.len() as u64;
                Page::Taken
            }
            false => Page::Refused,
        }
    }

    /// Writes rows into slots, or hands them to the sink when no slot is to be had.
    pub(super) fn send_rows(
        &mut self,
        cells: &[Vec<Cell>],
        range: Range<usize>,
        arena: &mut Vec<u8>,
        place: Place,
        ends_batch: bool,
        sink: &mut dyn Sink,
    ) -> Result<()> {
        let mut left = range.clone();
        while !left.is_empty() && self.acquire(sink)? {
            let place = Place { tids: &place.tids[left.start - range.start..], ..place };
            left.start += self.fill_rows(cells, left.clone(), arena, place)?;
            if left.is_empty() {
                break;
            }
            let too_large = self.is_slot_empty();
            self.submit();
            if too_large {
                // The row is larger than a slot.
                self.take_all(sink)?;
                break;
            }
        }
        if !left.is_empty() {
            let place = Place { tids: &place.tids[left.start - range.start..], ..place };
            return self.host_rows(cells, left, arena, place, ends_batch, sink);
        }
        if ends_batch {
            self.cut();
        }
        Ok(())
    }

    /// Writes as many rows into the slot as fit; returns how many.
    fn fill_rows(
        &mut self,
        cells: &[Vec<Cell>],
        rows: Range<usize>,
        arena: &[u8],
        place: Place,
    ) -> Result<usize> {
        let Some(client) = &mut self.client else { return Ok(0) };
        let Some(filling) = &mut client.filling else { return Ok(0) };
        let before = filling.writer.bytes();
        let source = RowSource { cells, arena, send: &self.stream.send };
        let taken = filling.writer.rows(source, rows.clone());
        let taken = taken.map_err(|failed| stream::failure(failed, place))?;
        self.scanned.bytes += (filling.writer.bytes() - before) as u64;
        filling.tids.extend_from_slice(&place.tids[..taken]);
        for (sum, column) in filling.sums.iter_mut().zip(&client.counted) {
            let cells = &cells[*column][rows.start..rows.start + taken];
            *sum += cells.iter().map(|cell| cell.len() as u64).sum::<u64>();
        }
        Ok(taken)
    }

    fn is_slot_empty(&self) -> bool {
        let filling = self.client.as_ref().and_then(|client| client.filling.as_ref());
        filling.is_none_or(|filling| filling.writer.rows_len() == 0)
    }

    /// Provides a slot to fill. While none is free, it takes back slots of this process; returns false when
    /// none of those is left.
    fn acquire(&mut self, sink: &mut dyn Sink) -> Result<bool> {
        loop {
            let Some(client) = &mut self.client else { return Ok(false) };
            if client.filling.is_some() {
                return Ok(true);
            }
            let room = client.is_usable() && client.under_way.len() <= UNDER_WAY;
            if room && client.claim() {
                return Ok(true);
            }
            if !client.under_way.is_empty() {
                self.take_one(sink)?;
                continue;
            }
            if client.waits_for_slot() {
                continue;
            }
            client.lose_if_dead();
            client.tally.refused += 1;
            return Ok(false);
        }
    }

    pub(super) fn submit(&mut self) {
        if let Some(client) = &mut self.client {
            client.submit();
        }
    }

    pub(super) fn cut(&mut self) {
        if let Some(client) = &mut self.client {
            client.cut();
        }
    }

    /// Takes back every slot under way.
    pub(super) fn take_all(&mut self, sink: &mut dyn Sink) -> Result<()> {
        while self.client.as_ref().is_some_and(|client| !client.under_way.is_empty()) {
            self.take_one(sink)?;
        }
        Ok(())
    }

    /// Takes back the slot that was sent first.
    fn take_one(&mut self, sink: &mut dyn Sink) -> Result<()> {
        let Some(client) = &mut self.client else { return Ok(()) };
        let Some(mut flight) = client.under_way.pop_front() else { return Ok(()) };
        let completion = client.wait_for(&mut flight);
        client.tally.slots += u64::from(matches!(completion, Completion::Done));
        self.take(&flight, completion, sink)
    }
}
