//! Virtual generated columns (PostgreSQL 18): computed by the executor from the tuple that was read.

#[cfg(feature = "pg18")]
pub use real::VirtualColumns;

#[cfg(not(feature = "pg18"))]
pub use absent::VirtualColumns;

#[cfg(feature = "pg18")]
mod real {
    use pgrx::pg_sys;

    use crate::pg::catalog::Table;
    use crate::pg::error::Result;
    use crate::pg::render::{Renderer, push};
    use crate::slot::Batch;
    use crate::types::Cell;

    /// The expressions of one table's virtual columns. Used while the table is open.
    pub struct VirtualColumns {
        table: pg_sys::Oid,
        slot: *mut pg_sys::TupleTableSlot,
        estate: *mut pg_sys::EState,
        expressions: Vec<(usize, *mut pg_sys::ExprState)>,
    }

    impl VirtualColumns {
        /// `columns` gives each column's number in the export and its name.
        pub fn new(table: &Table, columns: &[(usize, &str)]) -> VirtualColumns {
            let attributes = table.attributes();
            let number = |name: &str| {
                attributes
                    .iter()
                    .find(|attribute| !attribute.dropped && attribute.name == name)
                    .map(|a| a.number)
            };
            // SAFETY: the relation is open and outlives us; all that is allocated lives in the query's
            // context or in the executor state, which Drop frees.
            unsafe {
                let estate = pg_sys::CreateExecutorState();
                let slot =
                    pg_sys::MakeSingleTupleTableSlot((*table.relation).rd_att, &pg_sys::TTSOpsHeapTuple);
                let expressions = columns
                    .iter()
                    .filter_map(|&(column, name)| Some((column, number(name)?)))
                    .map(|(column, number)| {
                        let node = pg_sys::build_generation_expression(table.relation, number.into());
                        (column, pg_sys::ExecPrepareExpr(node.cast(), estate))
                    })
                    .collect();
                VirtualColumns { table: table.oid(), slot, estate, expressions }
            }
        }

        /// Sets row `row`'s cells of the virtual columns.
        pub fn compute(&mut self, row: usize, batch: &mut Batch, renderer: &mut Renderer) -> Result<()> {
            let (tuple_ref, tid) = (batch.tuples[row], batch.tids[row]);
            for index in 0..self.expressions.len() {
                let (column, expression) = self.expressions[index];
                // SAFETY: the tuple lies whole in the arena, which does not move while the expression is
                // evaluated; the slot is cleared before the arena may grow again, and the datum is copied
                // out of the per-tuple context before its reset.
                let cell = unsafe {
                    let mut tuple = pg_sys::HeapTupleData {
                        t_len: tuple_ref.len.into(),
                        t_tableOid: self.table,
                        t_data: batch.arena.as_ptr().add(tuple_ref.pos as usize).cast_mut().cast(),
                        ..Default::default()
                    };
                    pgrx::itemptr::item_pointer_set_all(&mut tuple.t_self, tid.block, tid.offset);
                    pg_sys::ExecStoreHeapTuple(&mut tuple, self.slot, false);
                    let context = match (*self.estate).es_per_tuple_exprcontext.is_null() {
                        true => pg_sys::MakePerTupleExprContext(self.estate),
                        false => (*self.estate).es_per_tuple_exprcontext,
                    };
                    (*context).ecxt_scantuple = self.slot;
                    let mut is_null = false;
                    let datum = pg_sys::ExecEvalExprSwitchContext(expression, context, &mut is_null);
                    let cell = match is_null {
                        true => Cell::NULL,
                        false => self.copy(column, datum, batch, renderer)?,
                    };
                    pg_sys::ExecClearTuple(self.slot);
                    pg_sys::MemoryContextReset((*context).ecxt_per_tuple_memory);
                    cell
                };
                batch.cells[column][row] = cell;
            }
            Ok(())
        }

        /// The datum may point into the tuple, hence into the arena: it is copied aside before the arena
        /// may move.
        unsafe fn copy(
            &self,
            column: usize,
            datum: pg_sys::Datum,
            batch: &mut Batch,
            renderer: &mut Renderer,
        ) -> Result<Cell> {
            let mut aside = Vec::new();
            // SAFETY: as the caller says.
            unsafe { renderer.resolve_datum(column, datum, &mut aside)? };
            push(&aside, &mut batch.arena)
        }
    }

    impl Drop for VirtualColumns {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                // SAFETY: made by `new`, freed once; an abort frees them by itself.
                unsafe {
                    pg_sys::ExecDropSingleTupleTableSlot(self.slot);
                    pg_sys::FreeExecutorState(self.estate);
                }
            }
        }
    }
}

#[cfg(not(feature = "pg18"))]
mod absent {
    use crate::pg::catalog::Table;
    use crate::pg::error::Result;
    use crate::pg::render::Renderer;
    use crate::slot::Batch;

    /// Never made: servers before 18 have no virtual columns.
    pub enum VirtualColumns {}

    impl VirtualColumns {
        pub fn new(_table: &Table, _columns: &[(usize, &str)]) -> VirtualColumns {
            unreachable!("no attribute is virtual before PostgreSQL 18")
        }

        pub fn compute(&mut self, _row: usize, _batch: &mut Batch, _renderer: &mut Renderer) -> Result<()> {
            match *self {}
        }
    }
}
