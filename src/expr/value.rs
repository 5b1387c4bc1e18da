//! Types and constants.

use super::numeric::Numeric;
use super::range::float_key;

/// A type whose values are compared here: how they lie in a column, and which order they have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Bool,
    /// smallint, integer, bigint: words with a sign.
    Integer,
    Oid,
    /// Days since 2000.
    Date,
    /// Microseconds of the day.
    Time,
    /// Microseconds since 2000, with a time zone or without.
    Timestamp,
    Float4,
    Float8,
    Numeric,
    /// Texts that compare by their bytes.
    Text,
    /// char(n): as texts, but blanks at the end do not count.
    Bpchar,
    Bytea,
    Uuid,
}

/// A value that is not NULL. Those of one type are ordered as PostgreSQL orders them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scalar {
    /// A value of a type that compares as an integer.
    Integer(i64),
    /// The `float_key` of a float.
    Float(i64),
    Numeric(Numeric),
    /// A value of text, char(n), bytea or uuid.
    Bytes(Box<[u8]>),
}

impl Scalar {
    pub fn float(value: f64) -> Scalar {
        Scalar::Float(float_key(value))
    }

    /// Returns the value of a text, without the blanks that do not count.
    pub fn bytes(of: Type, bytes: &[u8]) -> Scalar {
        Scalar::Bytes(if of == Type::Bpchar { without_blanks(bytes) } else { bytes }.into())
    }

    /// Returns the bytes of a text; none of other values.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Scalar::Bytes(bytes) => bytes,
            _ => &[],
        }
    }
}

pub fn without_blanks(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.iter().rposition(|&byte| byte != b' ').map_or(0, |last| last + 1)]
}

/// A constant that a column is compared with.
#[derive(Clone, Debug, PartialEq)]
pub enum Constant {
    Null,
    One(Scalar),
    /// The elements of an array that are not NULL, in order, and whether it has others.
    List(Vec<Scalar>, bool),
}

impl Constant {
    pub fn list(elements: impl IntoIterator<Item = Option<Scalar>>) -> Constant {
        let mut values = Vec::new();
        let mut has_null = false;
        for element in elements {
            match element {
                Some(value) => values.push(value),
                None => has_null = true,
            }
        }
        values.sort_unstable();
        Constant::List(values, has_null)
    }

    /// Returns the values that are not NULL, in order.
    pub fn values(&self) -> &[Scalar] {
        match self {
            Constant::Null => &[],
            Constant::One(value) => std::slice::from_ref(value),
            Constant::List(values, _) => values,
        }
    }
}
