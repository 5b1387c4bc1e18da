//! The expressions of a plan's node, with the values that its parameters have now.

use pgrx::pg_sys::{self, Node, NodeTag};

use super::candidate::{function_of, is_distinct, translate_all};
use super::run::{Fit, Query, column_is_gone, has_row};
use super::shape::Shape;
use super::subqueries::{Needed, is_waiting, needed};
use crate::pg::catalog::{Attribute, Table};
use crate::pg::error::Result;
use crate::pg::expr::expression::Translator;
use crate::pg::expr::nodes::{list, replace_leaves};
use crate::pg::expr::types::{declared_scale, type_of};
use crate::pg::list::members;
use crate::query::{self, Function, Output, Plan, Unfit};

/// Expressions over the columns of a table.
pub struct Expressions {
    node: *mut pg_sys::CustomScanState,
    own: Vec<*mut Node>,
    aggrefs: Vec<*mut pg_sys::Aggref>,
    /// The attributes that are the columns.
    numbers: Vec<i16>,
}

impl Expressions {
    /// Reads a node's expressions.
    ///
    /// # Safety
    /// The node is one of ours.
    pub unsafe fn new(node: *mut pg_sys::CustomScanState) -> Expressions {
        // SAFETY: the node's plan is a CustomScan of ours.
        unsafe {
            let plan = (*node).ss.ps.plan.cast::<pg_sys::CustomScan>();
            let tuple = members::<pg_sys::TargetEntry>((*plan).custom_scan_tlist);
            let tuple: Vec<*mut Node> = tuple.into_iter().map(|entry| (*entry).expr.cast()).collect();
            let mut numbers: Vec<i16> = Vec::new();
            let mut own: Vec<*mut Node> = members::<Node>((*plan).custom_exprs).iter().map(copy).collect();
            // The planner has replaced parts of the expressions that are keys, too, by Vars of the tuple.
            for place in &mut own {
                replace_leaves(place, &mut |leaf| match (*leaf).type_ {
                    NodeTag::T_Var => copy(&tuple[(*leaf.cast::<pg_sys::Var>()).varattno as usize - 1]),
                    _ => leaf,
                });
                replace_leaves(place, &mut |leaf| match (*leaf).type_ {
                    NodeTag::T_Var => own_column(leaf.cast(), &mut numbers),
                    _ => leaf,
                });
            }
            let aggrefs = tuple.iter().filter(|node| (***node).type_ == NodeTag::T_Aggref);
            let aggrefs = aggrefs.map(|node| node.cast()).collect();
            Expressions { node, own, aggrefs, numbers }
        }
    }

    /// Returns the query of the node.
    ///
    /// # Safety
    /// The executor runs the node.
    pub unsafe fn query(&self, shape: &Shape) -> Result<Fit<Query>> {
        // SAFETY: the caller says so.
        unsafe {
            let is_read = match self.evaluate_subqueries(shape)? {
                Ok(is_read) => is_read,
                Err(unfit) => return Ok(Err(unfit)),
            };
            let table = Table::open(shape.table)?;
            let attributes = table.attributes();
            let chosen = self.chosen(&attributes)?;
            let own = self.known(self.own.len());
            let Some(plan) = translate(&own, (shape.filters, shape.keys), &self.aggrefs, &chosen) else {
                return Ok(Err(A_VALUE));
            };
            let query = Query::new(&table, shape, &chosen, plan, text(own))?;
            Ok(Ok(if is_read { query } else { query.without_rows() }))
        }
    }

    /// Evaluates the subqueries that rows need; returns false if no row passes the filters before such a one.
    ///
    /// # Safety
    /// The executor runs the node.
    unsafe fn evaluate_subqueries(&self, shape: &Shape) -> Result<Fit<bool>> {
        // SAFETY: the caller says so.
        unsafe {
            let exprs = self.with_sureness(shape);
            loop {
                let (number, subqueries) = match needed(&exprs, self.node) {
                    Needed::Nothing => return Ok(Ok(true)),
                    Needed::Perhaps => return Ok(Err(Unfit("a subquery that is perhaps not needed"))),
                    Needed::At(number, subqueries) => (number, subqueries),
                };
                match self.some_row_passes(shape, number.min(shape.filters))? {
                    Ok(true) => {}
                    found => return Ok(found),
                }
                for subquery in subqueries {
                    known(subquery, self.node);
                }
            }
        }
    }

    /// Returns each expression, and whether a row that passes the filters needs it: an aggregate with a filter of its
    /// own does not need its argument.
    fn with_sureness(&self, shape: &Shape) -> Vec<(*mut Node, bool)> {
        let of_aggregates = self.aggrefs.iter().flat_map(|&aggref| {
            // SAFETY: the aggregates are the plan's.
            let (has_argument, has_filter) =
                unsafe { (!(*aggref).args.is_null(), !(*aggref).aggfilter.is_null()) };
            [has_argument.then_some(!has_filter), has_filter.then_some(true)].into_iter().flatten()
        });
        let sure = std::iter::repeat_n(true, shape.filters + shape.keys).chain(of_aggregates);
        self.own.iter().copied().zip(sure).collect()
    }

    /// Returns whether the first filters let a row through.
    ///
    /// # Safety
    /// The executor runs the node.
    unsafe fn some_row_passes(&self, shape: &Shape, filters: usize) -> Result<Fit<bool>> {
        // SAFETY: the caller says so.
        unsafe {
            let table = Table::open(shape.table)?;
            let attributes = table.attributes();
            let chosen = self.chosen(&attributes)?;
            let own = self.known(filters);
            let Some(mut plan) = translate(&own, (filters, 0), &[], &chosen) else { return Ok(Err(A_VALUE)) };
            let (function, output) = (Function::Count, Output::Value);
            let count =
                query::Aggregate { function, argument: None, filter: None, is_distinct: false, output };
            plan.aggregates.push(count);
            let query = Query::new(&table, shape, &chosen, plan, text(own))?;
            has_row(query, (*(*self.node).ss.ps.state).es_snapshot)
        }
    }

    /// Returns the attributes that are the columns.
    fn chosen<'a>(&self, attributes: &'a [Attribute]) -> Result<Vec<&'a Attribute>> {
        let attribute = |number: &i16| attributes.iter().find(|of| of.number == *number);
        self.numbers.iter().map(attribute).collect::<Option<_>>().ok_or_else(column_is_gone)
    }

    /// Returns copies of the first expressions, in which no parameters are left. Those that wait for a row are NULL: there
    /// is none.
    ///
    /// # Safety
    /// The executor runs the node.
    unsafe fn known(&self, count: usize) -> Vec<*mut Node> {
        // SAFETY: the expressions are the node's, and copies are our own.
        unsafe {
            let mut own: Vec<*mut Node> = self.own[..count].iter().map(copy).collect();
            for place in &mut own {
                replace_leaves(place, &mut |leaf| match (*leaf).type_ {
                    NodeTag::T_Var => leaf,
                    NodeTag::T_Param if is_waiting(&*leaf.cast(), self.node) => null(leaf),
                    _ => known(leaf, self.node),
                });
            }
            own
        }
    }
}

const A_VALUE: Unfit = Unfit("a parameter's value");

fn copy(node: &*mut Node) -> *mut Node {
    // SAFETY: the node is one of a plan.
    unsafe { pg_sys::copyObjectImpl(node.cast()).cast() }
}

/// Returns expressions as nodeToString writes them.
///
/// # Safety
/// The pointers are live nodes.
unsafe fn text(exprs: Vec<*mut Node>) -> String {
    // SAFETY: the caller passes nodes; their text ends with a NUL.
    unsafe {
        let text = pg_sys::nodeToString(list(exprs).cast());
        std::ffi::CStr::from_ptr(text).to_string_lossy().into_owned()
    }
}

/// Returns a NULL of an expression's type.
///
/// # Safety
/// The node is an expression.
unsafe fn null(expr: *mut Node) -> *mut Node {
    // SAFETY: the caller passes an expression.
    unsafe {
        let (of, typmod) = (pg_sys::exprType(expr), pg_sys::exprTypmod(expr));
        pg_sys::makeNullConst(of, typmod, pg_sys::exprCollation(expr)).cast()
    }
}

/// Returns the value now of a parameter, or of an expression that is evaluated ahead, as a constant.
///
/// # Safety
/// The executor runs the node.
unsafe fn known(expr: *mut Node, node: *mut pg_sys::CustomScanState) -> *mut Node {
    // SAFETY: the expression is one of the node's plan; its value stays as it is while the node
    // computes its groups.
    unsafe {
        let of = pg_sys::exprType(expr);
        let state = pg_sys::ExecInitExpr(expr.cast(), &raw mut (*node).ss.ps);
        let mut is_null = false;
        let value = pg_sys::ExecEvalExpr(state, (*node).ss.ps.ps_ExprContext, &mut is_null);
        let (mut length, mut by_value) = (0, false);
        pg_sys::get_typlenbyval(of, &mut length, &mut by_value);
        let (typmod, collation) = (pg_sys::exprTypmod(expr), pg_sys::exprCollation(expr));
        pg_sys::makeConst(of, typmod, collation, length.into(), value, is_null, by_value).cast()
    }
}

/// Makes a Var of the table one of the columns that are read, whose numbers are noted.
///
/// # Safety
/// The Var is a copy of our own.
unsafe fn own_column(var: *mut pg_sys::Var, numbers: &mut Vec<i16>) -> *mut Node {
    // SAFETY: the caller passes a Var that it owns.
    unsafe {
        let number = (*var).varattno;
        let index = numbers.iter().position(|known| *known == number).unwrap_or_else(|| {
            numbers.push(number);
            numbers.len() - 1
        });
        (*var).varno = 1;
        (*var).varattno = index as i16 + 1;
        var.cast()
    }
}

/// Translates the expressions, in which no parameters are left.
///
/// # Safety
/// The expressions are those of a plan of ours, over columns.
unsafe fn translate(
    own: &[*mut Node],
    (filters, keys): (usize, usize),
    aggrefs: &[*mut pg_sys::Aggref],
    chosen: &[&Attribute],
) -> Option<Plan> {
    let column = |attribute: &&Attribute| {
        let scale = declared_scale(attribute.type_oid, attribute.typmod);
        query::Column { of: type_of(attribute.type_oid).unwrap_or(query::Type::Other), scale }
    };
    let columns = chosen.iter().map(column).collect();
    let mut number = |var: &pg_sys::Var| Some(var.varattno as usize - 1);
    let mut translator =
        Translator { column: &mut number, takes_other: true, has_parameters: false, case: None, depth: 0 };
    // SAFETY: the caller passes expressions; the aggregates are the plan's.
    unsafe {
        let (filters, rest) = own.split_at_checked(filters)?;
        let (keys, arguments) = rest.split_at_checked(keys)?;
        let filters = translate_all(&mut translator, filters)?.into_iter().map(|(expr, _)| expr).collect();
        let keys = translate_all(&mut translator, keys)?.into_iter().map(|(expr, _)| expr).collect();
        let mut arguments = arguments.iter();
        let aggregates = aggrefs.iter().map(|&aggref| {
            let (function, output) = function_of(&*aggref)?;
            let argument = match (*aggref).args.is_null() {
                true => None,
                false => Some(translator.presence(*arguments.next()?)?),
            };
            let filter = match (*aggref).aggfilter.is_null() {
                true => None,
                false => Some(translator.whole(*arguments.next()?)?.0),
            };
            let is_distinct = is_distinct(&*aggref, function);
            Some(query::Aggregate { function, argument, filter, is_distinct, output })
        });
        let aggregates = aggregates.collect::<Option<Vec<_>>>()?;
        Some(Plan { columns, filters, keys, aggregates })
    }
}
