//! The values of an expression in a block of rows.

use super::value::{Class, Type};
use crate::expr::Decimals;
use crate::types::Cell;

/// Rows that are evaluated together. Their vectors stay in the processor's caches.
pub const BLOCK: usize = 1024;

/// Rows of a batch, as a scan has them.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    columns: Columns<'a>,
    /// What most cells are places in.
    arena: &'a [u8],
}

#[derive(Clone, Copy)]
enum Columns<'a> {
    Heap(&'a [Vec<Cell>]),
    Mixed(&'a [Source<'a>]),
}

/// The values of a column in a batch.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    /// Values in the heap's form, which lie in the batch's arena.
    Cells(&'a [Cell]),
    /// The same, which lie elsewhere.
    Placed(&'a [Cell], &'a [u8]),
    /// Datums of a type that is passed by value, and NULL flags.
    Words(&'a [u64], &'a [bool]),
    /// Numerics in a file's form.
    Decimals(Decimals<'a>),
}

impl<'a> Rows<'a> {
    /// Rows of a heap: one vector a column, one cell a row.
    pub fn heap(cells: &'a [Vec<Cell>], arena: &'a [u8]) -> Rows<'a> {
        Rows { columns: Columns::Heap(cells), arena }
    }

    /// Rows whose columns come in several forms.
    pub fn mixed(columns: &'a [Source<'a>], arena: &'a [u8]) -> Rows<'a> {
        Rows { columns: Columns::Mixed(columns), arena }
    }

    /// Returns the bytes in which the cells of a column lie.
    pub fn bytes_of(&self, index: usize) -> &'a [u8] {
        match self.column(index) {
            Source::Placed(_, bytes) => bytes,
            _ => self.arena,
        }
    }

    pub fn column(&self, index: usize) -> Source<'a> {
        match self.columns {
            Columns::Heap(cells) => Source::Cells(&cells[index]),
            Columns::Mixed(columns) => columns[index],
        }
    }
}

/// One value for each row of a block.
#[derive(Clone, Debug)]
pub struct Vector {
    pub values: Values,
    /// Whether each value is NULL; empty if none is. The value of a NULL is any.
    pub nulls: Vec<bool>,
    /// The decimal digits after the point of numerics, which is also the scale that each of them shows.
    pub scale: u8,
    /// No value's magnitude is above it, of class Word or Numeric.
    pub bound: u128,
}

#[derive(Clone, Debug)]
pub enum Values {
    Bools(Vec<bool>),
    Words(Vec<i64>),
    /// Numerics beyond 64 bits.
    Wide(Vec<i128>),
    Floats(Vec<f64>),
    /// Places in the batch's arena, or in the constant's own bytes.
    Bytes(Vec<Cell>),
}

impl Vector {
    pub fn new(of: Type) -> Vector {
        let values = match of.class() {
            Class::Bool => Values::Bools(Vec::new()),
            Class::Word | Class::Numeric => Values::Words(Vec::new()),
            Class::Float => Values::Floats(Vec::new()),
            Class::Bytes => Values::Bytes(Vec::new()),
        };
        Vector { values, nulls: Vec::new(), scale: 0, bound: 0 }
    }

    pub fn is_null(&self, row: usize) -> bool {
        !self.nulls.is_empty() && self.nulls[row]
    }

    pub fn bools(&self) -> &[bool] {
        match &self.values {
            Values::Bools(values) => values,
            _ => unreachable!("a vector of truth values"),
        }
    }

    pub fn words(&self) -> &[i64] {
        match &self.values {
            Values::Words(values) => values,
            _ => unreachable!("a vector of words"),
        }
    }

    pub fn floats(&self) -> &[f64] {
        match &self.values {
            Values::Floats(values) => values,
            _ => unreachable!("a vector of floats"),
        }
    }

    pub fn cells(&self) -> &[Cell] {
        match &self.values {
            Values::Bytes(values) => values,
            _ => unreachable!("a vector of bytes"),
        }
    }

    /// Returns a numeric or a word of any width.
    pub fn wide(&self, row: usize) -> i128 {
        match &self.values {
            Values::Words(values) => values[row].into(),
            Values::Wide(values) => values[row],
            _ => unreachable!("a vector of integers"),
        }
    }

    /// Returns the truth values, emptied.
    pub fn bools_mut(&mut self) -> &mut Vec<bool> {
        if !matches!(self.values, Values::Bools(_)) {
            self.values = Values::Bools(Vec::new());
        }
        let Values::Bools(values) = &mut self.values else { unreachable!("made above") };
        values.clear();
        values
    }

    /// Returns the words, emptied.
    pub fn words_mut(&mut self) -> &mut Vec<i64> {
        if !matches!(self.values, Values::Words(_)) {
            self.values = Values::Words(Vec::new());
        }
        let Values::Words(values) = &mut self.values else { unreachable!("made above") };
        values.clear();
        values
    }

    /// Returns the floats, emptied.
    pub fn floats_mut(&mut self) -> &mut Vec<f64> {
        if !matches!(self.values, Values::Floats(_)) {
            self.values = Values::Floats(Vec::new());
        }
        let Values::Floats(values) = &mut self.values else { unreachable!("made above") };
        values.clear();
        values
    }

    /// Sets integers, as words if all are.
    pub fn set_integers(&mut self, wide: Vec<i128>) {
        match wide.iter().map(|&value| i64::try_from(value)).collect::<Result<Vec<i64>, _>>() {
            Ok(words) => *self.words_mut() = words,
            Err(_) => *self.wide_mut() = wide,
        }
    }

    /// Returns the wide integers, emptied.
    pub fn wide_mut(&mut self) -> &mut Vec<i128> {
        if !matches!(self.values, Values::Wide(_)) {
            self.values = Values::Wide(Vec::new());
        }
        let Values::Wide(values) = &mut self.values else { unreachable!("made above") };
        values.clear();
        values
    }

    /// Makes the value NULL in each row where one of two others is.
    pub fn join_nulls(&mut self, left: &Vector, right: &Vector) {
        self.nulls.clear();
        match (left.nulls.is_empty(), right.nulls.is_empty()) {
            (true, true) => {}
            (false, true) => self.nulls.extend(&left.nulls),
            (true, false) => self.nulls.extend(&right.nulls),
            (false, false) => self.nulls.extend(left.nulls.iter().zip(&right.nulls).map(|(a, b)| a | b)),
        }
    }

    /// Gives a constant's vector another number of rows, which is not 0.
    pub fn resize(&mut self, rows: usize) {
        fn resize<T: Copy>(values: &mut Vec<T>, rows: usize) {
            if let Some(&first) = values.first() {
                values.resize(rows, first);
            }
        }
        resize(&mut self.nulls, rows);
        match &mut self.values {
            Values::Bools(values) => resize(values, rows),
            Values::Words(values) => resize(values, rows),
            Values::Wide(values) => resize(values, rows),
            Values::Floats(values) => resize(values, rows),
            Values::Bytes(values) => resize(values, rows),
        }
    }

    pub fn len(&self) -> usize {
        match &self.values {
            Values::Bools(values) => values.len(),
            Values::Words(values) => values.len(),
            Values::Wide(values) => values.len(),
            Values::Floats(values) => values.len(),
            Values::Bytes(values) => values.len(),
        }
    }

    /// Sets `bound` to the greatest magnitude.
    pub fn measure(&mut self) {
        self.bound = match &self.values {
            Values::Words(values) => greatest(values).into(),
            Values::Wide(values) => values.iter().map(|value| value.unsigned_abs()).max().unwrap_or(0),
            _ => 0,
        };
    }
}

fn greatest(values: &[i64]) -> u64 {
    // Of a value or its complement, so that the loop is one of bits: what is below 2^n stays below 2^n.
    let bits = values.iter().fold(0_u64, |bits, &value| bits | (value ^ (value >> 63)) as u64);
    let top = 64 - bits.leading_zeros();
    1_u64.checked_shl(top).unwrap_or(u64::MAX)
}

/// Returns whether one of some flags is true. Without an early end the loop is one of vectors.
#[inline]
pub fn any(flags: &[bool]) -> bool {
    flags.iter().fold(false, |any, flag| any | flag)
}

/// Returns the bytes of a cell, none of NULL.
pub fn text(cell: Cell, arena: &[u8]) -> &[u8] {
    cell.bytes(arena).unwrap_or(&[])
}
