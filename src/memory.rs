//! Memory that may not be there. A failed allocation of Rust ends the process by SIGABRT, after which the server
//! restarts everybody; so what grows with data asks by `reserve`, which fails cleanly, and the rest, above all
//! the libraries, has this allocator behind it.
//!
//! Where the system has no memory the allocator gives up a reserve that `hold` has taken, and tries again. The next
//! `hold`, which runs at every place where a cancel is looked for, finds the reserve gone and raises the error. Only
//! an allocation that the reserve has no room for ends the process, by the function that `arm` was given: an
//! allocator can neither raise nor unwind. It is armed on the main thread of PostgreSQL's processes alone;
//! elsewhere failures are what they are without it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt;
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

/// Address space for the allocations between two looks: hash tables, small buffers, and an error's way out.
pub const RESERVE: usize = 8 << 20;

struct Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

/// What ends the process; NULL while not armed.
static LAST_RESORT: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());
/// The first bytes of the reserve, and of what an end of the process has for its callbacks, right behind it.
static HELD: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
static LAST: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
const LAST_BYTES: usize = 1 << 20;
/// Bytes of an allocation that failed; 0 when none has.
static FAILED: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Whoever allocates now handles failure.
    static HANDLED: Cell<bool> = const { Cell::new(false) };
}

/// Memory that could not be had, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory(pub usize);

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "out of memory on a request of {} bytes", self.0)
    }
}

// SAFETY: the system's allocator; what it refuses is asked of it once more.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller says.
        found(unsafe { System.alloc(layout) }, layout.size(), || unsafe { System.alloc(layout) })
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller says.
        found(unsafe { System.alloc_zeroed(layout) }, layout.size(), || unsafe {
            System.alloc_zeroed(layout)
        })
    }

    #[inline]
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: as the caller says; what could not grow is as it was.
        found(unsafe { System.realloc(memory, layout, bytes) }, bytes, || unsafe {
            System.realloc(memory, layout, bytes)
        })
    }

    #[inline]
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as the caller says.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[inline]
fn found(memory: *mut u8, bytes: usize, again: impl Fn() -> *mut u8) -> *mut u8 {
    if memory.is_null() { missing(bytes, &again) } else { memory }
}

#[cold]
#[inline(never)]
fn missing(bytes: usize, again: &dyn Fn() -> *mut u8) -> *mut u8 {
    note_failure(bytes);
    let end = LAST_RESORT.load(Ordering::Relaxed);
    if HANDLED.get() || end.is_null() || !on_main_thread() {
        return ptr::null_mut();
    }
    if give_up(&HELD, RESERVE) {
        let memory = again();
        if !memory.is_null() {
            return memory;
        }
    }
    give_up(&LAST, LAST_BYTES);
    // SAFETY: `arm` stored a function of this type.
    let end = unsafe { std::mem::transmute::<*mut (), fn(usize)>(end) };
    end(bytes);
    ptr::null_mut()
}

/// What nobody asks for at once, a damaged file does.
const IMPLAUSIBLE: usize = 1 << 35;

fn note_failure(bytes: usize) {
    if bytes < IMPLAUSIBLE && !LAST_RESORT.load(Ordering::Relaxed).is_null() {
        FAILED.store(bytes.max(1), Ordering::Relaxed);
    }
}

fn on_main_thread() -> bool {
    // SAFETY: plain questions.
    unsafe { libc::syscall(libc::SYS_gettid) == libc::c_long::from(libc::getpid()) }
}

/// From now on `last_resort` ends the process where it has no memory left. Called on the main thread.
pub fn arm(last_resort: fn(usize)) {
    // The first access to a thread's variables allocates them, and the C library aborts where it cannot.
    HANDLED.set(false);
    LAST_RESORT.store(last_resort as *mut (), Ordering::Relaxed);
}

/// A failed allocation aborts again: for a process that is forked and none of the server's.
pub fn disarm() {
    LAST_RESORT.store(ptr::null_mut(), Ordering::Relaxed);
}

#[inline]
pub fn is_held() -> bool {
    !HELD.load(Ordering::Relaxed).is_null()
}

/// Takes the reserve, which is not held.
#[cold]
pub fn hold() -> Result<(), OutOfMemory> {
    if !HAS_STACK.load(Ordering::Relaxed) {
        headroom(RESERVE + LAST_BYTES + STACK)?;
        grow_stack();
        HAS_STACK.store(true, Ordering::Relaxed);
    }
    give_up(&LAST, LAST_BYTES);
    let start = map(RESERVE + LAST_BYTES).ok_or(OutOfMemory(RESERVE + LAST_BYTES))?;
    HELD.store(start, Ordering::Relaxed);
    LAST.store(start.wrapping_add(RESERVE), Ordering::Relaxed);
    // What failed has been got over.
    forget_failure();
    Ok(())
}

/// Of stack, what is had before it is needed: where it cannot grow, the process ends by a signal.
const STACK: usize = 256 << 10;
static HAS_STACK: AtomicBool = AtomicBool::new(false);

/// A frame so large touches its pages when it is entered.
#[inline(never)]
fn grow_stack() {
    black_box(&MaybeUninit::<[u8; STACK]>::uninit());
}

/// Gives the reserve up.
pub fn release() {
    let start = HELD.swap(ptr::null_mut(), Ordering::Relaxed);
    if start.is_null() {
        give_up(&LAST, LAST_BYTES);
    } else {
        LAST.store(ptr::null_mut(), Ordering::Relaxed);
        unmap(start, RESERVE + LAST_BYTES);
    }
}

/// Whether there was what was given up.
fn give_up(held: &AtomicPtr<u8>, bytes: usize) -> bool {
    let start = held.swap(ptr::null_mut(), Ordering::Relaxed);
    unmap(start, bytes);
    !start.is_null()
}

/// New pages that take memory only once they are written to, but room at once.
fn map(bytes: usize) -> Option<*mut u8> {
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping.
    let start = unsafe { libc::mmap(ptr::null_mut(), bytes, access, kind, -1, 0) };
    (start != libc::MAP_FAILED).then_some(start.cast())
}

fn unmap(start: *mut u8, bytes: usize) {
    if !start.is_null() {
        // SAFETY: as `map` made it, and nothing refers to it.
        unsafe { libc::munmap(start.cast(), bytes) };
    }
}

/// Whether so many bytes could be had beside the reserve: for steps of libraries that cannot fail cleanly.
pub fn headroom(bytes: usize) -> Result<(), OutOfMemory> {
    match map(bytes.max(1)) {
        Some(start) => {
            unmap(start, bytes.max(1));
            Ok(())
        }
        None => {
            note_failure(bytes);
            Err(OutOfMemory(bytes))
        }
    }
}

/// As `headroom`, but for what the reserve has room for.
pub fn room_for(bytes: usize) -> Result<(), OutOfMemory> {
    if bytes <= RESERVE / 4 && is_held() { Ok(()) } else { headroom(bytes) }
}

/// Room for `more` elements, or an error where `Vec` would abort the process.
#[inline]
pub fn reserve<T>(vec: &mut Vec<T>, more: usize) -> Result<(), OutOfMemory> {
    if vec.capacity() - vec.len() >= more { Ok(()) } else { grow(vec, more) }
}

/// As `reserve`, but for so many and not for as many again: large buffers are moved by the system, not copied.
#[inline]
pub fn reserve_exact<T>(vec: &mut Vec<T>, more: usize) -> Result<(), OutOfMemory> {
    match vec.capacity() - vec.len() >= more {
        true => Ok(()),
        false => handled(|| vec.try_reserve_exact(more))
            .map_err(|_| OutOfMemory(more.saturating_mul(size_of::<T>()))),
    }
}

/// As `reserve`, for buffers that may be large: it grows by a quarter, and the system moves them without a copy.
pub fn reserve_by_quarter(out: &mut Vec<u8>, more: usize) -> Result<(), OutOfMemory> {
    match out.capacity() - out.len() >= more {
        true => Ok(()),
        false => reserve_exact(out, more.max(out.len() / 4)),
    }
}

#[cold]
fn grow<T>(vec: &mut Vec<T>, more: usize) -> Result<(), OutOfMemory> {
    handled(|| vec.try_reserve(more)).map_err(|_| OutOfMemory(more.saturating_mul(size_of::<T>())))
}

pub fn copy(bytes: &[u8]) -> Result<Vec<u8>, OutOfMemory> {
    let mut copied = Vec::new();
    reserve(&mut copied, bytes.len())?;
    copied.extend_from_slice(bytes);
    Ok(copied)
}

/// So many zeros, which take memory only where they are written to.
pub fn zeroed(len: usize) -> Result<Vec<u8>, OutOfMemory> {
    let layout = Layout::array::<u8>(len).map_err(|_| OutOfMemory(len))?;
    if len == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: the layout has a size; the vector is of the memory that the allocator gave for it, all of it zeros.
    unsafe {
        let memory = handled(|| std::alloc::alloc_zeroed(layout));
        if memory.is_null() { Err(OutOfMemory(len)) } else { Ok(Vec::from_raw_parts(memory, len, len)) }
    }
}

/// Runs what tells of a failed allocation by its result.
pub fn handled<T>(work: impl FnOnce() -> T) -> T {
    let before = HANDLED.replace(true);
    let result = work();
    HANDLED.set(before);
    result
}

/// Forgets what failed.
pub fn forget_failure() {
    FAILED.store(0, Ordering::Relaxed);
}

/// How libraries say that they had no memory: zstd, Rust's standard library and this module, the C library.
const WORDS: [&str; 6] = [
    "not enough memory",
    "out of memory",
    "Cannot allocate memory",
    "zstd returned null pointer",
    "memory allocation failed",
    "Memory error",
];

/// Whether an error that looks like another is one of memory: libraries name it as they like, or take what they could
/// not read for damaged. An allocation has failed, or there is no memory now.
pub fn to_blame(what: &str) -> Option<OutOfMemory> {
    match FAILED.swap(0, Ordering::Relaxed) {
        0 if WORDS.iter().any(|words| what.contains(words)) => Some(OutOfMemory(0)),
        0 => headroom(RESERVE).err(),
        bytes => Some(OutOfMemory(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_had_is_an_error() {
        const NOBODY_HAS: usize = 1 << 46;
        assert_eq!(headroom(NOBODY_HAS), Err(OutOfMemory(NOBODY_HAS)));
        assert_eq!(zeroed(NOBODY_HAS), Err(OutOfMemory(NOBODY_HAS)));
        let mut words = vec![7_u64];
        assert_eq!(reserve(&mut words, NOBODY_HAS / 8), Err(OutOfMemory(NOBODY_HAS)));
        assert_eq!(reserve(&mut words, usize::MAX), Err(OutOfMemory(usize::MAX)));
        assert_eq!(words, [7]);
    }

    #[test]
    fn what_can_be_had_is() {
        assert_eq!(headroom(1 << 20), Ok(()));
        assert_eq!(zeroed(1 << 20).unwrap(), vec![0; 1 << 20]);
        assert_eq!(copy(b"abc").unwrap(), b"abc");
        let mut words = vec![7_u64];
        reserve(&mut words, 1000).unwrap();
        assert!(words.capacity() > 1000 && words == [7]);
        assert_eq!(hold(), Ok(()));
        assert!(give_up(&HELD, RESERVE) && !give_up(&HELD, RESERVE) && !is_held());
        assert_eq!(hold(), Ok(()));
        release();
        assert!(!is_held() && !give_up(&LAST, LAST_BYTES));
    }

    #[test]
    fn errors_of_memory_are_known_by_their_words() {
        for words in [
            "External error: Allocation error : not enough memory",
            "read: Cannot allocate memory (os error 12)",
        ] {
            assert_eq!(to_blame(words), Some(OutOfMemory(0)), "{words}");
        }
        assert_eq!(to_blame("a page ends before its values"), None);
    }
}
