//! The rows of a foreign table, whose groups the leader and its workers claim.

use std::ffi::CString;
use std::sync::atomic::AtomicU64;

use pgrx::pg_sys::{self, Node, Oid};
use serde::{Deserialize, Serialize};

use super::sink::QuerySink;
use crate::foreign::{Files, FilesRead, TableReader};
use crate::pg::error::{Result, internal};
use crate::pg::expr::nodes::list;
use crate::pg::list::members;

/// What processes read of a foreign table.
#[derive(Serialize, Deserialize)]
pub struct FileRows {
    table: u32,
    role: u32,
    /// The attributes that are the plan's columns.
    attributes: Vec<i16>,
    filters: usize,
    pub files: Files,
    pub workers_option: Option<i32>,
}

impl FileRows {
    /// Lists the files in which rows may meet the conditions, which are the first `filters` of the expressions.
    pub fn list(
        (table, role): (Oid, Oid),
        attributes: Vec<i16>,
        expressions: &str,
        filters: usize,
    ) -> Result<FileRows> {
        let mut reader = open(table, role, &attributes, expressions, filters)?;
        Ok(FileRows {
            table: table.to_u32(),
            role: role.to_u32(),
            attributes,
            filters,
            files: reader.files()?,
            workers_option: reader.workers_option(),
        })
    }

    /// Returns how many groups there are.
    pub fn groups(&self) -> usize {
        self.files.groups()
    }

    /// Returns how many words the processes share.
    pub fn words(&self) -> usize {
        self.files.words()
    }

    /// Fills the words, before any other process uses them.
    pub fn share(&self, words: &[AtomicU64]) {
        debug_assert!(words.len() >= self.words());
        // SAFETY: atomic words may be written through a shared reference, and nobody else uses them yet.
        unsafe { self.files.share(words.as_ptr().cast_mut().cast()) }
    }

    /// Returns what was read.
    pub fn read_of(&self, words: &[AtomicU64]) -> FilesRead {
        // SAFETY: `share` has written the words.
        unsafe { self.files.read(words.as_ptr().cast()) }
    }

    /// Adds the rows of groups until none are left.
    pub fn read(&self, expressions: &str, words: &[AtomicU64], sink: &mut QuerySink) -> Result<()> {
        let (table, role) = (Oid::from(self.table), Oid::from(self.role));
        let mut reader = open(table, role, &self.attributes, expressions, self.filters)?;
        reader.take(&self.files);
        // SAFETY: the leader has filled the words, which outlive the reader.
        unsafe { reader.join(words.as_ptr().cast()) };
        while !sink.is_stopped() {
            let read = reader.next(|count, rows| match rows {
                Ok(rows) => sink.add(rows, 0..count),
                Err(unfit) => {
                    sink.give_up(unfit);
                    Ok(())
                }
            });
            if read?.is_none() {
                break;
            }
        }
        Ok(())
    }
}

/// Opens a reader of the table. The conditions that come first among the expressions skip groups.
fn open(table: Oid, role: Oid, attributes: &[i16], expressions: &str, filters: usize) -> Result<TableReader> {
    let text = CString::new(expressions).map_err(|_| internal("an expression's text has a NUL"))?;
    // SAFETY: the text is a list of expressions over Vars of the columns, without parameters; the nodes live in the
    // current context, as long as the scan.
    unsafe {
        let nodes = members::<Node>(pg_sys::stringToNode(text.as_ptr()).cast());
        let filters = list(nodes.into_iter().take(filters));
        TableReader::new(table, role, attributes, filters)
    }
}
