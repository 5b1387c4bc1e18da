//! Walks over the expressions that `translate` knows.

use pgrx::pg_sys::{self, Node, NodeTag};

use super::stable;

/// Replaces the Vars and Params of an expression, and what is evaluated ahead, by what `replace` returns for them.
///
/// # Safety
/// The place holds an expression of our own, or NULL; `replace` returns an expression.
pub unsafe fn replace_leaves(place: *mut *mut Node, replace: &mut dyn FnMut(*mut Node) -> *mut Node) {
    // SAFETY: each node is of the type that its tag says, and the lists are of expressions.
    unsafe {
        let node = *place;
        if node.is_null() {
            return;
        }
        match (*node).type_ {
            NodeTag::T_Var | NodeTag::T_Param => *place = replace(node),
            _ if stable::is_known_at_start(node) => *place = replace(node),
            NodeTag::T_OpExpr | NodeTag::T_DistinctExpr | NodeTag::T_NullIfExpr => {
                in_list((*node.cast::<pg_sys::OpExpr>()).args, replace);
            }
            NodeTag::T_MinMaxExpr => in_list((*node.cast::<pg_sys::MinMaxExpr>()).args, replace),
            NodeTag::T_FuncExpr => in_list((*node.cast::<pg_sys::FuncExpr>()).args, replace),
            NodeTag::T_BoolExpr => in_list((*node.cast::<pg_sys::BoolExpr>()).args, replace),
            NodeTag::T_CoalesceExpr => in_list((*node.cast::<pg_sys::CoalesceExpr>()).args, replace),
            NodeTag::T_ScalarArrayOpExpr => {
                in_list((*node.cast::<pg_sys::ScalarArrayOpExpr>()).args, replace)
            }
            NodeTag::T_RelabelType => {
                replace_leaves((&raw mut (*node.cast::<pg_sys::RelabelType>()).arg).cast(), replace);
            }
            NodeTag::T_NullTest => {
                replace_leaves((&raw mut (*node.cast::<pg_sys::NullTest>()).arg).cast(), replace);
            }
            NodeTag::T_BooleanTest => {
                replace_leaves((&raw mut (*node.cast::<pg_sys::BooleanTest>()).arg).cast(), replace);
            }
            NodeTag::T_CaseExpr => {
                let case = node.cast::<pg_sys::CaseExpr>();
                replace_leaves((&raw mut (*case).arg).cast(), replace);
                in_list((*case).args, replace);
                replace_leaves((&raw mut (*case).defresult).cast(), replace);
            }
            NodeTag::T_CaseWhen => {
                let when = node.cast::<pg_sys::CaseWhen>();
                replace_leaves((&raw mut (*when).expr).cast(), replace);
                replace_leaves((&raw mut (*when).result).cast(), replace);
            }
            _ => {}
        }
    }
}

/// # Safety
/// The list is NULL, or one of expressions of our own.
unsafe fn in_list(list: *mut pg_sys::List, replace: &mut dyn FnMut(*mut Node) -> *mut Node) {
    if list.is_null() {
        return;
    }
    // SAFETY: a list has as many elements as its length says.
    unsafe {
        for index in 0..(*list).length as usize {
            let cell = (*list).elements.add(index);
            replace_leaves((&raw mut (*cell).ptr_value).cast(), replace);
        }
    }
}

/// Returns a list of pointers.
///
/// # Safety
/// The pointers are live nodes.
pub unsafe fn list<T>(members: impl IntoIterator<Item = *mut T>) -> *mut pg_sys::List {
    // SAFETY: lappend makes the list, or a longer one.
    let append = |list, member: *mut T| unsafe { pg_sys::lappend(list, member.cast()) };
    members.into_iter().fold(std::ptr::null_mut(), append)
}
