//! Writes the input region of a slot.

use std::ops::Range;

use super::input::{MISSING_ALIGN, column_ops};
use super::layout::{
    ALIGN, Attr, BLOCK, DATA_ALIGN, HEAP, Header, NO_MISSING, Op, align, columns_start, put,
};
use crate::types::ValueError;
use crate::wire::copy_binary::RowSource;

/// `MaxHeapTuplesPerPage` of an 8 KB page.
const MAX_LINES: usize = 291;

/// An attribute and the bytes of the final cell of tuples older than its column. The writer's `new` fills
/// `Attr::missing_at` and `missing_len`.
#[derive(Clone, Debug, Default)]
pub struct AttrSpec {
    pub attr: Attr,
    pub missing: Option<Vec<u8>>,
}

/// The most bytes that decode can make of rows and their data.
#[derive(Clone, Copy)]
struct OutputBound {
    limit: usize,
    fixed: usize,
    bits_per_row: usize,
    missing_per_row: usize,
    varlena: bool,
}

impl OutputBound {
    fn new(attrs: &[AttrSpec], ops: &[Op], limit: usize) -> OutputBound {
        let varlena = ops.iter().filter(|op| op.width().is_none()).count();
        let values = |op: &Op| op.width().map_or(32, |width| if width == 0 { 1 } else { 8 * width });
        let missing = |spec: &AttrSpec| match Op::try_from(spec.attr.op) {
            Ok(op) if op.width().is_none() => spec.missing.as_ref().map_or(0, Vec::len),
            _ => 0,
        };
        OutputBound {
            // Offsets are i32.
            limit: limit.min(i32::MAX as usize),
            // Each part is aligned once, a bitmap is rounded to a word and offsets are one more than rows.
            fixed: columns_start(ops.len()) + ops.len() * 2 * (ALIGN + 4) + varlena * ALIGN,
            bits_per_row: ops.iter().map(|op| 1 + values(op)).sum(),
            missing_per_row: attrs.iter().map(missing).sum(),
            varlena: varlena > 0,
        }
    }

    fn fits(&self, rows: usize, data: usize) -> bool {
        let data = if self.varlena { data } else { 0 };
        let parts = [self.fixed, (rows * self.bits_per_row).div_ceil(8), rows * self.missing_per_row, data];
        parts.iter().sum::<usize>() <= self.limit
    }
}

/// The limits that the region and the output region set.
#[derive(Clone, Copy)]
struct Limits {
    heap: bool,
    data_at: usize,
    room: usize,
    output: OutputBound,
}

impl Limits {
    fn hold(&self, rows: usize, pages: usize, data: usize) -> bool {
        let index = match self.heap {
            true => align(2 * rows, ALIGN) + align(4 * (pages + 1), ALIGN) + align(4 * pages, ALIGN),
            false => align(4 * (rows + 1), ALIGN),
        };
        self.data_at + align(data, ALIGN) + index <= self.room && self.output.fits(rows, data)
    }
}

/// Fills an input region with as many rows as it and the output region have room for.
///
/// Runs in the process that scans, while its slot is `FILLING`.
pub struct InputWriter<'a> {
    region: &'a mut [u8],
    header: Header,
    limits: Limits,
    data: usize,
    /// heap: line pointer numbers, the pages' first rows and their block numbers.
    lines: Vec<u16>,
    page_rows: Vec<u32>,
    blocks: Vec<u32>,
    /// copy_binary: where rows start, and lastly where the last one ends.
    offsets: Vec<u32>,
}

impl<'a> InputWriter<'a> {
    /// Starts a region; `None` if the attributes leave no room for a row or, for heap, a page.
    pub fn new(
        region: &'a mut [u8],
        kind: u32,
        attrs: &[AttrSpec],
        columns: usize,
        output_bytes: usize,
        flags: u32,
    ) -> Option<InputWriter<'a>> {
        let attrs_at = size_of::<Header>();
        let missing_at = align(attrs_at + attrs.len() * size_of::<Attr>(), MISSING_ALIGN);
        let mut at = missing_at;
        for (number, spec) in attrs.iter().enumerate() {
            let mut attr = spec.attr;
            (attr.missing_at, attr.missing_len) = (0, NO_MISSING);
            if let Some(value) = &spec.missing {
                region.get_mut(at..at.checked_add(value.len())?)?.copy_from_slice(value);
                (attr.missing_at, attr.missing_len) = (at as u32, value.len() as u32);
                at = align(at + value.len(), MISSING_ALIGN);
            }
            if !put(region, attrs_at + number * size_of::<Attr>(), attr) {
                return None;
            }
        }
        let data_at = align(at, DATA_ALIGN);
        let attributes: Vec<Attr> = attrs.iter().map(|spec| spec.attr).collect();
        let header = Header {
            kind,
            flags,
            columns: columns as u32,
            attrs: attrs.len() as u32,
            attrs_at: attrs_at as u32,
            missing_at: missing_at as u32,
            missing_bytes: (at - missing_at) as u32,
            data_at: u32::try_from(data_at).ok()?,
            ..Header::default()
        };
        let limits = Limits {
            heap: kind == HEAP,
            data_at,
            // Offsets in the region are u32.
            room: region.len().min(u32::MAX as usize),
            output: OutputBound::new(attrs, &column_ops(&attributes, columns).ok()?, output_bytes),
        };
        let (page_rows, offsets) = if kind == HEAP { (vec![0], vec![]) } else { (vec![], vec![0]) };
        let (lines, blocks) = (Vec::new(), Vec::new());
        let least = if kind == HEAP { (MAX_LINES, 1, BLOCK) } else { (1, 0, 0) };
        let writer = InputWriter { region, header, limits, data: 0, lines, page_rows, blocks, offsets };
        limits.hold(least.0, least.1, least.2).then_some(writer)
    }

    /// heap: returns the room for the next page; `None` if no page fits.
    pub fn page(&mut self) -> Option<&mut [u8; BLOCK]> {
        if !self.limits.hold(self.lines.len() + 1, self.blocks.len() + 1, self.data + BLOCK) {
            return None;
        }
        self.region[self.limits.data_at + self.data..].first_chunk_mut()
    }

    /// heap: takes the page that was written into `page()`, and its visible tuples. Returns false if there is no room for
    /// their rows: the page belongs to the next slot.
    pub fn commit_page(&mut self, block: u32, lines: &[u16]) -> bool {
        let rows = self.lines.len() + lines.len();
        if !self.limits.hold(rows, self.blocks.len() + 1, self.data + BLOCK) {
            return false;
        }
        self.data += BLOCK;
        self.lines.extend_from_slice(lines);
        self.page_rows.push(rows as u32);
        self.blocks.push(block);
        true
    }

    /// copy_binary: writes rows while there is room, and returns their number.
    pub fn rows(&mut self, source: RowSource, rows: Range<usize>) -> Result<usize, ValueError> {
        let (limits, before, data) = (self.limits, self.rows_len(), self.data);
        let room = &mut self.region[limits.data_at + data..];
        let fits = |rows: usize, bytes: usize| limits.hold(before + rows, 0, data + bytes);
        let taken = source.write(rows, room, data as u32, &mut self.offsets, fits)?;
        self.data = self.offsets.last().map_or(0, |end| *end as usize);
        Ok(taken)
    }

    /// copy_binary: takes written rows while there is room, and returns their number. `offsets` holds where each one starts
    /// in `stream`, and at its end where the last one ends.
    pub fn append(&mut self, stream: &[u8], offsets: &[u32]) -> usize {
        let fitting = offsets.windows(2).take_while(|row| {
            let row = &stream[row[0] as usize..row[1] as usize];
            let (start, end) = (self.data, self.data + row.len());
            let fits = self.limits.hold(self.rows_len() + 1, 0, end);
            if fits {
                self.region[self.limits.data_at..][start..end].copy_from_slice(row);
                self.data = end;
                self.offsets.push(end as u32);
            }
            fits
        });
        fitting.count()
    }

    pub fn rows_len(&self) -> usize {
        if self.header.kind == HEAP { self.lines.len() } else { self.offsets.len() - 1 }
    }

    /// Returns the bytes of data so far.
    pub fn bytes(&self) -> usize {
        self.data
    }

    /// Writes the header and the indices of the data, after which [`Input::new`] can read the region.
    pub fn finish(self) -> Header {
        let mut header = self.header;
        header.rows = self.rows_len() as u32;
        header.pages = self.blocks.len() as u32;
        header.data_bytes = self.data as u32;
        let mut at = align(self.limits.data_at + self.data, ALIGN);
        let mut write = |bytes: &[u8]| {
            let start = at;
            self.region[at..at + bytes.len()].copy_from_slice(bytes);
            at = align(at + bytes.len(), ALIGN);
            start as u32
        };
        if header.kind == HEAP {
            header.index_at = write(bytes_of(&self.lines));
            header.page_rows_at = write(bytes_of(&self.page_rows));
            header.blocks_at = write(bytes_of(&self.blocks));
        } else {
            header.index_at = write(bytes_of(&self.offsets));
            (header.page_rows_at, header.blocks_at) = (header.index_at, header.index_at);
        }
        let written = put(self.region, 0, header);
        debug_assert!(written, "the attributes behind it have been written");
        header
    }
}

/// Integers as the little-endian host holds them (`wire` refuses others).
fn bytes_of<T: Copy>(values: &[T]) -> &[u8] {
    // SAFETY: the slice's own bytes; called for u16 and u32 alone, which have no padding.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}
