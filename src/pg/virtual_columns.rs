//! Virtual generated columns (PostgreSQL 18): the executor computes them from the tuple that was read.

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
        /// Prepares to compute the virtual columns of rows of `table`. A query of `parent`, which may be the
        /// table itself, computes them by the parent's expressions, whatever the table's own are. `columns`
        /// gives each column's number in the export and its name.
        pub fn new(table: &Table, parent: &Table, columns: &[(usize, &str)]) -> VirtualColumns {
            let attributes = parent.attributes();
            let number = |name: &str| {
                attributes
                    .iter()
                    .find(|attribute| !attribute.dropped && attribute.name == name)
                    .map(|a| a.number)
            };
            // SAFETY: the relation is open and outlives this; everything is allocated in the query's context or
            // in the executor state, which Drop frees.
            unsafe {
                let estate = pg_sys::CreateExecutorState();
                let slot =
                    pg_sys::MakeSingleTupleTableSlot((*table.relation).rd_att, &pg_sys::TTSOpsHeapTuple);
                let expressions = columns
                    .iter()
                    .filter_map(|&(column, name)| Some((column, number(name)?)))
                    .map(|(column, number)| {
                        let node = translated(expression_of(parent, number), parent, table);
                        (column, pg_sys::ExecPrepareExpr(node.cast(), estate))
                    })
                    .collect();
                VirtualColumns { table: table.oid(), slot, estate, expressions }
            }
        }

        /// Sets the cells of row `row` in the virtual columns. `at` is set to the column that is being
        /// computed.
        pub fn compute(
            &mut self,
            row: usize,
            batch: &mut Batch,
            renderer: &mut Renderer,
            at: &mut usize,
        ) -> Result<()> {
            let (tuple_ref, tid) = (batch.tuples[row], batch.tids[row]);
            for index in 0..self.expressions.len() {
                let (column, expression) = self.expressions[index];
                *at = column;
                // SAFETY: the whole tuple lies in the arena, which does not move while the expression is
                // evaluated; the slot is cleared before the arena may grow again, and the datum is copied out
                // of the per-tuple context before its reset.
                let cell = unsafe {
                    let mut tuple = pg_sys::HeapTupleData {
                        t_len: tuple_ref.len,
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

        /// Copies a value into the arena. The datum may point into the tuple, and so into the arena: it is
        /// first copied aside, because the arena may move.
        ///
        /// # Safety
        /// `datum` is a valid one of the column's type.
        unsafe fn copy(
            &self,
            column: usize,
            datum: pg_sys::Datum,
            batch: &mut Batch,
            renderer: &mut Renderer,
        ) -> Result<Cell> {
            let mut aside = Vec::new();
            // SAFETY: the caller passes a valid datum of the column's type.
            unsafe { renderer.resolve_datum(column, datum, &mut aside)? };
            push(&aside, &mut batch.arena)
        }
    }

    /// Returns the expression of a virtual column.
    ///
    /// # Safety
    /// Attribute `number` of the table is a virtual column.
    unsafe fn expression_of(table: &Table, number: i16) -> *mut pg_sys::Node {
        // SAFETY: the relation is open, and the caller names a virtual column of it.
        unsafe { pg_sys::build_generation_expression(table.relation, number.into()) }
    }

    /// Translates an expression over the parent's rows to the child's: attributes are matched by name
    /// (map_partition_varattnos in partition.c).
    ///
    /// # Safety
    /// The variables of `expression` are of range table entry 1, the parent.
    unsafe fn translated(expression: *mut pg_sys::Node, parent: &Table, child: &Table) -> *mut pg_sys::Node {
        if parent.oid() == child.oid() {
            return expression;
        }
        // SAFETY: both relations are open; the child has all of the parent's attributes.
        unsafe {
            let (from, to) = ((*parent.relation).rd_att, (*child.relation).rd_att);
            let map = pg_sys::build_attrmap_by_name(to, from, false);
            let row_type = (*(*child.relation).rd_rel).reltype;
            pg_sys::map_variable_attnos(expression, 1, 0, map, row_type, &mut false)
        }
    }

    impl Drop for VirtualColumns {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                // SAFETY: made by `new` and freed once; an abort frees them by itself.
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

    /// Never constructed: servers before 18 have no virtual columns.
    pub struct VirtualColumns(());

    impl VirtualColumns {
        pub fn new(_table: &Table, _parent: &Table, _columns: &[(usize, &str)]) -> VirtualColumns {
            unreachable!("no attribute is virtual before PostgreSQL 18")
        }

        pub fn compute(
            &mut self,
            _row: usize,
            _batch: &mut Batch,
            _renderer: &mut Renderer,
            _at: &mut usize,
        ) -> Result<()> {
            Ok(())
        }
    }
}
