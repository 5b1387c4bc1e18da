//! A slot's control words: its state and its owner.
//!
//! ```text
//!                 claim          submit         take            finish
//!           FREE -------> FILLING -----> READY -----> RUNNING ---------> DONE | FAILED
//!             ^              |             |             |                     |
//!             |    release   |   release   |             | release             | release
//!             +--------------+-------------+             v                     |
//!             +<------------------------------------ ABANDONED                 |
//!             |                  finish                                        |
//!             +<---------------------------------------------------------------+
//! ```
//!
//! Exporters claim, submit and release; the engine takes and finishes; the supervisor releases for owners that
//! have died, and finishes for an engine that has died. Rules:
//!
//! 1. State and owner are one word, changed by compare-and-swap alone. Nobody can take a slot for another's,
//!    however late, since a slot changes its owner through FREE only.
//! 2. FILLING, DONE, FAILED: the regions belong to the owner. READY: to nobody; they are as the owner left
//!    them. RUNNING, ABANDONED: to the engine, while the owner may read the input. FREE: to nobody.
//! 3. Each change releases what was written before it and acquires what the change before it released, so
//!    that the regions and the words below go with the state.
//! 4. The owner writes `group`, `bytes` and `ticket` while FILLING; the engine `device` and `message` while
//!    RUNNING. To the engine the owner's values are hints: they decide on order and load, never on what memory is
//!    accessed.
//! 5. A process waits on the word itself; every change that ends a wait wakes it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::futex;
use super::monitoring::Message;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    Free = 0,
    Filling = 1,
    Ready = 2,
    Running = 3,
    Done = 4,
    Failed = 5,
    Abandoned = 6,
}

/// The state in the lowest 8 bits, above them the owner's process id, which has 22 (`PID_MAX_LIMIT`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word(u32);

impl Word {
    pub(super) const FREE: Word = Word(0);

    pub(super) fn new(state: State, owner: i32) -> Word {
        Word((owner as u32) << 8 | state as u32)
    }

    pub(super) fn state(self) -> State {
        match self.0 & 0xFF {
            1 => State::Filling,
            2 => State::Ready,
            3 => State::Running,
            4 => State::Done,
            5 => State::Failed,
            6 => State::Abandoned,
            _ => State::Free,
        }
    }

    pub(super) fn owner(self) -> i32 {
        (self.0 >> 8) as i32
    }

    pub(super) fn with(self, state: State) -> Word {
        Word::new(state, self.owner())
    }
}

/// The `device` of a slot that no device has finished.
pub(super) const NO_DEVICE: u32 = u32::MAX;

#[repr(C, align(64))]
pub(super) struct Control {
    word: AtomicU32,
    pub(super) device: AtomicU32,
    /// The row group that the rows belong to.
    pub(super) group: AtomicU64,
    /// Bytes of data in the input region.
    pub(super) bytes: AtomicU64,
    /// The order in which slots were submitted, over the whole pool.
    pub(super) ticket: AtomicU64,
    pub(super) message: Message,
}

impl Control {
    pub(super) fn load(&self) -> Word {
        Word(self.word.load(Ordering::Acquire))
    }

    /// Changes the word; returns false if it is no longer `from`.
    pub(super) fn change(&self, from: Word, to: Word) -> bool {
        let changed = self.word.compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if changed && matches!(to.state(), State::Done | State::Failed) {
            futex::wake(&self.word);
        }
        changed
    }

    /// Waits, at most for `timeout`, while the word is `expected`.
    pub(super) fn wait(&self, expected: Word, timeout: Duration) {
        futex::wait(&self.word, expected.0, timeout);
    }

    /// Gives the slot up in any state. Called by the owner, or for an owner that has died.
    pub(super) fn release(&self, owner: i32) {
        loop {
            let word = self.load();
            let next = match word.state() {
                _ if word.owner() != owner => return,
                State::Free | State::Abandoned => return,
                State::Running => word.with(State::Abandoned),
                State::Filling | State::Ready | State::Done | State::Failed => Word::FREE,
            };
            if self.change(word, next) {
                return;
            }
        }
    }

    /// Marks a slot that the engine took as done or failed. Called by the engine, or for an engine that has died.
    pub(super) fn finish(&self, state: State) {
        loop {
            let word = self.load();
            let next = match word.state() {
                State::Running => word.with(state),
                State::Abandoned => Word::FREE,
                _ => return,
            };
            if self.change(word, next) {
                return;
            }
        }
    }

    /// Marks the slot as failed, with a message.
    pub(super) fn fail(&self, why: &str) {
        self.device.store(NO_DEVICE, Ordering::Relaxed);
        self.message.write(why);
        self.finish(State::Failed);
    }
}
