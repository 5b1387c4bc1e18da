//! Pages to compress, made up from a seed, and the digest of some of them compressed.

use sha2::{Digest, Sha256};

use super::Random;

/// The kind of a page's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes that nothing repeats in.
    Noise,
    /// One byte over and over.
    Run,
    /// A few bytes over and over; the seed gives their number.
    Periodic,
    /// Few different bytes in no order.
    Few,
    /// PLAIN byte arrays of English words.
    Text,
    /// PLAIN INT64 below 2^24.
    Longs,
    /// PLAIN INT64, each four times, one above the other.
    Keys,
    /// PLAIN INT32 below 10,000.
    Ints,
    /// Dictionary indices of 12 bits, four rows of an order alike.
    Indices,
}

pub const KINDS: [Kind; 9] = [
    Kind::Noise,
    Kind::Run,
    Kind::Periodic,
    Kind::Few,
    Kind::Text,
    Kind::Longs,
    Kind::Keys,
    Kind::Ints,
    Kind::Indices,
];

/// Lengths about those of segments, and others.
pub const LENGTHS: [usize; 16] = [0, 1, 2, 3, 4, 5, 31, 32, 33, 60, 61, 300, 65_535, 65_536, 65_537, 131_073];

const WORDS: [&[u8]; 16] = [
    b"carefully",
    b"final",
    b"deposits",
    b"sleep",
    b"furiously",
    b"ironic",
    b"beans",
    b"quickly",
    b"express",
    b"regular",
    b"accounts",
    b"pending",
    b"requests",
    b"blithely",
    b"bold",
    b"packages",
];

/// A page of `bytes` bytes.
pub fn page(kind: Kind, bytes: usize, seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut page = Vec::with_capacity(bytes + 64);
    let period = random.bytes(1 + seed as usize % 61);
    let mut bits = (0u64, 0);
    for row in 0u64.. {
        if page.len() >= bytes {
            break;
        }
        match kind {
            Kind::Noise => page.extend(random.word().to_le_bytes()),
            Kind::Run => page.extend([7; 64]),
            Kind::Periodic => page.extend(&period),
            Kind::Few => page.push(random.below(3) as u8),
            Kind::Text => {
                let words: Vec<&[u8]> = (0..3 + random.below(4)).map(|_| random.pick(&WORDS)).collect();
                let text = words.join(&b' ');
                page.extend((text.len() as u32).to_le_bytes());
                page.extend(text);
            }
            Kind::Longs => page.extend(random.below(1 << 24).to_le_bytes()),
            Kind::Keys => page.extend((row / 4 + 1_000_000).to_le_bytes()),
            Kind::Ints => page.extend((random.below(10_000) as u32).to_le_bytes()),
            Kind::Indices => {
                let index = random.below(2500) as u64;
                for _ in 0..4 {
                    bits = (bits.0 | index << bits.1, bits.1 + 12);
                    while bits.1 >= 8 {
                        page.push(bits.0 as u8);
                        bits = (bits.0 >> 8, bits.1 - 8);
                    }
                }
            }
        }
    }
    page.truncate(bytes);
    page
}

/// Every kind in every length.
pub fn golden() -> Vec<Vec<u8>> {
    let pages = KINDS.iter().enumerate().flat_map(|(number, kind)| {
        LENGTHS.iter().map(move |&length| page(*kind, length, (number * 100 + length) as u64))
    });
    pages.collect()
}

/// SHA-256 of the compressed [`golden`] pages, end to end, in Snappy and in LZ4: the same on the host and on every device.
pub const GOLDEN_STREAMS: &str = "3834df32904d983461dba410243eba5f261bf6095944c957d77f8460ce0e236a";
pub const GOLDEN_BLOCKS: &str = "718e3c272d010641f99286c6e6c7a2e52436bcfdebb9ab1405498361ecc114e4";

pub fn digest<'a>(streams: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    streams.into_iter().for_each(|stream| hash.update(stream));
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
