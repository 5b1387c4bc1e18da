//! The paths of rows: plain, parallel, and parameterised.
//!
//! A parameterised path is scanned again for each row of another relation, whose values are in its conditions. It pays
//! if a value skips most groups, as values of virtual and of sorted columns do, and the other relation has few rows.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use pgrx::pg_guard;
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::pg_sys::{self, Oid};

use super::estimate::{Estimate, divisor, workers};
use super::files::{list, metadata, open};
use super::options::{self, ColumnSource};
use super::pushdown::equals;
use crate::fdw::{Keys, share_of_groups};
use crate::pg::error::Result;
use crate::pg::list::members;
use crate::pg::{catalog, check_for_interrupts, guc};

/// # Safety
/// The planner calls it after `get_rel_size`.
#[pg_guard]
pub unsafe extern "C-unwind" fn get_paths(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    _table: Oid,
) {
    // SAFETY: the relation is the planner's, and `get_rel_size` left an Estimate.
    unsafe {
        let estimate = &*(*rel).fdw_private.cast::<Estimate>();
        let cpu = estimate.rows * (pg_sys::cpu_tuple_cost + (*rel).baserestrictcost.per_tuple);
        let disk = f64::from((*rel).pages) * pg_sys::seq_page_cost;
        let startup = (*rel).baserestrictcost.startup;
        let lateral = (*rel).lateral_relids;
        let plain = path(root, rel, (*rel).rows, startup, startup + disk + cpu, lateral);
        pg_sys::add_path(rel, plain.cast());
        add_parameterised(root, rel, estimate, disk + cpu).unwrap_or_report();
        let workers = workers(rel, estimate);
        if workers > 0 && lateral.is_null() {
            let divisor = divisor(workers);
            let rows = ((*rel).rows / divisor).max(1.0);
            let partial = path(root, rel, rows, startup, startup + disk + cpu / divisor, lateral);
            (*partial).path.parallel_aware = true;
            (*partial).path.parallel_safe = true;
            (*partial).path.parallel_workers = workers;
            pg_sys::add_partial_path(rel, partial.cast());
        }
    }
}

/// Makes a path of rows that needs values of `outer` relations, if there are any.
///
/// # Safety
/// The relation is the planner's.
unsafe fn path(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    rows: f64,
    startup: f64,
    total: f64,
    outer: pg_sys::Relids,
) -> *mut pg_sys::ForeignPath {
    // SAFETY: the path has no order, no outer path, and no private list.
    unsafe {
        pg_sys::create_foreignscan_path(
            root,
            rel,
            std::ptr::null_mut(),
            rows,
            #[cfg(feature = "pg18")]
            0,
            startup,
            total,
            std::ptr::null_mut(),
            outer,
            std::ptr::null_mut(),
            #[cfg(any(feature = "pg17", feature = "pg18"))]
            std::ptr::null_mut(),
            std::ptr::null_mut(),
        )
    }
}

/// Adds the parameterised paths of a relation whose plain path costs `run` beyond its start.
///
/// # Safety
/// The relation is the planner's.
unsafe fn add_parameterised(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    estimate: &Estimate,
    run: f64,
) -> Result<()> {
    // SAFETY: the sets and lists are those of the planner's relations.
    unsafe {
        let is_joined = !(*rel).joininfo.is_null() || (*rel).has_eclass_joins;
        if !is_joined || !guc::arrow_fdw_pruning() {
            return Ok(());
        }
        let mut shares = HashMap::new();
        let mut other = -1;
        loop {
            other = pg_sys::bms_next_member((*root).all_baserels, other);
            if other < 0 {
                return Ok(());
            }
            // Not itself, the table whose partition it is, nor relations that need its rows first.
            if other as u32 == (*rel).relid
                || pg_sys::bms_is_member(other, (*rel).top_parent_relids)
                || pg_sys::bms_is_member(other, (*rel).lateral_referencers)
            {
                continue;
            }
            let outer = pg_sys::bms_add_member(pg_sys::bms_copy((*rel).lateral_relids), other);
            let parameters = pg_sys::get_baserel_parampathinfo(root, rel, outer);
            let mut share = 1.0_f64;
            for clause in members::<pg_sys::RestrictInfo>((*parameters).ppi_clauses) {
                if let Some(number) = equals(rel, clause) {
                    share = share.min(match shares.entry(number) {
                        Entry::Occupied(known) => *known.get(),
                        Entry::Vacant(place) => *place.insert(share_of(estimate.table, number)?),
                    });
                }
            }
            if share < 1.0 {
                let startup = (*rel).baserestrictcost.startup;
                // Each scan opens a file and reads a group at least.
                let total = startup + pg_sys::random_page_cost + run * share;
                let path = path(root, rel, (*parameters).ppi_rows, startup, total, outer);
                pg_sys::add_path(rel, path.cast());
            }
        }
    }
}

/// Returns the share of the groups that are read for one value of a column, on average.
fn share_of(table: Oid, number: i16) -> Result<f64> {
    let Some(name) = catalog::attribute_name(table, number) else { return Ok(1.0) };
    let source = options::of_column(table, number, &name)?;
    let options = options::of_table(table)?;
    let mut by_key: HashMap<Option<String>, usize> = HashMap::new();
    let mut bounds = Vec::new();
    for file in list(&options)? {
        check_for_interrupts();
        let meta = metadata(&open(&file.path)?)?;
        let found = match &source {
            ColumnSource::Virtual(key) | ColumnSource::Named(key) if has_key(&file.keys, key) => {
                let value = file.keys.into_iter().find(|(known, _)| known == key);
                *by_key.entry(value.and_then(|(_, value)| value)).or_default() += meta.groups();
                continue;
            }
            ColumnSource::Named(field) => meta.find(field, None),
            ColumnSource::Field(field, occurrence) => meta.find(field, *occurrence),
            _ => return Ok(1.0),
        };
        match found.ok().flatten().and_then(|at| meta.bounds(at)) {
            Some(of_file) => bounds.push(of_file),
            None => return Ok(1.0),
        }
    }
    if by_key.is_empty() {
        return Ok(share_of_groups(&bounds).unwrap_or(1.0));
    }
    if !bounds.is_empty() {
        return Ok(1.0);
    }
    let all = by_key.values().sum::<usize>().max(1) as f64;
    Ok(by_key.values().map(|&groups| (groups as f64 / all).powi(2)).sum())
}

fn has_key(keys: &Keys, key: &str) -> bool {
    keys.iter().any(|(known, _)| known == key)
}
