//! Subqueries that have one value in a query. PostgreSQL evaluates such a one when the first row needs its value, and
//! never if none does: it may raise an error. So it is evaluated ahead only once a row is found that needs it.

use pgrx::pg_guard;
use pgrx::pg_sys::{self, Node, NodeTag};

/// Whether the subqueries are evaluated that a query's expressions have.
pub enum Needed {
    /// There is none left to evaluate.
    Nothing,
    /// Every row that reaches an expression, which is given by its number, needs them.
    At(usize, Vec<*mut Node>),
    /// A row that reaches the expression needs them perhaps.
    Perhaps,
}

/// Returns which subqueries the first of some expressions needs whose subqueries are not evaluated. What is evaluated for
/// some rows only, as an aggregate's argument with a filter, is not `is_sure`.
///
/// # Safety
/// The executor runs the node, whose expressions these are.
pub unsafe fn needed(exprs: &[(*mut Node, bool)], node: *mut pg_sys::CustomScanState) -> Needed {
    for (number, &(expr, is_sure)) in exprs.iter().enumerate() {
        let mut search = Search { node, is_sure, always: Vec::new(), has_others: false };
        // SAFETY: the caller passes expressions.
        unsafe { search_in(expr, (&raw mut search).cast()) };
        if !search.always.is_empty() {
            return Needed::At(number, search.always);
        }
        if search.has_others {
            return Needed::Perhaps;
        }
    }
    Needed::Nothing
}

/// Parameters that stand for subqueries which are not evaluated.
struct Search {
    node: *mut pg_sys::CustomScanState,
    /// Each row needs the expression that is searched.
    is_sure: bool,
    always: Vec<*mut Node>,
    has_others: bool,
}

impl Search {
    /// Searches expressions of which only the first is needed by each row.
    ///
    /// # Safety
    /// The nodes are expressions or NULL.
    unsafe fn first_of(&mut self, nodes: impl Iterator<Item = *mut Node>) {
        let outer = self.is_sure;
        for node in nodes {
            // SAFETY: the caller passes expressions.
            unsafe { search_in(node, (&raw mut *self).cast()) };
            self.is_sure = false;
        }
        self.is_sure = outer;
    }
}

/// # Safety
/// The node is an expression or NULL, the context a search.
#[pg_guard]
unsafe extern "C-unwind" fn search_in(node: *mut Node, context: *mut std::ffi::c_void) -> bool {
    use crate::pg::list::members;
    // SAFETY: each node is of the type that its tag says; the caller passes an expression and a search.
    unsafe {
        let search = &mut *context.cast::<Search>();
        if node.is_null() {
            return false;
        }
        match (*node).type_ {
            NodeTag::T_Param => {
                if is_waiting(&*node.cast::<pg_sys::Param>(), search.node) {
                    match search.is_sure {
                        true => search.always.push(node),
                        false => search.has_others = true,
                    }
                }
                false
            }
            NodeTag::T_BoolExpr => {
                search.first_of(members::<Node>((*node.cast::<pg_sys::BoolExpr>()).args).into_iter());
                false
            }
            NodeTag::T_CoalesceExpr => {
                search.first_of(members::<Node>((*node.cast::<pg_sys::CoalesceExpr>()).args).into_iter());
                false
            }
            NodeTag::T_CaseExpr => {
                let case = &*node.cast::<pg_sys::CaseExpr>();
                search_in(case.arg.cast(), context);
                let whens = members::<pg_sys::CaseWhen>(case.args).into_iter();
                let parts = whens.flat_map(|when| [(*when).expr.cast(), (*when).result.cast()]);
                search.first_of(parts.chain([case.defresult.cast()]));
                false
            }
            _ => pg_sys::expression_tree_walker(node, Some(search_in), context),
        }
    }
}

/// Returns whether a parameter stands for a subquery that is not evaluated yet.
///
/// # Safety
/// The executor runs the node, of whose plan the parameter is.
pub unsafe fn is_waiting(param: &pg_sys::Param, node: *mut pg_sys::CustomScanState) -> bool {
    // SAFETY: the executor has a place for the value of each parameter of its plan.
    unsafe {
        let values = (*(*node).ss.ps.ps_ExprContext).ecxt_param_exec_vals;
        param.paramkind == pg_sys::ParamKind::PARAM_EXEC
            && !(*values.add(param.paramid as usize)).execPlan.is_null()
    }
}
