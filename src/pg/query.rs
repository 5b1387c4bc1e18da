//! A query's rows, kept in a tuplestore so that an export can read them as often as it needs to; it spills to a
//! temporary file beyond work_mem.
//!
//! A row is a minimal tuple, which is a heap tuple without its first eight bytes (htup_details.h), and is
//! deformed as a heap tuple.

use std::cell::Cell;
use std::ffi::CString;

use pgrx::pg_sys;

use super::catalog::{Attribute, attributes_of};
use super::encoding::from_utf8;
use super::error::{Code, Error, Result, error};
use crate::memory::reserve;
use crate::slot::{Batch, TARGET_BYTES, Tid};
use crate::wire::tuple::TupleRef;

/// Bytes that a minimal tuple lacks of a heap tuple: MINIMAL_TUPLE_OFFSET.
const MISSING_HEADER: usize = 8;
const ALIGN: usize = 8;

mod raw {
    use super::pg_sys;

    unsafe extern "C-unwind" {
        // executor/tstoreReceiver.h, which pgrx does not bind.
        pub fn SetTuplestoreDestReceiverParams(
            receiver: *mut pg_sys::DestReceiver,
            store: *mut pg_sys::Tuplestorestate,
            context: pg_sys::MemoryContext,
            detoast: bool,
            target: pg_sys::TupleDesc,
            map_failure: *const std::ffi::c_char,
        );
    }
}

/// A query's rows. Only the leader has them, on its main thread.
#[derive(Debug)]
pub struct QueryRows {
    store: *mut pg_sys::Tuplestorestate,
    slot: *mut pg_sys::TupleTableSlot,
    descriptor: pg_sys::TupleDesc,
    /// Rows read since the store was last rewound.
    read: Cell<u64>,
}

impl QueryRows {
    /// Runs the query as the current user and on a snapshot of its own, as COPY (query) does.
    #[allow(ffi_unwind_calls, reason = "pg_guard_ffi_boundary catches errors")]
    pub fn run(query: &str) -> Result<QueryRows> {
        let text = CString::new(from_utf8(query)).map_err(|_| invalid("the query contains a zero byte"))?;
        // SAFETY: called in a backend, within a transaction and on its main thread. What must outlive SPI is
        // allocated in the caller's memory context and resource owner, before SPI is connected.
        unsafe {
            let context = pg_sys::CurrentMemoryContext;
            let store = pg_sys::tuplestore_begin_heap(false, false, pg_sys::work_mem);
            pg_sys::SPI_connect();
            let plan = prepare(&text)?;
            let found = result_of(plan)?;
            let before = pg_sys::MemoryContextSwitchTo(context);
            let descriptor = pg_sys::CreateTupleDescCopy(found);
            pg_sys::MemoryContextSwitchTo(before);
            let receiver = pg_sys::CreateDestReceiver(pg_sys::CommandDest::DestTuplestore);
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                raw::SetTuplestoreDestReceiverParams(
                    receiver,
                    store,
                    context,
                    false,
                    std::ptr::null_mut(),
                    std::ptr::null(),
                );
            });
            let options = pg_sys::SPIExecuteOptions { dest: receiver, ..Default::default() };
            let status = pg_sys::SPI_execute_plan_extended(plan, &options);
            if status < 0 {
                return Err(invalid("the query cannot be run by a function"));
            }
            pg_sys::SPI_finish();
            let slot = pg_sys::MakeSingleTupleTableSlot(descriptor, &raw const pg_sys::TTSOpsMinimalTuple);
            Ok(QueryRows { store, slot, descriptor, read: Cell::new(0) })
        }
    }

    pub fn attributes(&self) -> Vec<Attribute> {
        // SAFETY: the descriptor lives as long as `self`.
        unsafe { attributes_of(self.descriptor) }
    }

    pub fn rewind(&self) {
        // SAFETY: the store lives as long as `self`.
        unsafe { pg_sys::tuplestore_rescan(self.store) }
        self.read.set(0);
    }

    /// Appends rows until the batch is large enough, at least one; returns how many, 0 at the end.
    pub fn read(&self, batch: &mut Batch) -> Result<usize> {
        let mut rows = 0;
        while batch.arena.len() < TARGET_BYTES {
            // SAFETY: store and slot live as long as `self`; the tuple belongs to the slot until the next call.
            let tuple = unsafe {
                if !pg_sys::tuplestore_gettupleslot(self.store, true, false, self.slot) {
                    break;
                }
                let mut is_ours = false;
                let tuple = pg_sys::ExecFetchSlotMinimalTuple(self.slot, &mut is_ours);
                std::slice::from_raw_parts(tuple.cast::<u8>(), (*tuple).t_len as usize)
            };
            append(batch, tuple)?;
            let number = u32::try_from(self.read.get()).unwrap_or(u32::MAX);
            batch.tids.push(Tid { block: number, offset: 0 });
            self.read.set(self.read.get() + 1);
            rows += 1;
        }
        Ok(rows)
    }
}

fn append(batch: &mut Batch, tuple: &[u8]) -> Result<()> {
    let bytes = MISSING_HEADER + tuple.len();
    let room = bytes + ALIGN;
    reserve(&mut batch.arena, room)?;
    let start = batch.arena.len().next_multiple_of(ALIGN);
    batch.arena.resize(start + MISSING_HEADER, 0);
    batch.arena.extend_from_slice(tuple);
    batch.tuples.push(TupleRef { pos: start as u32, len: bytes as u32 });
    Ok(())
}

/// Prepares the query.
///
/// # Safety
/// SPI is connected.
unsafe fn prepare(text: &CString) -> Result<pg_sys::SPIPlanPtr> {
    // SAFETY: SPI is connected; the text outlives the call.
    let plan = unsafe {
        let options = pg_sys::CURSOR_OPT_PARALLEL_OK as i32;
        pg_sys::SPI_prepare_cursor(text.as_ptr(), 0, std::ptr::null_mut(), options)
    };
    (!plan.is_null()).then_some(plan).ok_or_else(|| invalid("the query cannot be prepared by a function"))
}

/// Returns the row type of a query, which must be one statement that returns rows.
///
/// # Safety
/// `plan` was prepared by SPI.
unsafe fn result_of(plan: pg_sys::SPIPlanPtr) -> Result<pg_sys::TupleDesc> {
    // SAFETY: the caller passes a plan of SPI; its list holds CachedPlanSources.
    let descriptor = unsafe {
        let sources = pg_sys::SPI_plan_get_plan_sources(plan);
        if sources.is_null() || (*sources).length != 1 {
            return Err(invalid("the query is not one statement"));
        }
        (*(*(*sources).elements).ptr_value.cast::<pg_sys::CachedPlanSource>()).resultDesc
    };
    (!descriptor.is_null()).then_some(descriptor).ok_or_else(|| invalid("the query returns no rows"))
}

fn invalid(what: &str) -> Error {
    error(Code::ERRCODE_INVALID_PARAMETER_VALUE, what)
        .set_hint("Pass one SELECT, VALUES or TABLE command, or one with RETURNING.")
}

impl Drop for QueryRows {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: made by `run` and ended once; an abort frees them with their context and owner.
            unsafe {
                pg_sys::ExecDropSingleTupleTableSlot(self.slot);
                pg_sys::tuplestore_end(self.store);
            }
        }
    }
}
