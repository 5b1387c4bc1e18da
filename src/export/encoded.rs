//! Translates a row group that a device has encoded for the encoder.

use crate::encode::{
    Beginning, EncodedGroup, ExternalBounds, ExternalChunk, ExternalDictionary, ExternalPage, GroupWriter,
    Result,
};
use crate::scan::Encoded;
use crate::slot::encode::{Ends, PLAIN_BODIES, Page};

/// Returns the row group as one of the writer's; `None` when the writer needs the rows.
pub fn adopt(writer: &mut GroupWriter, group: &Encoded) -> Result<Option<EncodedGroup>> {
    let mut left = group.bodies;
    let mut body = |bytes: u32| {
        // The answer was checked: the bodies are as long as it says.
        let (body, rest) = left.split_at(bytes as usize);
        left = rest;
        body
    };
    let chunks: Vec<ExternalChunk> = (group.answer.chunks.iter())
        .map(|chunk| ExternalChunk {
            dictionary: chunk.dictionary.map(|dictionary| ExternalDictionary {
                entries: dictionary.entries as usize,
                raw_len: dictionary.raw as usize,
                body: body(dictionary.stored),
            }),
            pages: chunk.pages.iter().map(|page| made_page(page, body(page.entry.stored))).collect(),
        })
        .collect();
    writer.finish_external(&chunks, group.answer.codec != PLAIN_BODIES)
}

fn made_page<'a>(page: &'a Page, body: &'a [u8]) -> ExternalPage<'a> {
    let entry = &page.entry;
    let bits = |words: [u64; 2]| u128::from(words[0]) << 64 | u128::from(words[1]);
    let bounds = match &page.ends {
        Some(ends) => string_bounds(ends),
        None if entry.ordered > 0 => ExternalBounds::Bits { min: bits(entry.min), max: bits(entry.max) },
        None => ExternalBounds::None,
    };
    ExternalPage {
        rows: entry.rows as usize,
        nulls: entry.nulls as usize,
        nans: entry.nans as usize,
        encoding: entry.encoding,
        raw_len: entry.raw as usize,
        body,
        value_bytes: entry.value_bytes as usize,
        bounds,
    }
}

fn string_bounds(ends: &Ends) -> ExternalBounds<'_> {
    let (min, max) = ends.values();
    ExternalBounds::Strings {
        min: Beginning { first: min, len: ends.min_bytes as usize },
        max: Beginning { first: max, len: ends.max_bytes as usize },
    }
}
