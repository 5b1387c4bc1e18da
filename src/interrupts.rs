//! Points at which long work can be interrupted. Code that works on a value or a page of any length calls `check`
//! between steps. The server sets its main thread's check to one that acts on a cancel; other threads have none.

use std::cell::Cell;

thread_local! {
    static CHECK: Cell<Option<fn()>> = const { Cell::new(None) };
}

/// Bytes that are copied, compared or hashed between two checks: they take some milliseconds.
pub const STEP_BYTES: usize = 16 << 20;

/// Sets the check of this thread. It may unwind.
pub fn set_check(check: fn()) {
    CHECK.set(Some(check));
}

/// Takes the check from this thread, which calls PostgreSQL no more.
pub fn remove_check() {
    CHECK.set(None);
}

/// Runs this thread's check.
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

/// Splits `bytes` into steps of `size` bytes, and runs the check before each.
pub fn steps(bytes: &[u8], size: usize) -> impl Iterator<Item = &[u8]> {
    bytes.chunks(size).inspect(|_| check())
}

/// Calls `each` for steps of `bytes`, and the check before each.
pub fn in_steps(bytes: &[u8], each: impl FnMut(&[u8])) {
    steps(bytes, STEP_BYTES).for_each(each);
}

/// Calls `each` for steps of `bytes` that end where characters do, and the check before each. Returns whether `bytes` is
/// UTF-8; if not, `each` may have been called for its beginning.
pub fn in_text_steps(bytes: &[u8], mut each: impl FnMut(&str)) -> bool {
    const LONGEST_CHARACTER: usize = 4;
    let mut at = 0;
    while at < bytes.len() {
        check();
        let end = bytes.len().min(at + STEP_BYTES);
        let text = match std::str::from_utf8(&bytes[at..end]) {
            Ok(text) => text,
            Err(fault) => std::str::from_utf8(&bytes[at..at + fault.valid_up_to()]).unwrap_or_default(),
        };
        let left = end - at - text.len();
        // The step may end inside a character, with which the next one begins.
        if left > 0 && (end == bytes.len() || left >= LONGEST_CHARACTER) {
            return false;
        }
        each(text);
        at += text.len();
    }
    true
}

/// Copies bytes in steps.
///
/// # Safety
/// There is room for them at `to`, which is no part of them.
#[inline]
pub unsafe fn copy(bytes: &[u8], to: *mut u8) {
    // SAFETY: the caller's.
    let each = |at: usize, step: &[u8]| unsafe {
        to.add(at).copy_from_nonoverlapping(step.as_ptr(), step.len());
    };
    if bytes.len() <= STEP_BYTES {
        return each(0, bytes);
    }
    let mut at = 0;
    in_steps(bytes, |step| {
        each(at, step);
        at += step.len();
    });
}

/// Returns whether `bytes` has a byte, which is looked for in steps.
#[inline]
pub fn contains(bytes: &[u8], byte: u8) -> bool {
    match bytes.len() {
        ..=STEP_BYTES => bytes.contains(&byte),
        _ => steps(bytes, STEP_BYTES).any(|step| step.contains(&byte)),
    }
}

/// Appends zeros until `bytes`, which has the capacity, is `len` long.
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

    #[test]
    fn text_is_looked_at_in_whole_characters() {
        for before in 0..4 {
            let text = "x".repeat(before) + &"é€😀".repeat(STEP_BYTES / 4);
            let mut seen = String::new();
            assert!(in_text_steps(text.as_bytes(), |step| seen.push_str(step)));
            assert!(seen == text);
            assert!(!in_text_steps(&text.as_bytes()[..text.len() - 1], |_| ()));
        }
        for (at, byte) in [(0, 0xff), (STEP_BYTES - 1, 0xff), (STEP_BYTES, 0x80), (STEP_BYTES + 9, 0xe2)] {
            let mut bytes = vec![b'a'; STEP_BYTES + 10];
            bytes[at] = byte;
            assert!(!in_text_steps(&bytes, |_| ()), "{at}");
        }
        assert!(in_text_steps(b"", |_| panic!("no step")));
    }
}

/// Counts checks, and the time between them.
#[cfg(test)]
pub mod counted {
    use std::cell::Cell;

    thread_local! {
        static CHECKS: Cell<usize> = const { Cell::new(0) };
        static LAST: Cell<u64> = const { Cell::new(0) };
        static LONGEST: Cell<u64> = const { Cell::new(0) };
    }

    fn count() {
        CHECKS.set(CHECKS.get() + 1);
        let now = micros();
        LONGEST.set(LONGEST.get().max(now - LAST.replace(now)));
    }

    /// Microseconds that this thread has worked, which other processes on the machine do not change.
    pub fn micros() -> u64 {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the call writes the time to a local variable.
        unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
        time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000
    }

    /// Runs `work`; returns the number of checks, and the longest time without one in microseconds.
    pub fn during(work: impl FnOnce()) -> (usize, u64) {
        super::set_check(count);
        CHECKS.set(0);
        LONGEST.set(0);
        LAST.set(micros());
        work();
        let checks = CHECKS.get();
        count();
        (checks, LONGEST.get())
    }
}
