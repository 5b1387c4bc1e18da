//! A column chunk under construction: its data pages, and what its metadata says of them.

use parquet::basic::{Compression, Encoding, PageType};
use parquet::file::metadata::{
    ColumnChunkMetaData, ColumnChunkMetaDataBuilder, OffsetIndexBuilder, PageEncodingStats,
};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::page_index::offset_index::OffsetIndexMetaData;
use parquet::schema::types::ColumnDescPtr;

use super::bits::{put_hybrid_flags, put_rle_run};
use super::compress::Compressor;
use super::thrift::{put_data_page_header, put_dictionary_page_header};
use super::{Result, invalid, reserve};

/// Rows in a page. parquet-format's README recommends 20,000, so that a reader that wants few rows decodes little;
/// parquet's own writer has the same limit.
pub const PAGE_ROWS: usize = 20_000;

/// The size in PLAIN encoding at which a page is closed, as in other writers.
pub const PAGE_BYTES: usize = 1 << 20;

/// An encoding is not compressed if it is this many times as large as the smallest one.
const HOPELESS: usize = 4;

/// Which rows of the pending page have a value.
pub struct Levels {
    nullable: bool,
    rows: usize,
    nulls: usize,
    /// One byte for each row; empty while no row is NULL.
    valid: Vec<u8>,
}

impl Levels {
    pub fn new(nullable: bool) -> Levels {
        Levels { nullable, rows: 0, nulls: 0, valid: Vec::new() }
    }

    pub fn nullable(&self) -> bool {
        self.nullable
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn nulls(&self) -> usize {
        self.nulls
    }

    /// Returns the number of rows that have a value.
    pub fn values(&self) -> usize {
        self.rows - self.nulls
    }

    pub fn clear(&mut self) {
        self.rows = 0;
        self.nulls = 0;
        self.valid.clear();
    }

    /// Adds rows of which each has a value.
    pub fn push_all(&mut self, rows: usize) {
        self.rows += rows;
        if !self.valid.is_empty() {
            self.valid.resize(self.rows, 1);
        }
    }

    /// Adds rows of which `nulls` are NULL.
    pub fn push(&mut self, valid: &[u8], nulls: usize) -> Result<()> {
        if nulls == 0 {
            self.push_all(valid.len());
            return Ok(());
        }
        if !self.nullable {
            return invalid("a column that is NOT NULL has a NULL");
        }
        self.valid.resize(self.rows, 1);
        self.valid.extend_from_slice(valid);
        self.rows += valid.len();
        self.nulls += nulls;
        Ok(())
    }

    /// Appends the definition levels of a v1 data page: four bytes of length, then the hybrid. A column whose only
    /// level is 0 has none.
    pub fn put(&self, out: &mut Vec<u8>) {
        if !self.nullable {
            return;
        }
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        if self.nulls == 0 || self.nulls == self.rows {
            put_rle_run(u32::from(self.nulls == 0), self.rows, 1, out);
        } else {
            put_hybrid_flags(&self.valid, out);
        }
        let len = (out.len() - start - 4) as u32;
        out[start..start + 4].copy_from_slice(&len.to_le_bytes());
    }
}

/// The pending page in one encoding.
struct Trial {
    encoding: Encoding,
    /// The bytes that the page adds to the dictionary.
    growth: usize,
    raw: Vec<u8>,
}

/// The codec's context and the buffers of the current page, which all columns of a row group share.
pub struct Scratch {
    compressor: Compressor,
    compresses: bool,
    trials: Vec<Trial>,
    used: usize,
    /// The chosen page: its uncompressed length and its compressed bytes.
    raw_len: usize,
    page: Vec<u8>,
    other: Vec<u8>,
}

impl Scratch {
    pub fn new(compressor: Compressor) -> Scratch {
        let compresses = !compressor.is_none();
        Scratch {
            compressor,
            compresses,
            trials: Vec::new(),
            used: 0,
            raw_len: 0,
            page: Vec::new(),
            other: Vec::new(),
        }
    }

    pub fn memory(&self) -> usize {
        let trials: usize = self.trials.iter().map(|t| t.raw.capacity()).sum();
        trials + self.page.capacity() + self.other.capacity()
    }

    /// Starts a page.
    pub fn begin(&mut self) {
        self.used = 0;
    }

    /// Starts an encoding of the page; the simplest one comes first. Returns the buffer to append the values to,
    /// which has the levels and room for `size_hint` bytes more.
    pub fn trial(
        &mut self,
        encoding: Encoding,
        growth: usize,
        levels: &Levels,
        size_hint: usize,
    ) -> Result<&mut Vec<u8>> {
        if self.used == self.trials.len() {
            self.trials.push(Trial { encoding, growth, raw: Vec::new() });
        }
        let trial = &mut self.trials[self.used];
        self.used += 1;
        trial.encoding = encoding;
        // The dictionary's entries will be compressed too; by how much is not known yet.
        trial.growth = if self.compresses { growth / 2 } else { growth };
        trial.raw.clear();
        reserve(&mut trial.raw, size_hint + levels.rows / 6 + 16)?;
        levels.put(&mut trial.raw);
        Ok(&mut trial.raw)
    }

    /// Compresses bytes for which no other encoding is tried.
    pub fn compress(&mut self, raw: &[u8]) -> Result<&[u8]> {
        self.compressor.compress(raw, &mut self.page)?;
        Ok(&self.page)
    }

    /// Compresses a page of two parts for which no other encoding is tried, and returns its bytes.
    pub fn compress_both(&mut self, head: &[u8], body: &[u8]) -> Result<Vec<u8>> {
        let mut page = Vec::new();
        self.compressor.append(head, body, &mut page)?;
        Ok(page)
    }

    /// Returns the page that `decide` chose: its uncompressed length, and its bytes.
    pub fn decided(&self) -> (usize, &[u8]) {
        (self.raw_len, &self.page)
    }

    /// Compresses the page's encodings and keeps the smallest, whose encoding it returns. A later one is chosen only
    /// if it is 3 % smaller than an earlier one: a simpler encoding is faster to read.
    pub fn decide(&mut self) -> Result<Encoding> {
        let trials = &self.trials[..self.used];
        let least = trials.iter().map(|t| t.raw.len() + t.growth).min().unwrap_or(0);
        let mut best: Option<(usize, Encoding)> = None;
        for trial in trials.iter().filter(|t| (t.raw.len() + t.growth) / HOPELESS <= least) {
            self.compressor.compress(&trial.raw, &mut self.other)?;
            let cost = self.other.len() + trial.growth;
            if best.is_none_or(|(best, _)| cost < best - best / 32) {
                best = Some((cost, trial.encoding));
                self.raw_len = trial.raw.len();
                std::mem::swap(&mut self.page, &mut self.other);
            }
        }
        match best {
            Some((_, encoding)) => Ok(encoding),
            None => invalid("a page without an encoding"),
        }
    }
}

/// The pages of one column chunk.
#[derive(Default)]
pub struct ChunkWriter {
    dictionary: Vec<u8>,
    pages: Vec<u8>,
    /// The buffers before `pages`. Pages of large values have buffers of their own, so that they are not copied.
    before: Vec<Vec<u8>>,
    /// The length of each data page with its header.
    lengths: Vec<usize>,
    rows: Vec<usize>,
    encodings: Vec<PageEncodingStats>,
    raw_len: usize,
}

/// A finished column chunk: its bytes in order, and its metadata with offsets from its own start.
pub struct EncodedChunk {
    pub dictionary: Vec<u8>,
    /// The data pages, end to end. A large page's header ends one buffer, and its body is the next.
    pub pages: Vec<Vec<u8>>,
    pub metadata: ColumnChunkMetaData,
    pub column_index: Option<ColumnIndexMetaData>,
    pub offset_index: OffsetIndexMetaData,
}

impl EncodedChunk {
    pub fn len(&self) -> usize {
        self.dictionary.len() + self.pages.iter().map(Vec::len).sum::<usize>()
    }
}

impl ChunkWriter {
    pub fn memory(&self) -> usize {
        let before = self.before.iter().map(Vec::capacity).sum::<usize>();
        self.dictionary.capacity() + self.pages.capacity() + before
    }

    /// Reuses the buffers of an earlier chunk.
    pub fn reuse(&mut self, mut dictionary: Vec<u8>, mut pages: Vec<u8>) {
        dictionary.clear();
        pages.clear();
        (self.dictionary, self.pages) = (dictionary, pages);
    }

    /// Appends a data page, compressed from `raw_len` bytes.
    pub fn put_page(&mut self, raw_len: usize, body: &[u8], rows: usize, encoding: Encoding) -> Result<()> {
        let start = self.pages.len();
        reserve(&mut self.pages, body.len() + 64)?;
        put_data_page_header(&mut self.pages, raw_len, body, rows, encoding)?;
        self.raw_len += self.pages.len() - start + raw_len;
        self.pages.extend_from_slice(body);
        self.lengths.push(self.pages.len() - start);
        self.rows.push(rows);
        self.count(PageType::DATA_PAGE, encoding);
        Ok(())
    }

    /// Appends a large data page of one row without copying its bytes.
    pub fn put_whole(&mut self, raw_len: usize, body: Vec<u8>, encoding: Encoding) -> Result<()> {
        let mut header = std::mem::take(&mut self.pages);
        let start = header.len();
        reserve(&mut header, 64)?;
        put_data_page_header(&mut header, raw_len, &body, 1, encoding)?;
        self.raw_len += header.len() - start + raw_len;
        self.lengths.push(header.len() - start + body.len());
        self.rows.push(1);
        self.before.extend([header, body]);
        self.count(PageType::DATA_PAGE, encoding);
        Ok(())
    }

    fn pages_len(&self) -> usize {
        self.before.iter().map(Vec::len).sum::<usize>() + self.pages.len()
    }

    /// Returns whether a page needs the dictionary.
    pub fn uses_dictionary(&self) -> bool {
        self.encodings.iter().any(|known| known.encoding == Encoding::RLE_DICTIONARY)
    }

    /// Writes the dictionary page, compressed from `raw_len` bytes in PLAIN encoding. It precedes the data pages.
    pub fn put_dictionary(&mut self, raw_len: usize, body: &[u8], entries: usize) -> Result<()> {
        reserve(&mut self.dictionary, body.len() + 64)?;
        put_dictionary_page_header(&mut self.dictionary, raw_len, body, entries)?;
        self.raw_len += self.dictionary.len() + raw_len;
        self.dictionary.extend_from_slice(body);
        self.count(PageType::DICTIONARY_PAGE, Encoding::PLAIN);
        Ok(())
    }

    fn count(&mut self, page_type: PageType, encoding: Encoding) {
        let known = self.encodings.iter_mut().find(|e| e.page_type == page_type && e.encoding == encoding);
        match known {
            Some(known) => known.count += 1,
            None => self.encodings.push(PageEncodingStats { page_type, encoding, count: 1 }),
        }
    }

    /// Returns the chunk's metadata, except for statistics of its values.
    pub fn metadata(&self, column: ColumnDescPtr, codec: Compression) -> ColumnChunkMetaDataBuilder {
        let mut encodings: Vec<Encoding> = self.encodings.iter().map(|e| e.encoding).collect();
        encodings.push(Encoding::RLE); // the levels'
        let with_dictionary = !self.dictionary.is_empty();
        ColumnChunkMetaData::builder(column)
            .set_compression(codec)
            .set_encodings(encodings)
            .set_page_encoding_stats(self.encodings.clone())
            .set_num_values(self.rows.iter().sum::<usize>() as i64)
            .set_total_compressed_size((self.dictionary.len() + self.pages_len()) as i64)
            .set_total_uncompressed_size(self.raw_len as i64)
            .set_dictionary_page_offset(with_dictionary.then_some(0))
            .set_data_page_offset(self.dictionary.len() as i64)
    }

    /// Returns the chunk and starts the next one. `unencoded` has the size of each page's byte arrays.
    pub fn finish(
        &mut self,
        metadata: ColumnChunkMetaData,
        column_index: Option<ColumnIndexMetaData>,
        unencoded: &[i64],
    ) -> EncodedChunk {
        let mut offsets = OffsetIndexBuilder::new();
        let mut offset = self.dictionary.len();
        for (page, (&len, &rows)) in self.lengths.iter().zip(&self.rows).enumerate() {
            offsets.append_row_count(rows as i64);
            // A page's length fits: header and body were each checked against i32.
            offsets.append_offset_and_size(offset as i64, len as i32);
            offsets.append_unencoded_byte_array_data_bytes(unencoded.get(page).copied());
            offset += len;
        }
        self.lengths.clear();
        self.rows.clear();
        self.encodings.clear();
        self.raw_len = 0;
        let mut pages = std::mem::take(&mut self.before);
        pages.push(std::mem::take(&mut self.pages));
        EncodedChunk {
            dictionary: std::mem::take(&mut self.dictionary),
            pages,
            metadata,
            column_index,
            offset_index: offsets.build(),
        }
    }
}
