//! Heap tuples: their parts, and what is to be taken of each attribute. `deform` walks them.
//!
//! Sources: src/include/access/htup_details.h (header), src/include/access/tupmacs.h (null bitmap).

use crate::types::Cell;

/// `offsetof(HeapTupleHeaderData, t_bits)`.
const T_BITS: usize = 23;
const HEAP_HASNULL: u16 = 0x0001;
const HEAP_NATTS_MASK: u16 = 0x07FF;
/// The most that one attribute can move a position before it is checked: alignment and `attlen`.
const LONGEST_STEP: usize = 8 + i16::MAX as usize;
/// Stands for the place of a null bitmap in tuples that have none.
const NO_BITMAP: u32 = u32::MAX;

/// A tuple in the arena: `lp_off` from the page's start, and `lp_len`. Both the page and the tuple are MAXALIGNed, so
/// `pos` is a multiple of 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TupleRef {
    pub pos: u32,
    pub len: u32,
}

/// What is taken of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// Not exported, or dropped.
    Skip,
    /// The bytes of a fixed-width value.
    Fixed { column: usize },
    /// The payload of a varlena; a fixup when it is compressed or out of line.
    Varlena { column: usize },
    /// `name`: the bytes before the first NUL.
    Name { column: usize },
    /// `"char"`: empty for 0, the byte for ASCII, else a fixup, as the byte alone is not UTF-8.
    Char { column: usize },
    /// A type that only its own output or send function can render; always a fixup.
    Server { column: usize },
}

impl Take {
    pub fn column(self) -> Option<usize> {
        match self {
            Take::Skip => None,
            Take::Fixed { column }
            | Take::Varlena { column }
            | Take::Name { column }
            | Take::Char { column }
            | Take::Server { column } => Some(column),
        }
    }
}

/// One attribute of the tuple descriptor, dropped ones included.
#[derive(Clone, Debug)]
pub struct Attr {
    /// `attlen`: the number of bytes, -1 for varlena, -2 for a C string.
    pub len: i16,
    /// `attalign` in bytes: 1, 2, 4 or 8.
    pub align: u8,
    pub take: Take,
    /// The value in tuples that are older than the column, as in the final cell; NULL if there is none.
    pub missing: Option<Vec<u8>>,
}

/// The attributes that must be walked to reach every exported column.
#[derive(Clone, Debug)]
pub struct TupleLayout {
    pub(super) attrs: Vec<Attr>,
    pub(super) columns: usize,
}

impl TupleLayout {
    /// # Panics
    /// If a catalog cannot describe an attribute, or if its column is not below `columns`.
    pub fn new(mut attrs: Vec<Attr>, columns: usize) -> TupleLayout {
        let wanted = attrs.iter().rposition(|attr| attr.take != Take::Skip).map_or(0, |last| last + 1);
        attrs.truncate(wanted);
        for attr in &attrs {
            assert!(matches!(attr.align, 1 | 2 | 4 | 8), "attalign");
            assert!(attr.take.column().is_none_or(|column| column < columns), "column");
            assert!(
                match attr.take {
                    Take::Skip | Take::Server { .. } => attr.len > 0 || matches!(attr.len, -1 | -2),
                    Take::Fixed { .. } | Take::Name { .. } => attr.len > 0,
                    Take::Varlena { .. } => attr.len == -1,
                    Take::Char { .. } => attr.len == 1,
                },
                "attlen"
            );
        }
        TupleLayout { attrs, columns }
    }

    pub fn columns(&self) -> usize {
        self.columns
    }
}

/// A cell that PostgreSQL has to fill in. Until then it refers to the datum as the tuple stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fixup {
    pub row: u32,
    pub column: u32,
    /// The datum in the arena, a varlena with its header.
    pub pos: u32,
    pub len: u32,
    pub kind: FixupKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FixupKind {
    /// In line and not compressed; the type's output or send function must render it.
    Plain,
    /// In line, compressed.
    Compressed,
    /// A TOAST pointer.
    External,
}

pub(super) struct Header {
    /// The start of the tuple's data in the arena.
    pub(super) data: u32,
    /// The place of the null bitmap, or `NO_BITMAP`.
    pub(super) bits: u32,
    pub(super) natts: u16,
}

impl Header {
    pub(super) fn has_nulls(&self) -> bool {
        self.bits != NO_BITMAP
    }
}

/// Reads `HeapTupleHeaderData`, and checks that the tuple is inside the arena and its data inside the tuple.
#[inline]
pub(super) fn header(arena: &[u8], tuple: TupleRef) -> Result<Header, &'static str> {
    let pos = tuple.pos as usize;
    let bytes = arena.get(pos..pos + tuple.len as usize).ok_or("tuple outside the batch")?;
    let fixed: &[u8; T_BITS] = bytes.first_chunk().ok_or("tuple shorter than its header")?;
    let infomask2 = u16::from_le_bytes([fixed[18], fixed[19]]);
    let infomask = u16::from_le_bytes([fixed[20], fixed[21]]);
    let (hoff, natts) = (usize::from(fixed[22]), infomask2 & HEAP_NATTS_MASK);
    let has_nulls = infomask & HEAP_HASNULL != 0;
    let bitmap = if has_nulls { usize::from(natts).div_ceil(8) } else { 0 };
    if hoff < T_BITS + bitmap || hoff > bytes.len() {
        return Err("tuple header length");
    }
    if !pos.is_multiple_of(8) || !hoff.is_multiple_of(8) {
        return Err("tuple is not aligned");
    }
    if pos + bytes.len() > u32::MAX as usize - LONGEST_STEP {
        return Err("batch larger than 4 GiB");
    }
    let bits = if has_nulls { tuple.pos + T_BITS as u32 } else { NO_BITMAP };
    Ok(Header { data: tuple.pos + hoff as u32, bits, natts })
}

/// Returns the cell of an attribute that has no value in the tuple: NULL, or `absent` if the tuple is older than the
/// column. `header` has checked that a bitmap covers `natts` attributes within the tuple.
#[inline]
pub(super) fn stand_in(arena: &[u8], bits: u32, natts: u16, number: usize, absent: Cell) -> Option<Cell> {
    if number >= usize::from(natts) {
        Some(absent)
    } else if bits != NO_BITMAP && arena[bits as usize + number / 8] >> (number % 8) & 1 == 0 {
        Some(Cell::NULL)
    } else {
        None
    }
}
