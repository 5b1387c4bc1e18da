//! Reads the columns of a foreign table batch by batch, for a caller that evaluates them itself: alone, or with parallel
//! workers that share the claims.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use pgrx::pg_sys::{self, Oid};

use super::access::check_may_read;
use super::callbacks;
use super::claims::{Counts, Shared};
use super::file_column::TableColumn;
use super::files::reopen;
use super::held::{Held, Loaded};
use super::parallel::{Listed, list_of, take_list};
use super::scan::Scan;
use crate::fdw::FileId;
use crate::pg::catalog::Table;
use crate::pg::error::Result;
use crate::pg::expr::types::type_of;
use crate::query::{Rows, Type, Unfit};

pub struct TableReader {
    scan: Scan,
    /// The scan's place of each column.
    places: Vec<usize>,
    held: Held,
}

impl TableReader {
    /// Returns whether a relation of the planner's is a foreign table of ours.
    ///
    /// # Safety
    /// The relation is the planner's.
    pub unsafe fn reads(relation: *const pg_sys::RelOptInfo) -> bool {
        // SAFETY: the caller passes a relation.
        unsafe { callbacks::are_ours((*relation).fdwroutine) }
    }

    /// Opens the attributes of a table, with the privileges of `role`. Groups of rows are skipped if one of the conditions
    /// is true for none of their rows; the conditions' Vars are numbered as the attributes are, from 1.
    ///
    /// # Safety
    /// The conditions are a list of expressions without parameters, which outlives the reader, or NULL.
    pub unsafe fn new(
        table: Oid,
        role: Oid,
        attributes: &[i16],
        conditions: *mut pg_sys::List,
    ) -> Result<TableReader> {
        check_may_read(table, role)?;
        let table = Table::open(table)?;
        let mut scan = Scan::new(table.oid(), attributes, &[], table.descriptor())?;
        let number = |column: &TableColumn| attributes.iter().position(|number| *number == column.number);
        // SAFETY: the caller passes a list of expressions.
        unsafe { scan.prune_by(conditions, |column| number(column).map_or(0, |at| at as i16 + 1))? };
        let place = |number: &i16| scan.columns.iter().position(|column| column.number == *number);
        let places: Vec<usize> = attributes.iter().filter_map(place).collect();
        let of = |&at: &usize| type_of(scan.columns[at].type_oid).unwrap_or(Type::Other);
        let held = Held::new(places.iter().map(of).collect());
        Ok(TableReader { scan, places, held })
    }

    /// Lists the files, for the reader of every process.
    pub fn files(&mut self) -> Result<Files> {
        list_of(&mut self.scan).map(Files)
    }

    /// Reads files that the leader has listed.
    pub fn take(&mut self, files: &Files) {
        take_list(&mut self.scan, files.0.iter().cloned());
    }

    /// Returns the table's option parallel_workers.
    pub fn workers_option(&self) -> Option<i32> {
        self.scan.options.parallel_workers
    }

    /// Claims groups from counters that all processes share.
    ///
    /// # Safety
    /// `Files::share` has written the words, which outlive the reader.
    pub unsafe fn join(&mut self, words: *const u64) {
        // SAFETY: the caller passes the shared counters.
        unsafe { self.scan.claims.join(words.cast()) }
    }

    /// Passes the next rows on: their number and the rows, or why they cannot be had. Returns `None` at the end.
    pub fn next<T>(
        &mut self,
        work: impl FnOnce(usize, std::result::Result<&Rows, Unfit>) -> Result<T>,
    ) -> Result<Option<T>> {
        let Some(rows) = self.scan.next_batch()? else { return Ok(None) };
        let (places, held) = (&self.places, &mut self.held);
        let read = self.scan.with_columns(&rows, |columns| {
            // PostgreSQL's plan does not look at values in rows that the conditions exclude.
            let Ok(columns) = columns else {
                return work(rows.count, Err(Unfit("a value of a file that is not one of its column")));
            };
            let columns: Vec<&Loaded> = places.iter().map(|&at| &columns[at]).collect();
            match held.take(&columns)? {
                Some(sources) => work(rows.count, Ok(&sources.rows())),
                None => {
                    work(rows.count, Err(Unfit("rows of a file that are larger than 4 gigabytes together")))
                }
            }
        });
        read.map(Some)
    }
}

/// The files of a table, as its leader has listed them.
#[derive(serde::Serialize, serde::Deserialize)]
pub struct Files(Vec<Listed>);

impl Files {
    /// Returns how many words the shared counters take.
    pub fn words(&self) -> usize {
        Shared::bytes(self.0.len(), 0).div_ceil(size_of::<u64>())
    }

    pub fn groups(&self) -> usize {
        self.0.iter().map(Listed::groups).sum()
    }

    /// Writes the counters.
    ///
    /// # Safety
    /// There are as many words as `words` says, which nobody uses yet.
    pub unsafe fn share(&self, words: *mut u64) {
        // SAFETY: the caller passes room for the counters.
        unsafe { Shared::write(words.cast(), self.0.len()) }
    }

    /// Returns what was read.
    ///
    /// # Safety
    /// `share` has written the words.
    pub unsafe fn read(&self, words: *const u64) -> FilesRead {
        let shared = words.cast::<Shared>();
        // SAFETY: the caller passes the counters.
        let (counts, read) = unsafe { ((*shared).counts(), Shared::read(shared)) };
        let lines = self.0.iter().zip(read);
        let lines = lines.map(|(file, read)| file.text(read.load(Ordering::Relaxed))).collect();
        FilesRead { counts, lines }
    }
}

/// The files that a query has listed.
#[derive(Default)]
pub struct FilesSeen(HashMap<String, FileId>);

impl FilesSeen {
    /// Adds files. One that has changed since it was added is an error.
    pub fn add(&mut self, files: &Files) -> Result<()> {
        for file in &files.0 {
            let id = file.id();
            let known = self.0.entry(id.path.clone()).or_insert_with(|| id.clone());
            if known != id {
                reopen(known)?;
            }
        }
        Ok(())
    }
}

/// What processes have read of files.
pub struct FilesRead {
    pub counts: Counts,
    /// A line of EXPLAIN for each file.
    pub lines: Vec<String>,
}

impl FilesRead {
    /// Returns this and what was read of another table's files.
    pub fn and(mut self, other: FilesRead) -> FilesRead {
        self.counts.loaded += other.counts.loaded;
        self.counts.skipped += other.counts.skipped;
        self.lines.extend(other.lines);
        self
    }
}
