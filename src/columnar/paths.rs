//! Offers a path for the aggregation of a table, with PostgreSQL's cheapest path for the same result as its spare.

use std::sync::OnceLock;

use pgrx::pg_guard;
use pgrx::pg_sys::{self, NodeTag};

use super::candidate::{Candidate, Groups};
use super::plan;
use crate::pg::expr::nodes::list;
use crate::pg::guc::{self, SqlMode};
use crate::pg::list::members;
use crate::pg::parallel;

static PREVIOUS: OnceLock<pg_sys::create_upper_paths_hook_type> = OnceLock::new();

/// Installs the hook. Called from `_PG_init`.
pub fn register() {
    // SAFETY: hooks are set on the main thread while the library is loaded.
    unsafe {
        PREVIOUS.get_or_init(|| pg_sys::create_upper_paths_hook);
        pg_sys::create_upper_paths_hook = Some(offer);
    }
}

/// # Safety
/// The planner calls it.
#[pg_guard]
unsafe extern "C-unwind" fn offer(
    root: *mut pg_sys::PlannerInfo,
    stage: pg_sys::UpperRelationKind::Type,
    input: *mut pg_sys::RelOptInfo,
    output: *mut pg_sys::RelOptInfo,
    extra: *mut std::ffi::c_void,
) {
    // SAFETY: the arguments are the planner's, and are passed on.
    unsafe {
        if let Some(Some(previous)) = PREVIOUS.get() {
            #[allow(ffi_unwind_calls, reason = "pg_guard_ffi_boundary catches errors")]
            pg_sys::ffi::pg_guard_ffi_boundary(|| previous(root, stage, input, output, extra));
        }
        if guc::columnar_sql() == SqlMode::Off {
            return;
        }
        let candidate = match stage {
            pg_sys::UpperRelationKind::UPPERREL_GROUP_AGG => {
                let having = (*extra.cast::<pg_sys::GroupPathExtraData>()).havingQual.cast();
                Candidate::new(root, input, (*output).reltarget, Groups::Having(having))
            }
            pg_sys::UpperRelationKind::UPPERREL_DISTINCT if is_plain_distinct((*root).parse) => {
                let first = members::<pg_sys::Path>((*output).pathlist).first().copied();
                first.and_then(|path| Candidate::new(root, input, (*path).pathtarget, Groups::Distinct))
            }
            _ => None,
        };
        if let Some(candidate) = candidate {
            add_path(candidate, root, output);
        }
    }
}

/// Returns whether a query is SELECT DISTINCT of a table's rows.
///
/// # Safety
/// The query is the planner's.
unsafe fn is_plain_distinct(query: *const pg_sys::Query) -> bool {
    // SAFETY: the caller passes a query.
    let query = unsafe { &*query };
    query.groupClause.is_null() && !query.hasDistinctOn && !query.hasAggs && !query.hasWindowFuncs
}

/// Adds the path, unless the groups would take more memory than a hash table may.
///
/// # Safety
/// The arguments are the planner's; the candidate is of the relation.
unsafe fn add_path(candidate: Candidate, root: *mut pg_sys::PlannerInfo, output: *mut pg_sys::RelOptInfo) {
    // SAFETY: paths of the relation are the planner's.
    unsafe {
        let Some(spare) = cheapest((*output).pathlist) else { return };
        let groups = (*spare).rows.max(1.0);
        let is_forced = guc::columnar_sql() == SqlMode::Force;
        // Half of the table's slots are empty, and a table grows by doubling.
        let bytes = groups * (2 * candidate.group_size + 32) as f64 + candidate.distinct_size;
        if bytes > pg_sys::get_hash_memory_limit() as f64 && !is_forced {
            return;
        }
        let path = pg_sys::palloc0(size_of::<pg_sys::CustomPath>()).cast::<pg_sys::CustomPath>();
        let cost = if is_forced { 0.0 } else { cost(&candidate, groups) };
        (*path).path.type_ = NodeTag::T_CustomPath;
        (*path).path.pathtype = NodeTag::T_CustomScan;
        (*path).path.parent = output;
        (*path).path.pathtarget = candidate.target;
        (*path).path.rows = (*spare).rows;
        (*path).path.startup_cost = cost;
        (*path).path.total_cost = cost + groups * pg_sys::cpu_tuple_cost * f64::from(u8::from(!is_forced));
        (*path).custom_paths = list([spare]);
        (*path).custom_private =
            list([
                pg_sys::MemoryContextAlloc((*root).planner_cxt, size_of::<Candidate>()).cast::<Candidate>()
            ]);
        // The candidate's lists lie in Rust's memory, which the planner's context does not free.
        let kept = members::<Candidate>((*path).custom_private)[0];
        kept.write(candidate);
        free_with((*root).planner_cxt, kept);
        (*path).methods = plan::methods();
        pg_sys::add_path(output, path.cast());
    }
}

/// Estimates what all rows cost, before the first group is returned.
///
/// # Safety
/// The relation is the planner's.
unsafe fn cost(candidate: &Candidate, groups: f64) -> f64 {
    /// A value in a vector costs a fraction of what the executor's operators do.
    const COLUMNAR: f64 = 0.1;
    /// What a run takes beside its rows, so that small tables are left to the executor. To open files takes the executor
    /// as long.
    const SETUP: f64 = 100.0;
    // SAFETY: the relation is the planner's.
    unsafe {
        let input = &*candidate.input;
        let blocks: u64 = candidate.leaves.iter().map(|leaf| u64::from(leaf.blocks)).sum();
        let pages: f64 = candidate.leaves.iter().map(|leaf| f64::from(leaf.pages)).sum();
        let workers = parallel::workers_for(blocks, None) as f64;
        let expressions =
            (candidate.keys.len() + candidate.aggregates.len() + 1) as f64 * pg_sys::cpu_operator_cost;
        let row = pg_sys::cpu_tuple_cost + expressions + input.baserestrictcost.per_tuple;
        let launch = if workers > 0.0 { pg_sys::parallel_setup_cost } else { 0.0 };
        let setup = if candidate.are_files() && candidate.keys.is_empty() { 0.0 } else { SETUP };
        let merge = groups * (1.0 + workers) * pg_sys::cpu_operator_cost;
        setup
            + launch
            + pages * pg_sys::seq_page_cost
            + input.tuples * row * COLUMNAR / (1.0 + workers)
            + merge
    }
}

/// Drops a candidate with a memory context.
///
/// # Safety
/// The candidate lies in the context and is written.
unsafe fn free_with(context: pg_sys::MemoryContext, candidate: *mut Candidate) {
    /// # Safety
    /// The context calls it once, with a candidate that lies in it.
    #[pg_guard]
    unsafe extern "C-unwind" fn drop_it(candidate: *mut std::ffi::c_void) {
        // SAFETY: the context passes the candidate that the callback was registered for.
        unsafe { std::ptr::drop_in_place(candidate.cast::<Candidate>()) }
    }
    // SAFETY: the callback lies in the context, as it must.
    unsafe {
        let callback = pg_sys::MemoryContextAlloc(context, size_of::<pg_sys::MemoryContextCallback>())
            .cast::<pg_sys::MemoryContextCallback>();
        callback.write(pg_sys::MemoryContextCallback {
            func: Some(drop_it),
            arg: candidate.cast(),
            next: std::ptr::null_mut(),
        });
        pg_sys::MemoryContextRegisterResetCallback(context, callback);
    }
}

/// Returns a copy of the cheapest path that can be a spare. A MinMaxAggPath cannot: the planner would replace the
/// aggregates in our plan, too, by its parameters.
///
/// # Safety
/// The list is one of paths.
unsafe fn cheapest(paths: *mut pg_sys::List) -> Option<*mut pg_sys::Path> {
    // SAFETY: the caller passes a list of paths.
    unsafe {
        let paths = members::<pg_sys::Path>(paths).into_iter().filter(|&path| (*path).param_info.is_null());
        let paths = paths.filter(|&path| size(path).is_some());
        copy(paths.min_by(|&a, &b| (*a).total_cost.total_cmp(&(*b).total_cost))?)
    }
}

/// Returns a copy of a path's own node. The planner frees the node, and nothing below it, when it finds a cheaper one.
///
/// # Safety
/// The path is the planner's.
unsafe fn copy(path: *mut pg_sys::Path) -> Option<*mut pg_sys::Path> {
    // SAFETY: the node has the size of its type.
    unsafe {
        let size = size(path)?;
        let copy = pg_sys::palloc(size).cast::<u8>();
        copy.copy_from_nonoverlapping(path.cast(), size);
        Some(copy.cast())
    }
}

/// Returns the size of a path's node; `None` for types that are not known here.
///
/// # Safety
/// The path is the planner's.
unsafe fn size(path: *mut pg_sys::Path) -> Option<usize> {
    // SAFETY: every path begins with its tag.
    match unsafe { (*path).type_ } {
        NodeTag::T_AggPath => Some(size_of::<pg_sys::AggPath>()),
        NodeTag::T_GroupPath => Some(size_of::<pg_sys::GroupPath>()),
        NodeTag::T_ProjectionPath => Some(size_of::<pg_sys::ProjectionPath>()),
        NodeTag::T_GatherPath => Some(size_of::<pg_sys::GatherPath>()),
        NodeTag::T_UpperUniquePath => Some(size_of::<pg_sys::UpperUniquePath>()),
        _ => None,
    }
}
