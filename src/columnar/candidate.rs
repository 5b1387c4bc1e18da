//! An aggregation of the planner's that can be computed on columns.

use pgrx::pg_guard;
use pgrx::pg_sys::{self, Node, NodeTag, Oid};

use super::leaves::{Leaf, leaves};
use crate::expr::float_key;
use crate::foreign::{self, TableReader};
use crate::pg::encoding;
use crate::pg::expr::expression::Translator;
use crate::pg::expr::nodes::list;
use crate::pg::expr::test_of;
use crate::pg::expr::types::{compares, type_of};
use crate::pg::list::members;
use crate::query::{Executor, Function, Output, Plan, Test, Type};

/// An aggregation that can be computed on columns.
pub struct Candidate {
    pub table: Oid,
    pub leaves: Vec<Leaf>,
    pub input: *mut pg_sys::RelOptInfo,
    /// Conditions, in the order in which they are evaluated.
    pub filters: Vec<*mut Node>,
    pub keys: Vec<*mut Node>,
    /// Aggregates of the target and of HAVING, without repetitions.
    pub aggregates: Vec<*mut pg_sys::Aggref>,
    pub having: *mut pg_sys::List,
    /// What the path returns.
    pub target: *mut pg_sys::PathTarget,
    /// The bytes of a group's words.
    pub group_size: usize,
    /// The bytes that DISTINCT values of aggregates take, about.
    pub distinct_size: f64,
}

/// What makes groups.
pub enum Groups {
    /// GROUP BY or aggregates, and the conditions of HAVING.
    Having(*mut pg_sys::List),
    /// SELECT DISTINCT of all columns.
    Distinct,
}

impl Candidate {
    /// Returns the aggregation, if it can be computed on columns.
    ///
    /// # Safety
    /// The arguments are the planner's.
    pub unsafe fn new(
        root: *mut pg_sys::PlannerInfo,
        input: *mut pg_sys::RelOptInfo,
        target: *mut pg_sys::PathTarget,
        groups: Groups,
    ) -> Option<Candidate> {
        // SAFETY: the relations and lists are the planner's.
        unsafe {
            // Names and texts of an SQL_ASCII database need not be UTF-8, as which they travel to the workers.
            if !encoding::names_are_text() {
                return None;
            }
            let query = &*(*root).parse;
            if !query.groupingSets.is_null() || query.hasTargetSRFs || !(*root).rowMarks.is_null() {
                return None;
            }
            let leaves = leaves(root, input)?;
            let (clauses, having) = match groups {
                Groups::Having(having) => (query.groupClause, having),
                Groups::Distinct => (query.distinctClause, std::ptr::null_mut()),
            };
            let clauses = members::<pg_sys::SortGroupClause>(clauses);
            // ORDER BY ... USING names an operator whose class may have an equality of its own.
            if clauses.iter().any(|&clause| test_of((*clause).eqop) != Some(Test::Equal)) {
                return None;
            }
            let expr = |&clause: &_| pg_sys::get_sortgroupclause_expr(clause, (*root).processed_tlist);
            let keys: Vec<*mut Node> = clauses.iter().map(expr).collect();
            let mut candidate = Candidate {
                table: (**(*root).simple_rte_array.add((*input).relid as usize)).relid,
                leaves,
                input,
                filters: filters(root, input)?,
                aggregates: aggregates(target, having, &keys)?,
                keys,
                having,
                target,
                group_size: 0,
                distinct_size: 0.0,
            };
            candidate.distinct_size = candidate.distinct_size(root);
            let plan = candidate.translate((*input).relid)?;
            candidate.leaves.iter_mut().for_each(|leaf| leaf.estimate(plan.columns.len()));
            let limit = usize::MAX;
            let executor = Executor::new(plan, limit).ok()?;
            candidate.group_size = 8 * executor.table.stride;
            Some(candidate)
        }
    }

    /// Estimates the bytes of DISTINCT values.
    ///
    /// # Safety
    /// The arguments are the planner's.
    unsafe fn distinct_size(&self, root: *mut pg_sys::PlannerInfo) -> f64 {
        /// A group's number and a value, and their places in a hash table.
        const VALUE: f64 = 128.0;
        // SAFETY: the expressions are over the relation, whose rows the planner has estimated.
        unsafe {
            let is_distinct = |aggref: &&*mut pg_sys::Aggref| {
                function_of(&***aggref).is_some_and(|(function, _)| is_distinct(&***aggref, function))
            };
            let values = |aggref: &*mut pg_sys::Aggref| {
                let exprs = self.keys.iter().copied().chain([argument(&**aggref)]);
                let (sets, info) = (std::ptr::null_mut(), std::ptr::null_mut());
                pg_sys::estimate_num_groups(root, list(exprs), (*self.input).rows, sets, info)
            };
            self.aggregates.iter().filter(is_distinct).map(values).sum::<f64>() * VALUE
        }
    }

    /// Returns whether all rows lie in files.
    pub fn are_files(&self) -> bool {
        self.leaves.iter().all(|leaf| leaf.role.is_some())
    }

    /// Translates everything, to see whether it can be.
    ///
    /// # Safety
    /// The expressions are over the relation of the planner's.
    unsafe fn translate(&self, relation: u32) -> Option<Plan> {
        let mut columns: Vec<(i16, crate::query::Column)> = Vec::new();
        let mut column = |var: &pg_sys::Var| {
            if var.varno as u32 != relation || var.varattno <= 0 || var.varlevelsup != 0 {
                return None;
            }
            let of = type_of(var.vartype).unwrap_or(Type::Other);
            let known = columns.iter().position(|(number, _)| *number == var.varattno);
            Some(known.unwrap_or_else(|| {
                columns.push((var.varattno, crate::query::Column { of, scale: None }));
                columns.len() - 1
            }))
        };
        let takes_other = self.are_files();
        let mut translator =
            Translator { column: &mut column, takes_other, has_parameters: true, case: None, depth: 0 };
        // SAFETY: the expressions are the planner's.
        unsafe {
            let filters = translate_all(&mut translator, &self.filters)?;
            if filters.iter().any(|(_, of)| *of != Type::Bool) {
                return None;
            }
            let keys = translate_all(&mut translator, &self.keys)?;
            let is_equal = |(key, (_, of)): (&*mut Node, &(_, Type))| {
                compares(*of, Test::Equal, pg_sys::exprCollation(*key))
            };
            if !self.keys.iter().zip(&keys).all(is_equal) {
                return None;
            }
            let aggregates =
                self.aggregates.iter().map(|aggref| translate_aggregate(&mut translator, &**aggref));
            let aggregates = aggregates.collect::<Option<Vec<_>>>()?;
            let expr = |(expr, _)| expr;
            Some(Plan {
                filters: filters.into_iter().map(expr).collect(),
                keys: keys.into_iter().map(expr).collect(),
                aggregates,
                columns: columns.into_iter().map(|(_, column)| column).collect(),
            })
        }
    }
}

/// Returns a relation's conditions in the order in which a scan evaluates them (order_qual_clauses in createplan.c).
///
/// # Safety
/// The relation is the planner's.
unsafe fn filters(root: *mut pg_sys::PlannerInfo, input: *mut pg_sys::RelOptInfo) -> Option<Vec<*mut Node>> {
    // SAFETY: a relation's conditions are RestrictInfos.
    unsafe {
        // The planner has not estimated what the conditions of a parent cost.
        let mut cost = pg_sys::QualCost::default();
        pg_sys::cost_qual_eval(&mut cost, (*input).baserestrictinfo, root);
        (*input).baserestrictcost.per_tuple = (*input).baserestrictcost.per_tuple.max(cost.per_tuple);
        let mut clauses = members::<pg_sys::RestrictInfo>((*input).baserestrictinfo);
        if clauses.iter().any(|&clause| (*clause).pseudoconstant) {
            return None;
        }
        let level = |clause: *mut pg_sys::RestrictInfo| {
            let is_free =
                (*clause).leakproof && (*clause).eval_cost.per_tuple < 10.0 * pg_sys::cpu_operator_cost;
            if is_free { 0 } else { (*clause).security_level }
        };
        // As in a foreign table's own scan, conditions that cannot raise an error come before those that may.
        let is_late = |clause| TableReader::reads(input) && !foreign::decides(input, clause);
        clauses.sort_by_cached_key(|&clause| (is_late(clause), level(clause), by_cost(clause)));
        Some(clauses.into_iter().map(|clause| (*clause).clause.cast()).collect())
    }
}

/// Returns a condition's cost, in the order of numbers.
///
/// # Safety
/// The condition is the planner's, and its cost is estimated.
unsafe fn by_cost(clause: *mut pg_sys::RestrictInfo) -> i64 {
    // SAFETY: the caller passes a condition.
    float_key(unsafe { (*clause).eval_cost.per_tuple })
}

/// Returns the aggregates of a target and of HAVING. `None` if there are columns that are no keys: their values would be
/// those of any row of a group.
///
/// # Safety
/// The target and the lists are the planner's.
unsafe fn aggregates(
    target: *mut pg_sys::PathTarget,
    having: *mut pg_sys::List,
    keys: &[*mut Node],
) -> Option<Vec<*mut pg_sys::Aggref>> {
    let mut search = Search { keys, found: Vec::new() };
    // SAFETY: the members are expressions.
    let is_other = unsafe {
        let mut exprs = members::<Node>((*target).exprs).into_iter().chain(members::<Node>(having));
        exprs.any(|expr| search_in(expr, (&raw mut search).cast()))
    };
    (!is_other).then_some(search.found)
}

/// Aggregates that are found in expressions over keys.
struct Search<'k> {
    keys: &'k [*mut Node],
    found: Vec<*mut pg_sys::Aggref>,
}

/// Looks for aggregates outside of keys; returns whether there are columns outside of both.
///
/// # Safety
/// The node is an expression or NULL, the context a search.
#[pg_guard]
unsafe extern "C-unwind" fn search_in(node: *mut Node, context: *mut std::ffi::c_void) -> bool {
    // SAFETY: the caller passes an expression and a search.
    unsafe {
        let search = &mut *context.cast::<Search>();
        let is_node = |known: *mut Node| pg_sys::equal(known.cast(), node.cast());
        if node.is_null() || search.keys.iter().any(|key| is_node(*key)) {
            return false;
        }
        match (*node).type_ {
            NodeTag::T_Aggref => {
                if !search.found.iter().any(|known| is_node(known.cast())) {
                    search.found.push(node.cast());
                }
                false
            }
            NodeTag::T_Var | NodeTag::T_GroupingFunc | NodeTag::T_CurrentOfExpr => true,
            _ => pg_sys::expression_tree_walker(node, Some(search_in), context),
        }
    }
}

type Typed = (crate::query::Expr, Type);

/// # Safety
/// The nodes are expressions.
pub unsafe fn translate_all(translator: &mut Translator, nodes: &[*mut Node]) -> Option<Vec<Typed>> {
    // SAFETY: the caller passes expressions.
    nodes.iter().map(|&node| unsafe { translator.whole(node) }).collect()
}

/// Translates an aggregate of one argument or none.
///
/// # Safety
/// The node is the planner's or a plan's.
unsafe fn translate_aggregate(
    translator: &mut Translator,
    aggref: &pg_sys::Aggref,
) -> Option<crate::query::Aggregate> {
    // SAFETY: an aggregate's arguments are TargetEntries.
    unsafe {
        let (function, output) = function_of(aggref)?;
        let argument = argument(aggref);
        let argument = match argument.is_null() {
            true => None,
            false if function == Function::Count && aggref.aggdistinct.is_null() => {
                Some(translator.presence(argument)?)
            }
            false => {
                let (expr, of) = translator.whole(argument)?;
                let is_extreme = matches!(function, Function::Least | Function::Greatest);
                if is_extreme && !compares(of, Test::Less, aggref.inputcollid) {
                    return None;
                }
                // Which of equal values is taken shows, but in a count.
                let is_same = !matches!(of, Type::Numeric | Type::Float4 | Type::Float8 | Type::Bpchar);
                let is_distinct = !aggref.aggdistinct.is_null();
                let is_equal = compares(of, Test::Equal, aggref.inputcollid);
                if is_distinct && !(is_equal && (is_same || function == Function::Count)) {
                    return None;
                }
                Some(expr)
            }
        };
        let filter = match aggref.aggfilter.is_null() {
            true => None,
            false => Some(translator.whole(aggref.aggfilter.cast())?.0),
        };
        let is_distinct = is_distinct(aggref, function);
        Some(crate::query::Aggregate { function, argument, filter, is_distinct, output })
    }
}

/// Returns the argument of an aggregate, NULL for count(*).
///
/// # Safety
/// The node is the planner's or a plan's.
pub unsafe fn argument(aggref: &pg_sys::Aggref) -> *mut Node {
    // SAFETY: an aggregate's arguments are TargetEntries.
    unsafe {
        let entry = members::<pg_sys::TargetEntry>(aggref.args).first().copied();
        entry.map_or(std::ptr::null_mut(), |entry| (*entry).expr.cast())
    }
}

/// Returns whether an aggregate takes each value once, and that makes a difference.
pub fn is_distinct(aggref: &pg_sys::Aggref, function: Function) -> bool {
    use Function::{BitAnd, BitOr, Greatest, Least};
    !aggref.aggdistinct.is_null() && !matches!(function, Least | Greatest | BitAnd | BitOr)
}

/// Returns what an aggregate function computes; `None` for those that are not known here.
pub fn function_of(aggref: &pg_sys::Aggref) -> Option<(Function, Output)> {
    let is_plain = aggref.aggorder.is_null()
        && aggref.aggdirectargs.is_null()
        && aggref.aggkind as u8 == b'n'
        && !aggref.aggvariadic
        && aggref.agglevelsup == 0
        && aggref.aggsplit == pg_sys::AggSplit::AGGSPLIT_SIMPLE;
    if !is_plain {
        return None;
    }
    use Function::*;
    Some(match aggref.aggfnoid.to_u32() {
        // count(*), count("any")
        2803 | 2147 => (Count, Output::Value),
        // sum(int4), sum(int2); sum(int8), sum(numeric)
        2108 | 2109 => (Sum, Output::Bigint),
        2107 | 2114 => (Sum, Output::Numeric),
        // avg of int8, int4, int2, numeric
        2100..=2103 => (Sum, Output::Average),
        // int8, int4, int2, oid, float4, float8, date, time, timestamp, timestamptz, text, numeric, bpchar
        2115..=2120 | 2122 | 2123 | 2126 | 2127 | 2129 | 2130 | 2244 => (Greatest, Output::Value),
        2131..=2136 | 2138 | 2139 | 2142 | 2143 | 2145 | 2146 | 2245 => (Least, Output::Value),
        // bool_and, every; bool_or
        2517 | 2519 => (Least, Output::Value),
        2518 => (Greatest, Output::Value),
        // of int2, int4, int8
        2236 | 2238 | 2240 => (BitAnd, Output::Value),
        2237 | 2239 | 2241 => (BitOr, Output::Value),
        6164..=6166 => (BitXor, Output::Value),
        // of int8, int4, int2, numeric: var_pop; var_samp, variance; stddev_pop; stddev_samp, stddev
        2718..=2720 | 2723 => (Squares, Output::PopulationVariance),
        2641..=2643 | 2646 | 2148..=2150 | 2153 => (Squares, Output::SampleVariance),
        2724..=2726 | 2729 => (Squares, Output::PopulationDeviation),
        2712..=2714 | 2717 | 2154..=2156 | 2159 => (Squares, Output::SampleDeviation),
        _ => return None,
    })
}
