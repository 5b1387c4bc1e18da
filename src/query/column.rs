//! Reads a batch's columns into vectors.

use std::ops::Range;

use super::plan::Column;
use super::value::{Class, Type};
use super::vector::{Rows, Source, Values, Vector, any};
use crate::expr::{Decimals, run};
use crate::types::Cell;
use crate::wire::numeric::{HeapNumeric, Numeric, pow10};
use crate::wire::numeric_lanes::{self, LANES};
use crate::wire::short_numeric::ShortNumeric;

/// Reads a column's values in some rows, and marks those that a vector cannot hold.
pub fn read(column: Column, batch: &Rows, index: usize, rows: &[u32], out: &mut Vector, odd: &mut [bool]) {
    match batch.column(index) {
        Source::Cells(cells) | Source::Placed(cells, _) => {
            read_cells(column, cells, batch.bytes_of(index), rows, out, odd)
        }
        Source::Words(words, nulls) => read_words(column, words, nulls, rows, out),
        Source::Decimals(decimals) => read_decimals(&decimals, rows, out, odd),
    }
}

/// Returns rows that follow each other as words and NULL flags, if a column has words that are integers.
pub fn words<'a>(of: Type, source: Source<'a>, run: &Range<usize>) -> Option<(&'a [u64], &'a [bool])> {
    match source {
        Source::Words(words, nulls) if of.class() == Class::Word && of != Type::Oid => {
            Some((&words[run.clone()], &nulls[run.clone()]))
        }
        _ => None,
    }
}

/// Reads Datums of a type that is passed by value.
fn read_words(column: Column, words: &[u64], nulls: &[bool], rows: &[u32], out: &mut Vector) {
    out.nulls.clear();
    pick(nulls, rows, &mut out.nulls, |null| null);
    if !any(&out.nulls) {
        out.nulls.clear();
    }
    match column.of {
        Type::Bool => pick(words, rows, out.bools_mut(), |word| word as u8 != 0),
        Type::Float4 => pick(words, rows, out.floats_mut(), |word| f32::from_bits(word as u32).into()),
        Type::Float8 => pick(words, rows, out.floats_mut(), f64::from_bits),
        Type::Oid => pick(words, rows, out.words_mut(), |word| (word as u32).into()),
        _ => pick(words, rows, out.words_mut(), |word| word as i64),
    }
    (out.scale, out.bound) = (0, 0);
    out.measure();
}

/// Appends what is made of the values of some rows.
#[inline(always)]
fn pick<T: Copy, U>(values: &[T], rows: &[u32], out: &mut Vec<U>, make: impl Fn(T) -> U) {
    match run(rows) {
        Some(run) => out.extend(values[run].iter().map(|&value| make(value))),
        None => out.extend(rows.iter().map(|&row| make(values[row as usize]))),
    }
}

/// Reads numerics at the scale that they show.
fn read_decimals(decimals: &Decimals, rows: &[u32], out: &mut Vector, odd: &mut [bool]) {
    out.nulls.clear();
    if decimals.has_nulls() {
        out.nulls.extend(rows.iter().map(|&row| decimals.is_null(row as usize)));
    }
    let Some(scale) = u8::try_from(decimals.dscale).ok().filter(|scale| *scale <= 38) else {
        out.words_mut().resize(rows.len(), 0);
        (out.scale, out.bound) = (0, 0);
        odd.fill(true);
        return;
    };
    out.scale = scale;
    let more = i32::from(scale) - decimals.scale;
    if more != 0 || !decimals.gather(rows, out.words_mut()) {
        let (up, down) = (power(more), power(-more));
        let mut wide = Vec::with_capacity(rows.len());
        decimals.gather_wide(rows, &mut wide);
        for (at, value) in wide.iter_mut().enumerate() {
            let shown = match more {
                0 => Some(*value),
                1.. => value.checked_mul(up),
                _ if *value % down == 0 => Some(*value / down),
                _ => None,
            };
            match shown.filter(|shown| shown.abs() < limit()) {
                Some(shown) => *value = shown,
                None => {
                    odd[at] |= !out.is_null(at);
                    *value = 0;
                }
            }
        }
        out.set_integers(wide);
    }
    out.measure();
}

/// Returns ten to a power, and one for those below zero.
fn power(exponent: i32) -> i128 {
    u32::try_from(exponent).ok().map_or(1, |exponent| 10_i128.checked_pow(exponent).unwrap_or(i128::MAX))
}

/// Reads the cells of some rows, and marks those that a vector cannot hold.
fn read_cells(
    column: Column,
    cells: &[Cell],
    arena: &[u8],
    rows: &[u32],
    out: &mut Vector,
    odd: &mut [bool],
) {
    out.nulls.clear();
    if rows.iter().any(|&row| cells[row as usize].is_null()) {
        out.nulls.extend(rows.iter().map(|&row| cells[row as usize].is_null()));
    }
    let cells = Cells { cells, arena, rows };
    match column.of {
        Type::Bool => {
            let bools = out.bools_mut();
            cells.fixed(odd, |byte: [u8; 1]| byte[0] != 0, bools);
        }
        Type::Int2 => cells.words(odd, |bytes| i16::from_le_bytes(bytes).into(), out),
        Type::Int4 | Type::Date => cells.words(odd, |bytes| i32::from_le_bytes(bytes).into(), out),
        Type::Oid => cells.words(odd, |bytes| u32::from_le_bytes(bytes).into(), out),
        Type::Int8 | Type::Time | Type::Timestamp | Type::TimestampTz => {
            cells.words(odd, i64::from_le_bytes, out)
        }
        Type::Float4 => {
            cells.fixed(odd, |bytes| f32::from_le_bytes(bytes).into(), out.floats_mut());
        }
        Type::Float8 => {
            cells.fixed(odd, f64::from_le_bytes, out.floats_mut());
        }
        Type::Numeric => cells.numerics(column.scale, out, odd),
        Type::Other => out.words_mut().resize(rows.len(), 0),
        Type::Text | Type::Bpchar | Type::Uuid => {
            let Values::Bytes(bytes) = &mut out.values else { unreachable!("a column of bytes") };
            bytes.clear();
            bytes.extend(rows.iter().map(|&row| cells.cells[row as usize]));
        }
    }
}

struct Cells<'a> {
    cells: &'a [Cell],
    arena: &'a [u8],
    rows: &'a [u32],
}

impl Cells<'_> {
    fn each(&self) -> impl Iterator<Item = Cell> {
        self.rows.iter().map(|&row| self.cells[row as usize])
    }

    /// Reads values of `N` bytes; a NULL gives any.
    #[inline(always)]
    fn fixed<T: Default, const N: usize>(
        &self,
        odd: &mut [bool],
        read: impl Fn([u8; N]) -> T,
        out: &mut Vec<T>,
    ) {
        out.extend(self.each().zip(odd).map(|(cell, odd)| {
            let found = self.arena.get(cell.pos as usize..).and_then(|rest| rest.first_chunk::<N>());
            match found {
                Some(bytes) => read(*bytes),
                // A NULL has no place, and all others lie in the arena.
                None => {
                    *odd |= !cell.is_null();
                    T::default()
                }
            }
        }));
    }

    #[inline(always)]
    fn words<const N: usize>(&self, odd: &mut [bool], read: impl Fn([u8; N]) -> i64, out: &mut Vector) {
        self.fixed(odd, read, out.words_mut());
        out.scale = 0;
        out.measure();
    }

    /// Reads numerics at the declared scale, or at that of the first one. Those that show another scale are odd.
    fn numerics(&self, declared: Option<u8>, out: &mut Vector, odd: &mut [bool]) {
        let Some(scale) = declared.or_else(|| self.first_scale()) else {
            out.words_mut().resize(self.rows.len(), 0);
            (out.scale, out.bound) = (0, 0);
            // Either none has a value, or none of those has a scale.
            self.each().zip(odd).for_each(|(cell, odd)| *odd |= !cell.is_null());
            return;
        };
        out.scale = scale;
        match scale {
            0 => self.short::<0, 1>(out, odd),
            1 => self.short::<1, 1000>(out, odd),
            2 => self.short::<1, 100>(out, odd),
            3 => self.short::<1, 10>(out, odd),
            4 => self.short::<1, 1>(out, odd),
            5 => self.short::<2, 1000>(out, odd),
            6 => self.short::<2, 100>(out, odd),
            7 => self.short::<2, 10>(out, odd),
            8 => self.short::<2, 1>(out, odd),
            _ => self.long(0, out, odd),
        }
        out.measure();
    }

    fn first_scale(&self) -> Option<u8> {
        let scale = |cell: Cell| match HeapNumeric::read(cell.bytes(self.arena)?) {
            Ok(Numeric::Finite(num)) => u8::try_from(num.dscale()).ok().filter(|scale| *scale <= 38),
            _ => None,
        };
        self.each().find_map(scale)
    }

    /// Reads values of at most four digits of base 10000, of which `GROUPS` are behind the point at most; what is
    /// above the scale in the last of them is divided off.
    fn short<const GROUPS: i32, const DIVISOR: i64>(&self, out: &mut Vector, odd: &mut [bool]) {
        let scale = out.scale;
        let mut words = std::mem::take(out.words_mut());
        words.resize(self.rows.len(), 0);
        let mut is_wide = None;
        let mut next = 0;
        while next < words.len() && is_wide.is_none() {
            let (rows, words_left) = (&self.rows[next..], &mut words[next..]);
            next += numeric_lanes::read::<GROUPS, DIVISOR>(self.arena, self.cells, rows, scale, words_left);
            let last = words.len().min(next + LANES);
            for at in next..last {
                let cell = self.cells[self.rows[at] as usize];
                if cell.is_null() {
                    continue;
                }
                let short =
                    ShortNumeric::read(self.arena, cell).filter(|short| short.dscale == u16::from(scale));
                match short.and_then(|short| short.at(GROUPS)).filter(|value| value % DIVISOR == 0) {
                    Some(value) => words[at] = value / DIVISOR,
                    None => match at_scale(cell.of(self.arena), scale).map(i64::try_from) {
                        None => odd[at] = true,
                        Some(Ok(value)) => words[at] = value,
                        Some(Err(_)) => {
                            is_wide = Some(at);
                            break;
                        }
                    },
                }
            }
            next = last;
        }
        *out.words_mut() = words;
        if let Some(from) = is_wide {
            self.long(from, out, odd);
        }
    }

    /// Reads the values from row `from` on; those before it are read.
    #[cold]
    fn long(&self, from: usize, out: &mut Vector, odd: &mut [bool]) {
        let (scale, rows) = (out.scale, self.rows.len());
        let mut wide: Vec<i128> = match (&out.values, from) {
            (Values::Words(words), 1..) => words[..from].iter().map(|&word| word.into()).collect(),
            _ => Vec::new(),
        };
        wide.resize(rows, 0);
        for at in from..rows {
            if let Some(bytes) = self.cells[self.rows[at] as usize].bytes(self.arena) {
                match at_scale(bytes, scale) {
                    Some(value) => wide[at] = value,
                    None => odd[at] = true,
                }
            }
        }
        out.set_integers(wide);
    }
}

/// The greatest magnitude of a numeric in a vector is below it, so that a sum of 2^31 of them has 128 bits.
fn limit() -> i128 {
    pow10(28).unwrap_or(i128::MAX)
}

fn at_scale(bytes: &[u8], scale: u8) -> Option<i128> {
    let num = HeapNumeric::read(bytes).ok()?.finite().ok()?;
    let value = num.to_i128_at(scale).filter(|_| num.dscale() == u16::from(scale))?;
    (value.abs() < limit()).then_some(value)
}
