//! What a lack of memory means to a server's process: an error of the transaction where it can be one, else the end of
//! this process alone. PostgreSQL's own allocations raise their errors by themselves.

use std::any::Any;
use std::ffi::{c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReportable;

use super::error::{Code, Error, Result, lack_of_memory};
use crate::memory;

mod raw {
    use super::{c_char, c_int};

    // utils/elog.h. Not pgrx's bindings, which catch errors on their way and allocate.
    unsafe extern "C" {
        pub fn errstart(level: c_int, domain: *const c_char) -> bool;
        pub fn errcode(code: c_int) -> c_int;
        pub fn errmsg(format: *const c_char, ...) -> c_int;
        pub fn errdetail(format: *const c_char, ...) -> c_int;
        pub fn errhint(format: *const c_char, ...) -> c_int;
        pub fn geterrcode() -> c_int;
        pub fn errfinish(file: *const c_char, line: c_int, function: *const c_char);
    }
}

/// Called from `_PG_init`.
pub fn arm() {
    memory::arm(end_process);
}

/// Ends this process as an administrator's command would: FATAL runs PostgreSQL's callbacks and returns to no frame
/// of Rust, whose destructors therefore do not run. An ERROR would have to unwind, which an allocator must not.
/// A parallel worker's leader gets it as an error. The postmaster itself gets the abort.
fn end_process(bytes: usize) {
    // SAFETY: on the main thread of a process of the server (`memory::missing`); the formats are C strings, and what
    // follows them is what they name. FATAL does not come back.
    unsafe {
        if !pg_sys::IsUnderPostmaster || !raw::errstart(pg_sys::FATAL as c_int, std::ptr::null()) {
            return;
        }
        raw::errcode(Code::ERRCODE_OUT_OF_MEMORY as c_int);
        raw::errmsg(c"out of memory".as_ptr());
        raw::errdetail(c"Failed on request of size %zu.".as_ptr(), bytes);
        raw::errhint(c"Give the server more memory, or run fewer or smaller queries at a time.".as_ptr());
        raw::errfinish(c"memory.rs".as_ptr(), 0, c"end_process".as_ptr());
    }
}

/// Raises an error where the reserve is gone and cannot be had again.
#[inline]
pub fn check() {
    if !memory::is_held() {
        hold();
    }
}

#[cold]
fn hold() {
    let held = memory::hold().map_err(Error::from);
    held.unwrap_or_report();
    // SAFETY: on the main thread, as all that looks for cancels.
    unsafe { watch_errors() };
}

/// PostgreSQL's own errors of memory need memory on their way through Rust: where there is none to copy them, that
/// raises the next, and after some the whole server ends. Called while an error is raised, before it is caught.
unsafe extern "C-unwind" fn at_error(_: *mut c_void) {
    // SAFETY: there is an error.
    if unsafe { raw::geterrcode() } == Code::ERRCODE_OUT_OF_MEMORY as c_int {
        memory::release();
    }
}

/// Puts `at_error` at the bottom of the callbacks, where it can stay: who ends a callback puts those below it back.
unsafe fn watch_errors() {
    static mut CALLBACK: pg_sys::ErrorContextCallback = pg_sys::ErrorContextCallback {
        previous: std::ptr::null_mut(),
        callback: Some(at_error),
        arg: std::ptr::null_mut(),
    };
    // SAFETY: as the caller says; the callbacks are linked, and live until they are taken out.
    unsafe {
        let own = &raw mut CALLBACK;
        let mut place = &raw mut pg_sys::error_context_stack;
        while !(*place).is_null() && *place != own {
            place = &raw mut (**place).previous;
        }
        *place = own;
    }
}

/// The transaction has ended, or is about to be cleaned up after.
pub fn release() {
    memory::release();
    memory::forget_failure();
}

/// Runs what begins with a look at memory. A library's panic for want of it is an error of memory too.
pub fn checked<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    check();
    memory::forget_failure();
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| match disguised(panic.as_ref()) {
        Some(found) => Err(found),
        None => resume_unwind(panic),
    })
}

/// Only what Rust panics with is text; PostgreSQL's errors say themselves what they are.
fn disguised(panic: &(dyn Any + Send)) -> Option<Error> {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    lack_of_memory(text.or_else(|| panic.downcast_ref::<&str>().copied())?)
}
