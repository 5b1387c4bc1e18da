//! How long kernels take on data that lies on the device already, for the device check.

pub mod compress;
mod decode;
mod device;
pub mod encode;
mod times;

pub use times::Times;
