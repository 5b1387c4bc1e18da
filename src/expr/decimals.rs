//! Numbers that PostgreSQL has as numeric, in a file's own form: 128-bit integers and a scale. Conditions and
//! aggregates need no numeric of each value.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::*;
use serde::{Deserialize, Serialize};

use super::numeric::Numeric;
use super::range::Range;

/// One batch of a column: each value is an integer times `10^-scale`.
#[derive(Clone, Copy)]
pub struct Decimals<'a> {
    array: &'a ArrayRef,
    pub scale: i32,
    /// Digits that PostgreSQL shows after the point.
    pub dscale: u16,
}

/// Runs `$work` with an array's native values as a slice, whichever type it has.
macro_rules! with_values {
    ($array:expr, $values:ident => $work:expr) => {
        with_values!($array, $values => $work,
            Int8 => Int8Type, Int16 => Int16Type, Int32 => Int32Type, Int64 => Int64Type,
            UInt8 => UInt8Type, UInt16 => UInt16Type, UInt32 => UInt32Type, UInt64 => UInt64Type,
            Decimal32(..) => Decimal32Type, Decimal64(..) => Decimal64Type, Decimal128(..) => Decimal128Type)
    };
    ($array:expr, $values:ident => $work:expr, $($name:ident $(($rest:tt))? => $arrow:ty),*) => {
        match $array.data_type() {
            $(DataType::$name $(($rest))? => {
                let $values: &[<$arrow as ArrowPrimitiveType>::Native] = $array.as_primitive::<$arrow>().values();
                $work
            })*
            // `new` takes no other type.
            _ => Default::default(),
        }
    };
}

#[inline(always)]
fn wide(value: impl Into<i128>) -> i128 {
    value.into()
}

impl<'a> Decimals<'a> {
    /// Returns the values of an array that show `dscale` digits after the point; `None` for an array of another
    /// type.
    pub fn new(array: &'a ArrayRef, dscale: u16) -> Option<Decimals<'a>> {
        Some(Decimals { array, scale: Decimals::scale(array.data_type())?, dscale })
    }

    /// Returns the scale of an array's values; `None` for a type that is not read here.
    pub fn scale(data_type: &DataType) -> Option<i32> {
        match data_type {
            DataType::Decimal32(_, scale)
            | DataType::Decimal64(_, scale)
            | DataType::Decimal128(_, scale) => Some((*scale).into()),
            data_type if data_type.is_integer() => Some(0),
            _ => None,
        }
    }

    /// Returns the first value that passes, and its row.
    pub fn find(&self, passes: impl Fn(i128) -> bool) -> Option<(usize, i128)> {
        with_values!(self.array, values => {
            let mut values = values.iter().map(|&value| wide(value)).enumerate();
            values.find(|&(row, value)| passes(value) && self.array.is_valid(row))
        })
    }

    /// Returns the rows that have a value, of those in `rows`; `None`: all of them.
    fn kept(&self, rows: Option<&[bool]>) -> Option<Vec<bool>> {
        match (self.array.nulls().filter(|nulls| nulls.null_count() > 0), rows) {
            (None, None) => None,
            (None, Some(rows)) => Some(rows.to_vec()),
            (Some(nulls), None) => Some(nulls.iter().collect()),
            (Some(nulls), Some(rows)) => {
                Some(nulls.iter().zip(rows).map(|(valid, &row)| valid & row).collect())
            }
        }
    }

    pub fn has_nulls(&self) -> bool {
        self.array.null_count() > 0
    }

    pub fn is_null(&self, row: usize) -> bool {
        self.array.is_null(row)
    }

    /// Appends the values of some rows; those of NULL are any. Returns false if one of them has more than 64 bits.
    pub fn gather(&self, rows: &[u32], out: &mut Vec<i64>) -> bool {
        let mut is_word = true;
        with_values!(self.array, values => {
            out.extend(rows.iter().map(|&row| {
                let value = wide(values[row as usize]);
                is_word &= i128::from(value as i64) == value;
                value as i64
            }));
        });
        is_word
    }

    /// Appends the values of some rows; those of NULL are any.
    pub fn gather_wide(&self, rows: &[u32], out: &mut Vec<i128>) {
        with_values!(self.array, values => out.extend(rows.iter().map(|&row| wide(values[row as usize]))));
    }

    /// Clears the rows whose value is NULL, or those whose value is not.
    pub fn keep_null(&self, is_null: bool, rows: &mut [bool]) {
        match self.array.nulls() {
            Some(nulls) => rows.iter_mut().zip(nulls).for_each(|(row, valid)| *row &= valid != is_null),
            None if is_null => rows.fill(false),
            None => {}
        }
    }

    /// Clears the rows whose value is NULL or does not pass.
    pub fn keep(&self, rows: &mut [bool], passes: impl Fn(i128) -> bool) {
        with_values!(self.array, values => {
            rows.iter_mut().zip(values).for_each(|(row, &value)| *row &= passes(wide(value)));
        });
        self.keep_null(false, rows);
    }

    /// Clears the rows whose value is NULL or outside a range.
    pub fn keep_within(&self, range: &Range, rows: &mut [bool]) {
        self.keep(rows, |value| range.contains(value));
    }

    /// Returns the sum of the values in `rows`.
    pub fn sum(&self, rows: Option<&[bool]>) -> Sum {
        let kept = self.kept(rows);
        with_values!(self.array, values => match kept {
            None => Sum::of(values.iter().map(|&value| wide(value)), values.len() as u64),
            Some(kept) => {
                let count = kept.iter().filter(|&&kept| kept).count() as u64;
                let or_zero = values.iter().zip(&kept).map(|(&value, &kept)| if kept { wide(value) } else { 0 });
                Sum::of(or_zero, count)
            }
        })
    }

    /// How many values there are in `rows`.
    pub fn count(&self, rows: Option<&[bool]>) -> u64 {
        self.kept(rows).map_or(self.array.len(), |kept| kept.iter().filter(|&&kept| kept).count()) as u64
    }

    /// The least of the values in `rows` and the greatest.
    pub fn extremes(&self, rows: Option<&[bool]>) -> Option<(i128, i128)> {
        let kept = self.kept(rows);
        with_values!(self.array, values => {
            let mut found = None;
            for (row, &value) in values.iter().enumerate() {
                if kept.as_ref().is_none_or(|kept| kept[row]) {
                    let value = wide(value);
                    let (least, greatest) = found.unwrap_or((value, value));
                    found = Some((value.min(least), value.max(greatest)));
                }
            }
            found
        })
    }

    /// Returns the value of a row as numeric; `None` for NULL.
    pub fn at(&self, row: usize) -> Option<Numeric> {
        let mut value = Vec::new();
        self.gather_wide(&[row as u32], &mut value);
        value.first().filter(|_| !self.is_null(row)).map(|&value| self.numeric(value))
    }

    /// Returns a value as numeric.
    pub fn numeric(&self, value: i128) -> Numeric {
        Numeric::scaled(i256::from_i128(value), self.scale, self.dscale)
    }
}

/// A sum of 128-bit integers that does not overflow before 2^63 of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    /// The sum of the lower 64 bits, and of the rest.
    low: i128,
    high: i128,
    pub count: u64,
}

impl Sum {
    #[inline(always)]
    fn of(values: impl Iterator<Item = i128>, count: u64) -> Sum {
        let (mut low, mut high) = (0_i128, 0_i128);
        for value in values {
            low += i128::from(value as u64);
            high += value >> 64;
        }
        Sum { low, high, count }
    }

    pub fn add(&mut self, other: Sum) {
        self.low += other.low;
        self.high += other.high;
        self.count += other.count;
    }

    pub fn total(&self) -> i256 {
        (i256::from_i128(self.high) << 64_u8).wrapping_add(i256::from_i128(self.low))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Decimal128Array, Int32Array};

    use super::*;

    #[test]
    fn sums_do_not_overflow() {
        let array: ArrayRef =
            Arc::new(Decimal128Array::from(vec![Some(i128::MIN), None, Some(i128::MIN), Some(-1)]));
        let decimals = Decimals::new(&array, 0).unwrap();
        let sum = decimals.sum(None);
        let wanted = i256::from_i128(i128::MIN).wrapping_mul(i256::from_i128(2)).wrapping_sub(i256::ONE);
        assert_eq!((sum.total(), sum.count), (wanted, 3));
        let some = decimals.sum(Some(&[false, true, true, true]));
        assert_eq!((some.total(), some.count), (i256::from_i128(i128::MIN).wrapping_sub(i256::ONE), 2));
        assert_eq!(decimals.extremes(Some(&[false, true, false, true])), Some((-1, -1)));
        assert_eq!(decimals.extremes(Some(&[false, true, false, false])), None);
    }

    #[test]
    fn nulls_pass_nothing() {
        let array: ArrayRef = Arc::new(Int32Array::from(vec![Some(99), None, Some(100)]));
        let decimals = Decimals::new(&array, 0).unwrap();
        let kept = |work: &dyn Fn(&mut [bool])| {
            let mut rows = [true; 3];
            work(&mut rows);
            rows
        };
        assert_eq!(kept(&|rows| decimals.keep(rows, |value| value > 99)), [false, false, true]);
        assert_eq!(kept(&|rows| decimals.keep(rows, |_| true)), [true, false, true]);
        assert_eq!(kept(&|rows| decimals.keep_null(true, rows)), [false, true, false]);
        assert_eq!(decimals.count(None), 2);
        assert_eq!(
            (decimals.find(|value| value == 0), decimals.find(|value| value > 99)),
            (None, Some((2, 100)))
        );
    }
}
