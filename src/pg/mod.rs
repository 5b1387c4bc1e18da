//! Wraps PostgreSQL's C functions. Everything here runs on the main thread of a process of the server; nothing here
//! may be called from another thread. pgrx fails when another thread calls a PostgreSQL function; in
//! tests `interrupts::assert_main_thread` fails even where none is called.

pub mod access;
pub mod bgworker;
pub mod catalog;
pub mod context;
mod database_encoding;
pub mod encoding;
pub mod error;
pub mod explain;
pub mod expr;
pub mod guc;
pub mod heap;
pub mod list;
pub mod memory;
pub mod parallel;
pub mod pg_type;
pub mod progress;
pub mod query;
pub mod render;
pub mod segment;
pub mod session;
pub mod snapshot;
pub mod tuple_slot;
pub mod varlena;
pub mod virtual_columns;
pub mod wait_event;
pub mod xact;

use crate::interrupts;

/// Acts on a pending cancel or terminate, and on a lack of memory. Cheap enough to be called for every page.
#[inline]
pub fn check_for_interrupts() {
    interrupts::assert_main_thread();
    memory::check();
    pgrx::check_for_interrupts!();
}
