//! The rows of a foreign table, whose groups the leader and its workers claim.

use std::ffi::CString;
use std::sync::atomic::AtomicU64;

use pgrx::pg_sys::{self, Node, Oid};
use serde::{Deserialize, Serialize};

use super::nodes::list;
use super::sink::QuerySink;
use crate::expr::{Vector, varlena};
use crate::foreign::{Files, FilesRead, TableReader};
use crate::pg::error::{Result, internal};
use crate::pg::list::members;
use crate::pg::render::place;
use crate::query::{Plan, Rows, Source, Type, Unfit};
use crate::types::Cell;

/// Capacity that a batch's arena keeps after large values.
const KEPT_BYTES: usize = 64 << 20;

/// What processes read of a foreign table.
#[derive(Serialize, Deserialize)]
pub struct FileRows {
    table: u32,
    role: u32,
    /// The attributes that are the plan's columns.
    attributes: Vec<i16>,
    filters: usize,
    files: Files,
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
    pub fn read(
        &self,
        plan: &Plan,
        expressions: &str,
        words: &[AtomicU64],
        sink: &mut QuerySink,
    ) -> Result<()> {
        let (table, role) = (Oid::from(self.table), Oid::from(self.role));
        let mut reader = open(table, role, &self.attributes, expressions, self.filters)?;
        reader.take(&self.files);
        // SAFETY: the leader has filled the words, which outlive the reader.
        unsafe { reader.join(words.as_ptr().cast()) };
        let mut held: Vec<Held> = plan.columns.iter().map(|_| Held::default()).collect();
        let mut arena = Vec::new();
        while !sink.is_stopped() {
            let read = reader.next(|count, columns| {
                // PostgreSQL's plan does not look at values in rows that the conditions exclude.
                let Ok(columns) = columns else {
                    sink.give_up(Unfit("a value of a file that is not one of its column"));
                    return Ok(());
                };
                arena.clear();
                arena.shrink_to(KEPT_BYTES);
                for ((column, vector), held) in plan.columns.iter().zip(&columns).zip(&mut held) {
                    if !held.take(column.of, vector, &mut arena)? {
                        sink.give_up(Unfit("rows of a file that are larger than 4 gigabytes together"));
                        return Ok(());
                    }
                }
                let sources = columns.iter().zip(&held).map(|(vector, held)| held.source(vector));
                let sources: Vec<Source> = sources.collect();
                sink.add(&Rows::mixed(&sources, &arena), 0..count)
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

/// The values of a column that do not lie in words: places in the batch's arena.
#[derive(Default)]
struct Held {
    cells: Option<Vec<Cell>>,
}

impl Held {
    /// Takes the values of a batch; returns false if the arena has no place for them.
    fn take(&mut self, of: Type, vector: &Vector, arena: &mut Vec<u8>) -> Result<bool> {
        let is_held = matches!(of, Type::Text | Type::Bpchar | Type::Uuid | Type::Numeric);
        let (Vector::Words(words, nulls), true) = (vector, is_held) else {
            self.cells = None;
            return Ok(true);
        };
        let cells = self.cells.get_or_insert_default();
        cells.clear();
        for (&word, &is_null) in words.iter().zip(*nulls) {
            if is_null {
                cells.push(Cell::NULL);
                continue;
            }
            // SAFETY: the word is a Datum of the type, in the batch's memory.
            let bytes = unsafe {
                match of {
                    Type::Uuid => std::slice::from_raw_parts(word as *const u8, 16),
                    _ => varlena(word),
                }
            };
            let Some(cell) = place(bytes, arena)? else { return Ok(false) };
            cells.push(cell);
        }
        Ok(true)
    }

    fn source<'a>(&'a self, vector: &'a Vector) -> Source<'a> {
        match (&self.cells, vector) {
            (Some(cells), _) => Source::Cells(cells),
            (None, Vector::Words(words, nulls)) => Source::Words(words, nulls),
            (None, Vector::Decimals(decimals)) => Source::Decimals(*decimals),
        }
    }
}
