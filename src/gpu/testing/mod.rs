//! Devices, inputs and measurements for tests and the device check. A library that is shipped has none of this: it is
//! compiled for tests and with the feature `testing`.

pub mod bench;
pub mod fake;
mod fake_query;
#[cfg(test)]
mod host_compress_tests;
#[cfg(test)]
mod host_encode;
#[cfg(test)]
mod host_encode_tests;
#[cfg(test)]
mod host_kernels_tests;
#[cfg(test)]
mod host_program;
#[cfg(test)]
mod host_query_tests;
#[cfg(test)]
mod host_query_tests_plans;
pub mod reference;
pub mod specimens;

use super::cuda::nvrtc::Unit;

/// What a test has CUDA devices do.
#[derive(Clone, Debug, Default)]
pub struct TestOptions {
    /// A kernel fails with the slot of this number, counted from 0.
    pub fault_after: Option<u64>,
    /// The device is asked for more memory than it has.
    pub exhaust_memory: bool,
    /// Every buffer is an allocation of its own, so that a sanitizer sees an access outside it.
    pub scatter_memory: bool,
}

/// A kernel that writes to an illegal address.
pub static FAULT: Unit = Unit { name: "fault.cu", source: include_str!("fault.cu"), headers: &[] };
