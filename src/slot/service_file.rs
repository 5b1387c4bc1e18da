//! The GPU service's file, by which exporters find it: `pg_dynshmem/pg_strata.gpu` in the data directory.
//!
//! It works without preloading, on every version, and no base backup copies it. The service holds a lock on it as long as
//! it lives. The contents outlive the service, so that exporters know why there is none. The text is padded to one length
//! and written at once, and a reader that meets half of it reads again.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The file's path from the data directory, in which every server process works.
pub const PATH: &str = "pg_dynshmem/pg_strata.gpu";

const BYTES: usize = 4096;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceState {
    #[default]
    Starting,
    Ready,
    /// The engine died, and another is about to start.
    Restarting,
    /// The engine does not answer, and none has taken its place.
    Silent,
    /// No engine is running, and none will until the configuration is reloaded.
    Failed,
    /// There is no device to run on.
    Absent,
    /// The service was stopped.
    Stopped,
}

impl ServiceState {
    pub fn name(self) -> &'static str {
        match self {
            ServiceState::Starting => "starting",
            ServiceState::Ready => "ready",
            ServiceState::Restarting => "restarting",
            ServiceState::Silent => "not answering",
            ServiceState::Failed => "failed",
            ServiceState::Absent => "absent",
            ServiceState::Stopped => "stopped",
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceInfo {
    /// The service's process, and the descriptor of the pool's memory there.
    pub pid: i32,
    pub fd: i32,
    pub generation: u64,
    pub state: ServiceState,
    /// The reason for a state other than `Ready`.
    pub reason: String,
    /// When the state began, in microseconds since 1970.
    pub since: i64,
    /// The engine's process.
    pub engine: i32,
    /// A mark of the settings that the service was started with: another start with the same settings has the same result.
    pub settings: String,
    /// When the server was started, in its own units.
    pub server_start: i64,
}

/// The file, locked by this process.
pub struct ServiceFile {
    file: File,
}

impl ServiceFile {
    /// Opens and locks the file; `None` if another service has it.
    pub fn take(path: &Path) -> io::Result<Option<ServiceFile>> {
        let options =
            || OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).clone();
        let file = options().open(path)?;
        Ok(set_lock(&file)?.then_some(ServiceFile { file }))
    }

    pub fn write(&self, info: &ServiceInfo) -> io::Result<()> {
        // A character takes six bytes at most.
        let cut = |text: &str| text.chars().take(BYTES / 16).collect();
        let info = ServiceInfo { reason: cut(&info.reason), settings: cut(&info.settings), ..info.clone() };
        let mut text = serde_json::to_vec(&info).map_err(io::Error::other)?;
        text.resize(BYTES, b' ');
        self.file.write_all_at(&text, 0)
    }
}

/// Reads the file, and tells whether a service lives. A service that has written nothing yet is starting.
pub fn read(path: &Path) -> io::Result<Option<(ServiceInfo, bool)>> {
    let file = match File::open(path) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    for _ in 0..100 {
        let mut text = vec![0; BYTES];
        let length = file.read_at(&mut text, 0)?;
        if length == 0 {
            return Ok(is_locked(&file)?.then(|| (ServiceInfo::default(), true)));
        }
        // The lock is looked at after the text, so that a service that ends meanwhile is not taken to be alive.
        if let Ok(info) = serde_json::from_slice(&text[..length]) {
            return Ok(Some((info, is_locked(&file)?)));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "it cannot be read"))
}

fn whole_file(kind: i32) -> libc::flock {
    // SAFETY: integers, for which zeros are values.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    (lock.l_type, lock.l_whence) = (kind as libc::c_short, libc::SEEK_SET as libc::c_short);
    lock
}

/// Takes a lock of the open file description; unlike flock's, others can ask whether it is held.
fn set_lock(file: &File) -> io::Result<bool> {
    let mut lock = whole_file(libc::F_WRLCK);
    // SAFETY: an open descriptor and a structure that outlives the call.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &mut lock) } {
        0 => Ok(true),
        _ => match io::Error::last_os_error() {
            cause if matches!(cause.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
            cause => Err(cause),
        },
    }
}

fn is_locked(file: &File) -> io::Result<bool> {
    let mut lock = whole_file(libc::F_RDLCK);
    // SAFETY: an open descriptor and a structure that outlives the call.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &mut lock) } {
        0 => Ok(lock.l_type != libc::F_UNLCK as libc::c_short),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holds_it_and_others_read_it() {
        let path = std::env::temp_dir().join(format!("pg_strata-info-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        assert_eq!(read(&path).unwrap(), None);
        drop(ServiceFile::take(&path).unwrap().unwrap());
        assert_eq!(read(&path).unwrap(), None, "nothing was written, and nobody has it");
        let held = ServiceFile::take(&path).unwrap().unwrap();
        assert_eq!(read(&path).unwrap(), Some((ServiceInfo::default(), true)), "a service that starts");
        assert!(ServiceFile::take(&path).unwrap().is_none());
        let info =
            ServiceInfo { pid: 7, generation: 3, state: ServiceState::Ready, ..ServiceInfo::default() };
        held.write(&info).unwrap();
        assert_eq!(read(&path).unwrap(), Some((info.clone(), true)));
        let long = ServiceInfo { reason: "\"\u{1}".repeat(9000), ..info };
        held.write(&long).unwrap();
        let (found, alive) = read(&path).unwrap().unwrap();
        assert!(
            alive && long.reason.starts_with(&found.reason) && found.reason.len() > 100 && found.pid == 7
        );
        drop(held);
        assert!(!read(&path).unwrap().unwrap().1);
        assert!(ServiceFile::take(&path).unwrap().is_some());
        std::fs::remove_file(&path).unwrap();
    }
}
