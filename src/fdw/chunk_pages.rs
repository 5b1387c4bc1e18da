//! The pages of a column chunk, in sequence or by the page index: read, checked and unpacked.
//!
//! A page may have two gigabytes. Each step over its bytes is bounded, so that a query can be cancelled between
//! steps; and no more is unpacked than the page's header states.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parquet::column::page::{Page, PageMetadata};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::page_index::offset_index::PageLocation;

use super::error::{Problem, ReadError, Result};
use super::old_pages::Fault;
use super::page_header::{Kind, PageHeader};
use super::source::{STEP, Source};
use super::unpack::Unpacker;
use crate::interrupts::{self, STEP_BYTES};
use crate::memory::reserve_exact;

/// The offsets of the index's pages, with their number of values if the index has it.
pub type Places = HashMap<u64, Option<u64>>;

pub struct ChunkPages {
    source: Source,
    unpacker: Unpacker,
    fault: Option<Fault>,
    /// The beginning of the next page, and the end of the chunk.
    at: u64,
    end: u64,
    /// Values still to come.
    values: i64,
    /// The header at `at`.
    peeked: Option<PageHeader>,
    index: Option<Index>,
    /// Set when a long page is met, which is not returned.
    met_long_page: Option<Arc<AtomicBool>>,
}

/// The pages' places in the page index, which may be wrong.
struct Index {
    dictionary: Option<Range<u64>>,
    pages: VecDeque<PageLocation>,
    places: Places,
    rows: u64,
}

impl ChunkPages {
    pub fn new(source: &Source, chunk: &ColumnChunkMetaData, fault: Option<Fault>) -> ChunkPages {
        let (at, length) = chunk.byte_range();
        // The chunk is longer than it states.
        let end = if fault == Some(Fault::ShortChunks) { u64::MAX } else { at.saturating_add(length) };
        ChunkPages {
            source: source.clone(),
            unpacker: Unpacker::new(chunk.compression()),
            fault,
            at,
            end,
            values: chunk.num_values(),
            peeked: None,
            index: None,
            met_long_page: None,
        }
    }

    /// Fails at a page that is too long to be read at once, and sets `met`.
    pub fn without_long_pages(mut self, met: Arc<AtomicBool>) -> ChunkPages {
        self.met_long_page = Some(met);
        self
    }

    /// Follows the index. The dictionary precedes the first page.
    pub fn with_index(mut self, pages: Vec<PageLocation>, places: &Places, rows: u64) -> ChunkPages {
        let first = pages.first().and_then(|page| u64::try_from(page.offset).ok());
        let dictionary = first.filter(|&first| first > self.at).map(|first| self.at..first);
        self.index = Some(Index { dictionary, pages: pages.into(), places: places.clone(), rows });
        self
    }

    /// Returns what is known of the next page.
    pub fn peek(&mut self) -> Result<Option<PageMetadata>> {
        match &self.index {
            Some(index) => Ok(index.peek()),
            None => Ok(self.header()?.map(PageHeader::metadata)),
        }
    }

    pub fn skip(&mut self) -> Result<()> {
        match &mut self.index {
            Some(index) => _ = index.take(),
            None => _ = self.take()?,
        }
        Ok(())
    }

    pub fn next(&mut self) -> Result<Option<Page>> {
        match &mut self.index {
            Some(index) => match index.take() {
                Some((place, values)) => self.read_at(place, values).map(Some),
                None => Ok(None),
            },
            None => match self.take()? {
                Some((header, at)) => {
                    self.check_length(&header)?;
                    let body = self.source.read_at(at, header.body)?;
                    self.page(&header, body.into()).map(Some)
                }
                None => Ok(None),
            },
        }
    }

    /// Reads the header of the next page that holds values.
    fn header(&mut self) -> Result<Option<&PageHeader>> {
        while self.peeked.is_none() {
            let is_done = match self.fault {
                Some(Fault::ShortChunks) => self.values <= 0,
                _ => self.at >= self.end,
            };
            if is_done {
                return Ok(None);
            }
            let header = PageHeader::read(&self.source, self.at, self.end)?;
            let header = header.map_err(|why| self.damaged(why))?;
            let body = self.at + header.length as u64;
            if body.checked_add(header.body as u64).is_none_or(|end| end > self.end) {
                return Err(self.damaged("a page is longer than its column"));
            }
            match header.kind {
                Kind::Other => self.at = body + header.body as u64,
                _ => self.peeked = Some(header),
            }
        }
        Ok(self.peeked.as_ref())
    }

    /// Returns the next page's header, and the offset of its bytes.
    fn take(&mut self) -> Result<Option<(PageHeader, u64)>> {
        self.header()?;
        let Some(header) = self.peeked.take() else { return Ok(None) };
        let body = self.at + header.length as u64;
        self.at = body + header.body as u64;
        self.values = self.values.saturating_sub(header.values().unwrap_or(0));
        Ok(Some((header, body)))
    }

    /// Reads a page of the index; `values` is their number if the index has it.
    fn read_at(&mut self, place: Range<u64>, values: Option<Option<u64>>) -> Result<Page> {
        let length = place.end.saturating_sub(place.start) as usize;
        let bytes = Bytes::from(self.source.read_at(place.start, length)?);
        let header = PageHeader::parse(&bytes).map_err(|why| self.damaged(why))?;
        let found = header.values().and_then(|values| u64::try_from(values).ok());
        let is_it = match values {
            Some(values) => found.is_some_and(|found| values.is_none_or(|values| values == found)),
            None => matches!(header.kind, Kind::Dictionary(_)),
        };
        if !is_it || header.length.checked_add(header.body) != Some(length) {
            return Err(self.damaged("the page index does not lead to a page of its rows"));
        }
        self.check_length(&header)?;
        let body = bytes.slice(header.length..);
        self.page(&header, body)
    }

    fn page(&mut self, header: &PageHeader, body: Bytes) -> Result<Page> {
        if let Some(stated) = header.checksum {
            let mut checksum = crc32fast::Hasher::new();
            for step in body.chunks(STEP) {
                checksum.update(step);
                interrupts::check();
            }
            if checksum.finalize() != stated {
                return Err(self.damaged("a page's bytes are not those that its checksum is of"));
            }
        }
        let body = self.unpacked(header, body)?;
        header.page(body).map_err(|why| self.damaged(why))
    }

    fn unpacked(&mut self, header: &PageHeader, body: Bytes) -> Result<Bytes> {
        let (levels, is_packed) = header.packing().map_err(|why| self.damaged(why))?;
        // Old writers stated that they did not pack pages that they did.
        let is_packed = is_packed || self.fault == Some(Fault::CompressedPages);
        if !self.unpacker.packs() || !is_packed {
            return Ok(body);
        }
        let parts = body.split_at_checked(levels).zip(header.unpacked.checked_sub(levels));
        let ((levels, packed), size) =
            parts.ok_or_else(|| self.damaged("a page is shorter than its levels"))?;
        let mut out = Vec::new();
        reserve_exact(&mut out, header.unpacked)
            .map_err(|missing| ReadError::new(self.source.path(), Problem::OutOfMemory(missing.0)))?;
        out.extend_from_slice(levels);
        // A page of NULLs alone has nothing to unpack.
        if size > 0 {
            self.unpacker.unpack(packed, &mut out, size).map_err(|why| self.damaged(&why))?;
        }
        Ok(out.into())
    }

    fn check_length(&self, header: &PageHeader) -> Result<()> {
        match &self.met_long_page {
            Some(met) if header.unpacked > STEP_BYTES => {
                met.store(true, Ordering::Relaxed);
                Err(self.damaged("a page is too long to be read at once"))
            }
            _ => Ok(()),
        }
    }

    fn damaged(&self, why: &str) -> ReadError {
        ReadError::damaged(self.source.path(), why)
    }
}

impl Index {
    fn peek(&self) -> Option<PageMetadata> {
        if self.dictionary.is_some() {
            return Some(PageMetadata { num_rows: None, num_levels: None, is_dict: true });
        }
        let first = self.pages.front()?.first_row_index;
        let next = self.pages.get(1).map_or(self.rows as i64, |page| page.first_row_index);
        let num_rows = usize::try_from(next.saturating_sub(first)).ok();
        Some(PageMetadata { num_rows, num_levels: None, is_dict: false })
    }

    /// Returns the place of the next page, and what is known of a data page's number of values.
    fn take(&mut self) -> Option<(Range<u64>, Option<Option<u64>>)> {
        if let Some(dictionary) = self.dictionary.take() {
            return Some((dictionary, None));
        }
        let page = self.pages.pop_front()?;
        let start = page.offset.max(0) as u64;
        let values = self.places.get(&start).copied().flatten();
        Some((start..start.saturating_add(page.compressed_page_size.max(0) as u64), Some(values)))
    }
}
