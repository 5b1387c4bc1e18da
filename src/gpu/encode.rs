//! The structures that the encode kernels take and give (kernels/page.cuh), and the division of columns into pages.
//!
//! A column part is a slot's share of a column: validity words, and values as `slot::layout` has them. A page has rows
//! of one part only; a column chunk is made of the pages of as many parts as its row group has slots. The place of each
//! body is known before it is made: bodies have gaps between them, which a codec or a copy closes.

use crate::encode::{Codec, MAX_BYTES, PAGE_BYTES, PAGE_ROWS};
use crate::slot::encode::{END_BYTES, LZ4, PLAIN_BODIES, SNAPPY, ZSTD};
pub use crate::slot::encode::{Ends, Order, encoding};

/// Returns what a device does to bodies for a codec. A device has one level of zstd, which the default stands for;
/// other levels are left to the CPU.
pub fn of_device(codec: Codec) -> u32 {
    match codec {
        Codec::Snappy => SNAPPY,
        Codec::Lz4Raw => LZ4,
        _ if codec == Codec::default() => ZSTD,
        _ => PLAIN_BODIES,
    }
}

/// The form of values in the column and in a body.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A bitmap; BOOLEAN.
    Bits = 0,
    /// INT32, FLOAT.
    Fixed4 = 1,
    /// INT64, DOUBLE.
    Fixed8 = 2,
    /// FIXED_LEN_BYTE_ARRAY(16).
    Fixed16 = 3,
    /// i32 offsets[rows + 1] and bytes, of which NULL rows have none; BYTE_ARRAY.
    Strings = 4,
}

impl Shape {
    /// Bytes of a value in the column; for a string, the bytes of its length in a body.
    fn width(self) -> u64 {
        match self {
            Shape::Bits => 0,
            Shape::Fixed4 | Shape::Strings => 4,
            Shape::Fixed8 => 8,
            Shape::Fixed16 => 16,
        }
    }
}

/// A slot's share of a column. Places are counted from the input's start and are multiples of 16.
#[derive(Clone, Copy, Debug)]
pub struct ColumnPart {
    pub shape: Shape,
    pub order: Order,
    pub nullable: bool,
    pub rows: u32,
    /// Validity in u32 words, LSB first, bits past the last row 0; read whether `nullable` or not.
    pub valid_at: u64,
    pub values_at: u64,
    /// Strings: where their bytes are, and how many.
    pub bytes_at: u64,
    pub bytes: u64,
    /// The part continues the column chunk of the part before it, which has the same type.
    pub continues: bool,
    /// A dictionary is tried. Bits never have one.
    pub dictionary: bool,
    /// The [`encoding`] of values that have no dictionary.
    pub encoding: u32,
}

/// A data page to make.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    pub valid_at: u64,
    pub values_at: u64,
    pub bytes_at: u64,
    /// The place of its body in the output; for strings, the offset of its first row is added.
    pub body_at: u64,
    /// A multiple of 32.
    pub first: u32,
    /// At least 1.
    pub rows: u32,
    /// A [`Shape`] and an [`Order`].
    pub shape: u8,
    pub order: u8,
    pub nullable: u8,
    /// See `ColumnPart::encoding`.
    pub encoding: u8,
    /// The number of its `DictionaryChunk`, or `NO_CHUNK`.
    pub chunk: u32,
}

/// In `Page::chunk`.
pub const NO_CHUNK: u32 = u32::MAX;

/// A column chunk that a dictionary is tried for, with its places in the scratch.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DictionaryChunk {
    /// u32[buckets]: the hash table.
    pub table_at: u64,
    /// u32[pages << shift]: each row's bucket.
    pub codes_at: u64,
    /// A bit for each of those rows, and a u32 for each 32 of them.
    pub marks_at: u64,
    pub ranks_at: u64,
    /// u32[most] each, by entry.
    pub firsts_at: u64,
    pub starts_at: u64,
    /// The place of the dictionary page's body in the output, a multiple of 16.
    pub body_at: u64,
    pub first_page: u32,
    pub pages: u32,
    /// A power of two, at least twice `most`.
    pub buckets: u32,
    /// No page has more than `1 << shift` rows.
    pub shift: u32,
    /// Entries that a dictionary may have, and bytes.
    pub most: u32,
    pub most_bytes: u32,
}

/// The result of trying a dictionary.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DictionaryState {
    pub entries: u32,
    /// More than `most` values.
    pub failed: u32,
    /// Values that are not NULL.
    pub values: u32,
    /// Bytes of the dictionary page's body.
    pub bytes: u32,
    /// The pages are indices, of `width` bits, into the dictionary.
    pub used: u32,
    pub width: u32,
    /// Bytes that the values take in PLAIN.
    pub plain: u64,
}

/// A body in the output, as `compress.cu` takes it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Body {
    pub at: u64,
    pub bytes: u32,
    pub nulls: u32,
}

/// A page's least and greatest values as keys: unsigned numbers in the values' order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    pub min_high: u64,
    pub min_low: u64,
    pub max_high: u64,
    pub max_low: u64,
    /// Values among which least and greatest are; 0 when there is no such value.
    pub values: u32,
    pub nans: u32,
}

/// Bytes of a page's [`Ends`], the bounds of strings. The page's `Bounds` then have the bytes of the values in `min_low`,
/// and the number of values.
pub const ENDS: u64 = size_of::<Ends>() as u64;
const _: () = assert!(ENDS == 8 + 2 * END_BYTES as u64);

const _: () = assert!(size_of::<Page>() == 48 && size_of::<Body>() == 16 && size_of::<Bounds>() == 40);
const _: () = assert!(size_of::<DictionaryChunk>() == 80 && size_of::<DictionaryState>() == 32);

/// The most that a dictionary may have. With 0 entries none is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub entries: u32,
    pub bytes: u32,
}

/// Entries of more than 16 bits hardly ever save a quarter.
pub const LIMITS: Limits = Limits { entries: 1 << 16, bytes: MAX_BYTES as u32 };

/// The work of the kernels for a row group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub pages: Vec<Page>,
    pub chunks: Vec<DictionaryChunk>,
    pub output_bytes: u64,
    pub scratch_bytes: u64,
}

/// Room for a body beyond its values and a byte a row: the levels' length and header, and alignment. Deltas also have a
/// header, and padding in their last block.
const SLACK: u64 = 64;
const DELTA_SLACK: u64 = 448;

/// Whether the kernel `deltas` of kernels/encode.cu writes the values.
pub fn has_deltas(encoding: u32) -> bool {
    matches!(encoding, encoding::DELTA_BINARY_PACKED | encoding::DELTA_LENGTH_BYTE_ARRAY)
}

/// Rows of a validity word.
const WORD: u32 = 32;

/// Returns the rows of each of the column's pages but the last. A page ends at `PAGE_ROWS` or at about `PAGE_BYTES`, as
/// on the CPU.
pub fn page_rows(column: &ColumnPart) -> u32 {
    let plain = column.shape.width() * u64::from(column.rows) + column.bytes;
    let fit = PAGE_BYTES as u64 * u64::from(column.rows) / plain.max(1);
    (fit.min(PAGE_ROWS as u64) as u32 / WORD * WORD).max(WORD)
}

/// Divides the columns into pages of as many rows as `page_rows` says, in order, and places their dictionaries.
pub fn plan(columns: &[ColumnPart], page_rows: impl Fn(&ColumnPart) -> u32, limits: Limits) -> Plan {
    let mut plan = Plan::default();
    // Whether the last chunk is this column's: a column without rows has no chunk.
    let mut is_open = false;
    for column in columns {
        is_open &= column.continues;
        let step = page_rows(column);
        assert!(step > 0 && step.is_multiple_of(WORD) && step as usize <= PAGE_ROWS, "pages of {step} rows");
        let first_page = plan.pages.len() as u32;
        plan.add_pages(column, step);
        let tried = column.dictionary && column.shape != Shape::Bits && limits.entries > 0;
        if !tried || plan.pages.len() as u32 == first_page {
            continue;
        }
        let shift = step.min(column.rows).next_power_of_two().trailing_zeros();
        if !is_open {
            plan.chunks.push(DictionaryChunk::new(first_page, limits));
            is_open = true;
        }
        let number = plan.chunks.len() as u32 - 1;
        plan.pages[first_page as usize..].iter_mut().for_each(|page| page.chunk = number);
        let chunk = &mut plan.chunks[number as usize];
        chunk.pages = plan.pages.len() as u32 - chunk.first_page;
        chunk.shift = chunk.shift.max(shift);
    }
    plan.place_chunks();
    plan
}

impl Plan {
    fn add_pages(&mut self, column: &ColumnPart, step: u32) {
        let row_room = column.shape.width() + 1;
        let slack = if has_deltas(column.encoding) { DELTA_SLACK } else { SLACK };
        for (number, first) in (0..column.rows).step_by(step as usize).enumerate() {
            self.pages.push(Page {
                valid_at: column.valid_at,
                values_at: column.values_at,
                bytes_at: column.bytes_at,
                body_at: self.output_bytes + slack * number as u64 + row_room * u64::from(first),
                first,
                rows: step.min(column.rows - first),
                shape: column.shape as u8,
                order: column.order as u8,
                nullable: column.nullable.into(),
                encoding: column.encoding as u8,
                chunk: NO_CHUNK,
            });
        }
        let slack = slack * u64::from(column.rows.div_ceil(step));
        let rows = row_room * u64::from(column.rows);
        self.output_bytes = (self.output_bytes + slack + rows + column.bytes).next_multiple_of(16);
    }

    fn place_chunks(&mut self) {
        for chunk in &mut self.chunks {
            let pages = &self.pages[chunk.first_page as usize..][..chunk.pages as usize];
            let rows: u64 = pages.iter().map(|page| u64::from(page.rows)).sum();
            chunk.most = u64::from(chunk.most).min(rows) as u32;
            chunk.buckets = (2 * chunk.most).next_power_of_two();
            let numbers = u64::from(chunk.pages) << chunk.shift;
            assert!(numbers < 1 << 32, "a chunk of {rows} rows");
            let mut take = |words: u64| {
                let at = self.scratch_bytes;
                self.scratch_bytes = (at + 4 * words).next_multiple_of(64);
                at
            };
            chunk.table_at = take(chunk.buckets.into());
            chunk.codes_at = take(numbers);
            chunk.marks_at = take(numbers / 32);
            chunk.ranks_at = take(numbers / 32);
            chunk.firsts_at = take(chunk.most.into());
            chunk.starts_at = take(chunk.most.into());
            chunk.body_at = self.output_bytes;
            self.output_bytes = (self.output_bytes + u64::from(chunk.most_bytes)).next_multiple_of(16);
        }
    }
}

impl DictionaryChunk {
    /// A chunk that has no places yet.
    fn new(first_page: u32, limits: Limits) -> DictionaryChunk {
        DictionaryChunk {
            table_at: 0,
            codes_at: 0,
            marks_at: 0,
            ranks_at: 0,
            firsts_at: 0,
            starts_at: 0,
            body_at: 0,
            first_page,
            pages: 0,
            buckets: 0,
            shift: WORD.trailing_zeros(),
            most: limits.entries,
            most_bytes: limits.bytes,
        }
    }
}

impl Bounds {
    /// Returns the bits of the least and the greatest value; 16 bytes as a big-endian number. A floating-point zero is -0
    /// as the least value and +0 as the greatest, as parquet.thrift asks.
    pub fn bits(&self, shape: Shape, order: Order) -> Option<(u128, u128)> {
        if self.values == 0 {
            return None;
        }
        let key = |high: u64, low: u64| u128::from(high) << 64 | u128::from(low);
        let (min, max) = (key(self.min_high, self.min_low), key(self.max_high, self.max_low));
        let top = 1u128 << (8 * shape.width()).saturating_sub(1);
        let value = |key: u128| match order {
            Order::None | Order::Unsigned => key,
            Order::Signed => key ^ top,
            Order::Floating if key & top != 0 => key ^ top,
            Order::Floating => !key & (top | (top - 1)),
        };
        let (min, max) = (value(min), value(max));
        let floating = order == Order::Floating;
        Some((if floating && min == 0 { top } else { min }, if floating && max == top { 0 } else { max }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codecs_go_to_the_device_or_to_the_cpu() {
        let of = |text| of_device(Codec::parse(text).unwrap());
        assert_eq!([of("snappy"), of("lz4_raw"), of("zstd"), of("zstd:1")], [SNAPPY, LZ4, ZSTD, ZSTD]);
        for on_cpu in ["none", "zstd:2", "zstd:22", "gzip", "gzip:1", "brotli"] {
            assert_eq!(of(on_cpu), PLAIN_BODIES, "{on_cpu}");
        }
    }

    #[test]
    fn pages_as_on_the_cpu() {
        let column = ColumnPart {
            shape: Shape::Fixed8,
            order: Order::Signed,
            nullable: true,
            rows: 57_000,
            valid_at: 0,
            values_at: 8192,
            bytes_at: 0,
            bytes: 0,
            continues: false,
            dictionary: true,
            encoding: encoding::PLAIN,
        };
        assert_eq!(page_rows(&column), 20_000);
        let long = ColumnPart { shape: Shape::Strings, bytes: 57_000 * 1000, ..column };
        assert_eq!(page_rows(&long), 1044 / 32 * 32);
        let longer = ColumnPart { shape: Shape::Strings, rows: 3, bytes: 1 << 30, ..column };
        assert_eq!(page_rows(&longer), 32);
        let none = Limits { entries: 0, bytes: 0 };
        let Plan { pages, chunks, output_bytes, .. } = plan(&[column, longer], page_rows, none);
        let rows: Vec<_> = pages.iter().map(|page| (page.first, page.rows)).collect();
        assert_eq!(rows, [(0, 20_000), (20_000, 20_000), (40_000, 17_000), (0, 3)]);
        assert_eq!(pages[1].body_at, 64 + 20_000 * 9);
        assert_eq!(pages[3].body_at, (3 * 64 + 57_000 * 9u64).next_multiple_of(16));
        assert!(output_bytes > pages[3].body_at + (1 << 30) + 12 && chunks.is_empty());
        assert_eq!(plan(&[], page_rows, LIMITS), Plan::default());
        assert_eq!(plan(&[ColumnPart { rows: 0, ..column }], page_rows, LIMITS), Plan::default());
    }

    #[test]
    fn chunks_of_several_columns() {
        let column = ColumnPart {
            shape: Shape::Fixed4,
            order: Order::None,
            nullable: false,
            rows: 100,
            valid_at: 0,
            values_at: 64,
            bytes_at: 0,
            bytes: 0,
            continues: false,
            dictionary: true,
            encoding: encoding::PLAIN,
        };
        let bits = ColumnPart { shape: Shape::Bits, ..column };
        let more = ColumnPart { continues: true, rows: 300, ..column };
        let Plan { pages, chunks, .. } = plan(&[bits, column, more], |_| 96, LIMITS);
        let found: Vec<_> = pages.iter().map(|page| page.chunk).collect();
        assert_eq!(found, [NO_CHUNK, NO_CHUNK, 0, 0, 0, 0, 0, 0]);
        assert_eq!((chunks[0].first_page, chunks[0].pages, chunks[0].shift), (2, 6, 7));
        assert_eq!((chunks[0].most, chunks[0].buckets), (400, 1024));

        // A chunk that begins with a part without rows is not the one before it.
        let empty = ColumnPart { shape: Shape::Strings, rows: 0, ..column };
        let Plan { pages, chunks, .. } =
            plan(&[column, empty, ColumnPart { continues: true, rows: 9, ..empty }], |_| 96, LIMITS);
        let found: Vec<_> = pages.iter().map(|page| page.chunk).collect();
        assert_eq!((found, chunks.len()), (vec![0, 0, 1], 2));
    }
}
