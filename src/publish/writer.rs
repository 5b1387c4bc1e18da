//! Writing to a temporary file, which every process of an export does: at offsets, and on to storage.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::interrupts::check;
use crate::pg::error::{Error, Result, file_error};

/// The size of one write call; a check for a cancel precedes each.
const WRITE_BYTES: usize = 4 << 20;

/// A temporary file that this process writes to. The leader has created it.
pub struct Writer {
    file: File,
    path: PathBuf,
}

impl Writer {
    pub fn open(path: &Path) -> Result<Writer> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(|cause| file_error("open file", path, &cause))?;
        Ok(Writer { file, path: path.to_owned() })
    }

    /// Writes at an offset that this process has reserved, and starts the write to storage.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        for (index, piece) in bytes.chunks(WRITE_BYTES).enumerate() {
            check();
            let at = offset + (index * WRITE_BYTES) as u64;
            self.file.write_all_at(piece, at).map_err(|cause| self.failed(&cause))?;
        }
        self.write_back(offset, bytes.len() as u64, libc::SYNC_FILE_RANGE_WRITE)
    }

    /// Starts or awaits the write of a range to storage. The system reports a failed write only once: if it is not
    /// reported here, fsync does not report it either.
    fn write_back(&self, offset: u64, bytes: u64, flags: u32) -> Result<()> {
        // SAFETY: the descriptor is open.
        let done =
            unsafe { libc::sync_file_range(self.file.as_raw_fd(), offset as i64, bytes as i64, flags) };
        let cause = io::Error::last_os_error();
        // If the system has no such call, fsync does all of it.
        if done == 0 || cause.raw_os_error() == Some(libc::ENOSYS) {
            return Ok(());
        }
        Err(file_error("write to storage", &self.path, &cause))
    }

    /// Copies the first `length` bytes of another file, `piece` bytes at a time.
    pub fn take_over(&self, from: &File, length: u64, piece: u64) -> Result<()> {
        let copy = |at: u64| {
            (&mut &*from).seek(SeekFrom::Start(at))?;
            (&mut &self.file).seek(SeekFrom::Start(at))?;
            let wanted = piece.min(length - at);
            match io::copy(&mut from.take(wanted), &mut &self.file)? == wanted {
                true => Ok(()),
                false => Err(io::ErrorKind::UnexpectedEof.into()),
            }
        };
        for at in (0..length).step_by(piece as usize) {
            check();
            copy(at).map_err(|cause| self.failed(&cause))?;
        }
        Ok(())
    }

    pub fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<()> {
        self.file.read_exact_at(bytes, offset).map_err(|cause| file_error("read file", &self.path, &cause))
    }

    /// Waits until the file's `length` bytes are on storage, piece by piece, so that a cancel does not wait for all
    /// of them.
    pub fn sync(&self, length: u64) -> Result<()> {
        const WAIT: u32 = libc::SYNC_FILE_RANGE_WAIT_BEFORE
            | libc::SYNC_FILE_RANGE_WRITE
            | libc::SYNC_FILE_RANGE_WAIT_AFTER;
        for offset in (0..length).step_by(WRITE_BYTES) {
            check();
            self.write_back(offset, WRITE_BYTES as u64, WAIT)?;
        }
        self.file.sync_all().map_err(|cause| self.failed(&cause))
    }

    fn failed(&self, cause: &io::Error) -> Error {
        file_error("write file", &self.path, cause)
    }
}
