//! Determines the precision that a numeric column's data need from the row groups' statistics.
//!
//! A pass fixes the scale and the physical type. The number of digits of the largest value is known only after all
//! values have been written; only the footer states it.

use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::statistics::Statistics;

use super::footer::RowGroupMeta;
use crate::types::{Field, Kind, Shapes};

/// The largest magnitude of each leaf that is a decimal or an integer; `None` if some chunk does not state it.
#[derive(Default)]
pub struct Magnitudes(Vec<Option<u128>>);

impl Magnitudes {
    pub fn add(&mut self, group: &RowGroupMeta) {
        self.0.resize(group.column_count().max(self.0.len()), Some(0));
        for (leaf, known) in self.0.iter_mut().enumerate().take(group.column_count()) {
            let found = largest(group.column(leaf));
            *known = known.zip(found).map(|(known, found)| known.max(found));
        }
    }

    fn of(&self, leaf: usize) -> Option<u128> {
        self.0.get(leaf).copied().unwrap_or(Some(0))
    }
}

/// Returns `shapes` with only as many digits for each numeric as the row groups' values need.
pub fn exact_shapes(fields: &[Field], shapes: &Shapes, groups: &Magnitudes) -> Shapes {
    let mut exact = shapes.clone();
    let mut leaf = 0;
    for field in fields {
        narrow(&field.kind, shapes, groups, &mut leaf, &mut exact);
    }
    exact
}

fn narrow(kind: &Kind, shapes: &Shapes, groups: &Magnitudes, leaf: &mut usize, exact: &mut Shapes) {
    match kind {
        Kind::List { element, .. } if !kind.nested_as_text(shapes) => {
            narrow(&element.kind, shapes, groups, leaf, exact);
        }
        Kind::Struct { fields } if !kind.nested_as_text(shapes) => {
            fields.iter().for_each(|field| narrow(&field.kind, shapes, groups, leaf, exact));
        }
        Kind::Numeric { shape_index } => {
            let mut shape = shapes.get(*shape_index);
            if shape.decimal().is_some()
                && let Some(largest) = groups.of(*leaf)
            {
                shape.whole = decimal_digits(largest).saturating_sub(shape.scale);
                exact.set(*shape_index, shape);
            }
            *leaf += 1;
        }
        _ => *leaf += 1,
    }
}

/// Returns the largest magnitude in a chunk; 0 if all values are NULL, `None` if the chunk does not state it.
fn largest(chunk: &ColumnChunkMetaData) -> Option<u128> {
    let statistics = chunk.statistics();
    let magnitude = match statistics {
        Some(Statistics::Int32(s)) => magnitudes(s.min_opt().copied(), s.max_opt().copied()),
        Some(Statistics::Int64(s)) => magnitudes(s.min_opt().copied(), s.max_opt().copied()),
        Some(Statistics::FixedLenByteArray(s)) => {
            let value = |bytes: &[u8]| bytes.try_into().ok().map(i128::from_be_bytes);
            magnitudes(s.min_opt().and_then(|v| value(v.data())), s.max_opt().and_then(|v| value(v.data())))
        }
        _ => None,
    };
    let all_null = statistics.and_then(Statistics::null_count_opt) == Some(chunk.num_values() as u64);
    magnitude.or(all_null.then_some(0))
}

fn magnitudes<T: Into<i128>>(min: Option<T>, max: Option<T>) -> Option<u128> {
    let (min, max): (i128, i128) = (min?.into(), max?.into());
    Some(min.unsigned_abs().max(max.unsigned_abs()))
}

pub(super) fn decimal_digits(value: u128) -> u16 {
    value.checked_ilog10().map_or(0, |log| log as u16 + 1)
}

#[cfg(test)]
mod tests {
    use super::decimal_digits;

    #[test]
    fn digits_are_counted_without_leading_zeros() {
        assert_eq!([0, 1, 9, 10, 99, 100].map(decimal_digits), [0, 1, 1, 2, 2, 3]);
        assert_eq!(decimal_digits(10u128.pow(38) - 1), 38);
    }
}
