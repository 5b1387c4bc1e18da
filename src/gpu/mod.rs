//! The GPU: an engine that takes slots from a pool and devices that decode them.
//!
//! Runs in the engine, a process that the GPU service forks: PostgreSQL's memory and functions are out of
//! its reach, and when a driver crashes it takes nothing else along. Pure: tested without PostgreSQL and,
//! through `testing::fake`, without a GPU. Without the feature `gpu` there are no devices of CUDA.

#[cfg(feature = "gpu")]
pub mod cuda;
pub mod encode;
pub mod engine;
pub mod groups;
mod lock;
#[cfg(any(test, feature = "gpu", feature = "testing"))]
mod queries;
pub mod schedule;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use crate::slot::monitoring::DeviceInfo;

/// The error of a device.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    pub message: String,
    /// The device is lost to this process, as after a kernel's illegal address: the engine has to restart.
    pub sticky: bool,
}

/// A device that decodes slots. A feeder thread calls `submit`, and a drainer thread calls `collect` in the same order;
/// other threads call `collect` for requests for encoded row groups, in any order and at the same time.
///
/// After a sticky fault both return at once with another one; every ticket is still collected.
pub trait Device: Send + Sync {
    fn info(&self) -> DeviceInfo;

    /// The number of slots that can be between `submit` and `collect`.
    fn depth(&self) -> usize;

    /// Starts to decode an input region of the row group, or to do what its request asks for (`slot::encode`), and returns
    /// the ticket to collect it by. Blocks only while `depth` slots are in flight. The input does not change until
    /// `collect` returns.
    fn submit(&self, group: u64, input: &[u8]) -> Result<usize, Fault>;

    /// Waits for the ticket's slot and fills its output region (`slot::layout`).
    fn collect(&self, ticket: usize, output: &mut [u8]) -> Result<(), Fault>;

    /// Lines for people that have come up since the last call. Called after `collect`, and before the first slot.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
}
