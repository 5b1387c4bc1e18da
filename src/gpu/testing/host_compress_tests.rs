//! The compress kernels, built for the host with sanitizers: what they make, the crates read that readers have.

use proptest::prelude::*;

use super::host_program::HostProgram;
use super::specimens::pages::{self, GOLDEN_BLOCKS, GOLDEN_STREAMS, KINDS, Kind, LENGTHS, digest, page};
use crate::slot::encode::{LZ4, SNAPPY};

const CODECS: [u32; 2] = [SNAPPY, LZ4];

/// The pages' streams; `None` when the output is too small.
fn compress(
    host: &mut HostProgram,
    pages: &[Vec<u8>],
    codec: u32,
    room: usize,
    seed: u32,
) -> Option<Vec<Vec<u8>>> {
    let sizes = pages.iter().map(|page| page.len() as u32);
    let words: Vec<u32> = [pages.len() as u32, room as u32, codec, seed].into_iter().chain(sizes).collect();
    let mut request: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    pages.iter().for_each(|page| request.extend(page));
    host.ask(&request).expect("a program that reads");
    if host.answer_words(1).expect("an answer: see above")[0] != 0 {
        return None;
    }
    let sizes = host.answer_words(pages.len()).expect("sizes");
    Some(sizes.into_iter().map(|size| host.answer(size as usize).expect("a stream")).collect())
}

/// The most that a page becomes. A device makes room for the larger of both, Snappy's.
fn most(codec: u32, bytes: usize) -> usize {
    if codec == LZ4 { bytes + bytes / 255 + 2 } else { snap::raw::max_compress_len(bytes) }
}

fn room(pages: &[Vec<u8>]) -> usize {
    pages.iter().map(|page| snap::raw::max_compress_len(page.len())).sum()
}

fn read_back(codec: u32, stream: &[u8], bytes: usize) -> Vec<u8> {
    match codec {
        LZ4 => {
            check_end(stream, bytes);
            lz4_flex::block::decompress(stream, bytes).expect("a block")
        }
        _ => snap::raw::Decoder::new().decompress_vec(stream).expect("a stream"),
    }
}

/// How a block of LZ4 has to end, which not every reader looks at: the last copy begins 12 bytes before the
/// page's end or more, and ends 5 bytes before it or more.
fn check_end(block: &[u8], bytes: usize) {
    let (mut at, mut done) = (0, 0);
    let number = |at: &mut usize, half: u8| {
        let more =
            if half == 15 { block[*at..].iter().take_while(|&&byte| byte == 255).count() + 1 } else { 0 };
        let added = &block[*at..*at + more];
        *at += more;
        usize::from(half) + added.iter().map(|&byte| usize::from(byte)).sum::<usize>()
    };
    loop {
        let token = block[at];
        at += 1;
        let literals = number(&mut at, token >> 4);
        at += literals;
        done += literals;
        if at == block.len() {
            break;
        }
        let distance = usize::from(u16::from_le_bytes([block[at], block[at + 1]]));
        at += 2;
        assert!((1..=done).contains(&distance) && bytes - done >= 12, "a copy {distance} back from {done}");
        done += 4 + number(&mut at, token & 15);
        assert!(bytes - done >= 5, "a copy up to {done} of {bytes}");
    }
    assert_eq!(done, bytes);
}

fn check(host: &mut HostProgram, pages: &[Vec<u8>], codec: u32, seed: u32) -> Vec<Vec<u8>> {
    let streams = compress(host, pages, codec, room(pages), seed).expect("room for the largest streams");
    for (page, stream) in pages.iter().zip(&streams) {
        assert!(stream.len() <= most(codec, page.len()), "{} bytes to {}", page.len(), stream.len());
        assert!(read_back(codec, stream, page.len()) == *page, "a page of {} bytes", page.len());
    }
    streams
}

fn any_page() -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![
        4 => prop::sample::select(&LENGTHS[..12]), 4 => 0usize..4000, 1 => 65_530usize..65_545
    ];
    let made = (prop::sample::select(&KINDS[..]), length, any::<u64>());
    let made = made.prop_map(|(kind, length, seed)| page(kind, length, seed));
    // Pieces of few kinds, some of them again: matches of every length and distance.
    let pieces = (prop::collection::vec(made.clone(), 1..4), prop::collection::vec(0usize..4, 1..6));
    let joined = pieces.prop_map(|(pieces, order)| {
        let mut page: Vec<u8> = order.iter().flat_map(|&i| pieces[i % pieces.len()].clone()).collect();
        page.truncate(80_000);
        page
    });
    prop_oneof![made, joined]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn streams_are_read_back(pages in prop::collection::vec(any_page(), 0..4), seed: u32) {
        for codec in CODECS {
            check(&mut HostProgram::start("compress"), &pages, codec, seed);
        }
    }
}

/// Whatever order the threads run in.
#[test]
fn golden_bytes() {
    let mut host = HostProgram::start("compress");
    let digests = CODECS.map(|codec| {
        let streams = check(&mut host, &pages::golden(), codec, 1);
        let few = &pages::golden()[4 * 16..4 * 16 + 13];
        let again = compress(&mut host, few, codec, room(few), 99).unwrap();
        assert!(again == streams[4 * 16..4 * 16 + 13]);
        digest(streams.iter().map(|stream| &stream[..]))
    });
    assert_eq!(digests, [GOLDEN_STREAMS, GOLDEN_BLOCKS]);
}

/// Close to what the CPU makes: the tables there are larger, and copies reach back beyond a segment, but not every
/// position is looked up.
#[test]
fn as_small_as_on_the_cpu() {
    let mut host = HostProgram::start("compress");
    for codec in CODECS {
        for kind in [Kind::Text, Kind::Longs, Kind::Keys, Kind::Ints, Kind::Indices, Kind::Run] {
            let page = page(kind, 150_000, 5);
            let made = check(&mut host, std::slice::from_ref(&page), codec, 0)[0].len();
            let cpu = match codec {
                LZ4 => lz4_flex::block::compress(&page).len(),
                _ => snap::raw::Encoder::new().compress_vec(&page).expect("room").len(),
            };
            let ratio = made as f64 / cpu as f64;
            println!("{kind:?}, codec {codec}: {made} of {} bytes, on the CPU {cpu}: {ratio:.3}", page.len());
            assert!(ratio < 1.06, "{kind:?}, codec {codec}: {made} instead of {cpu} bytes");
        }
    }
}

/// A page that nothing repeats in grows by its length and heads: of Snappy's one for each segment, of LZ4's a
/// byte for each 255 that no copy comes between.
#[test]
fn noise_hardly_grows() {
    let page = page(Kind::Noise, 200_000, 1);
    let mut host = HostProgram::start("compress");
    let made = CODECS.map(|codec| check(&mut host, std::slice::from_ref(&page), codec, 0)[0].len());
    assert!(made[0] <= page.len() + 3 + 4 * 3 + page.len() / 2000, "{}", made[0]);
    assert!(made[1] <= page.len() + 2 + page.len() / 255, "{}", made[1]);
}

/// LZ4's runs of literals between segments: of no bytes, across segments that have no copy, and at both ends.
#[test]
fn runs_across_segments() {
    let mut host = HostProgram::start("compress");
    let noise = |bytes, seed| page(Kind::Noise, bytes, seed);
    let parts: [Vec<u8>; 4] = [page(Kind::Run, 65_536, 1), noise(65_536, 2), noise(130_000, 3), vec![7; 40]];
    let orders: [&[usize]; 8] = [
        &[0, 0, 0],
        &[1, 0, 1],
        &[0, 2, 0],
        &[1, 1, 1],
        &[3, 1, 1, 3],
        &[2, 2, 3],
        &[0, 3],
        &[3, 0, 1, 2, 3],
    ];
    let mut pages: Vec<Vec<u8>> = Vec::new();
    for order in orders {
        let whole: Vec<u8> = order.iter().flat_map(|&part| parts[part].clone()).collect();
        // The last segment has a few bytes, too few for a copy among them, or many.
        for bytes in [65_537, 65_548, 131_072, 131_080, whole.len()] {
            pages.push(whole[..bytes.min(whole.len())].to_vec());
        }
    }
    check(&mut host, &pages, LZ4, 5);
    // More segments than the lanes of a warp.
    let mut long = noise(65_536 * 34, 9);
    long[65_536 * 33 + 5..65_536 * 33 + 5000].fill(1);
    check(&mut host, &[long], LZ4, 0);
}

#[test]
fn without_room_it_says_so() {
    let mut host = HostProgram::start("compress");
    for codec in CODECS {
        let pages = [page(Kind::Noise, 1000, 1), Vec::new(), page(Kind::Noise, 70_000, 2)];
        let whole: usize = check(&mut host, &pages, codec, 3).iter().map(Vec::len).sum();
        assert!(compress(&mut host, &pages, codec, whole, 3).is_some());
        assert!(compress(&mut host, &pages, codec, whole - 1, 3).is_none());
        assert!(compress(&mut host, &[], codec, 0, 3).is_some_and(|streams| streams.is_empty()));
    }
}
