use std::io::Read;

use super::*;
use crate::interrupts::counted::{during, micros};

const ALL: [(Codec, usize); 11] = [
    (Codec::None, STEP_BYTES),
    (Codec::Snappy, SNAPPY_STEP),
    (Codec::Lz4Raw, LZ4_STEP),
    (Codec::Gzip(1), GZIP_STEP),
    (Codec::Gzip(9), GZIP_STEP),
    (Codec::Brotli(1), BROTLI_STEP),
    (Codec::Brotli(11), BROTLI_SLOW_STEP),
    (Codec::Zstd(1), 8 << 20),
    (Codec::Zstd(9), 2 << 20),
    (Codec::Zstd(19), ZSTD_BLOCK),
    (Codec::Zstd(22), ZSTD_BLOCK),
];

/// Returns random words, which compress partly.
fn text(bytes: usize) -> Vec<u8> {
    let word = |i: u64| format!("{:x} ", super::super::tests::random(i) % (1 << (8 + i % 21)));
    let mut text = Vec::with_capacity(bytes + 16);
    let mut number = 0;
    while text.len() < bytes {
        text.extend_from_slice(word(number).as_bytes());
        number += 1;
    }
    text.truncate(bytes);
    text
}

fn decompress(codec: Codec, bytes: &[u8], len: usize) -> Vec<u8> {
    let mut raw = Vec::new();
    match codec {
        Codec::None => raw = bytes.to_vec(),
        Codec::Snappy => raw = snap::raw::Decoder::new().decompress_vec(bytes).unwrap(),
        Codec::Lz4Raw => raw = lz4_flex::block::decompress(bytes, len).unwrap(),
        Codec::Gzip(_) => _ = flate2::read::GzDecoder::new(bytes).read_to_end(&mut raw).unwrap(),
        Codec::Brotli(_) => _ = brotli::Decompressor::new(bytes, 4096).read_to_end(&mut raw).unwrap(),
        Codec::Zstd(_) => {
            assert_eq!(zstd::zstd_safe::get_frame_content_size(bytes).unwrap(), Some(len as u64));
            raw = zstd::bulk::decompress(bytes, len).unwrap();
        }
    }
    raw
}

/// Compresses pages of several steps, of one byte and of none.
#[test]
fn each_step_is_checked_before() {
    for (codec, step) in ALL {
        let mut compressor = Compressor::new(codec).unwrap();
        let mut out = b"what was there".to_vec();
        for len in [3 * step - 77, 1, 0] {
            let raw = text(len);
            let (checks, _) = during(|| compressor.compress(&raw, &mut out).unwrap());
            assert!(checks >= len.div_ceil(step).max(1), "{codec:?}: {checks} checks");
            assert!(decompress(codec, &out, len) == raw, "{codec:?} {len}");
            let (head, body) = raw.split_at(len.min(9));
            out.truncate(1);
            compressor.append(head, body, &mut out).unwrap();
            assert!(decompress(codec, &out[out.len().min(1)..], len) == raw, "{codec:?} {len}, in two parts");
        }
    }
}

/// Compressing in steps makes pages hardly larger than compressing them at once.
#[test]
fn steps_cost_nothing() {
    let raw = text(9_000_001);
    let mut out = Vec::new();
    let mut steps = |codec| {
        Compressor::new(codec).unwrap().compress(&raw, &mut out).unwrap();
        out.clone()
    };
    assert!(steps(Codec::Snappy) == snap::raw::Encoder::new().compress_vec(&raw).unwrap());
    assert!(steps(Codec::Lz4Raw).len() <= lz4_flex::block::compress(&raw).len() * 1001 / 1000);
    for level in [1, 9] {
        let at_once = zstd::bulk::compress(&raw, level).unwrap();
        assert!(steps(Codec::Zstd(level)).len() <= at_once.len() * 1001 / 1000, "zstd:{level}");
    }
}

/// `cargo test --release compress::tests::bench -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn bench_steps() {
    let megabytes: usize = std::env::var("MB").ok().and_then(|mb| mb.parse().ok()).unwrap_or(4);
    let raw = text(megabytes << 20);
    for (codec, _) in ALL {
        let (began, mut out) = (micros(), Vec::new());
        let (_, longest) = during(|| Compressor::new(codec).unwrap().compress(&raw, &mut out).unwrap());
        let took = (micros() - began) as f64 / 1e6;
        println!("{codec:?}: {took:.2} s, {} bytes, longest step {} ms", out.len(), longest / 1000);
    }
}
