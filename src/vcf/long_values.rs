//! Takes long values out of their line and reads them in steps. The crate parses a line as a whole, which takes
//! seconds for 200 MB. A missing value stands in for a long one, so that the crate still checks the rest of the
//! record.

use std::collections::HashMap;
use std::ops::Range;

use noodles_vcf::Header;
use noodles_vcf::header::record::value::map::{format, info};

use crate::interrupts::{STEP_BYTES, check, in_steps};

/// The longest line that is left to the crate.
const LONG_LINE: usize = if cfg!(fuzzing) { 256 } else { 2 << 20 };
/// The longest value that stays in a long line.
const LONG_VALUE: usize = if cfg!(fuzzing) { 8 } else { 4 << 10 };

/// The columns of a line that may have long values.
pub const REF: usize = 3;
pub const ALT: usize = 4;
const INFO: usize = 7;
const FORMAT: usize = 8;

/// The place of a value in its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place<'l> {
    /// A whole column.
    Column(usize),
    /// The value of an INFO, by its key.
    Info(&'l [u8]),
    /// A value of a sample, by the number of the sample and that of the key in FORMAT.
    Sample(usize, usize),
}

/// The long values of a line, in their written form.
#[derive(Default)]
pub struct LongValues<'l>(HashMap<Place<'l>, &'l [u8]>);

impl<'l> LongValues<'l> {
    pub fn get(&self, place: Place<'l>) -> Option<&'l [u8]> {
        self.0.get(&place).copied()
    }
}

/// Takes the long values out of a long line. Returns the line without them; `None` if there are none.
pub fn take_out<'l>(line: &'l [u8], header: &Header) -> (Option<Vec<u8>>, LongValues<'l>) {
    let (mut short, mut long, mut copied) = (Vec::new(), LongValues::default(), 0);
    if line.len() <= LONG_LINE {
        return (None, long);
    }
    let text = without_end(line);
    let mut keys = Vec::new();
    for (number, column) in pieces(text, b'\t').enumerate() {
        let bytes = &text[column.clone()];
        // "." is a column without keys.
        if number == FORMAT && bytes != b"." {
            keys = pieces(bytes, b':').map(|key| is_read_here(header, &bytes[key])).collect();
        }
        if bytes.len() <= LONG_VALUE {
            continue;
        }
        for (place, value) in long_values(number, bytes, header, &keys) {
            let value = column.start + value.start..column.start + value.end;
            in_steps(&text[copied..value.start], |step| short.extend_from_slice(step));
            short.push(if place == Place::Column(REF) { b'N' } else { b'.' });
            copied = value.end;
            long.0.insert(place, &text[value]);
        }
    }
    if long.0.is_empty() {
        return (None, long);
    }
    in_steps(&line[copied..], |step| short.extend_from_slice(step));
    (Some(short), long)
}

/// Returns a line without its end. As the crate has it, a carriage return at the end of the file is part of the line.
pub fn without_end(line: &[u8]) -> &[u8] {
    match line.strip_suffix(b"\n") {
        Some(line) => line.strip_suffix(b"\r").unwrap_or(line),
        None => line,
    }
}

/// Returns the long values of a column, in order, with their places in it. `keys` says for each key of FORMAT whether
/// its values are read here.
fn long_values<'l>(
    number: usize,
    column: &'l [u8],
    header: &Header,
    keys: &[bool],
) -> Vec<(Place<'l>, Range<usize>)> {
    let is_long = |value: &Range<usize>| value.len() > LONG_VALUE;
    match number {
        REF | ALT => vec![(Place::Column(number), 0..column.len())],
        INFO => {
            let value = |field: Range<usize>| {
                let equals = field.start + find(&column[field.clone()], b'=')?;
                let (key, value) = (&column[field.start..equals], equals + 1..field.end);
                let key_text = std::str::from_utf8(key).ok()?;
                let declared = header.infos().get(key_text)?;
                let is_read_here = !matches!(declared.ty(), info::Type::Flag | info::Type::Character)
                    && declared.number() != info::Number::Count(0);
                (is_read_here && is_long(&value)).then_some((Place::Info(key), value))
            };
            pieces(column, b';').filter_map(value).collect()
        }
        ..=FORMAT => Vec::new(),
        _ => {
            let is_read_here = |(key, value): &(usize, Range<usize>)| {
                keys.get(*key).copied().unwrap_or(false) && is_long(value)
            };
            let values = pieces(column, b':').enumerate().filter(is_read_here);
            values.map(|(key, value)| (Place::Sample(number - FORMAT - 1, key), value)).collect()
        }
    }
}

/// Returns whether values of a FORMAT are read here. Genotypes and characters are left to the crate.
fn is_read_here(header: &Header, key: &[u8]) -> bool {
    let declared = std::str::from_utf8(key).ok().and_then(|key| header.formats().get(key));
    key != b"GT"
        && declared.is_some_and(|declared| {
            declared.ty() != format::Type::Character && declared.number() != format::Number::Count(0)
        })
}

/// Looks for bytes in a text, with a check for each step of it.
struct Scan<'t> {
    text: &'t [u8],
    /// The end of the current step.
    end: usize,
}

impl Scan<'_> {
    fn new(text: &[u8]) -> Scan<'_> {
        Scan { text, end: 0 }
    }

    /// Returns the first place of a byte from `start` on, which must not decrease.
    fn find(&mut self, mut start: usize, wanted: u8) -> Option<usize> {
        while start < self.text.len() {
            if start >= self.end {
                check();
                self.end = self.text.len().min(start + STEP_BYTES);
            }
            if let Some(at) = self.text[start..self.end].iter().position(|&byte| byte == wanted) {
                return Some(start + at);
            }
            start = self.end;
        }
        None
    }
}

/// Returns the first place of a byte.
pub fn find(text: &[u8], wanted: u8) -> Option<usize> {
    Scan::new(text).find(0, wanted)
}

/// Returns the pieces of `text` between separators.
pub fn pieces(text: &[u8], separator: u8) -> impl Iterator<Item = Range<usize>> {
    let (mut scan, mut next) = (Scan::new(text), Some(0));
    std::iter::from_fn(move || {
        let start = next?;
        let end = scan.find(start, separator);
        next = end.map(|end| end + 1);
        Some(start..end.unwrap_or(text.len()))
    })
}

/// Appends the decoded text of an INFO or a sample: %XX is a byte in hexadecimal digits.
pub fn percent_decoded(text: &[u8], out: &mut Vec<u8>) {
    let (mut scan, mut at) = (Scan::new(text), 0);
    while at < text.len() {
        let percent = scan.find(at, b'%').unwrap_or(text.len());
        match &text[at..percent] {
            short if short.len() < STEP_BYTES => out.extend_from_slice(short),
            long => in_steps(long, |step| out.extend_from_slice(step)),
        }
        let digit = |at: usize| text.get(at).and_then(|&byte| char::from(byte).to_digit(16));
        match digit(percent + 1).zip(digit(percent + 2)) {
            Some((high, low)) => {
                out.push((high << 4 | low) as u8);
                at = percent + 3;
            }
            None => {
                out.extend(text.get(percent));
                at = percent + 1;
            }
        }
    }
}
