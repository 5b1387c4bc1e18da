//! Pinned host memory, which devices copy from and to at the bus's full rate: the pool, and small buffers.

use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;

use cudarc::driver::sys::{cuMemHostRegister_v2, cuMemHostUnregister};
use cudarc::driver::{CudaContext, DriverError, result};

/// `CU_MEMHOSTREGISTER_PORTABLE`: memory is registered once for the contexts of all devices.
const PORTABLE: u32 = 1;

/// The address range of the pool's mapping.
#[derive(Clone, Copy, Debug)]
pub struct Pool {
    pub start: *const u8,
    pub bytes: usize,
}

// SAFETY: an address range that nothing here dereferences.
unsafe impl Send for Pool {}
// SAFETY: an address range that nothing here dereferences.
unsafe impl Sync for Pool {}

/// The pool's mapping, registered with CUDA until this is dropped.
pub struct Registered {
    context: Arc<CudaContext>,
    pool: Pool,
}

impl Registered {
    /// Registers the pool.
    ///
    /// # Safety
    ///
    /// The pool is mapped readable and writable, starts at a page, and stays mapped while the value lives.
    pub unsafe fn new(context: &Arc<CudaContext>, pool: Pool) -> Result<Registered, DriverError> {
        context.bind_to_thread()?;
        // SAFETY: the caller says that the range is mapped; pinning it changes none of its bytes.
        unsafe { cuMemHostRegister_v2(pool.start as *mut _, pool.bytes, PORTABLE) }.result()?;
        Ok(Registered { context: context.clone(), pool })
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        if self.context.bind_to_thread().is_ok() {
            // SAFETY: registered by `new`, and no copy is under way: the devices, which hold this value,
            // synchronize when they are dropped.
            let _ = unsafe { cuMemHostUnregister(self.pool.start as *mut _) }.result();
        }
    }
}

/// A buffer that CUDA allocates. It is cached, not write-combined, since the host reads it.
pub struct Pinned {
    context: Arc<CudaContext>,
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: owned memory.
unsafe impl Send for Pinned {}
// SAFETY: shared references only read it, or hand out its address.
unsafe impl Sync for Pinned {}

impl Pinned {
    pub fn new(context: &Arc<CudaContext>, bytes: usize) -> Result<Pinned, DriverError> {
        context.bind_to_thread()?;
        // SAFETY: a context is current.
        let start = unsafe { result::malloc_host(bytes, 0) }?.cast::<u8>();
        let start = NonNull::new(start)
            .ok_or(DriverError(cudarc::driver::sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY))?;
        // SAFETY: as many bytes were allocated; zeroed so that a slice of them is initialised.
        unsafe { start.as_ptr().write_bytes(0, bytes) };
        Ok(Pinned { context: context.clone(), start, bytes })
    }

    pub fn address(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// Returns what has been copied to the buffer.
    ///
    /// # Safety
    ///
    /// No copy to the buffer is under way.
    pub unsafe fn get(&self) -> &[u8] {
        // SAFETY: `new` has initialised the bytes, and the caller says that no copy writes them.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if self.context.bind_to_thread().is_ok() {
            // SAFETY: allocated by `new`, freed once; the device is synchronized before its buffers go.
            let _ = unsafe { result::free_host(self.start.as_ptr().cast()) };
        }
    }
}
