//! What a value does to the extremes and the bits of a group. The least or greatest text of a group lies among those of
//! all groups; the group's words say where.

use std::cmp::Ordering;

use super::keys::wide;
use super::plan::Function;
use super::value::{Type, compared};
use crate::expr::float_key;

/// Of a text: where it begins, its length, and how many bytes there are for it, plus one; zeros without a text.
pub const TEXT_WORDS: usize = 3;
/// The least room of a text.
const ROOM: usize = 16;

/// Puts a text into a group, if it is better than the group's. Of equal ones the first stays.
pub fn put_text(
    state: &mut [u64; TEXT_WORDS],
    texts: &mut Vec<u8>,
    of: Type,
    found: &[u8],
    better: Ordering,
) {
    let [start, length, room] = state;
    if *room != 0 {
        let known = &texts[*start as usize..][..*length as usize];
        if compared(of, found).cmp(compared(of, known)) != better {
            return;
        }
    }
    if found.len() as u64 >= *room {
        // Twice as much as is needed, so that all rooms that were left take no more than the last one.
        let more = (2 * found.len()).max(ROOM);
        (*start, *room) = (texts.len() as u64, more as u64 + 1);
        texts.resize(texts.len() + more, 0);
    }
    texts[*start as usize..][..found.len()].copy_from_slice(found);
    *length = found.len() as u64;
}

/// Returns a group's text; `None` without one.
pub fn text<'t>(state: &[u64], texts: &'t [u8]) -> Option<&'t [u8]> {
    let (start, length) = (state[0] as usize, state[1] as usize);
    (state[2] != 0).then(|| texts.get(start..start + length).unwrap_or(&[]))
}

/// Returns how a value compares with the group's where it takes its place.
pub fn better(least: bool) -> Ordering {
    if least { Ordering::Less } else { Ordering::Greater }
}

#[inline(always)]
pub fn put_word([value, seen]: &mut [u64; 2], found: i64, least: bool) {
    if *seen == 0 || (if least { found < *value as i64 } else { found > *value as i64 }) {
        (*value, *seen) = (found as u64, 1);
    }
}

pub fn put_bits([value, seen]: &mut [u64; 2], found: i64, function: Function) {
    let found = found as u64;
    *value = match function {
        _ if *seen == 0 => found,
        Function::BitAnd => *value & found,
        Function::BitOr => *value | found,
        _ => *value ^ found,
    };
    *seen = 1;
}

pub fn put_float([bits, seen]: &mut [u64; 2], found: f64, least: bool) {
    let order = float_key(found).cmp(&float_key(f64::from_bits(*bits)));
    // Of equal values the last one stays, as float8larger and float8smaller have it: -0 equals 0.
    if *seen == 0 || (if least { order.is_le() } else { order.is_ge() }) {
        (*bits, *seen) = (found.to_bits(), 1);
    }
}

pub fn put_wide([low, high, seen, dscale]: &mut [u64; 4], found: i128, scale: u8, least: bool) {
    let order = found.cmp(&wide(*low, *high));
    // Of equal values the last one stays, as numeric_larger and numeric_smaller have it.
    if *seen == 0 || (if least { order.is_le() } else { order.is_ge() }) {
        [*low, *high] = [found as u64, (found >> 64) as u64];
        (*seen, *dscale) = (1, scale.into());
    }
}
