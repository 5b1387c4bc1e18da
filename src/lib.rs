//! pg_strata: PostgreSQL tables as Parquet files, in parallel, on one snapshot, exactly.

// pg_guard makes functions without their documentation; the test of safety_docs reads the sources instead.
#![cfg_attr(feature = "pg", allow(clippy::missing_safety_doc))]

pub mod decode;
pub mod encode;
pub mod expr;
pub mod fdw;
pub mod gpu;
pub mod interrupts;
pub mod memory;
pub mod query;
pub mod slot;
pub mod types;
#[cfg(feature = "vcf")]
pub mod vcf;
pub mod wire;

#[cfg(feature = "pg")]
mod api;
#[cfg(feature = "pg")]
mod columnar;
#[cfg(feature = "pg")]
mod export;
#[cfg(feature = "pg")]
mod foreign;
#[cfg(feature = "pg")]
#[cfg_attr(not(feature = "gpu"), allow(dead_code))] // what only the GPU service calls
mod pg;
#[cfg(feature = "pg")]
mod plan;
#[cfg(feature = "pg")]
mod publish;
#[cfg(feature = "pg")]
mod scan;
#[cfg(feature = "pg")]
mod service;

#[cfg(all(any(test, fuzzing), feature = "vcf"))]
pub mod fuzzing;
#[cfg(test)]
mod pure_rooms;
#[cfg(test)]
mod room_imports;
#[cfg(test)]
mod safety_docs;

#[cfg(not(panic = "unwind"))]
compile_error!("PostgreSQL's errors pass through Rust code as panics: build with panic = \"unwind\"");

#[cfg(feature = "pg")]
pgrx::pg_module_magic!(name, version);

/// Runs in every process that loads the library; in a parallel worker that is before it has a
/// transaction, so there is no catalog access here.
#[cfg(feature = "pg")]
#[pgrx::pg_guard]
pub extern "C-unwind" fn _PG_init() {
    pg::error::leave_out_backtraces();
    interrupts::set_check(pg::check_for_interrupts);
    pg::memory::arm();
    pg::xact::register();
    pg::guc::register();
    #[cfg(feature = "gpu")]
    pg::bgworker::register(service::run);
    pg::parallel::set_worker_bodies([export::worker_body, columnar::worker_body]);
    columnar::register();
}
