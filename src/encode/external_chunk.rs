//! Column chunks whose pages were encoded elsewhere: what is known of them, and how they become chunks like
//! those that are encoded here, with the same headers, statistics and indexes.

use parquet::basic::Encoding;

use super::chunk::{ChunkWriter, Scratch};
use super::stats::Beginning;
use super::{Result, invalid};

/// A column chunk: its dictionary's page, if it has one, and its data pages in order.
pub struct ExternalChunk<'a> {
    pub dictionary: Option<ExternalDictionary<'a>>,
    pub pages: Vec<ExternalPage<'a>>,
}

pub struct ExternalDictionary<'a> {
    pub entries: usize,
    /// Bytes of the body before the codec.
    pub raw_len: usize,
    pub body: &'a [u8],
}

pub struct ExternalPage<'a> {
    pub rows: usize,
    pub nulls: usize,
    pub nans: usize,
    /// parquet.thrift, Encoding.
    pub encoding: u32,
    /// Bytes of the body before the codec.
    pub raw_len: usize,
    pub body: &'a [u8],
    /// Of byte strings: bytes of the values.
    pub value_bytes: usize,
    pub bounds: ExternalBounds<'a>,
}

/// The least and the greatest value of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExternalBounds<'a> {
    /// No value has a place in the order.
    None,
    /// Of fixed width: their bits, of 16 bytes as of a big-endian number.
    Bits {
        min: u128,
        max: u128,
    },
    Strings {
        min: Beginning<'a>,
        max: Beginning<'a>,
    },
}

impl ExternalChunk<'_> {
    pub fn rows(&self) -> usize {
        self.pages.iter().map(|page| page.rows).sum()
    }

    /// Appends the pages, compressed here when there is a `scratch` to do it with.
    pub(super) fn put(&self, chunk: &mut ChunkWriter, mut scratch: Option<&mut Scratch>) -> Result<()> {
        if let Some(ExternalDictionary { entries, raw_len, body }) = self.dictionary {
            let body = match &mut scratch {
                Some(scratch) => scratch.compress(body)?,
                None => body,
            };
            chunk.put_dictionary(raw_len, body, entries)?;
        }
        for page in &self.pages {
            let body = match &mut scratch {
                Some(scratch) => scratch.compress(page.body)?,
                None => page.body,
            };
            chunk.put_page(page.raw_len, body, page.rows, encoding(page.encoding)?)?;
        }
        Ok(())
    }
}

fn encoding(number: u32) -> Result<Encoding> {
    const KNOWN: [Encoding; 5] = [
        Encoding::PLAIN,
        Encoding::RLE_DICTIONARY,
        Encoding::DELTA_BINARY_PACKED,
        Encoding::DELTA_LENGTH_BYTE_ARRAY,
        Encoding::BYTE_STREAM_SPLIT,
    ];
    match KNOWN.into_iter().find(|known| *known as u32 == number) {
        Some(known) => Ok(known),
        None => invalid(format!("a page of encoding {number}")),
    }
}
