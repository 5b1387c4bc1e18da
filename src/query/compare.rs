//! Comparisons of vectors: which rows they are true for. NULL compares as NULL.

use super::plan::{Like, Test};
use super::value::{Class, Type, Value};
use super::vector::{Values, Vector, any};
use crate::expr::{Place, Range, float_key};
use crate::wire::numeric::pow10;

/// Compares words.
pub fn words(test: Test, left: &Vector, right: &Vector, out: &mut Vector) {
    out.join_nulls(left, right);
    by_test(test, left.words(), right.words(), out.bools_mut());
}

/// Compares truth values: false is less than true.
pub fn bools(test: Test, left: &Vector, right: &Vector, out: &mut Vector) {
    out.join_nulls(left, right);
    by_test(test, left.bools(), right.bools(), out.bools_mut());
}

/// Compares floats: NaN equals NaN and is above all others.
pub fn floats(test: Test, left: &Vector, right: &Vector, out: &mut Vector) {
    out.join_nulls(left, right);
    let keys = left.floats().iter().zip(right.floats());
    let is_true = |(&a, &b): (&f64, &f64)| test.holds(float_key(a).cmp(&float_key(b)));
    out.bools_mut().extend(keys.map(is_true));
}

/// Compares numerics. Those that cannot be brought to one scale are odd.
pub fn numerics(test: Test, left: &Vector, right: &Vector, out: &mut Vector, odd: &mut [bool]) {
    out.join_nulls(left, right);
    let scale = left.scale.max(right.scale);
    let factor = |vector: &Vector| pow10((scale - vector.scale).into()).unwrap_or(i128::MAX);
    let (x, y) = (factor(left), factor(right));
    let bound = left.bound.saturating_mul(x as u128).max(right.bound.saturating_mul(y as u128));
    let bools = out.bools_mut();
    match (&left.values, &right.values) {
        (Values::Words(a), Values::Words(b)) if (x, y) == (1, 1) => by_test(test, a, b, bools),
        (Values::Words(a), Values::Words(b)) if bound < 1 << 63 => {
            let (x, y) = (x as i64, y as i64);
            bools.extend(a.iter().zip(b).map(|(a, b)| test.holds((a * x).cmp(&(b * y)))));
        }
        _ if bound < 1 << 126 => {
            let order = |row| (left.wide(row) * x).cmp(&(right.wide(row) * y));
            bools.extend((0..left.len()).map(|row| test.holds(order(row))));
        }
        _ => {
            bools.resize(left.len(), false);
            odd.fill(true);
        }
    }
}

/// Returns whether values of a type are compared with a constant by `with_constant`.
pub fn takes(of: Type, value: &Value) -> bool {
    match value {
        Value::Word(_) => of.class() == Class::Word,
        Value::Float(_) | Value::Numeric(_) => true,
        Value::Null | Value::Bytes(_) => false,
    }
}

/// Compares words, floats, or numerics of any size and those that are not finite, with a constant.
pub fn with_constant(test: Test, from: &Vector, value: &Value, out: &mut Vector) {
    out.nulls.clone_from(&from.nulls);
    let bools = out.bools_mut();
    let place = match value {
        Value::Word(word) => Place::At((*word).into(), true),
        Value::Float(bits) => Place::At(float_key(f64::from_bits(*bits)).into(), true),
        Value::Numeric(value) => value.place(from.scale.into()),
        Value::Null | Value::Bytes(_) => unreachable!("not taken"),
    };
    let range = Range::new(test, place);
    let narrow = range.narrow();
    match &from.values {
        Values::Words(words) => bools.extend(words.iter().map(|&word| narrow.contains(word))),
        Values::Floats(floats) => {
            bools.extend(floats.iter().map(|&float| narrow.contains(float_key(float))));
        }
        _ => bools.extend((0..from.len()).map(|row| range.contains(from.wide(row)))),
    }
}

/// Compares words that are integers with a constant.
pub fn in_place(test: Test, words: &[u64], nulls: &[bool], value: &Value, out: &mut Vector) {
    let Value::Word(value) = value else { unreachable!("words are compared with a word") };
    let range = Range::new(test, Place::At((*value).into(), true)).narrow();
    out.bools_mut().extend(words.iter().map(|&word| range.contains(word as i64)));
    out.nulls.clear();
    if any(nulls) {
        out.nulls.extend(nulls);
    }
}

/// Compares values' bytes.
pub fn bytes<'a>(
    test: Test,
    left: impl Iterator<Item = &'a [u8]>,
    right: impl Iterator<Item = &'a [u8]>,
    out: &mut Vec<bool>,
) {
    match test {
        Test::Equal => out.extend(left.zip(right).map(|(a, b)| a == b)),
        Test::NotEqual => out.extend(left.zip(right).map(|(a, b)| a != b)),
        _ => out.extend(left.zip(right).map(|(a, b)| test.holds(a.cmp(b)))),
    }
}

#[inline(always)]
fn by_test<T: Ord + Copy>(test: Test, a: &[T], b: &[T], out: &mut Vec<bool>) {
    let pairs = a.iter().zip(b);
    match test {
        Test::Less => out.extend(pairs.map(|(a, b)| a < b)),
        Test::LessEqual => out.extend(pairs.map(|(a, b)| a <= b)),
        Test::Equal => out.extend(pairs.map(|(a, b)| a == b)),
        Test::GreaterEqual => out.extend(pairs.map(|(a, b)| a >= b)),
        Test::Greater => out.extend(pairs.map(|(a, b)| a > b)),
        Test::NotEqual => out.extend(pairs.map(|(a, b)| a != b)),
    }
}

impl Like {
    /// Returns a pattern with `\` as the escape character; `None` if it ends with one, which is an error for some texts.
    pub fn new(pattern: &[u8], is_utf8: bool) -> Option<Like> {
        let (mut parts, mut part) = (Vec::new(), Vec::new());
        let mut bytes = pattern.iter();
        while let Some(&byte) = bytes.next() {
            match byte {
                b'%' => parts.push(std::mem::take(&mut part)),
                b'_' => part.push(None),
                b'\\' => part.push(Some(*bytes.next()?)),
                _ => part.push(Some(byte)),
            }
        }
        parts.push(part);
        Some(Like { parts, is_utf8 })
    }

    /// Returns whether a text matches: each part where it is met first, the last one at the end.
    pub fn matches(&self, text: &[u8]) -> bool {
        let Some((first, rest)) = self.parts.split_first() else { return text.is_empty() };
        let Some(mut text) = self.after(first, text) else { return false };
        let Some((last, middle)) = rest.split_last() else { return text.is_empty() };
        for part in middle {
            let Some(behind) = self.find(part, text) else { return false };
            text = behind;
        }
        self.ends_with(last, text)
    }

    /// Returns what follows a part that a text begins with.
    fn after<'t>(&self, part: &[Option<u8>], text: &'t [u8]) -> Option<&'t [u8]> {
        let mut rest = text;
        for byte in part {
            match byte {
                Some(byte) => rest = rest.strip_prefix(&[*byte])?,
                None => rest = &rest[self.character(rest)?..],
            }
        }
        Some(rest)
    }

    /// Returns the length of the first character.
    fn character(&self, text: &[u8]) -> Option<usize> {
        let first = *text.first()?;
        let length = match first {
            0xf0.. => 4,
            0xe0.. => 3,
            0xc0.. => 2,
            _ => 1,
        };
        Some(if self.is_utf8 { length.min(text.len()) } else { 1 })
    }

    fn find<'t>(&self, part: &[Option<u8>], text: &'t [u8]) -> Option<&'t [u8]> {
        let mut at = 0;
        loop {
            if let Some(Some(first)) = part.first() {
                at += text[at..].iter().position(|byte| byte == first)?;
            }
            match self.after(part, &text[at..]) {
                Some(rest) => return Some(rest),
                None => at += self.character(&text[at..])?,
            }
        }
    }

    fn ends_with(&self, part: &[Option<u8>], text: &[u8]) -> bool {
        let mut rest = text;
        for byte in part.iter().rev() {
            let Some((&last, before)) = rest.split_last() else { return false };
            match byte {
                Some(byte) if *byte != last => return false,
                Some(_) => rest = before,
                None => {
                    let is_inside = |byte: &u8| self.is_utf8 && byte & 0xc0 == 0x80;
                    let start = rest.iter().rposition(|byte| !is_inside(byte)).unwrap_or(0);
                    rest = &rest[..start];
                }
            }
        }
        true
    }
}
