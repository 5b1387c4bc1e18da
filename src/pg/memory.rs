//! Handles a lack of memory in a server's process: it becomes an error of the transaction if it can, and
//! otherwise ends this process alone. PostgreSQL's own allocations raise their errors by themselves.

use std::any::Any;
use std::ffi::{c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReportable;

use super::error::{Code, Error, Result, lack_of_memory};
use crate::memory;

mod raw {
    use super::{c_char, c_int};

    // utils/elog.h. pgrx's bindings are not used, as they catch errors on their way and allocate.
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

/// Installs the handler. Called from `_PG_init`.
pub fn arm() {
    memory::arm(end_process);
}

/// Ends this process as an administrator's command would. FATAL runs PostgreSQL's callbacks and returns to no
/// Rust frame, so no destructor runs; an ERROR would have to unwind, which an allocator must not. A parallel
/// worker's leader gets the error. In the postmaster it returns, and the process aborts.
fn end_process(bytes: usize) {
    // SAFETY: on the main thread of a process of the server (`memory::missing`); the formats are C strings, and
    // their arguments are of the types that they name. FATAL does not return.
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

/// Raises an error if the reserve was used and cannot be allocated again.
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
    // SAFETY: this runs on the main thread, as every check for a cancel does.
    unsafe { watch_errors() };
}

/// Releases the reserve for PostgreSQL's own out-of-memory errors, which need memory on their way through Rust.
/// With no memory to copy them, the next one is raised, and after a few the whole server ends. PostgreSQL calls
/// this while an error is raised, before it is caught.
///
/// # Safety
/// Called by PostgreSQL as an error context callback.
unsafe extern "C-unwind" fn at_error(_: *mut c_void) {
    // SAFETY: an error is being raised.
    if unsafe { raw::geterrcode() } == Code::ERRCODE_OUT_OF_MEMORY as c_int {
        memory::release();
    }
}

/// Puts `at_error` at the bottom of the error context stack, where it can stay: whoever pops a callback
/// restores those below it.
///
/// # Safety
/// Called on the main thread.
unsafe fn watch_errors() {
    static mut CALLBACK: pg_sys::ErrorContextCallback = pg_sys::ErrorContextCallback {
        previous: std::ptr::null_mut(),
        callback: Some(at_error),
        arg: std::ptr::null_mut(),
    };
    // SAFETY: only the main thread uses the stack; its callbacks are linked and live until they are popped.
    unsafe {
        let own = &raw mut CALLBACK;
        let mut place = &raw mut pg_sys::error_context_stack;
        while !(*place).is_null() && *place != own {
            place = &raw mut (**place).previous;
        }
        *place = own;
    }
}

/// Releases the reserve: the transaction has ended, or is about to be cleaned up.
pub fn release() {
    memory::release();
    memory::forget_failure();
}

/// Runs work after a check for memory. A library's panic about a lack of memory becomes that error too.
pub fn checked<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    check();
    memory::forget_failure();
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| match disguised(panic.as_ref()) {
        Some(found) => Err(found),
        None => resume_unwind(panic),
    })
}

/// Returns the out-of-memory error that a panic is about. Only Rust panics with a text; PostgreSQL's errors
/// have their code.
fn disguised(panic: &(dyn Any + Send)) -> Option<Error> {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    lack_of_memory(text.or_else(|| panic.downcast_ref::<&str>().copied())?)
}
