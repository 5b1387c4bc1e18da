//! Values of fixed width: booleans, integers, floats and 16-byte values.

use std::cmp::Ordering;

use parquet::basic::Type as PhysicalType;
use parquet::data_type::{ByteArray, FixedLenByteArray};
use parquet::file::statistics::{Statistics, ValueStatistics};

use super::bits::pack_flags;
use super::byte_stream_split::put_byte_stream_split;
use super::delta::put_delta;
use super::dict::DictKey;
use super::stats::{Bound, Bounds};

/// A value of fixed width.
pub trait Fixed: Copy + 'static {
    /// The bits, which tell values apart in a dictionary.
    type Key: DictKey;
    const PHYSICAL: PhysicalType;
    /// The size in PLAIN encoding in bytes, rounded up.
    const WIDTH: usize = size_of::<Self>();
    /// Whether a dictionary can be smaller than the values.
    const DICTIONARY: bool = true;

    fn key(self) -> Self::Key;
    fn of_key(key: Self::Key) -> Self;
    fn put_plain(values: &[Self], out: &mut Vec<u8>);

    /// Appends values in the type's other encoding, DELTA_BINARY_PACKED or BYTE_STREAM_SPLIT, if it has one.
    fn put_other(_values: &[Self], _out: &mut Vec<u8>) {}

    /// Compares two values that are not NaN.
    fn order(self, other: Self, unsigned: bool) -> Ordering;
    /// Returns the bounds of the values, and the number of NaNs.
    fn bounds(values: &[Self], unsigned: bool) -> (Option<Bounds<Self>>, usize);
    fn statistics(bounds: Option<Bounds<Self>>, nulls: u64, nans: u64) -> Statistics;
    /// Creates a bound from its bits; those of 16-byte values are a big-endian number.
    fn bound(bits: u128) -> Bound<Self>;
}

fn exact<T>(min: T, max: T) -> Bounds<T> {
    Bounds { min: Bound { value: min, exact: true }, max: Bound { value: max, exact: true } }
}

fn put_le<T: Copy, const N: usize>(values: &[T], out: &mut Vec<u8>, le: impl Fn(T) -> [u8; N]) {
    let start = out.len();
    out.resize(start + values.len() * N, 0);
    for (bytes, &value) in out[start..].as_chunks_mut::<N>().0.iter_mut().zip(values) {
        *bytes = le(value);
    }
}

fn value_statistics<T>(bounds: Option<Bounds<T>>, nulls: u64) -> ValueStatistics<T> {
    let (min, max, exact) = match bounds {
        Some(b) => (Some(b.min.value), Some(b.max.value), (b.min.exact, b.max.exact)),
        None => (None, None, (false, false)),
    };
    ValueStatistics::new(min, max, None, Some(nulls), false)
        .with_min_is_exact(exact.0)
        .with_max_is_exact(exact.1)
}

macro_rules! fixed_integer {
    ($t:ty, $unsigned:ty, $physical:ident) => {
        impl Fixed for $t {
            type Key = $unsigned;
            const PHYSICAL: PhysicalType = PhysicalType::$physical;

            #[inline(always)]
            fn key(self) -> $unsigned {
                self as $unsigned
            }
            fn of_key(key: $unsigned) -> $t {
                key as $t
            }
            fn put_plain(values: &[$t], out: &mut Vec<u8>) {
                put_le(values, out, <$t>::to_le_bytes);
            }
            fn put_other(values: &[$t], out: &mut Vec<u8>) {
                put_delta(values, out);
            }
            fn order(self, other: $t, unsigned: bool) -> Ordering {
                if unsigned { self.key().cmp(&other.key()) } else { self.cmp(&other) }
            }
            fn bounds(values: &[$t], unsigned: bool) -> (Option<Bounds<$t>>, usize) {
                // With the sign bit flipped, a signed comparison orders as an unsigned one.
                let flip = if unsigned { <$t>::MIN } else { 0 };
                let Some(&first) = values.first() else { return (None, 0) };
                let first = first ^ flip;
                let (min, max) = values
                    .iter()
                    .fold((first, first), |(min, max), &v| (min.min(v ^ flip), max.max(v ^ flip)));
                (Some(exact(min ^ flip, max ^ flip)), 0)
            }
            fn statistics(bounds: Option<Bounds<$t>>, nulls: u64, _nans: u64) -> Statistics {
                value_statistics(bounds, nulls).into()
            }
            fn bound(bits: u128) -> Bound<$t> {
                Bound { value: bits as $t, exact: true }
            }
        }
    };
}

fixed_integer!(i32, u32, INT32);
fixed_integer!(i64, u64, INT64);

macro_rules! fixed_float {
    ($t:ty, $bits:ty, $physical:ident) => {
        impl Fixed for $t {
            type Key = $bits;
            const PHYSICAL: PhysicalType = PhysicalType::$physical;

            #[inline(always)]
            fn key(self) -> $bits {
                self.to_bits()
            }
            fn of_key(key: $bits) -> $t {
                <$t>::from_bits(key)
            }
            fn put_plain(values: &[$t], out: &mut Vec<u8>) {
                put_le(values, out, <$t>::to_le_bytes);
            }
            fn put_other(values: &[$t], out: &mut Vec<u8>) {
                let start = out.len();
                out.resize(start + size_of_val(values), 0);
                put_byte_stream_split(values, &mut out[start..], |value, byte| {
                    (value.to_bits() >> (8 * byte)) as u8
                });
            }
            fn order(self, other: $t, _unsigned: bool) -> Ordering {
                self.total_cmp(&other)
            }
            fn bounds(values: &[$t], _unsigned: bool) -> (Option<Bounds<$t>>, usize) {
                let nans = values.iter().filter(|v| v.is_nan()).count();
                if nans == values.len() {
                    return (None, nans);
                }
                // NaN compares false, so it never becomes a bound.
                let (min, max) =
                    values.iter().fold((<$t>::INFINITY, <$t>::NEG_INFINITY), |(min, max), &v| {
                        (if v < min { v } else { min }, if v > max { v } else { max })
                    });
                // parquet.thrift, ColumnOrder: a zero bound includes the zero of the other sign.
                let min = Self::bound((if min == 0.0 { -0.0 } else { min }).to_bits().into());
                let max = Self::bound((if max == 0.0 { 0.0 } else { max }).to_bits().into());
                (Some(Bounds { min, max }), nans)
            }
            fn bound(bits: u128) -> Bound<$t> {
                let value = <$t>::from_bits(bits as $bits);
                Bound { value, exact: value != 0.0 }
            }
            fn statistics(bounds: Option<Bounds<$t>>, nulls: u64, nans: u64) -> Statistics {
                value_statistics(bounds, nulls).with_nan_count(Some(nans)).into()
            }
        }
    };
}

fixed_float!(f32, u32, FLOAT);
fixed_float!(f64, u64, DOUBLE);

impl Fixed for bool {
    type Key = u32;
    const PHYSICAL: PhysicalType = PhysicalType::BOOLEAN;
    const DICTIONARY: bool = false;

    fn key(self) -> u32 {
        self.into()
    }
    fn of_key(key: u32) -> bool {
        key != 0
    }
    fn put_plain(values: &[bool], out: &mut Vec<u8>) {
        let mut block = [0u8; 512];
        for values in values.chunks(block.len()) {
            block.iter_mut().zip(values).for_each(|(b, &v)| *b = v.into());
            pack_flags(&block[..values.len()], out);
        }
    }
    fn order(self, other: bool, _unsigned: bool) -> Ordering {
        self.cmp(&other)
    }
    fn bounds(values: &[bool], _unsigned: bool) -> (Option<Bounds<bool>>, usize) {
        if values.is_empty() {
            return (None, 0);
        }
        (Some(exact(!values.contains(&false), values.contains(&true))), 0)
    }
    fn statistics(bounds: Option<Bounds<bool>>, nulls: u64, _nans: u64) -> Statistics {
        value_statistics(bounds, nulls).into()
    }
    fn bound(bits: u128) -> Bound<bool> {
        Bound { value: bits != 0, exact: true }
    }
}

impl Fixed for [u8; 16] {
    type Key = u128;
    const PHYSICAL: PhysicalType = PhysicalType::FIXED_LEN_BYTE_ARRAY;

    #[inline(always)]
    fn key(self) -> u128 {
        u128::from_ne_bytes(self)
    }
    fn of_key(key: u128) -> [u8; 16] {
        key.to_ne_bytes()
    }
    fn put_plain(values: &[[u8; 16]], out: &mut Vec<u8>) {
        out.extend_from_slice(values.as_flattened());
    }
    fn order(self, other: [u8; 16], unsigned: bool) -> Ordering {
        if unsigned { self.cmp(&other) } else { i128::from_be_bytes(self).cmp(&i128::from_be_bytes(other)) }
    }
    fn bounds(values: &[[u8; 16]], unsigned: bool) -> (Option<Bounds<[u8; 16]>>, usize) {
        let flip = if unsigned { i128::MIN } else { 0 };
        let rank = |v: &[u8; 16]| i128::from_be_bytes(*v) ^ flip;
        let Some(first) = values.first().map(rank) else { return (None, 0) };
        let (min, max) =
            values.iter().map(rank).fold((first, first), |(min, max), v| (min.min(v), max.max(v)));
        (Some(exact((min ^ flip).to_be_bytes(), (max ^ flip).to_be_bytes())), 0)
    }
    fn statistics(bounds: Option<Bounds<[u8; 16]>>, nulls: u64, _nans: u64) -> Statistics {
        let bytes = |b: Bound<[u8; 16]>| Bound {
            value: FixedLenByteArray::from(ByteArray::from(b.value.to_vec())),
            exact: b.exact,
        };
        value_statistics(bounds.map(|b| Bounds { min: bytes(b.min), max: bytes(b.max) }), nulls).into()
    }
    fn bound(bits: u128) -> Bound<[u8; 16]> {
        Bound { value: bits.to_be_bytes(), exact: true }
    }
}
