//! What the supervisor does for slots: it frees those of dead owners, fails those of an engine that has ended, and sees
//! for how long others have been owed.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::control::{Control, State};
use super::pool::Pool;

/// What passed between two looks counts for no more: this process may have been stopped itself.
const LONGEST_STEP: Duration = Duration::from_secs(2);

/// Slots that were submitted and have not come back.
pub struct Watch {
    looked: Instant,
    /// By ticket, which no other submission has: how long it has been seen so.
    owed: HashMap<u64, Duration>,
}

impl Default for Watch {
    fn default() -> Watch {
        Watch { looked: Instant::now(), owed: HashMap::new() }
    }
}

impl Watch {
    /// How long the slot has been owed that has been for longest.
    pub fn look(&mut self, pool: &Pool) -> Duration {
        let step = self.looked.elapsed().min(LONGEST_STEP);
        self.looked = Instant::now();
        let before = |ticket| self.owed.get(&ticket).map_or(Duration::ZERO, |time| *time + step);
        self.owed = pool.owed().map(|ticket| (ticket, before(ticket))).collect();
        self.owed.values().max().copied().unwrap_or_default()
    }
}

impl Pool {
    /// The tickets of slots that were submitted and have not come back.
    pub fn owed(&self) -> impl Iterator<Item = u64> {
        let owed = |control: &&Control| {
            matches!(control.load().state(), State::Ready | State::Running | State::Abandoned)
        };
        self.mapped.controls().iter().filter(owed).map(|control| control.ticket.load(Ordering::Relaxed))
    }

    /// Fails what the engine had and what it was to get. Only when its process has been waited for: until
    /// then its devices may still write to the slots.
    pub fn fail_running(&self) {
        for control in self.mapped.controls() {
            let word = control.load();
            let taken = match word.state() {
                // Its owner may give it up meanwhile.
                State::Ready => control.change(word, word.with(State::Running)),
                State::Running | State::Abandoned => true,
                _ => false,
            };
            if taken {
                control.fail("the GPU engine has ended");
            }
        }
    }

    /// Frees the slots of processes that are no longer alive; how many.
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
