//! Rows into the executor's slots, without a call of the server's for each.

use pgrx::pg_sys::{self, Datum};

/// Where the values of one column lie, row by row.
pub struct Cells {
    /// From 0, in the slot.
    pub index: usize,
    pub words: *const u64,
    pub nulls: *const bool,
}

/// As ExecClearTuple.
///
/// # Safety
/// A slot of the executor's.
pub unsafe fn clear(slot: *mut pg_sys::TupleTableSlot) {
    // SAFETY: a slot of the executor's.
    unsafe {
        if (*slot).tts_flags & pg_sys::TTS_FLAG_SHOULDFREE as u16 != 0 {
            pg_sys::ExecClearTuple(slot);
        }
        (*slot).tts_flags |= pg_sys::TTS_FLAG_EMPTY as u16;
        (*slot).tts_nvalid = 0;
    }
}

/// As ExecStoreVirtualTuple, after the values of the columns that are referred to; the others are NULL.
///
/// # Safety
/// The slot is clear and has an element for each attribute, each cell one for the row.
pub unsafe fn store(slot: *mut pg_sys::TupleTableSlot, cells: &[Cells], row: usize) {
    // SAFETY: the slot has an element for each attribute, and each cell one for each row of the batch.
    unsafe {
        let natts = (*(*slot).tts_tupleDescriptor).natts as usize;
        let (values, nulls) = ((*slot).tts_values, (*slot).tts_isnull);
        if cells.len() < natts {
            std::ptr::write_bytes(nulls, 1, natts);
        }
        for cell in cells {
            values.add(cell.index).write(Datum::from(*cell.words.add(row) as usize));
            nulls.add(cell.index).write(*cell.nulls.add(row));
        }
        (*slot).tts_flags &= !(pg_sys::TTS_FLAG_EMPTY as u16);
        (*slot).tts_nvalid = natts as i16;
    }
}
