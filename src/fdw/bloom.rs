//! Bloom filters of Parquet's column chunks (BloomFilter.md): whether a row group may contain a value.
//!
//! A filter holds the hashes of values' bytes in PLAIN encoding. A value is looked up only if every writer
//! gives it the same bytes; otherwise the group may contain it.

use std::cell::OnceCell;

use arrow::datatypes::{DataType, TimeUnit};
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::basic::Type as PhysicalType;
use parquet::bloom_filter::{BITSET_MAX_LENGTH, BITSET_MIN_LENGTH, Sbbf};
use parquet::file::metadata::ColumnChunkMetaData;

use super::bounds::leaf_of;
use super::error::guarded;
use super::footer;
use super::meta::{FileMeta, Format};
use super::source::Source;
use super::values::{DAY_MICROS, EPOCH_DAYS, EPOCH_MICROS};
use crate::expr::{Numeric, Place, Scalar, Type};

/// The filter of one column in one row group, read when it is first used.
pub struct BloomFilter<'a> {
    source: &'a Source,
    chunk: &'a ColumnChunkMetaData,
    data_type: &'a DataType,
    physical: PhysicalType,
    /// Length of the physical type, if that is fixed.
    length: usize,
    bits: OnceCell<Option<Sbbf>>,
}

impl FileMeta {
    /// Returns the filter of a column; `None` if the file has none. `source` is the file that the metadata was
    /// read from.
    pub fn bloom_filter<'a>(
        &'a self,
        source: &'a Source,
        group: usize,
        column: usize,
    ) -> Option<BloomFilter<'a>> {
        let Format::Parquet(metadata) = &self.format else { return None };
        let leaf = leaf_of(metadata, column)?;
        let chunk = metadata.metadata().row_groups().get(group)?.columns().get(leaf)?;
        chunk.bloom_filter_offset()?;
        Some(BloomFilter::new(metadata, source, chunk, leaf, column))
    }
}

impl<'a> BloomFilter<'a> {
    fn new(
        metadata: &'a ArrowReaderMetadata,
        source: &'a Source,
        chunk: &'a ColumnChunkMetaData,
        leaf: usize,
        column: usize,
    ) -> BloomFilter<'a> {
        let data_type = metadata.schema().field(column).data_type();
        let of = metadata.parquet_schema().column(leaf);
        let (physical, length) = (of.physical_type(), usize::try_from(of.type_length()).unwrap_or(0));
        BloomFilter { source, chunk, data_type, physical, length, bits: OnceCell::new() }
    }

    /// Returns whether the row group may contain the value; false only if it does not.
    pub fn may_hold(&self, of: Type, value: &Scalar) -> bool {
        let Some(bytes) = self.bytes_of(of, value) else { return true };
        // A filter that cannot be read excludes nothing.
        self.bits.get_or_init(|| self.read()).as_ref().is_none_or(|bits| bits.check(&bytes[..]))
    }

    /// Returns the bytes that the file has for the value; `None` if that is not certain.
    fn bytes_of(&self, of: Type, value: &Scalar) -> Option<Vec<u8>> {
        use DataType as D;
        match (of, value, self.data_type) {
            (Type::Integer | Type::Oid, &Scalar::Integer(value), data_type) if data_type.is_integer() => {
                self.number(value.into())
            }
            (_, Scalar::Numeric(value), data_type) if data_type.is_integer() => {
                self.number(exactly(value, 0)?)
            }
            (
                _,
                Scalar::Numeric(value),
                D::Decimal32(_, scale)
                | D::Decimal64(_, scale)
                | D::Decimal128(_, scale)
                | D::Decimal256(_, scale),
            ) => self.number(exactly(value, *scale)?),
            (Type::Date, &Scalar::Integer(date), D::Date32) => self.number((date + EPOCH_DAYS).into()),
            (Type::Time, &Scalar::Integer(time), D::Time32(unit) | D::Time64(unit))
                if (0..=DAY_MICROS).contains(&time) =>
            {
                self.number(in_unit(time, *unit)?.into())
            }
            (Type::Timestamp, &Scalar::Integer(micros), D::Timestamp(unit, _)) => {
                self.number(in_unit(micros.checked_add(EPOCH_MICROS)?, *unit)?.into())
            }
            (Type::Text, Scalar::Bytes(bytes), D::Utf8 | D::LargeUtf8 | D::Utf8View) => self.bytes(bytes),
            (
                Type::Text | Type::Bytea | Type::Uuid,
                Scalar::Bytes(bytes),
                D::Binary | D::LargeBinary | D::BinaryView,
            ) => self.bytes(bytes),
            (Type::Bytea | Type::Uuid, Scalar::Bytes(bytes), D::FixedSizeBinary(_)) => self.bytes(bytes),
            _ => None,
        }
    }

    fn number(&self, value: i128) -> Option<Vec<u8>> {
        let unsigned = self.data_type.is_unsigned_integer();
        Some(match self.physical {
            PhysicalType::INT32 if unsigned => u32::try_from(value).ok()?.to_le_bytes().to_vec(),
            PhysicalType::INT32 => i32::try_from(value).ok()?.to_le_bytes().to_vec(),
            PhysicalType::INT64 if unsigned => u64::try_from(value).ok()?.to_le_bytes().to_vec(),
            PhysicalType::INT64 => i64::try_from(value).ok()?.to_le_bytes().to_vec(),
            PhysicalType::FIXED_LEN_BYTE_ARRAY => big_endian(value, self.length)?,
            _ => return None,
        })
    }

    fn bytes(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let fits = match self.physical {
            PhysicalType::BYTE_ARRAY => true,
            PhysicalType::FIXED_LEN_BYTE_ARRAY => self.length == bytes.len(),
            _ => false,
        };
        fits.then(|| bytes.to_vec())
    }

    fn read(&self) -> Option<Sbbf> {
        /// More than any header has by far; older writers do not state the length of a filter.
        const HEADER_ROOM: u64 = 64;
        let offset = u64::try_from(self.chunk.bloom_filter_offset()?).ok()?;
        let room = self.source.id().size.checked_sub(offset)?;
        let stated = match self.chunk.bloom_filter_length() {
            Some(length) => Some(usize::try_from(length).ok()?),
            None => None,
        };
        let first = stated.unwrap_or(HEADER_ROOM.min(room) as usize);
        let mut bytes = self.source.read_optional(offset, first)?;
        let (header, bits) = footer::bloom_header(&bytes).ok()?;
        let length = header + bits;
        // The place of a value's bits depends on the filter's length.
        let sound = (BITSET_MIN_LENGTH..=BITSET_MAX_LENGTH).contains(&bits)
            && bits.is_multiple_of(BITSET_MIN_LENGTH)
            && stated.is_none_or(|stated| stated == length);
        if !sound {
            return None;
        }
        if length > bytes.len() {
            bytes.extend(self.source.read_optional(offset + first as u64, length - first)?);
        }
        guarded(self.source.path(), || Sbbf::from_bytes(&bytes[..length])).ok()
    }
}

/// Returns a numeric as a multiple of `10^-scale`, if it is one.
fn exactly(value: &Numeric, scale: i8) -> Option<i128> {
    match value.place(scale.into()) {
        Place::At(value, true) => Some(value),
        _ => None,
    }
}

/// Converts microseconds to another unit, if they are a multiple of it.
fn in_unit(micros: i64, unit: TimeUnit) -> Option<i64> {
    let whole = |by| (micros % by == 0).then_some(micros / by);
    match unit {
        TimeUnit::Second => whole(1_000_000),
        TimeUnit::Millisecond => whole(1000),
        TimeUnit::Microsecond => Some(micros),
        TimeUnit::Nanosecond => micros.checked_mul(1000),
    }
}

/// Returns the value in big-endian two's complement of `length` bytes, if it fits.
fn big_endian(value: i128, length: usize) -> Option<Vec<u8>> {
    let bytes = value.to_be_bytes();
    let sign = if value < 0 { 0xff } else { 0 };
    let Some(cut) = bytes.len().checked_sub(length) else {
        return Some([vec![sign; length - bytes.len()], bytes.to_vec()].concat());
    };
    let (left, kept) = bytes.split_at(cut);
    let fits =
        left.iter().all(|&byte| byte == sign) && kept.first().is_some_and(|first| first >> 7 == sign >> 7);
    fits.then(|| kept.to_vec())
}

#[cfg(test)]
#[path = "bloom_tests.rs"]
mod tests;
