//! The plan of an aggregation on columns.
//!
//! The plan's own tuples are the keys, then the aggregates, then the columns that the expressions refer to, which are
//! there for their names alone. So PostgreSQL evaluates the target and HAVING over keys and aggregates. The conditions,
//! the keys and the aggregates' arguments and filters are the node's own expressions.

use pgrx::pg_guard;
use pgrx::pg_sys::{self, Node, NodeTag, Oid};

use super::candidate::{Candidate, argument};
use super::leaves::Leaf;
use super::scan;
use super::shape::{NAME, Shape};
use crate::pg::expr::nodes::list;
use crate::pg::list::members;

struct Methods(pg_sys::CustomPathMethods);

// SAFETY: the methods are never written.
unsafe impl Sync for Methods {}

static METHODS: Methods = Methods(pg_sys::CustomPathMethods {
    CustomName: NAME.as_ptr(),
    PlanCustomPath: Some(plan),
    ReparameterizeCustomPathByChild: None,
});

pub fn methods() -> *const pg_sys::CustomPathMethods {
    &raw const METHODS.0
}

/// # Safety
/// The planner calls it with a path of ours.
#[pg_guard]
unsafe extern "C-unwind" fn plan(
    root: *mut pg_sys::PlannerInfo,
    _rel: *mut pg_sys::RelOptInfo,
    path: *mut pg_sys::CustomPath,
    targets: *mut pg_sys::List,
    _clauses: *mut pg_sys::List,
    spare: *mut pg_sys::List,
) -> *mut pg_sys::Plan {
    // SAFETY: the path's private list is its candidate.
    unsafe {
        let candidate = &*members::<Candidate>((*path).custom_private)[0];
        let own = candidate.own_expressions();
        let plan = pg_sys::palloc0(size_of::<pg_sys::CustomScan>()).cast::<pg_sys::CustomScan>();
        (*plan).scan.plan.type_ = NodeTag::T_CustomScan;
        (*plan).scan.plan.targetlist = targets;
        (*plan).scan.plan.qual = list(by_cost(root, candidate.having));
        (*plan).scan.scanrelid = 0;
        (*plan).custom_plans = spare;
        (*plan).custom_exprs =
            list(own.iter().map(|node| pg_sys::copyObjectImpl(node.cast()).cast::<Node>()));
        (*plan).custom_private = candidate.shape().to_list();
        (*plan).custom_scan_tlist = candidate.tuple(&own);
        (*plan).custom_relids = pg_sys::bms_copy((*(*path).path.parent).relids);
        (*plan).methods = scan::methods();
        plan.cast()
    }
}

/// Returns conditions in the order in which PostgreSQL evaluates them (order_qual_clauses in createplan.c).
///
/// # Safety
/// The list is one of conditions of the planner's.
unsafe fn by_cost(root: *mut pg_sys::PlannerInfo, clauses: *mut pg_sys::List) -> Vec<*mut Node> {
    let cost = |clause: &*mut Node| {
        let mut cost = pg_sys::QualCost::default();
        // SAFETY: the caller passes conditions.
        unsafe { pg_sys::cost_qual_eval_node(&mut cost, *clause, root) };
        cost.per_tuple
    };
    // SAFETY: the caller passes a list of conditions.
    let mut clauses = unsafe { members::<Node>(clauses) };
    clauses.sort_by(|a, b| cost(a).total_cmp(&cost(b)));
    clauses
}

impl Candidate {
    /// Returns the expressions that are evaluated over the table's columns.
    ///
    /// # Safety
    /// The candidate is of a path that the planner made a plan of.
    unsafe fn own_expressions(&self) -> Vec<*mut Node> {
        let mut own = self.filters.clone();
        own.extend(&self.keys);
        for &aggref in &self.aggregates {
            // SAFETY: the aggregates are the planner's.
            unsafe {
                let filter = (*aggref).aggfilter.cast();
                own.extend(
                    [argument(&*aggref), filter].into_iter().filter(|node: &*mut Node| !node.is_null()),
                );
            }
        }
        own
    }

    fn shape(&self) -> Shape {
        let (foreign, heaps): (Vec<&Leaf>, Vec<&Leaf>) =
            self.leaves.iter().partition(|leaf| leaf.role.is_some());
        let of = |leaf: &&Leaf| (leaf.table, leaf.role.unwrap_or(Oid::INVALID));
        Shape {
            table: self.table,
            leaves: heaps.iter().chain(&foreign).map(of).collect(),
            filters: self.filters.len(),
            keys: self.keys.len(),
            blocks: foreign.iter().fold(0, |blocks, leaf| leaf.blocks.saturating_add(blocks)),
        }
    }

    /// Returns the plan's own tuples.
    ///
    /// # Safety
    /// The expressions are those of the candidate.
    unsafe fn tuple(&self, own: &[*mut Node]) -> *mut pg_sys::List {
        // SAFETY: the members are expressions; TargetEntries take copies.
        unsafe {
            let mut members_of: Vec<*mut Node> = self.keys.clone();
            members_of.extend(self.aggregates.iter().map(|aggref| aggref.cast::<Node>()));
            let all = list(own.iter().copied());
            const VARS: u32 = pg_sys::PVC_RECURSE_AGGREGATES | pg_sys::PVC_RECURSE_PLACEHOLDERS;
            for var in members::<Node>(pg_sys::pull_var_clause(all.cast(), VARS as i32)) {
                if !members_of.iter().any(|known| pg_sys::equal(known.cast(), var.cast())) {
                    members_of.push(var);
                }
            }
            list(members_of.into_iter().enumerate().map(|(index, node)| {
                let copy = pg_sys::copyObjectImpl(node.cast());
                pg_sys::makeTargetEntry(copy.cast(), index as i16 + 1, std::ptr::null_mut(), false)
            }))
        }
    }
}
