//! Cleans up however a transaction ends: FATAL runs no Rust destructors, but it aborts the transaction, which
//! calls back. Also runs work that may fail without failing the transaction.

use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;

use pgrx::pg_sys::panic::{CaughtError, ErrorReportable};
use pgrx::{PgTryBuilder, pg_sys};

use super::error::{Code, Error, error_class};
use super::memory;
use crate::memory::reserve;

thread_local! {
    /// Temporary files and directories that this process has made and not published. Main thread only.
    static PENDING: RefCell<Vec<PathBuf>> = const { RefCell::new(Vec::new()) };
}

/// Registers the callback. Called from `_PG_init`.
pub fn register() {
    // SAFETY: the callback is a static function and is registered once per process.
    unsafe { pg_sys::RegisterXactCallback(Some(at_xact_end), std::ptr::null_mut()) }
}

/// A temporary path that is removed, with its contents, unless `keep` is called.
pub struct TempPath(PathBuf);

impl TempPath {
    /// Registers the path; called before it is created, so that it is removed whenever the process ends.
    pub fn new(path: PathBuf) -> TempPath {
        // Nothing may end the process while the list is borrowed, since its end uses the list.
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

    /// Keeps the path's contents, which have been published under another name.
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

/// Removes a path. A failure is ignored: the error that led here is the one to report.
fn remove(path: &std::path::Path) {
    let _ = match path.is_dir() {
        true => std::fs::remove_dir_all(path),
        false => std::fs::remove_file(path),
    };
}

/// Ignores a pending cancel: the work that it was for is done.
pub fn ignore_cancels() {
    // SAFETY: only the main thread reads the flag, and this is that thread.
    unsafe { (&raw mut pg_sys::QueryCancelPending).write_volatile(0) };
}

/// Removes what the transaction did not publish.
///
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
        // The last path goes first, so that a file is removed before its lock.
        paths.unwrap_or_default().iter().rev().for_each(|path| remove(path));
    }
}

/// Runs work in a subtransaction of its own; an error that it raises becomes the result, and nothing stays
/// open. Cancels, a lack of memory and bugs are still raised. Parallel workers cannot call this, as they have
/// no subtransactions.
pub fn attempt<T>(work: impl FnOnce() -> T) -> Result<T, (Code, String)> {
    attempt_unless(is_urgent, work)
}

/// Runs work as `attempt` does, with another choice of errors that are still raised.
pub fn attempt_unless<T>(
    is_urgent: impl Fn(Code) -> bool,
    work: impl FnOnce() -> T,
) -> Result<T, (Code, String)> {
    // SAFETY: this is how PL/pgSQL runs a block with handlers (pl_exec.c, exec_stmt_block): what the work
    // allocates lives in the caller's context, and both owner and context are restored afterwards.
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

/// Returns whether an error is not about the work: classes 53, insufficient resources, 57, operator
/// intervention, and XX.
fn is_urgent(code: Code) -> bool {
    matches!(error_class(code), [b'5', b'3' | b'7'] | [b'X', b'X'])
}
