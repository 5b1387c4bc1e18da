//! The numerics that nearly every value is: a short header and at most four digits, read without a
//! branch that depends on how many digits there are.
//!
//! Everything else, malformed bytes included, is left to `numeric`, which says what is wrong.

use crate::types::Cell;

/// `NumericShort`'s header and four digits.
const WINDOW: usize = 10;
/// The lowest bit that a 16-bit lane above 9999 carries into when this is added to it: its highest.
const ABOVE_9999: u64 = 0x58F0_58F0_58F0_58F0;
const LANE_TOPS: u64 = 0x8000_8000_8000_8000;
/// 10000 to the power 3 - i, for the lanes of a value whose first digit counts 10000 to the power 3.
const UNITS: [u64; 7] = [1_000_000_000_000, 100_000_000, 10_000, 1, 0, 0, 0];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShortNumeric {
    /// Digits below 10000 in 16-bit lanes, the first in the lowest, zeros after the last.
    digits: u64,
    pub count: usize,
    pub weight: i32,
    pub dscale: u16,
    pub negative: bool,
}

impl ShortNumeric {
    /// Reads a heap cell; `None` for one that has another form, or lies within 10 bytes of the arena's end.
    #[inline(always)]
    pub fn read(arena: &[u8], cell: Cell) -> Option<ShortNumeric> {
        let window = arena.get(cell.pos as usize..)?.first_chunk::<WINDOW>()?;
        let bytes = cell.len().wrapping_sub(2);
        let header = u16::from_le_bytes([window[0], window[1]]);
        if bytes > 8 || !bytes.is_multiple_of(2) || header & 0xC000 != 0x8000 {
            return None;
        }
        let [_, _, lanes @ ..] = *window;
        // Two shifts: one by 64 is not defined.
        let digits = u64::from_le_bytes(lanes) << (32 - 4 * bytes) << (32 - 4 * bytes);
        let digits = digits >> (32 - 4 * bytes) >> (32 - 4 * bytes);
        if ((digits.wrapping_add(ABOVE_9999)) | digits) & LANE_TOPS != 0 {
            return None;
        }
        Some(ShortNumeric {
            digits,
            count: bytes / 2,
            // Seven bits in two's complement.
            weight: i32::from(((header << 9) as i16) >> 9),
            dscale: (header & 0x1F80) >> 7,
            negative: header & 0x2000 != 0,
        })
    }

    /// The value times 10000 to the power `groups`; `None` when that is not an integer below 2^54.
    #[inline(always)]
    pub fn at(&self, groups: i32) -> Option<i64> {
        let top = self.weight + groups;
        if !(0..4).contains(&top) || self.count > top as usize + 1 {
            // Zero has no digits, whatever its weight.
            return (self.count == 0).then_some(0);
        }
        let units = &UNITS[3 - top as usize..];
        let lane = |index: usize| (self.digits >> (16 * index) & 0xFFFF) * units[index];
        let value = (lane(0) + lane(1) + lane(2) + lane(3)) as i64;
        Some(if self.negative { -value } else { value })
    }

    /// The fields of `numeric_send`'s header, and the digits in network order, zeros after the last.
    #[inline(always)]
    pub fn wire(&self) -> ([u8; 8], [u8; 8]) {
        let sign = if self.negative { 0x4000 } else { 0 };
        let words = [self.count as u16, self.weight as u16, sign, self.dscale];
        let header = words.iter().fold(0u64, |header, word| header << 16 | u64::from(*word));
        let swapped = (self.digits & 0x00FF_00FF_00FF_00FF) << 8 | (self.digits >> 8 & 0x00FF_00FF_00FF_00FF);
        (header.to_be_bytes(), swapped.to_le_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::numeric::{HeapNumeric, write_wire};
    use proptest::prelude::*;

    proptest! {
        /// What is read here is what the general reader reads, and sends.
        #[test]
        fn agrees_with_the_general_reader(
            header in any::<u16>(),
            digits in prop::collection::vec(0u16..12_000, 0..6),
            groups in -2i32..6,
            tail in any::<[u8; 10]>(),
        ) {
            let mut arena = vec![0; 3];
            arena.extend(header.to_le_bytes());
            arena.extend(digits.iter().flat_map(|digit| digit.to_le_bytes()));
            let cell = Cell::new(3, 2 + 2 * digits.len());
            let payload = cell.of(&arena).to_vec();
            arena.extend(tail);
            if let Some(short) = ShortNumeric::read(&arena, cell) {
                let num = HeapNumeric::read(&payload).unwrap().finite().unwrap();
                prop_assert!(num.check().is_ok());
                prop_assert_eq!(num.dscale(), short.dscale);
                if (0..=4).contains(&groups) && let Some(value) = short.at(groups) {
                    prop_assert_eq!(num.to_i64_at(4 * groups as u8), Some(value));
                }
                let (mut sent, (head, lanes)) = (Vec::new(), short.wire());
                write_wire(&payload, &mut sent).unwrap();
                prop_assert_eq!(&sent[..8], &head);
                prop_assert_eq!(&sent[8..], &lanes[..2 * short.count]);
            } else {
                let plain = header & 0xC000 == 0x8000 && digits.len() <= 4;
                prop_assert!(!plain || digits.iter().any(|&digit| digit > 9999));
            }
        }
    }

    #[test]
    fn the_end_of_the_arena_is_left_to_the_general_reader() {
        let arena = [0x00, 0x80, 0x01, 0x00];
        assert_eq!(ShortNumeric::read(&arena, Cell::new(0, 4)), None);
    }
}
