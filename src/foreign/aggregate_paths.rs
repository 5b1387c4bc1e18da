//! Aggregates of a whole foreign table, planned as a scan that gives their partial states.
//!
//! An aggregation without GROUP BY gets such a path if the scan decides every condition by itself. PostgreSQL's
//! Finalize Aggregate makes the results of the states. For parallel and partitionwise aggregation there are partial
//! paths, above which the planner puts Gather or Append.

use pgrx::pg_guard;
use pgrx::pg_sys::{self, Oid};

use super::aggregates::Aggregates;
use super::estimate::{Estimate, divisor, role, workers};
use super::file_column::TableColumn;
use super::pushdown::{ALL_VARS, decides};
use super::scan::Scan;
use super::task::Task;
use crate::pg::catalog::Table;
use crate::pg::error::{Result, internal};
use crate::pg::expr::aggregate::Aggregate;
use crate::pg::guc;
use crate::pg::list::members;

/// # Safety
/// The planner calls it.
#[pg_guard]
pub unsafe extern "C-unwind" fn get_upper_paths(
    root: *mut pg_sys::PlannerInfo,
    stage: pg_sys::UpperRelationKind::Type,
    input: *mut pg_sys::RelOptInfo,
    output: *mut pg_sys::RelOptInfo,
    extra: *mut std::ffi::c_void,
) {
    use pgrx::pg_sys::UpperRelationKind::*;
    // SAFETY: the relations are the planner's; for these stages `extra` is GroupPathExtraData.
    unsafe {
        if !guc::arrow_fdw_pushdown() || !is_suitable(root, input) {
            return;
        }
        let having: *mut pg_sys::List = match stage {
            UPPERREL_GROUP_AGG => (*extra.cast::<pg_sys::GroupPathExtraData>()).havingQual.cast(),
            UPPERREL_PARTIAL_GROUP_AGG => std::ptr::null_mut(),
            _ => return,
        };
        let target = match stage {
            UPPERREL_GROUP_AGG => partial_target(root, (*output).reltarget, having),
            _ => (*output).reltarget,
        };
        let exprs = members::<pg_sys::Node>((*target).exprs);
        if exprs.is_empty() || exprs.iter().any(|expr| Aggregate::of_node(*expr).is_none()) {
            return;
        }
        let serial = path(root, input, output, target, 0);
        if stage == UPPERREL_GROUP_AGG {
            pg_sys::add_path(output, finalized(root, output, serial, having).cast());
            return;
        }
        pg_sys::add_path(output, serial.cast());
        let estimate = &*(*input).fdw_private.cast::<Estimate>();
        let workers = workers(input, estimate);
        if (*output).consider_parallel && workers > 0 {
            pg_sys::add_partial_path(output, path(root, input, output, target, workers).cast());
        }
    }
}

/// Returns whether the input is a plain scan of one of our tables that decides all of its conditions, below an
/// aggregation without groups.
///
/// # Safety
/// The relation is the planner's.
unsafe fn is_suitable(root: *mut pg_sys::PlannerInfo, input: *mut pg_sys::RelOptInfo) -> bool {
    use pgrx::pg_sys::RelOptKind::*;
    // SAFETY: a relation's conditions are RestrictInfos.
    unsafe {
        let query = &*(*root).parse;
        let is_table = matches!((*input).reloptkind, RELOPT_BASEREL | RELOPT_OTHER_MEMBER_REL);
        let is_whole = query.groupClause.is_null() && query.groupingSets.is_null();
        let decided = |clause: *mut pg_sys::RestrictInfo| !(*clause).pseudoconstant && decides(input, clause);
        is_table
            && is_whole
            && !(*input).fdw_private.is_null()
            && (*input).lateral_relids.is_null()
            && members::<pg_sys::RestrictInfo>((*input).baserestrictinfo).into_iter().all(decided)
    }
}

/// Returns the aggregates of a target and of HAVING as their partial states, as make_partial_grouping_target in
/// planner.c does.
///
/// # Safety
/// The target and the list are the planner's.
unsafe fn partial_target(
    root: *mut pg_sys::PlannerInfo,
    target: *mut pg_sys::PathTarget,
    having: *mut pg_sys::List,
) -> *mut pg_sys::PathTarget {
    const INCLUDED: u32 =
        pg_sys::PVC_INCLUDE_AGGREGATES | pg_sys::PVC_RECURSE_WINDOWFUNCS | pg_sys::PVC_INCLUDE_PLACEHOLDERS;
    // SAFETY: each aggregate is copied before it is changed.
    unsafe {
        let partial = pg_sys::create_empty_pathtarget();
        for exprs in [(*target).exprs, having] {
            let found = pg_sys::pull_var_clause(exprs.cast(), INCLUDED as i32);
            pg_sys::add_new_columns_to_pathtarget(partial, found);
        }
        for index in 0..members::<pg_sys::Node>((*partial).exprs).len() {
            let element = &mut (*(*(*partial).exprs).elements.add(index)).ptr_value;
            if (*element.cast::<pg_sys::Node>()).type_ == pg_sys::NodeTag::T_Aggref {
                let aggref = pg_sys::palloc(size_of::<pg_sys::Aggref>()).cast::<pg_sys::Aggref>();
                aggref.copy_from_nonoverlapping(element.cast(), 1);
                pg_sys::mark_partial_aggref(aggref, pg_sys::AggSplit::AGGSPLIT_INITIAL_SERIAL);
                *element = aggref.cast();
            }
        }
        pg_sys::set_pathtarget_cost_width(root, partial)
    }
}

/// Makes a path of a scan that gives the states, by one process or with workers.
///
/// # Safety
/// The relations are the planner's, and `input` is a foreign table's whose size was estimated.
unsafe fn path(
    root: *mut pg_sys::PlannerInfo,
    input: *mut pg_sys::RelOptInfo,
    output: *mut pg_sys::RelOptInfo,
    target: *mut pg_sys::PathTarget,
    workers: i32,
) -> *mut pg_sys::ForeignPath {
    /// A value in a column costs a fraction of what the executor's operators do.
    const COLUMNAR: f64 = 0.25;
    // SAFETY: `get_rel_size` left an Estimate. The path's private list is the relation that is scanned.
    unsafe {
        let estimate = &*(*input).fdw_private.cast::<Estimate>();
        let operators =
            (1 + members::<pg_sys::Node>((*target).exprs).len()) as f64 * pg_sys::cpu_operator_cost;
        let cpu = estimate.rows * COLUMNAR * (operators + (*input).baserestrictcost.per_tuple);
        let disk = f64::from((*input).pages) * pg_sys::seq_page_cost;
        let processes = if workers > 0 { divisor(workers) } else { 1.0 };
        let cost = (*input).baserestrictcost.startup + disk + cpu / processes;
        let path = pg_sys::create_foreign_upper_path(
            root,
            output,
            target,
            1.0,
            #[cfg(feature = "pg18")]
            0,
            cost,
            cost,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            #[cfg(any(feature = "pg17", feature = "pg18"))]
            std::ptr::null_mut(),
            pg_sys::lappend(std::ptr::null_mut(), input.cast()),
        );
        if workers > 0 {
            (*path).path.parallel_aware = true;
            (*path).path.parallel_safe = true;
            (*path).path.parallel_workers = workers;
        }
        path
    }
}

/// Makes the path of PostgreSQL's own final step over one row of states.
///
/// # Safety
/// The relation is the planner's, and the path is one of `path`.
unsafe fn finalized(
    root: *mut pg_sys::PlannerInfo,
    output: *mut pg_sys::RelOptInfo,
    states: *mut pg_sys::ForeignPath,
    having: *mut pg_sys::List,
) -> *mut pg_sys::AggPath {
    let costs = pg_sys::AggClauseCosts::default();
    // SAFETY: the path gives the states of the relation's target and of HAVING.
    unsafe {
        pg_sys::create_agg_path(
            root,
            output,
            states.cast(),
            (*output).reltarget,
            pg_sys::AggStrategy::AGG_PLAIN,
            pg_sys::AggSplit::AGGSPLIT_FINAL_DESERIAL,
            std::ptr::null_mut(),
            having,
            &costs,
            1.0,
        )
    }
}

/// Makes the plan of a path. The plan's own tuples are the states, followed by the columns that the aggregates and
/// the conditions refer to, which are there for their names alone.
///
/// # Safety
/// The planner calls it with one of the paths above.
pub unsafe fn plan(
    root: *mut pg_sys::PlannerInfo,
    path: *mut pg_sys::ForeignPath,
    targets: *mut pg_sys::List,
    outer: *mut pg_sys::Plan,
) -> *mut pg_sys::ForeignScan {
    // SAFETY: the path's private list is the relation, whose size was estimated.
    unsafe {
        let input = members::<pg_sys::RelOptInfo>((*path).fdw_private)[0];
        let table = (*(*input).fdw_private.cast::<Estimate>()).table;
        let clauses = pg_sys::extract_actual_clauses((*input).baserestrictinfo, false);
        let exprs = (*(*path).path.pathtarget).exprs;
        let mut columns = members::<pg_sys::Node>(exprs);
        for list in [exprs, clauses] {
            for var in members::<pg_sys::Node>(pg_sys::pull_var_clause(list.cast(), ALL_VARS)) {
                if !columns.iter().any(|known| pg_sys::equal(known.cast(), var.cast())) {
                    columns.push(var);
                }
            }
        }
        let mut tuple = std::ptr::null_mut();
        for (index, column) in columns.into_iter().enumerate() {
            let copy = pg_sys::copyObjectImpl(column.cast());
            let entry = pg_sys::makeTargetEntry(copy.cast(), index as i16 + 1, std::ptr::null_mut(), false);
            tuple = pg_sys::lappend(tuple, entry.cast());
        }
        let null = std::ptr::null_mut;
        let task = Task::Aggregates { table, role: role(root, input) };
        pg_sys::make_foreignscan(targets, null(), 0, clauses, task.to_list(), tuple, null(), outer)
    }
}

/// Returns the scan of a node that `plan` planned.
///
/// # Safety
/// The executor calls it; the current context is the query's.
pub unsafe fn start(node: *mut pg_sys::ForeignScanState, table: Oid, running: bool) -> Result<Scan> {
    // SAFETY: the plan's tuple is a list of TargetEntries, as `plan` made it.
    unsafe {
        let plan = (*node).ss.ps.plan.cast::<pg_sys::ForeignScan>();
        let entries = members::<pg_sys::TargetEntry>((*plan).fdw_scan_tlist);
        let mut numbers = Vec::new();
        let mut aggregates = Vec::new();
        for entry in &entries {
            let expr: *mut pg_sys::Node = (**entry).expr.cast();
            match (*expr).type_ {
                pg_sys::NodeTag::T_Var => {
                    numbers.push(((*expr.cast::<pg_sys::Var>()).varattno, (**entry).resno))
                }
                _ => aggregates
                    .push(Aggregate::of_node(expr).ok_or_else(|| internal("an aggregate is not known"))?),
            }
        }
        let hidden: Vec<i16> = numbers.iter().map(|(number, _)| *number).collect();
        let table = Table::open(table)?;
        let mut scan = Scan::new(table.oid(), &[], &hidden, table.descriptor())?;
        let place = |number: i16| scan.columns.iter().position(|column| column.number == number);
        let aggregates =
            aggregates.into_iter().map(|(aggregate, number)| (aggregate, number.and_then(place)));
        scan.aggregates = Some(Aggregates::new(aggregates.collect::<Vec<_>>()));
        let of = |column: &TableColumn| {
            let found = numbers.iter().find(|(number, _)| *number == column.number);
            found.map_or(0, |(_, resno)| *resno)
        };
        scan.take_conditions(node, pg_sys::INDEX_VAR as u32, of, running)?;
        Ok(scan)
    }
}
