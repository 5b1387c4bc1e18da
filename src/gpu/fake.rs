//! A device without a device: the CPU's decode behind the same trait, for tests of everything around it.
//!
//! Its work is done on the drainer's thread. It can be slow, and it can fail, as told.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Device, DeviceInfo, Fault};
use crate::decode::decode_slot;

#[derive(Debug)]
pub struct FakeDevice {
    info: DeviceInfo,
    depth: usize,
    delay: Duration,
    /// The slot, from 0, that is a fault, and whether that is sticky.
    fault: Option<(u64, bool)>,
    flights: Mutex<Flights>,
    landed: Condvar,
    lost: AtomicBool,
}

/// Slots between `submit` and `collect`, by their tickets: number and input.
#[derive(Debug)]
struct Flights {
    tickets: Vec<Option<(u64, Vec<u8>)>>,
    next: u64,
}

impl FakeDevice {
    pub fn new(ordinal: u32) -> FakeDevice {
        let name = format!("fake device {ordinal}");
        FakeDevice {
            info: DeviceInfo { ordinal, name, ..DeviceInfo::default() },
            depth: 3,
            delay: Duration::ZERO,
            fault: None,
            flights: Mutex::new(Flights { tickets: vec![None; 3], next: 0 }),
            landed: Condvar::new(),
            lost: AtomicBool::new(false),
        }
    }

    pub fn with_depth(self, depth: usize) -> FakeDevice {
        let flights = Mutex::new(Flights { tickets: vec![None; depth.max(1)], next: 0 });
        FakeDevice { depth: depth.max(1), flights, ..self }
    }

    /// Each slot takes so long.
    pub fn with_delay(self, delay: Duration) -> FakeDevice {
        FakeDevice { delay, ..self }
    }

    /// The slot after so many fails; `sticky`: so do all after it.
    pub fn with_fault(self, after: u64, sticky: bool) -> FakeDevice {
        FakeDevice { fault: Some((after, sticky)), ..self }
    }

    fn flights(&self) -> MutexGuard<'_, Flights> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lost(&self) -> Result<(), Fault> {
        let message = format!("{} is lost", self.info.name);
        if self.lost.load(Ordering::Relaxed) { Err(Fault { message, sticky: true }) } else { Ok(()) }
    }
}

impl Device for FakeDevice {
    fn info(&self) -> DeviceInfo {
        self.info.clone()
    }

    fn depth(&self) -> usize {
        self.depth
    }

    fn submit(&self, input: &[u8]) -> Result<usize, Fault> {
        self.lost()?;
        let mut flights = self.flights();
        loop {
            if let Some(ticket) = flights.tickets.iter().position(Option::is_none) {
                flights.tickets[ticket] = Some((flights.next, input.to_vec()));
                flights.next += 1;
                return Ok(ticket);
            }
            flights = self.landed.wait(flights).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn collect(&self, ticket: usize, output: &mut [u8]) -> Result<(), Fault> {
        let flight = self.flights().tickets.get_mut(ticket).and_then(Option::take);
        self.landed.notify_one();
        let refused = |message: String| Fault { message, sticky: false };
        let Some((number, input)) = flight else {
            return Err(refused(format!("no slot has ticket {ticket}")));
        };
        self.lost()?;
        if !self.delay.is_zero() {
            std::thread::sleep(self.delay);
        }
        if let Some((_, sticky)) = self.fault.filter(|&(after, _)| after == number) {
            self.lost.store(sticky, Ordering::Relaxed);
            return Err(Fault { message: format!("{}: a fault, as told", self.info.name), sticky });
        }
        decode_slot(&input, output).map_err(refused)
    }
}
