//! Points at which long work can be interrupted. Code that works on a value or a page of any length calls `check`
//! between steps. The server sets its main thread's check to one that acts on a cancel; other threads have none.

use std::cell::Cell;

thread_local! {
    static CHECK: Cell<fn()> = const { Cell::new(|| {}) };
}

/// Bytes that are copied, compared or hashed between two checks: they take some milliseconds.
pub const STEP_BYTES: usize = 16 << 20;

/// Sets the check of this thread. It may unwind.
pub fn set_check(check: fn()) {
    CHECK.set(check);
}

/// Runs this thread's check.
#[inline]
pub fn check() {
    (CHECK.get())();
}

/// Splits `bytes` into steps of `size` bytes, and runs the check before each.
pub fn steps(bytes: &[u8], size: usize) -> impl Iterator<Item = &[u8]> {
    bytes.chunks(size).inspect(|_| check())
}

/// Calls `each` for steps of `bytes`, and the check before each.
pub fn in_steps(bytes: &[u8], each: impl FnMut(&[u8])) {
    steps(bytes, STEP_BYTES).for_each(each);
}

/// Appends zeros until `bytes`, which has the capacity, is `len` long.
pub fn extend_to(bytes: &mut Vec<u8>, len: usize) {
    while bytes.len() < len {
        check();
        bytes.resize(len.min(bytes.len() + STEP_BYTES), 0);
    }
}
