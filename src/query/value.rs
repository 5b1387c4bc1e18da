//! Types and values.

use serde::{Deserialize, Serialize};

use crate::expr::{Numeric, without_blanks};

/// A type of PostgreSQL, as vectors hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Type {
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    /// Days since 2000-01-01.
    Date,
    /// Microseconds of the day.
    Time,
    /// Microseconds since 2000-01-01.
    Timestamp,
    /// The same, in UTC.
    TimestampTz,
    Float4,
    Float8,
    Numeric,
    /// text, varchar.
    Text,
    /// char(n): blanks at the end do not count when values are compared.
    Bpchar,
    Uuid,
    /// Any other type, of which no more than whether a value is NULL is known.
    Other,
}

/// How values of a type lie in vectors and compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Bool,
    /// 64-bit integers.
    Word,
    Float,
    /// Integers with a decimal scale.
    Numeric,
    Bytes,
}

impl Type {
    pub fn class(self) -> Class {
        match self {
            Type::Bool => Class::Bool,
            Type::Int2
            | Type::Int4
            | Type::Int8
            | Type::Oid
            | Type::Date
            | Type::Time
            | Type::Timestamp
            | Type::TimestampTz
            | Type::Other => Class::Word,
            Type::Float4 | Type::Float8 => Class::Float,
            Type::Numeric => Class::Numeric,
            Type::Text | Type::Bpchar | Type::Uuid => Class::Bytes,
        }
    }

    /// Returns the least and the greatest value of an integer type.
    pub fn range(self) -> Option<(i64, i64)> {
        Some(match self {
            Type::Int2 => (i16::MIN.into(), i16::MAX.into()),
            Type::Int4 => (i32::MIN.into(), i32::MAX.into()),
            Type::Int8 => (i64::MIN, i64::MAX),
            _ => return None,
        })
    }
}

/// Returns the bytes of a value that count in comparisons.
pub fn compared(of: Type, bytes: &[u8]) -> &[u8] {
    if of == Type::Bpchar { without_blanks(bytes) } else { bytes }
}

/// A value of one row: a constant, or what PostgreSQL computed for an odd row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Value {
    Null,
    /// A value of a type of class Bool or Word.
    Word(i64),
    /// The bits of a float8; float4 is widened.
    Float(u64),
    Numeric(Numeric),
    Bytes(Vec<u8>),
}

impl Value {
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }
}
