//! Errors of reading a file as a table.

use std::any::Any;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::memory::{self, OutOfMemory};
use crate::types::Reason;

pub type Result<T> = std::result::Result<T, ReadError>;

/// The problem, and the file that has it.
#[derive(Debug)]
pub struct ReadError {
    pub path: String,
    pub problem: Problem,
}

#[derive(Debug)]
pub enum Problem {
    /// The system call that failed, such as "open file".
    Io(&'static str, io::Error),
    NotAFile,
    /// The file is of neither format.
    UnknownFormat,
    /// The bytes do not follow the format.
    Damaged(String),
    /// The bytes may follow the format, but such files are not read.
    Unsupported(String),
    /// The file is not the one that the scan began with.
    Changed,
    OutOfMemory(usize),
}

/// How this crate's readers and the decoders begin messages about features that they lack.
const UNSUPPORTED: &[&str] = &["unsupported: ", "NYI: ", "Not yet implemented: "];

/// The message of the verifier of Arrow's metadata (flatbuffers, InvalidFlatbuffer::DepthLimitReached).
const TOO_DEEP: &str = "table depth limit reached";

impl ReadError {
    pub fn new(path: &str, problem: Problem) -> ReadError {
        ReadError { path: path.to_owned(), problem }
    }

    /// Makes the error for a reader's message about a file's bytes: damage, unless it says that such files are
    /// not read.
    pub fn damaged(path: &str, why: impl fmt::Display) -> ReadError {
        let why = why.to_string();
        if let Some(missing) = memory::to_blame(&why) {
            return ReadError::new(path, Problem::OutOfMemory(missing.0));
        }
        if let Some((before, after)) = UNSUPPORTED.iter().find_map(|mark| why.split_once(mark)) {
            return ReadError::unsupported(path, &format!("{before}{after}"));
        }
        match why.contains(TOO_DEEP) {
            true => ReadError::unsupported(path, "its schema has more types in types than can be read"),
            false => ReadError::new(path, Problem::Damaged(why)),
        }
    }

    pub fn unsupported(path: &str, why: &str) -> ReadError {
        ReadError::new(path, Problem::Unsupported(why.to_owned()))
    }

    /// Returns the problem alone, as text.
    pub fn why(self) -> String {
        match self.problem {
            Problem::Damaged(why) | Problem::Unsupported(why) => why,
            Problem::Io(what, cause) => format!("could not {what}: {cause}"),
            Problem::OutOfMemory(bytes) => OutOfMemory(bytes).to_string(),
            other => format!("{other:?}"),
        }
    }

    /// Returns whether the problem is a lack of memory, which is not the file's.
    pub fn is_of_memory(&self) -> bool {
        matches!(self.problem, Problem::OutOfMemory(_))
    }

    /// Adds the row group or record batch, counted from 0, and the column that the damage is in.
    pub fn at(mut self, group: usize, column: Option<&str>) -> ReadError {
        if let Problem::Damaged(why) | Problem::Unsupported(why) = &mut self.problem {
            let column = column.map(|name| format!(", column \"{name}\"")).unwrap_or_default();
            *why = format!("In row group or record batch {group}{column}: {why}");
        }
        self
    }
}

/// A column of a file that cannot be read, and the reason.
#[derive(Debug, Clone, PartialEq)]
pub struct LeftOut {
    pub name: String,
    pub why: String,
}

/// Runs a reader on untrusted bytes: a panic of the decoder with a message is damage to the file. Other panics
/// are cancels or errors of the server, and go on.
pub fn guarded<T, E: fmt::Display>(
    path: &str,
    work: impl FnOnce() -> std::result::Result<T, E>,
) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|cause| refused(path, cause.to_string())),
        Err(panic) if is_message(panic.as_ref()) => {
            Err(ReadError::damaged(path, panic_message(panic.as_ref())))
        }
        Err(other) => resume_unwind(other),
    }
}

/// Makes the error for a decoder's message; texts longer in all than it can count are not damage.
fn refused(path: &str, why: String) -> ReadError {
    match why.contains("index overflow decoding byte array") {
        true => ReadError::unsupported(path, "texts of more than 2 GB lie in one batch of its rows"),
        false => ReadError::damaged(path, why),
    }
}

fn is_message(panic: &(dyn Any + Send)) -> bool {
    panic.is::<String>() || panic.is::<&str>()
}

pub fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("the decoder gave up").to_owned()
}

/// A value that the column's type cannot hold, by its row in the batch.
#[derive(Debug, PartialEq)]
pub struct Misfit {
    pub row: usize,
    pub reason: Reason,
}
