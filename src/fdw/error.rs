//! What can be wrong with a file that is read as a table.

use std::any::Any;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::memory::{self, OutOfMemory};
use crate::types::Reason;

pub type Result<T> = std::result::Result<T, ReadError>;

/// What is wrong, and with which file.
#[derive(Debug)]
pub struct ReadError {
    pub path: String,
    pub problem: Problem,
}

#[derive(Debug)]
pub enum Problem {
    /// The system call that failed, as in "open file".
    Io(&'static str, io::Error),
    NotAFile,
    /// Neither of the two formats.
    UnknownFormat,
    /// The bytes are not what the format says.
    Damaged(String),
    /// They may well be, but they are not read.
    Unsupported(String),
    /// The file is not the one that the scan began with.
    Changed,
    OutOfMemory(usize),
}

/// How this crate's readers and the decoders mark what is no damage.
const UNSUPPORTED: &[&str] = &["unsupported: ", "NYI: ", "Not yet implemented: "];

/// What the verifier of Arrow's metadata says of it (flatbuffers, InvalidFlatbuffer::DepthLimitReached).
const TOO_DEEP: &str = "table depth limit reached";

impl ReadError {
    pub fn new(path: &str, problem: Problem) -> ReadError {
        ReadError { path: path.to_owned(), problem }
    }

    /// What a reader found wrong with a file's bytes, unless it says that it does not read such files.
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

    /// What is wrong with the bytes, alone.
    pub fn why(self) -> String {
        match self.problem {
            Problem::Damaged(why) | Problem::Unsupported(why) => why,
            Problem::Io(what, cause) => format!("could not {what}: {cause}"),
            Problem::OutOfMemory(bytes) => OutOfMemory(bytes).to_string(),
            other => format!("{other:?}"),
        }
    }

    /// Of the machine, not of the file.
    pub fn is_of_memory(&self) -> bool {
        matches!(self.problem, Problem::OutOfMemory(_))
    }

    /// Says in which row group or record batch, counted from 0, the damage is, and in which column.
    pub fn at(mut self, group: usize, column: Option<&str>) -> ReadError {
        if let Problem::Damaged(why) | Problem::Unsupported(why) = &mut self.problem {
            let column = column.map(|name| format!(", column \"{name}\"")).unwrap_or_default();
            *why = format!("In row group or record batch {group}{column}: {why}");
        }
        self
    }
}

/// A column that a file has and that cannot be read, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct LeftOut {
    pub name: String,
    pub why: String,
}

/// Runs a reader on bytes that anybody may have written: a panic of the decoder's is damage to the file. One that is no
/// message is whoever looked on giving up.
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

/// What the decoder says of texts whose lengths add up to more than it counts is no damage.
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

/// A value of a batch that the column's type does not hold, by its row in the batch.
#[derive(Debug, PartialEq)]
pub struct Misfit {
    pub row: usize,
    pub reason: Reason,
}
