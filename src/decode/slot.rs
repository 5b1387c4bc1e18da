//! Decodes a whole slot on the CPU. It makes the bytes that the kernels must make, and does the fake device's work.
//!
//! Pure; any thread may call it. `wire` finds the cells, as for a batch, and the functions that decode lanes decode
//! the values. The code here goes on where those functions stop, value by value, and lays out the columns as
//! `slot::layout` says.

use super::lanes::Decimal;
use super::{boolean, date, native, time, timestamp};
use crate::slot::input::Input;
use crate::slot::layout::{
    ALIGN, Attr, BLOCK, Code, NO_COLUMN, Op, OutColumn, OutHeader, STATUSES, STRIP_VERSION, Status,
    WANT_COLUMNS, align, columns_start, lay_out, put, statuses_at,
};
use crate::types::{Cell, Reason};
use crate::wire::copy_binary;
use crate::wire::deform::deform;
use crate::wire::tuple::{self, Fixup, FixupKind, Take, TupleLayout, TupleRef};

/// Rows that are walked together. If one is malformed, these are walked one by one.
const CHUNK: usize = 1024;
/// A value that has a status, or that follows the place where its row's walk stopped. It is valid and zero.
const BLANK: Cell = Cell::new(u32::MAX as usize, 0);

/// Decodes the input region into the output region, as `slot::layout` says.
///
/// Fails if the input is invalid or the output too small; the content of the output is then undefined.
pub fn decode_slot(input: &[u8], output: &mut [u8]) -> Result<(), String> {
    let input = Input::new(input)?;
    let mut found = if input.is_heap() { Found::of_pages(&input)? } else { Found::of_rows(&input) };
    let (mut columns, mut end) = lay_out(input.rows(), input.ops());
    for attr in input.attrs() {
        let Some(place) = columns.get_mut(attr.column as usize) else { continue };
        place.nulls = found.nulls(attr.column);
        if op(attr).width().is_none() {
            place.bytes = found.varlena(attr)?;
        }
    }
    for (place, op) in columns.iter_mut().zip(input.ops()) {
        match op {
            Op::Skip => place.nulls = input.rows() as u32,
            op if op.width().is_none() => {
                place.bytes_at = end as u32;
                end = align(end + place.bytes as usize, ALIGN);
            }
            _ => (),
        }
    }
    let wanted = input.header().flags & WANT_COLUMNS != 0;
    let start = columns_start(columns.len());
    let used = if wanted { end } else { start };
    if used > output.len() || u32::try_from(end).is_err() {
        return Err(format!("{} rows make {end} bytes, for which {} are there", input.rows(), output.len()));
    }
    output[..used].fill(0);
    for attr in input.attrs().iter().filter(|attr| attr.column != NO_COLUMN) {
        found.write(attr, !input.is_heap(), &columns[attr.column as usize], wanted.then_some(&mut *output));
    }
    found.statuses.sort_unstable_by_key(|status| (status.row, status.column));
    let header = OutHeader {
        rows: input.rows() as u32,
        columns: columns.len() as u32,
        statuses: found.statuses.len() as u32,
        bytes: end as u32,
    };
    write_head(output, header, &columns, &found.statuses).ok_or_else(|| "no room for the head".into())
}

/// Returns the cells of each column of a heap slot, and what they lie in.
#[cfg(any(test, feature = "testing"))]
pub fn heap_cells(input: &Input) -> Result<(Vec<u8>, Vec<Vec<Cell>>), String> {
    let Found { arena, cells, .. } = Found::of_pages(input)?;
    Ok((arena, cells))
}

fn write_head(
    output: &mut [u8],
    header: OutHeader,
    columns: &[OutColumn],
    statuses: &[Status],
) -> Option<()> {
    let columns_at = size_of::<OutHeader>();
    let mut done = put(output, 0, header);
    for (number, column) in columns.iter().enumerate() {
        done &= put(output, columns_at + number * size_of::<OutColumn>(), *column);
    }
    let at = statuses_at(columns.len());
    for (number, status) in statuses.iter().take(STATUSES).enumerate() {
        done &= put(output, at + number * size_of::<Status>(), *status);
    }
    done.then_some(())
}

/// Returns the operation of an attribute, which `Input` has checked.
fn op(attr: &Attr) -> Op {
    Op::try_from(attr.op).unwrap_or(Op::Skip)
}

/// The places of the values.
struct Found {
    arena: Vec<u8>,
    cells: Vec<Vec<Cell>>,
    statuses: Vec<Status>,
}

impl Found {
    fn new(input: &Input) -> Found {
        let cells = vec![Vec::with_capacity(input.rows()); input.columns()];
        Found { arena: input.data().to_vec(), cells, statuses: Vec::new() }
    }

    fn status(&mut self, row: usize, column: u32, code: Code) {
        self.statuses.push(Status { row: row as u32, column, code: code as u32 });
    }

    /// Walks the tuples of heap pages.
    fn of_pages(input: &Input) -> Result<Found, String> {
        let mut found = Found::new(input);
        let attrs: Vec<tuple::Attr> = input.attrs().iter().map(|attr| walked(input, attr)).collect();
        let layout = TupleLayout::new(attrs.clone(), input.columns());
        let tuples: Vec<Option<TupleRef>> = (0..input.pages())
            .flat_map(|page| input.tuples(page, page * BLOCK).map(|(_, tuple)| tuple))
            .collect();
        if tuples.len() != input.rows() {
            return Err("the pages' rows are not the slot's".into());
        }
        let (mut cells, mut fixups, mut first) = (Vec::new(), Vec::new(), 0);
        for chunk in tuples.chunks(CHUNK) {
            fixups.clear();
            let whole: Option<Vec<TupleRef>> = chunk.iter().copied().collect();
            let walked =
                whole.map(|tuples| deform(&mut found.arena, &tuples, &layout, &mut cells, &mut fixups));
            if let Some(Ok(())) = walked {
                found.take(first, &cells, &fixups, input);
            } else {
                for (row, tuple) in chunk.iter().enumerate() {
                    found.take_tuple(first + row, *tuple, &attrs, input);
                }
            }
            first += chunk.len();
        }
        Ok(found)
    }

    /// Appends the cells of rows from `first` on. Those that only a server can resolve get a status.
    fn take(&mut self, first: usize, cells: &[Vec<Cell>], fixups: &[Fixup], input: &Input) {
        for (column, cells) in self.cells.iter_mut().zip(cells) {
            column.extend_from_slice(cells);
        }
        for fixup in fixups {
            let (row, column) = (first + fixup.row as usize, fixup.column as usize);
            // Only the server can render this one.
            if input.ops()[column] == Op::NumericText {
                continue;
            }
            self.cells[column][row] = BLANK;
            let code = match fixup.kind {
                FixupKind::Compressed => Code::Compressed,
                FixupKind::External => Code::External,
                FixupKind::Plain => Code::Char,
            };
            self.status(row, fixup.column, code);
        }
    }

    /// Takes what can be walked of a tuple that may be malformed.
    fn take_tuple(&mut self, row: usize, tuple: Option<TupleRef>, attrs: &[tuple::Attr], input: &Input) {
        // The attributes that have a column. The longest walk that succeeds tells how many of them can be reached.
        let taken: Vec<usize> = (0..attrs.len()).filter(|&number| attrs[number].take != Take::Skip).collect();
        let arena = &mut self.arena;
        let before = arena.len();
        let mut walk = |count: usize| {
            arena.truncate(before);
            let upto = count.checked_sub(1).map_or(0, |last| taken[last] + 1);
            let layout = TupleLayout::new(attrs[..upto].to_vec(), input.columns());
            let (mut cells, mut fixups) = (Vec::new(), Vec::new());
            deform(arena, &[tuple?], &layout, &mut cells, &mut fixups).ok()?;
            Some((cells, fixups))
        };
        let (mut reached, mut failed) = (0, taken.len() + 1);
        while failed - reached > 1 {
            let half = reached + (failed - reached) / 2;
            match walk(half) {
                Some(_) => reached = half,
                None => failed = half,
            }
        }
        // A walk over no attributes fails if the header is malformed.
        let walked = walk(reached);
        let whole = reached == taken.len() && walked.is_some();
        let (mut cells, fixups) = walked.unwrap_or((vec![vec![Cell::NULL]; input.columns()], vec![]));
        for &number in &taken[reached..] {
            cells[input.attrs()[number].column as usize][0] = BLANK;
        }
        self.take(row, &cells, &fixups, input);
        if !whole {
            let column = taken.get(reached).map_or(NO_COLUMN, |&number| input.attrs()[number].column);
            self.status(row, column, Code::Malformed);
        }
    }

    /// Walks COPY BINARY rows.
    fn of_rows(input: &Input) -> Found {
        let mut found = Found::new(input);
        let offsets = input.offsets();
        // The version byte is checked with the value.
        let strip = vec![false; input.columns()];
        let mut cells = Vec::new();
        for first in (0..input.rows()).step_by(CHUNK) {
            let bounds = &offsets[first..(first + CHUNK).min(input.rows()) + 1];
            if copy_binary::read_rows(input.data(), bounds, &strip, &mut cells).is_ok() {
                found.take(first, &cells, &[], input);
                continue;
            }
            for (row, bounds) in bounds.windows(2).enumerate() {
                found.take_row(first + row, &input.data()[..bounds[1] as usize], bounds[0] as usize);
            }
        }
        found
    }

    /// Takes what can be walked of a row that may be malformed, from `start` to the end of `data`.
    fn take_row(&mut self, row: usize, data: &[u8], start: usize) {
        let columns = self.cells.len();
        let mut at = Some(start + 2).filter(|_| copy_binary::field_count(data, start) == Some(columns));
        let mut stopped = at.is_none().then_some(0);
        for column in 0..columns {
            let field = at.and_then(|at| copy_binary::field(data, at).ok());
            at = field.map(|(_, next)| next);
            self.cells[column].push(field.map_or(BLANK, |(cell, _)| cell));
            if field.is_none() && stopped.is_none() {
                stopped = Some(column);
            }
        }
        if stopped.is_some() || at != Some(data.len()) {
            let column = stopped.filter(|&column| column < columns).map_or(NO_COLUMN, |column| column as u32);
            self.status(row, column, Code::Malformed);
        }
    }

    fn nulls(&self, column: u32) -> u32 {
        self.cells[column as usize].iter().filter(|cell| cell.is_null()).count() as u32
    }

    /// Reduces the cells of a variable-length column to their final bytes, and returns the number of these.
    fn varlena(&mut self, attr: &Attr) -> Result<u32, String> {
        let mut cells = std::mem::take(&mut self.cells[attr.column as usize]);
        let mut bytes = 0usize;
        for (row, cell) in cells.iter_mut().enumerate().filter(|(_, cell)| !cell.is_null() && **cell != BLANK)
        {
            let left = if op(attr) == Op::NumericText {
                Some(Code::Server)
            } else if attr.strip == STRIP_VERSION && cell.of(&self.arena).first() != Some(&1) {
                Some(Code::Malformed)
            } else {
                None
            };
            if let Some(code) = left {
                *cell = BLANK;
                self.status(row, attr.column, code);
            } else if attr.strip == STRIP_VERSION {
                *cell = Cell::new(cell.pos as usize + 1, cell.len() - 1);
            }
            bytes += cell.len();
        }
        self.cells[attr.column as usize] = cells;
        let limit = i32::try_from(bytes).map_err(|_| format!("column {}: {bytes} bytes", attr.column))?;
        Ok(limit as u32)
    }

    /// Writes a column's parts. Without an output it only finds the statuses.
    fn write(&mut self, attr: &Attr, wire: bool, place: &OutColumn, mut output: Option<&mut [u8]>) {
        let cells = std::mem::take(&mut self.cells[attr.column as usize]);
        let (values_at, mut end) = (place.values_at as usize, 0);
        let width = op(attr).width();
        let mut value = [0; 16];
        for (row, cell) in cells.iter().enumerate() {
            let blank = cell.is_null() || *cell == BLANK;
            let bytes = if blank { &[] } else { cell.of(&self.arena) };
            let mut made = 0;
            if let Some(width) = width.filter(|_| !blank) {
                match fixed_value(attr, wire, bytes, &mut value) {
                    Ok(()) => made = width.max(1),
                    Err(reason) => self.statuses.push(Status {
                        row: row as u32,
                        column: attr.column,
                        code: code(&reason) as u32,
                    }),
                }
            }
            let Some(output) = &mut output else { continue };
            if !cell.is_null() {
                output[place.valid_at as usize + row / 8] |= 1 << (row % 8);
            }
            let made = &value[..made];
            match width {
                // The values are a bitmap.
                Some(0) => output[values_at + row / 8] |= made.first().unwrap_or(&0) << (row % 8),
                Some(width) => output[values_at + row * width..][..made.len()].copy_from_slice(made),
                None => {
                    output[place.bytes_at as usize + end..][..bytes.len()].copy_from_slice(bytes);
                    end += bytes.len();
                    let place = values_at + 4 * (row + 1);
                    output[place..place + 4].copy_from_slice(&(end as i32).to_le_bytes());
                }
            }
        }
    }
}

/// Returns an attribute in the form of the walk.
fn walked(input: &Input, attr: &Attr) -> tuple::Attr {
    let column = attr.column as usize;
    let take = match op(attr) {
        Op::Skip => Take::Skip,
        Op::Name => Take::Name { column },
        Op::Char => Take::Char { column },
        _ if attr.len == -1 => Take::Varlena { column },
        _ => Take::Fixed { column },
    };
    tuple::Attr { len: attr.len, align: attr.align, take, missing: input.missing(attr).map(<[u8]>::to_vec) }
}

/// Writes a value of fixed width at the start of `out`.
fn fixed_value(attr: &Attr, wire: bool, bytes: &[u8], out: &mut [u8; 16]) -> Result<(), Reason> {
    let decimal = || {
        let decimal = Decimal::exact(attr.precision, attr.scale);
        if wire { decimal.unscaled::<true>(bytes) } else { decimal.unscaled::<false>(bytes) }
    };
    let mut write = |value: &[u8]| out[..value.len()].copy_from_slice(value);
    match op(attr) {
        Op::Bool => write(&[u8::from(boolean(native(bytes, wire)?)?)]),
        Op::Int2 => write(&i32::from(i16::from_le_bytes(native(bytes, wire)?)).to_le_bytes()),
        Op::Int4 => write(&native::<4>(bytes, wire)?),
        Op::Int8 => write(&native::<8>(bytes, wire)?),
        Op::Date => write(&date(i32::from_le_bytes(native(bytes, wire)?))?.to_le_bytes()),
        Op::Time => write(&time(i64::from_le_bytes(native(bytes, wire)?))?.to_le_bytes()),
        Op::Timestamp => write(&timestamp(i64::from_le_bytes(native(bytes, wire)?))?.to_le_bytes()),
        Op::Uuid => write(&native::<16>(bytes, false)?),
        // `Input` has checked that the precision fits, so the value fits too.
        Op::Decimal32 => write(&(decimal()? as i32).to_le_bytes()),
        Op::Decimal64 => write(&(decimal()? as i64).to_le_bytes()),
        Op::Decimal128 => write(&decimal()?.to_be_bytes()),
        Op::Skip | Op::Bytes | Op::Name | Op::Char | Op::NumericText => (),
    }
    Ok(())
}

fn code(reason: &Reason) -> Code {
    match reason {
        Reason::Misfit { .. } => Code::Misfit,
        Reason::NumericNan => Code::NumericNan,
        Reason::NumericInfinity | Reason::InfiniteDate | Reason::InfiniteTimestamp => Code::Infinite,
        Reason::OutOfRange | Reason::EndOfDay => Code::OutOfRange,
        Reason::InvalidUtf8 | Reason::Malformed(_) => Code::Malformed,
    }
}

#[cfg(test)]
#[path = "slot_tests.rs"]
mod tests;
