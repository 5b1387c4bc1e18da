//! Translates the functions and operators whose results are exact on vectors.

use pgrx::pg_sys::{self, Node, NodeTag, Oid};
use pgrx::pg_sys::{
    F_ABS_INT2, F_ABS_INT4, F_ABS_INT8, F_ABS_NUMERIC, F_CEIL_NUMERIC, F_CEILING_NUMERIC,
    F_CHAR_LENGTH_BPCHAR, F_CHAR_LENGTH_TEXT, F_CHARACTER_LENGTH_BPCHAR, F_CHARACTER_LENGTH_TEXT, F_DATE_MI,
    F_DATE_MI_INTERVAL, F_DATE_MII, F_DATE_PART_TEXT_TIMESTAMP, F_DATE_PL_INTERVAL, F_DATE_PLI,
    F_DATE_TIMESTAMP, F_DATE_TRUNC_TEXT_TIMESTAMP, F_EXTRACT_TEXT_DATE, F_EXTRACT_TEXT_TIMESTAMP,
    F_EXTRACT_TEXT_TIMESTAMPTZ, F_FLOOR_NUMERIC, F_INT2_INT4, F_INT2_INT8, F_INT2_NUMERIC, F_INT2ABS,
    F_INT2NOT, F_INT4_INT2, F_INT4_INT8, F_INT4_NUMERIC, F_INT4ABS, F_INT4NOT, F_INT8_INT2, F_INT8_INT4,
    F_INT8_NUMERIC, F_INT8ABS, F_INT8NOT, F_LEFT, F_LENGTH_BPCHAR, F_LENGTH_TEXT, F_LOWER_TEXT,
    F_MOD_INT2_INT2, F_MOD_INT4_INT4, F_MOD_INT8_INT8, F_MOD_NUMERIC_NUMERIC, F_NUMERIC_ABS, F_NUMERIC_INT2,
    F_NUMERIC_INT4, F_NUMERIC_INT8, F_NUMERIC_NUMERIC_INT4, F_OCTET_LENGTH_BPCHAR, F_OCTET_LENGTH_TEXT,
    F_RIGHT, F_ROUND_NUMERIC_INT4, F_SIGN_NUMERIC, F_STARTS_WITH, F_SUBSTR_TEXT_INT4,
    F_SUBSTR_TEXT_INT4_INT4, F_SUBSTRING_TEXT_INT4, F_SUBSTRING_TEXT_INT4_INT4, F_TEXT_BPCHAR, F_TEXTCAT,
    F_TIMESTAMP_DATE, F_TIMESTAMP_MI_INTERVAL, F_TIMESTAMP_PL_INTERVAL, F_TIMESTAMPTZ_MI_INTERVAL,
    F_TIMESTAMPTZ_PL_INTERVAL, F_TRUNC_NUMERIC_INT4, F_UPPER_TEXT,
};

use super::expression::{Translator, Typed};
use super::types::type_of;
use crate::pg::encoding;
use crate::pg::expr::collation::is_deterministic;
use crate::pg::list::members;
use crate::pg::pg_type;
use crate::query::{Arithmetic, Expr, Part, Type, Unary, Unit, Value};

impl Translator<'_> {
    /// Translates a function's expression.
    ///
    /// # Safety
    /// The node is one.
    pub unsafe fn function(&mut self, node: *mut pg_sys::FuncExpr) -> Option<Typed> {
        // SAFETY: the arguments are expressions.
        unsafe {
            let node = &*node;
            let of = type_of(node.funcresulttype)?;
            let function = node.funcid.to_u32();
            match members::<Node>(node.args)[..] {
                [argument] => self.of_one(function, of, argument, node.inputcollid),
                [first, second] => self.of_two(function, of, [first, second], node.inputcollid),
                [text, from, count] => {
                    if !matches!(function, F_SUBSTR_TEXT_INT4_INT4 | F_SUBSTRING_TEXT_INT4_INT4) {
                        return None;
                    }
                    // A negative count is an error.
                    let count = Some(self.integer(count)?).filter(|count| *count >= 0)?;
                    let function = Unary::Substring(is_utf8()?, self.integer(from)?, Some(count));
                    self.unary(function, Type::Text, text)
                }
                _ => None,
            }
        }
    }

    /// Translates casts, and other functions of one value.
    ///
    /// # Safety
    /// The argument is an expression.
    pub unsafe fn of_one(
        &mut self,
        function: u32,
        of: Type,
        argument: *mut Node,
        collation: Oid,
    ) -> Option<Typed> {
        let found = match function {
            F_INT4_INT2 | F_INT8_INT2 | F_INT8_INT4 | F_INT4_INT8 | F_INT2_INT4 | F_INT2_INT8 => {
                // SAFETY: the caller passes an expression.
                let (argument, _) = unsafe { self.expr(argument) }?;
                return Some((Expr::ToInteger(of, argument.into()), of));
            }
            F_NUMERIC_INT2 | F_NUMERIC_INT4 | F_NUMERIC_INT8 => {
                // SAFETY: the caller passes an expression.
                let (argument, _) = unsafe { self.expr(argument) }?;
                return Some((Expr::ToNumeric(argument.into()), of));
            }
            F_TIMESTAMP_DATE => {
                // SAFETY: the caller passes an expression.
                let (argument, _) = unsafe { self.expr(argument) }?;
                return Some((Expr::ToTimestamp(argument.into()), of));
            }
            F_INT2_NUMERIC | F_INT4_NUMERIC | F_INT8_NUMERIC => Unary::ToInteger,
            F_DATE_TIMESTAMP => Unary::ToDate,
            F_ABS_INT2 | F_ABS_INT4 | F_ABS_INT8 | F_INT2ABS | F_INT4ABS | F_INT8ABS | F_ABS_NUMERIC
            | F_NUMERIC_ABS => Unary::Absolute,
            F_SIGN_NUMERIC => Unary::Sign,
            F_INT2NOT | F_INT4NOT | F_INT8NOT => Unary::Not,
            F_CEIL_NUMERIC | F_CEILING_NUMERIC => Unary::Ceiling,
            F_FLOOR_NUMERIC => Unary::Floor,
            F_LENGTH_TEXT
            | F_CHAR_LENGTH_TEXT
            | F_CHARACTER_LENGTH_TEXT
            | F_LENGTH_BPCHAR
            | F_CHAR_LENGTH_BPCHAR
            | F_CHARACTER_LENGTH_BPCHAR => Unary::Length(is_utf8()?),
            F_OCTET_LENGTH_TEXT | F_OCTET_LENGTH_BPCHAR => Unary::Bytes,
            F_TEXT_BPCHAR => Unary::Trim,
            F_LOWER_TEXT if is_ascii_only(collation) => Unary::Lower,
            F_UPPER_TEXT if is_ascii_only(collation) => Unary::Upper,
            _ => return None,
        };
        // SAFETY: the caller passes an expression.
        unsafe { self.unary(found, of, argument) }
    }

    /// Translates functions of two values, one of which is a constant.
    ///
    /// # Safety
    /// The arguments are expressions.
    pub unsafe fn of_two(
        &mut self,
        function: u32,
        of: Type,
        [first, second]: [*mut Node; 2],
        collation: Oid,
    ) -> Option<Typed> {
        // SAFETY: the caller passes expressions.
        unsafe {
            match function {
                F_MOD_INT2_INT2 | F_MOD_INT4_INT4 | F_MOD_INT8_INT8 | F_MOD_NUMERIC_NUMERIC => {
                    self.arithmetic(Arithmetic::Modulo, of, first, second)
                }
                F_ROUND_NUMERIC_INT4 | F_TRUNC_NUMERIC_INT4 => {
                    let scale = u8::try_from(self.integer(second)?).ok().filter(|scale| *scale <= 38)?;
                    let is_round = function == F_ROUND_NUMERIC_INT4;
                    self.unary(if is_round { Unary::Round(scale) } else { Unary::Truncate(scale) }, of, first)
                }
                F_NUMERIC_NUMERIC_INT4 => {
                    let (precision, scale) = pg_type::numeric_typmod(self.integer(second)?)?;
                    let scale = u8::try_from(scale).ok().filter(|scale| *scale <= 38)?;
                    self.unary(Unary::Fit(precision as u16, scale), of, first)
                }
                F_EXTRACT_TEXT_DATE
                | F_EXTRACT_TEXT_TIMESTAMP
                | F_EXTRACT_TEXT_TIMESTAMPTZ
                | F_DATE_PART_TEXT_TIMESTAMP => {
                    let part = Part::named(&self.bytes(first)?)?;
                    let (argument, from) = self.expr(second)?;
                    let is_known = match from {
                        Type::Date => !part.is_of_time(),
                        // A zone does not matter.
                        Type::TimestampTz => part == Part::Epoch,
                        // Floats with a fraction are computed otherwise.
                        _ => of == Type::Numeric || part.scale() == 0 && part != Part::Microsecond,
                    };
                    is_known.then(|| (Expr::Unary(Unary::Part(part), of, argument.into()), of))
                }
                F_DATE_TRUNC_TEXT_TIMESTAMP => {
                    let unit = Unit::named(&self.bytes(first)?)?;
                    self.unary(Unary::TruncateTo(unit), of, second)
                }
                F_SUBSTR_TEXT_INT4 | F_SUBSTRING_TEXT_INT4 => {
                    let function = Unary::Substring(is_utf8()?, self.integer(second)?, None);
                    self.unary(function, of, first)
                }
                F_LEFT => {
                    let function = Unary::Left(is_utf8()?, self.integer(second)?);
                    self.unary(function, of, first)
                }
                F_RIGHT => {
                    let function = Unary::Right(is_utf8()?, self.integer(second)?);
                    self.unary(function, of, first)
                }
                F_STARTS_WITH if is_deterministic(collation) => {
                    let function = Unary::StartsWith(self.bytes(second)?);
                    self.unary(function, of, first)
                }
                F_TEXTCAT => {
                    let (left, right) = (self.expr(first)?, self.expr(second)?);
                    let parts = Box::new([left.0, right.0]);
                    ((left.1, right.1) == (Type::Text, Type::Text)).then_some((Expr::Concatenate(parts), of))
                }
                _ => None,
            }
        }
    }

    /// Translates operators of dates and intervals.
    ///
    /// # Safety
    /// The arguments are expressions.
    pub unsafe fn of_dates(&mut self, function: u32, left: *mut Node, right: *mut Node) -> Option<Typed> {
        let finite = |(expr, of): Typed| Expr::Unary(Unary::Finite, of, Box::new(expr));
        let add = |op: Arithmetic, of: Type, parts: [Expr; 2]| Expr::Arithmetic(op, of, Box::new(parts));
        // SAFETY: the caller passes expressions.
        unsafe {
            let left = self.expr(left)?;
            let op = match function {
                F_DATE_PLI | F_TIMESTAMP_PL_INTERVAL | F_TIMESTAMPTZ_PL_INTERVAL | F_DATE_PL_INTERVAL => {
                    Arithmetic::Add
                }
                _ => Arithmetic::Subtract,
            };
            match function {
                F_DATE_PLI | F_DATE_MII => {
                    let right = self.expr(right)?.0;
                    Some((add(op, Type::Date, [finite(left), right]), Type::Date))
                }
                F_DATE_MI => {
                    let right = finite(self.expr(right)?);
                    Some((add(op, Type::Int4, [finite(left), right]), Type::Int4))
                }
                F_TIMESTAMP_PL_INTERVAL
                | F_TIMESTAMP_MI_INTERVAL
                | F_TIMESTAMPTZ_PL_INTERVAL
                | F_TIMESTAMPTZ_MI_INTERVAL
                | F_DATE_PL_INTERVAL
                | F_DATE_MI_INTERVAL => {
                    let interval = constant_interval(right)?;
                    // Months and, where there is a zone, days have several lengths.
                    if interval.month != 0 || left.1 == Type::TimestampTz && interval.day != 0 {
                        return None;
                    }
                    let (from, of) = match left {
                        (expr, Type::Date) => (Expr::ToTimestamp(expr.into()), Type::Timestamp),
                        (expr, of) => (finite((expr, of)), of),
                    };
                    let days = i64::from(interval.day).checked_mul(86_400_000_000)?;
                    let words = [days, interval.time];
                    if words.contains(&i64::MIN) {
                        return None;
                    }
                    let sum = words.into_iter().filter(|word| *word != 0).fold(from, |sum, word| {
                        add(op, of, [sum, Expr::Constant(Type::Int8, Value::Word(word))])
                    });
                    Some((sum, of))
                }
                _ => None,
            }
        }
    }

    /// # Safety
    /// The argument is an expression.
    pub unsafe fn unary(&mut self, function: Unary, of: Type, argument: *mut Node) -> Option<Typed> {
        // SAFETY: the caller passes an expression.
        let (argument, from) = unsafe { self.expr(argument) }?;
        function.takes(from.class()).then(|| (Expr::Unary(function, of, argument.into()), of))
    }

    /// # Safety
    /// The arguments are expressions.
    pub unsafe fn arithmetic(
        &mut self,
        op: Arithmetic,
        of: Type,
        left: *mut Node,
        right: *mut Node,
    ) -> Option<Typed> {
        // SAFETY: the caller passes expressions.
        let ((left, _), (right, _)) = unsafe { (self.expr(left)?, self.expr(right)?) };
        Some((Expr::Arithmetic(op, of, Box::new([left, right])), of))
    }

    /// Returns a constant integer.
    ///
    /// # Safety
    /// The node is an expression.
    unsafe fn integer(&mut self, node: *mut Node) -> Option<i32> {
        // SAFETY: the caller passes an expression.
        match unsafe { self.expr(node) }? {
            (Expr::Constant(Type::Int4, Value::Word(word)), _) => i32::try_from(word).ok(),
            _ => None,
        }
    }

    /// Returns a constant text.
    ///
    /// # Safety
    /// The node is an expression.
    unsafe fn bytes(&mut self, node: *mut Node) -> Option<Vec<u8>> {
        // SAFETY: the caller passes an expression.
        match unsafe { self.expr(node) }? {
            (Expr::Constant(Type::Text, Value::Bytes(bytes)), _) => Some(bytes),
            _ => None,
        }
    }
}

/// Returns whether characters are of UTF-8; `None` if they are neither that nor bytes.
fn is_utf8() -> Option<bool> {
    let is_utf8 = encoding::database_is_utf8();
    (is_utf8 || encoding::database_is_single_byte()).then_some(is_utf8)
}

/// Returns whether a collation is "C" or "POSIX", in which upper and lower change ASCII letters alone.
fn is_ascii_only(collation: Oid) -> bool {
    matches!(collation.to_u32(), 950 | 951)
}

/// # Safety
/// The node is an expression.
unsafe fn constant_interval(node: *mut Node) -> Option<pg_sys::Interval> {
    // SAFETY: a Const's type says what its Datum is.
    unsafe {
        if (*node).type_ != NodeTag::T_Const {
            return None;
        }
        let constant = &*node.cast::<pg_sys::Const>();
        let is_interval = constant.consttype == pg_sys::INTERVALOID && !constant.constisnull;
        is_interval.then(|| *constant.constvalue.cast_mut_ptr::<pg_sys::Interval>())
    }
}
