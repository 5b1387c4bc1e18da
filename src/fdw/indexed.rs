//! A file that is read by a page index: each page is looked at before it is decoded, as the index may lead wrong.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use super::page_header::PageHeader;
use super::source::Source;

/// The pages of the index by their places, with the number of values that they have, where it tells that.
pub type Places = HashMap<u64, Option<u64>>;

#[derive(Clone)]
pub struct Indexed {
    source: Source,
    places: Arc<Places>,
}

impl Indexed {
    pub fn new(source: Source, places: Places) -> Indexed {
        Indexed { source, places: Arc::new(places) }
    }
}

impl Length for Indexed {
    fn len(&self) -> u64 {
        self.source.len()
    }
}

impl ChunkReader for Indexed {
    type T = <Source as ChunkReader>::T;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        self.source.get_read(start)
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let bytes = self.source.get_bytes(start, length)?;
        match self.places.get(&start) {
            Some(&values) if !is_page(&bytes, values) => {
                Err(ParquetError::General("the page index does not lead to a page of its rows".to_owned()))
            }
            _ => Ok(bytes),
        }
    }
}

/// Whether the bytes are one whole data page.
fn is_page(bytes: &[u8], values: Option<u64>) -> bool {
    let Ok(page) = PageHeader::parse(bytes) else { return false };
    let body = usize::try_from(page.body).ok();
    let ends = body.and_then(|body| page.length.checked_add(body)) == Some(bytes.len());
    let found = page.values.and_then(|values| u64::try_from(values).ok());
    ends && found.is_some_and(|found| values.is_none_or(|values| values == found))
}
