//! Aggregates over vectors. A state takes any number of vectors.

use super::decimals::Decimals;
use super::numeric::Numeric;
use super::sum::NumericSum;
use super::vector::{Vector, varlena};

/// An aggregate of a column's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The number of values that are not NULL; without a column, the number of rows.
    Count,
    /// The sum of integers, and their number.
    IntegerSum,
    /// The sum of numerics, and their number.
    NumericSum,
    /// The least or the greatest of words, as signed integers.
    Extreme {
        least: bool,
    },
    NumericExtreme {
        least: bool,
    },
}

#[derive(Clone, Debug)]
pub enum State {
    Count(u64),
    IntegerSum { count: u64, sum: i128 },
    NumericSum(NumericSum),
    Extreme { least: bool, found: Option<i64> },
    NumericExtreme { least: bool, found: Option<Numeric> },
}

impl State {
    pub fn new(kind: Kind) -> State {
        match kind {
            Kind::Count => State::Count(0),
            Kind::IntegerSum => State::IntegerSum { count: 0, sum: 0 },
            Kind::NumericSum => State::NumericSum(NumericSum::default()),
            Kind::Extreme { least } => State::Extreme { least, found: None },
            Kind::NumericExtreme { least } => State::NumericExtreme { least, found: None },
        }
    }

    /// Counts rows, whatever is in them.
    pub fn add_rows(&mut self, rows: u64) {
        if let State::Count(count) = self {
            *count += rows;
        }
    }

    /// Adds a column's values, those in `rows` or all.
    ///
    /// # Safety
    /// The words are Datums of the type that the aggregate is of; numerics are as `varlena` reads them.
    pub unsafe fn add(&mut self, vector: &Vector, rows: Option<&[bool]>) {
        match vector {
            Vector::Words(words, nulls) => {
                let kept = kept(nulls, rows);
                // SAFETY: the words are the caller's.
                unsafe { self.add_words(words, kept.as_deref()) };
            }
            Vector::Decimals(decimals) => self.add_decimals(decimals, rows),
        }
    }

    fn add_decimals(&mut self, decimals: &Decimals, rows: Option<&[bool]>) {
        match self {
            State::Count(count) => *count += decimals.count(rows),
            State::NumericSum(sum) => sum.add(decimals, rows),
            State::NumericExtreme { least, found } => {
                if let Some((min, max)) = decimals.extremes(rows) {
                    replace(found, decimals.numeric(if *least { min } else { max }), *least);
                }
            }
            State::IntegerSum { .. } | State::Extreme { .. } => unreachable!("an aggregate of words"),
        }
    }

    /// # Safety
    /// The words are Datums of the type that the aggregate is of.
    unsafe fn add_words(&mut self, words: &[u64], kept: Option<&[bool]>) {
        let is_kept = |row: usize| kept.is_none_or(|kept| kept[row]);
        let each = words.iter().enumerate().filter(|(row, _)| is_kept(*row)).map(|(_, &word)| word);
        // SAFETY: the words are numerics where this is called.
        let numeric = |word| unsafe { Numeric::read(varlena(word)) }.unwrap_or(Numeric::NaN);
        match self {
            State::Count(count) => *count += each.count() as u64,
            State::IntegerSum { count, sum } => match kept {
                None => {
                    *count += words.len() as u64;
                    *sum += words.iter().map(|&word| i128::from(word as i64)).sum::<i128>();
                }
                Some(kept) => {
                    *count += kept.iter().filter(|&&kept| kept).count() as u64;
                    let or_zero =
                        |(&word, &kept): (&u64, &bool)| if kept { i128::from(word as i64) } else { 0 };
                    *sum += words.iter().zip(kept).map(or_zero).sum::<i128>();
                }
            },
            State::Extreme { least, found } => {
                let values = each.map(|word| word as i64).chain(*found);
                *found = if *least { values.min() } else { values.max() };
            }
            State::NumericSum(sum) => each.for_each(|word| sum.add_one(&numeric(word))),
            State::NumericExtreme { least, found } => {
                each.for_each(|word| replace(found, numeric(word), *least));
            }
        }
    }
}

/// Keeps the last one of values that are equal; they may differ in how many digits they show.
fn replace(found: &mut Option<Numeric>, value: Numeric, least: bool) {
    let stays = found.as_ref().is_some_and(|known| if least { *known < value } else { *known > value });
    if !stays {
        *found = Some(value);
    }
}

/// Returns the rows that have a value and are in `rows`; `None` for all.
fn kept(nulls: &[bool], rows: Option<&[bool]>) -> Option<Vec<bool>> {
    match (nulls.contains(&true), rows) {
        (false, None) => None,
        (false, Some(rows)) => Some(rows.to_vec()),
        (true, None) => Some(nulls.iter().map(|null| !null).collect()),
        (true, Some(rows)) => Some(nulls.iter().zip(rows).map(|(null, row)| !null & row).collect()),
    }
}
