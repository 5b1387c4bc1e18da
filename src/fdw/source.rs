//! An open file, read at offsets.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::{Problem, ReadError, Result};
use crate::interrupts;
use crate::memory;

/// The identity of a file. A file that was replaced or written to has another one: a writer may reset the time
/// of modification, but not that of the inode's change.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileId {
    pub path: String,
    pub size: u64,
    device: u64,
    inode: u64,
    modified: Time,
    changed: Time,
}

/// Seconds and nanoseconds.
type Time = (i64, i64);

/// Bytes that are read, unpacked or checked between two checks for a cancel.
pub const STEP: usize = 1 << 20;

#[derive(Clone, Debug)]
pub struct Source {
    id: Arc<FileId>,
    file: Arc<File>,
    /// Links to the file when it was opened.
    links: u64,
    read: Arc<AtomicU64>,
    /// The system's error after a read has failed, 0 before: the decoders hand on only its message.
    failed: Arc<AtomicI32>,
}

impl Source {
    pub fn open(path: &str) -> Result<Source> {
        // The check precedes the open: opening a pipe would wait for its other end.
        let found = fs::metadata(path).map_err(|cause| io_error(path, "open file", cause))?;
        if !found.is_file() {
            return Err(ReadError::new(path, Problem::NotAFile));
        }
        let file = File::open(path).map_err(|cause| io_error(path, "open file", cause))?;
        let status = settled(path, &file)?;
        let id = Arc::new(FileId::new(path, &status));
        Ok(Source {
            id,
            file: Arc::new(file),
            links: status.nlink(),
            read: Arc::default(),
            failed: Arc::default(),
        })
    }

    /// Opens the file of this identity, and no other.
    pub fn reopen(id: &FileId) -> Result<Source> {
        let source = Source::open(&id.path)?;
        match *source.id == *id {
            true => Ok(source),
            false => Err(ReadError::new(&id.path, Problem::Changed)),
        }
    }

    /// Checks that the file has not changed since it was opened, so that all reads are of the same contents.
    pub fn check(&self) -> Result<()> {
        let status = self.file.metadata().map_err(|cause| io_error(self.path(), "examine file", cause))?;
        let mut now = FileId::new(self.path(), &status);
        // Removing or replacing one of its names changes the inode alone.
        if status.nlink() < self.links {
            now.changed = self.id.changed;
        }
        match now == *self.id {
            true => Ok(()),
            false => Err(ReadError::new(self.path(), Problem::Changed)),
        }
    }

    /// Returns what was read of the file, if it was read without a failure and has not changed meanwhile.
    /// Otherwise that is the error.
    pub fn checked<T>(&self, found: Result<T>) -> Result<T> {
        self.check()?;
        match self.failed.load(Ordering::Relaxed) {
            0 => found,
            error => Err(io_error(self.path(), "read file", io::Error::from_raw_os_error(error))),
        }
    }

    /// Notes why a read failed.
    fn failed(&self, cause: io::Error) -> io::Error {
        if let Some(error) = cause.raw_os_error() {
            self.failed.store(error, Ordering::Relaxed);
        }
        cause
    }

    pub fn id(&self) -> &Arc<FileId> {
        &self.id
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    pub fn path(&self) -> &str {
        &self.id.path
    }

    /// Returns the bytes read through this source so far.
    pub fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Returns whether `len` bytes at `offset` lie in the file.
    pub fn holds(&self, offset: u64, len: u64) -> bool {
        offset.checked_add(len).is_some_and(|end| end <= self.id.size)
    }

    pub fn read_into(&self, bytes: &mut [u8], offset: u64) -> Result<()> {
        for (number, step) in bytes.chunks_mut(STEP).enumerate() {
            let at = offset.saturating_add((number * STEP) as u64);
            self.file.read_exact_at(step, at).map_err(|cause| self.failed(cause)).map_err(
                |cause| match cause.kind() {
                    io::ErrorKind::UnexpectedEof => {
                        ReadError::damaged(self.path(), "the file ends too early")
                    }
                    _ => io_error(self.path(), "read file", cause),
                },
            )?;
            interrupts::check();
        }
        self.read.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Reads what a scan can do without; `None` if that fails, which is no error of the scan then.
    pub fn read_optional(&self, offset: u64, len: usize) -> Option<Vec<u8>> {
        let found = self.read_at(offset, len);
        if found.is_err() {
            self.failed.store(0, Ordering::Relaxed);
        }
        found.ok()
    }

    pub fn read_at(&self, offset: u64, len: usize) -> Result<Vec<u8>> {
        if !self.holds(offset, len as u64) {
            return Err(ReadError::damaged(self.path(), "it refers to bytes behind the file's end"));
        }
        let mut bytes = zeroed(self.path(), len)?;
        self.read_into(&mut bytes, offset)?;
        Ok(bytes)
    }
}

/// Returns zeros that take memory only when they are written to, if the system allows; a lack of memory is an
/// error.
pub fn zeroed(path: &str, len: usize) -> Result<Vec<u8>> {
    memory::zeroed(len).map_err(|_| ReadError::new(path, Problem::OutOfMemory(len)))
}

fn io_error(path: &str, what: &'static str, cause: io::Error) -> ReadError {
    ReadError::new(path, Problem::Io(what, cause))
}

impl FileId {
    fn new(path: &str, status: &fs::Metadata) -> FileId {
        FileId {
            path: path.to_owned(),
            size: status.len(),
            device: status.dev(),
            inode: status.ino(),
            modified: (status.mtime(), status.mtime_nsec()),
            changed: (status.ctime(), status.ctime_nsec()),
        }
    }

    /// Returns whether the file was last changed so long before `now` that any later change has another time,
    /// whatever the resolution of the file system's times.
    pub fn is_old(&self, now: Time) -> bool {
        const COARSEST: i64 = 2;
        self.changed.0.saturating_add(COARSEST) < now.0
    }
}

/// Returns an open file's status, once the clock of file systems has advanced since it was changed: another
/// write in the same tick would not change the time.
fn settled(path: &str, file: &File) -> Result<fs::Metadata> {
    /// No tick is longer. The clock of another machine may be ahead, and is not waited for.
    const TICKS: usize = 20;
    let status = || file.metadata().map_err(|cause| io_error(path, "examine file", cause));
    let mut found = status()?;
    for _ in 0..TICKS {
        if (found.ctime(), found.ctime_nsec()) < coarse_now() {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
        found = status()?;
    }
    Ok(found)
}

/// Returns the time by the clock of file systems.
pub fn coarse_now() -> Time {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes to `now` alone.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME_COARSE, &mut now) };
    (now.tv_sec, now.tv_nsec)
}

/// The file's bytes from an offset on.
pub struct At {
    source: Source,
    offset: u64,
}

impl At {
    pub fn new(source: &Source, offset: u64) -> At {
        At { source: source.clone(), offset }
    }
}

impl Read for At {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        interrupts::check();
        let step = bytes.len().min(STEP);
        let got = self.source.file.read_at(&mut bytes[..step], self.offset)?;
        self.offset += got as u64;
        self.source.read.fetch_add(got as u64, Ordering::Relaxed);
        Ok(got)
    }
}
