//! Functions of one value.

use super::arithmetic::WIDE_LIMIT;
use super::calendar::DAY;
use super::division::{Rounding, rescale};
use super::plan::Unary;
use super::texts::{self, Characters};
use super::value::{Class, Type};
use super::vector::{Values, Vector, text};
use crate::wire::numeric::pow10;

impl Unary {
    /// Returns whether the result is a part of the argument's text.
    pub fn is_part(&self) -> bool {
        matches!(self, Unary::Substring(..) | Unary::Left(..) | Unary::Right(..) | Unary::Trim)
    }

    /// Returns whether the argument is of a class that the function takes.
    pub fn takes(&self, class: Class) -> bool {
        use Unary::*;
        match self {
            Absolute | Sign => matches!(class, Class::Word | Class::Numeric),
            Not | Finite | Part(_) | TruncateTo(_) | ToDate => class == Class::Word,
            Round(_) | Truncate(_) | Ceiling | Floor | Fit(..) | ToInteger => class == Class::Numeric,
            Length(_) | Bytes | Substring(..) | Left(..) | Right(..) | Trim | StartsWith(_) | Lower
            | Upper => class == Class::Bytes,
        }
    }
}

/// A vector, its type, and the bytes that its texts lie in.
pub struct Argument<'a> {
    pub vector: &'a Vector,
    pub of: Type,
    pub arena: &'a [u8],
}

/// Computes values of a type; new texts lie in the bytes.
pub fn run(
    function: &Unary,
    of: Type,
    from: &Argument,
    bytes: &mut Vec<u8>,
    out: &mut Vector,
    odd: &mut [bool],
) {
    match from.of.class() {
        Class::Bytes => of_texts(function, from, bytes, out, odd),
        Class::Numeric => of_numerics(function, of, from.vector, out, odd),
        _ => of_words(function, of, from, out, odd),
    }
}

fn of_texts(function: &Unary, from: &Argument, bytes: &mut Vec<u8>, out: &mut Vector, odd: &mut [bool]) {
    let Argument { vector, arena, .. } = *from;
    let characters = |is_utf8: &bool| Characters { is_utf8: *is_utf8 };
    let is_bpchar = from.of == Type::Bpchar;
    match function {
        Unary::Length(is_utf8) => texts::numbers(vector, arena, out, |text| {
            characters(is_utf8).count(if is_bpchar { super::value::compared(from.of, text) } else { text })
        }),
        Unary::Bytes => texts::numbers(vector, arena, out, <[u8]>::len),
        Unary::Substring(is_utf8, start, count) => {
            texts::parts(vector, arena, out, |text| characters(is_utf8).substring(text, *start, *count));
        }
        Unary::Left(is_utf8, count) => {
            texts::parts(vector, arena, out, |text| characters(is_utf8).left(text, *count));
        }
        Unary::Right(is_utf8, count) => {
            texts::parts(vector, arena, out, |text| characters(is_utf8).right(text, *count));
        }
        Unary::Trim => texts::without_blanks(vector, arena, out),
        Unary::StartsWith(prefix) => {
            out.nulls.clone_from(&vector.nulls);
            let found = vector.cells().iter().map(|&cell| text(cell, arena).starts_with(prefix));
            out.bools_mut().extend(found);
        }
        _ => {
            out.nulls.clone_from(&vector.nulls);
            texts::write(vector.len(), bytes, out, odd, |row| [text(vector.cells()[row], arena), &[]]);
            match function {
                Unary::Lower => bytes.make_ascii_lowercase(),
                _ => bytes.make_ascii_uppercase(),
            }
        }
    }
}

fn of_numerics(function: &Unary, of: Type, from: &Vector, out: &mut Vector, odd: &mut [bool]) {
    let scale = from.scale;
    let rounded = |to: u8, rounding: Rounding| move |value: i128| rescale(value, scale, to, rounding);
    match function {
        Unary::Absolute => integers(from, scale, out, odd, |value| Some(value.abs())),
        Unary::Sign => integers(from, 0, out, odd, |value| Some(value.signum())),
        Unary::Round(to) => integers(from, *to, out, odd, rounded(*to, Rounding::Nearest)),
        Unary::Truncate(to) => integers(from, *to, out, odd, rounded(*to, Rounding::Zero)),
        Unary::Ceiling => integers(from, 0, out, odd, rounded(0, Rounding::Up)),
        Unary::Floor => integers(from, 0, out, odd, rounded(0, Rounding::Down)),
        Unary::Fit(precision, to) => {
            let limit = pow10((*precision).into()).unwrap_or(i128::MAX);
            let fit = |value: i128| rescale(value, scale, *to, Rounding::Nearest).filter(|v| v.abs() < limit);
            integers(from, *to, out, odd, fit);
        }
        _ => {
            let (least, greatest) = of.range().unwrap_or((i64::MIN, i64::MAX));
            words(from.len(), &from.nulls, out, odd, |row| {
                let found = rescale(from.wide(row), scale, 0, Rounding::Nearest)?;
                i64::try_from(found).ok().filter(|value| (least..=greatest).contains(value))
            });
        }
    }
}

fn of_words(function: &Unary, of: Type, from: &Argument, out: &mut Vector, odd: &mut [bool]) {
    let Argument { vector, of: from_type, .. } = *from;
    let (least, greatest) = of.range().unwrap_or((i64::MIN, i64::MAX));
    let is_date = from_type == Type::Date;
    let values = vector.words();
    let is_finite = |value: i64| {
        if is_date {
            value != i64::from(i32::MIN) && value != i64::from(i32::MAX)
        } else {
            value != i64::MIN && value != i64::MAX
        }
    };
    let mut words = |work: &dyn Fn(i64) -> Option<i64>| {
        words(values.len(), &vector.nulls, out, odd, |row| work(values[row]));
    };
    match function {
        Unary::Absolute => words(&|value| value.checked_abs().filter(|found| *found <= greatest)),
        Unary::Sign => words(&|value| Some(value.signum())),
        Unary::Not => words(&|value| Some(!value).filter(|found| *found >= least)),
        Unary::Finite => words(&|value| Some(value).filter(|value| is_finite(*value))),
        Unary::ToDate => words(&|value| Some(value.div_euclid(DAY)).filter(|_| is_finite(value))),
        Unary::TruncateTo(unit) => words(&|value| if is_finite(value) { unit.truncate(value) } else { None }),
        Unary::Part(part) => {
            words(&|value| match is_finite(value) {
                false => None,
                true if is_date => part.of_date(value),
                true => part.of_timestamp(value),
            });
            if of == Type::Float8 {
                let floats = out.words().iter().map(|&word| word as f64).collect();
                out.values = Values::Floats(floats);
            } else if !is_date {
                out.scale = part.scale();
            }
        }
        _ => unreachable!("functions of words"),
    }
}

/// Computes a word for each row that is not NULL; rows without one are odd.
fn words(
    rows: usize,
    nulls: &[bool],
    out: &mut Vector,
    odd: &mut [bool],
    work: impl Fn(usize) -> Option<i64>,
) {
    out.nulls.clear();
    out.nulls.extend(nulls);
    let words = out.words_mut();
    for row in 0..rows {
        let is_null = !nulls.is_empty() && nulls[row];
        let found = if is_null { Some(0) } else { work(row) };
        odd[row] |= found.is_none();
        words.push(found.unwrap_or(0));
    }
    out.scale = 0;
    out.measure();
}

/// Computes a numeric of a scale for each row that is not NULL; rows without one are odd.
fn integers(
    from: &Vector,
    scale: u8,
    out: &mut Vector,
    odd: &mut [bool],
    work: impl Fn(i128) -> Option<i128>,
) {
    out.nulls.clone_from(&from.nulls);
    let value = |row: usize| if from.is_null(row) { Some(0) } else { work(from.wide(row)) };
    let found = (0..from.len()).map(|row| {
        let found = value(row).filter(|value| value.unsigned_abs() < WIDE_LIMIT);
        odd[row] |= found.is_none();
        found.unwrap_or(0)
    });
    let found = found.collect();
    out.set_integers(found);
    out.scale = scale;
    out.measure();
}
