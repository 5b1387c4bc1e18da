//! Row groups that a device encodes: the columns of their slots stay there, and what comes back are the pages of
//! finished column chunks.
//!
//! A range of blocks becomes one row group, or none of it does: a value that only the server can find, rows that
//! find no slot, more of them than a row group takes, or a device that fails make this process read the range
//! again, the way it goes without. Nothing has been handed on by then.

use std::cell::Cell as Flag;
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::device::{Flight, Landed};
use super::program::{self, Way};
use super::{Reader, Rows, Sink};
use crate::memory::reserve;
use crate::pg::check_for_interrupts;
use crate::pg::error::{Result, internal};
use crate::pg::wait_event::{Event, during};
use crate::plan::{Job, Stored};
use crate::slot::encode::{Answer, DESCRIBE, MORE, Order, Request, Wish, encoding, write_request};
use crate::slot::input::Input;
use crate::slot::layout::Op;
use crate::slot::output::Output;
use crate::slot::pool::Slot;
use crate::types::Kind;

/// A process that finds no slot free waits this long before it goes without; others give theirs back soon.
const PATIENCE: Duration = Duration::from_secs(10);
/// Row groups in a row that were read again, after which a process stops trying.
const STRIKES: u32 = 3;
/// A column closes its row group at this size, wherever it is encoded.
pub const COLUMN_BYTES: u64 = 960 << 20;

/// How a process has its row groups encoded.
pub struct Encoder {
    wishes: Vec<Wish>,
    codec: u32,
    /// The most that a row group takes.
    rows: u64,
    bytes: u64,
    strikes: u32,
    bodies: Vec<u8>,
}

/// The row group under way.
pub struct Kept {
    pub slots: u32,
    rows: u64,
    nulls: Vec<u64>,
    bytes: Vec<u64>,
    spoilt: Rc<Flag<bool>>,
    why: Option<&'static str>,
    waiting: Option<Instant>,
}

/// An encoded row group.
pub struct Encoded<'a> {
    pub rows: u64,
    pub answer: &'a Answer,
    /// End to end, as the answer says.
    pub bodies: &'a [u8],
}

impl Encoder {
    /// `None` where no row group of the job can be encoded elsewhere.
    pub fn of(job: &Job, ways: &[Way]) -> Option<Encoder> {
        let plan = job.encode.as_ref()?;
        let flat = ways.iter().all(|way| *way == Way::Lane) && plan.choices.len() == ways.len();
        let wish = |(number, choice): (usize, &crate::plan::Choice)| {
            let column = &job.columns[number];
            let (op, _) = program::operation(&column.field.kind, &job.shapes);
            let op = if matches!(column.stored, Stored::Name | Stored::Char) { Op::Bytes } else { op };
            let order = order(&column.field.kind);
            Wish {
                op,
                order,
                nullable: column.field.nullable,
                dictionary: choice.dictionary,
                encoding: encoding::of(op, order, choice.encoding),
            }
        };
        flat.then(|| Encoder {
            wishes: plan.choices.iter().enumerate().map(wish).collect(),
            codec: plan.codec,
            rows: plan.rows.min(u32::MAX.into()),
            bytes: plan.bytes,
            strikes: 0,
            bodies: Vec::new(),
        })
    }
}

fn order(kind: &Kind) -> Order {
    match kind {
        Kind::Float4 | Kind::Float8 => Order::Floating,
        Kind::Bool | Kind::Oid | Kind::Uuid | Kind::Text | Kind::Json | Kind::Bytea => Order::Unsigned,
        // Those that are written as their text.
        Kind::List { .. } | Kind::Struct { .. } => Order::Unsigned,
        _ => Order::Signed,
    }
}

impl Kept {
    fn new(columns: usize) -> Kept {
        Kept {
            slots: 0,
            rows: 0,
            nulls: vec![0; columns],
            bytes: vec![0; columns],
            spoilt: Rc::default(),
            why: None,
            waiting: None,
        }
    }

    /// The range has to be read again.
    fn spoil(&mut self, why: &'static str) {
        self.spoilt.set(true);
        self.why.get_or_insert(why);
    }

    /// Counts what a slot has become, as the encoder here counts lanes.
    fn add(&mut self, output: &Output, input: &Input) {
        let rows = output.rows() as u64;
        self.rows += rows;
        for (number, (column, op)) in output.columns().iter().zip(input.ops()).enumerate() {
            let values = rows - u64::from(column.nulls);
            self.nulls[number] += u64::from(column.nulls);
            self.bytes[number] += match op.width() {
                None => u64::from(column.bytes) + 4 * values,
                Some(0) => values.div_ceil(8),
                Some(width) => width as u64 * values,
            };
        }
    }

    /// What slots the process finds is no longer of its making: false once it has waited for long.
    pub fn may_wait(&mut self) -> bool {
        self.waiting.get_or_insert_with(Instant::now).elapsed() < PATIENCE && !self.spoilt.get()
    }

    pub fn has_waited(&mut self) {
        self.waiting = None;
    }
}

/// What takes the rows of a group that is not to be read here: none must come.
struct Watch<'s> {
    sink: &'s dyn Sink,
    spoilt: Rc<Flag<bool>>,
}

impl Sink for Watch<'_> {
    fn rows(&mut self, _rows: Rows) -> Result<()> {
        self.spoilt.set(true);
        Ok(())
    }

    fn stream(&mut self, _bytes: &[u8], _rows: usize) -> Result<()> {
        Err(internal("a stream is not encoded"))
    }

    fn group(&mut self, _group: Encoded) -> Result<bool> {
        Err(internal("a row group within a row group"))
    }

    fn stopped(&self) -> bool {
        self.spoilt.get() || self.sink.stopped()
    }
}

impl Reader<'_> {
    /// Reads a range of blocks as one row group that a device encodes; false when that did not succeed, and
    /// nothing has been done.
    pub(super) fn read_group(&mut self, range: Range<u64>, sink: &mut dyn Sink) -> Result<bool> {
        let columns = self.job.columns.len();
        let Some(device) = self.device.as_mut().filter(|device| device.encodes()) else { return Ok(false) };
        let kept = Kept::new(columns);
        let mut watch = Watch { sink, spoilt: kept.spoilt.clone() };
        device.kept = Some(kept);
        self.begin_group(range.start);
        let before = self.scanned;
        let read = self.read_blocks(range, &mut watch);
        let stopped = sink.stopped();
        let done = match read {
            Ok(()) if stopped => Ok(true),
            Ok(()) => self.encode_group(sink),
            Err(error) => Err(error),
        };
        self.abandon();
        let Some(device) = &mut self.device else { return done };
        let kept = device.kept.take();
        if let Ok(false) = done {
            self.scanned = before;
            device.read_again(kept.and_then(|kept| kept.why));
        } else if let Some(encoder) = &mut device.encoder {
            encoder.strikes = 0;
        }
        done
    }

    /// A slot of the group has come back, its columns left behind.
    pub(super) fn take_kept(&mut self, flight: &Flight, landed: Landed) -> Result<()> {
        let input = Input::new(flight.slot.input()).map_err(internal)?;
        let output = match landed {
            Landed::Done => self.check(flight, &input),
            Landed::Undone => None,
        };
        let Some(device) = &mut self.device else { return Ok(()) };
        let (Some(kept), Some(encoder)) = (&mut device.kept, &device.encoder) else { return Ok(()) };
        match output {
            None => kept.spoil("a slot failed"),
            Some(output) if output.statuses_total() > 0 => {
                kept.spoil("values that a device leaves to the server")
            }
            Some(output) => {
                kept.add(&output, &input);
                let large = kept.bytes.iter().sum::<u64>() >= encoder.bytes
                    || kept.bytes.iter().any(|&bytes| bytes >= COLUMN_BYTES);
                if kept.rows > encoder.rows || large {
                    kept.spoil("more than a row group takes");
                }
            }
        }
        Ok(())
    }

    /// Has the device encode what it has kept, and hands it on.
    fn encode_group(&mut self, sink: &mut dyn Sink) -> Result<bool> {
        let Some(device) = &mut self.device else { return Ok(false) };
        let (Some(kept), Some(encoder)) = (&device.kept, &mut device.encoder) else { return Ok(false) };
        if kept.spoilt.get() {
            return Ok(false);
        }
        let (rows, slots) = (kept.rows, kept.slots);
        if rows == 0 {
            return Ok(true);
        }
        let mut bodies = std::mem::take(&mut encoder.bodies);
        bodies.clear();
        let request =
            Request { step: DESCRIBE, rows: rows as u32, slots, codec: encoder.codec, ..Request::default() };
        let answer = device.fetch(request, &mut bodies)?;
        let (Some(answer), Some(encoder)) = (answer, &mut device.encoder) else { return Ok(false) };
        let taken = sink.group(Encoded { rows, answer: &answer, bodies: &bodies })?;
        encoder.bodies = bodies;
        device.tally.groups += u64::from(taken);
        Ok(taken)
    }
}

impl super::device::Device {
    fn encodes(&self) -> bool {
        self.is_usable() && self.encoder.is_some()
    }

    fn read_again(&mut self, why: Option<&'static str>) {
        self.tally.groups_again += 1;
        self.tally.why_again = Some(why.unwrap_or("rows that went into no slot").to_owned());
        if let Some(encoder) = &mut self.encoder {
            encoder.strikes += 1;
            if encoder.strikes >= STRIKES {
                self.encoder = None;
            }
        }
    }

    /// Waits a little for a slot to become free; false when it is time to go without.
    pub(super) fn waits_for_slot(&mut self) -> bool {
        let usable = self.is_usable();
        let Some(kept) = &mut self.kept else { return false };
        if !usable || !kept.may_wait() {
            return false;
        }
        check_for_interrupts();
        during(Event::Gpu, || std::thread::sleep(Duration::from_millis(1)));
        self.lose_if_dead();
        true
    }

    /// Asks for the encoded group, and again until all bodies are there; `None` when they do not come.
    fn fetch(&mut self, request: Request, bodies: &mut Vec<u8>) -> Result<Option<Answer>> {
        let Some(slot) = self.ask(request)? else { return Ok(None) };
        let Some(encoder) = &self.encoder else { return Ok(None) };
        let answer = Answer::read(slot.output(), request.rows, request.codec, &encoder.wishes);
        let answer = match answer.and_then(|answer| self.check_nulls(answer)) {
            Ok(answer) => answer,
            Err(what) => {
                self.lose(format!("a device returned something else than it was asked for: {what}"));
                return Ok(None);
            }
        };
        let all = answer.bytes as usize;
        if reserve(bodies, all).is_err() {
            self.spoil("no memory for a row group");
            return Ok(None);
        }
        let first = &slot.output()[answer.bodies_at..];
        bodies.extend_from_slice(&first[..first.len().min(all)]);
        drop(slot);
        while bodies.len() < all {
            let more = Request { step: MORE, from: bodies.len() as u64, ..request };
            let Some(slot) = self.ask(more)? else { return Ok(None) };
            let piece = slot.output();
            bodies.extend_from_slice(&piece[..piece.len().min(all - bodies.len())]);
        }
        Ok(Some(answer))
    }

    fn spoil(&mut self, why: &'static str) {
        if let Some(kept) = &mut self.kept {
            kept.spoil(why);
        }
    }

    /// As many values are NULL as were when the slots came back.
    fn check_nulls(&self, answer: Answer) -> std::result::Result<Answer, String> {
        let nulls = |chunk: &crate::slot::encode::ColumnChunk| -> u64 {
            chunk.pages.iter().map(|page| u64::from(page.entry.nulls)).sum()
        };
        let expected = self.kept.as_ref().map_or(&[][..], |kept| &kept.nulls);
        match answer.chunks.iter().map(nulls).eq(expected.iter().copied()) {
            true => Ok(answer),
            false => Err("another number of NULLs".into()),
        }
    }

    /// Sends a request and waits for the answer; `None` when none comes.
    fn ask(&mut self, request: Request) -> Result<Option<Slot>> {
        let mut slot = loop {
            match self.pool().and_then(|pool| pool.claim(self.group())) {
                Some(slot) => break slot,
                None if self.waits_for_slot() => {}
                None => return Ok(None),
            }
        };
        if let Some(kept) = &mut self.kept {
            kept.has_waited();
        }
        let wishes = self.encoder.as_ref().map_or(&[][..], |encoder| &encoder.wishes);
        if !write_request(slot.input_mut(), request, wishes) {
            self.spoil("columns that have no room in a request");
            return Ok(None);
        }
        slot.submit();
        let mut flight = Flight::new(slot, 0);
        match self.land(&mut flight) {
            Landed::Done => Ok(Some(flight.slot)),
            Landed::Undone => {
                self.spoil("a request failed");
                Ok(None)
            }
        }
    }
}
