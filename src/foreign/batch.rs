//! One batch of a scan: the rows that meet the scan's own conditions become tuples' values.

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use pgrx::pg_sys;

use super::column::Failure;
use super::conditions::Conditions;
use super::file_column::{FileColumn, TableColumn};
use crate::expr::Vector;
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
    fn of(found: Vec<bool>) -> Selection {
        match (found.contains(&true), found.contains(&false)) {
            (false, _) => Selection::None,
            (true, false) => Selection::All,
            (true, true) => Selection::Some(found),
        }
    }
}

impl Batch<'_> {
    /// Returns the rows that meet the conditions.
    ///
    /// # Safety
    /// The conditions' expressions have their values; the current context is the batch's.
    pub unsafe fn select(&mut self, conditions: &Conditions) -> Result<Selection> {
        if !conditions.decide() {
            return Ok(Selection::All);
        }
        let count = self.rows.count;
        let columns = self.load(&conditions.decided_columns())?;
        // SAFETY: the expressions have their values; the words are of the columns' types.
        Ok(Selection::of(unsafe { conditions.select(count, &columns) }))
    }

    /// Returns the values of some columns; numerics stay in the file's form if it has one.
    pub fn load(&mut self, wanted: &[usize]) -> Result<Vec<Option<Vector<'_>>>> {
        let Batch { columns, values, rows, path, first } = self;
        let mut decimals = Vec::with_capacity(wanted.len());
        for &at in wanted {
            let mut found = None;
            if let (FileColumn::Read(place, value), Some(batch)) = (&mut values[at], &rows.batch) {
                let array = batch.column(*place);
                let row = |row| *first + rows.before(row);
                let failed = |failure: Failure| report(failure, path, &columns[at], row, None);
                found = value.decimals(array).map_err(failed)?;
                if found.is_none() {
                    value.fill(array).map_err(failed)?;
                }
            }
            decimals.push(found);
        }
        let mut loaded: Vec<Option<Vector>> = columns.iter().map(|_| None).collect();
        for (&at, decimals) in wanted.iter().zip(decimals) {
            let words = match &values[at] {
                FileColumn::Read(_, value) | FileColumn::Constant(value) => &value.words,
            };
            loaded[at] = Some(match decimals {
                Some(decimals) => Vector::Decimals(decimals),
                None => Vector::Words(&words.words[..rows.count], &words.nulls[..rows.count]),
            });
        }
        Ok(loaded)
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
