//! Mode, owner, group and access control lists of what an export replaces: its successor gets them. The leader's alone.

use std::ffi::{CStr, CString};
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;

/// Where Linux keeps the lists (acl(5)).
const LISTS: [&CStr; 2] = [c"system.posix_acl_access", c"system.posix_acl_default"];

pub struct FileAttributes {
    mode: u32,
    owner: u32,
    group: u32,
    /// As they are stored, where there are any.
    lists: [Option<Vec<u8>>; 2],
}

impl FileAttributes {
    /// Of the file or directory at `path`; `None` where there is none, or a symbolic link.
    pub fn of(path: &Path) -> io::Result<Option<FileAttributes>> {
        let found = match fs::symlink_metadata(path) {
            Ok(found) if !found.is_symlink() => found,
            Ok(_) => return Ok(None),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(cause),
        };
        let bits = if found.is_dir() { 0o7777 } else { 0o777 };
        let lists = [list(path, LISTS[0])?, list(path, LISTS[1])?];
        Ok(Some(FileAttributes { mode: found.mode() & bits, owner: found.uid(), group: found.gid(), lists }))
    }

    /// Gives them to a file or directory. An owner or a group that the server may not give is left out.
    pub fn give(&self, to: &File) -> io::Result<()> {
        let _ = fchown(to, None, Some(self.group));
        let _ = fchown(to, Some(self.owner), None);
        for (name, list) in LISTS.into_iter().zip(&self.lists) {
            set_list(to, name, list.as_deref())?;
        }
        to.set_permissions(Permissions::from_mode(self.mode))
    }
}

/// By the path: the server may not be allowed to open the file.
fn list(path: &Path, name: &CStr) -> io::Result<Option<Vec<u8>>> {
    const MOST: usize = 64 << 10; // XATTR_SIZE_MAX
    let path = CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
    let mut list = vec![0; MOST];
    // SAFETY: two C strings, and as much room as is said.
    let length =
        unsafe { libc::lgetxattr(path.as_ptr(), name.as_ptr(), list.as_mut_ptr().cast(), list.len()) };
    let Ok(length) = usize::try_from(length) else {
        return unless_absent(io::Error::last_os_error()).map(|()| None);
    };
    list.truncate(length);
    Ok(Some(list))
}

/// Without a list, one that the file has from its directory goes.
fn set_list(file: &File, name: &CStr, list: Option<&[u8]>) -> io::Result<()> {
    let (descriptor, name) = (file.as_raw_fd(), name.as_ptr());
    // SAFETY: an open descriptor, a C string, and bytes of the length that is said.
    let done = unsafe {
        match list {
            Some(list) => libc::fsetxattr(descriptor, name, list.as_ptr().cast(), list.len(), 0),
            None => libc::fremovexattr(descriptor, name),
        }
    };
    match done {
        0 => Ok(()),
        _ if list.is_none() => unless_absent(io::Error::last_os_error()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The file has no list, or the file system no lists, or none for files of its kind.
fn unless_absent(cause: io::Error) -> io::Result<()> {
    match cause.raw_os_error() {
        Some(libc::ENODATA | libc::ENOTSUP | libc::ENOSYS) => Ok(()),
        _ => Err(cause),
    }
}
