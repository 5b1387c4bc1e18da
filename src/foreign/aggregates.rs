//! The aggregates of a scan, and their states.

use pgrx::pg_sys::Datum;

use crate::expr::{State, Vector};
use crate::pg::error::Result;
use crate::pg::expr::aggregate::Aggregate;

pub struct Aggregates {
    all: Vec<OfColumn>,
    /// The row of states was given.
    pub is_done: bool,
}

struct OfColumn {
    aggregate: Aggregate,
    /// Among the scan's columns; `None` for count(*).
    column: Option<usize>,
    state: State,
}

impl Aggregates {
    pub fn new(all: impl IntoIterator<Item = (Aggregate, Option<usize>)>) -> Aggregates {
        let of_column = |(aggregate, column): (Aggregate, _)| OfColumn {
            aggregate,
            column,
            state: State::new(aggregate.kind),
        };
        Aggregates { all: all.into_iter().map(of_column).collect(), is_done: false }
    }

    pub fn restart(&mut self) {
        self.all.iter_mut().for_each(|of| of.state = State::new(of.aggregate.kind));
        self.is_done = false;
    }

    /// Returns the columns that are read.
    pub fn columns(&self) -> Vec<usize> {
        let mut found: Vec<usize> = self.all.iter().filter_map(|of| of.column).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Adds rows, those that are `selected` or all.
    ///
    /// # Safety
    /// The words are Datums of the columns' types.
    pub unsafe fn add(&mut self, rows: usize, columns: &[Option<Vector>], selected: Option<&[bool]>) {
        let rows = selected.map_or(rows, |rows| rows.iter().filter(|&&row| row).count()) as u64;
        for OfColumn { column, state, .. } in &mut self.all {
            match column.and_then(|at| columns[at].as_ref()) {
                // SAFETY: the aggregate is one of the column's type.
                Some(vector) => unsafe { state.add(vector, selected) },
                None => state.add_rows(rows),
            }
        }
    }

    /// Returns the states as Datums, NULL among them, in the current context.
    pub fn states(&self) -> Result<Vec<Option<Datum>>> {
        self.all.iter().map(|of| of.aggregate.datum(&of.state)).collect()
    }
}
