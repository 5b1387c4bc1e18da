//! What the groups show.

use super::executor::Executor;
use super::keys::{INFINITY, INLINE, MINUS_INFINITY, NAN, wide};
use super::plan::{Output, Plan};
use super::state::{Form, Kind, States};
use super::table::Table;
use super::value::{Class, Type};
use super::{extremes, squares};
use crate::expr::{Finite, Numeric};
use arrow::datatypes::i256;

/// A value of a result. A sum and a count make an average.
#[derive(Clone, Debug, PartialEq)]
pub enum Shown {
    Null,
    Word(i64),
    Float(f64),
    /// An integer times `10^-scale`, which shows `dscale` digits after the point.
    Scaled {
        value: i128,
        scale: u8,
        dscale: u16,
    },
    Numeric(Numeric),
    /// A sum, and of how many values: the average is their quotient.
    Average(Numeric, u64),
    /// What is shown of sums of values and of squares, in the form in which PostgreSQL's aggregates send them.
    Spread(Output, Vec<u8>),
    Bytes(Vec<u8>),
    /// The sum of integers does not fit its type.
    TooLarge,
}

/// Walks over the groups of an executor that has all rows.
#[derive(Default)]
pub struct Cursor {
    /// 0 for the executor's own table, then its parts.
    part: usize,
    next: usize,
}

/// Groups of an executor.
struct Groups<'a> {
    plan: &'a Plan,
    table: &'a Table,
    states: &'a [States],
}

impl Cursor {
    /// Returns the values of the next group, keys first; `None` after the last one.
    pub fn next(&mut self, of: &Executor, out: &mut Vec<Shown>) -> bool {
        out.clear();
        while let Some(groups) = of.part(self.part) {
            if self.next < groups.table.count {
                let group = groups.table.group(self.next);
                out.extend((0..groups.table.layout.keys.len()).map(|number| groups.key(number, group)));
                let aggregate = |number: usize| groups.aggregate(number, self.next, group);
                out.extend((0..groups.states.len()).map(aggregate));
                self.next += 1;
                return true;
            }
            (self.part, self.next) = (self.part + 1, 0);
        }
        false
    }

    /// Makes the last group the next one again.
    pub fn step_back(&mut self) {
        self.next = self.next.saturating_sub(1);
    }
}

impl Executor {
    fn part(&self, number: usize) -> Option<Groups<'_>> {
        let (table, states) = match number.checked_sub(1) {
            None => (&self.table, &self.states),
            Some(number) => self.parts.get(number).map(|part| (&part.table, &part.states))?,
        };
        Some(Groups { plan: &self.plan, table, states })
    }
}

impl Groups<'_> {
    fn key(&self, number: usize, group: &[u64]) -> Shown {
        let key = self.table.layout.keys[number];
        if group[0] >> number & 1 == 1 {
            return Shown::Null;
        }
        match key.of.class() {
            Class::Bool | Class::Word => Shown::Word(group[key.at] as i64),
            Class::Float => Shown::Float(f64::from_bits(group[key.shown])),
            Class::Numeric => special_or(key.wide(group), self.table.scales[number], group[key.shown] as u16),
            Class::Bytes => {
                let mut inline = [0; INLINE];
                let mut bytes = self.table.text(number, group, &mut inline).to_vec();
                if key.of == Type::Bpchar {
                    bytes.resize(group[key.shown + 1] as usize, b' ');
                }
                Shown::Bytes(bytes)
            }
        }
    }

    fn aggregate(&self, number: usize, group: usize, words: &[u64]) -> Shown {
        let (states, output) = (&self.states[number], self.plan.aggregates[number].output);
        let state = &words[states.at..];
        match states.kind {
            Kind::Count => Shown::Word(state[0] as i64),
            Kind::IntegerSum if state[2] == 0 => Shown::Null,
            Kind::IntegerSum => {
                let sum = wide(state[0], state[1]);
                match output {
                    Output::Bigint => i64::try_from(sum).map_or(Shown::TooLarge, Shown::Word),
                    Output::Average => Shown::Average(Numeric::Finite(Finite::integer(sum)), state[2]),
                    _ => Shown::Scaled { value: sum, scale: 0, dscale: 0 },
                }
            }
            Kind::NumericSum => {
                let (sum, count, dscale) = (wide(state[0], state[1]), state[2], state[3] as u16);
                let others = states.others.get(&(group as u32));
                let (total, count) = match others {
                    None if count == 0 => return Shown::Null,
                    None => {
                        if output != Output::Average {
                            return Shown::Scaled { value: sum, scale: states.scale, dscale };
                        }
                        (Numeric::scaled(i256::from_i128(sum), states.scale.into(), dscale), count)
                    }
                    Some(others) => {
                        let sum = Finite::scaled(i256::from_i128(sum), states.scale.into(), dscale);
                        others.total_with(&sum, count)
                    }
                };
                match output {
                    Output::Average => Shown::Average(total, count),
                    _ => Shown::Numeric(total),
                }
            }
            Kind::Squares => Shown::Spread(output, squares::send(state, states.scale)),
            Kind::Bits(_) | Kind::Extreme { class: Form::Bool | Form::Word, .. } if state[1] == 0 => {
                Shown::Null
            }
            Kind::Bits(_) | Kind::Extreme { class: Form::Bool | Form::Word, .. } => {
                Shown::Word(state[0] as i64)
            }
            Kind::Extreme { class: Form::Bytes, .. } => {
                let text = extremes::text(state, &states.texts);
                text.map_or(Shown::Null, |text| Shown::Bytes(text.to_vec()))
            }
            Kind::Extreme { class: Form::Float, .. } if state[1] == 0 => Shown::Null,
            Kind::Extreme { class: Form::Float, .. } => Shown::Float(f64::from_bits(state[0])),
            Kind::Extreme { class: Form::Numeric, .. } if state[2] == 0 => Shown::Null,
            Kind::Extreme { class: Form::Numeric, .. } => {
                special_or(wide(state[0], state[1]), states.scale, state[3] as u16)
            }
        }
    }
}

fn special_or(value: i128, scale: u8, dscale: u16) -> Shown {
    match value {
        NAN => Shown::Numeric(Numeric::NaN),
        INFINITY => Shown::Numeric(Numeric::Infinity),
        MINUS_INFINITY => Shown::Numeric(Numeric::MinusInfinity),
        value => Shown::Scaled { value, scale, dscale },
    }
}
