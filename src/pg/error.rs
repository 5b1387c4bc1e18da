//! Errors as PostgreSQL reports them: SQLSTATE, message in lower case, detail and hint in sentences.

use std::any::Any;
use std::backtrace::Backtrace;
use std::io;
use std::path::Path;

use pgrx::PgLogLevel;
pub use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use pgrx::pg_sys::panic::{CaughtError, ErrorReport};

use super::database_encoding::in_message;
use crate::interrupts::assert_main_thread;
use crate::memory::{self, OutOfMemory};

pub type Error = ErrorReport;
pub type Result<T> = std::result::Result<T, Error>;

pub fn error(code: Code, message: impl Into<String>) -> Error {
    assert_main_thread();
    ErrorReport::new(code, in_message(message.into()), "pg_strata")
}

impl From<OutOfMemory> for Error {
    fn from(OutOfMemory(bytes): OutOfMemory) -> Error {
        let detail = match bytes {
            0 => "A library could not allocate memory.".to_owned(),
            _ => format!("Failed on request of size {bytes}."),
        };
        error(Code::ERRCODE_OUT_OF_MEMORY, "out of memory").set_detail(detail).set_hint(MEMORY_HINT)
    }
}

const MEMORY_HINT: &str = "Give the server more memory, or lower the number of workers or the bytes of a row group or record batch.";

/// Returns an out-of-memory error if that is what the message of another error is about.
pub fn lack_of_memory(words: &str) -> Option<Error> {
    memory::to_blame(words).map(Error::from)
}

/// Makes an error for failed I/O on a file of the server, with the SQLSTATE of PostgreSQL's own file errors
/// (errcode_for_file_access in elog.c), and a hint where something can be done about it.
pub fn file_error(what: &str, path: &Path, error: &io::Error) -> Error {
    // Libraries wrap the error that they failed with.
    let hidden = error.raw_os_error().is_none().then(|| lack_of_memory(&error.to_string())).flatten();
    if let Some(hidden) = hidden {
        return hidden;
    }
    let (code, hint) = match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT) => {
            (Code::ERRCODE_DISK_FULL, "Free space on the file system, or export to another one.")
        }
        Some(libc::EFBIG) => (
            Code::ERRCODE_DISK_FULL,
            "The server's file size limit was met; raise it, or export to a directory.",
        ),
        Some(libc::ENOENT | libc::ENOTDIR) => {
            (Code::ERRCODE_UNDEFINED_FILE, "Create the directory on the server first.")
        }
        Some(libc::EACCES | libc::EPERM | libc::EROFS) => (
            Code::ERRCODE_INSUFFICIENT_PRIVILEGE,
            "The file is written by the server's operating system user, which must be allowed to.",
        ),
        Some(libc::EEXIST | libc::ENOTEMPTY) => {
            (Code::ERRCODE_DUPLICATE_FILE, "Pass overwrite => true to replace it.")
        }
        Some(libc::ENAMETOOLONG) => (
            Code::ERRCODE_INVALID_NAME,
            "On most file systems a name has at most 255 bytes, and a path 4095. Choose a shorter one.",
        ),
        Some(libc::ENOMEM) => (Code::ERRCODE_OUT_OF_MEMORY, MEMORY_HINT),
        Some(libc::EMFILE | libc::ENFILE) => {
            (Code::ERRCODE_INSUFFICIENT_RESOURCES, "Raise the limit on open files.")
        }
        _ => (Code::ERRCODE_IO_ERROR, "Check the server's storage and its log."),
    };
    self::error(code, format!("could not {what} \"{}\": {}", path.display(), os_message(error)))
        .set_hint(hint)
}

/// Returns the operating system's message alone, without Rust's "(os error 28)".
pub fn os_message(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_string(),
        None => text,
    }
}

/// Adds a sentence to the detail of a panic that carries an error of the server. The error's context, in which
/// PostgreSQL would put it, is lost on its way through pgrx.
pub fn with_detail(
    raised: Box<dyn Any + Send>,
    sentence: impl FnOnce() -> Option<String>,
) -> Box<dyn Any + Send> {
    let Some(CaughtError::PostgresError(report)) = raised.downcast_ref() else { return raised };
    let canceled = report.sql_error_code() == Code::ERRCODE_QUERY_CANCELED;
    let Some(sentence) = sentence().filter(|_| !canceled) else { return raised };
    let detail = match report.detail() {
        Some(detail) => format!("{detail} {sentence}"),
        None => sentence,
    };
    let located = error(report.sql_error_code(), report.message().to_owned()).set_detail(detail);
    Box::new(match report.hint() {
        Some(hint) => located.set_hint(hint),
        None => located,
    })
}

/// Returns the first two characters of a SQLSTATE.
pub fn error_class(code: Code) -> [u8; 2] {
    let character = |shift: i32| (code as i32 >> shift & 0x3f) as u8 + b'0';
    [character(0), character(6)]
}

/// Makes the error for a state that cannot occur.
pub fn internal(message: impl Into<String>) -> Error {
    error(Code::ERRCODE_INTERNAL_ERROR, message)
        .set_hint("This is a bug of pg_strata; please report it with the table's definition.")
}

/// Suppresses the backtrace that pgrx adds to the detail of every error when RUST_BACKTRACE is set in the
/// server's environment. The standard library asks the environment once and keeps the answer for this library
/// alone. RUST_LIB_BACKTRACE=1, which asks for nothing else, still brings them back.
pub fn leave_out_backtraces() {
    const VARIABLE: &str = "RUST_LIB_BACKTRACE";
    if std::env::var_os(VARIABLE).is_some() {
        return;
    }
    // SAFETY: runs during _PG_init, on the main thread, before this library has another.
    unsafe { std::env::set_var(VARIABLE, "0") };
    let _ = Backtrace::capture();
    // SAFETY: runs during _PG_init, on the main thread, before this library has another.
    unsafe { std::env::remove_var(VARIABLE) };
}

/// Writes a line to the server's log.
pub fn log(message: &str) {
    error(Code::ERRCODE_SUCCESSFUL_COMPLETION, message.to_owned()).report(PgLogLevel::LOG);
}

pub fn notice(message: &str, detail: String) {
    error(Code::ERRCODE_SUCCESSFUL_COMPLETION, message.to_owned())
        .set_detail(detail)
        .report(PgLogLevel::NOTICE);
}

pub fn warning(message: &str, detail: String, hint: &str) {
    error(Code::ERRCODE_WARNING, message.to_owned())
        .set_detail(detail)
        .set_hint(hint)
        .report(PgLogLevel::WARNING);
}
