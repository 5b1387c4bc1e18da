//! Values that words are, or point to.

use super::range::float_key;
use super::value::{Type, without_blanks};

/// Returns the float that a word holds, as its `float_key`.
#[inline]
pub fn float_of(word: u64, of: Type) -> i64 {
    float_key(if of == Type::Float4 { f32::from_bits(word as u32).into() } else { f64::from_bits(word) })
}

/// Returns the bytes of a text, of bytea or of uuid.
///
/// # Safety
/// The word is a Datum of the type, and not NULL; see `varlena`.
#[inline]
pub unsafe fn bytes_of<'a>(word: u64, of: Type) -> &'a [u8] {
    // SAFETY: the word points to 16 bytes if it is a uuid, and to a varlena otherwise.
    unsafe {
        match of {
            Type::Uuid => std::slice::from_raw_parts(word as *const u8, 16),
            Type::Bpchar => without_blanks(varlena(word)),
            _ => varlena(word),
        }
    }
}

/// Returns a varlena's bytes without its header (varatt.h), which has one byte or four.
///
/// # Safety
/// The word points to a varlena that is neither compressed nor stored elsewhere and outlives the result.
#[inline]
pub unsafe fn varlena<'a>(word: u64) -> &'a [u8] {
    let at = word as *const u8;
    // SAFETY: the header tells how many bytes there are; a header of four bytes need not be aligned.
    unsafe {
        match *at {
            short if short & 1 == 1 => std::slice::from_raw_parts(at.add(1), usize::from(short >> 1) - 1),
            _ => {
                let length = at.cast::<u32>().read_unaligned() as usize >> 2;
                std::slice::from_raw_parts(at.add(4), length - 4)
            }
        }
    }
}
