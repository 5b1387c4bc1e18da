//! Temporary files beside the target, which become the target. Only the leader uses them.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::file_attributes::FileAttributes;
use super::manifest::{Manifest, foreign_entry, remove_export};
use super::temporary::{Temporary, create, create_directory, remove_stale};
use super::{SUCCESS, Target};
use crate::interrupts::check;
use crate::pg::encoding::in_message;
use crate::pg::error::{Error, Result, file_error, os_message, warning};
use crate::pg::xact::ignore_cancels;

impl Target {
    /// Creates the temporary files: one, or `count` parts in a directory.
    pub fn stage(self, count: usize) -> Result<Staged> {
        remove_stale(self.parent(), &self.temporary_prefix());
        let failed = |cause| file_error("examine", &self.path, &cause);
        let replaced = FileAttributes::of(&self.path).map_err(failed)?;
        let root = self.temporary()?;
        let temporary = root.path().to_owned();
        let files = if self.is_file {
            vec![temporary]
        } else {
            create_directory(&temporary, replaced.is_some())
                .map_err(|cause| file_error("create directory", &self.path, &cause))?;
            let extension = self.extension.unwrap_or_default();
            (0..count).map(|part| temporary.join(format!("part-{part:05}.{extension}"))).collect()
        };
        // Until it has its final mode, only the server may read the file.
        let private = self.is_file && replaced.is_some();
        let create = |file: &PathBuf| {
            create(file, private).map_err(|cause| file_error("create file", &self.path, &cause))
        };
        let kept = files.iter().map(create).collect::<Result<Vec<File>>>()?;
        Ok(Staged { target: self, root, files, replaced, kept })
    }

    fn temporary(&self) -> Result<Temporary> {
        Temporary::reserve(self.parent(), &self.temporary_prefix())
            .map_err(|cause| file_error("create file", &self.path, &cause))
    }
}

/// Temporary files. They are removed on drop, and by the transaction's abort if nothing is dropped.
pub struct Staged {
    target: Target,
    root: Temporary,
    pub files: Vec<PathBuf>,
    /// The attributes of what the export replaces.
    replaced: Option<FileAttributes>,
    /// The files are kept open: the system forgets a failed write once nobody has the file open.
    kept: Vec<File>,
}

impl Staged {
    /// Creates another temporary file beside the target, which is removed when it is dropped.
    pub fn sibling(&self) -> Result<Temporary> {
        let sibling = self.target.temporary()?;
        create(sibling.path(), true).map_err(|cause| file_error("create file", sibling.path(), &cause))?;
        Ok(sibling)
    }

    /// Empties the files for another pass.
    pub fn restart(&self) -> Result<()> {
        for (file, path) in self.kept.iter().zip(&self.files) {
            file.set_len(0).map_err(|cause| file_error("truncate file", path, &cause))?;
        }
        Ok(())
    }

    /// Removes part `index` of a directory export, to which no process wrote.
    pub fn discard(&self, index: usize) -> Result<()> {
        fs::remove_file(&self.files[index])
            .map_err(|cause| file_error("remove file", &self.files[index], &cause))
    }

    /// Writes `_SUCCESS`, the last file of a directory export.
    pub fn write_manifest(&self, manifest: &Manifest) -> Result<()> {
        let path = self.root.path().join(SUCCESS);
        let written = create(&path, false).and_then(|file| {
            io::Write::write_all(&mut &file, manifest.to_json().as_bytes())?;
            file.sync_all()
        });
        written.map_err(|cause| file_error("write file", &path, &cause))
    }

    /// Makes the export visible under its name, in one step. Before it an error or a cancel leaves everything as it
    /// was; after it the export has succeeded. The files have been synced already; the directories are synced here.
    pub fn publish(self) -> Result<()> {
        check();
        let Staged { target, root, replaced, kept, .. } = self;
        let fail = |cause: io::Error| file_error("publish", &target.path, &cause);
        if let Some(replaced) = replaced {
            let directory = (!target.is_file).then(|| File::open(root.path())).transpose().map_err(fail)?;
            if let Some(root) = directory.as_ref().or(kept.first()) {
                replaced.give(root).and_then(|()| root.sync_all()).map_err(fail)?;
            }
        }
        if !target.is_file {
            sync_directory(root.path()).map_err(fail)?;
        }
        let exists = match fs::symlink_metadata(&target.path) {
            Ok(_) => true,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => false,
            Err(cause) => return Err(fail(cause)),
        };
        if target.overwrite && exists && !target.is_file {
            exchange(&target, root)?;
        } else if target.overwrite || !target.is_file {
            // A directory can only be renamed over an empty one.
            fs::rename(root.path(), &target.path).map_err(fail)?;
            root.keep();
        } else if publish_new(root.path(), &target.path).map_err(fail)? {
            root.keep();
        }
        if let Err(cause) = sync_directory(target.parent()) {
            not_synced(target.parent(), &cause);
        }
        ignore_cancels();
        Ok(())
    }
}

/// Exchanges a directory for another, which is then checked once more: if it contains anything that no export wrote,
/// it is moved back, otherwise it is removed.
fn exchange(target: &Target, root: Temporary) -> Result<()> {
    let fail = |cause: io::Error| file_error("publish", &target.path, &cause);
    let old = root.path().to_owned();
    root.will_be_exchanged().map_err(fail)?;
    rename(&old, &target.path, libc::RENAME_EXCHANGE).map_err(fail)?;
    // What has the temporary name now must not be removed, neither by us nor by another export yet.
    let _lock = root.keep();
    if let Some(refused) = refusal(target, &old) {
        let moved = |failed: Error| {
            failed.set_detail(in_message(format!("What was there before is \"{}\" now.", old.display())))
        };
        rename(&old, &target.path, libc::RENAME_EXCHANGE).map_err(fail).map_err(moved)?;
        let _ = remove_export(&old);
        return Err(refused);
    }
    if let Err(cause) = remove_export(&old) {
        let detail = format!("\"{}\": {}.", old.display(), os_message(&cause));
        warning(
            "could not remove the directory that the export replaced",
            in_message(detail),
            "Look into it, and remove it.",
        );
    }
    Ok(())
}

/// Returns why what was at the target's place must not be removed.
fn refusal(target: &Target, old: &Path) -> Option<Error> {
    match fs::symlink_metadata(old) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => return Some(target.wrong_kind("not a directory any more").set_hint("Choose another name.")),
        Err(cause) => return Some(file_error("examine", old, &cause)),
    }
    match foreign_entry(old) {
        Ok(other) => other.map(|other| target.holds(&other)),
        Err(cause) => Some(file_error("read directory", old, &cause)),
    }
}

fn not_synced(directory: &Path, cause: &io::Error) {
    // A directory that the server may write to but not read cannot be synced. PostgreSQL's fsync_fname ignores that,
    // too.
    if cause.kind() == io::ErrorKind::PermissionDenied {
        return;
    }
    warning(
        &in_message(format!("could not sync directory \"{}\": {}", directory.display(), os_message(cause))),
        "The export is in place, but might be gone after a crash of the system.".to_owned(),
        "Check the server's storage and its log.",
    );
}

/// Renames a file unless the target exists, which another session may have created meanwhile. Returns false if the
/// file has both names now.
fn publish_new(from: &Path, to: &Path) -> io::Result<bool> {
    match rename(from, to, libc::RENAME_NOREPLACE) {
        Err(cause) if matches!(cause.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)) => {
            // The file system does not support this. A hard link cannot replace a file either.
            fs::hard_link(from, to).map(|()| false)
        }
        result => result.map(|()| true),
    }
}

fn rename(from: &Path, to: &Path, flags: u32) -> io::Result<()> {
    let text = |path: &Path| CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other);
    let (from, to) = (text(from)?, text(to)?);
    // SAFETY: `from` and `to` are C strings that outlive the call.
    match unsafe { libc::renameat2(libc::AT_FDCWD, from.as_ptr(), libc::AT_FDCWD, to.as_ptr(), flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
