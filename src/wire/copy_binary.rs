//! COPY BINARY streams: writes them from heap cells, and reads them into wire cells.
//!
//! The stream (src/backend/commands/copyto.c and the COPY page of the manual, "Binary Format"). All integers are
//! big-endian:
//!
//! ```text
//! header   "PGCOPY\n\xff\r\n\0"  flags: i32  extension length: i32  extension
//! row      fields: i16  { length: i32, -1 for NULL; that many bytes } for every field
//! trailer  -1: i16
//! ```
//!
//! Reading takes two steps. The starts of the rows are known to the process that wrote them, or found by one walk
//! over the lengths. Rows are then independent of each other, so fields can be found row by row in any order.

use std::ops::Range;

use super::numeric;
use super::short_numeric::ShortNumeric;
use crate::interrupts::in_steps;
use crate::types::{Cell, Reason, ValueError};

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// The length of the header that this writer writes, without flags and extension.
pub const HEADER_LEN: usize = 19;
/// The flags that a reader must understand; it may ignore the lower 16 bits.
const CRITICAL_FLAGS: u32 = 0xFFFF_0000;
const TRAILER: [u8; 2] = (-1i16).to_be_bytes();
const NULL_FIELD: [u8; 4] = (-1i32).to_be_bytes();

/// How a heap cell becomes the bytes that its type's send function sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendMethod {
    /// int2.
    Swap2,
    /// int4, oid, float4, date.
    Swap4,
    /// int8, float8, time, timestamp, timestamptz.
    Swap8,
    /// bool, uuid, bytea, name and everything like text.
    Raw,
    Numeric,
    /// The text of a jsonb, after its version byte.
    Jsonb,
    /// interval: microseconds i64, days i32, months i32.
    Interval,
    /// The cell holds a send function's bytes already.
    Done,
}

pub fn write_header(out: &mut Vec<u8>) {
    out.extend_from_slice(SIGNATURE);
    out.extend_from_slice(&[0; 8]);
}

pub fn write_trailer(out: &mut Vec<u8>) {
    out.extend_from_slice(&TRAILER);
}

/// Rows to write: a vector of cells for each column, and how the column is sent.
#[derive(Clone, Copy)]
pub struct RowSource<'a> {
    pub cells: &'a [Vec<Cell>],
    pub arena: &'a [u8],
    pub send: &'a [SendMethod],
}

/// The room that a short field needs to be written by stores of fixed width. The next field overwrites the bytes
/// after the field.
const FIELD_ROOM: usize = 64;
const LENGTH_WORD: usize = 4;

impl RowSource<'_> {
    /// Writes rows to the start of `out` while they fit. Returns the number of rows written.
    ///
    /// The end of each row, counted from `base`, is appended to `ends`. A row only fits if `fits` returns true for
    /// the number of rows and bytes with it.
    pub fn write(
        &self,
        rows: Range<usize>,
        out: &mut [u8],
        base: u32,
        ends: &mut Vec<u32>,
        fits: impl Fn(usize, usize) -> bool,
    ) -> Result<usize, ValueError> {
        assert_eq!(self.cells.len(), self.send.len());
        let count = i16::try_from(self.cells.len()).expect("a table has at most 1600 columns").to_be_bytes();
        let mut at = 0;
        for (done, row) in rows.clone().enumerate() {
            let written = self.write_row(row, count, &mut out[at..]);
            let written = written.map_err(|reason| ValueError { row: done, reason })?;
            let Some(len) = written.filter(|len| fits(done + 1, at + len)) else { return Ok(done) };
            at += len;
            let end = u32::try_from(at).ok().and_then(|at| base.checked_add(at));
            ends.push(end.ok_or(ValueError { row: done, reason: Reason::OutOfRange })?);
        }
        Ok(rows.len())
    }

    /// Writes a row. Returns its size; `None` if there is no room for it.
    #[inline(always)]
    fn write_row(&self, row: usize, count: [u8; 2], out: &mut [u8]) -> Result<Option<usize>, Reason> {
        let room = out.len();
        let Some((head, mut out)) = out.split_first_chunk_mut() else { return Ok(None) };
        *head = count;
        for (column, &send) in self.cells.iter().zip(self.send) {
            let Some(len) = write_field(column[row], self.arena, send, out)? else { return Ok(None) };
            out = &mut out[len..];
        }
        Ok(Some(room - out.len()))
    }

    /// Returns a size that is enough for these rows.
    pub fn room(&self, rows: Range<usize>) -> usize {
        let column = |(cells, send): (&Vec<Cell>, &SendMethod)| {
            let payload: usize = cells[rows.clone()].iter().map(|cell| cell.len()).sum();
            let header = match send {
                // The wire's header comes in addition to the heap's.
                SendMethod::Numeric => LENGTH_WORD + 8,
                SendMethod::Jsonb => LENGTH_WORD + 1,
                _ => LENGTH_WORD,
            };
            payload + rows.len() * header
        };
        let fields: usize = self.cells.iter().zip(self.send).map(column).sum();
        fields + rows.len() * size_of::<i16>() + FIELD_ROOM
    }
}

const WIDTH: Reason = Reason::Malformed("value of the wrong width");

/// Writes a field. Returns its size; `None` if there is no room for it.
#[inline(always)]
fn write_field(cell: Cell, arena: &[u8], send: SendMethod, out: &mut [u8]) -> Result<Option<usize>, Reason> {
    let Some(room) = out.first_chunk_mut::<FIELD_ROOM>() else { return Ok(None) };
    if cell.is_null() {
        room[..LENGTH_WORD].copy_from_slice(&NULL_FIELD);
        return Ok(Some(LENGTH_WORD));
    }
    let written = match send {
        SendMethod::Swap2 => write_swapped(cell, arena, u16::from_le_bytes, u16::to_be_bytes, room)?,
        SendMethod::Swap4 => write_swapped(cell, arena, u32::from_le_bytes, u32::to_be_bytes, room)?,
        SendMethod::Swap8 => write_swapped(cell, arena, u64::from_le_bytes, u64::to_be_bytes, room)?,
        SendMethod::Numeric => write_short_numeric(cell, arena, room),
        SendMethod::Raw if cell.len() <= 16 => write_short::<16>(cell, arena, room),
        SendMethod::Raw => write_short::<48>(cell, arena, room),
        SendMethod::Done | SendMethod::Jsonb | SendMethod::Interval => None,
    };
    match written {
        None => write_any(cell.of(arena), send, out),
        written => Ok(written),
    }
}

/// Writes a field of `N` bytes, which is read and written as one integer.
#[inline(always)]
fn write_swapped<T, const N: usize>(
    cell: Cell,
    arena: &[u8],
    read: fn([u8; N]) -> T,
    write: fn(T) -> [u8; N],
    room: &mut [u8; FIELD_ROOM],
) -> Result<Option<usize>, Reason> {
    let value = cell.of(arena).try_into().map_err(|_| WIDTH)?;
    room[..LENGTH_WORD].copy_from_slice(&(N as i32).to_be_bytes());
    room[LENGTH_WORD..][..N].copy_from_slice(&write(read(value)));
    Ok(Some(LENGTH_WORD + N))
}

/// Writes a field of at most `N` bytes by copying `N`.
#[inline(always)]
fn write_short<const N: usize>(cell: Cell, arena: &[u8], room: &mut [u8; FIELD_ROOM]) -> Option<usize> {
    let window = arena.get(cell.pos as usize..)?.first_chunk::<N>()?;
    if cell.len() > window.len() {
        return None;
    }
    room[..LENGTH_WORD].copy_from_slice(&(cell.len() as i32).to_be_bytes());
    room[LENGTH_WORD..][..window.len()].copy_from_slice(window);
    Some(LENGTH_WORD + cell.len())
}

/// Writes a numeric with a short header and at most four digits, as most have.
#[inline(always)]
fn write_short_numeric(cell: Cell, arena: &[u8], room: &mut [u8; FIELD_ROOM]) -> Option<usize> {
    let (header, digits) = ShortNumeric::sent(arena, cell)?;
    let len = header.len() - 2 + cell.len();
    room[..LENGTH_WORD].copy_from_slice(&(len as i32).to_be_bytes());
    room[LENGTH_WORD..][..header.len()].copy_from_slice(&header);
    room[LENGTH_WORD + header.len()..][..digits.len()].copy_from_slice(&digits);
    Some(LENGTH_WORD + len)
}

/// Writes a field of any form and length.
fn write_any(bytes: &[u8], send: SendMethod, out: &mut [u8]) -> Result<Option<usize>, Reason> {
    let len = match send {
        SendMethod::Numeric => numeric::wire_len(bytes),
        SendMethod::Jsonb => 1 + bytes.len(),
        _ => bytes.len(),
    };
    let word = i32::try_from(len).map_err(|_| Reason::OutOfRange)?;
    let Some(field) = out.get_mut(..LENGTH_WORD + len) else { return Ok(None) };
    let (length, value) = field.split_at_mut(LENGTH_WORD);
    length.copy_from_slice(&word.to_be_bytes());
    match (send, value) {
        (SendMethod::Numeric, value) => numeric::write_wire(bytes, value)?,
        (SendMethod::Jsonb, [version, text @ ..]) => {
            *version = 1;
            copy(bytes, text);
        }
        (SendMethod::Interval, value) => {
            if bytes.len() != 16 {
                return Err(WIDTH);
            }
            value.copy_from_slice(bytes);
            for word in [0..8, 8..12, 12..16] {
                value[word].reverse();
            }
        }
        (_, value) => copy(bytes, value),
    }
    Ok(Some(LENGTH_WORD + len))
}

fn copy(from: &[u8], mut to: &mut [u8]) {
    in_steps(from, |step| {
        let (piece, rest) = std::mem::take(&mut to).split_at_mut(step.len());
        piece.copy_from_slice(step);
        to = rest;
    });
}

/// Returns the length of the header at the start of `stream`.
pub fn read_header(stream: &[u8]) -> Result<usize, Reason> {
    const HEADER: Reason = Reason::Malformed("COPY BINARY header");
    let rest = stream.strip_prefix(SIGNATURE).ok_or(HEADER)?;
    let word = |at: usize| be_i32(rest, at).ok_or(HEADER);
    let (flags, extension) = (word(0)? as u32, usize::try_from(word(4)?).map_err(|_| HEADER)?);
    if flags & CRITICAL_FLAGS != 0 || extension > stream.len() - HEADER_LEN {
        return Err(HEADER);
    }
    Ok(HEADER_LEN + extension)
}

/// Walks the rows from `start` to the trailer, which must be the end of the stream. Returns the offsets that
/// [`read_rows`] takes.
pub fn find_rows(stream: &[u8], start: usize) -> Result<Vec<u32>, ValueError> {
    let mut offsets = Vec::new();
    let mut at = start;
    loop {
        let row = offsets.len();
        let fail = |what| ValueError { row, reason: Reason::Malformed(what) };
        offsets.push(u32::try_from(at).map_err(|_| ValueError { row, reason: Reason::OutOfRange })?);
        let count = be_i16(stream, at).ok_or_else(|| fail("COPY BINARY stream without a trailer"))?;
        at += 2;
        if count == -1 {
            return if at == stream.len() {
                Ok(offsets)
            } else {
                Err(fail("bytes after the COPY BINARY trailer"))
            };
        }
        if count < 0 {
            return Err(fail("COPY BINARY field count"));
        }
        for _ in 0..count {
            at = field(stream, at).map_err(|reason| ValueError { row, reason })?.1;
        }
    }
}

/// Finds every field of the rows. `row_offsets` has the start of each row, then the end of the last.
///
/// `cells` gets a vector for each of the `strip.len()` columns. Where `strip` is true, the first byte of every value
/// must be 1, jsonb's version, and is left out.
pub fn read_rows(
    stream: &[u8],
    row_offsets: &[u32],
    strip: &[bool],
    cells: &mut Vec<Vec<Cell>>,
) -> Result<(), ValueError> {
    let rows = row_offsets.len().saturating_sub(1);
    let fail = |row, what| ValueError { row, reason: Reason::Malformed(what) };
    // A row has at least its field count and its lengths, which limits the number of rows.
    if rows > stream.len() / (2 + 4 * strip.len()) {
        return Err(fail(0, "more COPY BINARY rows than the stream has room for"));
    }
    cells.resize_with(strip.len(), Vec::new);
    for column in cells.iter_mut() {
        column.clear();
        column.resize(rows, Cell::NULL);
    }
    for (row, bounds) in row_offsets.windows(2).enumerate() {
        let (mut at, end) = (bounds[0] as usize, bounds[1] as usize);
        let stream = stream.get(..end).ok_or_else(|| fail(row, "COPY BINARY row past the stream"))?;
        if field_count(stream, at) != Some(strip.len()) {
            return Err(fail(row, "COPY BINARY field count"));
        }
        at += 2;
        for (column, &strip) in cells.iter_mut().zip(strip) {
            let (cell, next) = field(stream, at).map_err(|reason| ValueError { row, reason })?;
            column[row] = match cell.bytes(stream) {
                Some(bytes) if strip => {
                    let text = bytes.strip_prefix(&[1]).ok_or_else(|| fail(row, "jsonb version"))?;
                    Cell::new(cell.pos as usize + 1, text.len())
                }
                _ => cell,
            };
            at = next;
        }
        if at != end {
            return Err(fail(row, "COPY BINARY row does not end where the next one starts"));
        }
    }
    Ok(())
}

/// Reads a whole stream, header to trailer.
pub fn read_stream(stream: &[u8], strip: &[bool]) -> Result<Vec<Vec<Cell>>, ValueError> {
    let start = read_header(stream).map_err(|reason| ValueError { row: 0, reason })?;
    let mut cells = Vec::new();
    read_rows(stream, &find_rows(stream, start)?, strip, &mut cells)?;
    Ok(cells)
}

/// Returns the field count of the row at `at`.
#[inline]
pub(crate) fn field_count(stream: &[u8], at: usize) -> Option<usize> {
    usize::try_from(be_i16(stream, at)?).ok()
}

/// Returns the field whose length word is at `at`, and where the next one starts.
#[inline]
pub(crate) fn field(stream: &[u8], at: usize) -> Result<(Cell, usize), Reason> {
    const PAST: Reason = Reason::Malformed("COPY BINARY field past its row");
    let len = be_i32(stream, at).ok_or(PAST)?;
    let start = at + 4;
    if len == -1 {
        return Ok((Cell::NULL, start));
    }
    let len = usize::try_from(len).map_err(|_| Reason::Malformed("COPY BINARY field length"))?;
    if len > stream.len() - start {
        return Err(PAST);
    }
    if start > u32::MAX as usize {
        return Err(Reason::OutOfRange);
    }
    Ok((Cell::new(start, len), start + len))
}

#[inline]
fn be_i16(bytes: &[u8], at: usize) -> Option<i16> {
    Some(i16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[inline]
fn be_i32(bytes: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
#[path = "copy_binary_tests.rs"]
mod tests;
