//! Where long work in the pure rooms can end early. A room that works on a value or a page of any length calls
//! `check` between steps; the server gives its main thread a check that acts on a cancel, and other threads have
//! none.

use std::cell::Cell;

thread_local! {
    static CHECK: Cell<fn()> = const { Cell::new(|| {}) };
}

/// Bytes that are copied, compared or hashed between two checks: some milliseconds of a memory's speed.
pub const STEP_BYTES: usize = 16 << 20;

/// The check of this thread from now on. It may unwind.
pub fn set_check(check: fn()) {
    CHECK.set(check);
}

#[inline]
pub fn check() {
    (CHECK.get())();
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
