//! Mode, owner, group and access control lists of the file or directory that an export replaces. The new one gets
//! them. Only the leader uses this.

use std::ffi::{CStr, CString};
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;

/// The extended attributes in which Linux keeps the lists (acl(5)).
const LISTS: [&CStr; 2] = [c"system.posix_acl_access", c"system.posix_acl_default"];

pub struct FileAttributes {
    mode: u32,
    owner: u32,
    group: u32,
    /// The lists in their stored form, if there are any.
    lists: [Option<Vec<u8>>; 2],
}

impl FileAttributes {
    /// Reads those of the file or directory at `path`; `None` if there is none, or a symbolic link.
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

    /// Applies them to a file or directory, except an owner or a group that the server may not set.
    pub fn give(&self, to: &File) -> io::Result<()> {
        let _ = fchown(to, None, Some(self.group));
        let _ = fchown(to, Some(self.owner), None);
        for (name, list) in LISTS.into_iter().zip(&self.lists) {
            set_list(to, name, list.as_deref())?;
        }
        to.set_permissions(Permissions::from_mode(self.mode))
    }
}

/// Reads a list by the path, since the server may not be allowed to open the file.
fn list(path: &Path, name: &CStr) -> io::Result<Option<Vec<u8>>> {
    const MOST: usize = 64 << 10; // XATTR_SIZE_MAX
    let path = CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
    let mut list = vec![0; MOST];
    // SAFETY: `path` and `name` are C strings that outlive the call, and `list` has the size that is passed.
    let length =
        unsafe { libc::lgetxattr(path.as_ptr(), name.as_ptr(), list.as_mut_ptr().cast(), list.len()) };
    let Ok(length) = usize::try_from(length) else {
        return unless_absent(io::Error::last_os_error()).map(|()| None);
    };
    list.truncate(length);
    Ok(Some(list))
}

/// Sets a list. Without one, the list that the file got from its directory is removed.
fn set_list(file: &File, name: &CStr, list: Option<&[u8]>) -> io::Result<()> {
    let (descriptor, name) = (file.as_raw_fd(), name.as_ptr());
    // SAFETY: the descriptor is open, `name` is a C string that outlives the call, and `list` has the size that is
    // passed.
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

/// Ignores the error that says that the file has no list, or that its file system has none, or none for its kind of
/// file.
fn unless_absent(cause: io::Error) -> io::Result<()> {
    match cause.raw_os_error() {
        Some(libc::ENODATA | libc::ENOTSUP | libc::ENOSYS) => Ok(()),
        _ => Err(cause),
    }
}
