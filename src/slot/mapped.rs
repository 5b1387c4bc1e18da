//! The contents of a pool's memory, and its mapping in a process.

use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::control::Control;
use super::memory::Mapping;
use super::monitoring::{Message, Monitoring};
use super::rates::Rates;
use super::{futex, layout};

/// "strata" and the layout's number, so that another build's pool is refused.
pub(super) const MAGIC: u64 = 0x0001_6174_6172_7473 ^ ((size_of::<Shared>() as u64) << 40);
const PAGE: usize = 4096;
/// The longest wait without a look at anything else.
pub const LONGEST_WAIT: Duration = Duration::from_millis(10);
const MAX_SLOTS: usize = 1 << 16;

/// Sizes of a pool. Regions are rounded up to pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    pub slots: usize,
    pub input_bytes: usize,
    pub output_bytes: usize,
}

/// A value in a cache line of its own, since some write it often and others read it.
#[repr(C, align(64))]
pub(super) struct Apart<T>(pub(super) T);

#[repr(C, align(64))]
pub(super) struct Header {
    pub(super) magic: u64,
    pub(super) slots: u64,
    pub(super) input_bytes: u64,
    pub(super) output_bytes: u64,
    pub(super) bytes: u64,
}

/// `Shared::status`: there is no engine or it opens its devices, it takes slots, it ends.
pub(super) const STARTING: u32 = 0;
pub(super) const READY: u32 = 1;
pub(super) const CLOSED: u32 = 2;

#[repr(C)]
pub(super) struct Shared {
    pub(super) header: Header,
    pub(super) generation: Apart<AtomicU64>,
    pub(super) status: Apart<AtomicU32>,
    pub(super) engine: AtomicI32,
    /// The reason why the engine was given up, until there is another.
    pub(super) why: Message,
    /// Counts submitted slots, for which the engine waits.
    pub(super) doorbell: Apart<AtomicU32>,
    pub(super) tickets: Apart<AtomicU64>,
    pub(super) monitoring: Monitoring,
    pub(super) rates: Rates,
}

impl Config {
    pub(super) fn rounded(self) -> Option<Config> {
        let Config { slots, input_bytes, output_bytes } = self;
        let sane = (1..=MAX_SLOTS).contains(&slots)
            && (PAGE..1 << 32).contains(&input_bytes)
            && (PAGE..1 << 32).contains(&output_bytes);
        sane.then(|| Config {
            slots,
            input_bytes: layout::align(input_bytes, PAGE),
            output_bytes: layout::align(output_bytes, PAGE),
        })
    }

    fn regions_at(&self) -> usize {
        layout::align(size_of::<Shared>() + self.slots * size_of::<Control>(), PAGE)
    }

    pub(super) fn bytes(&self) -> Option<usize> {
        let regions = (self.input_bytes + self.output_bytes).checked_mul(self.slots)?;
        self.regions_at().checked_add(regions)
    }
}

/// A mapping of a pool. Slots keep it mapped.
#[derive(Debug)]
pub(super) struct Mapped {
    pub(super) mapping: Mapping,
    pub(super) config: Config,
    /// The generation that the exporter counts on.
    pub(super) generation: AtomicU64,
    /// Slots that this process has filled before. Their pages are in its page tables; each page of another slot costs a
    /// fault.
    pub(super) known: Mutex<Vec<usize>>,
}

impl Mapped {
    pub(super) fn shared(&self) -> &Shared {
        // SAFETY: the mapping starts with it, page-aligned, and outlives the borrow. The header is written
        // before anyone else can map it, and everything else is atomic.
        unsafe { &*self.mapping.start().cast::<Shared>() }
    }

    pub(super) fn controls(&self) -> &[Control] {
        // SAFETY: `config` has been checked against the mapping's size; controls are atomic throughout, and
        // the size of `Shared` is a multiple of their alignment.
        unsafe {
            let first = self.mapping.start().add(size_of::<Shared>()).cast::<Control>();
            std::slice::from_raw_parts(first, self.config.slots)
        }
    }

    /// Returns the start and the length of a slot's input and output region. slot/control.rs says who may access them.
    pub(super) fn regions(&self, slot: usize) -> (*mut [u8], *mut [u8]) {
        let Config { input_bytes, output_bytes, slots } = self.config;
        assert!(slot < slots);
        let at = self.config.regions_at() + slot * (input_bytes + output_bytes);
        let input = self.mapping.start().wrapping_add(at);
        let output = input.wrapping_add(input_bytes);
        (
            std::ptr::slice_from_raw_parts_mut(input, input_bytes),
            std::ptr::slice_from_raw_parts_mut(output, output_bytes),
        )
    }

    /// Finds the first slot that `take` takes, first among those that this process knows, then among all from `start` on.
    pub(super) fn find_slot(&self, start: usize, take: impl Fn(usize) -> bool) -> Option<usize> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&index) = known.iter().find(|&&index| take(index)) {
            return Some(index);
        }
        let slots = self.config.slots;
        let index = (0..slots).map(|step| (start + step) % slots).find(|&index| take(index))?;
        if !known.contains(&index) {
            known.push(index);
            self.mapping.populate(self.regions(index).0);
        }
        Some(index)
    }

    /// Returns the next number in the order of submission.
    pub(super) fn next_ticket(&self) -> u64 {
        self.shared().tickets.0.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn ring(&self) {
        let bell = &self.shared().doorbell.0;
        bell.fetch_add(1, Ordering::Release);
        futex::wake(bell);
    }
}
