//! How a column chunk chooses the encoding of its pages.

use parquet::basic::Encoding;

use super::Result;
use super::chunk::{ChunkWriter, Levels, Scratch};

/// Fewer values than these say nothing of the pages to come.
const SAMPLE_VALUES: usize = 512;

/// How a column chunk encodes its next page.
///
/// A chunk starts by sampling: the first page is encoded in every way that may pay, and compressed; the
/// cheapest way is kept. A dictionary that stops paying leads back to sampling, without dictionary.
/// Only the chunk's own values decide, so that the same rows always give the same bytes.
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

    /// Whether a page of so many values can be judged by: a small one only if it is the chunk.
    pub fn is_sample(values: usize, last: bool) -> bool {
        last || values >= SAMPLE_VALUES
    }

    /// Closes the pending page in the cheapest of the encodings tried; those after it follow.
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

/// Whether a dictionary that a page of so many values made grow by `added` entries still pays.
pub fn keeps_paying(added: usize, values: usize) -> bool {
    added * 2 <= values || values < SAMPLE_VALUES
}

/// The sample page's share of the dictionary, in entries: what another such page adds, going by the
/// page's second half, and an eighth of what is there. All of it when no page follows.
pub fn dictionary_growth(indices: &[u32], entries: usize, last: bool) -> usize {
    if last {
        return entries;
    }
    let first_half = indices[..indices.len() / 2].iter().max().map_or(0, |&i| i as usize + 1);
    (entries - first_half) * 2 + entries / 8
}
