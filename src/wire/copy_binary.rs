//! COPY BINARY: written from heap cells, and read back into wire cells.
//!
//! The stream (src/backend/commands/copyto.c and the COPY page of the manual, "Binary Format"), all
//! integers big-endian:
//!
//! ```text
//! header   "PGCOPY\n\xff\r\n\0"  flags: i32  extension length: i32  extension
//! row      fields: i16  { length: i32, -1 for NULL; that many bytes } for every field
//! trailer  -1: i16
//! ```
//!
//! Reading takes two steps. Where the rows start can be told by the process that wrote them, or by one
//! walk over the lengths; given that, rows are independent, so fields are found row by row in any order.

use super::numeric;
use super::short_numeric::ShortNumeric;
use crate::types::{Cell, Reason, ValueError};

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// The header that this writer writes: no flags, no extension.
pub const HEADER_LEN: usize = 19;
/// Of the flags, the lower 16 bits may be ignored by a reader and the upper may not.
const CRITICAL_FLAGS: u32 = 0xFFFF_0000;
const TRAILER: [u8; 2] = (-1i16).to_be_bytes();
const NULL_FIELD: [u8; 4] = (-1i32).to_be_bytes();

/// How a heap cell becomes the bytes that its type's send function would send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Send {
    /// int2.
    Swap2,
    /// int4, oid, float4, date.
    Swap4,
    /// int8, float8, time, timestamp, timestamptz.
    Swap8,
    /// bool, uuid, bytea, name and everything like text.
    Raw,
    Numeric,
    /// jsonb's text behind its version byte.
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

/// Appends the rows of one batch to `out`.
///
/// `row_offsets` takes the start in `out` of each row, and lastly the end of the last one, which is
/// where the next call's first row starts: an offset that is there already is not repeated.
pub fn write_rows(
    cells: &[Vec<Cell>],
    arena: &[u8],
    send: &[Send],
    out: &mut Vec<u8>,
    row_offsets: &mut Vec<u32>,
) -> Result<(), ValueError> {
    assert_eq!(cells.len(), send.len());
    let count = i16::try_from(cells.len()).expect("a table has at most 1600 columns").to_be_bytes();
    let rows = cells.first().map_or(0, Vec::len);
    if row_offsets.is_empty() {
        row_offsets.push(offset(out, 0)?);
    }
    for row in 0..rows {
        let payload: usize = cells.iter().map(|column| column[row].len()).sum();
        out.reserve(count.len() + payload + cells.len() * FIELD_ROOM);
        out.extend_from_slice(&count);
        for (column, &send) in cells.iter().zip(send) {
            let cell = column[row];
            // SAFETY: FIELD_ROOM was reserved for this field beside its payload, and each field so far has
            // kept to its own share.
            if unsafe { write_common(cell, arena, send, out) } {
                continue;
            }
            match cell.bytes(arena) {
                None => out.extend_from_slice(&NULL_FIELD),
                Some(bytes) => {
                    write_field(bytes, send, out).map_err(|reason| ValueError { row, reason })?;
                }
            }
        }
        row_offsets.push(offset(out, row)?);
    }
    Ok(())
}

/// What a field may take beside its payload: its length word, numeric's longer header, jsonb's version,
/// and what `write_common` writes past its end.
const FIELD_ROOM: usize = 32;

/// Writes the fields that most are with stores of fixed width, some bytes of which later fields overwrite;
/// false when the field is of another form.
///
/// # Safety
/// `out` has room for FIELD_ROOM bytes and the cell's payload.
#[inline(always)]
unsafe fn write_common(cell: Cell, arena: &[u8], send: Send, out: &mut Vec<u8>) -> bool {
    let at = out.len();
    // SAFETY: at most 4 + 16 bytes are stored from `at`, which is below FIELD_ROOM; no more than those are
    // taken to be initialised.
    unsafe {
        let target = out.as_mut_ptr().add(at);
        match send {
            Send::Numeric => {
                let Some(short) = (!cell.is_null()).then(|| ShortNumeric::read(arena, cell)).flatten() else {
                    return false;
                };
                let (header, digits) = short.wire();
                let length = 8 + 2 * short.count;
                target.cast::<[u8; 4]>().write((length as u32).to_be_bytes());
                target.add(4).cast::<[u8; 8]>().write(header);
                target.add(12).cast::<[u8; 8]>().write(digits);
                out.set_len(at + 4 + length);
            }
            Send::Raw if cell.len() <= 16 && !cell.is_null() => {
                let Some(window) = arena.get(cell.pos as usize..).and_then(|rest| rest.first_chunk::<16>())
                else {
                    return false;
                };
                target.cast::<[u8; 4]>().write((cell.len() as u32).to_be_bytes());
                target.add(4).cast::<[u8; 16]>().write(*window);
                out.set_len(at + 4 + cell.len());
            }
            _ => return false,
        }
    }
    true
}

fn offset(out: &[u8], row: usize) -> Result<u32, ValueError> {
    u32::try_from(out.len()).map_err(|_| ValueError { row, reason: Reason::OutOfRange })
}

#[inline]
fn write_field(bytes: &[u8], send: Send, out: &mut Vec<u8>) -> Result<(), Reason> {
    match send {
        Send::Swap2 => write_swapped::<2, 6>(bytes, out),
        Send::Swap4 => write_swapped::<4, 8>(bytes, out),
        Send::Swap8 => write_swapped::<8, 12>(bytes, out),
        Send::Raw | Send::Done => {
            out.extend_from_slice(&length(bytes.len())?);
            out.extend_from_slice(bytes);
            Ok(())
        }
        Send::Jsonb => {
            out.extend_from_slice(&length(bytes.len() + 1)?);
            out.push(1);
            out.extend_from_slice(bytes);
            Ok(())
        }
        Send::Numeric => {
            let start = out.len();
            out.extend_from_slice(&[0; 4]);
            numeric::write_wire(bytes, out)?;
            let len = length(out.len() - start - 4)?;
            out[start..start + 4].copy_from_slice(&len);
            Ok(())
        }
        Send::Interval => {
            let bytes: [u8; 16] = bytes.try_into().map_err(|_| WIDTH)?;
            let mut field = [0; 20];
            field[..4].copy_from_slice(&length(16)?);
            for (part, word) in [(0..8, 4..12), (8..12, 12..16), (12..16, 16..20)] {
                field[word.clone()].copy_from_slice(&bytes[part]);
                field[word].reverse();
            }
            out.extend_from_slice(&field);
            Ok(())
        }
    }
}

const WIDTH: Reason = Reason::Malformed("value of the wrong width");

/// A field of `N` bytes in one append of `TOTAL`, its length word included.
#[inline]
fn write_swapped<const N: usize, const TOTAL: usize>(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Reason> {
    let mut value: [u8; N] = bytes.try_into().map_err(|_| WIDTH)?;
    value.reverse();
    let mut field = [0; TOTAL];
    field[..4].copy_from_slice(&(N as i32).to_be_bytes());
    field[4..].copy_from_slice(&value);
    out.extend_from_slice(&field);
    Ok(())
}

fn length(len: usize) -> Result<[u8; 4], Reason> {
    i32::try_from(len).map(i32::to_be_bytes).map_err(|_| Reason::OutOfRange)
}

/// The bytes of the header at the start of `stream`.
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

/// Walks the rows from `start` to the trailer, which has to be the end of the stream, and gives the
/// offsets that [`read_rows`] takes.
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

/// Finds every field of the rows that `row_offsets` bounds: the start of each, then the end of the last.
///
/// `cells` becomes one vector a column, of which `strip.len()` says how many there are. Where `strip` is
/// true, the first byte of every value has to be 1, jsonb's version, and is left out.
pub fn read_rows(
    stream: &[u8],
    row_offsets: &[u32],
    strip: &[bool],
    cells: &mut Vec<Vec<Cell>>,
) -> Result<(), ValueError> {
    let rows = row_offsets.len().saturating_sub(1);
    let fail = |row, what| ValueError { row, reason: Reason::Malformed(what) };
    // A row has at least its count and its lengths: cells for more rows than that need not be made.
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

/// The field count of the row at `at`.
#[inline]
pub(crate) fn field_count(stream: &[u8], at: usize) -> Option<usize> {
    usize::try_from(be_i16(stream, at)?).ok()
}

/// The field whose length word is at `at`, and where the next one starts.
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
