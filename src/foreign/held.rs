//! The values of a batch's columns in the form in which conditions and aggregates take them.

use crate::expr::{Decimals, varlena};
use crate::fdw::values::Texts;
use crate::pg::error::Result;
use crate::pg::render::place;
use crate::query::{Rows, Source, Type};
use crate::types::Cell;

/// Capacity that the arena keeps after large values.
const KEPT_BYTES: usize = 64 << 20;

/// The values of a column in a batch.
pub enum Loaded<'a> {
    /// Datums and NULL flags.
    Words(&'a [u64], &'a [bool]),
    /// Numerics and texts in the file's form.
    Decimals(Decimals<'a>),
    Texts(Texts<'a>),
}

/// What is kept between batches: places of values, and those that have to be copied.
pub struct Held {
    types: Vec<Type>,
    cells: Vec<Vec<Cell>>,
    arena: Vec<u8>,
}

/// The columns of a batch.
pub struct Sources<'a> {
    columns: Vec<Source<'a>>,
    arena: &'a [u8],
}

impl Sources<'_> {
    pub fn rows(&self) -> Rows<'_> {
        Rows::mixed(&self.columns, self.arena)
    }
}

impl Held {
    pub fn new(types: Vec<Type>) -> Held {
        let cells = types.iter().map(|_| Vec::new()).collect();
        Held { types, cells, arena: Vec::new() }
    }

    /// Takes the columns of a batch; returns `None` if they are larger than 4 gigabytes together.
    pub fn take<'a>(&'a mut self, columns: &[&Loaded<'a>]) -> Result<Option<Sources<'a>>> {
        self.arena.clear();
        self.arena.shrink_to(KEPT_BYTES);
        for ((of, column), cells) in self.types.iter().zip(columns).zip(&mut self.cells) {
            cells.clear();
            match column {
                Loaded::Texts(texts) => {
                    cells.extend(texts.places().map(|place| match place {
                        Some(place) => Cell::new(place.start, place.len()),
                        None => Cell::NULL,
                    }));
                }
                Loaded::Words(words, nulls) if is_elsewhere(*of) => {
                    let is_placed = copy(*of, words, nulls, cells, &mut self.arena)?;
                    if !is_placed {
                        return Ok(None);
                    }
                }
                _ => {}
            }
        }
        let source = |((column, of), cells): ((&&Loaded<'a>, &Type), &'a Vec<Cell>)| match column {
            Loaded::Texts(texts) => Source::Placed(cells, texts.bytes()),
            Loaded::Words(..) if is_elsewhere(*of) => Source::Cells(cells),
            Loaded::Words(words, nulls) => Source::Words(words, nulls),
            Loaded::Decimals(decimals) => Source::Decimals(*decimals),
        };
        let columns = columns.iter().zip(&self.types).zip(&self.cells).map(source).collect();
        Ok(Some(Sources { columns, arena: &self.arena }))
    }
}

/// Returns whether Datums of a type point to the values.
fn is_elsewhere(of: Type) -> bool {
    matches!(of, Type::Text | Type::Bpchar | Type::Uuid | Type::Numeric)
}

/// Copies values into the arena; returns false if it has no place for them.
fn copy(of: Type, words: &[u64], nulls: &[bool], cells: &mut Vec<Cell>, arena: &mut Vec<u8>) -> Result<bool> {
    for (&word, &is_null) in words.iter().zip(nulls) {
        if is_null {
            cells.push(Cell::NULL);
            continue;
        }
        // SAFETY: the word is a Datum of the type, in the batch's memory.
        let bytes = unsafe {
            match of {
                Type::Uuid => std::slice::from_raw_parts(word as *const u8, 16),
                _ => varlena(word),
            }
        };
        let Some(cell) = place(bytes, arena)? else { return Ok(false) };
        cells.push(cell);
    }
    Ok(true)
}
