//! Queries that a device computes over the rows of slots: the regions of slots of kind `QUERY`, and of those with the flag
//! `AGGREGATE`.
//!
//! A query's number is the row group of all its slots, those of its workers too: `owner << 40 | count` of the process
//! that leads it. It begins with a request, whose text says what is computed. Slots of rows follow, in any order and from any of its processes; of each, either all rows but the marked ones are in
//! the groups when it comes back done, or it comes back failed and the groups mean nothing any more. At last the groups are
//! fetched, after all slots have come back.
//!
//! ```text
//! input    Request | text                               step BEGIN: as many bytes
//! output   step BEGIN   nothing
//!          step GROUPS  u64 groups | words of the groups from word `from` on, as many as have room
//!          rows         Marks | u32 bitmap[ceil(rows / 32)], of the rows that are left to the process, if there are any
//! ```
//!
//! The device forgets the query after the last word, when its owner begins another one, when nothing has come for it for a
//! while, and when its owner is gone.

use super::layout::{Plain, QUERY, get, put};

/// A `Request::step`.
pub const BEGIN: u32 = 0;
pub const GROUPS: u32 = 1;

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Always `QUERY`.
    pub kind: u32,
    pub step: u32,
    /// Groups that are expected.
    pub expected: u64,
    /// The first word wanted by `GROUPS`.
    pub from: u64,
    /// The most bytes of memory for groups.
    pub limit: u64,
    pub text_bytes: u32,
    pub reserved: [u32; 4],
    /// The bytes that the scheduler counts, at the same place as in `Header`.
    pub data_bytes: u32,
    pub unused: [u32; 2],
}

/// The beginning of the output for rows.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    pub rows: u32,
    /// Rows that the process has to compute.
    pub marked: u32,
}

/// Where the bitmap of marked rows begins.
pub const BITMAP_AT: usize = 64;

// SAFETY: `repr(C)`, integers without gaps, by the sizes asserted below.
unsafe impl Plain for Request {}
// SAFETY: `repr(C)`, integers without gaps, by the sizes asserted below.
unsafe impl Plain for Marks {}

const _: () = {
    assert!(size_of::<Request>() == 64 && size_of::<Marks>() == 8);
    let same = std::mem::offset_of!(Request, data_bytes);
    assert!(same == std::mem::offset_of!(super::layout::Header, data_bytes));
};

/// Writes a request; returns false if it has no room.
#[must_use]
pub fn write_request(region: &mut [u8], request: Request, text: &[u8]) -> bool {
    let at = size_of::<Request>();
    let Some(room) = region.get_mut(at..at + text.len()) else { return false };
    room.copy_from_slice(text);
    put(region, 0, Request { kind: QUERY, text_bytes: text.len() as u32, ..request })
}

/// Reads a region's request and its text; `None` if the region holds something else.
pub fn read_request(region: &[u8]) -> Option<Result<(Request, &[u8]), String>> {
    let request: Request = get(region, 0).filter(|request: &Request| request.kind == QUERY)?;
    let text = region.get(size_of::<Request>()..).and_then(|rest| rest.get(..request.text_bytes as usize));
    Some(match text {
        Some(text) if request.step <= GROUPS => Ok((request, text)),
        _ => Err("a query's request out of order".into()),
    })
}

/// Writes what comes back for rows; returns false if it has no room.
#[must_use]
pub fn write_marks(region: &mut [u8], marks: Marks, bitmap: &[u8]) -> bool {
    let bitmap = if marks.marked > 0 { bitmap } else { &[] };
    let Some(room) = region.get_mut(BITMAP_AT..BITMAP_AT + bitmap.len()) else { return false };
    room.copy_from_slice(bitmap);
    put(region, 0, marks)
}

/// Returns the rows that are left to the process, in order.
pub fn read_marks(region: &[u8], rows: usize) -> Result<Vec<u32>, String> {
    let marks: Marks = get(region, 0).ok_or("no room for marks")?;
    if marks.rows as usize != rows || marks.marked > marks.rows {
        return Err(format!("{} of {} rows are marked, of {rows}", marks.marked, marks.rows));
    }
    if marks.marked == 0 {
        return Ok(Vec::new());
    }
    let bitmap = region.get(BITMAP_AT..BITMAP_AT + rows.div_ceil(32) * 4).ok_or("no room for a bitmap")?;
    let found: Vec<u32> =
        (0..rows as u32).filter(|row| bitmap[*row as usize / 8] >> (row % 8) & 1 == 1).collect();
    match found.len() == marks.marked as usize {
        true => Ok(found),
        false => Err(format!("{} rows are marked, not {}", found.len(), marks.marked)),
    }
}

/// Writes groups from word `from` on; returns false if there is no room, or there are no such words.
#[must_use]
pub fn write_groups(region: &mut [u8], groups: u64, words: &[u64], from: u64) -> bool {
    let Some(left) = usize::try_from(from).ok().and_then(|from| words.get(from..)) else { return false };
    let Some((head, rest)) = region.split_first_chunk_mut::<8>() else { return false };
    *head = groups.to_le_bytes();
    let room = rest.as_chunks_mut::<8>().0.iter_mut();
    room.zip(left).for_each(|(to, word)| *to = word.to_le_bytes());
    true
}

/// Reads an answer to `GROUPS`: how many groups there are, and up to `wanted` words.
pub fn read_groups(region: &[u8], wanted: usize, words: &mut Vec<u64>) -> Option<u64> {
    let (groups, rest) = region.split_first_chunk()?;
    let found = rest.as_chunks::<8>().0.iter().take(wanted).map(|word| u64::from_le_bytes(*word));
    words.extend(found);
    Some(u64::from_le_bytes(*groups))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_answers_are_read_as_written() {
        let mut region = vec![0; 256];
        let request = Request { step: GROUPS, from: 7, expected: 9, ..Request::default() };
        assert!(write_request(&mut region, request, b"text"));
        let (found, text) = read_request(&region).unwrap().unwrap();
        assert_eq!((found.step, found.from, found.expected, text), (GROUPS, 7, 9, &b"text"[..]));
        assert!(!write_request(&mut region, request, &[0; 200]));
        assert!(write_groups(&mut region, 3, &[1, 2, 3, 4], 2));
        let mut words = Vec::new();
        assert_eq!(read_groups(&region, 2, &mut words), Some(3));
        assert_eq!(words, [3, 4]);
        assert!(!write_groups(&mut region, 3, &[1, 2, 3, 4], 5));
    }

    #[test]
    fn marks_are_rows_in_order() {
        let mut region = vec![0xEE; 128];
        let bitmap = [0x01, 0, 0, 0x80, 0x02, 0, 0, 0];
        assert!(write_marks(&mut region, Marks { rows: 40, marked: 3 }, &bitmap));
        assert_eq!(read_marks(&region, 40).unwrap(), [0, 31, 33]);
        assert!(read_marks(&region, 41).is_err());
        assert!(write_marks(&mut region, Marks { rows: 40, marked: 4 }, &bitmap));
        assert!(read_marks(&region, 40).is_err());
        assert!(write_marks(&mut region, Marks { rows: 40, marked: 0 }, &bitmap));
        assert!(read_marks(&region, 40).unwrap().is_empty());
    }
}
