//! One export: the leader plans, samples, runs passes with its workers, and publishes.
//!
//! A pass reads every chunk once. A value that needs a wider shape than the pass assumed ends it, and another
//! pass begins with the wider shapes; shapes only widen, so this ends. A value that only text can hold also
//! ends it while its column may still become text: all the data are then surveyed first.

mod dump;
mod encode_plan;
mod encoded;
mod footers;
mod group_builder;
mod leader;
mod measure;
mod message;
mod pass;
mod passes;
mod placement;
mod prepare;
mod request;
mod sample;
mod shared;
mod sink;
mod survey;
#[cfg_attr(not(feature = "vcf"), path = "without_vcf.rs")]
mod vcf;

pub use dump::dump;
pub use leader::export;
pub use measure::measure;
pub use pass::worker_body;
pub use request::{DeviceChoice, Request, Subject};
pub use vcf::import_vcf;
