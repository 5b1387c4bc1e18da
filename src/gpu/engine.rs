//! The engine: takes slots from the pool and has devices decode them, or encode the columns that they have kept.
//!
//! Runs in a process of its own, which the GPU service forks; `run` is its main thread.
//!
//! ```text
//! pool --READY--> dispatcher --bounded--> feeder --bounded--> drainer ----> DONE | FAILED
//!                     ^                   (submit) --bounded--> answerers      |
//!                     |                                         (collect)      |
//!                     +-------------------- finished, doorbell ----------------+
//! ```
//!
//! The dispatcher (the calling thread) takes ready slots in the order of submission, assigns them (`schedule`)
//! and passes on as many as each device's channel holds; the rest waits in one queue for each device, so that a
//! busy device holds up no other. Queues are bounded by the pool: a slot is in one place at a time.
//! Slots of rows are collected in their order, by one drainer. A request for an encoded row group, or for a query's
//! groups, comes when its slots have come back, so that requests need no order: a few threads answer them, beside the
//! drainer and each other.
//!
//! Exporters that submit at the same time share a device in the order of their tickets; none can overtake.
//!
//! Every slot that was taken is finished exactly once, at the latest when its handle is dropped. A fault fails its
//! slot. After a sticky fault, or a panic, nothing more is submitted, everything that is queued fails, other devices
//! finish what they have, and `run` returns for the process to end: only a new process gets a working driver. If
//! threads do not return from a driver that has lost its device, the process ends without them. The pool is closed
//! first, so that no slot whose output the lost device might still write is used again before this process has ended.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::lock::lock;
use super::schedule::{Policy, Schedule, allowed};
use super::{Device, Fault};
use crate::slot::layout::is_request;
use crate::slot::pool::{Pool, Running};

/// The reason why the engine returned. Its process ends in either case.
#[derive(Clone, Debug, PartialEq)]
pub enum Exit {
    /// It was told to.
    Stopped,
    /// A device is lost, for this reason: a new engine is needed.
    Restart(String),
}

/// Slots in a device's channel beyond those that it can have in flight, for the time that the dispatcher looks elsewhere.
const AHEAD: usize = 2;
/// Threads of a device that answer requests: while one waits for kernels, another's pages are copied back.
const ANSWERERS: usize = 4;
/// The time that threads have to return after a device was lost.
const LAST_CHANCE: Duration = Duration::from_secs(5);

/// A slot that was assigned to a device, with the bytes that it counts for.
struct Assignment {
    running: Running,
    group: u64,
    bytes: u64,
}

struct Finished {
    place: usize,
    group: u64,
    bytes: u64,
    done: bool,
}

/// The state that all threads share.
struct Engine<'a> {
    pool: &'a Pool,
    log: &'a (dyn Fn(&str) + Sync),
    /// Set when nothing more is submitted to a device.
    ending: AtomicBool,
    /// The first sticky fault.
    lost: Mutex<Option<String>>,
    returned: Arc<AtomicBool>,
}

/// Takes and decodes slots until `stop` is set or a device is lost. `log` gets lines for people.
pub fn run(
    pool: &Pool,
    devices: Vec<Box<dyn Device>>,
    policy: Policy,
    stop: &AtomicBool,
    log: &(dyn Fn(&str) + Sync),
) -> Exit {
    let ending = AtomicBool::new(false);
    let engine = Engine { pool, log, ending, lost: Mutex::new(None), returned: Arc::default() };
    if devices.is_empty() {
        return Exit::Restart("there is no device".into());
    }
    let infos: Vec<_> = devices.iter().map(|device| device.info()).collect();
    let near = pool.numa_node();
    let places = allowed(policy, &infos, near);
    engine.say(&format!(
        "engine {}: {} of {} devices are used, policy {policy:?}, pool on NUMA node {}",
        std::process::id(),
        places.len(),
        devices.len(),
        near.map_or("unknown".into(), |node| node.to_string()),
    ));
    devices.iter().for_each(|device| engine.say_notes(device.as_ref()));
    let ordinals: Vec<u32> = infos.iter().map(|info| info.ordinal).collect();
    pool.set_ready(&infos);
    thread::scope(|scope| {
        let (finished, results) = bounded(2 * pool.slots().0);
        let mut feeds = Vec::new();
        for (place, device) in devices.iter().enumerate() {
            let (feed, work) = bounded::<Assignment>(device.depth() + AHEAD);
            let (flown, flights) = bounded(device.depth());
            feeds.push(feed);
            let (device, engine) = (device.as_ref(), &engine);
            let hand = Hand { engine, device, place, ordinal: ordinals[place], finished: finished.clone() };
            // Room for all that there can be: the feeder never waits for those who answer.
            let (asked, requests) = bounded(pool.slots().0);
            for flights in std::iter::once(flights).chain(std::iter::repeat_n(requests, ANSWERERS)) {
                let other = hand.clone();
                scope.spawn(move || other.guard(|hand| hand.drain(&flights)));
            }
            scope.spawn(move || hand.guard(|hand| hand.feed(&work, &flown, &asked)));
        }
        drop(finished);
        let queues = feeds.iter().map(|_| VecDeque::new()).collect();
        let schedule = Schedule::new(devices.len(), places);
        Dispatcher { engine: &engine, schedule, feeds, queues, results }.run(stop);
        // Here the channels' ends are dropped, by which the threads learn that there is no more.
    });
    engine.returned.store(true, Ordering::Release);
    engine.fail_rest();
    match engine.reason() {
        Some(reason) => Exit::Restart(reason),
        None => Exit::Stopped,
    }
}

impl Engine<'_> {
    fn say(&self, line: &str) {
        self.pool.log("engine", line);
        (self.log)(line);
    }

    fn say_notes(&self, device: &dyn Device) {
        for note in device.notes() {
            self.say(&format!("GPU {}: {note}", device.info().ordinal));
        }
    }

    fn reason(&self) -> Option<String> {
        lock(&self.lost).clone()
    }

    fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    fn end(&self) {
        self.pool.close();
        self.ending.store(true, Ordering::Release);
    }

    fn lose(&self, reason: &str) {
        self.end();
        let mut lost = lock(&self.lost);
        if lost.is_none() {
            *lost = Some(reason.to_owned());
            self.say(&format!("the engine ends: {reason}"));
            let returned = self.returned.clone();
            thread::spawn(move || end_anyway(&returned));
        }
        drop(lost);
        self.pool.ring();
    }

    /// The message for slots that fail with the engine.
    fn farewell(&self) -> String {
        self.reason().unwrap_or_else(|| "the GPU engine was stopped".into())
    }

    /// Fails the slots that were submitted meanwhile. The supervisor fails those that come later.
    fn fail_rest(&self) {
        let mut rest = Vec::new();
        self.pool.take_ready(&mut rest);
        let why = self.farewell();
        rest.into_iter().for_each(|running| running.fail(&why));
    }
}

/// Ends the process without its threads, which a driver that has lost its device may keep for good.
fn end_anyway(returned: &AtomicBool) {
    thread::sleep(LAST_CHANCE);
    if !returned.load(Ordering::Acquire) {
        // SAFETY: ends the process at once; nothing in it is needed, and its threads cannot be waited for.
        unsafe { libc::_exit(libc::EXIT_FAILURE) }
    }
}

/// The calling thread.
struct Dispatcher<'a> {
    engine: &'a Engine<'a>,
    schedule: Schedule,
    feeds: Vec<Sender<Assignment>>,
    queues: Vec<VecDeque<Assignment>>,
    results: Receiver<Finished>,
}

impl Dispatcher<'_> {
    fn run(mut self, stop: &AtomicBool) {
        let pool = self.engine.pool;
        let mut taken = Vec::new();
        while !self.engine.is_ending() {
            // Read before looking for work: a ring from here on ends the wait below at once.
            let bell = pool.bell();
            if stop.load(Ordering::Relaxed) {
                self.engine.end();
                break;
            }
            self.settle();
            pool.take_ready(&mut taken);
            let idle = taken.is_empty();
            for running in taken.drain(..) {
                self.assign(running);
            }
            self.pass_on();
            if idle && self.results.is_empty() {
                pool.wait_bell(bell);
            }
        }
        let why = self.engine.farewell();
        for work in self.queues.drain(..).flatten() {
            work.running.fail(&why);
        }
    }

    fn settle(&mut self) {
        while let Ok(Finished { place, group, bytes, done }) = self.results.try_recv() {
            self.schedule.finished(place, group, bytes);
            self.engine.pool.set_load(place, self.schedule.load(place).slots, u64::from(done));
        }
    }

    fn assign(&mut self, running: Running) {
        let (group, bytes) = (running.group(), running.bytes());
        let place = self.schedule.assign(group, bytes, running.keeps());
        self.engine.pool.set_load(place, self.schedule.load(place).slots, 0);
        self.queues[place].push_back(Assignment { running, group, bytes });
    }

    /// Fills the devices' channels. A channel has room again when one of its device's slots has come back, which rings
    /// the bell.
    fn pass_on(&mut self) {
        for (feed, queue) in self.feeds.iter().zip(&mut self.queues) {
            while let Some(work) = queue.pop_front() {
                match feed.try_send(work) {
                    Ok(()) => (),
                    Err(TrySendError::Full(work)) => {
                        queue.push_front(work);
                        break;
                    }
                    // Its thread has panicked and the engine ends. The slot fails when it is dropped.
                    Err(TrySendError::Disconnected(_)) => break,
                }
            }
        }
    }
}

/// A device's feeder, drainer or answerer.
#[derive(Clone)]
struct Hand<'a> {
    engine: &'a Engine<'a>,
    device: &'a dyn Device,
    place: usize,
    ordinal: u32,
    finished: Sender<Finished>,
}

impl Hand<'_> {
    /// Runs a thread's work. A panic in it counts as the loss of the device.
    fn guard(self, body: impl FnOnce(&Self)) {
        if catch_unwind(AssertUnwindSafe(|| body(&self))).is_err() {
            self.engine.lose(&format!("GPU {}: a thread panicked", self.ordinal));
        }
    }

    /// The feeder: submits slots to the device.
    fn feed(
        &self,
        work: &Receiver<Assignment>,
        flown: &Sender<(usize, Assignment)>,
        asked: &Sender<(usize, Assignment)>,
    ) {
        for work in work {
            if self.engine.is_ending() || work.running.is_abandoned() {
                let why = self.engine.farewell();
                self.finish(work, |running| running.fail(&why), false);
                continue;
            }
            let channel = if is_request(work.running.input()) { asked } else { flown };
            match self.device.submit(work.group, work.running.input()) {
                // If the threads that collect have panicked, the slot fails when it is dropped.
                Ok(ticket) => drop(channel.send((ticket, work))),
                Err(fault) => self.fault(work, &fault),
            }
        }
    }

    /// The drainer or an answerer: collects what was submitted.
    fn drain(&self, flights: &Receiver<(usize, Assignment)>) {
        // A lost device is drained too: the feeder may wait for it to have room.
        for (ticket, mut work) in flights {
            let collected = self.device.collect(ticket, work.running.output_mut());
            self.engine.say_notes(self.device);
            match collected {
                Ok(()) => self.finish(work, |running| running.complete(self.ordinal), true),
                Err(fault) => self.fault(work, &fault),
            }
        }
    }

    fn fault(&self, work: Assignment, fault: &Fault) {
        // Before the slot can be used again.
        if fault.sticky {
            self.engine.lose(&fault.message);
        } else {
            self.engine.say(&format!("a slot failed: {}", fault.message));
        }
        self.finish(work, |running| running.fail(&fault.message), false);
    }

    fn finish(&self, work: Assignment, end: impl FnOnce(Running), done: bool) {
        let Assignment { running, group, bytes } = work;
        end(running);
        // Nobody receives when the engine ends.
        let _ = self.finished.send(Finished { place: self.place, group, bytes, done });
        self.engine.pool.ring();
    }
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
