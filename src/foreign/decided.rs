//! The conditions that a scan decides by itself: they are evaluated on columns, and by PostgreSQL's executor for rows
//! that vectors cannot hold.

use pgrx::pg_sys::{self, Datum, Node, NodeTag};

use super::batch::Selection;
use super::file_column::TableColumn;
use super::held::{Held, Loaded};
use crate::pg::error::Result;
use crate::pg::expr::datum::numeric_datum;
use crate::pg::expr::expression::Translator;
use crate::pg::expr::is_known_at_start;
use crate::pg::expr::nodes::rewrite;
use crate::pg::expr::types::{declared_scale, type_of};
use crate::pg::list::members;
use crate::pg::varlena;
use crate::query::{Column, Expr, Filter, Type};

pub struct Decided {
    clauses: Vec<*mut Node>,
    /// The scan's columns that they are about.
    pub columns: Vec<usize>,
    /// Their attributes, the places of those in a tuple, and their types.
    numbers: Vec<i16>,
    places: Vec<usize>,
    types: Vec<Column>,
    parent: *mut pg_sys::PlanState,
    quals: *mut pg_sys::ExprState,
    slot: *mut pg_sys::TupleTableSlot,
    /// Whether the conditions have no parameters.
    is_fixed: bool,
    /// `None` if PostgreSQL evaluates all rows, because of a parameter's value.
    filter: Option<Filter>,
    held: Held,
}

impl Decided {
    /// Takes the conditions of a plan that is run; `None` without conditions.
    ///
    /// # Safety
    /// The node is a scan's, in `begin`; the current context is the query's.
    pub unsafe fn new(node: *mut pg_sys::ForeignScanState, columns: &[TableColumn]) -> Option<Decided> {
        // SAFETY: the node's plan is a ForeignScan, whose expressions outlive it.
        unsafe {
            let plan = (*node).ss.ps.plan.cast::<pg_sys::ForeignScan>();
            let clauses = members::<Node>((*plan).fdw_exprs);
            if clauses.is_empty() {
                return None;
            }
            let mut found = std::ptr::null_mut();
            pg_sys::pull_varattnos((*plan).fdw_exprs.cast(), (*plan).scan.scanrelid, &mut found);
            let offset = -pg_sys::FirstLowInvalidHeapAttributeNumber;
            let is_about =
                |column: &TableColumn| pg_sys::bms_is_member(i32::from(column.number) + offset, found);
            let about = columns.iter().enumerate().filter(|(_, column)| is_about(column));
            let (indexes, about): (Vec<usize>, Vec<&TableColumn>) = about.unzip();
            let column = |column: &&TableColumn| Column {
                of: type_of(column.type_oid).unwrap_or(Type::Other),
                scale: declared_scale(column.type_oid, column.typmod),
            };
            let types: Vec<Column> = about.iter().map(column).collect();
            // The copy is not counted, so that nothing has to be released.
            let descriptor = pg_sys::CreateTupleDescCopy((*(*node).ss.ss_currentRelation).rd_att);
            let parent = &raw mut (*node).ss.ps;
            Some(Decided {
                clauses,
                columns: indexes,
                numbers: about.iter().map(|column| column.number).collect(),
                places: about.iter().map(|column| column.index).collect(),
                held: Held::new(types.iter().map(|column| column.of).collect()),
                types,
                parent,
                quals: pg_sys::ExecInitQual((*plan).fdw_exprs, parent),
                slot: pg_sys::MakeSingleTupleTableSlot(descriptor, &raw const pg_sys::TTSOpsVirtual),
                is_fixed: false,
                filter: None,
            })
        }
    }

    /// Compiles the conditions with the values that parameters have now, which live in the current context.
    ///
    /// # Safety
    /// The executor runs the node, whose context is given.
    pub unsafe fn compile(&mut self, context: *mut pg_sys::ExprContext) {
        if self.is_fixed {
            return;
        }
        self.is_fixed = true;
        let (parent, is_fixed) = (self.parent, &mut self.is_fixed);
        let mut value = |node: *mut Node| {
            *is_fixed = false;
            // SAFETY: an expression without columns, of the node that the executor runs.
            unsafe {
                let mut is_null = false;
                let state = pg_sys::ExecInitExpr(node.cast(), parent);
                let value = pg_sys::ExecEvalExpr(state, context, &mut is_null);
                constant(node, (!is_null).then_some(value))
            }
        };
        let numbers = &self.numbers;
        let mut column = |var: &pg_sys::Var| numbers.iter().position(|number| *number == var.varattno);
        // SAFETY: the conditions are the plan's.
        let exprs = self.clauses.iter().map(|&clause| unsafe {
            let scope = Values { relation: None, value: &mut value };
            translate(clause, scope, &mut column)
        });
        let exprs: Option<Vec<Expr>> = exprs.collect();
        self.filter = exprs.and_then(|exprs| Filter::new(&self.types, &exprs).ok());
    }

    /// Returns the rows of a batch that meet the conditions. The columns are those of `columns`.
    ///
    /// # Safety
    /// `compile` was called for this run of the scan, whose context is given.
    pub unsafe fn select(
        &mut self,
        count: usize,
        columns: &[Loaded],
        context: *mut pg_sys::ExprContext,
    ) -> Result<Selection> {
        let (mut found, mut left) = (Vec::with_capacity(count), Vec::new());
        let loaded: Vec<&Loaded> = columns.iter().collect();
        match (&mut self.filter, self.held.take(&loaded)?) {
            (Some(filter), Some(sources)) => filter.select(&sources.rows(), 0..count, &mut found, &mut left),
            _ => left.extend(0..count as u32),
        }
        // SAFETY: the caller's context is passed on.
        found.extend(left.into_iter().filter(|&row| unsafe { self.holds(row as usize, columns, context) }));
        Ok(Selection::of(&found, count))
    }

    /// Returns whether a row meets the conditions, by PostgreSQL's executor.
    ///
    /// # Safety
    /// The context is that of the node.
    unsafe fn holds(&self, row: usize, columns: &[Loaded], context: *mut pg_sys::ExprContext) -> bool {
        // SAFETY: the slot has the columns of the relation; what is allocated for the row is freed with the next one.
        unsafe {
            let memory = (*context).ecxt_per_tuple_memory;
            pg_sys::MemoryContextReset(memory);
            let before = pg_sys::MemoryContextSwitchTo(memory);
            pg_sys::ExecStoreAllNullTuple(self.slot);
            for (column, &at) in columns.iter().zip(&self.places) {
                let value = match column {
                    Loaded::Words(words, nulls) => (!nulls[row]).then(|| Datum::from(words[row] as usize)),
                    Loaded::Decimals(decimals) => decimals.at(row).map(|value| numeric_datum(&value)),
                    Loaded::Texts(texts) => texts.at(row).map(varlena::datum),
                };
                (*self.slot).tts_isnull.add(at).write(value.is_none());
                (*self.slot).tts_values.add(at).write(value.unwrap_or(Datum::from(0_usize)));
            }
            (*context).ecxt_scantuple = self.slot;
            let found = pg_sys::ExecQual(self.quals, context);
            pg_sys::MemoryContextSwitchTo(before);
            found
        }
    }
}

/// Returns whether a scan of a relation can decide a condition: it is known to vectors, and never raises an error.
/// Conditions that may raise one are evaluated after those that exclude rows.
///
/// # Safety
/// The condition is an expression of the planner's over the relation.
pub unsafe fn can_decide(relation: u32, clause: *mut Node) -> bool {
    let mut columns: Vec<(i16, Column)> = Vec::new();
    let mut column = |var: &pg_sys::Var| {
        if var.varno as u32 != relation || var.varattno <= 0 || var.varlevelsup != 0 {
            return None;
        }
        let known = columns.iter().position(|(number, _)| *number == var.varattno);
        Some(known.unwrap_or_else(|| {
            let of = type_of(var.vartype).unwrap_or(Type::Other);
            columns.push((var.varattno, Column { of, scale: None }));
            columns.len() - 1
        }))
    };
    // While planning, columns of other relations are values, too.
    // SAFETY: the expression's type is that of its value.
    let mut value = |node: *mut Node| unsafe { constant(node, None) };
    let scope = Values { relation: Some(relation), value: &mut value };
    // SAFETY: the caller passes a condition.
    let Some(expr) = (unsafe { translate(clause, scope, &mut column) }) else { return false };
    let columns: Vec<Column> = columns.into_iter().map(|(_, column)| column).collect();
    !expr.may_raise() && Filter::new(&columns, [&expr]).is_ok()
}

/// The values in conditions that are the same for all rows of a scan.
struct Values<'a> {
    /// While planning, the relation whose columns differ by row; later all columns are its own.
    relation: Option<u32>,
    /// Returns an expression's value as a constant, which is NULL while it is not known.
    value: &'a mut dyn FnMut(*mut Node) -> *mut Node,
}

/// Translates a condition with its values.
///
/// # Safety
/// The clause is a condition.
unsafe fn translate(
    clause: *mut Node,
    mut values: Values,
    column: &mut dyn FnMut(&pg_sys::Var) -> Option<usize>,
) -> Option<Expr> {
    // SAFETY: the copy is our own.
    unsafe {
        let mut clause = pg_sys::copyObjectImpl(clause.cast()).cast();
        values.put(&raw mut clause);
        let has_parameters = values.relation.is_some();
        let mut translator = Translator { column, takes_other: true, has_parameters, case: None, depth: 0 };
        let (expr, of) = translator.expr(clause)?;
        (of == Type::Bool).then_some(expr)
    }
}

impl Values<'_> {
    /// Puts values into a condition: of either side of a comparison, and elsewhere those that cannot fail, since they may
    /// lie where PostgreSQL does not come.
    ///
    /// # Safety
    /// The place holds an expression of our own.
    unsafe fn put(&mut self, place: *mut *mut Node) {
        // SAFETY: each node is of the type that its tag says, and the lists are of expressions.
        unsafe {
            let arguments = match (**place).type_ {
                NodeTag::T_BoolExpr => (*(*place).cast::<pg_sys::BoolExpr>()).args,
                NodeTag::T_OpExpr | NodeTag::T_DistinctExpr => (*(*place).cast::<pg_sys::OpExpr>()).args,
                NodeTag::T_ScalarArrayOpExpr => (*(*place).cast::<pg_sys::ScalarArrayOpExpr>()).args,
                _ => return self.put_parameters(place),
            };
            let is_boolean = (**place).type_ == NodeTag::T_BoolExpr;
            for index in 0..members::<Node>(arguments).len() {
                let place = (&raw mut (*(*arguments).elements.add(index)).ptr_value).cast::<*mut Node>();
                match is_boolean {
                    true => self.put(place),
                    false if self.is_value(*place) => *place = (self.value)(*place),
                    false => self.put_parameters(place),
                }
            }
        }
    }

    /// # Safety
    /// The place holds an expression of our own.
    unsafe fn put_parameters(&mut self, place: *mut *mut Node) {
        // SAFETY: each node is of the type that its tag says.
        unsafe {
            rewrite(place, &mut |node| {
                let is_value = match (*node).type_ {
                    NodeTag::T_Param => true,
                    NodeTag::T_Var => self.is_other(node.cast()),
                    _ => is_known_at_start(node),
                };
                is_value.then(|| (self.value)(node))
            });
        }
    }

    /// Returns whether an expression, which is no constant, has one value for all rows.
    ///
    /// # Safety
    /// The node is an expression.
    unsafe fn is_value(&self, node: *mut Node) -> bool {
        const VARS: u32 = pg_sys::PVC_RECURSE_AGGREGATES
            | pg_sys::PVC_RECURSE_WINDOWFUNCS
            | pg_sys::PVC_INCLUDE_PLACEHOLDERS;
        // SAFETY: the caller passes an expression; pull_var_clause returns Vars and PlaceHolderVars.
        unsafe {
            let vars = members::<Node>(pg_sys::pull_var_clause(node, VARS as i32));
            let is_other = |&var: &*mut Node| (*var).type_ == NodeTag::T_Var && self.is_other(var.cast());
            (*node).type_ != NodeTag::T_Const
                && vars.iter().all(is_other)
                && !pg_sys::contain_volatile_functions(node)
                && !pg_sys::contain_subplans(node)
        }
    }

    /// # Safety
    /// The Var is one of a condition.
    unsafe fn is_other(&self, var: *mut pg_sys::Var) -> bool {
        // SAFETY: the caller passes a Var.
        self.relation.is_some_and(|relation| unsafe { (*var).varno as u32 != relation })
    }
}

/// Returns a value of an expression's type as a constant; `None` is NULL.
///
/// # Safety
/// The Datum is of the expression's type.
unsafe fn constant(node: *mut Node, value: Option<Datum>) -> *mut Node {
    // SAFETY: look-ups of a type that exists.
    unsafe {
        let of = pg_sys::exprType(node);
        let (mut length, mut by_value) = (0, false);
        pg_sys::get_typlenbyval(of, &mut length, &mut by_value);
        let (typmod, collation) = (pg_sys::exprTypmod(node), pg_sys::exprCollation(node));
        let datum = value.unwrap_or(Datum::from(0_usize));
        pg_sys::makeConst(of, typmod, collation, length.into(), datum, value.is_none(), by_value).cast()
    }
}
