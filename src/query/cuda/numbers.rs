//! Arithmetic and comparisons of numbers, as statements.

use super::super::Unfit;
use super::super::arithmetic::limits;
use super::super::calendar::DAY;
use super::super::plan::{Arithmetic, Test};
use super::super::value::Type;
use super::expressions::Writer;
use super::node::{Form, Node, WIDE_LIMIT, any_null};
use crate::wire::numeric::pow10;

const WORD: u128 = 1 << 63;

impl Writer<'_> {
    pub fn arithmetic(&mut self, op: Arithmetic, of: Type, a: &Node, b: &Node) -> Result<Node, Unfit> {
        match (&a.form, &b.form) {
            (Form::Word { .. }, Form::Word { .. }) => Ok(self.integers(op, of, a, b)),
            (Form::Number { .. }, Form::Number { .. }) => self.numerics(op, a, b),
            _ => Err(Unfit("arithmetic that a GPU does not compute")),
        }
    }

    fn integers(&mut self, op: Arithmetic, of: Type, a: &Node, b: &Node) -> Node {
        let (least, greatest) = limits(of);
        let null = any_null(&[a, b]);
        let (x, y) = (&a.value, &b.value);
        let bound = bound(op, magnitude(a), magnitude(b));
        let fits = bound <= u128::from(greatest.unsigned_abs().min(least.unsigned_abs()));
        let bits = match of {
            Type::Int2 => 16,
            Type::Int4 => 32,
            _ => 64,
        };
        let sign = match op {
            Arithmetic::Add => "+",
            Arithmetic::Subtract => "-",
            Arithmetic::Multiply => "*",
            Arithmetic::BitAnd => "&",
            Arithmetic::BitOr => "|",
            Arithmetic::BitXor => "^",
            _ => "",
        };
        let value = match op {
            Arithmetic::Add | Arithmetic::Subtract | Arithmetic::Multiply if fits => {
                return self.declare(Form::Word { bound }, &format!("{x} {sign} {y}"), &null);
            }
            Arithmetic::Add | Arithmetic::Subtract | Arithmetic::Multiply if bound < WORD => {
                format!("{x} {sign} {y}")
            }
            Arithmetic::Add | Arithmetic::Subtract | Arithmetic::Multiply => format!("i128({x}) {sign} {y}"),
            Arithmetic::Divide => format!("quotient({x}, {y}, BAD)"),
            Arithmetic::Modulo => format!("remainder({x}, {y}, BAD)"),
            Arithmetic::ShiftLeft => format!("i{bits}(u64({x}) << shift_of({y}, {bits}, BAD))"),
            Arithmetic::ShiftRight => format!("{x} >> shift_of({y}, {bits}, BAD)"),
            _ => format!("{x} {sign} {y}"),
        };
        let value = format!("ranged({value}, {}, {}, BAD)", literal(least), literal(greatest));
        let bound = u128::from(greatest.unsigned_abs().max(least.unsigned_abs()));
        self.declare_checked(Form::Word { bound }, &value, &null)
    }

    fn numerics(&mut self, op: Arithmetic, a: &Node, b: &Node) -> Result<Node, Unfit> {
        let (x, y) = (scale(a), scale(b));
        let null = any_null(&[a, b]);
        let (sign, scale) = match op {
            Arithmetic::Add => ("+", x.max(y)),
            Arithmetic::Subtract => ("-", x.max(y)),
            Arithmetic::Multiply => ("*", x + y),
            _ => return Err(Unfit("a division of numerics")),
        };
        if scale > 38 {
            return Err(Unfit("numerics of many digits"));
        }
        let (a, b) = match op {
            Arithmetic::Multiply => (a.clone(), b.clone()),
            _ => (self.at_scale(a, scale)?, self.at_scale(b, scale)?),
        };
        let bound = bound(op, magnitude(&a), magnitude(&b));
        let (x, y, form) = (&a.value, &b.value, Form::number(scale, bound));
        if bound < WORD {
            return Ok(self.declare(form, &format!("{x} {sign} {y}"), &null));
        }
        if bound < WIDE_LIMIT {
            return Ok(self.declare(form, &format!("i128({x}) {sign} {y}"), &null));
        }
        let value = match op {
            Arithmetic::Multiply => format!("product({x}, {y}, BAD)"),
            _ => format!("limited(i128({x}) {sign} {y}, WIDE_LIMIT, BAD)"),
        };
        Ok(self.declare_checked(form, &value, &null))
    }

    /// Writes a numeric at a scale that is at least its own.
    fn at_scale(&mut self, node: &Node, wanted: u8) -> Result<Node, Unfit> {
        let more = wanted - scale(node);
        if more == 0 {
            return Ok(node.clone());
        }
        let factor = pow10(more.into()).filter(|factor| (*factor as u128) < WORD);
        let factor = factor.ok_or(Unfit("numerics of many digits"))? as u128;
        let bound = magnitude(node).saturating_mul(factor);
        let (value, form) = (&node.value, Form::number(wanted, bound));
        if bound < WORD {
            return Ok(self.declare(form, &format!("{value} * {factor}ll"), &node.null));
        }
        if bound < WIDE_LIMIT {
            return Ok(self.declare(form, &format!("i128({value}) * {factor}ll"), &node.null));
        }
        Ok(self.declare_checked(form, &format!("product({value}, {factor}ll, BAD)"), &node.null))
    }

    /// Writes a comparison of values of two types.
    pub fn compare(&mut self, test: Test, of: Type, nodes: [&Node; 2], other: Type) -> Result<Node, Unfit> {
        let null = any_null(&nodes);
        let [a, b] = nodes;
        let sign = match test {
            Test::Less => "<",
            Test::LessEqual => "<=",
            Test::Equal => "==",
            Test::GreaterEqual => ">=",
            Test::Greater => ">",
            Test::NotEqual => "!=",
        };
        let (x, y) = (&a.value, &b.value);
        let value = match (&a.form, &b.form) {
            (Form::Bool, Form::Bool) | (Form::Word { .. }, Form::Word { .. }) => format!("{x} {sign} {y}"),
            (Form::Float, Form::Float) => format!("float_key({x}) {sign} float_key({y})"),
            (Form::Number { .. }, Form::Number { .. }) => {
                let scale = scale(a).max(scale(b));
                let (a, b) = (self.at_scale(a, scale)?, self.at_scale(b, scale)?);
                format!("{} {sign} {}", a.value, b.value)
            }
            (Form::Bytes, Form::Bytes) => {
                let trimmed = |of: Type, value: &str| match of {
                    Type::Bpchar => format!("{value}.without_blanks()"),
                    _ => value.to_owned(),
                };
                format!("compare({}, {}) {sign} 0", trimmed(of, x), trimmed(other, y))
            }
            _ => return Err(Unfit("a comparison of values of two types")),
        };
        Ok(self.declare(Form::Bool, &value, &null))
    }

    pub fn integer_of(&mut self, of: Type, from: &Node) -> Result<Node, Unfit> {
        let Form::Word { bound } = from.form else { return Err(Unfit("an integer of no integer")) };
        let (least, greatest) = of.range().unwrap_or((i64::MIN, i64::MAX));
        if bound <= greatest as u128 {
            return Ok(from.clone());
        }
        let value = format!("ranged({}, {}, {}, BAD)", from.value, literal(least), literal(greatest));
        let form = Form::Word { bound: least.unsigned_abs().into() };
        Ok(self.declare_checked(form, &value, &from.null))
    }

    pub fn timestamp_of(&mut self, from: &Node) -> Result<Node, Unfit> {
        // 4714-11-24 BC and 294277-01-01 (datatype/timestamp.h).
        let days = format!("ranged({}, -2451545, 106751982, BAD)", from.value);
        match from.form {
            Form::Word { .. } => {
                Ok(self.declare_checked(Form::Word { bound: WORD }, &format!("{days} * {DAY}ll"), &from.null))
            }
            _ => Err(Unfit("a timestamp of no date")),
        }
    }
}

/// Returns the C++ text of an integer; the least one has no literal.
fn literal(value: i64) -> String {
    if value == i64::MIN { "(-9223372036854775807ll - 1)".into() } else { format!("{value}ll") }
}

fn scale(node: &Node) -> u8 {
    node.form.scale()
}

fn magnitude(node: &Node) -> u128 {
    match node.form {
        Form::Word { bound } | Form::Number { bound, .. } => bound,
        _ => 0,
    }
}

fn bound(op: Arithmetic, a: u128, b: u128) -> u128 {
    match op {
        Arithmetic::Add | Arithmetic::Subtract => a.saturating_add(b),
        Arithmetic::Multiply => a.saturating_mul(b),
        _ => u128::MAX,
    }
}
