//! EXPLAIN of a scan: the columns that are read, the scan's own aggregates and conditions, the conditions that skip
//! groups, the files.

use std::ffi::{CStr, CString};

use pgrx::pg_guard;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReportable;

use super::callbacks;
use crate::pg::access::check_read_role;
use crate::pg::check_for_interrupts;
use crate::pg::encoding::{from_utf8, name_to_utf8};
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
        let entries = members::<pg_sys::TargetEntry>((*plan).fdw_scan_tlist).into_iter();
        let is_aggregate = |expr: &*mut pg_sys::Expr| (**expr).type_ == pg_sys::NodeTag::T_Aggref;
        let aggregates: Vec<*mut pg_sys::Expr> =
            entries.map(|entry| (*entry).expr).filter(is_aggregate).collect();
        if !aggregates.is_empty() {
            // PostgreSQL prints that they are partial; the plan above this one says so too.
            let names = texts(&aggregates, node, state);
            let names: Vec<&str> = names.iter().map(|name| name.trim_start_matches("PARTIAL ")).collect();
            property("Aggregates", &names.join(", "), state);
        }
        let decided = members::<pg_sys::Expr>((*plan).fdw_exprs);
        if !decided.is_empty() {
            property("Columnar Filter", &texts(&decided, node, state).join(" AND "), state);
        }
        if scan.is_pruning && !scan.conditions.clauses.is_empty() {
            let mut hint = texts(&scan.conditions.clauses, node, state).join(" AND ");
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
            let text = format!("{path} (read: {}, size: {})", size_text(read), size_text(size));
            property(&format!("file{number}"), &text, state);
        }
    }
}

/// Returns expressions of the plan as SQL.
///
/// # Safety
/// The expressions are of the node's plan; EXPLAIN is running.
unsafe fn texts(
    exprs: &[*mut pg_sys::Expr],
    node: *mut pg_sys::ForeignScanState,
    state: *mut pg_sys::ExplainState,
) -> Vec<String> {
    // SAFETY: EXPLAIN's context is made as show_qual in explain.c does it; parameters of outer nodes show by their
    // number.
    unsafe {
        let plan = (*node).ss.ps.plan;
        let context = pg_sys::set_deparse_context_plan((*state).deparse_cxt, plan, std::ptr::null_mut());
        let text = |expr: &*mut pg_sys::Expr| {
            name_to_utf8(pg_sys::deparse_expression(expr.cast(), context, (*state).verbose, false))
        };
        exprs.iter().map(text).collect()
    }
}

/// # Safety
/// EXPLAIN is running with the state.
unsafe fn property(name: &str, text: &str, state: *mut pg_sys::ExplainState) {
    let name = CString::new(name).unwrap_or_default();
    let mut text = from_utf8(text);
    text.push(0);
    let text = CStr::from_bytes_until_nul(&text).unwrap_or_default();
    // SAFETY: two C strings, which EXPLAIN copies.
    unsafe { pg_sys::ExplainPropertyText(name.as_ptr(), text.as_ptr(), state) }
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
