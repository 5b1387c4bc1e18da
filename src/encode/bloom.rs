//! Bloom filters of column chunks (BloomFilter.md): whether a value may be among the chunk's.
//!
//! The number of distinct values is only known after the last one. A filter therefore starts with room for all rows
//! of the row group, and is folded to the size that its values need.

use parquet::bloom_filter::Sbbf;

use super::Result;
use crate::memory::headroom;
use crate::types::{Kind, Lane, Values};

/// The probability that a filter reports a value that it does not contain.
const FALSE_POSITIVES: f64 = 0.01;
/// The most rows that a filter is made for; it then takes 8 MB.
const MOST_ROWS: usize = 4 << 20;

/// Returns whether columns of this kind can have a filter: equal values have the same bytes, and there are many
/// values.
pub fn has_bloom_filter(kind: &Kind) -> bool {
    !matches!(kind, Kind::Bool | Kind::Float4 | Kind::Float8 | Kind::List { .. } | Kind::Struct { .. })
}

/// Builds the filter of one column of a row group.
pub struct BloomFilterBuilder {
    rows: usize,
    /// `None` before the first value.
    bits: Option<Sbbf>,
}

impl BloomFilterBuilder {
    /// Creates a builder for row groups of at most `rows` rows.
    pub fn new(rows: usize) -> BloomFilterBuilder {
        BloomFilterBuilder { rows: rows.min(MOST_ROWS), bits: None }
    }

    pub fn memory(&self) -> usize {
        self.bits.as_ref().map_or(0, |bits| 32 * bits.num_blocks())
    }

    fn empty(&self) -> Result<Sbbf> {
        // Ten bits for a value, up to the next power of two.
        headroom(4 * self.rows)?;
        Ok(Sbbf::new_with_ndv_fpp(self.rows.max(1) as u64, FALSE_POSITIVES)?)
    }

    /// Adds values in PLAIN encoding, without a length. The cells of a `Values::Bytes` point into `arena`.
    pub fn add(&mut self, lane: &Lane, arena: &[u8]) -> Result<()> {
        let bits = match &mut self.bits {
            Some(bits) => bits,
            None => {
                let empty = self.empty()?;
                self.bits.insert(empty)
            }
        };
        match &lane.values {
            Values::Bool(values) => values.iter().for_each(|value| bits.insert(value)),
            Values::I32(values) => values.iter().for_each(|value| bits.insert(value)),
            Values::I64(values) => values.iter().for_each(|value| bits.insert(value)),
            Values::F32(values) => values.iter().for_each(|value| bits.insert(value)),
            Values::F64(values) => values.iter().for_each(|value| bits.insert(value)),
            Values::Fixed16(values) => values.iter().for_each(|value| bits.insert(&value[..])),
            Values::Bytes(cells) => cells.iter().for_each(|cell| bits.insert(cell.of(arena))),
        }
        Ok(())
    }

    /// Returns the filter's bytes, beginning with its header, and starts the next filter.
    pub fn finish(&mut self) -> Result<Vec<u8>> {
        let mut bits = match self.bits.take() {
            Some(bits) => bits,
            None => self.empty()?,
        };
        bits.fold_to_target_fpp(FALSE_POSITIVES);
        let mut out = Vec::new();
        bits.write(&mut out)?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use parquet::file::properties::ReaderProperties;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::file::serialized_reader::ReadOptionsBuilder;

    use super::super::tests::{columns, finish_file, read, rows};
    use super::super::{FileSchema, Options, RowGroupMeta, RowGroupWriter};
    use super::*;
    use crate::encode::footer::MAGIC;
    use crate::types::Shapes;

    /// Filters of all kinds that have one, in two row groups.
    #[test]
    fn filters_are_read_back() {
        let (fields, first) = columns(3000, true);
        let (_, second) = columns(40, false);
        let schema = FileSchema::new(&fields, &Shapes::default()).unwrap();
        let options = Options::default();
        let mut writer = RowGroupWriter::new(&schema, &fields, &Shapes::default(), &options).unwrap();
        let filtered: Vec<usize> =
            (0..fields.len()).filter(|&column| has_bloom_filter(&fields[column].kind)).collect();
        filtered.iter().for_each(|&column| writer.add_bloom_filter(column, 5000).unwrap());
        assert!(filtered.len() > 10 && writer.add_bloom_filter(99, 5000).is_err());
        let (mut file, mut metas) = (MAGIC.to_vec(), Vec::new());
        for group in [&first, &second] {
            for (column, rows) in group.iter().enumerate() {
                writer.append(column, &rows.lane, &rows.arena).unwrap();
            }
            let encoded = writer.finish().unwrap();
            metas.push(RowGroupMeta::decode(&encoded.metadata_at(file.len() as u64).unwrap()).unwrap());
            assert_eq!(metas[metas.len() - 1].len(), encoded.len());
            encoded.buffers().for_each(|bytes| file.extend_from_slice(bytes));
        }
        finish_file(&mut file, &schema, &metas);
        assert_eq!(read(&file).num_rows(), 3040);

        let properties = ReaderProperties::builder().set_read_bloom_filter(true).build();
        let options = ReadOptionsBuilder::new().with_reader_properties(properties).build();
        let reader = SerializedFileReader::new_with_options(::bytes::Bytes::from(file), options).unwrap();
        for (number, group) in [first, second].iter().enumerate() {
            let found = reader.get_row_group(number).unwrap();
            for column in 0..fields.len() {
                let filter = found.get_column_bloom_filter(column);
                assert_eq!(filter.is_some(), filtered.contains(&column), "{}", fields[column].name);
                let Some(filter) = filter else { continue };
                let (lane, arena) = (&group[column].lane, &group[column].arena);
                let all = match &lane.values {
                    Values::I32(values) => values.iter().all(|value| filter.check(value)),
                    Values::I64(values) => values.iter().all(|value| filter.check(value)),
                    Values::Fixed16(values) => values.iter().all(|value| filter.check(&value[..])),
                    Values::Bytes(cells) => cells.iter().all(|cell| filter.check(cell.of(arena))),
                    _ => false,
                };
                assert!(all, "{}", fields[column].name);
                // Few values that no column contains are reported.
                let seem = (0..2000u64).filter(|i| filter.check(format!("none {i}").as_bytes())).count();
                assert!(seem < 80, "{}: {seem} of 2000", fields[column].name);
                assert!(filter.num_blocks() <= 256, "{}", fields[column].name);
            }
        }
    }

    #[test]
    fn without_values_nothing_is_there() {
        let mut filter = BloomFilterBuilder::new(usize::MAX);
        let bytes = filter.finish().unwrap();
        let bits = Sbbf::from_bytes(&bytes).unwrap();
        assert!(bits.num_blocks() == 1 && !bits.check(&1i64));
        filter.add(&rows(Values::I64(vec![7; 100])).lane, &[]).unwrap();
        assert!(filter.memory() > 1 << 20);
        let bits = Sbbf::from_bytes(&filter.finish().unwrap()).unwrap();
        assert!(bits.check(&7i64) && !bits.check(&8i64) && bits.num_blocks() == 1);
    }
}
