//! Aggregates over columns, as partial states: a scan gives one row of them, and PostgreSQL's own final step makes
//! the results, their scale and their errors included. The states are those that parallel workers send
//! (`Partial Aggregate`), so that any number of scans may go into one result.

use pgrx::pg_sys::{self, Datum, Oid};

use super::aggregate_numeric::{Extreme, Numerics};
use super::condition::ColumnValues;
use crate::fdw::values::Parts;
use crate::pg::error::{Code, Result, error};
use crate::pg::list::members;

/// What is known of an aggregate function here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    CountRows,
    Count,
    /// Of integers, and in which form the state is.
    Integers(IntegerState),
    Numerics,
    /// Of words, as signed integers: the least or the greatest.
    Extreme {
        least: bool,
    },
    NumericExtreme {
        least: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum IntegerState {
    /// A bigint.
    Sum,
    /// An array of count and sum.
    CountAndSum,
    /// Count and sum, the sum as a numeric, in bytea.
    Sent,
}

impl Kind {
    /// By the function's OID in pg_proc.
    fn of(function: Oid) -> Option<Kind> {
        Some(match function.to_u32() {
            2803 => Kind::CountRows,
            2147 => Kind::Count,
            // sum(int4), sum(int2); avg(int4), avg(int2); sum(int8), avg(int8)
            2108 | 2109 => Kind::Integers(IntegerState::Sum),
            2101 | 2102 => Kind::Integers(IntegerState::CountAndSum),
            2107 | 2100 => Kind::Integers(IntegerState::Sent),
            // sum, avg, max and min of numeric
            2114 | 2103 => Kind::Numerics,
            2130 => Kind::NumericExtreme { least: false },
            2146 => Kind::NumericExtreme { least: true },
            // int8, int4, int2, oid, date, time, timestamp, timestamptz
            2115 | 2116 | 2117 | 2118 | 2122 | 2123 | 2126 | 2127 => Kind::Extreme { least: false },
            2131 | 2132 | 2133 | 2134 | 2138 | 2139 | 2142 | 2143 => Kind::Extreme { least: true },
            _ => return None,
        })
    }

    /// The aggregate that an expression is, and the number of the attribute that it is of; `None` for what has
    /// to be left to the executor.
    ///
    /// # Safety
    /// A node of the type that its tag says.
    pub unsafe fn of_node(node: *mut pg_sys::Node) -> Option<(Kind, Option<i16>)> {
        // SAFETY: as the caller says; an Aggref's arguments are TargetEntries.
        unsafe {
            if (*node).type_ != pg_sys::NodeTag::T_Aggref {
                return None;
            }
            let aggref = &*node.cast::<pg_sys::Aggref>();
            let is_plain = aggref.aggfilter.is_null()
                && aggref.aggdistinct.is_null()
                && aggref.aggorder.is_null()
                && aggref.aggdirectargs.is_null()
                && !aggref.aggvariadic
                && aggref.agglevelsup == 0;
            if !is_plain {
                return None;
            }
            match (Kind::of(aggref.aggfnoid)?, &members::<pg_sys::TargetEntry>(aggref.args)[..]) {
                (Kind::CountRows, []) => Some((Kind::CountRows, None)),
                (Kind::CountRows, _) => None,
                (kind, &[argument]) => {
                    let mut argument: *mut pg_sys::Node = (*argument).expr.cast();
                    while (*argument).type_ == pg_sys::NodeTag::T_RelabelType {
                        argument = (*argument.cast::<pg_sys::RelabelType>()).arg.cast();
                    }
                    let is_column = (*argument).type_ == pg_sys::NodeTag::T_Var;
                    let number = is_column.then(|| (*argument.cast::<pg_sys::Var>()).varattno)?;
                    (number > 0).then_some((kind, Some(number)))
                }
                _ => None,
            }
        }
    }
}

/// The aggregates of a scan and their states.
pub struct Aggregates {
    all: Vec<Aggregate>,
    /// The row of states was given.
    pub is_done: bool,
}

struct Aggregate {
    kind: Kind,
    /// Among the scan's columns.
    column: Option<usize>,
    state: State,
}

#[derive(Default)]
struct State {
    count: u64,
    sum: i128,
    extreme: Option<i64>,
    numerics: Numerics,
    numeric_extreme: Extreme,
}

impl Aggregates {
    /// Of kinds and columns.
    pub fn new(all: impl IntoIterator<Item = (Kind, Option<usize>)>) -> Aggregates {
        let aggregate = |(kind, column)| Aggregate { kind, column, state: State::default() };
        Aggregates { all: all.into_iter().map(aggregate).collect(), is_done: false }
    }

    pub fn restart(&mut self) {
        self.all.iter_mut().for_each(|aggregate| aggregate.state = State::default());
        self.is_done = false;
    }

    pub fn columns(&self) -> Vec<usize> {
        let mut found: Vec<usize> = self.all.iter().filter_map(|aggregate| aggregate.column).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Adds rows, those that are `selected` or all.
    ///
    /// # Safety
    /// The values are of the columns' types; what is made of them may stay in the current context.
    pub unsafe fn add(&mut self, rows: usize, columns: &[Option<ColumnValues>], selected: Option<&[bool]>) {
        let rows = selected.map_or(rows, |rows| rows.iter().filter(|&&row| row).count()) as u64;
        for Aggregate { kind, column, state } in &mut self.all {
            match column.and_then(|at| columns[at].as_ref()) {
                // SAFETY: as the caller says.
                Some(values) => unsafe { state.add(*kind, values, selected) },
                None => state.count += rows,
            }
        }
    }

    /// The states as Datums, NULL among them, in the current context.
    pub fn states(&self) -> Result<Vec<Option<Datum>>> {
        self.all.iter().map(|aggregate| aggregate.state.datum(aggregate.kind)).collect()
    }
}

/// The rows that have a value and are selected; `None`: all.
fn kept(nulls: &[bool], selected: Option<&[bool]>) -> Option<Vec<bool>> {
    match (nulls.contains(&true), selected) {
        (false, None) => None,
        (false, Some(selected)) => Some(selected.to_vec()),
        (true, None) => Some(nulls.iter().map(|null| !null).collect()),
        (true, Some(selected)) => Some(nulls.iter().zip(selected).map(|(null, row)| !null & row).collect()),
    }
}

impl State {
    unsafe fn add(&mut self, kind: Kind, values: &ColumnValues, selected: Option<&[bool]>) {
        match values {
            ColumnValues::Words(words, nulls) => {
                let kept = kept(nulls, selected);
                // SAFETY: as the caller says.
                unsafe { self.add_words(kind, words, kept.as_deref()) };
            }
            ColumnValues::Decimals(decimals) => match kind {
                Kind::Numerics => self.numerics.add(decimals, selected),
                // SAFETY: as the caller says.
                Kind::NumericExtreme { least } => unsafe {
                    self.numeric_extreme.add(decimals, selected, least)
                },
                _ => self.count += decimals.count(selected),
            },
        }
    }

    unsafe fn add_words(&mut self, kind: Kind, words: &[u64], kept: Option<&[bool]>) {
        let is_kept = |row: usize| kept.is_none_or(|kept| kept[row]);
        let each = words.iter().enumerate().filter(|(row, _)| is_kept(*row)).map(|(_, &word)| word);
        match kind {
            Kind::CountRows | Kind::Count => self.count += each.count() as u64,
            Kind::Integers(_) => match kept {
                None => {
                    self.count += words.len() as u64;
                    self.sum += words.iter().map(|&word| i128::from(word as i64)).sum::<i128>();
                }
                Some(kept) => {
                    self.count += kept.iter().filter(|&&kept| kept).count() as u64;
                    let or_zero =
                        |(&word, &kept): (&u64, &bool)| if kept { i128::from(word as i64) } else { 0 };
                    self.sum += words.iter().zip(kept).map(or_zero).sum::<i128>();
                }
            },
            Kind::Extreme { least } => {
                let values = each.map(|word| word as i64).chain(self.extreme);
                self.extreme = if least { values.min() } else { values.max() };
            }
            // SAFETY: as the caller says: the words are numerics.
            Kind::Numerics => each.for_each(|word| unsafe { self.numerics.add_datum(word) }),
            Kind::NumericExtreme { least } => {
                each.for_each(|word| unsafe { self.numeric_extreme.add_datum(word, least) });
            }
        }
    }

    /// As the aggregate's transition function leaves it, and its serialization function sends it.
    fn datum(&self, kind: Kind) -> Result<Option<Datum>> {
        let int8 = |value: i64| Datum::from(value as usize);
        Ok(match kind {
            Kind::CountRows | Kind::Count => Some(int8(self.count as i64)),
            Kind::Integers(IntegerState::Sum) => match self.count {
                0 => None,
                _ => Some(int8(bigint(self.sum)?)),
            },
            Kind::Integers(IntegerState::CountAndSum) => {
                let mut pair = [int8(self.count as i64), int8(bigint(self.sum)?)];
                // SAFETY: two Datums of bigint, as its type in pg_type is.
                let array = unsafe {
                    pg_sys::construct_array(
                        pair.as_mut_ptr(),
                        2,
                        pg_sys::INT8OID,
                        8,
                        true,
                        b'd' as std::ffi::c_char,
                    )
                };
                Some(Datum::from(array))
            }
            Kind::Integers(IntegerState::Sent) => (self.count > 0).then(|| {
                let mut bytes = (self.count as i64).to_be_bytes().to_vec();
                Parts::integer(self.sum).send(&mut bytes);
                bytea(&bytes)
            }),
            Kind::Numerics => self.numerics.sent().map(|bytes| bytea(&bytes)),
            Kind::Extreme { .. } => self.extreme.map(int8),
            Kind::NumericExtreme { .. } => self.numeric_extreme.datum(),
        })
    }
}

fn bigint(sum: i128) -> Result<i64> {
    i64::try_from(sum).map_err(|_| {
        error(Code::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE, "bigint out of range")
            .set_hint("Sum the column as numeric.")
    })
}

fn bytea(bytes: &[u8]) -> Datum {
    varlena(&[&[0; 4][..], bytes].concat())
}

/// A copy in the current context of a varlena whose header takes four bytes, which are written anew.
pub fn varlena(bytes: &[u8]) -> Datum {
    // SAFETY: as many bytes as are allocated; `palloc` aligns them.
    unsafe {
        let copy = pg_sys::palloc(bytes.len()).cast::<u8>();
        copy.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        pgrx::set_varsize_4b(copy.cast(), bytes.len() as i32);
        Datum::from(copy)
    }
}
