//! What a device did for an export, counted by each process and added up by the leader.

use serde::{Deserialize, Serialize};

/// What a device did for the rows of one process or of all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// Slots that returned.
    pub slots: u64,
    /// Slots among those of which this process decoded some rows again.
    pub redone: u64,
    /// Values that the device left out and the server found.
    pub patched: u64,
    /// Batches for which no slot was free.
    pub refused: u64,
    /// Bytes of pages or of the stream that went into slots.
    pub bytes: u64,
    /// Row groups encoded on the device, row groups read again after it failed to, and the last reason for
    /// that.
    pub groups: u64,
    pub groups_again: u64,
    pub why_again: Option<String>,
    /// Why slots failed, or the service was lost.
    pub trouble: Vec<String>,
    /// The service was given up.
    pub lost: bool,
}

impl Tally {
    pub fn add(&mut self, other: Tally) {
        self.slots += other.slots;
        self.redone += other.redone;
        self.patched += other.patched;
        self.refused += other.refused;
        self.bytes += other.bytes;
        self.groups += other.groups;
        self.groups_again += other.groups_again;
        self.why_again = self.why_again.take().or(other.why_again);
        self.lost |= other.lost;
        other.trouble.into_iter().for_each(|what| self.note(what));
    }

    /// Returns whether rows were decoded or encoded on the CPU although a device was chosen.
    pub fn used_cpu(&self) -> bool {
        self.redone > 0 || self.refused > 0 || self.groups_again > 0 || self.lost
    }

    pub(super) fn note(&mut self, what: String) {
        if !self.trouble.contains(&what) && self.trouble.len() < 8 {
            self.trouble.push(what);
        }
    }
}
