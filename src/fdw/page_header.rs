//! Headers of Parquet's pages (parquet.thrift, PageHeader), as far as they are looked at before the decoder does.

use super::source::Source;
use super::thrift::{Checked, DEEPEST, FALSE, I32, MALFORMED, Reader, STRUCT, TRUE};

#[derive(Default)]
pub struct PageHeader {
    pub length: usize,
    /// Bytes behind the header.
    pub body: i64,
    /// Of a data page, NULL and others.
    pub values: Option<i64>,
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

    pub fn parse(bytes: &[u8]) -> Checked<PageHeader> {
        const COMPRESSED_PAGE_SIZE: i64 = 3;
        const DATA_PAGE_HEADER: i64 = 5;
        const DATA_PAGE_HEADER_V2: i64 = 8;
        let mut page = PageHeader { body: -1, ..PageHeader::default() };
        let mut reader = Reader { rest: bytes };
        reader.fields(DEEPEST, &mut |reader, field, kind| match (field, kind) {
            (COMPRESSED_PAGE_SIZE, I32) => reader.zigzag().map(|size| page.body = size),
            (DATA_PAGE_HEADER | DATA_PAGE_HEADER_V2, STRUCT) => page.parse_data(bytes, reader),
            _ => reader.skip(kind, DEEPEST),
        })?;
        page.length = bytes.len() - reader.rest.len();
        if page.body < 0 { Err(MALFORMED) } else { Ok(page) }
    }

    fn parse_data(&mut self, bytes: &[u8], reader: &mut Reader) -> Checked<()> {
        const NUM_VALUES: i64 = 1;
        const IS_COMPRESSED: i64 = 7;
        reader.fields(DEEPEST, &mut |reader, field, kind| match (field, kind) {
            (NUM_VALUES, I32) => reader.zigzag().map(|values| self.values = Some(values)),
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
