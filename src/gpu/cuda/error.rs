//! The engine's view of CUDA's errors.

use cudarc::driver::DriverError;
use cudarc::driver::sys::CUresult;

use crate::gpu::Fault;

/// Returns the fault of a GPU, with what was being done.
pub fn fault(ordinal: u32, doing: &str, error: DriverError) -> Fault {
    Fault { message: format!("GPU {ordinal}: {}", message(doing, error)), sticky: is_sticky(error) }
}

/// Returns the error's message, with the driver's text for its code.
pub fn message(doing: &str, error: DriverError) -> String {
    let text = error.error_string().ok().and_then(|text| text.to_str().ok()).unwrap_or("unknown");
    format!("CUDA cannot {doing}: {text} ({:?})", error.0)
}

/// Returns the fault of a wrong input or result, after which the device still works.
pub fn refused(message: String) -> Fault {
    Fault { message, sticky: false }
}

/// Whether the device is lost: the driver's manual says of the error that "the context cannot be used" or that the
/// process is in an inconsistent state, or the device or the context is gone.
pub fn is_sticky(error: DriverError) -> bool {
    use CUresult::*;
    matches!(
        error.0,
        CUDA_ERROR_DEINITIALIZED
            | CUDA_ERROR_NOT_INITIALIZED
            | CUDA_ERROR_DEVICE_UNAVAILABLE
            | CUDA_ERROR_NO_DEVICE
            | CUDA_ERROR_INVALID_CONTEXT
            | CUDA_ERROR_MAP_FAILED
            | CUDA_ERROR_UNMAP_FAILED
            | CUDA_ERROR_ECC_UNCORRECTABLE
            | CUDA_ERROR_NVLINK_UNCORRECTABLE
            | CUDA_ERROR_CONTAINED
            | CUDA_ERROR_ILLEGAL_ADDRESS
            | CUDA_ERROR_LAUNCH_TIMEOUT
            | CUDA_ERROR_CONTEXT_IS_DESTROYED
            | CUDA_ERROR_ASSERT
            | CUDA_ERROR_HARDWARE_STACK_ERROR
            | CUDA_ERROR_ILLEGAL_INSTRUCTION
            | CUDA_ERROR_MISALIGNED_ADDRESS
            | CUDA_ERROR_INVALID_ADDRESS_SPACE
            | CUDA_ERROR_INVALID_PC
            | CUDA_ERROR_LAUNCH_FAILED
            | CUDA_ERROR_TENSOR_MEMORY_LEAK
            | CUDA_ERROR_SYSTEM_NOT_READY
            | CUDA_ERROR_EXTERNAL_DEVICE
            | CUDA_ERROR_UNKNOWN
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_device_is_told_from_a_full_one() {
        let sticky = |code| is_sticky(DriverError(code));
        assert!(sticky(CUresult::CUDA_ERROR_ILLEGAL_ADDRESS));
        assert!(sticky(CUresult::CUDA_ERROR_ECC_UNCORRECTABLE));
        assert!(!sticky(CUresult::CUDA_ERROR_OUT_OF_MEMORY));
        assert!(!sticky(CUresult::CUDA_ERROR_INVALID_VALUE));
    }
}
