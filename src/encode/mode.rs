//! The choice of the encoding of a column chunk's pages.

use parquet::basic::Encoding;

use super::Result;
use super::chunk::{ChunkWriter, Levels, Scratch};

/// The number of values below which a page says nothing about the pages to come.
const SAMPLE_VALUES: usize = 512;

/// The way in which a column chunk encodes its next page.
///
/// A chunk starts by sampling: the first page is encoded and compressed in every way that may pay, and the smallest
/// result is kept. If a dictionary stops paying, the chunk samples again, without a dictionary. Only the chunk's own
/// values decide, so that the same rows always give the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Sampling { dictionary: bool },
    Dictionary,
    Values(Encoding),
}

impl Mode {
    pub fn start(dictionary: bool) -> Mode {
        Mode::Sampling { dictionary }
    }

    /// Returns whether a page is large enough to decide by. A small one is if it is the whole chunk.
    pub fn is_sample(values: usize, last: bool) -> bool {
        last || values >= SAMPLE_VALUES
    }

    /// Closes the pending page in the smallest of the encodings that were tried. The pages after it use the same.
    pub fn close_page(
        &mut self,
        levels: &mut Levels,
        chunk: &mut ChunkWriter,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let encoding = scratch.decide()?;
        if matches!(self, Mode::Sampling { .. }) && levels.values() >= SAMPLE_VALUES {
            *self = match encoding {
                Encoding::RLE_DICTIONARY => Mode::Dictionary,
                other => Mode::Values(other),
            };
        }
        let (raw_len, body) = scratch.decided();
        chunk.put_page(raw_len, body, levels.rows(), encoding)?;
        levels.clear();
        Ok(())
    }
}

/// Returns whether a dictionary still pays to which a page of `values` values has added `added` entries.
pub fn keeps_paying(added: usize, values: usize) -> bool {
    added * 2 <= values || values < SAMPLE_VALUES
}

/// Returns the sample page's share of the dictionary, in entries: an estimate of what another such page adds, by the
/// page's second half, and an eighth of the entries. If no page follows, all entries are its share.
pub fn dictionary_growth(indices: &[u32], entries: usize, last: bool) -> usize {
    if last {
        return entries;
    }
    let first_half = indices[..indices.len() / 2].iter().max().map_or(0, |&i| i as usize + 1);
    (entries - first_half) * 2 + entries / 8
}
