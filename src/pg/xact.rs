//! Clean-up that must happen however a transaction ends: FATAL runs no Rust destructors, but it does
//! abort the transaction, and that calls us back.

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Once;

use pgrx::pg_sys;

thread_local! {
    /// Temporary files and directories that this process made and has not published. Main thread only.
    static PENDING: RefCell<Vec<PathBuf>> = const { RefCell::new(Vec::new()) };
}

static REGISTER: Once = Once::new();

/// A temporary path that goes away, with all that is in it, unless `keep` is called.
pub struct TempPath(PathBuf);

impl TempPath {
    /// Registers the path before it is created, so that no moment is left uncovered.
    pub fn new(path: PathBuf) -> TempPath {
        REGISTER.call_once(|| {
            // SAFETY: the callback is a static function and is registered once per process.
            unsafe { pg_sys::RegisterXactCallback(Some(at_xact_end), std::ptr::null_mut()) }
        });
        PENDING.with_borrow_mut(|pending| pending.push(path.clone()));
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
    if event == pg_sys::XactEvent::XACT_EVENT_ABORT {
        PENDING.with_borrow_mut(|pending| pending.drain(..).for_each(|path| remove(&path)));
    }
}
