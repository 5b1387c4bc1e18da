//! Slots from values: pages or rows until the region is full or the rows are enough.

use pg_strata::slot::fill::{AttrSpec, InputWriter};
use pg_strata::slot::layout::{Attr, BLOCK, HEAP, WANT_COLUMNS};

use super::values::{Chance, Value, row, tuple};

/// A row's values, one an attribute.
pub type NextRow = Box<dyn FnMut(&mut Chance) -> Vec<Value>>;

/// The source of slots.
pub struct Table {
    pub kind: u32,
    pub attrs: Vec<AttrSpec>,
    pub columns: usize,
    /// Dead line pointers between the live ones.
    pub dead: bool,
    pub next: NextRow,
}

impl Table {
    fn plain(&self) -> Vec<Attr> {
        self.attrs.iter().map(|spec| spec.attr).collect()
    }

    /// Fills the region and says how many rows it holds, and how many bytes of it are in use.
    pub fn fill(
        &mut self,
        region: &mut [u8],
        output: usize,
        most: usize,
        want: bool,
        chance: &mut Chance,
    ) -> Option<(usize, usize)> {
        let flags = if want { WANT_COLUMNS } else { 0 };
        let attrs = std::mem::take(&mut self.attrs);
        let writer = InputWriter::new(region, self.kind, &attrs, self.columns, output, flags);
        self.attrs = attrs;
        let mut writer = writer?;
        if self.kind == HEAP {
            self.pages(&mut writer, most, chance)
        } else {
            self.rows(&mut writer, most, chance)
        }
        let (rows, data) = (writer.rows_len(), writer.bytes());
        writer.finish();
        Some((rows, data))
    }

    fn pages(&mut self, writer: &mut InputWriter, most: usize, chance: &mut Chance) {
        let attrs = self.plain();
        let mut left = most;
        let mut held = None;
        for block in 0.. {
            if left == 0 {
                return;
            }
            let Some(room) = writer.page() else { return };
            let mut page = Page::new();
            let mut lines = Vec::new();
            while lines.len() < left {
                let next = held.take().unwrap_or_else(|| tuple(&attrs, &(self.next)(chance), chance));
                if self.dead && chance.one_in(9) {
                    page.dead();
                }
                match page.add(&next) {
                    Some(line) => lines.push(line),
                    None if lines.is_empty() => panic!("a tuple of {} bytes on an empty page", next.len()),
                    None => {
                        held = Some(next);
                        break;
                    }
                }
            }
            *room = page.bytes;
            if !writer.commit_page(block, &lines) {
                return;
            }
            left -= lines.len();
            // Pages without visible rows happen.
            if self.dead && chance.one_in(9) && writer.page().is_some() {
                writer.commit_page(block, &[]);
            }
        }
    }

    fn rows(&mut self, writer: &mut InputWriter, most: usize, chance: &mut Chance) {
        let mut bytes = Vec::new();
        for _ in 0..most {
            bytes.clear();
            row(&(self.next)(chance), &mut bytes);
            if writer.append(&bytes, &[0, bytes.len() as u32]) == 0 {
                return;
            }
        }
    }
}

/// A heap page being filled: line pointers from its start, tuples from its end.
struct Page {
    bytes: [u8; BLOCK],
    lines: usize,
    upper: usize,
}

impl Page {
    fn new() -> Page {
        Page { bytes: [0; BLOCK], lines: 0, upper: BLOCK }
    }

    fn pointer(&mut self, word: u32) {
        let at = 24 + 4 * self.lines;
        self.bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
        self.lines += 1;
    }

    fn room(&self) -> usize {
        self.upper.saturating_sub(24 + 4 * (self.lines + 1))
    }

    /// LP_DEAD, or a redirection to line 1.
    fn dead(&mut self) {
        if self.room() >= 8 && self.lines < 280 {
            self.pointer(if self.lines.is_multiple_of(2) { 3 << 15 } else { 2 << 15 | 1 });
        }
    }

    /// The tuple's line pointer; `None` when the page is full.
    fn add(&mut self, tuple: &[u8]) -> Option<u16> {
        let stored = tuple.len().next_multiple_of(8);
        if stored > self.room() || self.lines >= 291 {
            return None;
        }
        self.upper -= stored;
        self.bytes[self.upper..self.upper + tuple.len()].copy_from_slice(tuple);
        self.pointer((tuple.len() as u32) << 17 | 1 << 15 | self.upper as u32);
        Some(self.lines as u16)
    }
}
