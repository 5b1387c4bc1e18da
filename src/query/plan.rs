//! What is computed, as data. It travels to the workers as JSON.

use serde::{Deserialize, Serialize};

pub use super::calendar::{Part, Unit};
use super::value::{Type, Value};
pub use crate::expr::Test;

/// A query over one table: `SELECT outputs FROM table WHERE filters GROUP BY keys`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    pub columns: Vec<Column>,
    /// Conditions in the order in which PostgreSQL evaluates them. A row stays if each is true.
    pub filters: Vec<Expr>,
    /// Empty: all rows are one group, which exists without any row.
    pub keys: Vec<Expr>,
    pub aggregates: Vec<Aggregate>,
}

/// A column of the table that the query reads.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Column {
    pub of: Type,
    /// The scale of a numeric that is declared with one.
    pub scale: Option<u8>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Aggregate {
    pub function: Function,
    /// `None` for count(*).
    pub argument: Option<Expr>,
    /// FILTER (WHERE ...).
    pub filter: Option<Expr>,
    /// Each value of a group counts once. But for a count, equal values are the same.
    pub is_distinct: bool,
    pub output: Output,
}

/// What is kept of the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Function {
    Count,
    /// The sum and the number of integers or numerics.
    Sum,
    /// Of truth values, false is the least.
    Least,
    Greatest,
    /// All integers combined bit by bit.
    BitAnd,
    BitOr,
    BitXor,
    /// The sum and the number of integers or numerics, and the sum of their squares.
    Squares,
}

/// What is shown of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Output {
    /// The number of a count, or the value of an extreme.
    Value,
    /// A sum as bigint, or as numeric.
    Bigint,
    Numeric,
    /// The sum divided by the number of values, as numeric.
    Average,
    /// Of a population, and of a sample.
    PopulationVariance,
    SampleVariance,
    PopulationDeviation,
    SampleDeviation,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Expr {
    Column(usize),
    Constant(Type, Value),
    /// The result has the given type, as the arguments have.
    Arithmetic(Arithmetic, Type, Box<[Expr; 2]>),
    /// The arguments are of one class.
    Compare(Test, Box<[Expr; 2]>),
    /// `argument = ANY (list)`; the list may have had NULLs. With `is_negated`, `argument <> ALL (list)`.
    In {
        argument: Box<Expr>,
        list: Vec<Value>,
        has_null: bool,
        is_negated: bool,
    },
    Like {
        argument: Box<Expr>,
        pattern: Like,
        is_negated: bool,
    },
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    IsNull(Box<Expr>),
    /// `argument IS [NOT] TRUE | FALSE`.
    Is {
        argument: Box<Expr>,
        value: bool,
        is_negated: bool,
    },
    /// The value of the first condition that is true, or the last value. All values are of the type.
    Case(Type, Vec<(Expr, Expr)>, Box<Expr>),
    Coalesce(Type, Vec<Expr>),
    /// GREATEST if true, LEAST otherwise.
    Extreme(Type, bool, Vec<Expr>),
    /// One text after another.
    Concatenate(Box<[Expr; 2]>),
    /// The result has the given type.
    Unary(Unary, Type, Box<Expr>),
    /// An integer as an integer of another type.
    ToInteger(Type, Box<Expr>),
    /// An integer as numeric.
    ToNumeric(Box<Expr>),
    /// A date as timestamp.
    ToTimestamp(Box<Expr>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    /// Of integers only, as what follows. A shift is by an integer.
    BitAnd,
    BitOr,
    BitXor,
    ShiftLeft,
    ShiftRight,
}

/// A function of one value, whose other arguments are constants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Unary {
    Absolute,
    /// -1, 0 or 1.
    Sign,
    /// Each bit of an integer.
    Not,
    /// A numeric with so many digits after the point.
    Round(u8),
    Truncate(u8),
    Ceiling,
    Floor,
    /// A numeric of a precision and a scale.
    Fit(u16, u8),
    /// A numeric as an integer of a type.
    ToInteger,
    /// The same date or timestamp, if it is not infinite.
    Finite,
    /// Of a date or timestamp.
    Part(Part),
    TruncateTo(Unit),
    ToDate,
    /// The characters of a text; `true` if they are of UTF-8.
    Length(bool),
    Bytes,
    Substring(bool, i32, Option<i32>),
    Left(bool, i32),
    Right(bool, i32),
    /// Blanks at the end are left out.
    Trim,
    StartsWith(Vec<u8>),
    /// Of ASCII letters.
    Lower,
    Upper,
}

/// A LIKE pattern: texts between `%`, whose characters may be `_`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Like {
    /// The bytes between the `%`; `None` stands for `_`.
    pub parts: Vec<Vec<Option<u8>>>,
    /// `_` matches a character of UTF-8 instead of a byte.
    pub is_utf8: bool,
}

impl Expr {
    /// Returns the type of the values.
    pub fn of(&self, columns: &[Column]) -> Type {
        match self {
            Expr::Column(index) => columns[*index].of,
            Expr::Constant(of, _)
            | Expr::Arithmetic(_, of, _)
            | Expr::Case(of, ..)
            | Expr::Coalesce(of, _)
            | Expr::Extreme(of, ..)
            | Expr::Unary(_, of, _)
            | Expr::ToInteger(of, _) => *of,
            Expr::Concatenate(_) => Type::Text,
            Expr::ToNumeric(_) => Type::Numeric,
            Expr::ToTimestamp(_) => Type::Timestamp,
            _ => Type::Bool,
        }
    }

    /// Returns the bytes that the expression takes as JSON, and how many levels they have.
    pub fn size(&self) -> (usize, usize) {
        let mut meter = Meter::default();
        // A meter takes everything, and every expression has a text.
        let _ = serde_json::to_writer(&mut meter, self);
        (meter.bytes, meter.deepest)
    }
}

/// Measures JSON whose texts are names only, as those of expressions are.
#[derive(Default)]
struct Meter {
    bytes: usize,
    depth: usize,
    deepest: usize,
}

impl std::io::Write for Meter {
    fn write(&mut self, json: &[u8]) -> std::io::Result<usize> {
        self.bytes += json.len();
        for byte in json {
            match byte {
                b'[' | b'{' => self.depth += 1,
                b']' | b'}' => self.depth -= 1,
                _ => continue,
            }
            self.deepest = self.deepest.max(self.depth);
        }
        Ok(json.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Expr {
    /// Appends the columns of a comparison, and of what is made of comparisons, in ascending order and once each; nothing for
    /// others.
    pub fn columns(&self, found: &mut Vec<usize>) {
        let mut add = |parts: &[Expr]| parts.iter().for_each(|part| part.columns(found));
        match self {
            Expr::Column(index) => {
                if let Err(at) = found.binary_search(index) {
                    found.insert(at, *index);
                }
            }
            Expr::Compare(_, parts) => add(&**parts),
            Expr::And(parts) | Expr::Or(parts) => add(parts),
            Expr::In { argument, .. } | Expr::Not(argument) | Expr::IsNull(argument) => {
                argument.columns(found)
            }
            _ => {}
        }
    }

    /// Returns whether PostgreSQL may raise an error for a value of the expression; false only if it never does.
    pub fn may_raise(&self) -> bool {
        let any = |parts: &[Expr]| parts.iter().any(Expr::may_raise);
        // Dates are compared with timestamps, too, that are no dates.
        let compared = |part: &Expr| match part {
            Expr::ToTimestamp(date) => date.may_raise(),
            part => part.may_raise(),
        };
        match self {
            Expr::Column(_) | Expr::Constant(..) => false,
            Expr::Compare(_, parts) => parts.iter().any(compared),
            Expr::In { argument, .. } => compared(argument),
            Expr::And(parts) | Expr::Or(parts) | Expr::Coalesce(_, parts) | Expr::Extreme(.., parts) => {
                any(parts)
            }
            Expr::Concatenate(parts) => any(&**parts),
            Expr::Case(_, whens, otherwise) => {
                let mut whens = whens.iter().flat_map(|(condition, value)| [condition, value]);
                whens.any(Expr::may_raise) || otherwise.may_raise()
            }
            Expr::Like { argument, .. }
            | Expr::Not(argument)
            | Expr::IsNull(argument)
            | Expr::Is { argument, .. }
            | Expr::ToNumeric(argument) => argument.may_raise(),
            Expr::Unary(function, _, argument) => function.may_raise() || argument.may_raise(),
            Expr::Arithmetic(..) | Expr::ToInteger(..) | Expr::ToTimestamp(_) => true,
        }
    }
}

impl Unary {
    /// Returns whether the function may raise an error.
    fn may_raise(&self) -> bool {
        use Unary::*;
        let never = matches!(
            self,
            Sign | Not
                | Length(_)
                | Bytes
                | Substring(..)
                | Left(..)
                | Right(..)
                | Trim
                | StartsWith(_)
                | Lower
                | Upper
        );
        !never
    }
}

impl Plan {
    /// Returns the types of the keys, then of each aggregate's argument and of its filter, where it has them.
    pub fn result_types(&self) -> Vec<Type> {
        let of_aggregates = self.aggregates.iter().flat_map(|of| of.argument.iter().chain(&of.filter));
        self.keys.iter().chain(of_aggregates).map(|expr| expr.of(&self.columns)).collect()
    }

    /// Returns the types of the keys.
    pub fn key_types(&self) -> Vec<Type> {
        self.keys.iter().map(|key| key.of(&self.columns)).collect()
    }
}
