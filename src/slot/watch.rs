//! The supervisor's care for slots: it frees those of dead owners, fails those of an engine that has ended, and watches how
//! long the engine takes for others.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::control::{Control, State};
use super::pool::Pool;

/// The most that the time between two looks counts for, since this process may have been stopped itself.
const LONGEST_STEP: Duration = Duration::from_secs(2);

/// Slots that were submitted and have not come back.
pub struct Watch {
    looked: Instant,
    /// The time that each of them has been seen, by its ticket, which no other submission has.
    owed: HashMap<u64, Duration>,
}

impl Default for Watch {
    fn default() -> Watch {
        Watch { looked: Instant::now(), owed: HashMap::new() }
    }
}

impl Watch {
    /// Looks at the slots and returns the longest time that one has been owed.
    pub fn look(&mut self, pool: &Pool) -> Duration {
        let step = self.looked.elapsed().min(LONGEST_STEP);
        self.looked = Instant::now();
        let before = |ticket| self.owed.get(&ticket).map_or(Duration::ZERO, |time| *time + step);
        self.owed = pool.owed().map(|ticket| (ticket, before(ticket))).collect();
        self.owed.values().max().copied().unwrap_or_default()
    }
}

impl Pool {
    /// Returns the tickets of slots that were submitted and have not come back.
    pub fn owed(&self) -> impl Iterator<Item = u64> {
        let owed = |control: &&Control| {
            matches!(control.load().state(), State::Ready | State::Running | State::Abandoned)
        };
        self.mapped.controls().iter().filter(owed).map(|control| control.ticket.load(Ordering::Relaxed))
    }

    /// Fails the slots of the engine and those that it was to get. Called only after its process has been waited for: until
    /// then its devices may still write to the slots.
    pub fn fail_running(&self) {
        for control in self.mapped.controls() {
            let word = control.load();
            let taken = match word.state() {
                // The owner may give it up meanwhile.
                State::Ready => control.change(word, word.with(State::Running)),
                State::Running | State::Abandoned => true,
                _ => false,
            };
            if taken {
                control.fail("the GPU engine has ended");
            }
        }
    }

    /// Frees the slots of processes that are no longer alive, and returns their number.
    pub fn reap_dead_owners(&self, alive: impl Fn(i32) -> bool) -> usize {
        let mut freed = 0;
        for control in self.mapped.controls() {
            let word = control.load();
            let owned = !matches!(word.state(), State::Free | State::Abandoned);
            if owned && !alive(word.owner()) {
                control.release(word.owner());
                freed += 1;
            }
        }
        freed
    }
}
