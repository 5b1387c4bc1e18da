//! Functions of texts. Parts of texts lie where the texts lie; other texts lie in bytes of their own.

use super::value::{Type, compared};
use super::vector::{Values, Vector, text};
use crate::types::Cell;

/// Bytes of new texts that a block's step may have; there may be many steps. Rows beyond are odd.
const MOST: usize = 8 << 20;
/// What lies behind the last text, so that words can be read of it.
const PADDING: usize = 16;

/// The characters of a text, of which each is a byte, or one of UTF-8.
#[derive(Clone, Copy)]
pub struct Characters {
    pub is_utf8: bool,
}

impl Characters {
    pub fn count(self, bytes: &[u8]) -> usize {
        match self.is_utf8 {
            true => bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count(),
            false => bytes.len(),
        }
    }

    /// Returns the place behind the first characters.
    fn behind(self, bytes: &[u8], count: usize) -> usize {
        if !self.is_utf8 {
            return bytes.len().min(count);
        }
        let mut starts = (0..bytes.len()).filter(|&at| bytes[at] & 0xc0 != 0x80);
        starts.nth(count).unwrap_or(bytes.len())
    }

    /// Returns the bytes of substring(text, from, count), whose count is not negative.
    pub fn substring(self, bytes: &[u8], from: i32, count: Option<i32>) -> std::ops::Range<usize> {
        let start = self.behind(bytes, (i64::from(from) - 1).max(0) as usize);
        let Some(end) = count.and_then(|count| from.checked_add(count)) else { return start..bytes.len() };
        let kept = i64::from(end) - i64::from(from.max(1));
        start..start + self.behind(&bytes[start..], kept.max(0) as usize)
    }

    /// Returns the bytes of left(text, count): a negative count leaves out characters at the end.
    pub fn left(self, bytes: &[u8], count: i32) -> std::ops::Range<usize> {
        let count = match count {
            ..0 => self.count(bytes).saturating_sub(count.unsigned_abs() as usize),
            _ => count as usize,
        };
        0..self.behind(bytes, count)
    }

    /// Returns the bytes of right(text, count): a negative count leaves out characters at the beginning.
    pub fn right(self, bytes: &[u8], count: i32) -> std::ops::Range<usize> {
        let count = match count {
            // The least integer is its own negative, by which nothing is left out.
            ..0 => count.wrapping_neg().max(0) as usize,
            _ => self.count(bytes).saturating_sub(count as usize),
        };
        self.behind(bytes, count)..bytes.len()
    }
}

/// Returns the cells of a vector, emptied.
pub fn cells_mut(out: &mut Vector) -> &mut Vec<Cell> {
    if !matches!(out.values, Values::Bytes(_)) {
        out.values = Values::Bytes(Vec::new());
    }
    let Values::Bytes(cells) = &mut out.values else { unreachable!("made above") };
    cells.clear();
    cells
}

/// Takes a part of each text.
pub fn parts(from: &Vector, arena: &[u8], out: &mut Vector, part: impl Fn(&[u8]) -> std::ops::Range<usize>) {
    out.nulls.clone_from(&from.nulls);
    let cells = cells_mut(out);
    cells.extend(from.cells().iter().map(|&cell| match cell.bytes(arena) {
        None => Cell::NULL,
        Some(bytes) => {
            let part = part(bytes);
            Cell::new(cell.pos as usize + part.start, part.len())
        }
    }));
}

/// Leaves out the blanks at the end of each text.
pub fn without_blanks(from: &Vector, arena: &[u8], out: &mut Vector) {
    parts(from, arena, out, |bytes| 0..compared(Type::Bpchar, bytes).len());
}

/// Computes an integer of each text.
pub fn numbers(from: &Vector, arena: &[u8], out: &mut Vector, number: impl Fn(&[u8]) -> usize) {
    out.nulls.clone_from(&from.nulls);
    let words = out.words_mut();
    words.extend(from.cells().iter().map(|&cell| number(text(cell, arena)) as i64));
    out.scale = 0;
    out.measure();
}

/// Writes new texts into bytes, each of which is two parts.
pub fn write<'a>(
    rows: usize,
    bytes: &mut Vec<u8>,
    out: &mut Vector,
    odd: &mut [bool],
    parts: impl Fn(usize) -> [&'a [u8]; 2],
) {
    bytes.clear();
    let Vector { nulls, .. } = out;
    let nulls = std::mem::take(nulls);
    let cells = cells_mut(out);
    for row in 0..rows {
        if !nulls.is_empty() && nulls[row] {
            cells.push(Cell::NULL);
            continue;
        }
        let (start, [first, second]) = (bytes.len(), parts(row));
        if start + first.len() + second.len() <= MOST {
            bytes.extend(first);
            bytes.extend(second);
        } else {
            odd[row] = true;
        }
        cells.push(Cell::new(start, bytes.len() - start));
    }
    bytes.resize(bytes.len() + PADDING, 0);
    out.nulls = nulls;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_is_left_out_by_the_least_integer() {
        let utf8 = Characters { is_utf8: true };
        assert_eq!(utf8.right(b"ab", i32::MIN), 0..2);
        assert_eq!(utf8.right(b"ab", -i32::MAX), 2..2);
        assert_eq!(utf8.left(b"ab", i32::MIN), 0..0);
    }

    #[test]
    fn texts_that_are_large_together_are_left_out() {
        let (large, small) = (vec![b'x'; MOST / 2], vec![b'y'; 7]);
        let parts = |row: usize| [&large[..], if row == 0 { &large[..] } else { &small[..row] }];
        let (mut bytes, mut odd) = (Vec::new(), [false; 3]);
        let mut out = Vector::new(Type::Text);
        write(2, &mut bytes, &mut out, &mut odd, parts);
        assert_eq!((odd, bytes.len()), ([false, true, false], MOST + PADDING));
        odd = [false; 3];
        write(3, &mut bytes, &mut out, &mut odd, |row| if row == 0 { [b"", b"ab"] } else { parts(row) });
        assert_eq!((odd, bytes.len()), ([false, false, true], 2 + MOST / 2 + 1 + PADDING));
        assert_eq!(text(out.cells()[1], &bytes), [&large[..], b"y"].concat());
    }

    proptest! {
        /// As text_substring, text_left and text_right in varlena.c say.
        #[test]
        fn parts_of_texts(text in "[ažx€]{0,6}", from in -4..9_i32, count in 0..9_i32) {
            let utf8 = Characters { is_utf8: true };
            let chars: Vec<char> = text.chars().collect();
            let found = |range: std::ops::Range<usize>| text[range].to_string();
            let within = |start: i32, end: i32| -> String {
                (1..).zip(&chars).filter(|(at, _)| (start..end).contains(at)).map(|(_, c)| *c).collect()
            };
            prop_assert_eq!(utf8.count(text.as_bytes()), chars.len());
            prop_assert_eq!(found(utf8.substring(text.as_bytes(), from, Some(count))), within(from, from + count));
            prop_assert_eq!(found(utf8.substring(text.as_bytes(), from, None)), within(from, i32::MAX));
            let length = chars.len() as i32;
            let end = if from < 0 { length + from } else { from };
            prop_assert_eq!(found(utf8.left(text.as_bytes(), from)), within(1, end + 1));
            let start = if from < 0 { -from } else { length - from };
            prop_assert_eq!(found(utf8.right(text.as_bytes(), from)), within(start + 1, i32::MAX));
        }
    }
}
