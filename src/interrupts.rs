//! Where long work in the pure rooms can end early. A room that works on a value or a page of any length calls
//! `check` between steps; the server gives its main thread a check that acts on a cancel, and other threads have
//! none. PostgreSQL may only be called by a thread that has one.

use std::cell::Cell;

thread_local! {
    static CHECK: Cell<Option<fn()>> = const { Cell::new(None) };
}

/// Bytes that are copied, compared or hashed between two checks: some milliseconds of a memory's speed.
pub const STEP_BYTES: usize = 16 << 20;

/// Sets the check of this thread. It may unwind.
pub fn set_check(check: fn()) {
    CHECK.set(Some(check));
}

/// Takes the check from this thread, which calls PostgreSQL no more.
pub fn remove_check() {
    CHECK.set(None);
}

#[inline]
pub fn check() {
    if let Some(check) = CHECK.get() {
        check();
    }
}

/// Fails, in tests and debug builds, on a thread that may not call PostgreSQL.
#[inline]
pub fn assert_main_thread() {
    if cfg!(any(debug_assertions, feature = "testing")) {
        assert!(CHECK.get().is_some(), "PostgreSQL is called outside of the main thread of a server process");
    }
}

/// Calls `each` for steps of `bytes`, and the check before every one.
pub fn in_steps(bytes: &[u8], mut each: impl FnMut(&[u8])) {
    for step in bytes.chunks(STEP_BYTES) {
        check();
        each(step);
    }
}

/// Makes `bytes` of a length that it has room for, with zeros.
pub fn extend_to(bytes: &mut Vec<u8>, len: usize) {
    while bytes.len() < len {
        check();
        bytes.resize(len.min(bytes.len() + STEP_BYTES), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_thread_with_a_check_may_call_the_server() {
        let allowed = || std::panic::catch_unwind(assert_main_thread).is_ok();
        let of_new_thread = || std::thread::spawn(allowed).join().unwrap();
        set_check(|| {});
        assert!(allowed() && !of_new_thread());
        remove_check();
        assert!(!allowed());
    }
}
