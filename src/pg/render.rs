//! Renders values that only the server can read: detoasting, output and send functions, encodings.
//!
//! A fixup names a value by its place in the batch's arena; the bytes found are appended to the arena and the
//! cell is set to them. Main thread only.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::CStr;

use pgrx::pg_sys;
use pgrx::pg_sys::{Datum, Oid};

use super::encoding;
use super::error::{Code, Result, error};
use crate::interrupts::in_steps;
use crate::memory::reserve;
use crate::types::Cell;

/// How a column's values become cells when the stored bytes are not enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// No function: the payload, detoasted if necessary, is the cell. `name` ends at its first NUL.
    Detoast,
    /// The type's output function. `cached` for by-value types with few values: enums.
    Output { function: Oid, cached: bool },
    /// The type's send function.
    Send { function: Oid },
}

/// How the datum is stored in the tuple: `attlen` and `attbyval`.
#[derive(Clone, Copy, Debug)]
pub struct Storage {
    pub length: i16,
    pub by_value: bool,
    pub is_name: bool,
}

/// NAMEDATALEN.
const NAME_BYTES: i16 = pg_sys::NAMEDATALEN as i16;

struct ColumnRenderer {
    call: Call,
    storage: Storage,
    function: pg_sys::FmgrInfo,
    cache: HashMap<u64, Box<[u8]>>,
}

pub struct Renderer {
    columns: Vec<ColumnRenderer>,
    /// Reset after each value, so that functions may allocate as they like.
    scratch: pg_sys::MemoryContext,
}

/// The most bytes of an arena, whose positions are 32 bits wide.
const ARENA_LIMIT: usize = u32::MAX as usize;

impl Renderer {
    pub fn new(columns: impl Iterator<Item = (Call, Storage)>) -> Renderer {
        // SAFETY: a child of the current context, deleted with it or by Drop.
        let scratch = unsafe {
            pg_sys::AllocSetContextCreateExtended(
                pg_sys::CurrentMemoryContext,
                c"pg_strata values".as_ptr(),
                0,
                64 << 10,
                8 << 20,
            )
        };
        let columns = columns.map(|(call, storage)| ColumnRenderer::new(call, storage)).collect();
        Renderer { columns, scratch }
    }

    /// Resolves the datum at `pos` of the arena. The cell lies at the arena's end.
    pub fn resolve(&mut self, column: usize, pos: usize, arena: &mut Vec<u8>) -> Result<Cell> {
        let column = &mut self.columns[column];
        // SAFETY: deform has checked that the whole datum lies inside the arena; fixed-width datums are
        // as long as attlen says, varlena as their header says.
        unsafe {
            let datum = column.storage.datum(&arena[pos..]);
            column.append(datum, self.scratch, arena)
        }
    }

    /// Resolves a datum outside the arena, such as one in an executor slot.
    ///
    /// # Safety
    /// `datum` is a valid one of the column's type.
    pub unsafe fn resolve_datum(&mut self, column: usize, datum: Datum, arena: &mut Vec<u8>) -> Result<Cell> {
        // SAFETY: the caller passes a valid datum of the column's type.
        unsafe { self.columns[column].append(datum, self.scratch, arena) }
    }
}

impl Drop for Renderer {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: created in `new`; while panicking the parent's reset deletes it.
            unsafe { pg_sys::MemoryContextDelete(self.scratch) }
        }
    }
}

impl Storage {
    /// Returns the storage of a type that is not a domain.
    pub fn of_type(base: Oid) -> Storage {
        let (mut length, mut by_value) = (0, false);
        // SAFETY: a syscache look-up of a type that a column uses.
        unsafe { pg_sys::get_typlenbyval(base, &mut length, &mut by_value) };
        Storage { length, by_value, is_name: base == pg_sys::NAMEOID }
    }

    /// Returns the datum whose stored bytes begin `bytes`.
    ///
    /// # Safety
    /// `bytes` holds the whole value, aligned as the type requires.
    unsafe fn datum(self, bytes: &[u8]) -> Datum {
        if !self.by_value {
            return Datum::from(bytes.as_ptr());
        }
        match self.length {
            1 => Datum::from(bytes[0] as i8),
            2 => Datum::from(i16::from_ne_bytes([bytes[0], bytes[1]])),
            4 => Datum::from(i32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])),
            _ => {
                let mut word = [0; 8];
                word.copy_from_slice(&bytes[..8]);
                Datum::from(i64::from_ne_bytes(word))
            }
        }
    }
}

impl ColumnRenderer {
    fn new(call: Call, storage: Storage) -> ColumnRenderer {
        let mut function = pg_sys::FmgrInfo::default();
        if let Call::Output { function: oid, .. } | Call::Send { function: oid } = call {
            // SAFETY: the OID is that of a type's output or send function; the current context outlives us.
            unsafe { pg_sys::fmgr_info_cxt(oid, &mut function, pg_sys::CurrentMemoryContext) };
        }
        ColumnRenderer { call, storage, function, cache: HashMap::new() }
    }

    /// Appends the value's bytes to the arena.
    ///
    /// # Safety
    /// `datum` is a valid one of the column's type, and `scratch` a context for temporary allocations.
    unsafe fn append(
        &mut self,
        datum: Datum,
        scratch: pg_sys::MemoryContext,
        arena: &mut Vec<u8>,
    ) -> Result<Cell> {
        let cached = matches!(self.call, Call::Output { cached: true, .. });
        if cached && let Some(text) = self.cache.get(&(datum.value() as u64)) {
            return push(text, arena);
        }
        // SAFETY: the caller passes a datum of the function's type; results live in `scratch` until its reset,
        // and are copied before it.
        unsafe {
            let previous = pg_sys::MemoryContextSwitchTo(scratch);
            let bytes = self.call_function(datum);
            let cell = push(bytes, arena);
            if cached {
                self.cache.insert(datum.value() as u64, bytes.into());
            }
            // Also after an error, which is reported from the caller's context, after `scratch` is gone.
            pg_sys::MemoryContextSwitchTo(previous);
            pg_sys::MemoryContextReset(scratch);
            cell
        }
    }

    /// Returns the value's bytes, which live in the current memory context, or in the datum.
    ///
    /// # Safety
    /// `datum` is a valid one of the column's type.
    unsafe fn call_function<'a>(&mut self, datum: Datum) -> &'a [u8] {
        // SAFETY: the caller passes a datum of the function's type; a result is a C string or a varlena.
        unsafe {
            match self.call {
                Call::Detoast => self.stored_bytes(datum),
                Call::Send { .. } => payload(pg_sys::SendFunctionCall(&mut self.function, datum).cast()),
                Call::Output { .. } => {
                    CStr::from_ptr(pg_sys::OutputFunctionCall(&mut self.function, datum)).to_bytes()
                }
            }
        }
    }

    /// Returns the stored bytes of a value, detoasted.
    ///
    /// # Safety
    /// `datum` is a valid one of the column's type.
    unsafe fn stored_bytes<'a>(&self, datum: Datum) -> &'a [u8] {
        // SAFETY: the caller passes a datum of this storage; by-value ones are copied into the current context.
        unsafe {
            match (self.storage.length, self.storage.by_value) {
                (NAME_BYTES, false) if self.storage.is_name => {
                    CStr::from_ptr(datum.cast_mut_ptr()).to_bytes()
                }
                (length @ 1.., false) => std::slice::from_raw_parts(datum.cast_mut_ptr(), length as usize),
                (length @ 1.., true) => {
                    // The low bytes of a datum are the value's, as the machines that PostgreSQL runs on here
                    // are little-endian.
                    let copy = pg_sys::palloc(8).cast::<usize>();
                    copy.write(datum.value());
                    std::slice::from_raw_parts(copy.cast::<u8>(), length as usize)
                }
                _ => payload(pg_sys::detoast_attr(datum.cast_mut_ptr())),
            }
        }
    }
}

/// Returns a varlena's bytes without its header.
///
/// # Safety
/// `value` is a valid varlena that is neither external nor compressed.
unsafe fn payload<'a>(value: *mut pg_sys::varlena) -> &'a [u8] {
    // SAFETY: the caller passes a plain varlena, whose header has its length.
    unsafe {
        let (data, length) = (pgrx::vardata_any(value), pgrx::varsize_any_exhdr(value));
        std::slice::from_raw_parts(data.cast::<u8>(), length)
    }
}

/// Appends a value, if the arena's positions and the memory suffice.
pub(super) fn push(bytes: &[u8], arena: &mut Vec<u8>) -> Result<Cell> {
    place(bytes, arena)?.ok_or_else(|| {
        error(Code::ERRCODE_PROGRAM_LIMIT_EXCEEDED, "the values of one row exceed 4 gigabytes")
            .set_hint("Export some of the columns in another file.")
    })
}

/// Appends a value, if the memory suffices; `None` if the arena's positions do not.
pub fn place(bytes: &[u8], arena: &mut Vec<u8>) -> Result<Option<Cell>> {
    if arena.len() + bytes.len() > ARENA_LIMIT {
        return Ok(None);
    }
    reserve(arena, bytes.len())?;
    let cell = Cell::new(arena.len(), bytes.len());
    in_steps(bytes, |step| arena.extend_from_slice(step));
    Ok(Some(cell))
}

/// Converts text of a database that is not UTF-8, at the arena's end. Plain ASCII stays where it is.
pub fn to_utf8(cell: Cell, arena: &mut Vec<u8>) -> Result<Cell> {
    let converted = match encoding::to_utf8(cell.of(arena))? {
        Cow::Borrowed(_) => return Ok(cell),
        Cow::Owned(text) => text,
    };
    push(converted.as_bytes(), arena)
}
