//! Groups on their way to the executor: some at once become Datums, which is faster than one after the other.

use pgrx::pg_sys::{self, Datum, Oid};

use crate::pg::context::context;
use crate::pg::error::Result;
use crate::pg::expr::datum;
use crate::query::{Cursor, Executor, Shown};

/// Groups whose values are made together.
const AT_ONCE: usize = 256;

pub struct ShownGroups {
    /// The types of the plan's own tuples.
    types: Vec<Oid>,
    /// What the values point to.
    memory: pg_sys::MemoryContext,
    /// Those of each group after those of the one before.
    values: Vec<Datum>,
    nulls: Vec<bool>,
    groups: usize,
    next: usize,
    shown: Vec<Shown>,
}

impl ShownGroups {
    /// Makes room for groups in a context below the current one.
    pub fn new() -> ShownGroups {
        let memory = context(c"pg_strata groups");
        let (types, values, nulls, shown) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        ShownGroups { types, memory, values, nulls, groups: 0, next: 0, shown }
    }

    /// Forgets all groups; the next ones have values of other types, of which the columns behind them have none.
    pub fn restart(&mut self, types: Vec<Oid>) {
        self.types = types;
        self.rewind();
    }

    /// Forgets all groups.
    pub fn rewind(&mut self) {
        (self.groups, self.next) = (0, 0);
    }

    /// Returns the next group's values; `None` after the last one. They are there until the call that follows the last of
    /// the groups made with them.
    pub fn next(&mut self, of: &Executor, cursor: &mut Cursor) -> Result<Option<(&[Datum], &[bool])>> {
        if self.next == self.groups {
            self.make(of, cursor)?;
            if self.groups == 0 {
                return Ok(None);
            }
        }
        let width = self.types.len();
        let range = self.next * width..(self.next + 1) * width;
        self.next += 1;
        Ok(Some((&self.values[range.clone()], &self.nulls[range])))
    }

    fn make(&mut self, of: &Executor, cursor: &mut Cursor) -> Result<()> {
        self.rewind();
        self.values.clear();
        self.nulls.clear();
        // SAFETY: the context is this one's own, and the groups made before are not used any more.
        let before = unsafe {
            pg_sys::MemoryContextReset(self.memory);
            pg_sys::MemoryContextSwitchTo(self.memory)
        };
        let mut made = Ok(());
        while made.is_ok() && self.groups < AT_ONCE && cursor.next(of, &mut self.shown) {
            made = self.add();
        }
        // SAFETY: the context was the current one. An error of PostgreSQL's sets its own.
        unsafe { pg_sys::MemoryContextSwitchTo(before) };
        match made {
            // The error belongs to a group that is perhaps never asked for.
            Err(_) if self.groups > 0 => {
                cursor.step_back();
                Ok(())
            }
            made => made,
        }
    }

    /// Adds the group that is shown.
    fn add(&mut self) -> Result<()> {
        let kept = self.values.len();
        for (index, &of) in self.types.iter().enumerate() {
            let value = match self.shown.get(index).map_or(Ok(None), |shown| datum::of_shown(shown, of)) {
                Ok(value) => value,
                Err(error) => {
                    self.values.truncate(kept);
                    self.nulls.truncate(kept);
                    return Err(error);
                }
            };
            self.nulls.push(value.is_none());
            self.values.push(value.unwrap_or(Datum::from(0_usize)));
        }
        self.groups += 1;
        Ok(())
    }
}
