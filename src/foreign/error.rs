//! Errors of files, as PostgreSQL reports them.

use crate::fdw::{Problem, ReadError};
use crate::pg::encoding::in_message;
use crate::pg::error::{Code, Error, error, os_message};

/// Returns what is wrong with a file as PostgreSQL's error.
pub fn report(found: ReadError) -> Error {
    let path = &found.path;
    match found.problem {
        Problem::Io(what, cause) => {
            let (code, hint) = match cause.raw_os_error() {
                Some(libc::ENOENT | libc::ENOTDIR) => {
                    (Code::ERRCODE_UNDEFINED_FILE, "The path is one on the server; check it there.")
                }
                Some(libc::EACCES | libc::EPERM) => (
                    Code::ERRCODE_INSUFFICIENT_PRIVILEGE,
                    "The file is read by the server's operating system user, which must be allowed to.",
                ),
                Some(libc::ENOMEM) => {
                    (Code::ERRCODE_OUT_OF_MEMORY, "Give the server more memory, or run fewer queries at a time.")
                }
                Some(libc::EMFILE | libc::ENFILE) => {
                    (Code::ERRCODE_INSUFFICIENT_RESOURCES, "Raise the limit on open files.")
                }
                _ => (Code::ERRCODE_IO_ERROR, "Check the server's storage and its log."),
            };
            error(code, format!("could not {what} \"{path}\": {}", os_message(&cause))).set_hint(hint)
        }
        Problem::NotAFile => error(Code::ERRCODE_WRONG_OBJECT_TYPE, format!("\"{path}\" is not a regular file"))
            .set_hint("Name files with the options file or files, and directories with dir."),
        Problem::UnknownFormat => error(
            Code::ERRCODE_FDW_ERROR,
            format!("file \"{path}\" is neither a Parquet nor an Arrow IPC file"),
        )
        .set_hint("Choose the files of a directory with suffix or pattern. Arrow streams have to be written as files."),
        Problem::Unsupported(why) => {
            error(Code::ERRCODE_FEATURE_NOT_SUPPORTED, format!("file \"{path}\" is one that is not read"))
                .set_detail(in_message(why))
                .set_hint("Take it out of the files, or write its rows to a file of another kind.")
        }
        Problem::Damaged(why) => error(Code::ERRCODE_FDW_ERROR, format!("file \"{path}\" is damaged"))
            .set_detail(in_message(why))
            .set_hint("Write the file again, or take it out of the foreign table's files."),
        Problem::Changed => error(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("file \"{path}\" was replaced or written to while it was being read"),
        )
        .set_detail("Its size, its inode or the times of its last changes are others than when the query began to read it.")
        .set_hint("Run the query again. Replace files by renaming complete ones."),
        Problem::OutOfMemory(bytes) => error(Code::ERRCODE_OUT_OF_MEMORY, "out of memory")
            .set_detail(in_message(format!("File \"{path}\" asks for {bytes} bytes at once.")))
            .set_hint("Write the file with smaller row groups or record batches."),
    }
}
