//! Memory that processes share: a memfd of a fixed size, allocated whole when it is made, and mapped by others through its
//! maker's descriptor.
//!
//! Runs in the GPU service, which makes it, and in every process that attaches.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::ptr::NonNull;

/// Seals of a memfd that nobody can shrink or grow: access to a mapping of it never ends in SIGBUS.
const SEALS: i32 = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;

/// A shared mapping, unmapped when this is dropped.
#[derive(Debug)]
pub(super) struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: an address range of the process; slot/control.rs says who may access what lies there.
unsafe impl Send for Mapping {}
// SAFETY: an address range of the process; slot/control.rs says who may access what lies there.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(descriptor: &OwnedFd, bytes: usize) -> Result<Mapping, String> {
        // SAFETY: a new mapping of a descriptor that is open; no memory of ours is replaced.
        let start = unsafe {
            let access = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(std::ptr::null_mut(), bytes, access, libc::MAP_SHARED, descriptor.as_raw_fd(), 0)
        };
        match NonNull::new(start.cast::<u8>()).filter(|_| start != libc::MAP_FAILED) {
            Some(start) => Ok(Mapping { start, bytes }),
            None => Err(failed("map", bytes)),
        }
    }

    pub(super) fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    pub(super) fn len(&self) -> usize {
        self.bytes
    }

    /// Enters a range's pages into this process's page tables, for a tenth of a fault each. Kernels before 5.14 cannot, and
    /// the pages fault later.
    pub(super) fn populate(&self, range: *mut [u8]) {
        // SAFETY: page tables are all that changes.
        unsafe { libc::madvise(range.cast(), range.len(), libc::MADV_POPULATE_WRITE) };
    }

    /// Returns the NUMA node of the page at `at`, if it is known.
    pub(super) fn node(&self, at: usize) -> Option<u32> {
        const MPOL_F_NODE_AND_ADDR: libc::c_ulong = 1 | 2;
        let mut node: libc::c_int = -1;
        // SAFETY: the kernel writes one integer, and looks an address up that lies in the mapping or fails.
        let failed = unsafe {
            let address = self.start().wrapping_add(at.min(self.bytes - 1));
            libc::syscall(libc::SYS_get_mempolicy, &raw mut node, 0, 0, address, MPOL_F_NODE_AND_ADDR)
        };
        if failed == 0 { u32::try_from(node).ok() } else { None }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and borrowed by nobody any more.
        unsafe { libc::munmap(self.start().cast(), self.bytes) };
    }
}

fn failed(what: &str, bytes: usize) -> String {
    format!("could not {what} {} MB: {}", bytes >> 20, io::Error::last_os_error())
}

/// Makes and maps zeroed memory. All of it is allocated now, so that a lack of memory does not show during an export.
pub(super) fn create(bytes: usize) -> Result<(OwnedFd, Mapping), String> {
    // An allocation of memory that is not there would make the kernel kill processes.
    if let Some(room) = available().filter(|room| bytes as u64 > room - room / 8) {
        return Err(format!("{} MB of memory are available for {} MB", room >> 20, bytes >> 20));
    }
    let size = libc::off_t::try_from(bytes).map_err(|_| format!("{bytes} bytes"))?;
    // SAFETY: system calls on a new descriptor, which is then owned here alone.
    let descriptor = unsafe {
        let made = libc::memfd_create(c"pg_strata".as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING);
        if made < 0 {
            return Err(failed("make a file of", bytes));
        }
        let descriptor = OwnedFd::from_raw_fd(made);
        if libc::fallocate(made, 0, 0, size) != 0 {
            return Err(failed("take", bytes));
        }
        if libc::fcntl(made, libc::F_ADD_SEALS, SEALS) != 0 {
            return Err(failed("seal", bytes));
        }
        descriptor
    };
    let mapping = Mapping::new(&descriptor, bytes)?;
    Ok((descriptor, mapping))
}

/// Maps memory that another process made.
pub(super) fn attach(pid: i32, descriptor: i32) -> Result<Mapping, String> {
    let path = format!("/proc/{pid}/fd/{descriptor}");
    let open = fs::OpenOptions::new().read(true).write(true).open(&path);
    let descriptor = OwnedFd::from(open.map_err(|error| format!("could not open {path}: {error}"))?);
    // SAFETY: a question about a descriptor that is open; files that are no memfd refuse it.
    let seals = unsafe { libc::fcntl(descriptor.as_raw_fd(), libc::F_GET_SEALS) };
    if seals < 0 || seals & SEALS != SEALS {
        return Err(format!("{path} is not a pool"));
    }
    let bytes = fs::File::from(descriptor.try_clone().map_err(|error| error.to_string())?)
        .metadata()
        .map_err(|error| format!("{path}: {error}"))?
        .len();
    Mapping::new(&descriptor, usize::try_from(bytes).map_err(|_| format!("{path}: {bytes} bytes"))?)
}

/// Returns the bytes of memory that are available without swapping and within control groups' limits, if known.
fn available() -> Option<u64> {
    let system = number_after(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")? << 10;
    Some(group_room().map_or(system, |room| room.min(system)))
}

/// Returns the bytes that the process's control groups leave (version 2 only).
fn group_room() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let root = Path::new("/sys/fs/cgroup");
    let mut least = None;
    for group in root.join(own).ancestors().take_while(|group| group.starts_with(root)) {
        let read = |file: &str| fs::read_to_string(group.join(file)).ok();
        let Some(limit) = read("memory.max").and_then(|text| text.trim().parse::<u64>().ok()) else {
            continue;
        };
        let used = read("memory.current").and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        let stat = read("memory.stat").unwrap_or_default();
        // The page cache counts as used, but the kernel gives it up when memory is needed.
        let cache = ["inactive_file", "active_file"].map(|name| number_after(&stat, name).unwrap_or(0));
        let room = limit.saturating_sub(u64::saturating_sub(used, cache.iter().sum()));
        least = Some(least.map_or(room, |least: u64| least.min(room)));
    }
    least
}

fn number_after(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name).filter(|rest| rest.starts_with(' ')))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_shared_zeroed_and_sealed() {
        let (descriptor, mapping) = create(3 << 12).unwrap();
        let other = attach(std::process::id() as i32, descriptor.as_raw_fd()).unwrap();
        assert_eq!((mapping.len(), other.len()), (3 << 12, 3 << 12));
        assert_ne!(mapping.start(), other.start());
        // SAFETY: mapped, and borrowed by nobody.
        unsafe {
            assert_eq!(other.start().add(5000).read_volatile(), 0);
            mapping.start().add(5000).write_volatile(7);
            assert_eq!(other.start().add(5000).read_volatile(), 7);
            assert_ne!(libc::ftruncate(descriptor.as_raw_fd(), 0), 0, "sealed");
        }
    }

    #[test]
    fn what_is_not_there_is_refused() {
        assert!(create(1 << 50).unwrap_err().contains("available"));
        assert!(attach(std::process::id() as i32, 9999).is_err());
        let file = fs::File::open("/proc/self/exe").unwrap();
        assert!(attach(std::process::id() as i32, file.as_raw_fd()).is_err(), "not a memfd");
        assert!(available().unwrap() > 1 << 20);
        assert_eq!(number_after("a 1\nab 2 kB\n", "ab"), Some(2));
        assert_eq!(number_after("abc 1\n", "ab"), None);
    }
}
