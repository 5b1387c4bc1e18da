//! Encodes row groups on a device: the columns of their slots stay there, and the pages of finished column
//! chunks come back.
//!
//! A range of blocks becomes one row group or nothing. This process reads the range again, without encoding on
//! the device, when only the server can find a value, when rows get no slot, when there are more rows than a
//! row group takes, or when a device fails. Nothing has been handed to the sink by then.

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

/// How long a process waits for a free slot before it reads the range again; others free theirs soon.
const PATIENCE: Duration = Duration::from_secs(10);
/// Row groups read again in succession after which a process stops encoding on the device.
const STRIKES: u32 = 3;
/// A row group is closed once a column has this size, wherever it is encoded.
pub const COLUMN_BYTES: u64 = 960 << 20;

/// How row groups of a process are encoded.
pub struct Encoder {
    wishes: Vec<Wish>,
    codec: u32,
    /// The most rows of a row group.
    rows: u64,
    bytes: u64,
    strikes: u32,
    bodies: Vec<u8>,
}

/// The row group whose columns the device is keeping.
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
    /// The bodies of all pages and dictionaries, one after the other, as long as the answer says.
    pub bodies: &'a [u8],
}

impl Encoder {
    /// Returns `None` when no row group of the job can be encoded on a device.
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
        // Arrays and composites become text here.
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

    /// Marks the range to be read again.
    fn spoil(&mut self, why: &'static str) {
        self.spoilt.set(true);
        self.why.get_or_insert(why);
    }

    /// Counts what a slot has become, as the encoder counts lanes.
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

    /// Returns false once the process has waited too long for a slot.
    pub fn may_wait(&mut self) -> bool {
        self.waiting.get_or_insert_with(Instant::now).elapsed() < PATIENCE && !self.spoilt.get()
    }

    pub fn has_waited(&mut self) {
        self.waiting = None;
    }
}

/// A sink for a group that the device encodes: no rows must reach it.
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
    /// Reads a range of blocks as one row group that a device encodes. Returns false, with nothing done, when
    /// that fails.
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

    /// Takes back a slot of the group; its columns stay on the device.
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

    /// Lets the device encode what it keeps, and hands the row group to the sink.
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

    /// Waits a little for a slot to become free; returns false when the wait has been too long.
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

    /// Asks for the encoded group until all bodies have come; `None` when they do not.
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

    /// Checks that as many values are NULL as when the slots came back.
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
