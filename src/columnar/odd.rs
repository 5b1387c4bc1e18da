//! Evaluates the expressions of single rows by PostgreSQL's executor: those that vectors cannot hold, and those for which
//! it raises an error.

use std::ffi::CString;

use pgrx::pg_sys::{self, Datum, Node};

use crate::pg::error::{Error, Result, internal};
use crate::pg::expr::datum;
use crate::pg::expr::nodes::list;
use crate::pg::list::members;
use crate::query::{Column, Odd, Plan, Rows, Type, Unfit, Value};

/// Why a row was not evaluated.
pub enum Failure {
    Unfit(Unfit),
    Raised(Error),
}

impl From<Unfit> for Failure {
    fn from(unfit: Unfit) -> Failure {
        Failure::Unfit(unfit)
    }
}

/// The expressions, once a row needs them.
pub struct OddRows {
    /// Where what is prepared lives: as long as the scan, of which a batch may have a context of its own.
    memory: pg_sys::MemoryContext,
    text: CString,
    columns: Vec<Column>,
    filters: usize,
    keys: usize,
    /// The types of keys, arguments and filters of aggregates.
    types: Vec<Type>,
    /// Whether each aggregate has an argument and a filter.
    aggregates: Vec<(bool, bool)>,
    ready: Option<Ready>,
}

struct Ready {
    expressions: Vec<*mut pg_sys::ExprState>,
    context: *mut pg_sys::ExprContext,
    slot: *mut pg_sys::TupleTableSlot,
}

impl OddRows {
    /// Takes expressions as nodeToString wrote them. The current context is the scan's.
    pub fn new(expressions: &str, plan: &Plan) -> Result<OddRows> {
        Ok(OddRows {
            // SAFETY: reads the current context.
            memory: unsafe { pg_sys::CurrentMemoryContext },
            text: CString::new(expressions).map_err(|_| internal("an expression's text has a NUL"))?,
            columns: plan.columns.clone(),
            filters: plan.filters.len(),
            keys: plan.keys.len(),
            types: plan.result_types(),
            aggregates: plan
                .aggregates
                .iter()
                .map(|of| (of.argument.is_some(), of.filter.is_some()))
                .collect(),
            ready: None,
        })
    }

    /// Prepares the expressions, over a slot that has the columns.
    fn prepare(&mut self) -> &Ready {
        // SAFETY: the text is a list of expressions over Vars of the columns, without parameters and subplans; all of
        // it lives in the scan's context.
        self.ready.get_or_insert_with(|| unsafe {
            let before = pg_sys::MemoryContextSwitchTo(self.memory);
            let nodes = members::<Node>(pg_sys::stringToNode(self.text.as_ptr()).cast());
            let descriptor = pg_sys::CreateTemplateTupleDesc(self.columns.len() as i32);
            // The types of Vars are compared with those of the slot.
            let vars = members::<pg_sys::Var>(pg_sys::pull_var_clause(list(nodes.iter().copied()).cast(), 0));
            for number in 1..=self.columns.len() as i16 {
                let var = vars.iter().find(|var| (***var).varattno == number);
                let of = var.map_or(pg_sys::INT4OID, |var| (**var).vartype);
                pg_sys::TupleDescInitEntry(descriptor, number, c"".as_ptr(), of, -1, 0);
            }
            let init = |node: &*mut Node| pg_sys::ExecInitExpr(node.cast(), std::ptr::null_mut());
            let ready = Ready {
                expressions: nodes.iter().map(init).collect(),
                context: pg_sys::CreateStandaloneExprContext(),
                slot: pg_sys::MakeSingleTupleTableSlot(descriptor, &raw const pg_sys::TTSOpsVirtual),
            };
            pg_sys::MemoryContextSwitchTo(before);
            ready
        })
    }
}

impl Odd for OddRows {
    type Error = Failure;

    fn row(&mut self, rows: &Rows, row: usize) -> std::result::Result<Option<Vec<Value>>, Failure> {
        self.prepare();
        let Some(ready) = &self.ready else { return Err(Failure::Raised(internal("no expressions"))) };
        // SAFETY: the slot has the columns, whose Datums point into the memory of the row.
        unsafe {
            let memory = (*ready.context).ecxt_per_tuple_memory;
            pg_sys::MemoryContextReset(memory);
            let before = pg_sys::MemoryContextSwitchTo(memory);
            pg_sys::ExecClearTuple(ready.slot);
            for (index, column) in self.columns.iter().enumerate() {
                let value = datum::of_row(column.of, rows, index, row);
                (*ready.slot).tts_isnull.add(index).write(value.is_none());
                (*ready.slot).tts_values.add(index).write(value.unwrap_or(Datum::from(0_usize)));
            }
            pg_sys::ExecStoreVirtualTuple(ready.slot);
            (*ready.context).ecxt_scantuple = ready.slot;
            let found = self.values(ready);
            pg_sys::MemoryContextSwitchTo(before);
            Ok(found)
        }
    }
}

impl OddRows {
    /// Evaluates the filters, and the other expressions if all of them are true. An aggregate's filter comes before its
    /// argument, which is not evaluated if the filter is not true.
    ///
    /// # Safety
    /// The slot has the row.
    unsafe fn values(&self, ready: &Ready) -> Option<Vec<Value>> {
        let evaluate = |number: usize| {
            let mut is_null = false;
            // SAFETY: the expression was made over the slot of the context.
            let found =
                unsafe { pg_sys::ExecEvalExpr(ready.expressions[number], ready.context, &mut is_null) };
            (!is_null).then_some(found)
        };
        let is_true = |value: Option<Datum>| value.is_some_and(|value| value.value() as u8 != 0);
        if !(0..self.filters).all(|number| is_true(evaluate(number))) {
            return None;
        }
        // SAFETY: the Datum is of the expression's type.
        let value = |number: usize, found: Option<Datum>| unsafe { datum::value(self.types[number], found) };
        let mut values: Vec<Value> =
            (0..self.keys).map(|number| value(number, evaluate(self.filters + number))).collect();
        for &(has_argument, has_filter) in &self.aggregates {
            let first = values.len();
            let filter = first + usize::from(has_argument);
            let included = !has_filter || is_true(evaluate(self.filters + filter));
            if has_argument {
                let found = if included { evaluate(self.filters + first) } else { None };
                values.push(value(first, found));
            }
            if has_filter {
                values.push(Value::Word(included.into()));
            }
        }
        Some(values)
    }
}

impl Drop for OddRows {
    fn drop(&mut self) {
        if let Some(ready) = self.ready.take().filter(|_| !std::thread::panicking()) {
            // SAFETY: made by `prepare`, and freed once; an abort frees it by itself.
            unsafe {
                pg_sys::ExecDropSingleTupleTableSlot(ready.slot);
                pg_sys::FreeExprContext(ready.context, true);
            }
        }
    }
}
