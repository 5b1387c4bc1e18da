//! A column chunk under construction: data pages one after the other, and the record of them.

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

/// parquet-format's README recommends 20,000 rows a page, so that a reader that wants a few rows
/// decodes little; parquet's own writer has the same.
pub const PAGE_ROWS: usize = 20_000;

/// Plain bytes after which a page is closed: the size of page that other writers use.
pub const PAGE_BYTES: usize = 1 << 20;

/// A page this much dearer than another is not worth compressing to find out.
const HOPELESS: usize = 4;

/// Which rows of the pending page have a value.
pub struct Levels {
    nullable: bool,
    rows: usize,
    nulls: usize,
    /// One byte a row; empty as long as no row is NULL.
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

    /// Rows that have a value.
    pub fn values(&self) -> usize {
        self.rows - self.nulls
    }

    pub fn clear(&mut self) {
        self.rows = 0;
        self.nulls = 0;
        self.valid.clear();
    }

    /// Adds rows that all have a value.
    pub fn push_all(&mut self, rows: usize) {
        self.rows += rows;
        if !self.valid.is_empty() {
            self.valid.resize(self.rows, 1);
        }
    }

    /// Adds rows of which `nulls` have none.
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

    /// Appends the definition levels of a v1 data page: four bytes of length, then the hybrid. Nothing
    /// for a column whose only level is 0.
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

/// One encoding of the pending page.
struct Trial {
    encoding: Encoding,
    /// Bytes that the page costs elsewhere: in the dictionary.
    growth: usize,
    raw: Vec<u8>,
}

/// What all columns of a row group share: the codec's context and the buffers of the page at hand.
pub struct Scratch {
    compressor: Compressor,
    compresses: bool,
    trials: Vec<Trial>,
    used: usize,
    /// The page that won: uncompressed length and compressed bytes.
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

    /// Starts an encoding of the page, simplest first: returns the buffer, levels written, to append
    /// the values to. It has room for `size_hint` bytes more.
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
        // The dictionary's entries will be compressed too, by how much is not known yet.
        trial.growth = if self.compresses { growth / 2 } else { growth };
        trial.raw.clear();
        reserve(&mut trial.raw, size_hint + levels.rows / 6 + 16)?;
        levels.put(&mut trial.raw);
        Ok(&mut trial.raw)
    }

    /// Compresses bytes that no other encoding is tried for.
    pub fn compress(&mut self, raw: &[u8]) -> Result<&[u8]> {
        self.compressor.compress(raw, &mut self.page)?;
        Ok(&self.page)
    }

    /// Compresses a page of two parts that no other encoding is tried for, and gives its bytes away.
    pub fn compress_both(&mut self, head: &[u8], body: &[u8]) -> Result<Vec<u8>> {
        let mut page = Vec::new();
        self.compressor.append(head, body, &mut page)?;
        Ok(page)
    }

    /// What `decide` has kept: the page's length before the codec, and its bytes.
    pub fn decided(&self) -> (usize, &[u8]) {
        (self.raw_len, &self.page)
    }

    /// Compresses the page's encodings, keeps the cheapest and says which it is. A later one has to be
    /// 3 % cheaper than an earlier: what is simpler is faster to read.
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
    /// What comes before `pages`: pages of large values are not copied behind others.
    before: Vec<Vec<u8>>,
    /// Length of each data page with its header.
    lengths: Vec<usize>,
    rows: Vec<usize>,
    encodings: Vec<PageEncodingStats>,
    raw_len: usize,
}

/// A finished column chunk: its bytes in order, and its metadata with offsets from its own start.
pub struct EncodedChunk {
    pub dictionary: Vec<u8>,
    /// Data pages end to end, and where a page is large the buffer ends before it or within.
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

    /// Takes buffers of an earlier chunk, for their allocations.
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

    /// As `put_page`, of a large page of one row, whose bytes stay where they are.
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

    /// Whether a page was written that the dictionary has to be there for.
    pub fn uses_dictionary(&self) -> bool {
        self.encodings.iter().any(|known| known.encoding == Encoding::RLE_DICTIONARY)
    }

    /// Writes the dictionary page, compressed from `raw_len` bytes in PLAIN encoding; it comes before the data
    /// pages.
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

    /// The chunk's metadata but for what its values tell.
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

    /// Hands the bytes over and starts anew. `unencoded` are the byte array bytes of each page.
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
