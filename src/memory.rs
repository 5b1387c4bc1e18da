//! Out of memory. If an allocation of Rust fails, the process ends by SIGABRT, after which the server restarts all
//! sessions. So what grows with data is allocated by `reserve`, which fails cleanly. The rest, above all libraries,
//! is covered by this allocator.
//!
//! If the system has no memory, the allocator frees a reserve that `hold` has taken, and tries again. The next
//! `hold`, which runs at every check for a cancel, finds the reserve gone and raises the error. Only if the reserve
//! is too small for an allocation is the process ended, by the function that was passed to `arm`: an allocator can
//! neither raise nor unwind. The allocator is armed only on the main thread of PostgreSQL's processes; elsewhere
//! failures are those of Rust.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt;
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

/// The size of the reserve. It must cover the allocations between two checks: hash tables, small buffers, and raising
/// an error.
pub const RESERVE: usize = 8 << 20;

struct Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

/// The function that ends the process; NULL while not armed.
static LAST_RESORT: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());
/// The start of the reserve, and of the memory after it that is left for the callbacks when the process ends.
static HELD: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
static LAST: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
const LAST_BYTES: usize = 1 << 20;
/// The size of an allocation that failed; 0 if none has.
static FAILED: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Whether the code that allocates now handles failure.
    static HANDLED: Cell<bool> = const { Cell::new(false) };
}

/// An allocation that failed, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory(pub usize);

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "out of memory on a request of {} bytes", self.0)
    }
}

// SAFETY: all memory comes from the system's allocator, which is only asked once more if it fails.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller fulfils the contract of `alloc`, which is that of the system's allocator.
        found(unsafe { System.alloc(layout) }, layout.size(), || unsafe { System.alloc(layout) })
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller fulfils the contract of `alloc_zeroed`, which is that of the system's allocator.
        found(unsafe { System.alloc_zeroed(layout) }, layout.size(), || unsafe {
            System.alloc_zeroed(layout)
        })
    }

    #[inline]
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: the caller fulfils the contract of `realloc`, which is that of the system's allocator. A block that
        // could not grow is unchanged.
        found(unsafe { System.realloc(memory, layout, bytes) }, bytes, || unsafe {
            System.realloc(memory, layout, bytes)
        })
    }

    #[inline]
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller fulfils the contract of `dealloc`, which is that of the system's allocator.
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

/// The size from which a request comes from a damaged file instead of a lack of memory.
const IMPLAUSIBLE: usize = 1 << 35;

fn note_failure(bytes: usize) {
    if bytes < IMPLAUSIBLE && !LAST_RESORT.load(Ordering::Relaxed).is_null() {
        FAILED.store(bytes.max(1), Ordering::Relaxed);
    }
}

fn on_main_thread() -> bool {
    // SAFETY: both calls only return numbers.
    unsafe { libc::syscall(libc::SYS_gettid) == libc::c_long::from(libc::getpid()) }
}

/// Arms the allocator: `last_resort` ends the process if there is no memory left. Must be called on the main thread.
pub fn arm(last_resort: fn(usize)) {
    // The first access to a thread's variables allocates them, and the C library aborts if it cannot.
    HANDLED.set(false);
    LAST_RESORT.store(last_resort as *mut (), Ordering::Relaxed);
}

/// Disarms the allocator, so that a failed allocation aborts: for a forked process that is not one of the server's.
pub fn disarm() {
    LAST_RESORT.store(ptr::null_mut(), Ordering::Relaxed);
}

#[inline]
pub fn is_held() -> bool {
    !HELD.load(Ordering::Relaxed).is_null()
}

/// Allocates the reserve, which must not be held.
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
    // The failure is over.
    forget_failure();
    Ok(())
}

/// The size of stack that is allocated beforehand: if the stack cannot grow, the process ends by a signal.
const STACK: usize = 256 << 10;
static HAS_STACK: AtomicBool = AtomicBool::new(false);

/// Grows the stack: a large frame touches its pages when it is entered.
#[inline(never)]
fn grow_stack() {
    black_box(&MaybeUninit::<[u8; STACK]>::uninit());
}

/// Frees the reserve.
pub fn release() {
    let start = HELD.swap(ptr::null_mut(), Ordering::Relaxed);
    if start.is_null() {
        give_up(&LAST, LAST_BYTES);
    } else {
        LAST.store(ptr::null_mut(), Ordering::Relaxed);
        unmap(start, RESERVE + LAST_BYTES);
    }
}

/// Frees memory that is held. Returns whether it was held.
fn give_up(held: &AtomicPtr<u8>, bytes: usize) -> bool {
    let start = held.swap(ptr::null_mut(), Ordering::Relaxed);
    unmap(start, bytes);
    !start.is_null()
}

/// Maps new pages. They reserve memory at once, but use it only when they are written to.
fn map(bytes: usize) -> Option<*mut u8> {
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: this creates a new mapping, and changes no other.
    let start = unsafe { libc::mmap(ptr::null_mut(), bytes, access, kind, -1, 0) };
    (start != libc::MAP_FAILED).then_some(start.cast())
}

fn unmap(start: *mut u8, bytes: usize) {
    if !start.is_null() {
        // SAFETY: `map` created this mapping, and nothing refers to it.
        unsafe { libc::munmap(start.cast(), bytes) };
    }
}

/// Checks that so many bytes could be allocated beside the reserve, for steps of libraries that cannot fail cleanly.
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

/// Checks that so many bytes could be allocated, in the reserve or beside it.
pub fn room_for(bytes: usize) -> Result<(), OutOfMemory> {
    if bytes <= RESERVE / 4 && is_held() { Ok(()) } else { headroom(bytes) }
}

/// Reserves room for `more` elements, or returns an error where `Vec` would abort the process.
#[inline]
pub fn reserve<T>(vec: &mut Vec<T>, more: usize) -> Result<(), OutOfMemory> {
    if vec.capacity() - vec.len() >= more { Ok(()) } else { grow(vec, more) }
}

/// Reserves room for exactly `more` elements. The system moves large buffers without copying them, so they need not
/// grow by a factor.
#[inline]
pub fn reserve_exact<T>(vec: &mut Vec<T>, more: usize) -> Result<(), OutOfMemory> {
    match vec.capacity() - vec.len() >= more {
        true => Ok(()),
        false => handled(|| vec.try_reserve_exact(more))
            .map_err(|_| OutOfMemory(more.saturating_mul(size_of::<T>()))),
    }
}

/// Reserves room in a buffer that may be large, which grows by at least a quarter.
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

/// Returns `len` zeros, which use memory only where they are written to.
pub fn zeroed(len: usize) -> Result<Vec<u8>, OutOfMemory> {
    let layout = Layout::array::<u8>(len).map_err(|_| OutOfMemory(len))?;
    if len == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: the layout is not of size zero. The vector gets the memory that the allocator returned for that layout,
    // all of which is initialized to zeros.
    unsafe {
        let memory = handled(|| std::alloc::alloc_zeroed(layout));
        if memory.is_null() { Err(OutOfMemory(len)) } else { Ok(Vec::from_raw_parts(memory, len, len)) }
    }
}

/// Runs `work`, which reports a failed allocation by its result.
pub fn handled<T>(work: impl FnOnce() -> T) -> T {
    let before = HANDLED.replace(true);
    let result = work();
    HANDLED.set(before);
    result
}

/// Forgets a failure.
pub fn forget_failure() {
    FAILED.store(0, Ordering::Relaxed);
}

/// The words by which libraries report a lack of memory: zstd, Rust's standard library and this module, the C
/// library.
const WORDS: [&str; 6] = [
    "not enough memory",
    "out of memory",
    "Cannot allocate memory",
    "zstd returned null pointer",
    "memory allocation failed",
    "Memory error",
];

/// Returns the failed allocation that caused an error, if one did. The error may look like another one: libraries name a
/// lack of memory differently, or report what they could not read as damaged. So the cause is a lack of memory if an
/// allocation has failed, or if there is no memory now.
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
