//! Files appear whole or not at all: written under a temporary name beside the target, synced, renamed.
//!
//! The leader alone creates, publishes and removes; workers only write into files that exist. A
//! temporary name carries the leader's process id, so that what a crash of the server left behind is
//! recognised and removed by the next export to the same target.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::pg::encoding::in_message;
use crate::pg::error::{Code, Error, Result, error, file_error};
use crate::pg::xact::TempPath;
use crate::pg::{check_for_interrupts, guc};

mod append;
mod manifest;
pub use append::Append;
pub use manifest::{Manifest, ManifestColumn, ManifestFile};

/// One write call; cancel is looked at between them.
const WRITE_BYTES: usize = 4 << 20;

/// The name of the file that a complete directory export holds.
pub const SUCCESS: &str = "_SUCCESS";

/// What the names of Parquet and Arrow files end in.
const FILE_EXTENSIONS: [&str; 7] = ["parquet", "parq", "pq", "arrow", "arrows", "feather", "ipc"];

/// Whether a path stands for a file that ends in `extension`, in any case, or for a directory. One that ends as files of
/// another kind do is an error: a directory of that name would surprise.
pub fn names_file(path: &str, extension: &str) -> Result<bool> {
    let found = Path::new(path).extension().map(|found| found.to_string_lossy().to_ascii_lowercase());
    match found {
        Some(found) if found == extension => Ok(true),
        Some(found) if FILE_EXTENSIONS.contains(&found.as_str()) => {
            let message = format!("path \"{path}\" does not end in .{extension}");
            Err(error(Code::ERRCODE_INVALID_NAME, message)
                .set_detail(format!("A path that ends in .{extension} stands for a file, any other for a directory; .{found} is what files end in."))
                .set_hint(format!("End the path in .{extension}, or call the function for the other format.")))
        }
        _ => Ok(false),
    }
}

/// Where an export goes: one file, or a directory of part files.
pub struct Target {
    path: PathBuf,
    overwrite: bool,
    is_file: bool,
    /// What the name of a file ends in, where any other stands for a directory; also those of the parts.
    extension: Option<&'static str>,
}

impl Target {
    /// Checks all that can be checked before the table is read.
    pub fn new(
        path: &str,
        is_file: bool,
        extension: Option<&'static str>,
        overwrite: bool,
    ) -> Result<Target> {
        let given = Path::new(path);
        if path.contains("://") {
            let message = format!("cannot export to URL \"{path}\"");
            return Err(error(Code::ERRCODE_FEATURE_NOT_SUPPORTED, message).set_hint(
                "Give the absolute path of a file on the server; object stores are not supported.",
            ));
        }
        if !given.is_absolute() {
            return Err(error(
                Code::ERRCODE_INVALID_NAME,
                format!("relative path not allowed for an export: \"{path}\""),
            )
            .set_hint("Give the absolute path of a file on the server."));
        }
        let (Some(parent), Some(name)) = (given.parent(), given.file_name()) else {
            return Err(error(Code::ERRCODE_INVALID_NAME, format!("\"{path}\" does not name a file"))
                .set_hint("Give the absolute path of a file on the server."));
        };
        // Symbolic links and ".." are seen through before the path is compared with the allowed ones.
        let parent = parent.canonicalize().map_err(|cause| file_error("access directory", parent, &cause))?;
        let target = Target { path: parent.join(name), overwrite, is_file, extension };
        target.check_allowed()?;
        target.check_existing()?;
        Ok(target)
    }

    fn parent(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    fn check_allowed(&self) -> Result<()> {
        let allowed = guc::export_directories();
        let inside =
            |dir: &String| Path::new(dir).canonicalize().is_ok_and(|dir| self.parent().starts_with(dir));
        if allowed.is_empty() || allowed.iter().any(inside) {
            return Ok(());
        }
        Err(error(
            Code::ERRCODE_INSUFFICIENT_PRIVILEGE,
            format!("path \"{}\" is outside pg_strata.export_directories", self.path.display()),
        )
        .set_hint(in_message(format!("Export below one of: {}.", allowed.join(", ")))))
    }

    fn check_existing(&self) -> Result<()> {
        let found = match fs::symlink_metadata(&self.path) {
            Ok(found) => found,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(cause) => return Err(file_error("access", &self.path, &cause)),
        };
        if !self.is_file && found.is_symlink() {
            return Err(self.wrong_kind("a symbolic link").set_hint("Pass the path that the link leads to."));
        }
        if found.is_dir() == self.is_file {
            let is = if self.is_file { "a directory" } else { "a file" };
            return Err(self.wrong_kind(is).set_hint("Choose another name."));
        }
        if !self.is_file {
            return self.check_existing_directory();
        }
        if self.overwrite { Ok(()) } else { Err(self.exists()) }
    }

    fn wrong_kind(&self, is: &str) -> Error {
        let wanted = if self.is_file { "a file" } else { "a directory" };
        let detail = match self.extension {
            Some(extension) => format!(
                "A path that ends in .{extension} stands for a file, any other for a directory; {wanted} was asked for."
            ),
            None => "The rows go into one file.".to_owned(),
        };
        error(Code::ERRCODE_WRONG_OBJECT_TYPE, format!("\"{}\" is {is}", self.path.display()))
            .set_detail(detail)
    }

    /// What the names of temporary files beside the target begin with: its own, cut where that would be too long.
    fn temporary_prefix(&self) -> String {
        const LONGEST: usize = 200;
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let end = (0..=name.len().min(LONGEST)).rev().find(|&at| name.is_char_boundary(at));
        format!(".{}.{TEMP_MARK}.", &name[..end.unwrap_or(0)])
    }

    /// An empty directory may be filled; one with an earlier export may be replaced; nothing else may.
    fn check_existing_directory(&self) -> Result<()> {
        let entries =
            fs::read_dir(&self.path).map_err(|cause| file_error("read directory", &self.path, &cause))?;
        let names: Vec<String> =
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        if names.is_empty() {
            return Ok(());
        }
        if !self.overwrite {
            return Err(self.exists());
        }
        let is_part = |name: &str| {
            name.starts_with("part-") && (name.ends_with(".parquet") || name.ends_with(".arrow"))
        };
        let ours = |name: &String| name == SUCCESS || is_part(name);
        match names.iter().find(|name| !ours(name)) {
            None => Ok(()),
            Some(other) => Err(error(
                Code::ERRCODE_DUPLICATE_FILE,
                format!("directory \"{}\" holds more than an earlier export", self.path.display()),
            )
            .set_detail(in_message(format!(
                "\"{other}\" was not written by an export, and would be removed."
            )))
            .set_hint("Move it away, or export to another directory.")),
        }
    }

    fn exists(&self) -> Error {
        error(Code::ERRCODE_DUPLICATE_FILE, format!("\"{}\" exists already", self.path.display()))
            .set_hint("Pass overwrite => true to replace it.")
    }

    /// Creates the temporary files: one, or `count` parts in a directory.
    pub fn stage(self, count: usize) -> Result<Staged> {
        self.remove_stale();
        let name = format!("{}{}", self.temporary_prefix(), std::process::id());
        let temporary = self.parent().join(name);
        let root = TempPath::new(temporary.clone());
        let files = if self.is_file {
            vec![temporary]
        } else {
            create_directory(&temporary)
                .map_err(|cause| file_error("create directory", &self.path, &cause))?;
            let extension = self.extension.unwrap_or_default();
            (0..count).map(|part| temporary.join(format!("part-{part:05}.{extension}"))).collect()
        };
        for file in &files {
            create(file).map_err(|cause| file_error("create file", &self.path, &cause))?;
        }
        Ok(Staged { target: self, root, files })
    }

    /// Removes what exports to this target left when the server crashed under them.
    fn remove_stale(&self) {
        let prefix = self.temporary_prefix();
        for entry in fs::read_dir(self.parent()).into_iter().flatten().flatten() {
            let stale = entry.file_name().to_string_lossy().strip_prefix(&prefix).is_some_and(|rest| {
                let pid = rest.split('.').next().unwrap_or(rest);
                // SAFETY: signal 0 only asks whether the process exists.
                pid.parse::<i32>()
                    .is_ok_and(|pid| unsafe { libc::kill(pid, 0) } != 0 && errno() == libc::ESRCH)
            });
            if stale {
                let path = entry.path();
                let _ = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            }
        }
    }
}

/// Part of every temporary name.
const TEMP_MARK: &str = "pg_strata";

fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// Readable by all and writable by the server, as COPY's files are, whatever the server's umask.
fn create(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.set_permissions(Permissions::from_mode(0o644))?;
    Ok(file)
}

fn create_directory(path: &Path) -> io::Result<()> {
    fs::create_dir(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o755))
}

/// Temporary files, removed on drop, and by the transaction's abort where nothing is dropped.
pub struct Staged {
    target: Target,
    root: TempPath,
    pub files: Vec<PathBuf>,
}

impl Staged {
    /// Another temporary file beside the target, removed when it is dropped.
    pub fn sibling(&self, purpose: &str) -> Result<TempPath> {
        let mut name = self.root.path().as_os_str().to_owned();
        name.push(format!(".{purpose}"));
        let path = TempPath::new(name.into());
        create(path.path()).map_err(|cause| file_error("create file", path.path(), &cause))?;
        Ok(path)
    }

    /// Empties the files for another pass.
    pub fn restart(&self) -> Result<()> {
        for file in &self.files {
            OpenOptions::new()
                .write(true)
                .open(file)
                .and_then(|file| file.set_len(0))
                .map_err(|cause| file_error("truncate file", file, &cause))?;
        }
        Ok(())
    }

    /// Drops part `index` of a directory export: no process wrote to it.
    pub fn discard(&self, index: usize) -> Result<()> {
        fs::remove_file(&self.files[index])
            .map_err(|cause| file_error("remove file", &self.files[index], &cause))
    }

    /// Writes `_SUCCESS`, the last file of a directory export.
    pub fn write_manifest(&self, manifest: &Manifest) -> Result<()> {
        let path = self.root.path().join(SUCCESS);
        let written = create(&path).and_then(|file| {
            io::Write::write_all(&mut &file, manifest.to_json().as_bytes())?;
            file.sync_all()
        });
        written.map_err(|cause| file_error("write file", &path, &cause))
    }

    /// Makes the export visible under its name. Its files are synced already; so are the directories here.
    pub fn publish(self) -> Result<()> {
        let Staged { target, root, .. } = self;
        let fail = |cause: io::Error| file_error("publish", &target.path, &cause);
        if !target.is_file {
            sync_directory(root.path()).map_err(fail)?;
        }
        let exists = fs::symlink_metadata(&target.path).is_ok();
        if target.overwrite && exists && !target.is_file {
            // The old directory takes the temporary name and goes with it.
            rename(root.path(), &target.path, libc::RENAME_EXCHANGE).map_err(fail)?;
            drop(root);
        } else if target.overwrite || !target.is_file {
            // A directory can only be renamed over an empty one.
            fs::rename(root.path(), &target.path).map_err(fail)?;
            root.keep();
        } else {
            publish_new(root.path(), &target.path).map_err(fail)?;
            root.keep();
        }
        sync_directory(target.parent()).map_err(fail)
    }
}

/// Renames a file unless the target exists, which another session may have made meanwhile.
fn publish_new(from: &Path, to: &Path) -> io::Result<()> {
    match rename(from, to, libc::RENAME_NOREPLACE) {
        Err(cause) if matches!(cause.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)) => {
            // The file system cannot: a hard link cannot replace a file either.
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        result => result,
    }
}

fn rename(from: &Path, to: &Path, flags: u32) -> io::Result<()> {
    let text = |path: &Path| CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other);
    let (from, to) = (text(from)?, text(to)?);
    // SAFETY: two C strings that outlive the call.
    match unsafe { libc::renameat2(libc::AT_FDCWD, from.as_ptr(), libc::AT_FDCWD, to.as_ptr(), flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// A temporary file that this process writes into. The leader has created it.
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

    /// Writes at an offset that this process has reserved, and starts its way to storage.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        for (index, piece) in bytes.chunks(WRITE_BYTES).enumerate() {
            check_for_interrupts();
            let at = offset + (index * WRITE_BYTES) as u64;
            self.file.write_all_at(piece, at).map_err(|cause| self.failed(&cause))?;
        }
        self.write_back(offset, bytes.len() as u64, libc::SYNC_FILE_RANGE_WRITE);
        Ok(())
    }

    /// Moves a range on its way to storage; what fails here fails in `sync`, which reports it.
    fn write_back(&self, offset: u64, bytes: u64, flags: u32) {
        // SAFETY: an advisory call on an open file.
        unsafe { libc::sync_file_range(self.file.as_raw_fd(), offset as i64, bytes as i64, flags) };
    }

    /// Makes the first `length` bytes those of another file, by copies of `piece` bytes, and takes its permissions.
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
            check_for_interrupts();
            copy(at).map_err(|cause| self.failed(&cause))?;
        }
        let permissions = from.metadata().and_then(|found| self.file.set_permissions(found.permissions()));
        permissions.map_err(|cause| self.failed(&cause))
    }

    pub fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<()> {
        self.file.read_exact_at(bytes, offset).map_err(|cause| file_error("read file", &self.path, &cause))
    }

    /// Waits until the file's `length` bytes are on storage, piece by piece so that a cancel need not wait
    /// for all of them.
    pub fn sync(&self, length: u64) -> Result<()> {
        const WAIT: u32 = libc::SYNC_FILE_RANGE_WAIT_BEFORE
            | libc::SYNC_FILE_RANGE_WRITE
            | libc::SYNC_FILE_RANGE_WAIT_AFTER;
        for offset in (0..length).step_by(WRITE_BYTES) {
            check_for_interrupts();
            self.write_back(offset, WRITE_BYTES as u64, WAIT);
        }
        self.file.sync_all().map_err(|cause| self.failed(&cause))
    }

    fn failed(&self, cause: &io::Error) -> Error {
        file_error("write file", &self.path, cause)
    }
}
