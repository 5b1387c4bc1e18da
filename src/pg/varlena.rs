//! Varlenas as bytes, and bytes as varlenas.

use pgrx::pg_sys::{self, Datum};

/// Returns a varlena's bytes, in the current context where they had to be unpacked.
///
/// # Safety
/// The Datum is a varlena.
pub unsafe fn bytes<'a>(datum: Datum) -> &'a [u8] {
    // SAFETY: the caller passes a varlena; the result is neither compressed nor stored elsewhere.
    unsafe {
        let plain = pg_sys::detoast_attr(datum.cast_mut_ptr());
        let (data, length) = (pgrx::vardata_any(plain), pgrx::varsize_any_exhdr(plain));
        std::slice::from_raw_parts(data.cast(), length)
    }
}

/// Makes a varlena of bytes in the current context.
pub fn datum(bytes: &[u8]) -> Datum {
    const HEADER: usize = 4;
    // SAFETY: as many bytes as are allocated; `palloc` aligns them.
    unsafe {
        let size = HEADER + bytes.len();
        let copy = pg_sys::palloc(size).cast::<u8>();
        copy.add(HEADER).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        pgrx::set_varsize_4b(copy.cast(), size as i32);
        Datum::from(copy)
    }
}
