//! The aggregates' states. Each lies in some words of its group:
//!
//! ```text
//! count               the number
//! sum of integers     128 bits, the number of values
//! sum of numerics     128 bits at the aggregate's scale, the number of values, the largest scale that one shows
//! extreme of words    the value, whether there is one
//! extreme of floats   the bits, whether there is one
//! extreme of numerics 128 bits at the aggregate's scale, whether there is one, the scale that it shows
//! extreme of texts    where it lies (extremes.rs)
//! bits                the integer, whether there is one
//! squares             sums of values and of squares, and more (squares.rs)
//! ```
//!
//! Numerics that are not finite, or of many digits, are summed apart, by group.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::Unfit;
use super::distinct::Distinct;
use super::keys::{INFINITY, MINUS_INFINITY, NAN, factor, integer, is_special, wide};
use super::plan::{Aggregate, Column, Function};
use super::value::{Class, Type, Value};
use super::vector::{Values, Vector, text};
use super::{extremes, squares};
use crate::expr::{Numeric, NumericSum, float_key};

const MANY_DIGITS: Unfit = Unfit("an aggregate of numerics of many digits");
/// Sums of 128 bits are left to others before their magnitude reaches it.
const SUM_LIMIT: u128 = 1 << 126;

/// What a state's words are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    Count,
    IntegerSum,
    NumericSum,
    Extreme {
        class: Form,
        least: bool,
    },
    /// Of integers, which BitAnd, BitOr or BitXor combines.
    Bits(Function),
    Squares,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Form {
    Bool,
    Word,
    Float,
    Numeric,
    Bytes,
}

/// The states of one aggregate in all groups.
#[derive(Clone, Serialize, Deserialize)]
pub struct States {
    pub kind: Kind,
    /// The argument's type.
    pub of: Type,
    /// The first word of the state in a group.
    pub at: usize,
    /// The scale of numerics.
    pub scale: u8,
    /// Sums of what 128 bits do not hold, by the group's number.
    pub others: HashMap<u32, NumericSum>,
    /// Where the extremes of texts lie. A message has them apart.
    #[serde(skip)]
    pub texts: Vec<u8>,
    /// The values of DISTINCT. A message has them apart.
    #[serde(skip)]
    pub distinct: Option<Box<Distinct>>,
    /// No sum's magnitude is above it.
    bound: u128,
}

/// The groups' words, and the group of each row of a block.
pub struct Groups<'a> {
    pub rows: &'a mut [u64],
    pub stride: usize,
    pub ids: &'a [u32],
}

impl Groups<'_> {
    #[inline(always)]
    pub fn state<const N: usize>(&mut self, row: u32, at: usize) -> &mut [u64; N] {
        let start = self.ids[row as usize] as usize * self.stride + at;
        let words = self.rows[start..].first_chunk_mut();
        words.unwrap_or_else(|| unreachable!("a state lies in its group"))
    }
}

impl States {
    pub fn new(aggregate: &Aggregate, columns: &[Column], at: usize, limit: usize) -> Result<States, Unfit> {
        let of = aggregate.argument.as_ref().map(|argument| argument.of(columns));
        let kind = match (aggregate.function, of) {
            (Function::Count, _) => Kind::Count,
            (Function::Sum, Some(Type::Numeric)) => Kind::NumericSum,
            (Function::Sum, Some(of)) if of.range().is_some() => Kind::IntegerSum,
            (Function::Squares, Some(of)) if of == Type::Numeric || of.range().is_some() => Kind::Squares,
            (Function::BitAnd | Function::BitOr | Function::BitXor, Some(of)) if of.range().is_some() => {
                Kind::Bits(aggregate.function)
            }
            (Function::Least | Function::Greatest, Some(of)) => {
                let class = match of.class() {
                    Class::Bool => Form::Bool,
                    Class::Word => Form::Word,
                    Class::Float => Form::Float,
                    Class::Numeric => Form::Numeric,
                    Class::Bytes => Form::Bytes,
                };
                Kind::Extreme { class, least: aggregate.function == Function::Least }
            }
            _ => return Err(Unfit("an aggregate of values of another type")),
        };
        let of = of.unwrap_or(Type::Int8);
        let distinct = match aggregate.is_distinct {
            true => Some(Box::new(Distinct::new(of, limit)?)),
            false => None,
        };
        Ok(States { kind, of, at, scale: 0, others: HashMap::new(), texts: Vec::new(), distinct, bound: 0 })
    }

    /// Returns the states of no groups.
    pub fn without_groups(&self) -> States {
        States { scale: 0, bound: 0, distinct: None, ..self.without_others() }
    }

    /// Returns the states without what they have beside the groups' words.
    pub fn without_others(&self) -> States {
        States { others: HashMap::new(), texts: Vec::new(), distinct: None, ..*self }
    }

    /// Makes the states those of a device, with numerics of a scale. Extremes there are words.
    pub fn begin(&mut self, scale: u8) {
        (self.scale, self.others, self.texts) = (scale, HashMap::new(), Vec::new());
        self.bound = if matches!(self.kind, Kind::Extreme { .. }) { 1 << 63 } else { 0 };
    }

    /// Takes note of a sum.
    pub fn reach(&mut self, sum: i128) {
        self.bound = self.bound.max(sum.unsigned_abs());
    }

    /// Returns how many words a state takes, which begin as zeros.
    pub fn words(&self) -> usize {
        match self.kind {
            Kind::Count => 1,
            Kind::IntegerSum => 3,
            Kind::NumericSum => 4,
            Kind::Extreme { class: Form::Numeric, .. } => 4,
            Kind::Extreme { class: Form::Bytes, .. } => extremes::TEXT_WORDS,
            Kind::Extreme { .. } | Kind::Bits(_) => 2,
            Kind::Squares => squares::WORDS,
        }
    }

    /// Adds the values of some rows, none of which is NULL. Without an argument there is no vector. Texts lie in the
    /// bytes.
    pub fn add(
        &mut self,
        groups: &mut Groups,
        rows: &[u32],
        argument: Option<(&Vector, &[u8])>,
    ) -> Result<(), Unfit> {
        let at = self.at;
        let new = match (&mut self.distinct, argument) {
            (Some(distinct), Some(argument)) => Some(distinct.add(groups.ids, rows, argument)?),
            _ => None,
        };
        let rows = new.as_deref().unwrap_or(rows);
        let is_single = groups.rows.len() == groups.stride && !rows.is_empty();
        if is_single && self.add_to_single(groups, rows, argument.map(|(vector, _)| vector))? {
            return Ok(());
        }
        let Some((vector, bytes)) = argument.filter(|_| self.kind != Kind::Count) else {
            rows.iter().for_each(|&row| groups.state::<1>(row, at)[0] += 1);
            return Ok(());
        };
        match self.kind {
            Kind::Count => {}
            Kind::IntegerSum => {
                let words = vector.words();
                for &row in rows {
                    let state: &mut [u64; 3] = groups.state(row, at);
                    add_to(state, words[row as usize]);
                    state[2] += 1;
                }
            }
            Kind::NumericSum => self.add_numerics(groups, rows, vector)?,
            Kind::Extreme { class: Form::Word, least } => {
                let words = vector.words();
                for &row in rows {
                    extremes::put_word(groups.state(row, at), words[row as usize], least);
                }
            }
            Kind::Extreme { class: Form::Float, least } => {
                let floats = vector.floats();
                for &row in rows {
                    extremes::put_float(groups.state(row, at), floats[row as usize], least);
                }
            }
            Kind::Extreme { class: Form::Numeric, least } => {
                let factor = self.meet(groups, vector.scale, vector.bound)?;
                for &row in rows {
                    let value = vector.wide(row as usize) * factor;
                    extremes::put_wide(groups.state(row, at), value, vector.scale, least);
                }
            }
            Kind::Extreme { class: Form::Bool, least } => {
                let bools = vector.bools();
                for &row in rows {
                    extremes::put_word(groups.state(row, at), bools[row as usize].into(), least);
                }
            }
            Kind::Extreme { class: Form::Bytes, least } => {
                let cells = vector.cells();
                for &row in rows {
                    let found = text(cells[row as usize], bytes);
                    extremes::put_text(
                        groups.state(row, at),
                        &mut self.texts,
                        self.of,
                        found,
                        extremes::better(least),
                    );
                }
            }
            Kind::Bits(function) => {
                let words = vector.words();
                rows.iter().for_each(|&row| {
                    extremes::put_bits(groups.state(row, at), words[row as usize], function)
                });
            }
            Kind::Squares => {
                let bound = vector.bound.saturating_mul(rows.len() as u128);
                let factor =
                    if self.of == Type::Numeric { self.meet(groups, vector.scale, bound)? } else { 1 };
                for &row in rows {
                    squares::add(groups.state(row, at), vector.wide(row as usize) * factor, vector.scale);
                }
            }
        }
        Ok(())
    }

    fn add_numerics(&mut self, groups: &mut Groups, rows: &[u32], vector: &Vector) -> Result<(), Unfit> {
        let (at, scale) = (self.at, u64::from(vector.scale));
        let factor = self.meet(groups, vector.scale, vector.bound.saturating_mul(rows.len() as u128))?;
        match &vector.values {
            Values::Words(words) if factor == 1 => {
                for &row in rows {
                    let state: &mut [u64; 4] = groups.state(row, at);
                    add_to(state, words[row as usize]);
                    state[2] += 1;
                    state[3] = state[3].max(scale);
                }
            }
            _ => {
                for &row in rows {
                    let state: &mut [u64; 4] = groups.state(row, at);
                    let sum = wide(state[0], state[1]) + vector.wide(row as usize) * factor;
                    [state[0], state[1]] = [sum as u64, (sum >> 64) as u64];
                    state[2] += 1;
                    state[3] = state[3].max(scale);
                }
            }
        }
        Ok(())
    }

    /// Brings the states to a common scale with values up to a magnitude; returns the values' factor. A sum grows by the
    /// magnitude, an extreme does not.
    pub fn meet(&mut self, groups: &mut Groups, scale: u8, bound: u128) -> Result<i128, Unfit> {
        if scale > self.scale {
            self.rescale(groups.rows, groups.stride, scale)?;
        }
        let factor = factor(self.scale - scale);
        let bound = bound.saturating_mul(factor as u128);
        self.bound = match self.kind {
            Kind::NumericSum | Kind::Squares => self.bound.saturating_add(bound),
            _ => self.bound.max(bound),
        };
        if self.bound >= SUM_LIMIT { Err(MANY_DIGITS) } else { Ok(factor) }
    }

    /// Brings the states to a common scale with a finite value; returns it at that scale, and the scale that it shows.
    fn meet_value(&mut self, groups: &mut Groups, value: &Value) -> Result<(i128, u8), Unfit> {
        let Value::Numeric(numeric @ Numeric::Finite(finite)) = value else { return Err(MANY_DIGITS) };
        let scale = u8::try_from(finite.dscale).map_err(|_| MANY_DIGITS)?;
        let value = integer(numeric, scale.min(38)).ok_or(MANY_DIGITS)?;
        let factor = self.meet(groups, scale, value.unsigned_abs())?;
        Ok((value * factor, scale))
    }

    /// Brings the states to a scale above theirs.
    fn rescale(&mut self, rows: &mut [u64], stride: usize, scale: u8) -> Result<(), Unfit> {
        let factor = factor(scale - self.scale);
        self.bound = self.bound.saturating_mul(factor as u128);
        if scale > 38 || self.bound >= SUM_LIMIT {
            return Err(MANY_DIGITS);
        }
        self.scale = scale;
        if self.bound > 0 {
            for group in rows.chunks_exact_mut(stride) {
                if self.kind == Kind::Squares {
                    squares::rescale(&mut group[self.at..], factor);
                    continue;
                }
                let words = &mut group[self.at..self.at + 2];
                let value = wide(words[0], words[1]);
                if !is_special(value) {
                    words.copy_from_slice(&halves(value * factor));
                }
            }
        }
        Ok(())
    }

    /// Adds one value, which is not NULL, to the group of a block's first row.
    pub fn add_value(&mut self, groups: &mut Groups, value: &Value) -> Result<(), Unfit> {
        let at = self.at;
        if let Some(distinct) = &mut self.distinct
            && !distinct.add_value(groups.ids[0], value)?
        {
            return Ok(());
        }
        match (self.kind, value) {
            (Kind::Count, _) => groups.state::<1>(0, at)[0] += 1,
            (Kind::IntegerSum, Value::Word(word)) => {
                let state: &mut [u64; 3] = groups.state(0, at);
                add_to(state, *word);
                state[2] += 1;
            }
            (Kind::NumericSum, Value::Numeric(value)) => {
                self.others.entry(groups.ids[0]).or_default().add_one(value);
            }
            (Kind::Extreme { class: Form::Bool | Form::Word, least }, Value::Word(word)) => {
                extremes::put_word(groups.state(0, at), *word, least);
            }
            (Kind::Extreme { class: Form::Bytes, least }, Value::Bytes(bytes)) => {
                extremes::put_text(
                    groups.state(0, at),
                    &mut self.texts,
                    self.of,
                    bytes,
                    extremes::better(least),
                );
            }
            (Kind::Bits(function), Value::Word(word)) => {
                extremes::put_bits(groups.state(0, at), *word, function)
            }
            (Kind::Squares, Value::Word(word)) => squares::add(groups.state(0, at), (*word).into(), 0),
            (Kind::Squares, Value::Numeric(Numeric::Finite(_))) => {
                let (value, scale) = self.meet_value(groups, value)?;
                squares::add(groups.state(0, at), value, scale);
            }
            (Kind::Squares, Value::Numeric(_)) => squares::add_special(groups.state(0, at)),
            (Kind::Extreme { class: Form::Float, least }, Value::Float(bits)) => {
                extremes::put_float(groups.state(0, at), f64::from_bits(*bits), least);
            }
            (Kind::Extreme { class: Form::Numeric, least }, Value::Numeric(numeric)) => {
                let (value, dscale) = match numeric {
                    Numeric::NaN => (NAN, 0),
                    Numeric::Infinity => (INFINITY, 0),
                    Numeric::MinusInfinity => (MINUS_INFINITY, 0),
                    Numeric::Finite(_) => self.meet_value(groups, value)?,
                };
                extremes::put_wide(groups.state(0, at), value, dscale, least);
            }
            _ => return Err(Unfit("a value of another type than its aggregate")),
        }
        Ok(())
    }

    /// Brings states of this process and of another one to one scale, before they are merged.
    pub fn align(
        &mut self,
        other: &mut States,
        rows: &mut [u64],
        others: &mut [u64],
        stride: usize,
    ) -> Result<(), Unfit> {
        let scale = self.scale.max(other.scale);
        if scale > self.scale {
            self.rescale(rows, stride, scale)?;
        }
        if scale > other.scale {
            other.rescale(others, stride, scale)?;
        }
        self.bound = match self.kind {
            Kind::NumericSum | Kind::Squares => self.bound.saturating_add(other.bound),
            _ => self.bound.max(other.bound),
        };
        if self.bound >= SUM_LIMIT { Err(MANY_DIGITS) } else { Ok(()) }
    }

    /// Adds the state of a group of another process, of the same scale.
    pub fn merge(&mut self, into: &mut [u64], from: &[u64], other: &States) {
        let (into, from) = (&mut into[self.at..], &from[self.at..]);
        match self.kind {
            // Its values are added later.
            _ if self.distinct.is_some() => {}
            Kind::Count => into[0] += from[0],
            Kind::IntegerSum | Kind::NumericSum => {
                let sum = wide(into[0], into[1]).wrapping_add(wide(from[0], from[1]));
                into[..2].copy_from_slice(&halves(sum));
                into[2] += from[2];
                if self.kind == Kind::NumericSum {
                    into[3] = into[3].max(from[3]);
                }
            }
            Kind::Bits(function) => {
                if let ([value, 1], Some(into)) = (&from[..2], into.first_chunk_mut()) {
                    extremes::put_bits(into, *value as i64, function);
                }
            }
            Kind::Squares => squares::merge(into, from),
            Kind::Extreme { class: Form::Bytes, least } => {
                let found = extremes::text(from, &other.texts);
                if let (Some(found), Some(into)) = (found, into.first_chunk_mut()) {
                    extremes::put_text(into, &mut self.texts, self.of, found, extremes::better(least));
                }
            }
            Kind::Extreme { class, least } => {
                let seen = if class == Form::Numeric { 2 } else { 1 };
                let is_better = into[seen] == 0 || {
                    let order = match class {
                        Form::Bool | Form::Word | Form::Bytes => (from[0] as i64).cmp(&(into[0] as i64)),
                        Form::Float => {
                            float_key(f64::from_bits(from[0])).cmp(&float_key(f64::from_bits(into[0])))
                        }
                        Form::Numeric => wide(from[0], from[1]).cmp(&wide(into[0], into[1])),
                    };
                    if least { order.is_lt() } else { order.is_gt() }
                };
                if from[seen] != 0 && is_better {
                    let words = self.words();
                    into[..words].copy_from_slice(&from[..words]);
                }
            }
        }
    }
}

/// Adds a word to a sum of 128 bits, which 2^63 words cannot overflow.
#[inline(always)]
fn add_to(state: &mut [u64], word: i64) {
    let (low, carry) = state[0].overflowing_add(word as u64);
    state[0] = low;
    state[1] = state[1].wrapping_add((word >> 63) as u64).wrapping_add(carry.into());
}

fn halves(value: i128) -> [u64; 2] {
    [value as u64, (value >> 64) as u64]
}
