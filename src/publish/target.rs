//! The target of an export, and whether the export may write there. Only the leader uses it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::SUCCESS;
use super::manifest::{entries, foreign_entry};
use crate::pg::access::is_superuser;
use crate::pg::encoding::in_message;
use crate::pg::error::{Code, Error, Result, error, file_error};
use crate::pg::guc;
use crate::pg::session::data_directory;

/// A part of every temporary name.
const TEMP_MARK: &str = "pg_strata";

/// The extensions of Parquet and Arrow files.
const FILE_EXTENSIONS: [&str; 7] = ["parquet", "parq", "pq", "arrow", "arrows", "feather", "ipc"];

/// Returns whether a path means a file, since it ends in `extension`, in any case, or a directory. The extension of
/// another kind of file is an error: a directory of that name would be a surprise.
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

/// The target of an export: one file, or a directory of part files.
pub struct Target {
    pub(super) path: PathBuf,
    pub(super) overwrite: bool,
    pub(super) is_file: bool,
    /// The extension of a file, if any other path means a directory. The parts in a directory have it too.
    pub(super) extension: Option<&'static str>,
}

impl Target {
    /// Checks what can be checked before the table is read.
    pub fn new(
        path: &str,
        is_file: bool,
        extension: Option<&'static str>,
        overwrite: bool,
    ) -> Result<Target> {
        let given = Path::new(path);
        if !given.is_absolute() && path.contains("://") {
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
        // Symbolic links and ".." are resolved before the path is compared with the allowed ones.
        let resolved = parent.canonicalize();
        match &resolved {
            Ok(directory) => check_allowed(given, Some(directory))?,
            Err(_) => check_allowed(given, existing_ancestor(parent).as_deref())?,
        }
        let parent = resolved.map_err(|cause| file_error("access directory", parent, &cause))?;
        let target = Target { path: parent.join(name), overwrite, is_file, extension };
        target.check_existing()?;
        Ok(target)
    }

    pub(super) fn parent(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
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
        if !found.is_file() && !found.is_dir() && !found.is_symlink() {
            return Err(self
                .wrong_kind("neither a regular file nor a directory")
                .set_hint("Choose another name."));
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

    pub(super) fn wrong_kind(&self, is: &str) -> Error {
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

    /// Returns the prefix of temporary names beside the target. It contains the target's name, truncated if it is too
    /// long.
    pub(super) fn temporary_prefix(&self) -> String {
        const LONGEST: usize = 200;
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let end = (0..=name.len().min(LONGEST)).rev().find(|&at| name.is_char_boundary(at));
        format!(".{}.{TEMP_MARK}.", &name[..end.unwrap_or(0)])
    }

    /// Checks that an existing directory is empty or, with `overwrite`, contains only an earlier export.
    fn check_existing_directory(&self) -> Result<()> {
        let failed = |cause| file_error("read directory", &self.path, &cause);
        if entries(&self.path).map_err(failed)?.is_empty() {
            return Ok(());
        }
        if !self.overwrite {
            return Err(self.exists());
        }
        match foreign_entry(&self.path).map_err(failed)? {
            None => Ok(()),
            Some(other) => Err(self.holds(&other)),
        }
    }

    /// Returns the error for a directory that contains something that no export wrote.
    pub(super) fn holds(&self, other: &str) -> Error {
        error(
            Code::ERRCODE_DUPLICATE_FILE,
            format!("directory \"{}\" holds more than an earlier export", self.path.display()),
        )
        .set_detail(in_message(format!("\"{other}\" is not among the files that its {SUCCESS} lists.")))
        .set_hint("Move it away, or export to another directory.")
    }

    fn exists(&self) -> Error {
        error(Code::ERRCODE_DUPLICATE_FILE, format!("\"{}\" exists already", self.path.display()))
            .set_hint("Pass overwrite => true to replace it.")
    }
}

/// Checks that the configured values of the settings that guard exports are known; otherwise only superusers may
/// export.
fn check_settings() -> Result<()> {
    let Some(name) = guc::hidden_setting().filter(|_| !is_superuser()) else { return Ok(()) };
    let message = format!("the configured value of {name} is not known in this session");
    Err(error(Code::ERRCODE_INSUFFICIENT_PRIVILEGE, message)
        .set_detail("The session set the parameter before pg_strata was loaded, which only superusers may do.")
        .set_hint("Connect again without setting it. With pg_strata in shared_preload_libraries such a connection is refused."))
}

/// Checks that files may be written below `directory`, to which the directory of the path `given` leads or its first
/// part that exists; `None` if that is not known. The errors are the same whether or not a directory exists to which
/// nothing may be written.
fn check_allowed(given: &Path, directory: Option<&Path>) -> Result<()> {
    check_settings()?;
    let is_below = |above: &Path| directory.is_some_and(|directory| directory.starts_with(above));
    let is_inside = |above: &String| Path::new(above).canonicalize().is_ok_and(|above| is_below(&above));
    if let Some(allowed) = guc::export_directories()
        && !allowed.iter().any(is_inside)
    {
        return Err(outside(given, &allowed));
    }
    if !is_superuser() && is_below(&data_directory()) {
        return Err(error(
            Code::ERRCODE_INSUFFICIENT_PRIVILEGE,
            format!("path \"{}\" is inside the server's data directory", given.display()),
        )
        .set_hint("Export to another directory; only superusers may write there."));
    }
    Ok(())
}

/// Returns the lowest directory above `path` that exists, resolved; `None` below a symbolic link that cannot be
/// followed, which may lead anywhere.
fn existing_ancestor(path: &Path) -> Option<PathBuf> {
    for directory in path.ancestors() {
        match directory.canonicalize() {
            Ok(found) => return Some(found),
            Err(_) if fs::symlink_metadata(directory).is_ok_and(|found| found.is_symlink()) => return None,
            Err(_) => {}
        }
    }
    None
}

fn outside(path: &Path, allowed: &[String]) -> Error {
    error(
        Code::ERRCODE_INSUFFICIENT_PRIVILEGE,
        format!("path \"{}\" is outside pg_strata.export_directories", path.display()),
    )
    .set_hint(in_message(match allowed.is_empty() {
        true => "The setting names no directory; a superuser can change it.".to_owned(),
        false => format!("Export below one of: {}.", allowed.join(", ")),
    }))
}
