//! Mode, owner, group and access control lists of what an export replaces: its successor gets them. The leader's alone.

use std::ffi::CStr;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

/// Where Linux keeps the lists (acl(5)).
const LISTS: [&CStr; 2] = [c"system.posix_acl_access", c"system.posix_acl_default"];

pub struct Attributes {
    mode: u32,
    owner: u32,
    group: u32,
    /// The lists that there are, as they are stored.
    lists: Vec<(&'static CStr, Vec<u8>)>,
}

impl Attributes {
    /// Of the file or directory at `path`; `None` where there is none, or a symbolic link.
    pub fn of(path: &Path) -> io::Result<Option<Attributes>> {
        let found = match fs::symlink_metadata(path) {
            Ok(found) if !found.is_symlink() => found,
            Ok(_) => return Ok(None),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(cause),
        };
        let bits = if found.is_dir() { 0o7777 } else { 0o777 };
        // Without waiting for a pipe's other end, should there be one by now.
        let opened = File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW).open(path);
        let lists = match opened {
            Ok(file) => lists(&file)?,
            // What the server may not read has to do without its list.
            Err(cause) if cause.kind() == io::ErrorKind::PermissionDenied => Vec::new(),
            Err(cause) => return Err(cause),
        };
        Ok(Some(Attributes { mode: found.mode() & bits, owner: found.uid(), group: found.gid(), lists }))
    }

    /// Gives them to a file or directory. An owner or a group that the server may not give is left out.
    pub fn give(&self, to: &File) -> io::Result<()> {
        let _ = fchown(to, None, Some(self.group));
        let _ = fchown(to, Some(self.owner), None);
        for (name, list) in &self.lists {
            set_list(to, name, list)?;
        }
        to.set_permissions(Permissions::from_mode(self.mode))
    }
}

fn lists(file: &File) -> io::Result<Vec<(&'static CStr, Vec<u8>)>> {
    let mut found = Vec::new();
    for name in LISTS {
        found.extend(list(file, name)?.map(|list| (name, list)));
    }
    Ok(found)
}

/// `None` where there is none, or the file system has no such lists.
fn list(file: &File, name: &CStr) -> io::Result<Option<Vec<u8>>> {
    const MOST: usize = 64 << 10; // XATTR_SIZE_MAX
    let mut list = vec![0; MOST];
    // SAFETY: an open descriptor, a C string, and as much room as is said.
    let length =
        unsafe { libc::fgetxattr(file.as_raw_fd(), name.as_ptr(), list.as_mut_ptr().cast(), list.len()) };
    let cause = io::Error::last_os_error();
    match (usize::try_from(length), cause.raw_os_error()) {
        (Ok(length), _) => {
            list.truncate(length);
            Ok(Some(list))
        }
        (Err(_), Some(libc::ENODATA | libc::ENOTSUP | libc::ENOSYS)) => Ok(None),
        (Err(_), _) => Err(cause),
    }
}

fn set_list(file: &File, name: &CStr, list: &[u8]) -> io::Result<()> {
    // SAFETY: an open descriptor, a C string, and bytes of the length that is said.
    match unsafe { libc::fsetxattr(file.as_raw_fd(), name.as_ptr(), list.as_ptr().cast(), list.len(), 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
