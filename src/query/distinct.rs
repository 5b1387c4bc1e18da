//! Aggregates of DISTINCT values: each value of a group is added once.

use super::Unfit;
use super::keys::{Layout, factor, text_length};
use super::table::{Table, rescale_key};
use super::value::{Type, Value};
use super::vector::{Vector, text};
use crate::expr::Numeric;

/// The values of all groups, as a hash table whose keys are a group's number and a value.
#[derive(Clone)]
pub struct Distinct {
    pub table: Table,
    keys: Vec<u64>,
    ids: Vec<u32>,
}

/// The number of the value among the table's keys.
pub const VALUE: usize = 1;

impl Distinct {
    /// Creates a set of values of a type, which takes up to `limit` bytes.
    pub fn new(of: Type, limit: usize) -> Result<Distinct, Unfit> {
        let layout = Layout::new(&[Type::Int8, of])?;
        Ok(Distinct { table: Table::new(layout, &[], limit), keys: Vec::new(), ids: Vec::new() })
    }

    /// Adds the values of some rows, none of which is NULL, to their groups; returns the rows whose value is new.
    pub fn add(
        &mut self,
        groups: &[u32],
        rows: &[u32],
        (vector, arena): (&Vector, &[u8]),
    ) -> Result<Vec<u32>, Unfit> {
        self.table.rescale(VALUE, vector.scale)?;
        let words = self.table.layout.words;
        let [group, value] = self.key();
        self.keys.clear();
        self.keys.resize(rows.len() * words, 0);
        let scale = self.table.scales[VALUE];
        if vector.bound.saturating_mul(factor(scale.saturating_sub(vector.scale)) as u128) >= 1 << 126 {
            return Err(Unfit("a value of many digits"));
        }
        value.write(VALUE, (vector, arena), scale, rows, &mut self.keys, words);
        for (key, &row) in self.keys.chunks_exact_mut(words).zip(rows) {
            key[group.at] = groups[row as usize].into();
        }
        let before = self.table.count;
        let texts = |row: usize, _: usize| text(vector.cells()[rows[row] as usize], arena);
        self.table.place(&self.keys, rows.len(), &texts, &mut self.ids)?;
        // New values have the next numbers, in the order in which they are met.
        let mut next = before;
        let mut is_new = |id: u32| {
            let is_new = id as usize == next;
            next += usize::from(is_new);
            is_new
        };
        Ok(rows.iter().zip(&self.ids).filter(|(_, id)| is_new(**id)).map(|(row, _)| *row).collect())
    }

    /// Adds a value, which is not NULL, to a group; returns whether it is new.
    pub fn add_value(&mut self, group: u32, value: &Value) -> Result<bool, Unfit> {
        if let Value::Numeric(Numeric::Finite(finite)) = value {
            let scale = u8::try_from(finite.dscale).map_err(|_| Unfit("a value of many digits"))?;
            self.table.rescale(VALUE, scale)?;
        }
        let [of_group, of_value] = self.key();
        let mut key = vec![0; self.table.layout.words];
        of_value.write_value(VALUE, value, self.table.scales[VALUE], &mut key)?;
        key[of_group.at] = group.into();
        let bytes = if let Value::Bytes(bytes) = value { &bytes[..] } else { &[] };
        self.place(&key, bytes)
    }

    /// Adds a key; returns whether it is new.
    fn place(&mut self, key: &[u64], bytes: &[u8]) -> Result<bool, Unfit> {
        let before = self.table.count;
        self.table.place(key, 1, &|_, _| bytes, &mut self.ids)?;
        Ok(self.table.count > before)
    }

    fn key(&self) -> [super::keys::Key; 2] {
        [self.table.layout.keys[0], self.table.layout.keys[VALUE]]
    }

    /// Adds the values of another process's groups, whose numbers here are given; `add` is called for each new one.
    pub fn merge(
        &mut self,
        other: &mut Distinct,
        numbers: &[u32],
        mut add: impl FnMut(u32, u64) -> Result<(), Unfit>,
    ) -> Result<(), Unfit> {
        let scale = self.table.scales[VALUE].max(other.table.scales[VALUE]);
        self.table.rescale(VALUE, scale)?;
        let [group, value] = self.key();
        let more = scale - other.table.scales[VALUE];
        rescale_key(value, VALUE, more, &mut other.table.rows, other.table.stride)?;
        for entry in 0..other.table.count {
            let mut key = other.table.group(entry).to_vec();
            let number = numbers.get(key[group.at] as usize).copied();
            let number = number.ok_or(Unfit("a worker's message that cannot be read"))?;
            key[group.at] = number.into();
            let bytes = match value.is_long(VALUE, &key) {
                true => {
                    let start = key[value.shown] as usize;
                    other.table.texts.get(start..start + text_length(key[value.at])).unwrap_or(&[])
                }
                false => &[],
            };
            if self.place(&key, bytes)? {
                add(number, key[value.at])?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::vector::Values;

    fn numerics(words: Vec<i64>, scale: u8) -> Vector {
        let mut vector = Vector::new(Type::Numeric);
        vector.values = Values::Words(words);
        vector.scale = scale;
        vector.measure();
        vector
    }

    #[test]
    fn equal_numerics_of_several_scales_are_one_value() {
        let mut distinct = Distinct::new(Type::Numeric, usize::MAX).unwrap();
        let mut add = |vector: &Vector| distinct.add(&[0, 0, 1], &[0, 1, 2], (vector, &[]));
        assert_eq!(add(&numerics(vec![1, 1, 1], 0)), Ok(vec![0, 2]));
        assert_eq!(add(&numerics(vec![10, 11, 12], 1)), Ok(vec![1, 2]));
        assert_eq!(add(&numerics(vec![1, 1, 1], 30)), Ok(vec![0, 2]));
        // At the scale that the set has now, 128 bits do not hold it.
        assert!(add(&numerics(vec![i64::MAX; 3], 0)).is_err());
    }
}
