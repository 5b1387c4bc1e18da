//! Bounds of pages and chunks under the column's order (parquet.thrift, ColumnOrder and Statistics).
//!
//! A bound may lie outside the values, as a truncated string or a zero of the other sign does, but never inside:
//! readers skip what a bound excludes.

use std::cmp::Ordering;

use parquet::basic::{BoundaryOrder, Type as PhysicalType};
use parquet::file::metadata::{ColumnIndexBuilder, LevelHistogram};
use parquet::file::page_index::column_index::ColumnIndexMetaData;

use super::Result;
use super::bytes_dict::head;
use crate::types::Cell;

/// The longest string bound, the length to which parquet's own writer truncates its column index.
pub const MAX_BOUND: usize = 64;

/// The longest string that is its own bound, where no shorter one is greater, as for bytes that are all 0xff. A
/// longer one would burden the footer.
const MAX_WHOLE_BOUND: usize = 4096;

#[derive(Clone, Debug, PartialEq)]
pub struct Bound<B> {
    pub value: B,
    /// Whether some value equals the bound.
    pub exact: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Bounds<B> {
    pub min: Bound<B>,
    pub max: Bound<B>,
}

/// The statistics of one data page.
#[derive(Clone, Debug)]
pub struct PageStats<B> {
    /// `None` if the page has no values, or a NaN, which some readers ignore beside bounds, or if its greatest value
    /// is a string too long for a bound.
    pub bounds: Option<Bounds<B>>,
    pub rows: usize,
    pub nulls: usize,
    pub nans: usize,
}

/// Returns the number of rows and of NULLs of all pages.
pub fn totals<B>(pages: &[PageStats<B>]) -> (usize, usize) {
    pages.iter().fold((0, 0), |(rows, nulls), p| (rows + p.rows, nulls + p.nulls))
}

impl<B: Clone> Bounds<B> {
    fn widen(&mut self, other: &Bounds<B>, cmp: &impl Fn(&B, &B) -> Ordering) {
        let keep =
            |mine: &mut Bound<B>, other: &Bound<B>, better: Ordering| match cmp(&other.value, &mine.value) {
                Ordering::Equal => mine.exact |= other.exact,
                order if order == better => *mine = other.clone(),
                _ => {}
            };
        keep(&mut self.min, &other.min, Ordering::Less);
        keep(&mut self.max, &other.max, Ordering::Greater);
    }
}

/// Returns the bounds of a chunk from those of its pages; `None` if a page has values but no bounds.
pub fn chunk_bounds<B: Clone>(pages: &[PageStats<B>], cmp: impl Fn(&B, &B) -> Ordering) -> Option<Bounds<B>> {
    if pages.iter().any(|page| page.bounds.is_none() && page.nulls < page.rows) {
        return None;
    }
    let mut known = pages.iter().filter_map(|p| p.bounds.as_ref());
    let mut chunk = known.next()?.clone();
    known.for_each(|bounds| chunk.widen(bounds, &cmp));
    Some(chunk)
}

/// Returns the column index; `None` if a page has values but no bounds, which the format cannot express.
pub fn column_index<B>(
    physical: PhysicalType,
    pages: &[PageStats<B>],
    cmp: impl Fn(&B, &B) -> Ordering,
    bytes: impl Fn(&B) -> Vec<u8>,
    nullable: bool,
) -> Result<Option<ColumnIndexMetaData>> {
    let may_have_nan = matches!(physical, PhysicalType::FLOAT | PhysicalType::DOUBLE);
    let mut builder = ColumnIndexBuilder::new(physical);
    for page in pages {
        let (min, max) = match &page.bounds {
            Some(bounds) => (bytes(&bounds.min.value), bytes(&bounds.max.value)),
            None if page.nulls == page.rows => Default::default(),
            None => return Ok(None),
        };
        let nans = may_have_nan.then_some(page.nans as i64);
        builder.append(page.nulls == page.rows, min, max, page.nulls as i64, nans);
        builder.append_histograms(&None, &definition_histogram(nullable, page.rows, page.nulls));
    }
    builder.set_boundary_order(boundary_order(pages, cmp));
    Ok(Some(builder.build()?))
}

/// Returns the number of values at each definition level of a flat column.
pub fn definition_histogram(nullable: bool, rows: usize, nulls: usize) -> Option<LevelHistogram> {
    let mut histogram = LevelHistogram::try_new(i16::from(nullable))?;
    if nullable {
        histogram.increment_by(0, nulls as i64);
    }
    histogram.increment_by(i16::from(nullable), (rows - nulls) as i64);
    Some(histogram)
}

fn boundary_order<B>(pages: &[PageStats<B>], cmp: impl Fn(&B, &B) -> Ordering) -> BoundaryOrder {
    let (mut ascending, mut descending) = (true, true);
    let known: Vec<&Bounds<B>> = pages.iter().filter_map(|p| p.bounds.as_ref()).collect();
    for pair in known.windows(2) {
        let orders =
            [cmp(&pair[0].min.value, &pair[1].min.value), cmp(&pair[0].max.value, &pair[1].max.value)];
        ascending &= orders.iter().all(|o| o.is_le());
        descending &= orders.iter().all(|o| o.is_ge());
    }
    match (ascending, descending) {
        (true, _) => BoundaryOrder::ASCENDING,
        (_, true) => BoundaryOrder::DESCENDING,
        _ => BoundaryOrder::UNORDERED,
    }
}

/// Returns the least and the greatest byte string in unsigned byte order.
pub fn extremes<'a>(mut values: impl Iterator<Item = (Cell, &'a [u8])>) -> Option<(&'a [u8], &'a [u8])> {
    // Most values differ from both extremes in their first 16 bytes, which compare as one number.
    let ranked = |(cell, arena)| {
        let (head, bytes) = head(cell, arena);
        (head.swap_bytes(), bytes)
    };
    let first = ranked(values.next()?);
    let (mut min, mut max) = (first, first);
    for value in values.map(ranked) {
        if value.0 <= min.0 && value < min {
            min = value;
        }
        if value.0 >= max.0 && value > max {
            max = value;
        }
    }
    Some((min.1, max.1))
}

/// Returns the bounds of byte strings; `None` if no string of a sensible length is above the greatest one.
pub fn byte_bounds(min: &[u8], max: &[u8], utf8: bool) -> Option<Bounds<Vec<u8>>> {
    Some(Bounds { min: lower_bound(min, utf8), max: upper_bound(max, utf8)? })
}

/// A value of which only the beginning may be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beginning<'a> {
    /// The first bytes: more than a bound takes, if the value has more.
    pub first: &'a [u8],
    /// The length of the whole value.
    pub len: usize,
}

/// Returns the bounds of values of which the beginning is known; `None` also if a bound needs the whole value.
pub fn byte_bounds_of(min: Beginning, max: Beginning, utf8: bool) -> Option<Bounds<Vec<u8>>> {
    let known = |value: &Beginning| value.first.len() == value.len || value.first.len() > MAX_BOUND;
    let bounds = byte_bounds(min.first, max.first, utf8)?;
    // The value itself is the bound if nothing shorter is above it.
    let whole = bounds.max.value.len() <= MAX_BOUND || max.first.len() == max.len;
    (known(&min) && known(&max) && whole).then_some(bounds)
}

fn lower_bound(value: &[u8], utf8: bool) -> Bound<Vec<u8>> {
    Bound { value: cut(value, MAX_BOUND, utf8).to_vec(), exact: value.len() <= MAX_BOUND }
}

fn upper_bound(value: &[u8], utf8: bool) -> Option<Bound<Vec<u8>>> {
    if value.len() > MAX_BOUND {
        let cut = cut(value, MAX_BOUND, utf8);
        let above = match std::str::from_utf8(cut) {
            Ok(text) if utf8 => increment_text(text),
            _ => increment_bytes(cut),
        };
        if let Some(value) = above {
            return Some(Bound { value, exact: false });
        }
    }
    (value.len() <= MAX_WHOLE_BOUND).then(|| Bound { value: value.to_vec(), exact: true })
}

/// Returns at most `limit` bytes of a value, which do not end inside a code point.
pub fn cut(value: &[u8], limit: usize, utf8: bool) -> &[u8] {
    let mut end = value.len().min(limit);
    let continues = |end: usize| value.get(end).is_some_and(|b| b & 0xc0 == 0x80);
    while utf8 && end > 0 && continues(end) {
        end -= 1;
    }
    &value[..end]
}

/// Returns the least string of at most the same length that is above everything that starts with `bytes`.
fn increment_bytes(bytes: &[u8]) -> Option<Vec<u8>> {
    let last = bytes.iter().rposition(|&b| b != 0xff)?;
    let mut above = bytes[..=last].to_vec();
    above[last] += 1;
    Some(above)
}

/// Returns the least UTF-8 string of at most the same length that is above everything that starts with `text`. UTF-8
/// orders as its code points do.
pub fn increment_text(text: &str) -> Option<Vec<u8>> {
    text.char_indices().rev().find_map(|(at, c)| {
        // The surrogates are the only gap in the code points.
        let next = if c == '\u{d7ff}' { Some('\u{e000}') } else { char::from_u32(c as u32 + 1) };
        let next = next.filter(|next| next.len_utf8() == c.len_utf8())?;
        let mut above = text[..at].to_string();
        above.push(next);
        Some(above.into_bytes())
    })
}
