//! What a collation says of texts' bytes.

use pgrx::pg_sys::{self, Oid};

/// Returns whether texts are equal that have the same bytes, and no others.
pub fn is_deterministic(collation: Oid) -> bool {
    // SAFETY: a syscache look-up of a collation that the query uses.
    collation != pg_sys::InvalidOid && unsafe { pg_sys::get_collation_isdeterministic(collation) }
}

/// Returns whether a collation orders texts by their bytes.
pub fn orders_by_bytes(collation: Oid) -> bool {
    // SAFETY: a cache look-up of a collation that a query uses.
    collation != pg_sys::InvalidOid && unsafe { is_c(collation) }
}

/// # Safety
/// The collation exists; the caller is on the main thread.
#[cfg(feature = "pg18")]
#[allow(ffi_unwind_calls, reason = "pg_guard_ffi_boundary catches errors")]
unsafe fn is_c(collation: Oid) -> bool {
    /// The beginning of utils/pg_locale.h's pg_locale_struct.
    #[repr(C)]
    struct Locale {
        provider: std::ffi::c_char,
        deterministic: bool,
        collate_is_c: bool,
    }
    unsafe extern "C-unwind" {
        fn pg_newlocale_from_collation(collation: Oid) -> *const Locale;
    }
    // SAFETY: the closure holds nothing with a destructor; the locale is cached for the session.
    unsafe { (*pg_sys::ffi::pg_guard_ffi_boundary(|| pg_newlocale_from_collation(collation))).collate_is_c }
}

/// # Safety
/// The collation exists; the caller is on the main thread.
#[cfg(not(feature = "pg18"))]
#[allow(ffi_unwind_calls, reason = "pg_guard_ffi_boundary catches errors")]
unsafe fn is_c(collation: Oid) -> bool {
    unsafe extern "C-unwind" {
        fn lc_collate_is_c(collation: Oid) -> bool;
    }
    // SAFETY: the closure holds nothing with a destructor.
    unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| lc_collate_is_c(collation)) }
}
