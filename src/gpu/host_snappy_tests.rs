//! The compress kernels, built for the host with sanitizers: what they make, `snap` reads.

use proptest::prelude::*;

use super::host_program::HostProgram;
use super::specimens::pages::{self, GOLDEN_STREAMS, KINDS, Kind, LENGTHS, digest, page};

/// The pages' streams; `None` when the output is too small.
fn compress(host: &mut HostProgram, pages: &[Vec<u8>], room: usize, seed: u32) -> Option<Vec<Vec<u8>>> {
    let sizes = pages.iter().map(|page| page.len() as u32);
    let words: Vec<u32> = [pages.len() as u32, room as u32, seed].into_iter().chain(sizes).collect();
    let mut request: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    pages.iter().for_each(|page| request.extend(page));
    host.ask(&request).expect("a program that reads");
    if host.answer_words(1).expect("an answer: see above")[0] != 0 {
        return None;
    }
    let sizes = host.answer_words(pages.len()).expect("sizes");
    Some(sizes.into_iter().map(|size| host.answer(size as usize).expect("a stream")).collect())
}

fn room(pages: &[Vec<u8>]) -> usize {
    pages.iter().map(|page| snap::raw::max_compress_len(page.len())).sum()
}

fn check(host: &mut HostProgram, pages: &[Vec<u8>], seed: u32) -> Vec<Vec<u8>> {
    let streams = compress(host, pages, room(pages), seed).expect("room for the largest streams");
    for (page, stream) in pages.iter().zip(&streams) {
        assert!(stream.len() <= snap::raw::max_compress_len(page.len()), "{} bytes", page.len());
        let back = snap::raw::Decoder::new().decompress_vec(stream).expect("a stream");
        assert!(back == *page, "a page of {} bytes", page.len());
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
        check(&mut HostProgram::start("compress"), &pages, seed);
    }
}

/// Whatever order the threads run in.
#[test]
fn golden_bytes() {
    let streams = check(&mut HostProgram::start("compress"), &pages::golden(), 1);
    assert_eq!(digest(streams.iter().map(|stream| &stream[..])), GOLDEN_STREAMS);
    let few = &pages::golden()[4 * 16..4 * 16 + 13];
    let again = compress(&mut HostProgram::start("compress"), few, room(few), 99).unwrap();
    assert!(again == streams[4 * 16..4 * 16 + 13]);
}

/// Close to what the CPU makes: the table is half as large, but every position is in it.
#[test]
fn as_small_as_on_the_cpu() {
    let mut host = HostProgram::start("compress");
    for kind in [Kind::Text, Kind::Longs, Kind::Keys, Kind::Ints, Kind::Indices, Kind::Run] {
        let page = page(kind, 150_000, 5);
        let stream = &check(&mut host, std::slice::from_ref(&page), 0)[0];
        let cpu = snap::raw::Encoder::new().compress_vec(&page).expect("room");
        let ratio = stream.len() as f64 / cpu.len() as f64;
        println!("{kind:?}: {} of {} bytes, on the CPU {}: {ratio:.3}", stream.len(), page.len(), cpu.len());
        assert!(ratio < 1.06, "{kind:?}: {} instead of {} bytes", stream.len(), cpu.len());
    }
}

/// A page that nothing repeats in grows by a head for each segment and its length.
#[test]
fn noise_hardly_grows() {
    let page = page(Kind::Noise, 200_000, 1);
    let stream = &check(&mut HostProgram::start("compress"), std::slice::from_ref(&page), 0)[0];
    assert!(stream.len() <= page.len() + 3 + 4 * 3 + page.len() / 2000, "{}", stream.len());
}

#[test]
fn without_room_it_says_so() {
    let mut host = HostProgram::start("compress");
    let pages = [page(Kind::Noise, 1000, 1), Vec::new(), page(Kind::Noise, 70_000, 2)];
    let whole: usize = check(&mut host, &pages, 3).iter().map(Vec::len).sum();
    assert!(compress(&mut host, &pages, whole, 3).is_some());
    assert!(compress(&mut host, &pages, whole - 1, 3).is_none());
    assert!(compress(&mut host, &[], 0, 3).is_some_and(|streams| streams.is_empty()));
}
