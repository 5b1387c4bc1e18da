//! Rows that a device has decoded, as sinks read them: as lanes in general, and as cells when this process has
//! to add or decode values.

use std::ops::Range;

use super::program::Form;
use crate::pg::error::{Result, internal};
use crate::slot::output::Output;
use crate::types::{Cell, Lane, Physical, Repr};

pub struct Decoded<'a> {
    pub(super) output: &'a Output<'a>,
    pub(super) forms: &'a [Form],
    pub(super) patches: &'a Patches,
    pub(super) repr: Repr,
}

impl Decoded<'_> {
    /// Returns how the bytes of a column's cells represent its values, when it comes as cells.
    pub fn cells_repr(&self, column: usize, range: Range<usize>) -> Option<Repr> {
        let as_cells = self.forms[column] == Form::Cells || !self.patches.of(column, range).is_empty();
        as_cells.then_some(self.repr)
    }

    /// Fills a lane with a column's rows; returns the bytes that it points into.
    pub fn lane(
        &self,
        column: usize,
        physical: Physical,
        range: Range<usize>,
        lane: &mut Lane,
    ) -> Result<&[u8]> {
        self.output.lane(column, physical, range, lane).map_err(internal)
    }

    /// Returns a column's rows as cells in an arena of their own.
    pub fn cells(
        &self,
        column: usize,
        range: Range<usize>,
        cells: &mut Vec<Cell>,
        arena: &mut Vec<u8>,
    ) -> Result<()> {
        let bytes = self.output.cells(column, range.clone(), cells).map_err(internal)?;
        arena.clear();
        for cell in cells.iter_mut() {
            if let Some(value) = cell.bytes(bytes) {
                let copy = Cell::new(arena.len(), value.len());
                arena.extend_from_slice(value);
                *cell = copy;
            }
        }
        for patch in self.patches.of(column, range.clone()) {
            let value = patch.value.of(&self.patches.arena);
            cells[patch.row as usize - range.start] = Cell::new(arena.len(), value.len());
            arena.extend_from_slice(value);
        }
        Ok(())
    }
}

/// Values that the device left out and the server has found since.
#[derive(Default)]
pub struct Patches {
    pub(super) arena: Vec<u8>,
    /// Sorted by column, then row.
    list: Vec<Patch>,
}

#[derive(Clone, Copy, Debug)]
pub struct Patch {
    pub column: u32,
    pub row: u32,
    /// A cell of the arena.
    pub value: Cell,
}

impl Patches {
    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.arena.clear();
    }

    pub(super) fn push(&mut self, patch: Patch) {
        self.list.push(patch);
    }

    pub(super) fn sort(&mut self) {
        self.list.sort_unstable_by_key(|patch| (patch.column, patch.row));
    }

    fn of(&self, column: usize, rows: Range<usize>) -> &[Patch] {
        let place = |row: usize| {
            self.list.partition_point(|patch| (patch.column as usize, patch.row as usize) < (column, row))
        };
        &self.list[place(rows.start)..place(rows.end)]
    }
}
