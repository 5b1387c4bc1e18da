//! What the conditions of a scan need of PostgreSQL.

use pgrx::pg_sys;

use super::input::{Input, Values};
use super::opaque::Comparison;
use crate::expr::{Constant, Context, Evidence, Opaque};

/// The values of a scan's parameters, and the comparisons that PostgreSQL evaluates.
#[derive(Default)]
pub struct Inputs {
    pub(super) parameters: Vec<(Input, Values)>,
    values: Vec<Option<Constant>>,
    pub(super) opaque: Vec<Comparison>,
}

impl Inputs {
    /// Evaluates the expressions: all of them, or those that do not depend on what else the plan does.
    ///
    /// # Safety
    /// `context` is that of the scan; with `all`, the executor is running it. The current memory context outlives
    /// the use of the values.
    pub unsafe fn evaluate(&mut self, context: *mut pg_sys::ExprContext, all: bool) {
        // SAFETY: the caller's context is passed on.
        self.opaque.iter_mut().for_each(|comparison| unsafe { comparison.value.evaluate(context, all) });
        self.values.clear();
        for (input, values) in &mut self.parameters {
            // SAFETY: the expression is of the type.
            let value = unsafe {
                input.evaluate(context, all);
                input.now().map(|now| values.constant(now))
            };
            self.values.push(value);
        }
    }

    /// Returns the context in which conditions are evaluated.
    pub fn context(&self) -> Context<'_> {
        Context { parameters: &self.values, opaque: self }
    }
}

impl Opaque for Inputs {
    unsafe fn may_be(&self, number: usize, wanted: bool, evidence: &dyn Evidence) -> bool {
        // SAFETY: the caller's bounds are passed on.
        unsafe { self.opaque[number].may_be(wanted, evidence) }
    }
}
