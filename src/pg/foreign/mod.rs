//! The foreign data wrapper `arrow_fdw`: PostgreSQL's side of `fdw`.
//!
//! ```text
//! plan.rs      files and metadata -> rows, cost, a path and a parallel one
//! parameters.rs paths that run again for each row of another relation
//! upper.rs     the same for aggregates
//! task.rs      what a plan tells its scan
//! scan.rs      files -> claims of groups -> batches               one Scan a scan node and process
//! open_file.rs the file that is being read, and what is known of its groups
//! batch.rs     a batch -> the rows that match -> tuples, or aggregates' states
//! column.rs    a column's Arrow array -> Datums; nested.rs lists and structs
//! condition.rs the query's conditions against the groups' statistics and filters, and against rows
//! import.rs    files -> the foreign table that suits them
//! parallel.rs  the list of files and the claims in shared memory
//! ```
//!
//! A `Scan` lives in a box that the query's memory context drops, so that its file is closed however the query
//! ends. Everything runs on the main thread of the backend or parallel worker that runs the query.

use std::cell::RefCell;
use std::sync::Arc;

use pgrx::pg_sys;
use pgrx::pg_sys::{Datum, Oid};

use super::encoding::in_message;
use super::error::{Code, Error, Result, error, os_message};
use super::guc;
use crate::fdw::{Cache, CacheStats, DataFile, FileId, FileMeta, Problem, ReadError, Source};

pub mod access;
mod aggregate;
mod aggregate_numeric;
mod analyze;
mod batch;
mod callbacks;
mod column;
mod condition;
mod explain;
mod file_column;
mod import;
mod import_columns;
mod import_names;
mod nested;
mod open_file;
pub mod options;
mod parallel;
mod parameters;
mod plan;
mod read_files;
mod scan;
mod slot;
mod task;
mod upper;

pub use read_files::read_files;

thread_local! {
    /// Main thread only, as everything here.
    static CACHE: RefCell<Cache> = RefCell::default();
}

/// Opens a file, to be read with looks at who wants to cancel.
pub fn open(path: &str) -> Result<Source> {
    Ok(Source::open(path).map_err(report)?.with_look(super::check_for_interrupts))
}

/// Opens the file that `id` was taken of, and no other.
fn reopen(id: &FileId) -> Result<Source> {
    Ok(Source::reopen(id).map_err(report)?.with_look(super::check_for_interrupts))
}

/// The files that there are now.
fn list(options: &options::TableOptions) -> Result<Vec<DataFile>> {
    options.files.list(options.pattern.as_ref(), super::check_for_interrupts).map_err(report)
}

/// The metadata of an open file, from the cache where it is known.
fn metadata(source: &Source) -> Result<Arc<FileMeta>> {
    CACHE.with_borrow_mut(|cache| cache.get(source, guc::arrow_fdw_metadata_cache())).map_err(report)
}

/// What this session's cache of metadata holds.
pub fn metadata_stats() -> CacheStats {
    CACHE.with_borrow(Cache::stats)
}

/// The metadata of the files of a foreign table: file, column where it is one's, key and value.
pub fn metadata_info(table: Oid) -> Result<Vec<(String, Option<String>, String, String)>> {
    // SAFETY: a syscache look-up.
    if unsafe { pg_sys::get_rel_relkind(table) } as u8 != pg_sys::RELKIND_FOREIGN_TABLE {
        return Err(error(Code::ERRCODE_WRONG_OBJECT_TYPE, "not a foreign table")
            .set_hint("Name a foreign table of the server arrow_fdw."));
    }
    access::check_file_role(pg_sys::InvalidOid)?;
    let options = options::of_table(table)?;
    let mut found = Vec::new();
    for file in list(&options)? {
        super::check_for_interrupts();
        let meta = metadata(&open(&file.path)?)?;
        for (key, value) in meta.key_values() {
            found.push((file.path.clone(), None, key.to_owned(), value.to_owned()));
        }
        for field in meta.schema().fields() {
            for (key, value) in field.metadata() {
                found.push((file.path.clone(), Some(field.name().clone()), key.clone(), value.clone()));
            }
        }
    }
    Ok(found)
}

/// The routine's callbacks, in a node that PostgreSQL keeps.
pub fn routine() -> Datum {
    // SAFETY: a new node of the type that its tag says, in the caller's context.
    unsafe {
        let routine = pg_sys::palloc0(size_of::<pg_sys::FdwRoutine>()).cast::<pg_sys::FdwRoutine>();
        (*routine).type_ = pg_sys::NodeTag::T_FdwRoutine;
        (*routine).GetForeignRelSize = Some(plan::get_rel_size);
        (*routine).GetForeignPaths = Some(plan::get_paths);
        (*routine).GetForeignPlan = Some(plan::get_plan);
        (*routine).GetForeignUpperPaths = Some(upper::get_upper_paths);
        (*routine).BeginForeignScan = Some(callbacks::begin);
        (*routine).IterateForeignScan = Some(callbacks::iterate);
        (*routine).ReScanForeignScan = Some(callbacks::rescan);
        (*routine).EndForeignScan = Some(callbacks::end);
        (*routine).ExplainForeignScan = Some(explain::explain);
        (*routine).AnalyzeForeignTable = Some(analyze::analyze);
        (*routine).ImportForeignSchema = Some(import::import);
        (*routine).IsForeignScanParallelSafe = Some(parallel::is_safe);
        (*routine).EstimateDSMForeignScan = Some(parallel::estimate);
        (*routine).InitializeDSMForeignScan = Some(parallel::initialize);
        (*routine).ReInitializeDSMForeignScan = Some(parallel::reinitialize);
        (*routine).InitializeWorkerForeignScan = Some(parallel::initialize_worker);
        (*routine).ShutdownForeignScan = Some(parallel::shutdown);
        Datum::from(routine)
    }
}

/// What is wrong with a file, as PostgreSQL reports it.
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

/// A list's members.
///
/// # Safety
/// The list is one of pointers to `T`, or NULL.
unsafe fn members<T>(list: *const pg_sys::List) -> Vec<*mut T> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: as the caller says.
    unsafe {
        let length = (*list).length as usize;
        (0..length).map(|index| (*(*list).elements.add(index)).ptr_value.cast()).collect()
    }
}
