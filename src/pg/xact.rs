//! Clean-up that must happen however a transaction ends: FATAL runs no Rust destructors, but it does
//! abort the transaction, and that calls us back. And what may fail without the transaction.

use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;

use pgrx::pg_sys::panic::{CaughtError, ErrorReportable};
use pgrx::{PgTryBuilder, pg_sys};

use super::catalog::error_class;
use super::error::{Code, Error};
use super::memory;
use crate::memory::reserve;

thread_local! {
    /// Temporary files and directories that this process made and has not published. Main thread only.
    static PENDING: RefCell<Vec<PathBuf>> = const { RefCell::new(Vec::new()) };
}

/// Called from `_PG_init`.
pub fn register() {
    // SAFETY: the callback is a static function and is registered once per process.
    unsafe { pg_sys::RegisterXactCallback(Some(at_xact_end), std::ptr::null_mut()) }
}

/// A temporary path that goes away, with all that is in it, unless `keep` is called.
pub struct TempPath(PathBuf);

impl TempPath {
    /// Registers the path before it is created, so that no moment is left uncovered.
    pub fn new(path: PathBuf) -> TempPath {
        // Nothing may end the process while the list is borrowed: its end goes through the list.
        let copy = path.clone();
        let noted = PENDING.with_borrow_mut(|pending| {
            reserve(pending, 1)?;
            pending.push(copy);
            Ok::<(), Error>(())
        });
        noted.unwrap_or_report();
        TempPath(path)
    }

    pub fn path(&self) -> &std::path::Path {
        &self.0
    }

    /// The path has been published under another name.
    pub fn keep(self) {
        forget(&self.0);
        std::mem::forget(self);
    }
}

impl Drop for TempPath {
    fn drop(&mut self) {
        remove(&self.0);
        forget(&self.0);
    }
}

fn forget(path: &std::path::Path) {
    PENDING.with_borrow_mut(|pending| pending.retain(|other| other != path));
}

/// Nothing can be done about a failure here: the error that brought us here is the one to report.
fn remove(path: &std::path::Path) {
    let _ = match path.is_dir() {
        true => std::fs::remove_dir_all(path),
        false => std::fs::remove_file(path),
    };
}

/// Forgets a cancel that has come: what it was for is done.
pub fn ignore_cancels() {
    // SAFETY: a flag that the main thread reads, which is this one.
    unsafe { (&raw mut pg_sys::QueryCancelPending).write_volatile(0) };
}

/// # Safety
/// Called by PostgreSQL at the end of every transaction of this process. It must not raise.
#[pgrx::pg_guard]
unsafe extern "C-unwind" fn at_xact_end(event: pg_sys::XactEvent::Type, _arg: *mut std::ffi::c_void) {
    use pg_sys::XactEvent::*;
    if matches!(event, XACT_EVENT_PRE_COMMIT | XACT_EVENT_PARALLEL_PRE_COMMIT | XACT_EVENT_PRE_PREPARE) {
        return;
    }
    memory::release();
    if event == XACT_EVENT_ABORT {
        let paths =
            PENDING.with(|pending| pending.try_borrow_mut().map(|mut paths| std::mem::take(&mut *paths)));
        // The last first: a file's lock goes after the file.
        paths.unwrap_or_default().iter().rev().for_each(|path| remove(path));
    }
}

/// Runs what may raise an error, which becomes the result: in a subtransaction of its own, so that nothing
/// stays open. A cancel, a lack of memory and bugs are errors still. Not for parallel workers, which have none.
pub fn attempt<T>(work: impl FnOnce() -> T) -> Result<T, (Code, String)> {
    attempt_unless(is_urgent, work)
}

/// As `attempt`, with other errors that stay errors.
pub fn attempt_unless<T>(
    is_urgent: impl Fn(Code) -> bool,
    work: impl FnOnce() -> T,
) -> Result<T, (Code, String)> {
    // SAFETY: as PL/pgSQL runs a block with handlers (pl_exec.c, exec_stmt_block): what the work allocates
    // lives in the caller's context, and owner and context are the caller's again afterwards.
    unsafe {
        let (context, owner) = (pg_sys::CurrentMemoryContext, pg_sys::CurrentResourceOwner);
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::MemoryContextSwitchTo(context);
        let result = PgTryBuilder::new(AssertUnwindSafe(|| Ok(work()))).catch_others(Err).execute();
        match &result {
            Ok(_) => pg_sys::ReleaseCurrentSubTransaction(),
            Err(_) => pg_sys::RollbackAndReleaseCurrentSubTransaction(),
        }
        pg_sys::MemoryContextSwitchTo(context);
        pg_sys::CurrentResourceOwner = owner;
        result.map_err(|cause| match cause {
            CaughtError::PostgresError(report) if !is_urgent(report.sql_error_code()) => {
                (report.sql_error_code(), report.message().to_owned())
            }
            other => other.rethrow(),
        })
    }
}

/// Not about what was tried: classes 53, insufficient resources, 57, operator intervention, and XX.
fn is_urgent(code: Code) -> bool {
    matches!(error_class(code), [b'5', b'3' | b'7'] | [b'X', b'X'])
}
