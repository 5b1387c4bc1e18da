//! The input region of a slot. The process that scans writes it; the engine reads it and, if the slot comes back undone, so
//! does its writer.
//!
//! The reader trusts nothing: what it returns lies in the region and in order, whoever wrote it. If another process changes
//! the region meanwhile, values may differ from those checked, but every access is still checked for its bounds.

use std::ops::Range;

use super::layout::{
    ALIGN, Attr, BLOCK, COPY_BINARY, DATA_ALIGN, HEAP, Header, NO_COLUMN, NO_MISSING, Op, STRIP_VERSION, get,
};
use super::{Batch, Tid};
use crate::wire::page::line_pointer;
use crate::wire::tuple::TupleRef;

/// The alignment of missing values.
pub(super) const MISSING_ALIGN: usize = 8;
/// More than PostgreSQL's limit, 1664.
const MAX_COLUMNS: usize = 4096;

fn u16_at(bytes: &[u8], index: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(2 * index..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], index: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(4 * index..)?.first_chunk()?))
}

/// Returns the operation of each column, `Skip` for those that no attribute names.
pub(super) fn column_ops(attrs: &[Attr], columns: usize) -> Result<Vec<Op>, String> {
    let mut ops = vec![Op::Skip; columns];
    for (number, attr) in attrs.iter().enumerate() {
        let op = Op::try_from(attr.op).map_err(|error| format!("attribute {number}: {error}"))?;
        match (op, attr.column) {
            (Op::Skip, NO_COLUMN) => (),
            (Op::Skip, _) | (_, NO_COLUMN) => return Err(format!("attribute {number}: column or operation")),
            (op, column) => match ops.get_mut(column as usize) {
                Some(free @ Op::Skip) => *free = op,
                _ => return Err(format!("attribute {number}: column {column} is taken or is not there")),
            },
        }
    }
    Ok(ops)
}

/// A checked input region.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    region: &'a [u8],
    header: Header,
    attrs: Vec<Attr>,
    ops: Vec<Op>,
    data: &'a [u8],
    index: &'a [u8],
    page_rows: &'a [u8],
    blocks: &'a [u8],
    used: usize,
}

impl<'a> Input<'a> {
    /// Checks the region; the error says what is wrong with it.
    pub fn new(region: &'a [u8]) -> Result<Input<'a>, String> {
        let header: Header = get(region, 0).ok_or("an input region shorter than its header")?;
        let (rows, pages) = (header.rows as usize, header.pages as usize);
        let mut used = size_of::<Header>();
        let mut part = |what: &str, at: u32, bytes: usize, alignment: usize| {
            let (start, end) = (at as usize, (at as usize).saturating_add(bytes));
            used = used.max(end);
            let found = region.get(start..end).filter(|_| start.is_multiple_of(alignment));
            found.ok_or_else(|| format!("{what} at {at}, {bytes} bytes, in a region of {}", region.len()))
        };
        let heap = match header.kind {
            HEAP => true,
            COPY_BINARY => false,
            kind => return Err(format!("slots of kind {kind}")),
        };
        let attrs_bytes = header.attrs as usize * size_of::<Attr>();
        part("attributes", header.attrs_at, attrs_bytes, 4)?;
        let missing =
            part("missing values", header.missing_at, header.missing_bytes as usize, MISSING_ALIGN)?;
        let data = part("data", header.data_at, header.data_bytes as usize, DATA_ALIGN)?;
        let index_bytes = if heap { 2 * rows } else { 4 * (rows + 1) };
        let index = part("index", header.index_at, index_bytes, ALIGN)?;
        let page_rows =
            part("page_rows", header.page_rows_at, if heap { 4 * (pages + 1) } else { 0 }, ALIGN)?;
        let blocks = part("blocks", header.blocks_at, if heap { 4 * pages } else { 0 }, ALIGN)?;
        if header.columns as usize > MAX_COLUMNS {
            return Err(format!("{} columns", header.columns));
        }
        let attrs: Vec<Attr> = (0..header.attrs as usize)
            .filter_map(|number| get(region, header.attrs_at as usize + number * size_of::<Attr>()))
            .collect();
        let missing = header.missing_at as usize..header.missing_at as usize + missing.len();
        for (number, attr) in attrs.iter().enumerate() {
            let checked = if heap { heap_attr(attr, &missing) } else { copy_attr(attr, number) };
            checked.map_err(|what| format!("attribute {number}: {what}"))?;
        }
        if !heap && (attrs.len() != header.columns as usize || pages != 0) {
            return Err("a field is not a column, or there are pages among rows".into());
        }
        let ops = column_ops(&attrs, header.columns as usize)?;
        let input = Input { region, header, attrs, ops, data, index, page_rows, blocks, used };
        input.check_bounds()?;
        Ok(input)
    }

    /// Checks that rows follow each other and end where the data end.
    fn check_bounds(&self) -> Result<(), String> {
        let (bounds, last) = match self.header.kind {
            HEAP if self.data.len() != self.pages() * BLOCK => return Err("pages and data differ".into()),
            HEAP => (self.page_rows, self.header.rows),
            _ => (self.index, self.header.data_bytes),
        };
        let mut before = 0;
        let mut rising = true;
        for bound in bounds.as_chunks().0 {
            let bound = u32::from_le_bytes(*bound);
            rising &= before <= bound;
            before = bound;
        }
        match rising && u32_at(bounds, 0) == Some(0) && before == last {
            true => Ok(()),
            false => Err("rows are out of order".into()),
        }
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    pub fn is_heap(&self) -> bool {
        self.header.kind == HEAP
    }

    pub fn rows(&self) -> usize {
        self.header.rows as usize
    }

    pub fn columns(&self) -> usize {
        self.header.columns as usize
    }

    pub fn pages(&self) -> usize {
        self.header.pages as usize
    }

    pub fn attrs(&self) -> &[Attr] {
        &self.attrs
    }

    /// Returns the operation of each column, as `layout::lay_out` takes them.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// Returns the bytes of the region in use.
    pub fn used(&self) -> usize {
        self.used
    }

    pub fn data(&self) -> &'a [u8] {
        self.data
    }

    /// Returns the value of an attribute in tuples older than its column.
    pub fn missing(&self, attr: &Attr) -> Option<&'a [u8]> {
        if attr.missing_len == NO_MISSING {
            return None;
        }
        self.region.get(attr.missing_at as usize..attr.missing_at as usize + attr.missing_len as usize)
    }

    /// copy_binary: returns where rows start, and at the end where the last one ends.
    pub fn offsets(&self) -> Vec<u32> {
        self.index.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect()
    }

    pub fn page(&self, page: usize) -> &'a [u8] {
        self.data.get(page * BLOCK..(page + 1) * BLOCK).unwrap_or_default()
    }

    /// heap: returns the rows of a page.
    pub fn page_rows(&self, page: usize) -> Range<usize> {
        let row = |index| u32_at(self.page_rows, index).map_or(0, |row| row as usize).min(self.rows());
        row(page)..row(page + 1)
    }

    /// heap: returns a page's tuples and their places in the table; `None` for a line pointer that leads to no tuple.
    /// Positions are counted from `base`, the page's place in an arena.
    pub fn tuples(&self, page: usize, base: usize) -> impl Iterator<Item = (Tid, Option<TupleRef>)> + '_ {
        let block = u32_at(self.blocks, page).unwrap_or(0);
        let bytes = self.page(page);
        self.page_rows(page).map(move |row| {
            let offset = u16_at(self.index, row).unwrap_or(0);
            let place = line_pointer(bytes, offset);
            let tuple =
                place.map(|(at, len)| TupleRef { pos: (base + usize::from(at)) as u32, len: len.into() });
            (Tid { block, offset }, tuple)
        })
    }

    /// heap: appends a page and its tuples to a batch of whole pages, as the scan does. A line pointer that leads to no tuple
    /// is an error.
    pub fn append_page(&self, page: usize, batch: &mut Batch) -> Result<(), Tid> {
        let base = batch.arena.len();
        batch.arena.extend_from_slice(self.page(page));
        for (tid, tuple) in self.tuples(page, base) {
            batch.tuples.push(tuple.ok_or(tid)?);
            batch.tids.push(tid);
        }
        Ok(())
    }

    /// heap: returns a row's place in the table.
    pub fn tid(&self, row: usize) -> Option<Tid> {
        let pages = self.page_rows.as_chunks().0;
        let page =
            pages.partition_point(|first| u32::from_le_bytes(*first) as usize <= row).checked_sub(1)?;
        Some(Tid { block: u32_at(self.blocks, page)?, offset: u16_at(self.index, row)? })
    }
}

/// Checks that a catalog can describe the attribute and that its operation can take it.
fn heap_attr(attr: &Attr, missing: &Range<usize>) -> Result<(), String> {
    if !matches!(attr.align, 1 | 2 | 4 | 8) {
        return Err(format!("attalign {}", attr.align));
    }
    let op = Op::try_from(attr.op)?;
    let fits = match op {
        Op::Skip => attr.len > 0 || matches!(attr.len, -1 | -2),
        Op::Bool | Op::Char => attr.len == 1,
        Op::Int2 => attr.len == 2,
        Op::Int4 | Op::Date => attr.len == 4,
        Op::Int8 | Op::Time | Op::Timestamp => attr.len == 8,
        Op::Uuid => attr.len == 16,
        Op::Name => attr.len > 0,
        Op::Decimal32 | Op::Decimal64 | Op::Decimal128 | Op::Bytes | Op::NumericText => attr.len == -1,
    };
    if !fits || attr.strip != 0 {
        return Err(format!("{op:?} of attlen {}", attr.len));
    }
    let value =
        attr.missing_at as usize..(attr.missing_at as usize).saturating_add(attr.missing_len as usize);
    let inside = value.start >= missing.start && value.end <= missing.end;
    if attr.missing_len != NO_MISSING && !(inside && value.start.is_multiple_of(MISSING_ALIGN)) {
        return Err("missing value".into());
    }
    decimal(op, attr)
}

fn copy_attr(attr: &Attr, number: usize) -> Result<(), String> {
    let op = Op::try_from(attr.op)?;
    let stored_only = matches!(op, Op::Skip | Op::Name | Op::Char);
    if stored_only || attr.column as usize != number || attr.missing_len != NO_MISSING {
        return Err(format!("{op:?} to column {}", attr.column));
    }
    if !(attr.strip == 0 || attr.strip == STRIP_VERSION && op == Op::Bytes) {
        return Err(format!("strip {}", attr.strip));
    }
    decimal(op, attr)
}

fn decimal(op: Op, attr: &Attr) -> Result<(), String> {
    let most = match op {
        Op::Decimal32 => 9,
        Op::Decimal64 => 18,
        Op::Decimal128 => 38,
        _ => return Ok(()),
    };
    match attr.precision <= most && attr.scale <= most {
        true => Ok(()),
        false => Err(format!("{op:?} of precision {} and scale {}", attr.precision, attr.scale)),
    }
}

#[cfg(test)]
#[path = "input_tests.rs"]
mod tests;
