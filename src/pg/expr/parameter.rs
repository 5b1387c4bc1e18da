//! The parameters of an expression.

use std::ffi::c_void;
use std::ptr::null_mut;

use pgrx::pg_sys::{self, Node, NodeTag};

/// Returns whether an expression has parameters: of other nodes of its plan, or of a prepared statement. pull_paramids
/// (optimizer/clauses.h) finds both from PostgreSQL 16 on, and in 15 those of the plan alone.
///
/// # Safety
/// The node is an expression.
pub unsafe fn has_parameter(node: *mut Node) -> bool {
    // SAFETY: the caller passes an expression.
    unsafe { any(node, null_mut()) }
}

/// Returns whether an expression has parameters whose values other nodes of its plan set.
///
/// # Safety
/// The node is an expression.
pub unsafe fn depends_on_plan(node: *mut Node) -> bool {
    // SAFETY: the caller passes an expression.
    unsafe { of_plan(node, null_mut()) }
}

/// # Safety
/// The node is an expression, or NULL.
unsafe extern "C-unwind" fn any(node: *mut Node, context: *mut c_void) -> bool {
    // SAFETY: the caller passes an expression.
    unsafe {
        !node.is_null()
            && ((*node).type_ == NodeTag::T_Param || pg_sys::expression_tree_walker(node, Some(any), context))
    }
}

/// # Safety
/// The node is an expression, or NULL.
unsafe extern "C-unwind" fn of_plan(node: *mut Node, context: *mut c_void) -> bool {
    // SAFETY: each node is of the type that its tag says.
    unsafe {
        if node.is_null() {
            return false;
        }
        match (*node).type_ {
            NodeTag::T_Param => (*node.cast::<pg_sys::Param>()).paramkind == pg_sys::ParamKind::PARAM_EXEC,
            _ => pg_sys::expression_tree_walker(node, Some(of_plan), context),
        }
    }
}
