//! The conditions of a scan. All of them skip groups of rows that cannot match; those that the planner gave the scan
//! to decide are also evaluated row by row.

use pgrx::pg_sys;

use crate::expr::{Batch, Bounds, ColumnRef, Condition, Evidence, Scalar, Vector};
use crate::fdw::BloomFilter;
use crate::pg::expr::{Inputs, Purpose, Scope, Translator};
use crate::pg::list::members;

/// Conditions that a row has to meet, all of them.
#[derive(Default)]
pub struct Conditions {
    all: Vec<Condition>,
    /// How many of them, from the first, the scan decides row by row.
    decided: usize,
    inputs: Inputs,
    /// The plan's conditions that are used.
    pub clauses: Vec<*mut pg_sys::Expr>,
}

impl Conditions {
    /// Translates a plan's conditions: the clauses that the scan decides, and the others, which skip groups if they are
    /// understood. Returns `None` if a clause cannot be decided.
    ///
    /// # Safety
    /// The lists are of expressions over the relation's columns, and outlive the result.
    pub unsafe fn new(
        decided: *const pg_sys::List,
        others: *const pg_sys::List,
        scope: &Scope,
    ) -> Option<Conditions> {
        let mut conditions = Conditions::default();
        for (purpose, list) in [(Purpose::Decide, decided), (Purpose::Prune, others)] {
            // SAFETY: the list is one of expressions.
            for clause in unsafe { members::<pg_sys::Expr>(list) } {
                let mut translator = Translator { scope, purpose, inputs: &mut conditions.inputs };
                // SAFETY: the expression is over the relation's columns.
                match unsafe { translator.condition(clause.cast()) } {
                    Some(condition) => {
                        conditions.all.push(condition);
                        conditions.clauses.push(clause);
                    }
                    None if purpose == Purpose::Decide => return None,
                    None => {}
                }
            }
            if purpose == Purpose::Decide {
                conditions.decided = conditions.all.len();
            }
        }
        Some(conditions)
    }

    /// Returns the columns that the conditions are about.
    pub fn columns(&self) -> Vec<usize> {
        columns(&self.all)
    }

    /// Returns the columns that the scan decides by.
    pub fn decided_columns(&self) -> Vec<usize> {
        columns(&self.all[..self.decided])
    }

    /// Returns whether there are conditions that the scan decides.
    pub fn decide(&self) -> bool {
        self.decided > 0
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

    /// Returns for each row whether it meets the conditions that the scan decides.
    ///
    /// # Safety
    /// The expressions have their values; the words are Datums of the columns' types.
    pub unsafe fn select(&self, rows: usize, columns: &[Option<Vector>]) -> Vec<bool> {
        let mut found = vec![true; rows];
        let batch = Batch { columns };
        for condition in &self.all[..self.decided] {
            // SAFETY: the caller's words are passed on.
            unsafe { condition.select(true, &batch, self.inputs.context(), &mut found) };
            if !found.contains(&true) {
                break;
            }
        }
        found
    }
}

fn columns(conditions: &[Condition]) -> Vec<usize> {
    let mut found = Vec::new();
    conditions.iter().for_each(|condition| condition.columns(&mut found));
    found.sort_unstable();
    found.dedup();
    found
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
