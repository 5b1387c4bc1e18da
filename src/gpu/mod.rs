//! The GPU: an engine that takes slots from a pool and devices that decode them.
//!
//! Runs in the engine, a process that the GPU service forks: PostgreSQL's memory and functions are out of
//! its reach, and when a driver crashes it takes nothing else along. Pure: tested without PostgreSQL and,
//! through `testing::fake`, without a GPU.

pub mod cuda;
pub mod encode;
pub mod engine;
pub mod groups;
mod lock;
pub mod schedule;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use crate::slot::monitoring::DeviceInfo;

/// A device could not do what it was asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    pub message: String,
    /// The device is lost to this process, as after a kernel's illegal address: the engine has to restart.
    pub sticky: bool,
}

/// What decodes slots. A feeder thread calls `submit`, a drainer thread `collect`, in the same order; `collect` of
/// requests for encoded row groups is called by other threads, in any order and at once.
///
/// After a sticky fault both return at once, with another one: every ticket is collected all the same.
pub trait Device: Send + Sync {
    fn info(&self) -> DeviceInfo;

    /// Slots that can be between `submit` and `collect`.
    fn depth(&self) -> usize;

    /// Starts to do what an input region of the row group asks for, to decode it or as `slot::encode` says, and
    /// gives the ticket to collect it by. Blocks only while `depth` slots are in flight. The input stays as it is
    /// until `collect` returns.
    fn submit(&self, group: u64, input: &[u8]) -> Result<usize, Fault>;

    /// Waits for the ticket's slot and fills its output region (`slot::layout`).
    fn collect(&self, ticket: usize, output: &mut [u8]) -> Result<(), Fault>;

    /// Lines for people, of what has come up since the last call: behind `collect`, and before the first slot.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
}
