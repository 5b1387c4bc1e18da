//! The encode kernels' output made on the CPU, byte for byte, for fake devices, and for tests and the device check to
//! compare with.
//!
//! Places are those of the plan, so a plan has to fit its input.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::encode::bits::{pack, put_hybrid, put_hybrid_flags, put_rle_run};
use crate::encode::delta::{put_delta, put_delta_length};
use crate::encode::split::put_split;
use crate::gpu::encode::{
    Bounds, DictionaryChunk, DictionaryState, Ends, NO_CHUNK, Order, Page, Plan, Shape, encoding,
};

/// The bodies of the plan's pages, then of its dictionaries, and what is known of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Encoded {
    pub bodies: Vec<Vec<u8>>,
    pub nulls: Vec<u32>,
    pub bounds: Vec<Bounds>,
    /// The bounds of pages of strings.
    pub ends: Vec<Option<Ends>>,
    pub states: Vec<DictionaryState>,
}

pub fn encode(input: &[u8], plan: &Plan) -> Encoded {
    let mut encoded = Encoded::default();
    let dictionaries: Vec<Dictionary> =
        plan.chunks.iter().map(|chunk| Dictionary::of(input, plan, chunk)).collect();
    for page in &plan.pages {
        let rows = Rows { input, page };
        let dictionary = dictionaries.get(page.chunk as usize).filter(|found| found.state.used != 0);
        encoded.bodies.push(rows.body(dictionary.filter(|_| page.chunk != NO_CHUNK)));
        encoded.nulls.push(page.rows - rows.values().count() as u32);
        let (bounds, ends) = rows.bounds();
        encoded.bounds.push(bounds);
        encoded.ends.push(ends);
    }
    for dictionary in dictionaries {
        encoded.states.push(dictionary.state);
        encoded.bodies.push(if dictionary.state.used != 0 { dictionary.body } else { Vec::new() });
    }
    encoded
}

/// A chunk's values in the order in which they first come.
struct Dictionary<'a> {
    numbers: HashMap<&'a [u8], u32>,
    body: Vec<u8>,
    state: DictionaryState,
}

impl<'a> Dictionary<'a> {
    fn of(input: &'a [u8], plan: &'a Plan, chunk: &DictionaryChunk) -> Dictionary<'a> {
        let mut made =
            Dictionary { numbers: HashMap::new(), body: Vec::new(), state: DictionaryState::default() };
        let pages = &plan.pages[chunk.first_page as usize..][..chunk.pages as usize];
        let strings = pages.first().is_some_and(|page| page.shape == Shape::Strings as u8);
        let (mut values, mut plain) = (0u32, 0);
        for value in pages.iter().flat_map(|page| Rows { input, page }.values()) {
            values += 1;
            plain += value.len() as u64 + if strings { 4 } else { 0 };
            let next = made.numbers.len() as u32;
            if let Entry::Vacant(entry) = made.numbers.entry(value)
                && next <= chunk.most
            {
                entry.insert(next);
                put_value(&mut made.body, value, strings);
            }
        }
        let entries = made.numbers.len() as u32;
        made.state = DictionaryState { entries, values, ..DictionaryState::default() };
        if entries > chunk.most {
            made.state.failed = 1;
            return made;
        }
        if values == 0 {
            return made;
        }
        let width = index_width(entries);
        let indices = (u64::from(values) * u64::from(width)).div_ceil(8);
        let bytes = made.body.len() as u64;
        let pays = bytes <= u64::from(chunk.most_bytes) && 4 * (bytes + indices) <= 3 * plain;
        made.state.used = u32::from(pays);
        (made.state.bytes, made.state.width, made.state.plain) = (bytes as u32, width, plain);
        made
    }
}

fn index_width(entries: u32) -> u32 {
    entries.saturating_sub(1).checked_ilog2().map_or(1, |log| log + 1)
}

fn put_value(out: &mut Vec<u8>, value: &[u8], strings: bool) {
    if strings {
        out.extend((value.len() as u32).to_le_bytes());
    }
    out.extend(value);
}

/// A page's rows. Values are bytes of the input; a bit is one byte of 0 or 1.
#[derive(Clone, Copy)]
struct Rows<'a> {
    input: &'a [u8],
    page: &'a Page,
}

impl<'a> Rows<'a> {
    fn word(&self, at: u64) -> u32 {
        let bytes = self.input[at as usize..].first_chunk().expect("a plan that fits its input");
        u32::from_le_bytes(*bytes)
    }

    fn bit(&self, at: u64, row: u32) -> bool {
        self.word(at + u64::from(row / 32) * 4) >> (row % 32) & 1 != 0
    }

    fn is_valid(&self, row: u32) -> bool {
        self.bit(self.page.valid_at, row)
    }

    fn value(&self, row: u32) -> &'a [u8] {
        const BITS: [[u8; 1]; 2] = [[0], [1]];
        let part = |at: u64, bytes: u64| &self.input[at as usize..(at + bytes) as usize];
        let fixed = |width: u64| part(self.page.values_at + u64::from(row) * width, width);
        match self.page.shape {
            shape if shape == Shape::Bits as u8 => {
                BITS[usize::from(self.bit(self.page.values_at, row))].as_slice()
            }
            shape if shape == Shape::Fixed4 as u8 => fixed(4),
            shape if shape == Shape::Fixed8 as u8 => fixed(8),
            shape if shape == Shape::Fixed16 as u8 => fixed(16),
            _ => {
                let offset = |row: u32| u64::from(self.word(self.page.values_at + u64::from(row) * 4));
                part(self.page.bytes_at + offset(row), offset(row + 1) - offset(row))
            }
        }
    }

    fn rows(&self) -> std::ops::Range<u32> {
        self.page.first..self.page.first + self.page.rows
    }

    fn values(self) -> impl Iterator<Item = &'a [u8]> {
        self.rows().filter(move |&row| self.is_valid(row)).map(move |row| self.value(row))
    }

    fn body(&self, dictionary: Option<&Dictionary>) -> Vec<u8> {
        let values: Vec<&[u8]> = self.values().collect();
        let mut out = Vec::new();
        if self.page.nullable != 0 {
            self.put_levels(values.len() as u32, &mut out);
        }
        match dictionary {
            Some(dictionary) => put_indices(&values, dictionary, &mut out),
            None if values.is_empty() => {}
            None => self.put_values(&values, &mut out),
        }
        out
    }

    fn put_levels(&self, values: u32, out: &mut Vec<u8>) {
        let rows = self.page.rows;
        let start = out.len();
        out.extend([0; 4]);
        if values == rows || values == 0 {
            put_rle_run(u32::from(values == rows), rows as usize, 1, out);
        } else {
            let valid: Vec<u8> = self.rows().map(|row| self.is_valid(row).into()).collect();
            put_hybrid_flags(&valid, out);
        }
        let length = (out.len() - start - 4) as u32;
        out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    }

    fn put_values(&self, values: &[&[u8]], out: &mut Vec<u8>) {
        match u32::from(self.page.encoding) {
            encoding::DELTA_LENGTH_BYTE_ARRAY => {
                let lengths: Vec<i32> = values.iter().map(|value| value.len() as i32).collect();
                put_delta_length(&lengths, &values.concat(), out);
            }
            encoding::DELTA_BINARY_PACKED if self.page.shape == Shape::Fixed4 as u8 => {
                let numbers: Vec<i32> = values.iter().map(|value| number(value) as i32).collect();
                put_delta(&numbers, out);
            }
            encoding::DELTA_BINARY_PACKED => {
                let numbers: Vec<i64> = values.iter().map(|value| number(value) as i64).collect();
                put_delta(&numbers, out);
            }
            encoding::BYTE_STREAM_SPLIT => {
                let start = out.len();
                out.resize(start + values.iter().map(|value| value.len()).sum::<usize>(), 0);
                put_split(values, &mut out[start..], |value, byte| value[byte]);
            }
            _ => self.put_plain(values, out),
        }
    }

    fn put_plain(&self, values: &[&[u8]], out: &mut Vec<u8>) {
        if self.page.shape == Shape::Bits as u8 {
            let bits: Vec<u32> = values.iter().map(|value| u32::from(value[0])).collect();
            return pack(&bits, 1, out);
        }
        let strings = self.page.shape == Shape::Strings as u8;
        values.iter().for_each(|value| put_value(out, value, strings));
    }

    fn bounds(&self) -> (Bounds, Option<Ends>) {
        let none = (Bounds::default(), None);
        if self.page.order == Order::None as u8 {
            return none;
        }
        if self.page.shape == Shape::Strings as u8 {
            return self.string_bounds();
        }
        let floating = self.page.order == Order::Floating as u8;
        let signed = self.page.order == Order::Signed as u8;
        let keys: Vec<(u128, bool)> = self.values().map(|value| key(value, signed, floating)).collect();
        let nans = keys.iter().filter(|(_, nan)| *nan).count() as u32;
        let ordered = || keys.iter().filter(|(_, nan)| !nan).map(|(key, _)| *key);
        // Without a value, the keys are as the kernels leave them.
        let (min, max) = (ordered().min().unwrap_or(u128::MAX), ordered().max().unwrap_or(0));
        let bounds = Bounds {
            min_high: (min >> 64) as u64,
            min_low: min as u64,
            max_high: (max >> 64) as u64,
            max_low: max as u64,
            values: keys.len() as u32 - nans,
            nans,
        };
        (bounds, None)
    }

    fn string_bounds(&self) -> (Bounds, Option<Ends>) {
        let bytes = self.values().map(|value| value.len() as u64).sum();
        let values = self.values().count() as u32;
        let ends = self.values().min().zip(self.values().max()).map(|(min, max)| Ends::new(min, max));
        (Bounds { min_low: bytes, values, ..Bounds::default() }, ends)
    }
}

fn put_indices(values: &[&[u8]], dictionary: &Dictionary, out: &mut Vec<u8>) {
    let width = dictionary.state.width as usize;
    out.push(width as u8);
    let indices: Vec<u32> = values.iter().map(|value| dictionary.numbers[value]).collect();
    put_hybrid(&indices, width, out);
}

/// The bits of up to eight bytes.
fn number(value: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    bytes[..value.len()].copy_from_slice(value);
    u64::from_le_bytes(bytes)
}

/// Returns the key of kernels/bounds.cuh, and whether the value is NaN.
fn key(value: &[u8], signed: bool, floating: bool) -> (u128, bool) {
    let bits = match value.first_chunk::<16>() {
        Some(all) => u128::from_be_bytes(*all),
        None => u128::from(number(value)),
    };
    let top = 1u128 << (8 * value.len() - 1);
    if signed {
        return (bits ^ top, false);
    }
    if !floating {
        return (bits, false);
    }
    let infinity = if value.len() == 4 {
        u128::from(f32::INFINITY.to_bits())
    } else {
        u128::from(f64::INFINITY.to_bits())
    };
    let nan = bits & !top > infinity;
    let ordered = if bits & top != 0 { !bits & (top | (top - 1)) } else { bits ^ top };
    (ordered, nan)
}
