//! The least and the greatest value of a record batch's columns, as PG-Strom's arrow_fdw reads them:
//! `min_max_stats.<column>` in the message's custom metadata, its value `<min>,<max>`.
//!
//! A reader skips what the bounds exclude, so they may be wider than the values but never narrower. Numbers are
//! exact. Texts are truncated where the reader truncates them, and a truncated maximum is raised.

use arrow::array::types::DecimalType;
use arrow::datatypes::{DataType, Decimal128Type};

use super::super::bytes_dict::head;
use super::super::stats::{cut, extremes, increment_text};
use crate::types::arrow::arrow_type;
use crate::types::{Cell, Kind, Shapes, Values};

/// The prefix of the keys in the metadata.
pub const KEY: &str = "min_max_stats.";

/// The longest text. arrow_fdw keeps this many bytes (MINMAX_STAT_BYTESZ less the length byte), and would truncate a
/// longer maximum to one that is too small.
const TEXT_BYTES: usize = 31;

/// Returns whether a column of this kind has bounds: the order of its type in the file must be that of PostgreSQL's
/// type.
pub fn has_bounds(kind: &Kind) -> bool {
    !matches!(kind, Kind::Uuid | Kind::Json | Kind::Bytea | Kind::List { .. } | Kind::Struct { .. })
}

/// The bounds of the values of one column since it was last cleared.
pub struct ColumnBounds {
    data_type: DataType,
    range: Range,
}

enum Range {
    Empty,
    /// Also dates and times in their units, booleans as 0 and 1, decimals unscaled.
    Integers(i128, i128),
    Floats(f64, f64),
    Texts(Vec<u8>, Vec<u8>),
    /// The values include a NaN, which PostgreSQL sorts above all numbers and other readers do not, so that no bounds
    /// suit all.
    Unknown,
}

impl Range {
    fn widen(&mut self, other: Range) {
        use Range::*;
        let mine = std::mem::replace(self, Empty);
        *self = match (mine, other) {
            (Empty, range) | (range, Empty) => range,
            (Integers(a, b), Integers(c, d)) => Integers(a.min(c), b.max(d)),
            (Floats(a, b), Floats(c, d)) => Floats(a.min(c), b.max(d)),
            (Texts(a, b), Texts(c, d)) => Texts(a.min(c), b.max(d)),
            _ => Unknown,
        };
    }
}

impl ColumnBounds {
    /// Creates empty bounds for a kind for which `has_bounds` holds.
    pub fn new(kind: &Kind, shapes: &Shapes) -> ColumnBounds {
        ColumnBounds { data_type: arrow_type(kind, shapes), range: Range::Empty }
    }

    pub fn clear(&mut self) {
        self.range = Range::Empty;
    }

    pub fn add(&mut self, values: &Values, arena: &[u8]) {
        self.range.widen(match values {
            Values::Bool(v) => integers(v.iter().copied()),
            Values::I32(v) if self.data_type == DataType::UInt32 => integers(v.iter().map(|&v| v as u32)),
            Values::I32(v) => integers(v.iter().copied()),
            Values::I64(v) => integers(v.iter().copied()),
            Values::F32(v) => floats(v.iter().copied().map(f64::from)),
            Values::F64(v) => floats(v.iter().copied()),
            Values::Fixed16(v) => integers(v.iter().copied().map(i128::from_be_bytes)),
            Values::Bytes(cells) if cells.is_empty() => Range::Empty,
            Values::Bytes(cells) if cells.iter().all(|cell| cell.len() < 16) => short_texts(cells, arena),
            Values::Bytes(cells) => match extremes(cells.iter().map(|&cell| (cell, arena))) {
                Some((min, max)) => Range::Texts(beginning(min), beginning(max)),
                None => Range::Empty,
            },
        });
    }

    /// Returns the largest magnitude of integers.
    pub fn magnitude(&self) -> u128 {
        match self.range {
            Range::Integers(min, max) => min.unsigned_abs().max(max.unsigned_abs()),
            _ => 0,
        }
    }

    /// Returns `<min>,<max>`; `None` if nothing is known of the values. The first comma is the separator.
    pub fn text(&self) -> Option<String> {
        let (min, max) = match &self.range {
            Range::Empty | Range::Unknown => return None,
            Range::Integers(min, max) => (self.number(*min), self.number(*max)),
            // The shortest text that is read back as the same double; floats are read as doubles too.
            Range::Floats(min, max) => (format!("{min:?}"), format!("{max:?}")),
            Range::Texts(min, max) => (least(min)?, greatest(max)?),
        };
        Some(format!("{min},{max}"))
    }

    fn number(&self, value: i128) -> String {
        match self.data_type {
            DataType::Decimal128(precision, scale) => Decimal128Type::format_decimal(value, precision, scale),
            _ => value.to_string(),
        }
    }
}

fn integers<T: Ord + Copy + Into<i128>>(values: impl Iterator<Item = T> + Clone) -> Range {
    match (values.clone().min(), values.max()) {
        (Some(min), Some(max)) => Range::Integers(min.into(), max.into()),
        _ => Range::Empty,
    }
}

/// Returns the bounds of one or more strings of up to 15 bytes. Each is compared as a number: its bytes, zeros after
/// the end, and its length last, which distinguishes trailing zeros. There is no branch, whereas `extremes` compares
/// every string that equals a bound, which is often in a column of few distinct values.
fn short_texts(cells: &[Cell], arena: &[u8]) -> Range {
    let ranks = cells.iter().map(|&cell| head(cell, arena).0.swap_bytes() | cell.len() as u128);
    let (min, max) = ranks.fold((u128::MAX, 0), |(min, max), rank| (rank.min(min), rank.max(max)));
    let text = |rank: u128| rank.to_be_bytes()[..rank as usize & 0xF].to_vec();
    Range::Texts(text(min), text(max))
}

/// Returns the part of a text, which may be large, that is looked at: what is kept, and a character after it.
fn beginning(text: &[u8]) -> Vec<u8> {
    text[..text.len().min(2 * TEXT_BYTES)].to_vec()
}

fn floats(values: impl Iterator<Item = f64>) -> Range {
    let (mut min, mut max, mut any, mut nan) = (f64::INFINITY, f64::NEG_INFINITY, false, false);
    for value in values {
        any = true;
        nan |= value.is_nan();
        min = if value < min { value } else { min };
        max = if value > max { value } else { max };
    }
    match (any, nan) {
        (_, true) => Range::Unknown,
        (true, _) => Range::Floats(min, max),
        (false, _) => Range::Empty,
    }
}

/// Returns a lower bound without a comma: what precedes the first comma sorts before the whole.
fn least(min: &[u8]) -> Option<String> {
    let until = min.iter().position(|&byte| byte == b',').unwrap_or(min.len());
    String::from_utf8(cut(&min[..until], TEXT_BYTES, true).to_vec()).ok()
}

fn greatest(max: &[u8]) -> Option<String> {
    let kept = cut(max, TEXT_BYTES, true);
    let kept_text = std::str::from_utf8(kept).ok()?;
    let bytes = if kept.len() < max.len() { increment_text(kept_text)? } else { kept.to_vec() };
    String::from_utf8(bytes).ok()
}
