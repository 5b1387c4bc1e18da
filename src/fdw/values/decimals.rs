//! Numbers that PostgreSQL has as numeric, in the file's own form: 128-bit integers and a scale.
//!
//! For conditions and aggregates, which need no numeric of each value.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::*;

use super::Misfit;
use super::numeric::{NumericLimit, Rules, image};
use crate::fdw::filter::Range;

/// One batch of a column: each value is an integer times `10^-scale`.
pub struct Decimals<'a> {
    array: &'a ArrayRef,
    pub scale: i32,
    /// Digits that PostgreSQL shows after the point.
    pub dscale: u16,
}

/// Runs `$work` with the array's native values as a slice, whichever type it has.
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

/// Of any of the native types.
#[inline(always)]
fn wide(value: impl Into<i128>) -> i128 {
    value.into()
}

impl<'a> Decimals<'a> {
    /// `None` for an array of another type; an error for a value that the column's type does not hold.
    pub fn new(array: &'a ArrayRef, limit: Option<NumericLimit>) -> Result<Option<Decimals<'a>>, Misfit> {
        let scale = match array.data_type() {
            DataType::Decimal32(_, scale)
            | DataType::Decimal64(_, scale)
            | DataType::Decimal128(_, scale) => i32::from(*scale),
            data_type if data_type.is_integer() => 0,
            _ => return Ok(None),
        };
        let rules = Rules::new(scale, limit);
        let decimals = Decimals { array, scale, dscale: rules.dscale };
        match limit.and_then(|_| decimals.misfit(&rules)) {
            Some(misfit) => Err(misfit),
            None => Ok(Some(decimals)),
        }
    }

    /// The first value that breaks the rules.
    fn misfit(&self, rules: &Rules) -> Option<Misfit> {
        with_values!(self.array, values => values.iter().enumerate().find_map(|(row, &value)| {
            let reason = rules.check(wide(value).unsigned_abs()).err()?;
            self.array.is_valid(row).then_some(Misfit { row, reason })
        }))
    }

    pub fn is_null(&self) -> Vec<bool> {
        match self.array.nulls() {
            Some(nulls) => nulls.iter().map(|valid| !valid).collect(),
            None => vec![false; self.array.len()],
        }
    }

    /// The rows that have a value, of those in `rows`; `None`: all of them.
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

    /// The rows whose values pass; NULL never does.
    pub fn select(&self, test: impl Fn(i128) -> bool) -> Vec<bool> {
        let mut found: Vec<bool> = with_values!(self.array, values => {
            values.iter().map(|&value| test(wide(value))).collect()
        });
        if let Some(nulls) = self.array.nulls() {
            found.iter_mut().zip(nulls.iter()).for_each(|(found, valid)| *found &= valid);
        }
        found
    }

    pub fn within(&self, range: &Range) -> Vec<bool> {
        self.select(|value| range.contains(value))
    }

    /// Of the values in `rows`.
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

    /// A value as numeric, with its varlena header.
    pub fn image(&self, value: i128) -> Vec<u8> {
        image(i256::from_i128(value), self.scale, self.dscale)
    }
}

/// A sum of 128-bit integers that does not overflow before 2^63 of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Of the lower 64 bits, and of the rest.
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
        let decimals = Decimals::new(&array, None).unwrap().unwrap();
        let sum = decimals.sum(None);
        let wanted = i256::from_i128(i128::MIN).wrapping_mul(i256::from_i128(2)).wrapping_sub(i256::ONE);
        assert_eq!((sum.total(), sum.count), (wanted, 3));
        let some = decimals.sum(Some(&[false, true, true, true]));
        assert_eq!((some.total(), some.count), (i256::from_i128(i128::MIN).wrapping_sub(i256::ONE), 2));
        assert_eq!(decimals.extremes(Some(&[false, true, false, true])), Some((-1, -1)));
        assert_eq!(decimals.extremes(Some(&[false, true, false, false])), None);
    }

    #[test]
    fn values_beyond_the_type_are_found() {
        let array: ArrayRef = Arc::new(Int32Array::from(vec![Some(99), None, Some(100)]));
        let limit = |precision| Some(NumericLimit { precision, scale: 0 });
        assert_eq!(Decimals::new(&array, limit(2)).err().map(|misfit| misfit.row), Some(2));
        let decimals = Decimals::new(&array, limit(3)).unwrap().unwrap();
        assert_eq!(decimals.select(|value| value > 99), [false, false, true]);
        assert_eq!(decimals.is_null(), [false, true, false]);
        assert_eq!(decimals.count(None), 2);
    }
}
