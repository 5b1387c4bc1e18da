//! Conditions row by row, for those that the scan decides.
//!
//! A condition holds or does not; NULL, which is neither, is the same as does not, for there is no NOT above it.

use pgrx::pg_sys::{self, Datum, Oid};

use super::{Comparison, Condition, Conditions, Exact, Form, text_bytes};
use crate::fdw::filter::{Place, Range, Test, float_key};
use crate::fdw::values::Decimals;

/// The rows of one column: words of Datums and flags, or numbers in the file's own form.
pub enum ColumnValues<'a> {
    Words(&'a [u64], &'a [bool]),
    Decimals(Decimals<'a>),
}

impl ColumnValues<'_> {
    pub fn is_null(&self) -> Vec<bool> {
        match self {
            ColumnValues::Words(_, nulls) => nulls.to_vec(),
            ColumnValues::Decimals(decimals) => decimals.is_null(),
        }
    }
}

/// What a condition needs of a batch: each column's rows.
type Batch<'a, 'b> = &'a dyn Fn(usize) -> &'a ColumnValues<'b>;

impl Conditions {
    /// Whether there are any that the scan decides.
    pub fn decide(&self) -> bool {
        self.decided > 0
    }

    /// The columns that those are about.
    pub fn decided_columns(&self) -> Vec<usize> {
        let mut found = Vec::new();
        self.all[..self.decided].iter().for_each(|condition| condition.columns(&mut found));
        found.sort_unstable();
        found.dedup();
        found
    }

    /// For each of some rows whether it meets the conditions that the scan decides.
    ///
    /// # Safety
    /// The expressions have their values; the words are Datums of the columns' types.
    pub unsafe fn select(&self, rows: usize, batch: Batch) -> Vec<bool> {
        let mut found = vec![true; rows];
        for condition in &self.all[..self.decided] {
            // SAFETY: as the caller says.
            and(&mut found, &unsafe { condition.select(rows, batch) });
            if !found.contains(&true) {
                break;
            }
        }
        found
    }
}

fn and(found: &mut [bool], other: &[bool]) {
    found.iter_mut().zip(other).for_each(|(found, other)| *found &= other);
}

impl Condition {
    unsafe fn select(&self, rows: usize, batch: Batch) -> Vec<bool> {
        match self {
            // Conditions that are not exact are not decided.
            Condition::Unknown | Condition::Begins(_) => vec![false; rows],
            Condition::All(parts) => {
                let mut found = vec![true; rows];
                // SAFETY: as the caller says, here and below.
                parts.iter().for_each(|part| and(&mut found, &unsafe { part.select(rows, batch) }));
                found
            }
            Condition::Any(parts) => {
                let mut found = vec![false; rows];
                for part in parts {
                    let other = unsafe { part.select(rows, batch) };
                    found.iter_mut().zip(other).for_each(|(found, other)| *found |= other);
                }
                found
            }
            Condition::IsNull(column, is_null) => {
                let nulls = batch(*column).is_null();
                nulls.into_iter().map(|null| null == *is_null).collect()
            }
            Condition::Compare(comparison) => match (&comparison.exact, comparison.value.now().flatten()) {
                (Some(exact), Some(value)) => unsafe {
                    comparison.select(exact, value, batch(comparison.column))
                },
                // The operators are strict: NULL on either side is no match.
                _ => vec![false; rows],
            },
        }
    }
}

impl Comparison {
    /// `value`: of the operator's right type, or an array of them.
    unsafe fn select(&self, exact: &Exact, value: Datum, cells: &ColumnValues) -> Vec<bool> {
        // SAFETY: as the caller says; what is detoasted goes with the batch.
        unsafe {
            let values = match &self.element {
                Some(element) => element.values(value).into_iter().flatten().collect(),
                None => vec![value],
            };
            match (exact.form, cells) {
                (Form::Numeric, ColumnValues::Decimals(decimals)) => {
                    let places = values.iter().filter_map(|value| place(*value, decimals.scale)).collect();
                    decimals_select(exact.test, places, decimals)
                }
                (Form::Integer, ColumnValues::Words(words, nulls)) => integers_select(
                    exact.test,
                    values.iter().map(|value| integer(*value, exact.right)),
                    words,
                    nulls,
                ),
                (Form::Float(left, right), ColumnValues::Words(words, nulls)) => {
                    let keys: Vec<u64> = words.iter().map(|&word| float(word, left) as u64).collect();
                    let values = values.iter().map(|value| float(value.value() as u64, right));
                    integers_select(exact.test, values, &keys, nulls)
                }
                (Form::Bytes, ColumnValues::Words(words, nulls)) => {
                    let values = values.iter().map(|value| text_bytes(*value)).collect();
                    bytes_select(exact.test, values, words, nulls, |word| {
                        text_bytes(Datum::from(word as usize))
                    })
                }
                (Form::Uuid, ColumnValues::Words(words, nulls)) => {
                    let bytes = |word: u64| std::slice::from_raw_parts(word as *const u8, 16);
                    let values = values.iter().map(|value| bytes(value.value() as u64)).collect();
                    bytes_select(exact.test, values, words, nulls, bytes)
                }
                (_, ColumnValues::Words(words, nulls)) => exact.call_each(&values, words, nulls),
                // Only numeric columns come as decimals, and those are compared with numerics alone.
                (_, ColumnValues::Decimals(decimals)) => vec![false; decimals.is_null().len()],
            }
        }
    }
}

impl Exact {
    /// The operator itself, on each row.
    unsafe fn call_each(&self, values: &[Datum], words: &[u64], nulls: &[bool]) -> Vec<bool> {
        let function: *const pg_sys::FmgrInfo = &self.function;
        let holds = |word: u64| {
            let row = Datum::from(word as usize);
            // SAFETY: a comparison function of the two types; the call does not change the look-up.
            let call = |value: &Datum| unsafe {
                pg_sys::FunctionCall2Coll(function.cast_mut(), self.collation, row, *value).value() as u8 != 0
            };
            values.iter().any(call)
        };
        words.iter().zip(nulls).map(|(&word, &null)| !null && holds(word)).collect()
    }
}

fn integers_select(
    test: Test,
    values: impl Iterator<Item = i64>,
    words: &[u64],
    nulls: &[bool],
) -> Vec<bool> {
    let mut values: Vec<i64> = values.collect();
    if let [value] = values[..] {
        return Range::new(test, Place::At(value.into(), true)).select(words, nulls);
    }
    values.sort_unstable();
    let is_one = |word: u64| values.binary_search(&(word as i64)).is_ok();
    words.iter().zip(nulls).map(|(&word, &null)| !null && is_one(word)).collect()
}

fn decimals_select(test: Test, places: Vec<Place>, decimals: &Decimals) -> Vec<bool> {
    if let [place] = places[..] {
        return decimals.within(&Range::new(test, place));
    }
    let exact = |place| if let Place::At(value, true) = place { Some(value) } else { None };
    let mut values: Vec<i128> = places.into_iter().filter_map(exact).collect();
    values.sort_unstable();
    decimals.select(|value| values.binary_search(&value).is_ok())
}

/// By bytes, then by length.
unsafe fn bytes_select<'a>(
    test: Test,
    mut values: Vec<&[u8]>,
    words: &[u64],
    nulls: &[bool],
    bytes: impl Fn(u64) -> &'a [u8],
) -> Vec<bool> {
    values.sort_unstable();
    let holds = |word: u64| match values[..] {
        [value] => test.holds(bytes(word).cmp(value)),
        _ => values.binary_search(&bytes(word)).is_ok(),
    };
    words.iter().zip(nulls).map(|(&word, &null)| !null && holds(word)).collect()
}

/// A Datum of a type that is compared as an integer.
pub(super) fn integer(value: Datum, of: Oid) -> i64 {
    let value = value.value();
    match of {
        pg_sys::BOOLOID => i64::from(value as u8 != 0),
        pg_sys::INT2OID => (value as i16).into(),
        pg_sys::INT4OID | pg_sys::DATEOID => (value as i32).into(),
        pg_sys::OIDOID => (value as u32).into(),
        _ => value as i64,
    }
}

fn float(word: u64, is_single: bool) -> i64 {
    float_key(if is_single { f32::from_bits(word as u32).into() } else { f64::from_bits(word) })
}

/// `numeric_out`, in pg_proc.
const NUMERIC_OUT: Oid = Oid::from_u32(1702);

/// A numeric as PostgreSQL prints it; palloc'd.
pub(super) unsafe fn numeric_text<'a>(value: Datum) -> Option<&'a str> {
    // SAFETY: a numeric, as the caller says.
    let text = unsafe { std::ffi::CStr::from_ptr(pg_sys::OidOutputFunctionCall(NUMERIC_OUT, value)) };
    text.to_str().ok()
}

/// Where a numeric lies among the multiples of `10^-scale`.
unsafe fn place(value: Datum, scale: i32) -> Option<Place> {
    // SAFETY: as the caller says.
    Place::of_numeric(unsafe { numeric_text(value) }?, scale)
}
