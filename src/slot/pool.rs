//! The pool of slots: shared memory through which exporters have slots decoded by the engine.
//!
//! Three kinds of process use it. The **supervisor** (the GPU service's main thread) makes it, frees the slots of dead
//! processes and counts the engine's generations. The **engine**, which the supervisor forks, inherits the mapping, takes
//! slots and finishes them. **Exporters** (backends and parallel workers) attach, claim slots, fill and submit them, wait
//! and read; if something goes wrong they still have the input. `control` says what each may do with a slot, and when.
//!
//! ```text
//! Shared (header, generation, status, doorbell, monitoring) | Control[slots] | { input region | output region }[slots]
//! ```
//!
//! The header never changes after the pool is made; the memory is sealed against shrinking, so that no access
//! to a mapping fails. A process that attaches checks magic, generation and sizes.
//!
//! An exporter that sees its engine gone ([`Pool::gone`]) decodes its slots itself. The supervisor calls, in
//! this order and only once the engine's process has been waited for: [`Pool::new_generation`] and
//! [`Pool::fail_running`]; from then on the next engine may be forked. The pool itself, and what exporters have
//! mapped, stays.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::control::{NO_DEVICE, Word};
use super::futex;
use super::mapped::{CLOSED, Header, MAGIC, Mapped, READY, STARTING, Shared};
use super::memory::{self, Mapping};
use super::monitoring::{DeviceInfo, DeviceRecord, LogLine};
use super::rates::Speed;

pub use super::control::State;
pub use super::handle::{Running, Slot};
pub use super::mapped::{Config, LONGEST_WAIT};

/// A pool, mapped into this process.
#[derive(Clone, Debug)]
pub struct Pool {
    pub(super) mapped: Arc<Mapped>,
    /// The memory's descriptor, in the process that made it.
    descriptor: Option<Arc<OwnedFd>>,
}

impl Pool {
    /// Makes a pool. Called by the supervisor.
    pub fn create(config: Config) -> Result<Pool, String> {
        let config = config.rounded().ok_or_else(|| format!("a pool of {config:?}"))?;
        let bytes = config.bytes().ok_or_else(|| format!("a pool of {config:?}"))?;
        let (descriptor, mapping) = memory::create(bytes)?;
        let header = Header {
            magic: MAGIC,
            slots: config.slots as u64,
            input_bytes: config.input_bytes as u64,
            output_bytes: config.output_bytes as u64,
            bytes: bytes as u64,
        };
        // SAFETY: the mapping is this large and nobody else's yet. Zeros are what the rest starts with.
        unsafe { mapping.start().cast::<Header>().write(header) };
        let pool = Pool::of(mapping, config, Some(Arc::new(descriptor)));
        pool.new_generation();
        Ok(pool)
    }

    /// Makes a pool, with half the slots until there is memory for it. Called by the supervisor.
    pub fn create_at_most(mut config: Config) -> Result<Pool, String> {
        loop {
            match Pool::create(config) {
                Err(_) if config.slots > 1 => config.slots /= 2,
                made => return made,
            }
        }
    }

    /// Maps the pool that process `pid` has as `descriptor`, if it is still of that generation. Called by exporters.
    pub fn attach(pid: i32, descriptor: i32, generation: u64) -> Result<Pool, String> {
        let mapping = memory::attach(pid, descriptor)?;
        if mapping.len() < size_of::<Shared>() {
            return Err("too small for a pool".into());
        }
        // SAFETY: the mapping is this large, and nobody changes the header.
        let header = unsafe { &*mapping.start().cast::<Header>() };
        if header.magic != MAGIC {
            return Err("not a pool, or another version's".into());
        }
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let config = Config {
            slots: size(header.slots),
            input_bytes: size(header.input_bytes),
            output_bytes: size(header.output_bytes),
        };
        let in_order = config.rounded() == Some(config) && config.bytes() == Some(mapping.len());
        if !in_order || header.bytes != mapping.len() as u64 {
            return Err(format!("a pool of {} bytes says {config:?}", mapping.len()));
        }
        let pool = Pool::of(mapping, config, None);
        let found = pool.generation();
        pool.mapped.generation.store(generation, Ordering::Relaxed);
        match found == generation {
            true => Ok(pool),
            false => Err(format!("the GPU service has restarted: generation {found}, not {generation}")),
        }
    }

    fn of(mapping: Mapping, config: Config, descriptor: Option<Arc<OwnedFd>>) -> Pool {
        let mapped = Mapped { mapping, config, generation: AtomicU64::new(0), known: Mutex::default() };
        Pool { mapped: Arc::new(mapped), descriptor }
    }

    fn shared(&self) -> &Shared {
        self.mapped.shared()
    }

    /// Returns the maker's descriptor, by which others attach; -1 in other processes.
    pub fn descriptor(&self) -> i32 {
        self.descriptor.as_ref().map_or(-1, |descriptor| descriptor.as_raw_fd())
    }

    pub fn generation(&self) -> u64 {
        self.shared().generation.0.load(Ordering::Acquire)
    }

    pub fn input_bytes(&self) -> usize {
        self.mapped.config.input_bytes
    }

    pub fn output_bytes(&self) -> usize {
        self.mapped.config.output_bytes
    }

    /// Returns the number of slots, and of those that are free.
    pub fn slots(&self) -> (usize, usize) {
        let free = self.mapped.controls().iter().filter(|control| control.load() == Word::FREE).count();
        (self.mapped.config.slots, free)
    }

    /// Whether all slots are free.
    pub fn is_idle(&self) -> bool {
        let (all, free) = self.slots();
        all == free
    }

    /// Whether the engine takes slots.
    pub fn is_ready(&self) -> bool {
        self.shared().status.0.load(Ordering::Acquire) == READY
    }

    /// Returns the whole mapping, for CUDA to register. It is page-aligned and mapped as long as the pool or one of its slots
    /// lives.
    pub fn memory(&self) -> (*const u8, usize) {
        (self.mapped.mapping.start(), self.mapped.mapping.len())
    }

    /// Returns the NUMA node that holds all slots, if there is one.
    pub fn numa_node(&self) -> Option<u32> {
        let places = (0..16).map(|part| self.mapped.mapping.len() / 16 * part);
        let mut nodes = places.map(|at| self.mapped.mapping.node(at));
        let first = nodes.next()??;
        nodes.all(|node| node == Some(first)).then_some(first)
    }

    /// Writes a line for `gpu_status()`, cut at 224 bytes. Called by any process.
    pub fn log(&self, source: &str, message: &str) {
        self.shared().monitoring.log(source, message);
    }

    /// Returns the last lines, oldest first.
    pub fn log_lines(&self) -> Vec<LogLine> {
        self.shared().monitoring.lines()
    }

    pub fn devices(&self) -> Vec<DeviceRecord> {
        self.shared().monitoring.devices()
    }

    /// Records that an export of `bytes` of heap took `time` on `processes` processes.
    pub fn record_rate(&self, task: usize, gpu: bool, bytes: u64, time: Duration, processes: u32) {
        self.shared().rates.record(task, gpu, bytes, time, processes);
    }

    /// Returns the expected speeds of the devices and of the CPU; `None` if no device's link was measured.
    pub fn speeds(&self, gpu_task: usize, cpu_task: usize) -> Option<(Speed, Speed)> {
        let link = self.devices().iter().map(|device| device.info.h2d).max().filter(|link| *link > 0)?;
        Some(self.shared().rates.speeds(gpu_task, cpu_task, link))
    }
}

/// The exporters' part.
impl Pool {
    /// Claims a free slot, to be filled with rows of `group`; `None` if there is none or the engine has gone.
    pub fn claim(&self, group: u64) -> Option<Slot> {
        if !self.is_ready() || self.generation() != self.mapped.generation.load(Ordering::Relaxed) {
            return None;
        }
        let owner = std::process::id() as i32;
        let take = |index: usize| {
            let control = &self.mapped.controls()[index];
            control.load() == Word::FREE && control.change(Word::FREE, Word::new(State::Filling, owner))
        };
        let index = self.mapped.find_slot(owner as usize, take)?;
        let control = &self.mapped.controls()[index];
        control.group.store(group, Ordering::Relaxed);
        control.device.store(NO_DEVICE, Ordering::Relaxed);
        Some(Slot::new(self.mapped.clone(), index, owner))
    }

    /// Returns the reason why no slot will come back, if the engine that this process counts on has gone.
    pub fn gone(&self) -> Option<String> {
        let shared = self.shared();
        let why =
            |unless: &str| Some(shared.why.read()).filter(|why| !why.is_empty()).or(Some(unless.into()));
        if self.generation() != self.mapped.generation.load(Ordering::Relaxed) {
            return why("the GPU engine has ended");
        }
        if shared.status.0.load(Ordering::Acquire) == CLOSED {
            return why("the GPU engine is ending");
        }
        let engine = shared.engine.load(Ordering::Relaxed);
        // SAFETY: signal 0 only asks whether there is such a process.
        let failed = engine > 0 && unsafe { libc::kill(engine, 0) } != 0;
        let missing = failed && std::io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH);
        missing.then(|| format!("the GPU engine, process {engine}, has died"))
    }
}

/// The engine's part.
impl Pool {
    /// Lists the open devices. From now on slots are taken.
    pub fn set_ready(&self, devices: &[DeviceInfo]) {
        let shared = self.shared();
        shared.monitoring.set_devices(devices);
        shared.why.write("");
        shared.engine.store(std::process::id() as i32, Ordering::Relaxed);
        shared.status.0.store(READY, Ordering::Release);
    }

    /// Closes the pool: no more slots are taken.
    pub fn close(&self) {
        self.shared().status.0.store(CLOSED, Ordering::Release);
    }

    /// Takes every submitted slot, in the order of submission.
    pub fn take_ready(&self, taken: &mut Vec<Running>) {
        let from = taken.len();
        for (index, control) in self.mapped.controls().iter().enumerate() {
            let word = control.load();
            if word.state() == State::Ready && control.change(word, word.with(State::Running)) {
                taken.push(Running::new(self.mapped.clone(), index));
            }
        }
        taken[from..].sort_unstable_by_key(Running::ticket);
    }

    /// Returns the bell's count for [`Pool::wait_bell`]. It is read before looking for work.
    pub fn bell(&self) -> u32 {
        self.shared().doorbell.0.load(Ordering::Acquire)
    }

    /// Waits until the bell has been rung since it was `seen`, at most for [`LONGEST_WAIT`].
    pub fn wait_bell(&self, seen: u32) {
        futex::wait(&self.shared().doorbell.0, seen, LONGEST_WAIT);
    }

    /// Wakes the engine's dispatcher.
    pub fn ring(&self) {
        self.mapped.ring();
    }

    /// Sets the slots queued for the device at `place` of `set_ready`'s list, and adds `finished` to those that it has done.
    pub fn set_load(&self, place: usize, queued: usize, finished: u64) {
        self.shared().monitoring.set_load(place, queued, finished);
    }
}

/// The supervisor's part.
impl Pool {
    /// Starts a new generation. Exporters that count on the previous engine learn that it is gone, and claim no more slots.
    pub fn new_generation(&self) {
        let shared = self.shared();
        shared.status.0.store(STARTING, Ordering::Relaxed);
        shared.engine.store(0, Ordering::Relaxed);
        let new = shared.generation.0.fetch_add(1, Ordering::AcqRel) + 1;
        shared.monitoring.set_devices(&[]);
        self.mapped.generation.store(new, Ordering::Relaxed);
    }

    /// Gives up an engine that does not answer: exporters wait for it no longer. Its slots stay its own until it has ended.
    pub fn give_up(&self, why: &str) {
        self.shared().why.write(why);
        self.close();
    }
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
