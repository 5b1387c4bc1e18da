//! Expressions that have one value in a query, and cannot fail: they are evaluated before the first row.

use pgrx::pg_sys::SQLValueFunctionOp::{
    SVFOP_CURRENT_DATE, SVFOP_CURRENT_TIMESTAMP, SVFOP_CURRENT_TIMESTAMP_N, SVFOP_LOCALTIMESTAMP,
    SVFOP_LOCALTIMESTAMP_N,
};
use pgrx::pg_sys::{self, FuncExpr, List, Node, NodeTag, OpExpr, SQLValueFunction};
use pgrx::pg_sys::{
    F_DATE_MI_INTERVAL, F_DATE_MII, F_DATE_PL_INTERVAL, F_DATE_PLI, F_DATE_TIMESTAMP, F_DATE_TIMESTAMPTZ,
    F_DATE_TRUNC_TEXT_TIMESTAMP, F_DATE_TRUNC_TEXT_TIMESTAMPTZ, F_NOW, F_STATEMENT_TIMESTAMP,
    F_TIMESTAMP_DATE, F_TIMESTAMP_MI_INTERVAL, F_TIMESTAMP_PL_INTERVAL, F_TIMESTAMP_TIMESTAMPTZ,
    F_TIMESTAMPTZ_DATE, F_TIMESTAMPTZ_MI_INTERVAL, F_TIMESTAMPTZ_PL_INTERVAL, F_TIMESTAMPTZ_TIMESTAMP,
    F_TRANSACTION_TIMESTAMP,
};

use super::types::type_of;
use crate::pg::list::members;

/// Expressions that lie deeper in others are left to PostgreSQL.
const DEEPEST: usize = 4;

/// Returns whether an expression is one of the current time: now(), CURRENT_DATE and the like, and what is made of them
/// with intervals so short that none of it can be out of range.
///
/// # Safety
/// The node is an expression.
pub unsafe fn is_known_at_start(node: *mut Node) -> bool {
    // SAFETY: the caller passes an expression.
    unsafe { !node.is_null() && is_time(node, DEEPEST) && type_of(pg_sys::exprType(node)).is_some() }
}

/// # Safety
/// The node is an expression.
unsafe fn is_time(node: *mut Node, deepest: usize) -> bool {
    if deepest == 0 {
        return false;
    }
    // SAFETY: each node is of the type that its tag says; its arguments are expressions.
    unsafe {
        let of_arguments = |function: u32, arguments: *mut List| {
            let arguments = members::<Node>(arguments);
            let is_time = |node| is_time(node, deepest - 1);
            match (function, &arguments[..]) {
                (F_NOW | F_TRANSACTION_TIMESTAMP | F_STATEMENT_TIMESTAMP, []) => true,
                (
                    F_TIMESTAMP_TIMESTAMPTZ | F_DATE_TIMESTAMPTZ | F_TIMESTAMP_DATE | F_DATE_TIMESTAMP,
                    [time],
                )
                | (F_TIMESTAMPTZ_DATE | F_TIMESTAMPTZ_TIMESTAMP, [time]) => is_time(*time),
                (
                    F_TIMESTAMPTZ_PL_INTERVAL
                    | F_TIMESTAMPTZ_MI_INTERVAL
                    | F_TIMESTAMP_PL_INTERVAL
                    | F_TIMESTAMP_MI_INTERVAL
                    | F_DATE_PL_INTERVAL
                    | F_DATE_MI_INTERVAL
                    | F_DATE_PLI
                    | F_DATE_MII,
                    [time, by],
                ) => is_time(*time) && is_short(*by),
                (F_DATE_TRUNC_TEXT_TIMESTAMPTZ | F_DATE_TRUNC_TEXT_TIMESTAMP, [unit, time]) => {
                    is_unit(*unit) && is_time(*time)
                }
                _ => false,
            }
        };
        match (*node).type_ {
            NodeTag::T_SQLValueFunction => {
                let op = (*node.cast::<SQLValueFunction>()).op;
                matches!(
                    op,
                    SVFOP_CURRENT_DATE
                        | SVFOP_CURRENT_TIMESTAMP
                        | SVFOP_CURRENT_TIMESTAMP_N
                        | SVFOP_LOCALTIMESTAMP
                        | SVFOP_LOCALTIMESTAMP_N
                )
            }
            NodeTag::T_FuncExpr => {
                let node = &*node.cast::<FuncExpr>();
                of_arguments(node.funcid.to_u32(), node.args)
            }
            NodeTag::T_OpExpr => {
                let node = &*node.cast::<OpExpr>();
                of_arguments(pg_sys::get_opcode(node.opno).to_u32(), node.args)
            }
            _ => false,
        }
    }
}

/// Returns whether a constant is an interval or a number of days of less than 500 years.
///
/// # Safety
/// The node is an expression.
unsafe fn is_short(node: *mut Node) -> bool {
    const YEARS: i64 = 500;
    const DAYS: i64 = 366 * YEARS;
    // SAFETY: a Const's type says what its Datum is.
    unsafe {
        let Some((of, value)) = constant(node) else { return false };
        if of == pg_sys::INT4OID {
            return i64::from(value.value() as i32).abs() < DAYS;
        }
        let interval = *value.cast_mut_ptr::<pg_sys::Interval>();
        of == pg_sys::INTERVALOID
            && i64::from(interval.month).abs() < 12 * YEARS
            && i64::from(interval.day).abs() < DAYS
            && interval.time.unsigned_abs() < DAYS as u64 * 86_400_000_000
    }
}

/// Returns whether a constant is a unit of date_trunc.
///
/// # Safety
/// The node is an expression.
unsafe fn is_unit(node: *mut Node) -> bool {
    // SAFETY: a Const's type says what its Datum is.
    unsafe {
        let text = constant(node).filter(|(of, _)| *of == pg_sys::TEXTOID);
        text.is_some_and(|(_, value)| crate::query::Unit::named(crate::pg::varlena::bytes(value)).is_some())
    }
}

/// Returns a constant that is not NULL, and its type.
///
/// # Safety
/// The node is an expression.
unsafe fn constant(node: *mut Node) -> Option<(pg_sys::Oid, pg_sys::Datum)> {
    // SAFETY: each node is of the type that its tag says.
    unsafe {
        let constant = ((*node).type_ == NodeTag::T_Const).then(|| &*node.cast::<pg_sys::Const>())?;
        (!constant.constisnull).then_some((constant.consttype, constant.constvalue))
    }
}
