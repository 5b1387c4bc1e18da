//! Stored varlenas: their headers and their alignment (src/include/varatt.h, access/tupmacs.h).

use super::le_u32;
use super::tuple::FixupKind;

/// `VARTAG_ONDISK`. Indirect and expanded pointers exist in memory only.
const VARTAG_ONDISK: u8 = 18;
/// `VARHDRSZ_EXTERNAL + sizeof(varatt_external)`.
const TOAST_POINTER: u32 = 18;

/// A stored varlena. `len` includes the `head` bytes of its header.
pub(super) struct Datum {
    pub(super) pos: u32,
    pub(super) len: u32,
    pub(super) head: u32,
    pub(super) kind: FixupKind,
}

/// Finds the varlena at or after `pos` and before `end`.
///
/// As in `att_align_pointer`, a byte that is not zero is the first of a short header, or of a long one that is
/// aligned where it lies. A zero is padding, or the start of an aligned long header, which aligning does not move.
#[inline]
pub(super) fn varlena(arena: &[u8], pos: u32, end: u32, mask: u32) -> Result<Datum, &'static str> {
    const PAST: &str = "varlena past the end of its tuple";
    if pos >= end {
        return Err(PAST);
    }
    let first = arena[pos as usize];
    if first & 1 == 1 && first != 1 {
        // VARATT_IS_1B: the upper 7 bits are the length, including the header.
        let len = u32::from(first >> 1);
        return if end - pos >= len {
            Ok(Datum { pos, len, head: 1, kind: FixupKind::Plain })
        } else {
            Err(PAST)
        };
    }
    let pos = if first == 0 { (pos + mask) & !mask } else { pos };
    long_varlena(arena, pos, end).ok_or(PAST)?
}

/// Finds a varlena of another form than the plain short one; `None` if it does not fit its tuple.
fn long_varlena(arena: &[u8], pos: u32, end: u32) -> Option<Result<Datum, &'static str>> {
    let tuple = &arena[..end as usize];
    let (len, head, kind) = match *tuple.get(pos as usize)? {
        1 => match *tuple.get(pos as usize + 1)? {
            VARTAG_ONDISK => (TOAST_POINTER, 2, FixupKind::External),
            _ => return Some(Err("TOAST pointer of a kind that is never stored")),
        },
        // A short header may also follow padding, since att_align_pointer only looks for zero.
        short if short & 1 == 1 => (u32::from(short >> 1), 1, FixupKind::Plain),
        _ => {
            let word = le_u32(tuple, pos as usize)?;
            // VARATT_IS_4B_C: va_tcinfo follows the length.
            let (kind, least) =
                if word & 2 == 0 { (FixupKind::Plain, 4) } else { (FixupKind::Compressed, 8) };
            if word >> 2 < least {
                return Some(Err("varlena shorter than its header"));
            }
            (word >> 2, 4, kind)
        }
    };
    (end - pos >= len).then_some(Ok(Datum { pos, len, head, kind }))
}
