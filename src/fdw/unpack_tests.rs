//! Data that the codecs' own crates pack.

use std::io::Write;

use super::*;
use crate::interrupts::counted;
use parquet::basic::{BrotliLevel, GzipLevel, ZstdLevel};

const CODECS: [fn() -> Compression; 6] = [
    || Compression::SNAPPY,
    || Compression::GZIP(GzipLevel::default()),
    || Compression::BROTLI(BrotliLevel::default()),
    || Compression::ZSTD(ZstdLevel::default()),
    || Compression::LZ4_RAW,
    || Compression::LZ4,
];

fn packed(codec: Compression, bytes: &[u8]) -> Vec<u8> {
    match codec {
        Compression::SNAPPY => snap::raw::Encoder::new().compress_vec(bytes).unwrap(),
        Compression::LZ4_RAW => lz4_flex::block::compress(bytes),
        Compression::ZSTD(_) => zstd::bulk::compress(bytes, 1).unwrap(),
        Compression::GZIP(_) => {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(1));
            out.write_all(bytes).unwrap();
            out.finish().unwrap()
        }
        Compression::BROTLI(_) => {
            let mut out = Vec::new();
            brotli::CompressorWriter::new(&mut out, 4096, 1, 22).write_all(bytes).unwrap();
            out
        }
        // Two blocks, as Hadoop frames them.
        _ => {
            let halves = bytes.split_at(bytes.len() / 2);
            let block = |part: &[u8]| {
                let block = lz4_flex::block::compress(part);
                let lengths = [part.len() as u32, block.len() as u32].map(u32::to_be_bytes);
                [&lengths.concat()[..], &block[..]].concat()
            };
            [block(halves.0), block(halves.1)].concat()
        }
    }
}

fn unpacked(codec: Compression, packed: &[u8], size: usize) -> Result<Vec<u8>, String> {
    let mut out = b"levels".to_vec();
    out.reserve_exact(size);
    Unpacker::new(codec).unpack(packed, &mut out, size)?;
    assert_eq!(&out[..6], b"levels");
    Ok(out.split_off(6))
}

fn framed(bytes: &[u8]) -> Vec<u8> {
    let mut frame = lz4_flex::frame::FrameEncoder::new(Vec::new());
    frame.write_all(bytes).unwrap();
    frame.finish().unwrap()
}

/// Bytes made by a rule, of every kind that codecs treat differently: random ones, runs, texts, and near and
/// far repetitions.
fn samples() -> Vec<Vec<u8>> {
    let mut state = 1_u64;
    let mut random = move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize
    };
    let noise: Vec<u8> = (0..200_000).map(|_| random() as u8).collect();
    let mut mixed = noise[..100].to_vec();
    while mixed.len() < 300_000 {
        match random() % 3 {
            0 => mixed.extend_from_slice(&noise[random() % 1000..][..random() % 200]),
            1 => mixed.extend(std::iter::repeat_n(random() as u8, random() % 2000)),
            _ => {
                let (length, back) = (1 + random() % 300, 1 + random() % 70_000);
                let from = mixed.len().saturating_sub(back);
                (0..length).for_each(|at| mixed.push(mixed[from + at]));
            }
        }
    }
    let texts: String = (0..20_000).map(|row| format!("text {row}\n")).collect();
    vec![vec![7], b"abc".to_vec(), noise, mixed, vec![0; 3 << 20], b"abcabd".repeat(200_000), texts.into()]
}

#[test]
fn what_was_packed_comes_back() {
    for bytes in samples() {
        for codec in CODECS.map(|codec| codec()) {
            let packed = packed(codec, &bytes);
            assert!(unpacked(codec, &packed, bytes.len()).unwrap() == bytes, "{codec} {}", bytes.len());
        }
        assert!(unpacked(Compression::LZ4, &framed(&bytes), bytes.len()).unwrap() == bytes);
        let raw = packed(Compression::LZ4_RAW, &bytes);
        assert!(unpacked(Compression::LZ4, &raw, bytes.len()).unwrap() == bytes);
    }
}

#[test]
fn large_blocks_come_back() {
    type Step = fn(&[u8], &mut Vec<u8>, usize) -> Result<(), String>;
    for bytes in samples() {
        for (codec, block) in
            [(Compression::SNAPPY, blocks::snappy as Step), (Compression::LZ4_RAW, blocks::lz4 as Step)]
        {
            let packed = packed(codec, &bytes);
            let mut out = b"before".to_vec();
            block(&packed, &mut out, 6 + bytes.len()).unwrap();
            assert!(out[6..] == bytes, "{codec} {}", bytes.len());
            // Other sizes are refused, and so is data that is cut or changed, unless it has the stated length.
            let mut out = Vec::new();
            assert!(block(&packed, &mut out, bytes.len() - 1).is_err());
            for at in (0..packed.len()).step_by(1 + packed.len() / 100) {
                let mut out = Vec::new();
                let _ = block(&packed[..at], &mut out, bytes.len());
                let mut changed = packed.clone();
                changed[at] ^= 1 << (at % 8);
                let _ = block(&changed, &mut out, bytes.len());
                assert!(out.len() <= bytes.len());
            }
        }
    }
}

/// Streams longer than stated end there, and take no memory.
#[test]
fn more_or_fewer_bytes_than_are_stated() {
    let bytes = vec![0; 20 << 20];
    for codec in CODECS.map(|codec| codec()) {
        let packed = packed(codec, &bytes);
        for size in [1, 1000, 1 << 20, bytes.len() - 1, bytes.len() + 1] {
            let mut out = Vec::with_capacity(size);
            let found = Unpacker::new(codec).unpack(&packed, &mut out, size);
            assert!(found.is_err() && out.len() <= size && out.capacity() <= 2 * size, "{codec} {size}");
        }
    }
    let frame = framed(&bytes);
    let mut out = Vec::with_capacity(100);
    assert!(Unpacker::new(Compression::LZ4).unpack(&frame, &mut out, 100).is_err());
    assert!(out.capacity() <= 200);
}

/// There is at least one check for a cancel for each few megabytes.
#[test]
fn steps_are_bounded() {
    let bytes = b"abcdefgh".repeat(5 << 20);
    for codec in CODECS.map(|codec| codec()) {
        let packed = packed(codec, &bytes);
        let mut out = Vec::with_capacity(bytes.len());
        let (checks, _) = counted::during(|| {
            Unpacker::new(codec).unpack(&packed, &mut out, bytes.len()).unwrap();
        });
        assert!(checks >= bytes.len() / (4 << 20), "{codec}: {checks}");
        assert!(out == bytes);
    }
}
