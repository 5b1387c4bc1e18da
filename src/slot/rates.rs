//! The speed of exports on GPUs and on the CPU by task, by which `device => 'auto'` decides.
//!
//! The rates lie in the pool, so that all sessions of a server share them. They are atomic words. If two exports end at the
//! same time the figures of one may be lost; they need not be exact.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The number of tasks with rates of their own.
pub const TASKS: usize = 32;

/// Bytes of heap a second and process, measured with 16 processes on 16 cores and an H100: the expectation until a task has
/// been measured.
const EXPECTED_GPU: f64 = 0.5e9;
const EXPECTED_CPU: f64 = 0.27e9;
/// The number of processes that the expectation supposes to share a device's link.
const PROCESSES: f64 = 16.0;

/// Smaller exports are not measured: most of their time goes into their beginning and end.
const LEAST_BYTES: u64 = 64 << 20;

/// A measured rate. Zeros mean that nothing was measured.
#[repr(C)]
struct Rate {
    /// Bytes of heap a second and process.
    rate: AtomicU64,
    exports: AtomicU64,
}

#[repr(C, align(64))]
pub(super) struct Rates([[Rate; 2]; TASKS]);

/// The rate of one process, in bytes of heap a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    pub rate: f64,
    /// The number of exports that it was measured in; 0 if it is an expectation.
    pub exports: u64,
}

impl Speed {
    fn expected(rate: f64) -> Speed {
        Speed { rate, exports: 0 }
    }

    /// Describes the speed for the decision log.
    pub fn text(&self) -> String {
        let rate = self.rate / 1e9;
        match self.exports {
            0 => format!("{rate:.2} GB/s a process expected"),
            1 => format!("{rate:.2} GB/s a process measured in 1 export"),
            exports => format!("{rate:.2} GB/s a process measured in {exports} exports"),
        }
    }
}

impl Rates {
    /// Records that an export of `bytes` of heap took `time` on `processes` processes. It counts as much as all before it.
    pub(super) fn record(&self, task: usize, gpu: bool, bytes: u64, time: Duration, processes: u32) {
        let rate = &self.0[task % TASKS][usize::from(gpu)];
        let seconds = time.as_secs_f64() * f64::from(processes);
        if bytes < LEAST_BYTES || seconds == 0.0 {
            return;
        }
        let new = (bytes as f64 / seconds) as u64;
        let kept = match rate.exports.fetch_add(1, Ordering::Relaxed) {
            0 => new,
            _ => rate.rate.load(Ordering::Relaxed).midpoint(new),
        };
        rate.rate.store(kept, Ordering::Relaxed);
    }

    fn measured(&self, task: usize, gpu: bool) -> Option<Speed> {
        let rate = &self.0[task % TASKS][usize::from(gpu)];
        let exports = rate.exports.load(Ordering::Relaxed);
        (exports > 0).then(|| Speed { rate: rate.rate.load(Ordering::Relaxed) as f64, exports })
    }

    /// Returns a task's speeds on the GPU and on the CPU. `link` is the bytes a second from the host to the fastest device.
    pub(super) fn speeds(&self, gpu_task: usize, cpu_task: usize, link: u64) -> (Speed, Speed) {
        let expected = EXPECTED_GPU.min(link as f64 / PROCESSES);
        (
            self.measured(gpu_task, true).unwrap_or(Speed::expected(expected)),
            self.measured(cpu_task, false).unwrap_or(Speed::expected(EXPECTED_CPU)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GB: u64 = 1_000_000_000;
    const FAST_LINK: u64 = 50 * GB;

    fn rates() -> Box<Rates> {
        // SAFETY: integers alone, for which zeros are values.
        unsafe { Box::new_zeroed().assume_init() }
    }

    #[test]
    fn expected_until_measured() {
        let rates = rates();
        let (gpu, cpu) = rates.speeds(3, 4, FAST_LINK);
        assert!(gpu.rate > cpu.rate && gpu.exports == 0);
        let (slow, _) = rates.speeds(3, 4, 32 * GB / 10);
        assert_eq!(slow.text(), "0.20 GB/s a process expected");
        assert!(slow.rate < cpu.rate, "a slow link makes the CPU the better one");

        // 8 GB in a second on 4 processes: 2 GB/s each.
        rates.record(4, false, 8 * GB, Duration::from_secs(1), 4);
        let (_, cpu) = rates.speeds(3, 4, FAST_LINK);
        assert_eq!(cpu.text(), "2.00 GB/s a process measured in 1 export");
        assert_eq!(rates.speeds(3, 3, FAST_LINK).1.exports, 0, "another task");
        assert_eq!(rates.speeds(4, 3, FAST_LINK).0.exports, 0, "the other device");
    }

    #[test]
    fn the_last_export_counts_as_much_as_all_before() {
        let rates = rates();
        rates.record(0, true, GB, Duration::from_secs(1), 1);
        rates.record(0, true, 30 * GB, Duration::from_secs(10), 1);
        let (gpu, _) = rates.speeds(0, 0, FAST_LINK);
        assert_eq!((gpu.rate, gpu.exports), (2e9, 2));
        rates.record(0, true, LEAST_BYTES - 1, Duration::from_secs(1), 1);
        rates.record(0, true, 30 * GB, Duration::ZERO, 1);
        assert_eq!(rates.speeds(0, 0, FAST_LINK).0, gpu, "too little to tell");
    }
}
