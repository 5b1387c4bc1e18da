//! Walks over the expressions that `translate` knows.

use pgrx::pg_sys::{self, Node, NodeTag};

use super::stable;

/// Replaces the Vars and Params of an expression, and what is evaluated ahead, by what `replace` returns for them.
///
/// # Safety
/// The place holds an expression of our own, or NULL; `replace` returns an expression.
pub unsafe fn replace_leaves(place: *mut *mut Node, replace: &mut dyn FnMut(*mut Node) -> *mut Node) {
    // SAFETY: each node is of the type that its tag says.
    unsafe {
        rewrite(place, &mut |node| {
            let is_leaf =
                matches!((*node).type_, NodeTag::T_Var | NodeTag::T_Param) || stable::is_known_at_start(node);
            is_leaf.then(|| replace(node))
        });
    }
}

/// Replaces parts of an expression by what `change` returns for them; it is not called for the parts of those.
///
/// # Safety
/// The place holds an expression of our own, or NULL; `change` returns expressions.
pub unsafe fn rewrite(place: *mut *mut Node, change: &mut dyn FnMut(*mut Node) -> Option<*mut Node>) {
    // SAFETY: each node is of the type that its tag says, and the lists are of expressions.
    unsafe {
        let node = *place;
        if node.is_null() {
            return;
        }
        if let Some(changed) = change(node) {
            *place = changed;
            return;
        }
        match (*node).type_ {
            NodeTag::T_OpExpr | NodeTag::T_DistinctExpr | NodeTag::T_NullIfExpr => {
                in_list((*node.cast::<pg_sys::OpExpr>()).args, change);
            }
            NodeTag::T_MinMaxExpr => in_list((*node.cast::<pg_sys::MinMaxExpr>()).args, change),
            NodeTag::T_FuncExpr => in_list((*node.cast::<pg_sys::FuncExpr>()).args, change),
            NodeTag::T_BoolExpr => in_list((*node.cast::<pg_sys::BoolExpr>()).args, change),
            NodeTag::T_CoalesceExpr => in_list((*node.cast::<pg_sys::CoalesceExpr>()).args, change),
            NodeTag::T_ScalarArrayOpExpr => in_list((*node.cast::<pg_sys::ScalarArrayOpExpr>()).args, change),
            NodeTag::T_RelabelType => {
                rewrite((&raw mut (*node.cast::<pg_sys::RelabelType>()).arg).cast(), change);
            }
            NodeTag::T_NullTest => {
                rewrite((&raw mut (*node.cast::<pg_sys::NullTest>()).arg).cast(), change);
            }
            NodeTag::T_BooleanTest => {
                rewrite((&raw mut (*node.cast::<pg_sys::BooleanTest>()).arg).cast(), change);
            }
            NodeTag::T_CaseExpr => {
                let case = node.cast::<pg_sys::CaseExpr>();
                rewrite((&raw mut (*case).arg).cast(), change);
                in_list((*case).args, change);
                rewrite((&raw mut (*case).defresult).cast(), change);
            }
            NodeTag::T_CaseWhen => {
                let when = node.cast::<pg_sys::CaseWhen>();
                rewrite((&raw mut (*when).expr).cast(), change);
                rewrite((&raw mut (*when).result).cast(), change);
            }
            _ => {}
        }
    }
}

/// # Safety
/// The list is NULL, or one of expressions of our own.
unsafe fn in_list(list: *mut pg_sys::List, change: &mut dyn FnMut(*mut Node) -> Option<*mut Node>) {
    if list.is_null() {
        return;
    }
    // SAFETY: a list has as many elements as its length says.
    unsafe {
        for index in 0..(*list).length as usize {
            let cell = (*list).elements.add(index);
            rewrite((&raw mut (*cell).ptr_value).cast(), change);
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
