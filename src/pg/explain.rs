//! Lines that a node adds to EXPLAIN.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;

use super::encoding::{from_utf8, name_to_utf8};

/// Returns expressions of a plan as SQL. Without the nodes above it, parameters of theirs show by their numbers.
///
/// # Safety
/// The expressions are of the plan; EXPLAIN is running with the state.
pub unsafe fn texts(
    exprs: &[*mut pg_sys::Expr],
    plan: *mut pg_sys::Plan,
    ancestors: *mut pg_sys::List,
    state: *mut pg_sys::ExplainState,
) -> Vec<String> {
    // SAFETY: EXPLAIN's context is made as show_qual in explain.c does it.
    unsafe {
        let context = pg_sys::set_deparse_context_plan((*state).deparse_cxt, plan, ancestors);
        let text = |expr: &*mut pg_sys::Expr| {
            name_to_utf8(pg_sys::deparse_expression(expr.cast(), context, (*state).verbose, false))
        };
        exprs.iter().map(text).collect()
    }
}

/// Adds a line.
///
/// # Safety
/// EXPLAIN is running with the state.
pub unsafe fn property(name: &str, text: &str, state: *mut pg_sys::ExplainState) {
    let name = CString::new(name).unwrap_or_default();
    let mut text = from_utf8(text);
    text.push(0);
    let text = CStr::from_bytes_until_nul(&text).unwrap_or_default();
    // SAFETY: two C strings, which EXPLAIN copies.
    unsafe { pg_sys::ExplainPropertyText(name.as_ptr(), text.as_ptr(), state) }
}
