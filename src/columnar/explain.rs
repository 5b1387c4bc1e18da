//! EXPLAIN of an aggregation on columns.

use pgrx::pg_guard;
use pgrx::pg_sys::{self, Oid};

use super::device::Share;
use super::node::{State, of};
use super::shape::Shape;
use crate::pg::access::check_read_role;
use crate::pg::encoding::name_to_utf8;
use crate::pg::explain::{property, texts};
use crate::pg::list::members;

/// # Safety
/// EXPLAIN calls it between `begin` and `end`.
#[pg_guard]
pub unsafe extern "C-unwind" fn explain(
    node: *mut pg_sys::CustomScanState,
    ancestors: *mut pg_sys::List,
    state: *mut pg_sys::ExplainState,
) {
    // SAFETY: the node's plan is a CustomScan of ours.
    unsafe {
        let plan = (*node).ss.ps.plan.cast::<pg_sys::CustomScan>();
        let Some(shape) = Shape::from_list((*plan).custom_private) else { return };
        let table = pg_sys::get_rel_name(shape.table);
        if !table.is_null() {
            let name = name_to_utf8(table);
            let text = match shape.leaves[..] {
                [(only, _)] if only == shape.table => name,
                _ => format!("{name}, of {} tables", shape.leaves.len()),
            };
            property("Table", &text, state);
        }
        let exprs = members::<pg_sys::Expr>((*plan).custom_exprs);
        let texts = |exprs: &[*mut pg_sys::Expr]| texts(exprs, plan.cast(), ancestors, state);
        let (filters, rest) = exprs.split_at(shape.filters.min(exprs.len()));
        if !filters.is_empty() {
            property("Columnar Filter", &texts(filters).join(" AND "), state);
        }
        let keys = &rest[..shape.keys.min(rest.len())];
        if !keys.is_empty() {
            property("Group Key", &texts(keys).join(", "), state);
        }
        let entries = members::<pg_sys::TargetEntry>((*plan).custom_scan_tlist).into_iter();
        let aggregates = entries.map(|entry| (*entry).expr);
        let aggregates = aggregates.filter(|expr| (**expr).type_ == pg_sys::NodeTag::T_Aggref);
        let aggregates: Vec<*mut pg_sys::Expr> = aggregates.collect();
        if !aggregates.is_empty() {
            property("Aggregates", &texts(&aggregates).join(", "), state);
        }
        if !(*state).analyze {
            return;
        }
        match &of(node).state {
            State::Groups(ran, _) => {
                property("Groups", &ran.executor.groups().to_string(), state);
                let scanned =
                    format!("{} rows, {} evaluated one by one", ran.executor.counted, ran.executor.odd_rows);
                property("Scanned", &scanned, state);
                property("Workers", &format!("{} planned, {} launched", ran.planned, ran.launched), state);
                // The names of files may be secret, and the number of groups that a condition skips tells about rows
                // that a view may hide.
                if let Some(files) = ran.files.as_ref().filter(|_| check_read_role(Oid::INVALID).is_ok()) {
                    let counts = &files.counts;
                    let text = format!("{} loaded, {} skipped", counts.loaded, counts.skipped);
                    property("Row Groups", &text, state);
                    for (number, line) in files.lines.iter().enumerate() {
                        property(&format!("file{number}"), line, state);
                    }
                }
                match &ran.share {
                    Share::None => {}
                    Share::Rows(rows) => property("GPU", &format!("{rows} rows"), state),
                    Share::Refused(reason) => property("GPU", &format!("not used: {reason}"), state),
                }
            }
            State::Spare(reason, _) => property("Spare", reason, state),
            State::Begun => {}
        }
    }
}
