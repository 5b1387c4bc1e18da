//! Keys of groups as words. Keys are equal if all their compared words are, and the bytes of long texts.
//!
//! A key is a word of NULL flags, then the compared words of each value, then the words that say how the first of equal
//! values is shown:
//!
//! ```text
//! bool, integers, dates   the value                                   -
//! floats                  float_key                                   the bits: -0 equals 0
//! numeric                 128 bits at the column's scale              the scale that is shown
//! text, uuid              length and the first 12 bytes, or, if       where the bytes of a long text lie
//!                         there are more, 4 and a hash
//! char(n)                 the same without blanks at the end          the same, and the length with them
//! ```

use super::Unfit;
use super::value::{Class, Type, Value, compared};
use super::vector::{Vector, text};
use crate::expr::{Numeric, Place, float_key};
use crate::types::Cell;
use crate::wire::numeric::pow10;

/// Keys have as many bits for NULLs.
const MOST: usize = 64;
/// Texts up to this length lie in the compared words.
pub const INLINE: usize = 12;

/// Numerics that are no integers at any scale. No other value of a key is so large.
pub const NAN: i128 = i128::MAX;
pub const INFINITY: i128 = i128::MAX - 1;
pub const MINUS_INFINITY: i128 = i128::MIN;

#[derive(Clone, Copy, Debug)]
pub struct Key {
    pub of: Type,
    /// The first compared word, and the first one for showing.
    pub at: usize,
    pub shown: usize,
}

/// Where the words of each value are.
#[derive(Clone, Debug)]
pub struct Layout {
    pub keys: Vec<Key>,
    /// The words that are compared, and all.
    pub compared: usize,
    pub words: usize,
}

impl Layout {
    pub fn new(types: &[Type]) -> Result<Layout, Unfit> {
        if types.len() > MOST {
            return Err(Unfit("too many keys"));
        }
        let compared_words = |of: &Type| match of.class() {
            Class::Bool | Class::Word | Class::Float => 1,
            Class::Numeric | Class::Bytes => 2,
        };
        let shown_words = |of: &Type| match of.class() {
            Class::Bool | Class::Word => 0,
            Class::Bytes if *of == Type::Bpchar => 2,
            Class::Float | Class::Numeric | Class::Bytes => 1,
        };
        let compared = match types.is_empty() {
            true => 0,
            false => 1 + types.iter().map(compared_words).sum::<usize>(),
        };
        let (mut at, mut shown) = (1, compared);
        let keys = types.iter().map(|of| {
            let key = Key { of: *of, at, shown };
            at += compared_words(of);
            shown += shown_words(of);
            key
        });
        let keys = keys.collect();
        Ok(Layout { keys, compared, words: shown })
    }

    /// Returns a hash of a key.
    #[inline]
    pub fn hash(&self, key: &[u64]) -> u64 {
        let hash = key[..self.compared].iter().fold(0x9E37_79B9_7F4A_7C15, |hash, &word| mix(hash ^ word));
        mix(hash ^ 0xE703_7ED1_A0B4_28DB)
    }
}

#[inline(always)]
fn mix(word: u64) -> u64 {
    let product = u128::from(word) * 0xA076_1D64_78BD_642F;
    product as u64 ^ (product >> 64) as u64
}

pub fn hash_bytes(bytes: &[u8]) -> u64 {
    let (chunks, rest) = bytes.as_chunks();
    let hash = chunks.iter().fold(bytes.len() as u64, |hash, chunk| mix(hash ^ u64::from_le_bytes(*chunk)));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(hash ^ u64::from_le_bytes(last))
}

/// Returns the compared words of a text.
#[inline]
fn text_words(bytes: &[u8]) -> [u64; 2] {
    let mut inline = [0; INLINE];
    let head = bytes.len().min(if bytes.len() <= INLINE { INLINE } else { 4 });
    inline[..head].copy_from_slice(&bytes[..head]);
    let [a, b, c, d, rest @ ..] = inline;
    let first = bytes.len() as u64 | u64::from(u32::from_le_bytes([a, b, c, d])) << 32;
    [first, if bytes.len() <= INLINE { u64::from_le_bytes(rest) } else { hash_bytes(bytes) }]
}

/// Returns the compared words of a short text in an arena; `None` for a long one, and near the arena's end.
#[inline(always)]
fn short_words(cell: Cell, arena: &[u8], drops_blanks: bool) -> Option<[u64; 2]> {
    let bytes = arena.get(cell.pos as usize..)?.first_chunk::<16>()?;
    let mut length = cell.len();
    if length > INLINE {
        return None;
    }
    while drops_blanks && length > 0 && bytes[length - 1] == b' ' {
        length -= 1;
    }
    let bytes = u128::from_le_bytes(*bytes) & ((1 << (8 * length)) - 1);
    Some([length as u64 | (bytes as u64) << 32, (bytes >> 32) as u64])
}

/// Returns the length of the text whose words these are.
pub fn text_length(word: u64) -> usize {
    word as u32 as usize
}

/// Returns the bytes of a text that is not long.
pub fn inline_bytes(words: [u64; 2]) -> [u8; INLINE] {
    let mut bytes = [0; INLINE];
    bytes[..4].copy_from_slice(&((words[0] >> 32) as u32).to_le_bytes());
    bytes[4..].copy_from_slice(&words[1].to_le_bytes());
    bytes
}

impl Key {
    /// Writes the words of a vector's values into the keys of some rows. `scale` is that of the key's numerics, at least
    /// the vector's.
    pub fn write(
        &self,
        number: usize,
        from: (&Vector, &[u8]),
        scale: u8,
        rows: &[u32],
        keys: &mut [u64],
        words: usize,
    ) {
        let (vector, arena) = from;
        let keys = (keys, words);
        match self.of.class() {
            Class::Bool => {
                Key::each(number, vector, rows, keys, |row, key| key[self.at] = vector.bools()[row].into())
            }
            Class::Word if vector.nulls.is_empty() => {
                let values = vector.words();
                for (key, &row) in keys.0.chunks_exact_mut(words).zip(rows) {
                    key[self.at] = values[row as usize] as u64;
                }
            }
            Class::Word => {
                Key::each(number, vector, rows, keys, |row, key| key[self.at] = vector.words()[row] as u64)
            }
            Class::Float => {
                Key::each(number, vector, rows, keys, |row, key| self.write_float(vector.floats()[row], key))
            }
            Class::Numeric => {
                let factor = factor(scale - vector.scale);
                Key::each(number, vector, rows, keys, |row, key| {
                    self.write_wide(vector.wide(row) * factor, vector.scale, key)
                });
            }
            Class::Bytes => {
                let (cells, drops_blanks) = (vector.cells(), self.of == Type::Bpchar);
                Key::each(number, vector, rows, keys, |row, key| {
                    match short_words(cells[row], arena, drops_blanks) {
                        Some(words) => {
                            key[self.at..self.at + 2].copy_from_slice(&words);
                            if drops_blanks {
                                key[self.shown + 1] = cells[row].len() as u64;
                            }
                        }
                        None => self.write_text(text(cells[row], arena), key),
                    }
                });
            }
        }
    }

    /// Writes a value's words into each key, or that it is NULL.
    #[inline(always)]
    fn each(
        number: usize,
        vector: &Vector,
        rows: &[u32],
        (keys, words): (&mut [u64], usize),
        write: impl Fn(usize, &mut [u64]),
    ) {
        for (key, &row) in keys.chunks_exact_mut(words).zip(rows) {
            match vector.is_null(row as usize) {
                true => key[0] |= 1 << number,
                false => write(row as usize, key),
            }
        }
    }

    /// Writes one value's words.
    pub fn write_value(&self, number: usize, value: &Value, scale: u8, key: &mut [u64]) -> Result<(), Unfit> {
        match value {
            Value::Null => key[0] |= 1 << number,
            Value::Word(word) => key[self.at] = *word as u64,
            Value::Float(bits) => self.write_float(f64::from_bits(*bits), key),
            Value::Numeric(Numeric::NaN) => self.write_wide(NAN, 0, key),
            Value::Numeric(Numeric::Infinity) => self.write_wide(INFINITY, 0, key),
            Value::Numeric(Numeric::MinusInfinity) => self.write_wide(MINUS_INFINITY, 0, key),
            Value::Numeric(numeric @ Numeric::Finite(finite)) => {
                let value = integer(numeric, scale).ok_or(Unfit("a key of many digits"))?;
                self.write_wide(
                    value,
                    u8::try_from(finite.dscale).map_err(|_| Unfit("a key of many digits"))?,
                    key,
                );
            }
            Value::Bytes(bytes) => self.write_text(bytes, key),
        }
        Ok(())
    }

    fn write_float(&self, value: f64, key: &mut [u64]) {
        key[self.at] = float_key(value) as u64;
        key[self.shown] = value.to_bits();
    }

    pub fn write_wide(&self, value: i128, dscale: u8, key: &mut [u64]) {
        [key[self.at], key[self.at + 1]] = [value as u64, (value >> 64) as u64];
        key[self.shown] = dscale.into();
    }

    fn write_text(&self, bytes: &[u8], key: &mut [u64]) {
        let counted = compared(self.of, bytes);
        [key[self.at], key[self.at + 1]] = text_words(counted);
        if self.of == Type::Bpchar {
            key[self.shown + 1] = bytes.len() as u64;
        }
    }

    /// Returns whether a key's value is a text whose bytes lie elsewhere.
    pub fn is_long(&self, number: usize, key: &[u64]) -> bool {
        self.of.class() == Class::Bytes && key[0] >> number & 1 == 0 && text_length(key[self.at]) > INLINE
    }

    pub fn wide(&self, key: &[u64]) -> i128 {
        wide(key[self.at], key[self.at + 1])
    }
}

pub fn wide(low: u64, high: u64) -> i128 {
    i128::from(high as i64) << 64 | i128::from(low)
}

/// Returns whether a numeric of a key or an extreme is NaN or infinite.
pub fn is_special(value: i128) -> bool {
    matches!(value, NAN | INFINITY | MINUS_INFINITY)
}

/// Returns a power of ten of a scale up to 38.
pub fn factor(scale: u8) -> i128 {
    pow10(scale.into()).unwrap_or(1)
}

/// Returns a value times 10 to the power `scale`, if that is an integer of 128 bits that stands for no special value.
pub fn integer(value: &Numeric, scale: u8) -> Option<i128> {
    match value.place(scale.into()) {
        Place::At(value, true) if !is_special(value) => Some(value),
        _ => None,
    }
}
