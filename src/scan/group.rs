//! Encodes row groups on a device: the columns of their slots stay there, and the pages of finished column
//! chunks come back.
//!
//! A range of blocks becomes one row group or nothing. This process reads the range again, without encoding on
//! the device, when only the server can find a value, when rows get no slot, when there are more rows than a
//! row group takes, or when a device fails. Nothing has been handed to the sink by then.

use std::cell::Cell as Flag;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use super::flight::{Completion, Flight};
use super::kept_group::{COLUMN_BYTES, KeptGroup};
use super::pool_client::PoolClient;
use super::{Reader, Rows, Sink};
use crate::memory::reserve;
use crate::pg::check_for_interrupts;
use crate::pg::error::{Result, internal};
use crate::pg::wait_event::{Event, during};
use crate::slot::encode::{Answer, DESCRIBE, MORE, Request, write_request};
use crate::slot::input::Input;
use crate::slot::pool::Slot;

/// Row groups read again in succession after which a process stops encoding on the device.
const STRIKES: u32 = 3;

/// An encoded row group.
pub struct Encoded<'a> {
    pub rows: u64,
    pub answer: &'a Answer,
    /// The bodies of all pages and dictionaries, one after the other, as long as the answer says.
    pub bodies: &'a [u8],
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
        let columns = self.pass.reading.columns.len();
        let Some(client) = self.client.as_mut().filter(|client| client.encodes()) else { return Ok(false) };
        let kept = KeptGroup::new(columns);
        let mut watch = Watch { sink, spoilt: kept.spoilt.clone() };
        client.kept = Some(kept);
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
        let Some(client) = &mut self.client else { return done };
        let kept = client.kept.take();
        if let Ok(false) = done {
            self.scanned = before;
            client.read_again(kept.and_then(|kept| kept.why));
        } else if let Some(encoding) = &mut client.encoding {
            encoding.strikes = 0;
        }
        done
    }

    /// Takes back a slot of the group; its columns stay on the device.
    pub(super) fn take_kept(&mut self, flight: &Flight, completion: Completion) -> Result<()> {
        let input = Input::new(flight.slot.input()).map_err(internal)?;
        let output = match completion {
            Completion::Done => self.check(flight, &input),
            Completion::Undone => None,
        };
        let Some(client) = &mut self.client else { return Ok(()) };
        let (Some(kept), Some(encoding)) = (&mut client.kept, &client.encoding) else { return Ok(()) };
        match output {
            None => kept.spoil("a slot failed"),
            Some(output) if output.statuses_total() > 0 => {
                kept.spoil("values that a device leaves to the server")
            }
            Some(output) => {
                kept.add(&output, &input);
                let large = kept.bytes.iter().sum::<u64>() >= encoding.bytes
                    || kept.bytes.iter().any(|&bytes| bytes >= COLUMN_BYTES);
                if kept.rows > encoding.rows || large {
                    kept.spoil("more than a row group takes");
                }
            }
        }
        Ok(())
    }

    /// Lets the device encode what it keeps, and hands the row group to the sink.
    fn encode_group(&mut self, sink: &mut dyn Sink) -> Result<bool> {
        let Some(client) = &mut self.client else { return Ok(false) };
        let (Some(kept), Some(encoding)) = (&client.kept, &mut client.encoding) else { return Ok(false) };
        if kept.spoilt.get() {
            return Ok(false);
        }
        let (rows, slots) = (kept.rows, kept.slots);
        if rows == 0 {
            return Ok(true);
        }
        let mut bodies = std::mem::take(&mut encoding.bodies);
        bodies.clear();
        let request =
            Request { step: DESCRIBE, rows: rows as u32, slots, codec: encoding.codec, ..Request::default() };
        let answer = client.fetch(request, &mut bodies)?;
        let (Some(answer), Some(encoding)) = (answer, &mut client.encoding) else { return Ok(false) };
        let taken = sink.group(Encoded { rows, answer: &answer, bodies: &bodies })?;
        encoding.bodies = bodies;
        client.tally.groups += u64::from(taken);
        Ok(taken)
    }
}

impl PoolClient {
    fn encodes(&self) -> bool {
        self.is_usable() && self.encoding.is_some()
    }

    fn read_again(&mut self, why: Option<&'static str>) {
        self.tally.groups_again += 1;
        self.tally.why_again = Some(why.unwrap_or("rows that went into no slot").to_owned());
        if let Some(encoding) = &mut self.encoding {
            encoding.strikes += 1;
            if encoding.strikes >= STRIKES {
                self.encoding = None;
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
        let Some(encoding) = &self.encoding else { return Ok(None) };
        let answer = Answer::read(slot.output(), request.rows, request.codec, &encoding.wishes);
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
        let wishes = self.encoding.as_ref().map_or(&[][..], |encoding| &encoding.wishes);
        if !write_request(slot.input_mut(), request, wishes) {
            self.spoil("columns that have no room in a request");
            return Ok(None);
        }
        slot.submit();
        let mut flight = Flight::new(slot, 0);
        match self.wait_for(&mut flight) {
            Completion::Done => Ok(Some(flight.slot)),
            Completion::Undone => {
                self.spoil("a request failed");
                Ok(None)
            }
        }
    }
}
