//! Column types: the kinds of values that are exported, and the shapes that only the data determine.
//!
//! Pure: no PostgreSQL, no I/O. Every process of an export builds the same `Field`s from the catalogs.

use std::fmt;

use serde::{Deserialize, Serialize};

pub mod arrow;
mod shape;
mod vector;
pub use shape::{Shape, Shapes};
pub use vector::Vector;

/// An exported column, a field of a composite, or the element of an array.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Field {
    pub name: String,
    /// The name of the type, as `format_type` returns it, for the file's metadata.
    pub pg_type: String,
    /// False only for a top-level column that is NOT NULL.
    pub nullable: bool,
    pub kind: Kind,
}

/// How a value is written to the file.
///
/// A kind does not say where the bytes come from; a cell's [`Repr`] does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Kind {
    Bool,
    Int2,
    Int4,
    Int8,
    /// Unsigned 32 bits.
    Oid,
    Float4,
    Float8,
    /// numeric(p,s) with 1 <= p <= 38 and 0 <= s <= p. PostgreSQL's negative and large scales have been converted to
    /// that range.
    Decimal {
        precision: u8,
        scale: u8,
    },
    /// numeric without precision, which the data determine: see `Shapes`.
    Numeric {
        shape_index: usize,
    },
    /// A date: days since 2000-01-01 in the cell, since 1970-01-01 in the file.
    Date,
    /// A time: microseconds since midnight, less than a day.
    Time,
    /// A timestamp: microseconds since 2000-01-01 in the cell, since 1970-01-01 in the file.
    Timestamp,
    TimestampTz,
    Uuid,
    /// The cell is the UTF-8 text itself (text, varchar, bpchar, name, "char", enum labels, and the
    /// text output of every type that has no kind of its own).
    Text,
    /// Like `Text`, but marked as JSON in the file.
    Json,
    Bytea,
    /// An array, whose number of dimensions is in `Shapes`. The cell holds `array_send`'s bytes.
    List {
        shape_index: usize,
        element: Box<Field>,
    },
    /// A composite. The cell holds `record_send`'s bytes.
    Struct {
        fields: Vec<Field>,
    },
}

/// Parquet's physical type of a kind that is not nested, which also selects the vector of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Physical {
    Bool,
    I32,
    I64,
    F32,
    F64,
    /// 16 bytes, big-endian: uuid, and decimals of 19 to 38 digits.
    Fixed16,
    Bytes,
}

impl Kind {
    /// Returns the physical type under `shapes`; `None` for a nested column.
    pub fn physical(&self, shapes: &Shapes) -> Option<Physical> {
        Some(match self {
            Kind::Bool => Physical::Bool,
            Kind::Int2 | Kind::Int4 | Kind::Oid | Kind::Date => Physical::I32,
            Kind::Int8 | Kind::Time | Kind::Timestamp | Kind::TimestampTz => Physical::I64,
            Kind::Float4 => Physical::F32,
            Kind::Float8 => Physical::F64,
            Kind::Decimal { precision, .. } => decimal_physical(u32::from(*precision)),
            Kind::Numeric { shape_index } => match shapes.get(*shape_index).decimal() {
                Some((precision, _)) => decimal_physical(u32::from(precision)),
                None => Physical::Bytes,
            },
            Kind::Uuid => Physical::Fixed16,
            Kind::Text | Kind::Json | Kind::Bytea => Physical::Bytes,
            Kind::List { .. } | Kind::Struct { .. } if self.nested_as_text(shapes) => Physical::Bytes,
            Kind::List { .. } | Kind::Struct { .. } => return None,
        })
    }

    /// Returns whether a nested kind is written as the text of its output function. If any array in it is not a list
    /// of lists, the whole column is text, since only the server can render what is inside.
    pub fn nested_as_text(&self, shapes: &Shapes) -> bool {
        match self {
            Kind::List { shape_index, element } => {
                shapes.get(*shape_index).dimensions().is_none() || element.kind.nested_as_text(shapes)
            }
            Kind::Struct { fields } => fields.iter().any(|field| field.kind.nested_as_text(shapes)),
            _ => false,
        }
    }

    /// Returns whether data can make this nested kind text, as an array with another lower bound than 1 does. Text
    /// can represent values that no other type of the file can.
    pub fn may_become_text(&self) -> bool {
        match self {
            Kind::List { .. } => true,
            Kind::Struct { fields } => fields.iter().any(|field| field.kind.may_become_text()),
            _ => false,
        }
    }
}

/// Returns the narrowest physical type for a decimal of `precision` digits (Parquet's LogicalTypes.md, DECIMAL).
pub fn decimal_physical(precision: u32) -> Physical {
    match precision {
        0..=9 => Physical::I32,
        10..=18 => Physical::I64,
        _ => Physical::Fixed16,
    }
}

/// The representation of a cell's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repr {
    /// The heap's: fixed-width values in native order, varlena payload without its header.
    Heap,
    /// That of COPY BINARY: the send function's bytes in network order, without the length word.
    Wire,
}

/// The place of a value in its batch's arena. Nested kinds are `Repr::Wire` in both kinds of scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Cell {
    pub pos: u32,
    len: u32,
}

impl Default for Cell {
    fn default() -> Cell {
        Cell::NULL
    }
}

impl Cell {
    pub const NULL: Cell = Cell { pos: 0, len: u32::MAX };

    /// Creates a cell. PostgreSQL's values are shorter than 1 GiB, so `len` is never the NULL mark.
    #[inline]
    pub const fn new(pos: usize, len: usize) -> Cell {
        debug_assert!(pos <= u32::MAX as usize && len < u32::MAX as usize);
        Cell { pos: pos as u32, len: len as u32 }
    }

    /// Returns the length of the value; 0 for NULL.
    pub fn len(self) -> usize {
        if self.is_null() { 0 } else { self.len as usize }
    }

    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    #[inline]
    pub fn is_null(self) -> bool {
        self.len == u32::MAX
    }

    /// Returns the bytes of a value that is not NULL.
    #[inline]
    pub fn of(self, arena: &[u8]) -> &[u8] {
        &arena[self.pos as usize..self.pos as usize + self.len as usize]
    }

    #[inline]
    pub fn bytes(self, arena: &[u8]) -> Option<&[u8]> {
        if self.is_null() { None } else { Some(self.of(arena)) }
    }
}

/// A flat column of one batch, which decode produces and encode consumes.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Lane {
    /// A byte for each row, 1 if it has a value; empty if every row has one.
    pub valid: Vec<u8>,
    /// The values that are not NULL, without gaps.
    pub values: Values,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    Bool(Vec<bool>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    Fixed16(Vec<[u8; 16]>),
    /// Cells into the batch's arena.
    Bytes(Vec<Cell>),
}

impl Default for Values {
    fn default() -> Self {
        Values::Bool(Vec::new())
    }
}

impl Values {
    pub fn new(physical: Physical) -> Values {
        match physical {
            Physical::Bool => Values::Bool(Vec::new()),
            Physical::I32 => Values::I32(Vec::new()),
            Physical::I64 => Values::I64(Vec::new()),
            Physical::F32 => Values::F32(Vec::new()),
            Physical::F64 => Values::F64(Vec::new()),
            Physical::Fixed16 => Values::Fixed16(Vec::new()),
            Physical::Bytes => Values::Bytes(Vec::new()),
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Values::Bool(v) => v.len(),
            Values::I32(v) => v.len(),
            Values::I64(v) => v.len(),
            Values::F32(v) => v.len(),
            Values::F64(v) => v.len(),
            Values::Fixed16(v) => v.len(),
            Values::Bytes(v) => v.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The reason why a value was refused, and its row in the batch.
#[derive(Debug, Clone, PartialEq)]
pub struct ValueError {
    pub row: usize,
    pub reason: Reason,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Reason {
    /// The value needs a wider shape than the one in force: widen it and start again.
    Misfit {
        shape_index: usize,
        needs: Shape,
    },
    NumericNan,
    NumericInfinity,
    InfiniteDate,
    InfiniteTimestamp,
    /// time '24:00:00'; the file's times are below 24 hours.
    EndOfDay,
    /// The value is outside the range of the file's type, such as a timestamp whose 1970-based value overflows.
    OutOfRange,
    InvalidUtf8,
    /// The bytes are not those that PostgreSQL writes.
    Malformed(&'static str),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Misfit { .. } => "value needs a wider type",
            Reason::NumericNan => "numeric NaN has no decimal representation",
            Reason::NumericInfinity => "numeric infinity has no decimal representation",
            Reason::InfiniteDate => "infinite date has no representation in the file",
            Reason::InfiniteTimestamp => "infinite timestamp has no representation in the file",
            Reason::EndOfDay => "time 24:00:00 has no representation in the file",
            Reason::OutOfRange => "value is out of the file type's range",
            Reason::InvalidUtf8 => "text is not valid UTF-8",
            Reason::Malformed(what) => what,
        })
    }
}
