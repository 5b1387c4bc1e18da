//! What a condition is evaluated with.

use super::condition::Operand;
use super::evidence::Evidence;
use super::value::Constant;

/// Evaluates opaque conditions.
pub trait Opaque {
    /// Returns whether a row may exist for which a condition is `wanted`.
    ///
    /// # Safety
    /// The contract is that of `Condition::may_be`.
    unsafe fn may_be(&self, number: usize, wanted: bool, evidence: &dyn Evidence) -> bool;
}

/// The values and the evaluator that conditions need.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The parameters' values; `None` if a value is not known yet.
    pub parameters: &'a [Option<Constant>],
    pub opaque: &'a dyn Opaque,
}

impl<'a> Context<'a> {
    /// Returns an operand's value, unless it is not known yet.
    pub(super) fn value(&self, operand: &'a Operand) -> Option<&'a Constant> {
        match operand {
            Operand::Constant(value) => Some(value),
            Operand::Parameter(number) => self.parameters.get(*number)?.as_ref(),
        }
    }
}
