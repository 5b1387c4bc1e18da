//! The conditions of a scan that skip groups of rows which cannot match.

use pgrx::pg_sys;

use crate::expr::{Bounds, ColumnRef, Condition, Evidence, Scalar};
use crate::fdw::BloomFilter;
use crate::pg::expr::{Inputs, Scope, Translator};
use crate::pg::list::members;

/// Conditions that a row has to meet.
#[derive(Default)]
pub struct Conditions {
    all: Vec<Condition>,
    inputs: Inputs,
    /// The plan's conditions that are used.
    pub clauses: Vec<*mut pg_sys::Expr>,
}

impl Conditions {
    /// Translates those of a plan's conditions that are understood.
    ///
    /// # Safety
    /// The lists are of expressions over the relation's columns, and outlive the result.
    pub unsafe fn new(lists: &[*const pg_sys::List], scope: &Scope) -> Conditions {
        let mut conditions = Conditions::default();
        // SAFETY: the lists are of expressions.
        for clause in lists.iter().flat_map(|&list| unsafe { members::<pg_sys::Expr>(list) }) {
            let mut translator = Translator { scope, inputs: &mut conditions.inputs };
            // SAFETY: the expression is over the relation's columns.
            if let Some(condition) = unsafe { translator.condition(clause.cast()) } {
                conditions.all.push(condition);
                conditions.clauses.push(clause);
            }
        }
        conditions
    }

    /// Returns the columns that the conditions are about.
    pub fn columns(&self) -> Vec<usize> {
        let mut found = Vec::new();
        self.all.iter().for_each(|condition| condition.columns(&mut found));
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Evaluates the expressions, in the scan's context; the values live in the current one.
    ///
    /// # Safety
    /// `context` is that of the scan; with `all`, the executor is running it.
    pub unsafe fn evaluate(&mut self, context: *mut pg_sys::ExprContext, all: bool) {
        // SAFETY: the caller's context is passed on.
        unsafe { self.inputs.evaluate(context, all) }
    }

    /// Returns whether rows of which the evidence tells may match.
    ///
    /// # Safety
    /// The bounds are Datums of the columns' types.
    pub unsafe fn may_match(&self, evidence: &dyn Evidence) -> bool {
        // SAFETY: the caller's bounds are passed on.
        self.all.iter().all(|condition| unsafe { condition.may_be(true, evidence, self.inputs.context()) })
    }
}

/// The statistics of the columns in some rows: bounds, and the filters of their row group.
pub struct Known<'a> {
    pub bounds: &'a dyn Fn(usize) -> Option<Bounds>,
    pub filters: &'a [(usize, BloomFilter<'a>)],
}

impl Evidence for Known<'_> {
    fn bounds(&self, column: usize) -> Option<Bounds> {
        (self.bounds)(column)
    }

    fn may_have(&self, column: ColumnRef, value: &Scalar) -> bool {
        let filter = self.filters.iter().find(|(of, _)| *of == column.index);
        filter.is_none_or(|(_, filter)| filter.may_hold(column.of, value))
    }
}
