//! Temporary names beside a target, and whether the export that made one still lives. The leader's alone.
//!
//! Beside a temporary file or directory lies a lock file, `NAME.lock`, which its export holds locked: the lock ends with
//! the process, and tells processes of other containers and hosts what a process id does not. Whoever gets the lock of
//! another's may remove both. A name without a lock file is nobody's to remove.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use super::manifest::{foreign_entry, remove_export};
use crate::interrupts::check;
use crate::pg::session::random;
use crate::pg::xact::TempPath;

const LOCK: &str = ".lock";

/// A temporary path whose name is this process's. Dropped in this order: the file goes while it is locked.
pub struct Temporary {
    path: TempPath,
    /// `None` on file systems without locks.
    lock: Option<Lock>,
}

/// Likewise.
pub struct Lock {
    _path: TempPath,
    file: File,
}

impl Temporary {
    /// Takes a name that begins with `prefix`. Nothing is created under it yet.
    pub fn reserve(parent: &Path, prefix: &str) -> io::Result<Temporary> {
        loop {
            check();
            let name = format!("{prefix}{:016x}", random());
            let lock = TempPath::new(parent.join(format!("{name}{LOCK}")));
            let file = match create(lock.path(), true) {
                Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {
                    lock.keep();
                    continue;
                }
                file => file?,
            };
            let lock = match file.try_lock() {
                Ok(()) if is_at(&file, lock.path()) => Some(Lock { _path: lock, file }),
                // Another export has taken the file for a stale one before it was locked, and removes it.
                Ok(()) | Err(TryLockError::WouldBlock) => {
                    lock.keep();
                    continue;
                }
                Err(TryLockError::Error(_)) => None,
            };
            return Ok(Temporary { path: TempPath::new(parent.join(name)), lock });
        }
    }

    pub fn path(&self) -> &Path {
        self.path.path()
    }

    /// What an export replaces is about to have the name.
    pub fn will_be_exchanged(&self) -> io::Result<()> {
        self.lock.iter().try_for_each(|lock| lock.file.set_len(1))
    }

    /// The path has been published under another name; the name is kept until the lock is dropped.
    pub fn keep(self) -> Option<Lock> {
        self.path.keep();
        self.lock
    }
}

/// Removes what exports whose temporary names begin with `prefix` left when the server crashed under them.
pub fn remove_stale(parent: &Path, prefix: &str) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(prefix) && name.ends_with(LOCK) {
            // What cannot be removed now is left to the next export.
            let _ = remove_unlocked(&entry.path());
        }
    }
}

fn remove_unlocked(lock: &Path) -> io::Result<()> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(lock)?;
    let found = file.metadata()?;
    if !found.is_file() || file.try_lock().is_err() || !is_at(&file, lock) {
        return Ok(());
    }
    match remove_left(&lock.with_extension(""), found.len() > 0) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(cause),
        _ => fs::remove_file(lock),
    }
}

fn remove_left(path: &Path, exchanged: bool) -> io::Result<()> {
    // It may be what the export was to replace, with something in it that no export wrote.
    if exchanged && (!fs::symlink_metadata(path)?.is_dir() || foreign_entry(path)?.is_some()) {
        return Err(io::ErrorKind::DirectoryNotEmpty.into());
    }
    remove_export(path)
}

fn is_at(file: &File, path: &Path) -> bool {
    let id = |found: fs::Metadata| (found.dev(), found.ino());
    let (open, there) = (file.metadata().map(id), fs::symlink_metadata(path).map(id));
    open.is_ok_and(|open| there.is_ok_and(|there| open == there))
}

/// Readable by all and writable by the server; or by the server alone.
pub fn create(path: &Path, private: bool) -> io::Result<File> {
    let mode = if private { 0o600 } else { 0o666 };
    under_umask(|| OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(path))
}

/// Likewise.
pub fn create_directory(path: &Path, private: bool) -> io::Result<()> {
    let mode = if private { 0o700 } else { 0o777 };
    under_umask(|| DirBuilder::new().mode(mode).create(path))
}

/// As COPY creates its files, whatever the server's umask: not by changing the mode afterwards, which would give more
/// than the directory's default access control list does.
fn under_umask<T>(create: impl FnOnce() -> T) -> T {
    // SAFETY: a number of the process, which is as it was when this returns; what is created cannot raise.
    let before = unsafe { libc::umask(0o022) };
    let created = create();
    // SAFETY: as above.
    unsafe { libc::umask(before) };
    created
}
