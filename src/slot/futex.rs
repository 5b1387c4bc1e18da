//! Waits for a word of shared memory to change, by the kernel's futex, between processes. A wait may end early without a
//! reason.

use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// Waits while `word` is `expected`, at most for `timeout`.
pub fn wait(word: &AtomicU32, expected: u32, timeout: Duration) {
    let time = libc::timespec {
        tv_sec: timeout.as_secs().min(i32::MAX as u64) as libc::time_t,
        tv_nsec: timeout.subsec_nanos() as libc::c_long,
    };
    // SAFETY: the word is aligned and mapped for as long as it is borrowed; the kernel only reads it. Not
    // FUTEX_PRIVATE_FLAG: others wake through mappings of their own.
    unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, expected, &raw const time);
    }
}

/// Wakes all who wait for the word.
pub fn wake(word: &AtomicU32) {
    // SAFETY: the kernel uses the word's address only to find who waits; it reads and writes nothing.
    unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX);
    }
}
