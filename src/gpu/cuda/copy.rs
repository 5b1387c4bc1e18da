//! Copies of values between the host and a device.

use cudarc::driver::sys::{cuMemcpyDtoH_v2, cuMemcpyHtoDAsync_v2};
use cudarc::driver::{CudaStream, DriverError};

/// Copies values to the device, in the stream's order.
///
/// # Safety
///
/// There is room for the values at `to`, and nothing else uses it until the stream has copied them.
pub unsafe fn put<T: Copy>(to: u64, values: &[T], stream: &CudaStream) -> Result<(), DriverError> {
    if values.is_empty() {
        return Ok(());
    }
    // SAFETY: the driver reads `values` before the call returns, since they are not pinned; the caller gives the room
    // at `to`.
    unsafe { cuMemcpyHtoDAsync_v2(to, values.as_ptr().cast(), size_of_val(values), stream.cu_stream()) }
        .result()
}

/// Copies values from the device.
///
/// # Safety
///
/// As many values lie at `from`, no kernel writes there, and any bytes make a `T`.
pub unsafe fn take<T: Copy + Default>(from: u64, count: usize) -> Result<Vec<T>, DriverError> {
    let mut values = vec![T::default(); count];
    if count > 0 {
        // SAFETY: `values` has room for them; the caller says that they lie at `from`.
        unsafe { cuMemcpyDtoH_v2(values.as_mut_ptr().cast(), from, size_of_val(&values[..])) }.result()?;
    }
    Ok(values)
}
