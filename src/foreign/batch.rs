//! One batch of a scan: the rows that meet the scan's own conditions become tuples' values.

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use pgrx::pg_sys;

use super::column::Failure;
use super::file_column::{FileColumn, TableColumn};
use super::held::Loaded;
use crate::fdw::Rows;
use crate::pg::error::{Error, Result, internal};
use crate::pg::tuple_slot::Cells;

/// A batch, and the columns that make values of it.
pub struct Batch<'a> {
    pub columns: &'a [TableColumn],
    pub values: &'a mut [FileColumn],
    pub rows: &'a Rows,
    /// The file, and its rows before the group.
    pub path: &'a str,
    pub first: u64,
}

/// The rows that meet the conditions.
pub enum Selection {
    All,
    None,
    Some(Vec<bool>),
}

impl Selection {
    /// Returns a selection of rows, of which there are `count`.
    pub fn of(found: &[u32], count: usize) -> Selection {
        if found.is_empty() || found.len() == count {
            return if found.is_empty() { Selection::None } else { Selection::All };
        }
        let mut selected = vec![false; count];
        found.iter().for_each(|&row| selected[row as usize] = true);
        Selection::Some(selected)
    }
}

impl Batch<'_> {
    /// Returns the values of some columns; numerics and texts stay in the file's form if they can.
    pub fn load(&mut self, wanted: &[usize]) -> Result<Vec<Loaded<'_>>> {
        let Batch { columns, values, rows, path, first } = self;
        let mut in_place = Vec::with_capacity(wanted.len());
        for &at in wanted {
            let mut found = None;
            if let (FileColumn::Read(place, value), Some(batch)) = (&mut values[at], &rows.batch) {
                let array = batch.column(*place);
                let row = |row| *first + rows.before(row);
                let failed = |failure: Failure| report(failure, path, &columns[at], row, None);
                found = value.decimals(array).map_err(failed)?.map(Loaded::Decimals);
                found = found.or_else(|| value.texts(array).map(Loaded::Texts));
                if found.is_none() {
                    value.fill(array).map_err(failed)?;
                }
            }
            in_place.push(found);
        }
        let loaded = wanted.iter().zip(in_place).map(|(&at, in_place)| {
            let (FileColumn::Read(_, value) | FileColumn::Constant(value)) = &values[at];
            let words = &value.words;
            in_place.unwrap_or_else(|| Loaded::Words(&words.words[..rows.count], &words.nulls[..rows.count]))
        });
        Ok(loaded.collect())
    }

    /// Makes the selected rows' values for the executor's slots, and returns how many rows they are.
    pub fn fill(&mut self, selected: Option<&[bool]>, cells: &mut Vec<Cells>) -> Result<usize> {
        let filtered = match (selected, &self.rows.batch) {
            (Some(selected), Some(batch)) => Some(filter(batch, selected)?),
            _ => None,
        };
        let batch = filtered.as_ref().or(self.rows.batch.as_ref());
        for (column, value) in self.columns.iter().zip(self.values.iter_mut()) {
            if !column.is_shown {
                continue;
            }
            let value = match value {
                FileColumn::Read(at, value) => {
                    let Some(batch) = batch else { continue };
                    let row = |row| self.first + self.rows.before(row);
                    let failed = |failure| report(failure, self.path, column, row, selected);
                    value.fill(batch.column(*at)).map_err(failed)?;
                    value
                }
                FileColumn::Constant(value) => value,
            };
            let (words, nulls) = (value.words.words.as_ptr(), value.words.nulls.as_ptr());
            cells.push(Cells { index: column.index, words, nulls });
        }
        Ok(selected.map_or(self.rows.count, |rows| rows.iter().filter(|&&row| row).count()))
    }
}

fn filter(batch: &RecordBatch, selected: &[bool]) -> Result<RecordBatch> {
    let selected = BooleanArray::from(selected.to_vec());
    filter_record_batch(batch, &selected).map_err(|cause| internal(cause.to_string()))
}

/// Returns the error for a value of a column. `before` tells how many rows of the file come before one of the batch;
/// the failure counts the rows that are `selected`.
fn report(
    failure: Failure,
    path: &str,
    column: &TableColumn,
    before: impl Fn(usize) -> u64,
    selected: Option<&[bool]>,
) -> Error {
    let row = match selected {
        None => failure.row,
        Some(selected) => {
            let mut rows = selected.iter().enumerate().filter(|(_, row)| **row).map(|(at, _)| at);
            rows.nth(failure.row).unwrap_or(failure.row)
        }
    };
    failure.report(path, &column.name, before(row) + 1, &column.type_name())
}

/// Empties a memory context and runs `work` with it as the current one.
///
/// # Safety
/// Nothing in the context is used any more.
pub unsafe fn in_context<T>(context: pg_sys::MemoryContext, work: impl FnOnce() -> T) -> T {
    // SAFETY: the context exists, and nothing in it is used. An error of PostgreSQL's sets its own context.
    unsafe {
        pg_sys::MemoryContextReset(context);
        let before = pg_sys::MemoryContextSwitchTo(context);
        let result = work();
        pg_sys::MemoryContextSwitchTo(before);
        result
    }
}
