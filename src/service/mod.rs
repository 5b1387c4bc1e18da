//! The GPU service: a background worker that owns the pool of slots and the engine that decodes them.
//!
//! The service itself touches no GPU. It forks the engine, a process that has given PostgreSQL's memory up, so
//! that a crash of the driver is the end of nothing but the engine; it logs what the engine says, frees the
//! slots of processes that are gone, and starts the engine again. Exporters find it by the info and
//! talk to the engine through the pool alone.

mod child;
mod client;
pub mod decisions;
mod engine;
pub mod status;
#[cfg(any(test, feature = "testing"))]
mod testing;
mod worker;

pub use client::{Effort, attach};
pub use worker::run;
