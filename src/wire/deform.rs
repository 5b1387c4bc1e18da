//! Deforms heap tuples into cells.
//!
//! The walk goes attribute by attribute over a block of tuples instead of tuple by tuple. The properties of the
//! attribute are then constant in an inner loop, the cells of a column are written in order, and the tuples'
//! positions advance independently of each other. The attributes of one tuple, in contrast, form a chain in which
//! each has to wait for the length of the one before.
//!
//! Sources: src/include/access/tupmacs.h (alignment), src/include/varatt.h (varlena).

use super::short_varlenas::{self, LANES};
use super::tuple::{Attr, Fixup, FixupKind, Take, TupleLayout, TupleRef, header, stand_in};
use super::varlena::varlena;
use crate::types::{Cell, Reason, ValueError};

/// Tuples that are walked together. Their state and most of their bytes stay in the L1 cache.
const BLOCK: usize = 128;

/// Finds every exported attribute of `tuples`. `cells` gets a vector for each column, with a cell for each row.
///
/// Columns without an attribute are NULL. New entries in `fixups` are in the order of blocks of rows, then
/// attributes, then rows. The arena only grows, by the layout's missing values.
pub fn deform(
    arena: &mut Vec<u8>,
    tuples: &[TupleRef],
    layout: &TupleLayout,
    cells: &mut Vec<Vec<Cell>>,
    fixups: &mut Vec<Fixup>,
) -> Result<(), ValueError> {
    cells.resize_with(layout.columns, Vec::new);
    for column in cells.iter_mut() {
        column.clear();
        column.resize(tuples.len(), Cell::NULL);
    }
    let mut missing = None;
    let mut block = Block::new();
    for (index, chunk) in tuples.chunks(BLOCK).enumerate() {
        block.load(arena, chunk, index * BLOCK)?;
        if block.fewest < layout.attrs.len() && missing.is_none() {
            missing = Some(append_missing(arena, layout));
        }
        let missing = missing.as_deref();
        for (number, attr) in layout.attrs.iter().enumerate() {
            let absent = missing.map_or(Cell::NULL, |cells| cells[number]);
            block.walk(arena, number, attr, absent, cells, fixups)?;
        }
    }
    Ok(())
}

/// Appends the values of columns that are newer than a tuple, and returns their cells.
fn append_missing(arena: &mut Vec<u8>, layout: &TupleLayout) -> Vec<Cell> {
    let append = |attr: &Attr| match &attr.missing {
        Some(bytes) => {
            let pos = arena.len();
            arena.extend_from_slice(bytes);
            Cell::new(pos, bytes.len())
        }
        None => Cell::NULL,
    };
    layout.attrs.iter().map(append).collect()
}

/// The state of up to `BLOCK` tuples between two attributes.
///
/// Invariant after `load` and after every `walk` that succeeds: `pos <= end <= arena.len()`, and
/// positions are aligned as their tuple is, because tuples start at multiples of 8 in the arena.
struct Block {
    /// The row of the first tuple.
    first: usize,
    rows: usize,
    pos: [u32; BLOCK],
    end: [u32; BLOCK],
    bits: [u32; BLOCK],
    natts: [u16; BLOCK],
    /// The smallest `natts`.
    fewest: usize,
    has_nulls: bool,
}

impl Block {
    fn new() -> Block {
        Block {
            first: 0,
            rows: 0,
            pos: [0; BLOCK],
            end: [0; BLOCK],
            bits: [0; BLOCK],
            natts: [0; BLOCK],
            fewest: 0,
            has_nulls: false,
        }
    }

    /// Reads the tuples' headers.
    fn load(&mut self, arena: &[u8], tuples: &[TupleRef], first: usize) -> Result<(), ValueError> {
        (self.first, self.rows, self.fewest, self.has_nulls) = (first, tuples.len(), usize::MAX, false);
        for (t, tuple) in tuples.iter().enumerate() {
            let head = header(arena, *tuple).map_err(|what| self.malformed(t, what))?;
            self.pos[t] = head.data;
            self.end[t] = tuple.pos + tuple.len;
            self.bits[t] = head.bits;
            self.natts[t] = head.natts;
            self.has_nulls |= head.has_nulls();
            self.fewest = self.fewest.min(usize::from(head.natts));
        }
        Ok(())
    }

    fn malformed(&self, t: usize, what: &'static str) -> ValueError {
        ValueError { row: self.first + t, reason: Reason::Malformed(what) }
    }

    fn stand_in(&self, arena: &[u8], t: usize, number: usize, absent: Cell) -> Option<Cell> {
        stand_in(arena, self.bits[t], self.natts[t], number, absent)
    }

    /// Moves every tuple past attribute `number`, and writes the attribute's cells.
    fn walk(
        &mut self,
        arena: &[u8],
        number: usize,
        attr: &Attr,
        absent: Cell,
        cells: &mut [Vec<Cell>],
        fixups: &mut Vec<Fixup>,
    ) -> Result<(), ValueError> {
        let rows = self.first..self.first + self.rows;
        let plain = !self.has_nulls && self.fewest > number;
        let Some(column) = attr.take.column() else {
            // A column that is not exported has no cells; only positions are needed.
            let mut sink = [];
            return if plain {
                self.advance::<true, false>(arena, number, attr, absent, &mut sink, |_| ())
            } else {
                self.advance::<false, false>(arena, number, attr, absent, &mut sink, |_| ())
            };
        };
        let out = &mut cells[column][rows];
        let column = column as u32;
        let mut fixup = |mut found: Fixup| {
            found.column = column;
            fixups.push(found);
        };
        if plain {
            self.advance::<true, true>(arena, number, attr, absent, out, &mut fixup)?;
        } else {
            self.advance::<false, true>(arena, number, attr, absent, out, &mut fixup)?;
        }
        self.finish(arena, number, attr, plain, out, fixup);
        Ok(())
    }

    /// Moves every tuple past an attribute. `PLAIN`: every tuple of the block has the attribute, and none has NULLs.
    /// `OUT`: there are cells to write.
    fn advance<const PLAIN: bool, const OUT: bool>(
        &mut self,
        arena: &[u8],
        number: usize,
        attr: &Attr,
        absent: Cell,
        out: &mut [Cell],
        fixup: impl FnMut(Fixup),
    ) -> Result<(), ValueError> {
        match attr.len {
            -1 => self.advance_varlena::<PLAIN, OUT>(arena, number, attr, absent, out, fixup),
            -2 => self.advance_cstring::<OUT>(arena, number, absent, out),
            len => self.advance_fixed::<PLAIN, OUT>(arena, number, attr.align, len as u32, absent, out),
        }
    }

    fn advance_fixed<const PLAIN: bool, const OUT: bool>(
        &mut self,
        arena: &[u8],
        number: usize,
        align: u8,
        len: u32,
        absent: Cell,
        out: &mut [Cell],
    ) -> Result<(), ValueError> {
        let mask = u32::from(align) - 1;
        let mut past = false;
        let Block { pos, end, bits, natts, rows, .. } = self;
        let (pos, end) = (&mut pos[..*rows], &end[..*rows]);
        let (bits, natts) = (&bits[..*rows], &natts[..*rows]);
        let out = if OUT { &mut out[..*rows] } else { out };
        for t in 0..pos.len() {
            if !PLAIN && let Some(cell) = stand_in(arena, bits[t], natts[t], number, absent) {
                if OUT {
                    out[t] = cell;
                }
                continue;
            }
            // This cannot overflow, since `pos <= arena.len() <= u32::MAX - LONGEST_STEP`; see `header`.
            let at = (pos[t] + mask) & !mask;
            pos[t] = at + len;
            past |= pos[t] > end[t];
            if OUT {
                out[t] = Cell::new(at as usize, len as usize);
            }
        }
        if past {
            let t = pos.iter().zip(end).position(|(pos, end)| pos > end).unwrap_or(0);
            return Err(self.malformed(t, "attribute past the end of its tuple"));
        }
        Ok(())
    }

    // If there are no cells to write, `out` is empty, so that the loop cannot iterate over it.
    #[allow(clippy::needless_range_loop)]
    fn advance_varlena<const PLAIN: bool, const OUT: bool>(
        &mut self,
        arena: &[u8],
        number: usize,
        attr: &Attr,
        absent: Cell,
        out: &mut [Cell],
        mut fixup: impl FnMut(Fixup),
    ) -> Result<(), ValueError> {
        let whole = matches!(attr.take, Take::Server { .. });
        let mut next = 0;
        while next < self.rows {
            if PLAIN && !whole {
                let cells = if OUT { &mut out[next..self.rows] } else { &mut [][..] };
                let (pos, end) = (&mut self.pos[next..self.rows], &self.end[next..self.rows]);
                next += short_varlenas::walk::<OUT>(arena, pos, end, cells);
            }
            let last = self.rows.min(next + LANES);
            for t in next..last {
                if !PLAIN && let Some(cell) = self.stand_in(arena, t, number, absent) {
                    if OUT {
                        out[t] = cell;
                    }
                    continue;
                }
                let cell = self.take_varlena(arena, t, attr, whole, OUT, &mut fixup)?;
                if OUT {
                    out[t] = cell;
                }
            }
            next = last;
        }
        Ok(())
    }

    /// Moves a tuple past a varlena, and returns its cell. If there is a cell to write, it may need a fixup.
    #[inline(always)]
    fn take_varlena(
        &mut self,
        arena: &[u8],
        t: usize,
        attr: &Attr,
        whole: bool,
        has_cell: bool,
        fixup: &mut impl FnMut(Fixup),
    ) -> Result<Cell, ValueError> {
        let mask = u32::from(attr.align) - 1;
        let datum = varlena(arena, self.pos[t], self.end[t], mask).map_err(|what| self.malformed(t, what))?;
        self.pos[t] = datum.pos + datum.len;
        if datum.kind == FixupKind::Plain && !whole {
            return Ok(Cell::new((datum.pos + datum.head) as usize, (datum.len - datum.head) as usize));
        }
        if has_cell {
            fixup(Fixup {
                row: (self.first + t) as u32,
                column: 0,
                pos: datum.pos,
                len: datum.len,
                kind: datum.kind,
            });
        }
        Ok(Cell::new(datum.pos as usize, datum.len as usize))
    }

    /// Only few system catalogs store C strings, so this function is not specialised.
    #[allow(clippy::needless_range_loop)]
    fn advance_cstring<const OUT: bool>(
        &mut self,
        arena: &[u8],
        number: usize,
        absent: Cell,
        out: &mut [Cell],
    ) -> Result<(), ValueError> {
        for t in 0..self.rows {
            let (pos, end) = (self.pos[t] as usize, self.end[t] as usize);
            let cell = match self.stand_in(arena, t, number, absent) {
                Some(cell) => cell,
                None => {
                    let nul = arena[pos..end].iter().position(|&byte| byte == 0);
                    let len = 1 + nul.ok_or_else(|| self.malformed(t, "unterminated string in a tuple"))?;
                    self.pos[t] += len as u32;
                    Cell::new(pos, len)
                }
            };
            if OUT {
                out[t] = cell;
            }
        }
        Ok(())
    }

    /// Completes the cells of a fixed-width attribute, which are known to lie in their tuples.
    fn finish(
        &self,
        arena: &[u8],
        number: usize,
        attr: &Attr,
        plain: bool,
        out: &mut [Cell],
        mut fixup: impl FnMut(Fixup),
    ) {
        if matches!(attr.take, Take::Fixed { .. } | Take::Varlena { .. } | Take::Skip) || attr.len == -1 {
            return;
        }
        for (t, cell) in out.iter_mut().enumerate() {
            if !plain && self.stand_in(arena, t, number, Cell::NULL).is_some() {
                continue;
            }
            let bytes = cell.of(arena);
            let render = match attr.take {
                Take::Name { .. } => {
                    let len = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
                    *cell = Cell::new(cell.pos as usize, len);
                    false
                }
                Take::Char { .. } => {
                    *cell = Cell::new(cell.pos as usize, usize::from(bytes != [0]));
                    bytes[0] >= 0x80
                }
                _ => true,
            };
            if render {
                fixup(Fixup {
                    row: (self.first + t) as u32,
                    column: 0,
                    pos: cell.pos,
                    len: bytes.len() as u32,
                    kind: FixupKind::Plain,
                });
            }
        }
    }
}

#[cfg(test)]
#[path = "deform_tests.rs"]
mod tests;
