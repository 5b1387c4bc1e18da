//! The handles of a slot: the exporter's while it fills, waits and reads, and the engine's while it decodes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::control::{Control, NO_DEVICE, State, Word};
use super::layout::{self, Header};
use super::mapped::{LONGEST_WAIT, Mapped};

/// An exporter's slot. Dropping it gives it up in any state; if the engine works on it, the engine frees it later.
#[derive(Debug)]
pub struct Slot {
    mapped: Arc<Mapped>,
    index: usize,
    owner: i32,
}

impl Slot {
    pub(super) fn new(mapped: Arc<Mapped>, index: usize, owner: i32) -> Slot {
        Slot { mapped, index, owner }
    }

    fn control(&self) -> &Control {
        &self.mapped.controls()[self.index]
    }

    pub fn index(&self) -> usize {
        self.index
    }

    pub fn state(&self) -> State {
        self.control().load().state()
    }

    /// Returns the input region to fill; empty once the slot has been submitted.
    pub fn input_mut(&mut self) -> &mut [u8] {
        let filling = self.state() == State::Filling;
        // SAFETY: mapped as long as the slot is held; while FILLING the regions are the owner's alone, and
        // borrowed once at a time through `&mut`.
        if filling { unsafe { &mut *self.mapped.regions(self.index).0 } } else { &mut [] }
    }

    /// Returns the input region as it was filled, to decode it in this process.
    pub fn input(&self) -> &[u8] {
        // SAFETY: mapped as long as the slot is held; the engine only reads it, and only `input_mut` writes.
        unsafe { &*self.mapped.regions(self.index).0 }
    }

    /// Returns the output region; empty unless the slot is done.
    pub fn output(&self) -> &[u8] {
        let done = self.state() == State::Done;
        // SAFETY: mapped as long as the slot is held; once DONE the regions are the owner's again.
        if done { unsafe { &*self.mapped.regions(self.index).1 } } else { &[] }
    }

    /// Sets the slot's place among those of its row group, for a device that keeps their columns.
    pub fn set_sequence(&mut self, sequence: u32) {
        let region = self.input_mut();
        if let Some(header) = layout::get::<Header>(region, 0) {
            let written = layout::put(region, 0, Header { sequence, ..header });
            debug_assert!(written, "it has just been read");
        }
    }

    /// Hands the slot to the engine.
    pub fn submit(&mut self) {
        let control = self.control();
        let header: Header = layout::get(self.input(), 0).unwrap_or_default();
        control.bytes.store(u64::from(header.data_bytes), Ordering::Relaxed);
        control.ticket.store(self.mapped.next_ticket(), Ordering::Relaxed);
        let filling = Word::new(State::Filling, self.owner);
        if control.change(filling, filling.with(State::Ready)) {
            self.mapped.ring();
        }
    }

    /// Waits until the slot is done or has failed, at most for `timeout` and 10 ms, and returns its state. An interrupted
    /// wait also ends early.
    pub fn wait(&self, timeout: Duration) -> State {
        let word = self.control().load();
        if matches!(word.state(), State::Ready | State::Running) && !timeout.is_zero() {
            self.control().wait(word, timeout.min(LONGEST_WAIT));
        }
        self.state()
    }

    /// Returns the reason why the slot failed.
    pub fn error(&self) -> String {
        match self.state() {
            State::Failed => self.control().message.read(),
            _ => String::new(),
        }
    }

    /// Returns the ordinal of the device that finished the slot.
    pub fn device(&self) -> Option<u32> {
        Some(self.control().device.load(Ordering::Relaxed)).filter(|&device| device != NO_DEVICE)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // A forked child of the owner does not own the slot.
        if std::process::id() as i32 == self.owner {
            self.control().release(self.owner);
        }
    }
}

/// The engine's slot. Dropping it fails it.
#[derive(Debug)]
pub struct Running {
    mapped: Arc<Mapped>,
    index: usize,
    finished: bool,
}

impl Running {
    pub(super) fn new(mapped: Arc<Mapped>, index: usize) -> Running {
        Running { mapped, index, finished: false }
    }

    fn control(&self) -> &Control {
        &self.mapped.controls()[self.index]
    }

    pub fn index(&self) -> usize {
        self.index
    }

    pub fn group(&self) -> u64 {
        self.control().group.load(Ordering::Relaxed)
    }

    /// Returns the bytes of data in the input, as its owner says, but no more than the region has.
    pub fn bytes(&self) -> u64 {
        self.control().bytes.load(Ordering::Relaxed).min(self.input().len() as u64)
    }

    /// Whether a device keeps something for the slot's group, as the slot's owner says.
    pub fn keeps(&self) -> bool {
        let header: Header = layout::get(self.input(), 0).unwrap_or_default();
        matches!(header.kind, layout::ENCODE | layout::QUERY)
            || header.flags & (layout::KEEP | layout::AGGREGATE) != 0
    }

    pub fn ticket(&self) -> u64 {
        self.control().ticket.load(Ordering::Relaxed)
    }

    /// Whether the owner has given the slot up, so that nobody will read the output.
    pub fn is_abandoned(&self) -> bool {
        self.control().load().state() == State::Abandoned
    }

    pub fn input(&self) -> &[u8] {
        // SAFETY: mapped as long as the slot is held. A well-behaved owner does not write while the slot is
        // RUNNING; bytes that another one changes meanwhile are integers all the same, and nothing that is
        // read from them is used unchecked.
        unsafe { &*self.mapped.regions(self.index).0 }
    }

    pub fn output_mut(&mut self) -> &mut [u8] {
        // SAFETY: mapped as long as the slot is held; while RUNNING or ABANDONED the output is the engine's,
        // in which this handle is the only one.
        unsafe { &mut *self.mapped.regions(self.index).1 }
    }

    /// Marks the slot as done.
    pub fn complete(mut self, device: u32) {
        self.finished = true;
        self.control().device.store(device, Ordering::Relaxed);
        self.control().finish(State::Done);
    }

    pub fn fail(mut self, why: &str) {
        self.finished = true;
        self.control().fail(why);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.finished {
            self.control().fail("the GPU engine gave the slot up");
        }
    }
}
