//! The least and the greatest texts of groups. A text lies among others of all groups; the group's words say where.

use std::cmp::Ordering;

use super::value::{Type, compared};

/// Where the text begins, its length, and how many bytes there are for it, plus one; zeros without a text.
pub const WORDS: usize = 3;
/// The least room of a text.
const ROOM: usize = 16;

/// Puts a text into a group, if it is better than the group's. Of equal ones the first stays.
pub fn put(state: &mut [u64; WORDS], texts: &mut Vec<u8>, of: Type, found: &[u8], better: Ordering) {
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
