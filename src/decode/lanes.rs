//! Decodes flat columns: cells into lanes.

use super::{boolean, date, native, time, timestamp};
use crate::types::{
    Cell, Kind, Lane, Physical, Reason, Repr, Shape, Shapes, ValueError, Values, Vector, decimal_physical,
};
use crate::wire::numeric::{Num, Numeric, pow10};
use crate::wire::short_numeric::ShortNumeric;

/// Decodes one flat column of a batch, into the lane's own buffers.
///
/// A numeric that no decimal can represent becomes text, which is appended to the arena. A `Misfit` has the shape
/// that the rest of the batch needs as well, so that one restart suffices for all of it.
pub fn decode_lane(
    kind: &Kind,
    repr: Repr,
    shapes: &Shapes,
    cells: &[Cell],
    arena: &mut Vec<u8>,
    lane: &mut Lane,
) -> Result<(), ValueError> {
    let Some(physical) = kind.physical(shapes) else {
        return Err(ValueError { row: 0, reason: Reason::Malformed("a nested column has no lane") });
    };
    mark_valid(cells, &mut lane.valid);
    let decimal = Decimal::of(kind, shapes);
    if matches!(kind, Kind::Numeric { .. }) && decimal.is_none() {
        return decode_numeric_text(repr, cells, arena, Cell::emptied(&mut lane.values));
    }
    let batch = Batch { cells, arena, wire: repr == Repr::Wire };
    match decimal {
        Some(decimal) if batch.wire => decode_decimal::<true>(&batch, decimal, &mut lane.values),
        Some(decimal) => decode_decimal::<false>(&batch, decimal, &mut lane.values),
        None => decode_plain(kind, physical, &batch, &mut lane.values),
    }
}

struct Batch<'a> {
    cells: &'a [Cell],
    arena: &'a [u8],
    wire: bool,
}

/// Sets `valid`, which stays empty if there is no NULL.
fn mark_valid(cells: &[Cell], valid: &mut Vec<u8>) {
    valid.clear();
    if cells.iter().any(|cell| cell.is_null()) {
        valid.extend(cells.iter().map(|cell| u8::from(!cell.is_null())));
    }
}

/// Fills the lane with the result of `read` for each value's bytes.
#[inline]
fn fill<T: Vector>(
    batch: &Batch,
    values: &mut Values,
    read: impl Fn(&[u8]) -> Result<T, Reason>,
) -> Result<(), ValueError> {
    fill_cells(batch, values, |cell| read(cell.of(batch.arena)))
}

/// Fills the lane with the result of `read` for each cell that is not NULL.
#[inline]
fn fill_cells<T: Vector>(
    batch: &Batch,
    values: &mut Values,
    read: impl Fn(Cell) -> Result<T, Reason>,
) -> Result<(), ValueError> {
    let out = T::emptied(values);
    // The values are written into a vector of full length, since each push would check for room.
    out.resize(batch.cells.len(), T::default());
    let mut places = out.iter_mut();
    for (row, cell) in batch.cells.iter().enumerate() {
        if !cell.is_null() {
            let value = read(*cell).map_err(|reason| ValueError { row, reason })?;
            if let Some(place) = places.next() {
                *place = value;
            }
        }
    }
    let filled = batch.cells.len() - places.len();
    out.truncate(filled);
    Ok(())
}

/// Fills the lane with values of `N` bytes, which `read` gets in little-endian order.
#[inline]
fn fixed<T: Vector, const N: usize>(
    batch: &Batch,
    values: &mut Values,
    read: impl Fn([u8; N]) -> Result<T, Reason>,
) -> Result<(), ValueError> {
    // There are two loops, so that the byte order is constant in each.
    if batch.wire {
        fill(batch, values, |bytes| read(native(bytes, true)?))
    } else {
        fill(batch, values, |bytes| read(native(bytes, false)?))
    }
}

/// Decodes the flat kinds other than decimals.
fn decode_plain(
    kind: &Kind,
    physical: Physical,
    batch: &Batch,
    values: &mut Values,
) -> Result<(), ValueError> {
    match kind {
        Kind::Bool => fixed(batch, values, boolean),
        Kind::Int2 => fixed(batch, values, |bytes| Ok(i32::from(i16::from_le_bytes(bytes)))),
        // The 32 bits of an oid are kept; the file's type says that they are unsigned.
        Kind::Int4 | Kind::Oid => fixed(batch, values, |bytes| Ok(i32::from_le_bytes(bytes))),
        Kind::Int8 => fixed(batch, values, |bytes| Ok(i64::from_le_bytes(bytes))),
        Kind::Time => fixed(batch, values, |bytes| time(i64::from_le_bytes(bytes))),
        Kind::Float4 => fixed(batch, values, |bytes| Ok(f32::from_le_bytes(bytes))),
        Kind::Float8 => fixed(batch, values, |bytes| Ok(f64::from_le_bytes(bytes))),
        Kind::Date => fixed(batch, values, |bytes| date(i32::from_le_bytes(bytes))),
        Kind::Timestamp | Kind::TimestampTz => {
            fixed(batch, values, |bytes| timestamp(i64::from_le_bytes(bytes)))
        }
        Kind::Uuid => fill::<[u8; 16]>(batch, values, |bytes| native(bytes, false)),
        _ => {
            debug_assert_eq!(physical, Physical::Bytes);
            Cell::emptied(values).extend(batch.cells.iter().filter(|cell| !cell.is_null()));
            Ok(())
        }
    }
}

/// A decimal as the file declares it. If it has a shape, its precision and scale are those of the data so far.
#[derive(Clone, Copy)]
pub(super) struct Decimal {
    pub(super) precision: u8,
    pub(super) scale: u8,
    /// Values are below 10 to the power `digits`, which is the precision, or 0 while only zeros have been seen.
    digits: u8,
    shape_index: Option<usize>,
}

impl Decimal {
    /// Returns the decimal of a kind; `None` for other kinds, and for numerics that no decimal can represent.
    pub(super) fn of(kind: &Kind, shapes: &Shapes) -> Option<Decimal> {
        match *kind {
            Kind::Decimal { precision, scale } => {
                Some(Decimal { precision, scale, digits: precision, shape_index: None })
            }
            Kind::Numeric { shape_index } => {
                let shape = shapes.get(shape_index);
                let (precision, scale) = shape.decimal()?;
                let digits = if shape.whole + shape.scale == 0 { 0 } else { precision };
                Some(Decimal { precision, scale, digits, shape_index: Some(shape_index) })
            }
            _ => None,
        }
    }

    /// Returns the decimal for values below 10 to the power `precision` and of at most this display scale.
    pub(super) fn exact(precision: u8, scale: u8) -> Decimal {
        Decimal { precision, scale, digits: precision, shape_index: Some(0) }
    }

    /// Returns the unscaled value of a numeric, if the decimal can represent it.
    pub(super) fn unscaled<const WIRE: bool>(&self, bytes: &[u8]) -> Result<i128, Reason> {
        let limit = pow10(u32::from(self.digits)).ok_or(Reason::OutOfRange)?;
        let num = Numeric::<WIRE>::read(bytes)?.finite()?;
        match num.to_i128_at(self.scale) {
            Some(value) if value.abs() < limit && num.dscale() <= self.max_dscale() => Ok(value),
            _ => Err(self.refusal(&num)),
        }
    }

    /// Returns the largest display scale that the file keeps. A declared scale is known from its declaration.
    fn max_dscale(&self) -> u16 {
        if self.shape_index.is_some() { u16::from(self.scale) } else { u16::MAX }
    }

    /// Returns why `num` is refused. A misfit's shape is never covered by the one in force, since a restart would
    /// then end here again; see `Num::shape`.
    #[cold]
    fn refusal<const WIRE: bool>(&self, num: &Num<'_, WIRE>) -> Reason {
        match (num.check(), self.shape_index) {
            (Err(malformed), _) => malformed,
            (Ok(()), Some(shape_index)) => Reason::Misfit { shape_index, needs: num.shape() },
            (Ok(()), None) => Reason::OutOfRange,
        }
    }
}

/// Reads the most common numerics fast, for decimals of up to 18 digits.
struct Narrow<'a, const WIRE: bool> {
    arena: &'a [u8],
    decimal: Decimal,
    max_dscale: u16,
    /// The limit that values are below. It is below 2^63.
    limit: u64,
    /// The scale in groups of four digits, rounded up. A scale between two groups is reached by an exact division.
    groups: i32,
}

impl<const WIRE: bool> Narrow<'_, WIRE> {
    fn new(arena: &[u8], decimal: Decimal) -> Narrow<'_, WIRE> {
        let limit = 10u64.checked_pow(u32::from(decimal.digits)).unwrap_or(u64::MAX);
        let groups = (i32::from(decimal.scale) + 3) / 4;
        Narrow { arena, decimal, max_dscale: decimal.max_dscale(), limit, groups }
    }

    // If this were not inlined into each loop, constants would be read again for every cell.
    #[inline(always)]
    fn read(&self, cell: Cell) -> Result<i64, Reason> {
        let read = if WIRE { ShortNumeric::read_wire } else { ShortNumeric::read };
        let found = read(self.arena, cell);
        let value = found.filter(|num| num.dscale <= self.max_dscale).and_then(|num| num.at(self.groups));
        let value = match 4 * self.groups - i32::from(self.decimal.scale) {
            0 => value,
            1 => value.filter(|value| value % 10 == 0).map(|value| value / 10),
            2 => value.filter(|value| value % 100 == 0).map(|value| value / 100),
            _ => value.filter(|value| value % 1000 == 0).map(|value| value / 1000),
        };
        match value {
            Some(value) if value.unsigned_abs() < self.limit => Ok(value),
            _ => self.read_any(cell),
        }
    }

    #[inline(never)]
    fn read_any(&self, cell: Cell) -> Result<i64, Reason> {
        // The value is below 10^18, given the physical type.
        self.decimal.unscaled::<WIRE>(cell.of(self.arena)).map(|value| value as i64)
    }
}

fn decode_decimal<const WIRE: bool>(
    batch: &Batch,
    decimal: Decimal,
    values: &mut Values,
) -> Result<(), ValueError> {
    let narrow = Narrow::<WIRE>::new(batch.arena, decimal);
    let filled = match decimal_physical(u32::from(decimal.precision)) {
        Physical::I32 => fill_cells(batch, values, |cell| narrow.read(cell).map(|value| value as i32)),
        Physical::I64 => fill_cells(batch, values, |cell| narrow.read(cell)),
        _ => fill(batch, values, |bytes| Ok(decimal.unscaled::<WIRE>(bytes)?.to_be_bytes())),
    };
    filled.map_err(|error| match error.reason {
        Reason::Misfit { shape_index, needs } => {
            let needs = widened::<WIRE>(batch, error.row + 1, needs);
            ValueError { row: error.row, reason: Reason::Misfit { shape_index, needs } }
        }
        _ => error,
    })
}

/// Merges `needs` with the shapes of the values from row `from` on. A value that no shape helps is found again after
/// the restart.
fn widened<const WIRE: bool>(batch: &Batch, from: usize, needs: Shape) -> Shape {
    batch.cells[from..]
        .iter()
        .filter_map(|cell| cell.bytes(batch.arena))
        .filter_map(|bytes| Numeric::<WIRE>::read(bytes).and_then(Numeric::finite).ok())
        .filter(|num| num.check().is_ok())
        .fold(needs, |needs, num| needs.merge(num.shape()))
}

/// Decodes numerics into text. NaN and the infinities are refused, although text could represent them: whether an
/// export fails must not depend on the width of other values.
fn decode_numeric_text(
    repr: Repr,
    cells: &[Cell],
    arena: &mut Vec<u8>,
    out: &mut Vec<Cell>,
) -> Result<(), ValueError> {
    let base = arena.len();
    let mut text = Vec::new();
    for (row, cell) in cells.iter().enumerate() {
        let Some(bytes) = cell.bytes(arena) else {
            continue;
        };
        let start = text.len();
        match repr {
            Repr::Heap => {
                Numeric::<false>::read(bytes).and_then(Numeric::finite).and_then(|n| n.write_text(&mut text))
            }
            Repr::Wire => {
                Numeric::<true>::read(bytes).and_then(Numeric::finite).and_then(|n| n.write_text(&mut text))
            }
        }
        .map_err(|reason| ValueError { row, reason })?;
        if base + text.len() > u32::MAX as usize {
            return Err(ValueError { row, reason: Reason::OutOfRange });
        }
        out.push(Cell::new(base + start, text.len() - start));
    }
    arena.extend_from_slice(&text);
    Ok(())
}

#[cfg(test)]
#[path = "lanes_tests.rs"]
mod tests;
