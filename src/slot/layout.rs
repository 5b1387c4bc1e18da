//! The layout of a slot's two regions, which scan workers, the GPU service and the kernels share.
//! `kernels/slot.cuh` mirrors every structure and number here.
//!
//! The input region holds whole rows of one worker and all that is needed to decode them: the header, an operation for each
//! attribute, and the rows. The output region holds the decoded columns: an entry for each column, then the columns as
//! Arrow lays them out. Offsets are in bytes from the region's start; everything that an offset points to is aligned to
//! `ALIGN`.
//!
//! ```text
//! input    Header | Attr[attrs] | missing values | data | index | page_rows | blocks
//!            heap         index: u16 line pointer number[rows]      data: pages of BLOCK bytes, verbatim
//!                         page_rows: u32 first row[pages + 1]       blocks: u32[pages], for the host alone
//!            copy_binary  index: u32 row start in data[rows + 1]    data: rows, neither header nor trailer
//! output   OutHeader | OutColumn[columns] | Status[STATUSES] | fixed-size parts | bytes of varlena columns
//! ```
//!
//! The order of the input's parts is given by their offsets alone; `Input::used` is how much of the region they take.
//!
//! # The output of decode
//!
//! Decode makes the same bytes on the device and on the CPU (`decode::slot`), except for the order of statuses:
//!
//! * Bytes below `OutHeader::bytes` that are not mentioned here are zero: padding, unused statuses, the values of NULL rows.
//!   Columns of varying length have their bytes in column order, each column from a multiple of `ALIGN`;
//!   `OutHeader::bytes` is the multiple of `ALIGN` after the last one's. In other columns `bytes_at` and `bytes` are 0. A
//!   column that no attribute names is NULL throughout and laid out as a `Skip`.
//! * With `KEEP` the columns stay on the device, for a request of `slot::encode`, and the same parts come back as without
//!   `WANT_COLUMNS`.
//! * Without `WANT_COLUMNS` the header, the `OutColumn`s and the statuses are the same, and nothing after the statuses is
//!   written; `OutHeader::bytes` is still what the columns would take.
//! * A value with a status is valid and zero, or has no bytes. Every value has at most one status.
//! * heap: attributes are walked in order, up to the last one with a column. The walk **stops** at an attribute whose value
//!   does not lie in its tuple, or is a varlena of a form that is never stored. It stops before the first attribute if the
//!   line pointer or the tuple's header is wrong (as `wire::page` and `wire::tuple` check them, even with no attribute to
//!   walk).
//! * copy_binary: fields are walked in order. The walk stops before the first field if the row does not have `attrs` fields,
//!   at a field that has a length below -1 or does not end in its row, and after the last field if more bytes follow.
//! * If a row's walk stops, the columns of the attributes from there on are valid and zero, or have no bytes, and the row
//!   gets one more status: `Malformed`, with the column of the first of those attributes that has one, or `NO_COLUMN`.
//!   Earlier columns keep their values and statuses.

/// The alignment of both regions' parts, and of `data` in the input region.
pub const ALIGN: usize = 64;
pub const DATA_ALIGN: usize = 4096;
/// Bytes of a heap page. Other block sizes are not supported.
pub const BLOCK: usize = 8192;
/// The number of statuses that have room. A slot with more is redone on the CPU.
pub const STATUSES: usize = 1024;

pub const HEAP: u32 = 0;
pub const COPY_BINARY: u32 = 1;
/// A request, described in `slot::encode`, instead of rows.
pub const ENCODE: u32 = 2;
/// A request, described in `slot::query`.
pub const QUERY: u32 = 3;

/// The `OutHeader::statuses` of an output that has no room for the rows; the rest of it has no meaning.
pub const FAILED: u32 = u32::MAX;

/// Flag: the columns come back; without it only `OutHeader`, `OutColumn`s and statuses do.
pub const WANT_COLUMNS: u32 = 1;
/// Flag, with `WANT_COLUMNS`: the device keeps the columns for the row group that the slot belongs to.
pub const KEEP: u32 = 2;
/// Flag: the rows go to the query that the slot's group names, and `slot::query` says what comes back.
pub const AGGREGATE: u32 = 4;

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// `HEAP` or `COPY_BINARY`.
    pub kind: u32,
    pub flags: u32,
    pub rows: u32,
    /// Output columns.
    pub columns: u32,
    /// heap: attributes of the tuple descriptor to walk, in storage order. copy_binary: fields of a row, one for each
    /// column.
    pub attrs: u32,
    pub pages: u32,
    pub attrs_at: u32,
    pub missing_at: u32,
    pub missing_bytes: u32,
    pub index_at: u32,
    pub page_rows_at: u32,
    pub blocks_at: u32,
    pub data_at: u32,
    pub data_bytes: u32,
    /// The slot's place in its row group, from 0, if it has `KEEP`.
    pub sequence: u32,
    pub reserved: u32,
}

impl Header {
    /// Whether the columns come back in the output region.
    pub fn returns_columns(&self) -> bool {
        self.flags & (WANT_COLUMNS | KEEP | AGGREGATE) == WANT_COLUMNS
    }
}

/// Whether a region holds a request instead of rows.
pub fn is_request(region: &[u8]) -> bool {
    get(region, 0).is_some_and(|header: Header| matches!(header.kind, ENCODE | QUERY))
}

/// The `Attr::column` of an attribute that is not exported.
pub const NO_COLUMN: u32 = u32::MAX;
/// The `Attr::missing_len` of NULL in tuples that are older than the column.
pub const NO_MISSING: u32 = u32::MAX;
/// `Attr::strip`: the value's first byte has to be 1, jsonb's version, and is left out; else `Malformed`.
pub const STRIP_VERSION: u8 = 1;

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attr {
    /// heap: `attlen`, -1 for varlena, -2 for a C string. copy_binary: not used.
    pub len: i16,
    /// heap: `attalign` in bytes.
    pub align: u8,
    /// An [`Op`].
    pub op: u8,
    /// Decimals: the column's precision and scale. A precision of 0 holds nothing but zeros.
    pub precision: u8,
    pub scale: u8,
    /// copy_binary, `Bytes`: 0 or `STRIP_VERSION`.
    pub strip: u8,
    pub reserved: u8,
    pub column: u32,
    /// heap: the value in tuples older than the column, as the final cell holds it (`wire::tuple::Attr`),
    /// from the input region's start, at a multiple of 8.
    pub missing_at: u32,
    pub missing_len: u32,
}

/// The operation on an attribute's value. Fixed-size results are those of `types::Values`, with zero in NULL rows; `Bool` is
/// a bitmap, LSB first.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Skip = 0,
    Bool = 1,
    /// i16 to i32.
    Int2 = 2,
    /// int4, oid, float4: four bytes as they are.
    Int4 = 3,
    /// int8, float8.
    Int8 = 4,
    /// Days from 2000-01-01 to 1970-01-01.
    Date = 5,
    /// Microseconds likewise.
    Timestamp = 6,
    /// 16 bytes as they are.
    Uuid = 7,
    /// numeric to unscaled i32, i64, or 16 bytes big-endian. `Malformed` before `Misfit`: a numeric with a
    /// digit above 9999 is never looked at further.
    Decimal32 = 8,
    Decimal64 = 9,
    Decimal128 = 10,
    /// The varlena's payload, or the field's bytes.
    Bytes = 11,
    /// heap: the bytes before the first NUL.
    Name = 12,
    /// heap: empty for 0, the byte for ASCII, else `Code::Char`.
    Char = 13,
    /// numeric to its text, exactly as `wire::numeric_text` writes it. Not done on the device:
    /// `Code::Server` for every value.
    NumericText = 14,
    /// Microseconds of a day that is not over.
    Time = 15,
}

impl TryFrom<u8> for Op {
    type Error = String;

    fn try_from(op: u8) -> Result<Op, String> {
        use Op::*;
        const OPS: [Op; 16] = [
            Skip,
            Bool,
            Int2,
            Int4,
            Int8,
            Date,
            Timestamp,
            Uuid,
            Decimal32,
            Decimal64,
            Decimal128,
            Bytes,
            Name,
            Char,
            NumericText,
            Time,
        ];
        OPS.get(usize::from(op)).copied().ok_or_else(|| format!("operation {op}"))
    }
}

impl Op {
    /// Bytes of a value in the column's buffer; 0 for `Bool`, `None` for those of varying length.
    pub fn width(self) -> Option<usize> {
        Some(match self {
            Op::Skip | Op::Bool => 0,
            Op::Int2 | Op::Int4 | Op::Date | Op::Decimal32 => 4,
            Op::Int8 | Op::Time | Op::Timestamp | Op::Decimal64 => 8,
            Op::Uuid | Op::Decimal128 => 16,
            Op::Bytes | Op::Name | Op::Char | Op::NumericText => return None,
        })
    }
}

/// The reason why the device left a value to the host.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Bytes that PostgreSQL would not have written: the CPU's decode says which.
    Malformed = 1,
    Compressed = 2,
    External = 3,
    NumericNan = 4,
    /// A numeric, date or timestamp.
    Infinite = 5,
    /// A numeric that the column's precision and scale do not hold exactly: its display scale is above
    /// `scale`, or times 10^scale it is no integer below 10^precision. (Numerics of a declared scale never
    /// show more of it; for others the display scale decides on the file's type.)
    Misfit = 6,
    OutOfRange = 7,
    /// A `"char"` that is not ASCII.
    Char = 8,
    Server = 9,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    pub row: u32,
    pub column: u32,
    pub code: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutHeader {
    pub rows: u32,
    pub columns: u32,
    /// All of them; the first `STATUSES` are listed, in no order. With more, which ones are listed is open.
    pub statuses: u32,
    /// Bytes of the region in use, see the top.
    pub bytes: u32,
}

/// The places of a column's parts. `values_at` has fixed-size values, the bool bitmap, or i32 offsets[rows + 1].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutColumn {
    pub nulls: u32,
    /// Validity bitmap in u32 words, LSB first, bits past the last row 0; always there.
    pub valid_at: u32,
    pub values_at: u32,
    /// Columns of varying length: the values' bytes end to end.
    pub bytes_at: u32,
    pub bytes: u32,
    pub reserved: u32,
}

/// A structure that any bytes make.
///
/// # Safety
/// The structure is `repr(C)`, of integers only, and has no padding.
pub unsafe trait Plain: Copy {}

// SAFETY: `repr(C)`, integers without gaps, by the sizes asserted below.
unsafe impl Plain for Header {}
// SAFETY: `repr(C)`, integers without gaps, by the sizes asserted below.
unsafe impl Plain for Attr {}
// SAFETY: `repr(C)`, integers without gaps, by the sizes asserted below.
unsafe impl Plain for Status {}
// SAFETY: `repr(C)`, integers without gaps, by the sizes asserted below.
unsafe impl Plain for OutHeader {}
// SAFETY: `repr(C)`, integers without gaps, by the sizes asserted below.
unsafe impl Plain for OutColumn {}

const _: () = {
    assert!(size_of::<Header>() == 64 && size_of::<Attr>() == 20 && size_of::<Status>() == 12);
    assert!(size_of::<OutHeader>() == 16 && size_of::<OutColumn>() == 24);
};

/// Reads the structure at `at`; `None` past the region's end.
pub fn get<T: Plain>(region: &[u8], at: usize) -> Option<T> {
    let bytes = region.get(at..at.checked_add(size_of::<T>())?)?;
    // SAFETY: as many bytes are there, any bytes make a `T`, and alignment is not asked for.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

/// Writes the structure at `at`; returns false past the region's end.
#[must_use]
pub fn put<T: Plain>(region: &mut [u8], at: usize, value: T) -> bool {
    let Some(bytes) = at.checked_add(size_of::<T>()).and_then(|end| region.get_mut(at..end)) else {
        return false;
    };
    // SAFETY: there is as much room, and alignment is not asked for.
    unsafe { bytes.as_mut_ptr().cast::<T>().write_unaligned(value) };
    true
}

/// Returns the start of the statuses in an output region.
pub fn statuses_at(columns: usize) -> usize {
    size_of::<OutHeader>() + columns * size_of::<OutColumn>()
}

/// Returns the start of the fixed-size parts. What is before them is also there without `WANT_COLUMNS`.
pub fn columns_start(columns: usize) -> usize {
    align(statuses_at(columns) + STATUSES * size_of::<Status>(), ALIGN)
}

pub fn align(at: usize, to: usize) -> usize {
    at.next_multiple_of(to)
}

/// Lays out the part of the output region whose size the rows and the columns tell: `OutColumn`s with
/// `valid_at` and `values_at`, and where the bytes of varlena columns may start.
///
/// `ops`: one a column, in column order.
pub fn lay_out(rows: usize, ops: &[Op]) -> (Vec<OutColumn>, usize) {
    let mut at = columns_start(ops.len());
    let mut take = |bytes: usize| {
        let start = at;
        at = align(at + bytes, ALIGN);
        start as u32
    };
    let bitmap = rows.div_ceil(32) * 4;
    let columns = ops
        .iter()
        .map(|op| OutColumn {
            valid_at: take(bitmap),
            values_at: take(match op.width() {
                Some(0) => bitmap,
                Some(width) => width * rows,
                None => 4 * (rows + 1),
            }),
            ..OutColumn::default()
        })
        .collect();
    (columns, at)
}
