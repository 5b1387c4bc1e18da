//! Requests to encode a row group whose columns a device keeps, and the answers: the regions of a slot of kind `ENCODE`.
//!
//! ```text
//! input    Request | Wish[columns]
//! output   step DESCRIBE   AnswerHeader | ChunkEntry[columns] | PageEntry[pages] | Ends[texts] | bodies
//!          step MORE       bodies from byte `from` on
//! ```
//!
//! The bodies are one sequence of bytes: for each column the body of its dictionary page, if it has one, then those of its
//! data pages. The host makes the headers. A region has as many bodies as it has room for. The device forgets the row group
//! after the last body, when another row group of the same process begins, and when nobody asks for it any longer.

use super::layout::{ALIGN, ENCODE, Op, Plain, align, get, put};

/// A `Request::step`: encode the group and describe the result.
pub const DESCRIBE: u32 = 0;
pub const MORE: u32 = 1;

/// The codec of bodies. A request asks for one; an answer names the one that was used, which may be none.
pub const PLAIN_BODIES: u32 = 0;
pub const SNAPPY: u32 = 1;
pub const LZ4: u32 = 2;
/// Zstd at the device's own level, if the device can.
pub const ZSTD: u32 = 3;

/// The most bytes of a string in `Ends`: the longest bound in a file, and one more character.
pub const END_BYTES: usize = 72;

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Always `ENCODE`.
    pub kind: u32,
    pub step: u32,
    /// The rows of the whole group, and the slots that they came in.
    pub rows: u32,
    pub slots: u32,
    pub columns: u32,
    pub codec: u32,
    /// The first byte wanted by `MORE`.
    pub from: u64,
    pub reserved: [u32; 5],
    /// The bytes that the scheduler counts, at the same place as in `Header`.
    pub data_bytes: u32,
    pub unused: [u32; 2],
}

/// The order that the least and the greatest value follow (parquet.thrift, ColumnOrder).
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// None: there are no bounds.
    None = 0,
    /// Integers; 16 bytes as a big-endian number.
    Signed = 1,
    /// Bits; integers; 16 bytes and strings as they are.
    Unsigned = 2,
    /// Floats of four or eight bytes. NaN has no place in the order.
    Floating = 3,
}

impl Order {
    fn of(number: u8) -> Option<Order> {
        [Order::None, Order::Signed, Order::Unsigned, Order::Floating].get(usize::from(number)).copied()
    }
}

/// The encoding that a request asks for a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    pub op: Op,
    pub order: Order,
    pub nullable: bool,
    /// A dictionary is tried.
    pub dictionary: bool,
    /// The [`encoding`] of values that are not in a dictionary.
    pub encoding: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct WishEntry {
    op: u8,
    order: u8,
    nullable: u8,
    dictionary: u8,
    encoding: u8,
    reserved: [u8; 3],
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct AnswerHeader {
    rows: u32,
    columns: u32,
    pages: u32,
    texts: u32,
    /// Bytes of all bodies.
    bytes: u64,
    bodies_at: u32,
    codec: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ChunkEntry {
    pages: u32,
    /// Entries of the dictionary; 0 if there is none.
    entries: u32,
    raw: u32,
    stored: u32,
}

/// A data page, as its header and the statistics describe it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageEntry {
    pub rows: u32,
    pub nulls: u32,
    /// Values that have a place in the order, and floats that have none.
    pub ordered: u32,
    pub nans: u32,
    /// An [`encoding`].
    pub encoding: u32,
    /// Bytes of the body before and after the codec.
    pub raw: u32,
    pub stored: u32,
    /// Bytes of the values of strings.
    pub value_bytes: u32,
    /// The bits of the least and the greatest value, high half first, unless `ordered` is 0; 16 bytes are a big-endian
    /// number. Strings have `Ends`.
    pub min: [u64; 2],
    pub max: [u64; 2],
}

/// Numbers of parquet.thrift's Encoding.
pub mod encoding {
    use super::{Op, Order};

    pub const PLAIN: u32 = 0;
    pub const DELTA_BINARY_PACKED: u32 = 5;
    pub const DELTA_LENGTH_BYTE_ARRAY: u32 = 6;
    pub const RLE_DICTIONARY: u32 = 8;
    pub const BYTE_STREAM_SPLIT: u32 = 9;

    /// Returns `wanted` if a device has that encoding for the type, else PLAIN.
    pub fn of(op: Op, order: Order, wanted: u32) -> u32 {
        let number = matches!(op.width(), Some(4 | 8));
        let has = match wanted {
            DELTA_BINARY_PACKED => number && order != Order::Floating,
            DELTA_LENGTH_BYTE_ARRAY => op.width().is_none(),
            BYTE_STREAM_SPLIT => number && order == Order::Floating,
            _ => false,
        };
        if has { wanted } else { PLAIN }
    }
}

/// The beginnings of the least and the greatest string of a page.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    pub min_bytes: u32,
    pub max_bytes: u32,
    pub min: [u8; END_BYTES],
    pub max: [u8; END_BYTES],
}

impl Default for Ends {
    fn default() -> Ends {
        Ends::new(&[], &[])
    }
}

impl Ends {
    pub fn new(min: &[u8], max: &[u8]) -> Ends {
        let first = |value: &[u8]| {
            let mut bytes = [0; END_BYTES];
            let length = value.len().min(END_BYTES);
            bytes[..length].copy_from_slice(&value[..length]);
            bytes
        };
        Ends { min_bytes: min.len() as u32, max_bytes: max.len() as u32, min: first(min), max: first(max) }
    }

    /// Returns the bytes that are held of each.
    pub fn values(&self) -> (&[u8], &[u8]) {
        let length = |bytes: u32| (bytes as usize).min(END_BYTES);
        (&self.min[..length(self.min_bytes)], &self.max[..length(self.max_bytes)])
    }
}

// SAFETY: `repr(C)`, integers without gaps, by the sizes asserted below.
unsafe impl Plain for Request {}
// SAFETY: `repr(C)`, integers without gaps, by the sizes asserted below.
unsafe impl Plain for WishEntry {}
// SAFETY: `repr(C)`, integers without gaps, by the sizes asserted below.
unsafe impl Plain for AnswerHeader {}
// SAFETY: `repr(C)`, integers without gaps, by the sizes asserted below.
unsafe impl Plain for ChunkEntry {}
// SAFETY: `repr(C)`, integers without gaps, by the sizes asserted below.
unsafe impl Plain for PageEntry {}
// SAFETY: `repr(C)`, integers without gaps, by the sizes asserted below.
unsafe impl Plain for Ends {}

const _: () = {
    assert!(size_of::<Request>() == 64 && size_of::<WishEntry>() == 8 && size_of::<AnswerHeader>() == 32);
    assert!(size_of::<ChunkEntry>() == 16 && size_of::<PageEntry>() == 64 && size_of::<Ends>() == 152);
    let same = std::mem::offset_of!(Request, data_bytes);
    assert!(same == std::mem::offset_of!(super::layout::Header, data_bytes));
};

/// A dictionary page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dictionary {
    pub entries: u32,
    pub raw: u32,
    pub stored: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub entry: PageEntry,
    /// The bounds of strings, if there are any.
    pub ends: Option<Ends>,
}

/// A column chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnChunk {
    pub dictionary: Option<Dictionary>,
    pub pages: Vec<Page>,
}

impl ColumnChunk {
    /// Returns the bytes of its bodies.
    pub fn stored(&self) -> u64 {
        let dictionary = self.dictionary.map_or(0, |dictionary| u64::from(dictionary.stored));
        dictionary + self.pages.iter().map(|page| u64::from(page.entry.stored)).sum::<u64>()
    }
}

/// Writes a request; returns false if it has no room.
#[must_use]
pub fn write_request(region: &mut [u8], request: Request, wishes: &[Wish]) -> bool {
    let mut written = put(region, 0, Request { kind: ENCODE, columns: wishes.len() as u32, ..request });
    for (number, wish) in wishes.iter().enumerate() {
        let entry = WishEntry {
            op: wish.op as u8,
            order: wish.order as u8,
            nullable: wish.nullable.into(),
            dictionary: wish.dictionary.into(),
            encoding: wish.encoding as u8,
            reserved: [0; 3],
        };
        written &= put(region, size_of::<Request>() + number * size_of::<WishEntry>(), entry);
    }
    written
}

/// Whether a region holds a request to encode instead of rows.
fn is_request(region: &[u8]) -> bool {
    get(region, 0).is_some_and(|request: Request| request.kind == ENCODE)
}

/// Reads a region's request; `None` if the region holds rows.
pub fn read_request(region: &[u8]) -> Option<Result<(Request, Vec<Wish>), String>> {
    let request: Request = get(region, 0).filter(|_| is_request(region))?;
    let wish = |number: usize| {
        let entry: WishEntry = get(region, size_of::<Request>() + number * size_of::<WishEntry>())?;
        let (op, order) = (Op::try_from(entry.op).ok()?, Order::of(entry.order)?);
        Some(Wish {
            op,
            order,
            nullable: entry.nullable != 0,
            dictionary: entry.dictionary != 0,
            encoding: Some(entry.encoding.into())
                .filter(|&wanted| encoding::of(op, order, wanted) == wanted)?,
        })
    };
    let wishes: Option<Vec<Wish>> = (0..request.columns as usize).map(wish).collect();
    let known = request.step <= MORE && request.codec <= ZSTD;
    Some(wishes.filter(|_| known).map(|wishes| (request, wishes)).ok_or("a request out of order".into()))
}

/// Writes an answer up to its bodies and returns their place; `None` if there is no room.
pub fn write_answer(region: &mut [u8], rows: u32, codec: u32, chunks: &[ColumnChunk]) -> Option<usize> {
    let pages = || chunks.iter().flat_map(|chunk| &chunk.pages);
    let texts = || pages().filter_map(|page| page.ends);
    let chunks_at = size_of::<AnswerHeader>();
    let pages_at = chunks_at + chunks.len() * size_of::<ChunkEntry>();
    let texts_at = pages_at + pages().count() * size_of::<PageEntry>();
    let bodies_at = align(texts_at + texts().count() * size_of::<Ends>(), ALIGN);
    let header = AnswerHeader {
        rows,
        columns: chunks.len() as u32,
        pages: pages().count() as u32,
        texts: texts().count() as u32,
        bytes: chunks.iter().map(ColumnChunk::stored).sum(),
        bodies_at: u32::try_from(bodies_at).ok()?,
        codec,
    };
    let mut written = bodies_at <= region.len() && put(region, 0, header);
    for (number, chunk) in chunks.iter().enumerate() {
        let none = Dictionary { entries: 0, raw: 0, stored: 0 };
        let Dictionary { entries, raw, stored } = chunk.dictionary.unwrap_or(none);
        let entry = ChunkEntry { pages: chunk.pages.len() as u32, entries, raw, stored };
        written &= put(region, chunks_at + number * size_of::<ChunkEntry>(), entry);
    }
    for (number, page) in pages().enumerate() {
        written &= put(region, pages_at + number * size_of::<PageEntry>(), page.entry);
    }
    for (number, ends) in texts().enumerate() {
        written &= put(region, texts_at + number * size_of::<Ends>(), ends);
    }
    written.then_some(bodies_at)
}

/// A checked answer to a request to describe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub chunks: Vec<ColumnChunk>,
    /// The codec of the bodies.
    pub codec: u32,
    /// Bytes of all bodies.
    pub bytes: u64,
    /// The place of the first bodies in the region.
    pub bodies_at: usize,
}

impl Answer {
    /// Reads an answer about that many rows of columns encoded as wished, in that codec or none.
    pub fn read(region: &[u8], rows: u32, codec: u32, wishes: &[Wish]) -> Result<Answer, String> {
        let header: AnswerHeader = get(region, 0).ok_or("an answer shorter than its header")?;
        if (header.rows, header.columns as usize) != (rows, wishes.len()) {
            let (found, columns) = (header.rows, header.columns);
            return Err(format!(
                "{found} rows and {columns} columns were encoded of {rows} and {}",
                wishes.len()
            ));
        }
        let pages_at = size_of::<AnswerHeader>() + wishes.len() * size_of::<ChunkEntry>();
        let mut reader = Reader {
            region,
            page_at: pages_at,
            text_at: pages_at + header.pages as usize * size_of::<PageEntry>(),
        };
        let mut chunks = Vec::with_capacity(wishes.len());
        for (number, wish) in wishes.iter().enumerate() {
            let chunk =
                reader.chunk(size_of::<AnswerHeader>() + number * size_of::<ChunkEntry>(), wish, rows);
            chunks.push(chunk.ok_or_else(|| format!("column {number} is not as it was asked for"))?);
        }
        let bytes = chunks.iter().map(ColumnChunk::stored).sum();
        let bodies_at = header.bodies_at as usize;
        let in_order = reader.page_at == pages_at + header.pages as usize * size_of::<PageEntry>()
            && reader.text_at <= bodies_at
            && bodies_at <= region.len()
            && header.bytes == bytes
            && [codec, PLAIN_BODIES].contains(&header.codec);
        match in_order {
            true => Ok(Answer { chunks, codec: header.codec, bytes, bodies_at }),
            false => Err("the parts of an answer do not fit together".into()),
        }
    }
}

struct Reader<'a> {
    region: &'a [u8],
    page_at: usize,
    text_at: usize,
}

impl Reader<'_> {
    fn chunk(&mut self, at: usize, wish: &Wish, rows: u32) -> Option<ColumnChunk> {
        let entry: ChunkEntry = get(self.region, at)?;
        let ChunkEntry { entries, raw, stored, .. } = entry;
        let dictionary = (entries > 0).then_some(Dictionary { entries, raw, stored });
        let mut left = rows;
        let mut pages = Vec::new();
        for _ in 0..entry.pages {
            let page = self.page(wish, dictionary.is_some())?;
            left = left.checked_sub(page.entry.rows).filter(|_| page.entry.rows > 0)?;
            pages.push(page);
        }
        (left == 0 && (dictionary.is_none() || wish.dictionary)).then_some(ColumnChunk { dictionary, pages })
    }

    fn page(&mut self, wish: &Wish, by_dictionary: bool) -> Option<Page> {
        let entry: PageEntry = get(self.region, self.page_at)?;
        self.page_at += size_of::<PageEntry>();
        let values = entry.rows.checked_sub(entry.nulls).filter(|_| wish.nullable || entry.nulls == 0)?;
        let strings = wish.op.width().is_none();
        let expected = match (by_dictionary, values > 0) {
            (true, _) => encoding::RLE_DICTIONARY,
            (false, true) => wish.encoding,
            (false, false) => encoding::PLAIN,
        };
        let bounded = wish.order != Order::None;
        let counted = u64::from(entry.ordered) + u64::from(entry.nans) == u64::from(values) || !bounded;
        if entry.encoding != expected || !counted {
            return None;
        }
        let mut ends = None;
        if strings && bounded && values > 0 {
            ends = Some(get(self.region, self.text_at)?);
            self.text_at += size_of::<Ends>();
        }
        Some(Page { entry, ends })
    }
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
