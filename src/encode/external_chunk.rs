//! Column chunks whose pages were encoded elsewhere. They become chunks with the same headers, statistics and indexes
//! as those that are encoded here.

use parquet::basic::Encoding;

use super::chunk::{ChunkWriter, Scratch};
use super::stats::Beginning;
use super::{Result, invalid};

/// A column chunk: its dictionary page, if it has one, and its data pages in order.
pub struct ExternalChunk<'a> {
    pub dictionary: Option<ExternalDictionary<'a>>,
    pub pages: Vec<ExternalPage<'a>>,
}

pub struct ExternalDictionary<'a> {
    pub entries: usize,
    /// The uncompressed size of the body.
    pub raw_len: usize,
    pub body: &'a [u8],
}

pub struct ExternalPage<'a> {
    pub rows: usize,
    pub nulls: usize,
    pub nans: usize,
    /// parquet.thrift, Encoding.
    pub encoding: u32,
    /// The uncompressed size of the body.
    pub raw_len: usize,
    pub body: &'a [u8],
    /// The size of the values, if they are byte strings.
    pub value_bytes: usize,
    pub bounds: ExternalBounds<'a>,
}

/// The least and the greatest value of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExternalBounds<'a> {
    /// No value has a place in the order.
    None,
    /// The bits of values of fixed width; those of 16 bytes are big-endian numbers.
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

    /// Appends the pages, and compresses them if there is a `scratch`.
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
