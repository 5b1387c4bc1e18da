//! The GPU service: a background worker that owns the pool of slots and the engine that decodes them.
//!
//! The service itself does not use a GPU. It forks the engine, a process that has given up PostgreSQL's memory, so that a
//! crash of the driver ends the engine alone. The service logs the engine's messages, frees the slots of processes that are
//! gone, and starts the engine again. Exporters find it by the service file and talk to the engine through the pool.
//!
//! Without the feature `gpu` the exporters' side is left, which finds no service.

#[cfg(feature = "gpu")]
mod child;
mod client;
pub mod decisions;
#[cfg(feature = "gpu")]
mod engine;
pub mod status;
#[cfg(any(test, feature = "testing"))]
mod testing;
#[cfg(feature = "gpu")]
mod worker;

pub use client::{Effort, attach};
#[cfg(feature = "gpu")]
pub use worker::run;
