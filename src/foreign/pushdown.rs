//! The conditions of a relation that the scan decides by itself.

use pgrx::pg_sys;

use super::conditions::Conditions;
use super::decided::can_decide;
use crate::pg::expr::Scope;
use crate::pg::list::members;
use crate::pg::{guc, pg_type};

/// Returns whether the scan can decide a condition by itself, and may: the conditions of a view that hides rows come
/// first.
///
/// # Safety
/// The condition is one of the planner's relation.
pub unsafe fn decides(rel: *mut pg_sys::RelOptInfo, clause: *mut pg_sys::RestrictInfo) -> bool {
    // SAFETY: the clause is an expression over the relation.
    unsafe {
        guc::arrow_fdw_pushdown()
            && pg_sys::restriction_is_securely_promotable(clause, rel)
            && can_decide((*rel).relid, (*clause).clause.cast())
    }
}

/// Returns the column that a condition says is equal to a value from elsewhere.
///
/// # Safety
/// The condition is one of the planner's relation.
pub unsafe fn equals(rel: *mut pg_sys::RelOptInfo, clause: *mut pg_sys::RestrictInfo) -> Option<i16> {
    // SAFETY: the clause is an expression over the relation.
    unsafe {
        if (*clause).mergeopfamilies.is_null() && (*clause).hashjoinoperator == pg_sys::InvalidOid {
            return None;
        }
        let list = pg_sys::lappend(std::ptr::null_mut(), (*clause).clause.cast());
        let scope = scope(rel, list);
        let conditions = Conditions::new(&[list], &scope);
        conditions.columns().first().map(|&at| scope.columns[at].0)
    }
}

/// Returns the relation's columns in some expressions, as plans have them.
///
/// # Safety
/// The expressions are over the planner's relation.
unsafe fn scope(rel: *mut pg_sys::RelOptInfo, exprs: *mut pg_sys::List) -> Scope {
    // SAFETY: pull_var_clause returns a list of Vars.
    unsafe {
        let vars = members::<pg_sys::Var>(pg_sys::pull_var_clause(exprs.cast(), ALL_VARS)).into_iter();
        let own = vars.filter(|&var| (*var).varno as u32 == (*rel).relid && (*var).varattno > 0);
        let column =
            |var: *mut pg_sys::Var| ((*var).varattno, pg_type::base_type((*var).vartype, (*var).vartypmod).0);
        Scope { relation: (*rel).relid, columns: own.map(column).collect(), parent: None }
    }
}

/// Flags of pull_var_clause: looks into everything.
const ALL_VARS: i32 = (pg_sys::PVC_RECURSE_AGGREGATES
    | pg_sys::PVC_RECURSE_WINDOWFUNCS
    | pg_sys::PVC_RECURSE_PLACEHOLDERS) as i32;
