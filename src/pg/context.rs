//! Memory contexts.

use std::ffi::CStr;

use pgrx::pg_sys;

/// Makes a memory context below the current one.
pub fn context(name: &'static CStr) -> pg_sys::MemoryContext {
    // SAFETY: the parent is the current context, and the name is static.
    unsafe {
        pg_sys::AllocSetContextCreateExtended(
            pg_sys::CurrentMemoryContext,
            name.as_ptr(),
            0,
            64 << 10,
            8 << 20,
        )
    }
}
