//! Temporary names beside a target, and whether the export that created one is still running. Only the leader uses
//! them.
//!
//! Beside a temporary file or directory lies a lock file, `NAME.lock`, which its export keeps locked. The lock ends
//! with the process. Unlike a process id, it also works between containers and hosts. A process that gets the lock of
//! another may remove both files. A name without a lock file must not be removed by anybody.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use super::manifest::{foreign_entry, remove_export};
use crate::interrupts::check;
use crate::pg::session::random;
use crate::pg::xact::TempPath;

const LOCK: &str = ".lock";

/// A temporary path that belongs to this process. The fields are dropped in this order: the file is removed while it
/// is locked.
pub struct Temporary {
    path: TempPath,
    /// `None` on file systems without locks.
    lock: Option<Lock>,
}

/// A lock file. It is removed while it is locked.
pub struct Lock {
    _path: TempPath,
    file: File,
}

impl Temporary {
    /// Reserves a name that begins with `prefix`. Nothing is created under it yet.
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
                // Another export took the file for a stale one before it was locked, and removes it.
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

    /// Records that the directory that the export replaces is about to get the temporary name.
    pub fn will_be_exchanged(&self) -> io::Result<()> {
        self.lock.iter().try_for_each(|lock| lock.file.set_len(1))
    }

    /// Keeps what has been published under another name. The temporary name stays reserved until the lock is dropped.
    pub fn keep(self) -> Option<Lock> {
        self.path.keep();
        self.lock
    }
}

/// Removes what exports whose temporary names begin with `prefix` left behind in a crash of the server.
pub fn remove_stale(parent: &Path, prefix: &str) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(prefix) && name.ends_with(LOCK) {
            // The next export tries again if this fails.
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
    // It may be what the export was about to replace, and contain something that no export wrote.
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

/// Creates a file that all may read, or only the server if it is `private`, and that the server may write to.
pub fn create(path: &Path, private: bool) -> io::Result<File> {
    let mode = if private { 0o600 } else { 0o666 };
    under_umask(|| OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(path))
}

/// Creates a directory that all may read, or only the server if it is `private`, and that the server may write to.
pub fn create_directory(path: &Path, private: bool) -> io::Result<()> {
    let mode = if private { 0o700 } else { 0o777 };
    under_umask(|| DirBuilder::new().mode(mode).create(path))
}

/// Runs `create` under the umask that COPY uses for its files, whatever that of the server is. Changing the mode
/// afterwards would allow more than the directory's default access control list does.
fn under_umask<T>(create: impl FnOnce() -> T) -> T {
    // SAFETY: the call cannot fail. The previous umask is restored below, since `create` cannot raise a PostgreSQL
    // error.
    let before = unsafe { libc::umask(0o022) };
    let created = create();
    // SAFETY: the call cannot fail.
    unsafe { libc::umask(before) };
    created
}
