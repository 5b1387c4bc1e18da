//! Numbers that PostgreSQL has as numeric, in a file's own form: 128-bit integers and a scale. Conditions and
//! aggregates need no numeric of each value.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::*;

use super::numeric::Numeric;

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

    /// Returns whether no value's magnitude is above a limit. Those of NULL are any.
    pub fn are_within(&self, limit: u128) -> bool {
        let limit = i128::try_from(limit).unwrap_or(i128::MAX);
        with_values!(self.array, values => {
            let Some(&first) = values.first() else { return true };
            let (least, greatest) = values
                .iter()
                .fold((first, first), |(least, greatest), &value| (value.min(least), value.max(greatest)));
            wide(least) >= -limit && wide(greatest) <= limit
        })
    }

    /// Returns the first value that passes, and its row.
    pub fn find(&self, passes: impl Fn(i128) -> bool) -> Option<(usize, i128)> {
        with_values!(self.array, values => {
            let mut values = values.iter().map(|&value| wide(value)).enumerate();
            values.find(|&(row, value)| passes(value) && self.array.is_valid(row))
        })
    }

    pub fn has_nulls(&self) -> bool {
        self.array.null_count() > 0
    }

    pub fn is_null(&self, row: usize) -> bool {
        self.array.is_null(row)
    }

    /// Appends the values of some rows; those of NULL are any. Returns false if one of them has more than 64 bits.
    pub fn gather(&self, rows: &[u32], out: &mut Vec<i64>) -> bool {
        with_values!(self.array, values => match run(rows) {
            Some(run) => words(values[run].iter().copied(), out),
            None => words(rows.iter().map(|&row| values[row as usize]), out),
        })
    }

    /// Appends the values of some rows; those of NULL are any.
    pub fn gather_wide(&self, rows: &[u32], out: &mut Vec<i128>) {
        with_values!(self.array, values => out.extend(rows.iter().map(|&row| wide(values[row as usize]))));
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

/// Appends values; returns false if one of them has more than 64 bits.
#[inline(always)]
fn words<T: Into<i128>>(values: impl Iterator<Item = T> + Clone, out: &mut Vec<i64>) -> bool {
    out.extend(values.clone().map(|value| wide(value) as i64));
    // All are looked at, several at once. Nothing is computed for types that are no wider.
    let beyond = |value: i128| (value >> 64) as i64 ^ (value as i64 >> 63);
    values.map(wide).fold(0, |bits, value| bits | beyond(value)) == 0
}

/// Returns rows as a range if they follow each other; they are in ascending order.
pub fn run(rows: &[u32]) -> Option<std::ops::Range<usize>> {
    let (first, last) = (*rows.first()? as usize, *rows.last()? as usize);
    (last - first + 1 == rows.len()).then_some(first..last + 1)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Decimal128Array, Int32Array};

    use super::*;

    #[test]
    fn what_has_more_than_64_bits_is_seen() {
        let most = i128::from(i64::MAX);
        for (value, is_word) in
            [(most, true), (-most - 1, true), (most + 1, false), (-most - 2, false), (1 << 64, false)]
        {
            let array: ArrayRef = Arc::new(Decimal128Array::from(vec![0, value, -1]));
            let decimals = Decimals::new(&array, 0).unwrap();
            for rows in [&[0, 1, 2][..], &[0, 2]] {
                let mut words = Vec::new();
                let fits = is_word || rows.len() == 2;
                assert_eq!(decimals.gather(rows, &mut words), fits);
                assert!(
                    !fits
                        || words
                            .iter()
                            .zip(rows)
                            .all(|(&word, &row)| i128::from(word) == [0, value, -1][row as usize])
                );
            }
        }
    }

    #[test]
    fn nulls_are_not_found() {
        let array: ArrayRef = Arc::new(Int32Array::from(vec![Some(99), None, Some(100)]));
        let decimals = Decimals::new(&array, 0).unwrap();
        let found = [decimals.find(|value| value == 0), decimals.find(|value| value > 99)];
        assert_eq!(found, [None, Some((2, 100))]);
        assert!(decimals.are_within(100) && !decimals.are_within(99));
    }
}
