//! Snappy and LZ4 on the device, and zstd by nvCOMP: the bytes that it makes, and how fast.

use pg_strata::gpu::testing::bench::compress::Compress;
use pg_strata::gpu::testing::specimens::pages::{
    GOLDEN_BLOCKS, GOLDEN_STREAMS, KINDS, Kind, digest, golden, page,
};
use pg_strata::slot::encode::{LZ4, SNAPPY, ZSTD};

/// Bytes of a page: 20,000 rows of 8 bytes.
const PAGE: usize = 160_000;
/// Pages made; they are copied until there are enough.
const DISTINCT: usize = 32;

/// The device's codecs, their names, and what they make of the golden pages.
const CODECS: [(u32, &str, &str); 3] =
    [(SNAPPY, "snappy", GOLDEN_STREAMS), (LZ4, "lz4", GOLDEN_BLOCKS), (ZSTD, "zstd by nvCOMP", "")];

pub fn codecs(nvcomp: bool) -> impl Iterator<Item = (u32, &'static str, &'static str)> {
    CODECS.into_iter().filter(move |&(codec, ..)| codec != ZSTD || nvcomp)
}

/// Decompresses a page of that many bytes; `None` if it cannot be read.
pub fn read_back(codec: u32, stream: &[u8], bytes: usize) -> Option<Vec<u8>> {
    match codec {
        LZ4 => lz4_flex::block::decompress(stream, bytes).ok(),
        // One frame, as other readers may expect.
        ZSTD => match zstd::zstd_safe::find_frame_compressed_size(stream) {
            Ok(length) if length == stream.len() => zstd::bulk::decompress(stream, bytes).ok(),
            _ => None,
        },
        _ => snap::raw::Decoder::new().decompress_vec(stream).ok(),
    }
}

/// Compresses the golden pages. The CPU must be able to read them, and they must equal those of the host's build, if there
/// is one.
pub fn check(device: &Compress, codec: u32, expected: &str, small: bool) -> Result<String, String> {
    let mut pages = golden();
    // No page of a file is empty.
    pages.retain(|page| codec != ZSTD || !page.is_empty());
    let streams = device.compress(&pages, codec)?;
    if codec != ZSTD && digest(streams.iter().map(|stream| &stream[..])) != expected {
        return Err("the streams are not those of the kernels on the host".into());
    }
    if !small {
        let more = |&kind| (0..20).map(move |seed| page(kind, 1 + seed * 61_003, seed as u64));
        pages.extend(KINDS.iter().flat_map(more));
    }
    let (streams, again) = (device.compress(&pages, codec)?, device.compress(&pages, codec)?);
    let differ = streams.iter().zip(&again).filter(|(one, other)| one != other).count();
    if differ > 0 && codec != ZSTD {
        return Err("two runs differ".into());
    }
    for (number, (page, stream)) in pages.iter().zip(&streams).enumerate() {
        let back = read_back(codec, stream, page.len());
        if back.as_ref() != Some(page) {
            let found = back.map(|bytes| bytes.len());
            return Err(format!("page {number} of {} bytes comes back as {found:?} bytes", page.len()));
        }
    }
    let (raw, made): (usize, usize) = (pages.iter().map(Vec::len).sum(), streams.iter().map(Vec::len).sum());
    let note = format!("{} pages, {raw} bytes to {made}, read back on the CPU", pages.len());
    Ok(if differ > 0 { format!("{note}, {differ} of them other ones in a second run") } else { note })
}

/// A line for each kind of page, and one for all together: what, GB/s of input, more.
pub fn rates(
    device: &Compress,
    (codec, codec_name): (u32, &str),
    bytes: usize,
    repeats: usize,
) -> Result<Vec<(String, f64, String)>, String> {
    let pages_of = |kinds: &[Kind]| -> Vec<Vec<u8>> {
        let distinct: Vec<Vec<u8>> = (0..DISTINCT.max(kinds.len()))
            .map(|number| page(kinds[number % kinds.len()], PAGE, number as u64))
            .collect();
        distinct.iter().cycle().take(bytes.div_ceil(PAGE)).cloned().collect()
    };
    let columns = [Kind::Text, Kind::Longs, Kind::Keys, Kind::Ints, Kind::Indices];
    let mut sets: Vec<(String, Vec<Vec<u8>>)> = vec![("all of a table's".into(), pages_of(&columns))];
    sets.extend(KINDS.iter().map(|kind| (format!("{kind:?}").to_lowercase(), pages_of(&[*kind]))));
    sets.iter()
        .map(|(name, pages)| {
            let raw: usize = pages.iter().map(Vec::len).sum();
            let (times, made, more) = device.time(pages, codec, repeats)?;
            let phases: Vec<String> = times
                .phases
                .iter()
                .map(|(name, seconds)| format!("{name} {:.0} us", seconds * 1e6))
                .collect();
            let cpu = match codec {
                LZ4 => lz4_flex::block::compress(&pages[0]).len(),
                ZSTD => zstd::bulk::compress(&pages[0], 1).map_or(0, |frame| frame.len()),
                _ => snap::raw::Encoder::new().compress_vec(&pages[0]).map_or(0, |stream| stream.len()),
            };
            let note = format!(
                "{} pages, {:.0} MB to {:.3} of it (the CPU's first page {:.3}): {} {more}",
                pages.len(),
                raw as f64 / 1e6,
                made as f64 / raw as f64,
                cpu as f64 / PAGE as f64,
                phases.join(", ")
            );
            Ok((format!("{codec_name} alone, {name} pages"), raw as f64 / times.total / 1e9, note))
        })
        .collect()
}
