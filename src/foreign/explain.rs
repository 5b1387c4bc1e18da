//! EXPLAIN of a scan: the columns that are read, the scan's own conditions, the conditions that skip groups, the files.

use pgrx::pg_guard;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReportable;

use super::callbacks;
use crate::pg::access::check_read_role;
use crate::pg::check_for_interrupts;
use crate::pg::explain::{property, texts};
use crate::pg::list::members;

/// # Safety
/// EXPLAIN calls it between `begin` and `end`.
#[pg_guard]
pub unsafe extern "C-unwind" fn explain(
    node: *mut pg_sys::ForeignScanState,
    state: *mut pg_sys::ExplainState,
) {
    // SAFETY: the node has a scan, and its plan is a ForeignScan.
    unsafe {
        let scan = callbacks::of(node);
        // The names of files may be secret, and the number of groups that a condition skips tells about rows that a
        // view may hide.
        let may_see_files = check_read_role(pg_sys::InvalidOid).is_ok();
        let names: Vec<&str> = scan.columns.iter().map(|column| column.name.as_str()).collect();
        if !names.is_empty() {
            property("referenced", &names.join(", "), state);
        }
        let plan = (*node).ss.ps.plan.cast::<pg_sys::ForeignScan>();
        let texts = |exprs: &[*mut pg_sys::Expr]| texts(exprs, plan.cast(), std::ptr::null_mut(), state);
        let decided = members::<pg_sys::Expr>((*plan).fdw_exprs);
        if !decided.is_empty() {
            property("Columnar Filter", &texts(&decided).join(" AND "), state);
        }
        if scan.is_pruning && !scan.conditions.clauses.is_empty() {
            let mut hint = texts(&scan.conditions.clauses).join(" AND ");
            if (*state).analyze && may_see_files {
                let counts = scan.claims.counts();
                hint += &format!("  [loaded: {}, skipped: {}]", counts.loaded, counts.skipped);
            }
            property("Stats-Hint", &hint, state);
        }
        if !may_see_files {
            return;
        }
        let files = scan.files_read((*state).analyze).unwrap_or_report();
        for (number, (path, read, size)) in files.into_iter().enumerate() {
            check_for_interrupts();
            property(&format!("file{number}"), &file_text(&path, read, size), state);
        }
    }
}

/// Returns the line of a file of which so many bytes were read.
pub fn file_text(path: &str, read: u64, size: u64) -> String {
    format!("{path} (read: {}, size: {})", size_text(read), size_text(size))
}

/// Returns a size as PG-Strom's EXPLAIN prints it: `107.83MB`.
fn size_text(bytes: u64) -> String {
    let units = ["B", "KB", "MB", "GB", "TB"];
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < units.len() {
        size /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes}B"),
        _ => format!("{size:.2}{}", units[unit]),
    }
}
