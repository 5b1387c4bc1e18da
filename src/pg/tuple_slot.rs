//! Puts rows into the executor's slots, without a call of the server's for each.

use pgrx::pg_sys::{self, Datum};

/// The values of one column, row by row.
pub struct Cells {
    /// The attribute of the slot, from 0.
    pub index: usize,
    pub words: *const u64,
    pub nulls: *const bool,
}

/// Empties a slot, as ExecClearTuple does.
///
/// # Safety
/// The slot is valid.
pub unsafe fn clear(slot: *mut pg_sys::TupleTableSlot) {
    // SAFETY: the caller passes a valid slot.
    unsafe {
        if (*slot).tts_flags & pg_sys::TTS_FLAG_SHOULDFREE as u16 != 0 {
            pg_sys::ExecClearTuple(slot);
        }
        (*slot).tts_flags |= pg_sys::TTS_FLAG_EMPTY as u16;
        (*slot).tts_nvalid = 0;
    }
}

/// Stores a row as ExecStoreVirtualTuple does. Attributes without a cell are NULL.
///
/// # Safety
/// The slot is clear, each cell is of one of its attributes, and has a value for the row.
pub unsafe fn store(slot: *mut pg_sys::TupleTableSlot, cells: &[Cells], row: usize) {
    // SAFETY: the slot has an element for each attribute, and each cell one for the row.
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

/// Stores values of all attributes as a virtual tuple.
///
/// # Safety
/// The slot is clear, and has as many attributes as there are values and flags.
pub unsafe fn store_values(slot: *mut pg_sys::TupleTableSlot, values: &[Datum], nulls: &[bool]) {
    // SAFETY: the slot has an element for each attribute.
    unsafe {
        (*slot).tts_values.copy_from_nonoverlapping(values.as_ptr(), values.len());
        (*slot).tts_isnull.copy_from_nonoverlapping(nulls.as_ptr(), nulls.len());
        (*slot).tts_flags &= !(pg_sys::TTS_FLAG_EMPTY as u16);
        (*slot).tts_nvalid = values.len() as i16;
    }
}
