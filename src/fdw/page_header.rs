//! Headers of Parquet's pages (parquet.thrift, PageHeader), as far as they are looked at before the decoder does.

use super::source::Source;
use super::thrift::{Checked, DEEPEST, FALSE, I32, MALFORMED, Reader, STRUCT, TRUE};

/// Of a dictionary page's header and of a data page's.
const NUM_VALUES: i64 = 1;

#[derive(Default)]
pub struct PageHeader {
    pub length: usize,
    /// Bytes behind the header, and those that they become.
    pub body: i64,
    uncompressed: i64,
    /// Of a data page.
    pub values: i64,
    dictionary_values: i64,
    /// Where a data page says that it is not compressed, and the byte that says that it is.
    pub not_compressed: Option<(usize, u8)>,
}

impl PageHeader {
    /// `None` where there is none.
    pub fn read(source: &Source, offset: u64) -> Option<PageHeader> {
        /// Headers may hold statistics: a least and a greatest value.
        const ROOMS: [u64; 2] = [1 << 10, 1 << 20];
        let left = source.id().size.checked_sub(offset)?;
        ROOMS.iter().find_map(|&room| {
            let bytes = source.read_at(offset, room.min(left) as usize).ok()?;
            PageHeader::parse(&bytes).ok()
        })
    }

    /// Whether the page can be what it says. The decoder makes room for as many values as a dictionary claims
    /// before it looks at them.
    pub fn is_plausible(&self) -> bool {
        const ALWAYS: i64 = 1 << 20;
        self.dictionary_values <= self.uncompressed.max(ALWAYS)
    }

    pub fn parse(bytes: &[u8]) -> Checked<PageHeader> {
        const UNCOMPRESSED_PAGE_SIZE: i64 = 2;
        const COMPRESSED_PAGE_SIZE: i64 = 3;
        const DATA_PAGE_HEADER: i64 = 5;
        const DICTIONARY_PAGE_HEADER: i64 = 7;
        const DATA_PAGE_HEADER_V2: i64 = 8;
        let mut page = PageHeader { body: -1, ..PageHeader::default() };
        let mut reader = Reader { rest: bytes };
        reader.fields(DEEPEST, &mut |reader, field, kind| match (field, kind) {
            (UNCOMPRESSED_PAGE_SIZE, I32) => reader.zigzag().map(|size| page.uncompressed = size),
            (COMPRESSED_PAGE_SIZE, I32) => reader.zigzag().map(|size| page.body = size),
            (DICTIONARY_PAGE_HEADER, STRUCT) => page.parse_dictionary(reader),
            (DATA_PAGE_HEADER | DATA_PAGE_HEADER_V2, STRUCT) => page.parse_data(bytes, reader),
            _ => reader.skip(kind, DEEPEST),
        })?;
        page.length = bytes.len() - reader.rest.len();
        if page.body < 0 { Err(MALFORMED) } else { Ok(page) }
    }

    fn parse_dictionary(&mut self, reader: &mut Reader) -> Checked<()> {
        reader.fields(DEEPEST, &mut |reader, field, kind| match (field, kind) {
            (NUM_VALUES, I32) => reader.zigzag().map(|values| self.dictionary_values = values),
            _ => reader.skip(kind, DEEPEST),
        })
    }

    fn parse_data(&mut self, bytes: &[u8], reader: &mut Reader) -> Checked<()> {
        const IS_COMPRESSED: i64 = 7;
        reader.fields(DEEPEST, &mut |reader, field, kind| match (field, kind) {
            (NUM_VALUES, I32) => reader.zigzag().map(|values| self.values = values),
            // The value is in the field's type, in the byte that was just read.
            (IS_COMPRESSED, FALSE) => {
                let at = (bytes.len() - reader.rest.len()).checked_sub(1).ok_or(MALFORMED)?;
                let said = bytes.get(at).copied().filter(|said| said & 0xf == FALSE && said >> 4 != 0);
                self.not_compressed = said.map(|said| (at, said ^ FALSE ^ TRUE));
                Ok(())
            }
            _ => reader.skip(kind, DEEPEST),
        })
    }
}
