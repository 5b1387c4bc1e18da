//! The most common numerics, with at most four digits after a short header or a sent one. They are read without a
//! branch that depends on the number of digits.
//!
//! All others, including malformed bytes, are left to `numeric`, which reports errors.

use crate::types::Cell;

/// `NumericShort`'s header and four digits.
const WINDOW: usize = 10;
/// `numeric_send`'s header and four digits.
const WIRE_WINDOW: usize = 16;
const WIRE_NEGATIVE: u16 = 0x4000;
const WIRE_DSCALE_MAX: u16 = 0x3FFF;
/// Added to a 16-bit lane, this sets the lane's highest bit if its value is above 9999.
const ABOVE_9999: u64 = 0x58F0_58F0_58F0_58F0;
const LANE_TOPS: u64 = 0x8000_8000_8000_8000;
/// The mask of the lanes for each number of digits.
const KEEP: [u64; 5] = [0, 0xFFFF, 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF, u64::MAX];
/// The mask of the first and the third lane.
const EVEN: u64 = 0x0000_FFFF_0000_FFFF;

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
    /// Reads a heap cell. Returns `None` if it has another form, or begins within 10 bytes of the arena's end.
    #[inline(always)]
    pub fn read(arena: &[u8], cell: Cell) -> Option<ShortNumeric> {
        let window = arena.get(cell.pos as usize..)?.first_chunk::<WINDOW>()?;
        let bytes = cell.len().wrapping_sub(2);
        let header = u16::from_le_bytes([window[0], window[1]]);
        if bytes > 8 || !bytes.is_multiple_of(2) || header & 0xC000 != 0x8000 {
            return None;
        }
        let [_, _, lanes @ ..] = *window;
        Some(ShortNumeric {
            digits: digits(u64::from_le_bytes(lanes), bytes / 2)?,
            count: bytes / 2,
            weight: weight_of(header).into(),
            dscale: (header & 0x1F80) >> 7,
            negative: header & 0x2000 != 0,
        })
    }

    /// Reads a cell that `numeric_send` wrote.
    #[inline(always)]
    pub fn read_wire(arena: &[u8], cell: Cell) -> Option<ShortNumeric> {
        let window = arena.get(cell.pos as usize..)?.first_chunk::<WIRE_WINDOW>()?;
        let word = |at: usize| u16::from_be_bytes([window[at], window[at + 1]]);
        let (count, weight, sign, dscale) = (usize::from(word(0)), word(2) as i16, word(4), word(6));
        if count > 4 || cell.len() != 8 + 2 * count || sign & !WIRE_NEGATIVE != 0 || dscale > WIRE_DSCALE_MAX
        {
            return None;
        }
        let [_, _, _, _, _, _, _, _, lanes @ ..] = *window;
        Some(ShortNumeric {
            digits: digits(swap_lanes(u64::from_le_bytes(lanes)), count)?,
            count,
            weight: i32::from(weight),
            dscale,
            negative: sign == WIRE_NEGATIVE,
        })
    }

    /// Returns what `numeric_send` sends for a heap cell with a short header and at most four digits: its header, and
    /// the digits. The bytes after the digits are whatever follows the cell.
    #[inline(always)]
    pub fn sent(arena: &[u8], cell: Cell) -> Option<([u8; 8], [u8; 8])> {
        let (header, rest) = arena.get(cell.pos as usize..)?.split_first_chunk()?;
        let (header, lanes) = (u16::from_le_bytes(*header), u64::from_le_bytes(*rest.first_chunk()?));
        let bytes = cell.len().wrapping_sub(2);
        if bytes > 8 || !bytes.is_multiple_of(2) || header & 0xC000 != 0x8000 {
            return None;
        }
        let (sign, dscale) = (u64::from(header & 0x2000) << 17, u64::from(header & 0x1F80) >> 7);
        let weight = u64::from(weight_of(header) as u16) << 32;
        let sent = (bytes as u64) << 47 | weight | sign | dscale;
        Some((sent.to_be_bytes(), swap_lanes(lanes).to_le_bytes()))
    }

    /// Returns the value times 10000 to the power `groups`; `None` if that is not an integer below 2^54.
    #[inline(always)]
    pub fn at(&self, groups: i32) -> Option<i64> {
        let top = self.weight + groups;
        if !(0..4).contains(&top) || self.count > top as usize + 1 {
            // Zero has no digits, and any weight.
            return (self.count == 0).then_some(0);
        }
        // The digit of the power 3 - i of 10000 moves to lane i; then pairs are combined.
        let digits = self.digits << (16 * (3 - top));
        let pairs = (digits & EVEN) * 10_000 + (digits >> 16 & EVEN);
        let value = ((pairs & 0xFFFF_FFFF) * 100_000_000 + (pairs >> 32)) as i64;
        Some(if self.negative { -value } else { value })
    }
}

/// Returns the weight, which has seven bits in two's complement.
#[inline(always)]
fn weight_of(header: u16) -> i16 {
    ((header << 9) as i16) >> 9
}

/// Returns the first `count` lanes, at most 4; `None` if one is above 9999.
#[inline(always)]
fn digits(lanes: u64, count: usize) -> Option<u64> {
    let digits = lanes & KEEP[count];
    ((digits.wrapping_add(ABOVE_9999) | digits) & LANE_TOPS == 0).then_some(digits)
}

/// Swaps the bytes of each 16-bit lane.
#[inline(always)]
fn swap_lanes(lanes: u64) -> u64 {
    (lanes & 0x00FF_00FF_00FF_00FF) << 8 | (lanes >> 8 & 0x00FF_00FF_00FF_00FF)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::numeric::{HeapNumeric, WireNumeric, wire_len, write_wire};
    use proptest::prelude::*;

    proptest! {
        /// The fast path reads and sends what the general one does.
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
                    prop_assert_eq!(num.to_i128_at(4 * groups as u8), Some(value.into()));
                }
                let mut sent = vec![0; wire_len(&payload)];
                write_wire(&payload, &mut sent).unwrap();
                let (header, digits) = ShortNumeric::sent(&arena, cell).unwrap();
                prop_assert_eq!(&sent[..8], &header);
                prop_assert_eq!(&sent[8..], &digits[..2 * short.count]);
                let cell = Cell::new(0, sent.len());
                sent.extend(tail);
                prop_assert_eq!(ShortNumeric::read_wire(&sent, cell), Some(short));
            } else {
                let plain = header & 0xC000 == 0x8000 && digits.len() <= 4;
                prop_assert!(!plain || digits.iter().any(|&digit| digit > 9999));
            }
        }
    }

    proptest! {
        /// For any header, the fast path reads what the general one reads.
        #[test]
        fn agrees_on_sent_headers(
            count_off in prop_oneof![4 => Just(0u16), 1 => 1u16..3],
            weight in prop_oneof![(-4i16..5).prop_map(|weight| weight as u16), any::<u16>()],
            sign in prop_oneof![Just(0u16), Just(0x4000), Just(0xC000), any::<u16>()],
            dscale in prop_oneof![0u16..0x4000, any::<u16>()],
            digits in prop::collection::vec(0u16..12_000, 0..6),
        ) {
            let head = [digits.len() as u16 + count_off, weight, sign, dscale];
            let mut arena: Vec<u8> = head.iter().chain(&digits).flat_map(|word| word.to_be_bytes()).collect();
            let cell = Cell::new(0, arena.len());
            let sent = arena.clone();
            let general = WireNumeric::read(&sent).and_then(WireNumeric::finite).ok();
            let general = general.filter(|num| num.check().is_ok() && digits.len() <= 4);
            arena.extend([7; WIRE_WINDOW]);
            let short = ShortNumeric::read_wire(&arena, cell);
            prop_assert_eq!(short.is_some(), general.is_some());
            if let (Some(short), Some(num)) = (short, general) {
                prop_assert_eq!(short.dscale, num.dscale());
                if let Some(value) = short.at(2) {
                    prop_assert_eq!(num.to_i128_at(8), Some(value.into()));
                }
            }
        }
    }

    #[test]
    fn the_end_of_the_arena_is_left_to_the_general_reader() {
        let arena = [0x00, 0x80, 0x01, 0x00];
        assert_eq!(ShortNumeric::read(&arena, Cell::new(0, 4)), None);
        assert_eq!(ShortNumeric::read_wire(&[0, 1, 0, 0, 0, 0, 0, 0, 0, 5], Cell::new(0, 10)), None);
    }
}
