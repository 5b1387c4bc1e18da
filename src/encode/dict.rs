//! Dictionaries of a column chunk: distinct values in the order in which they first occur. Values of a
//! fixed width are here, byte strings in `bytes_dict`.
//!
//! The hash tables use open addressing with linear probing at a load of at most one half. The hashes need not resist
//! attacks: a chunk whose values collide on purpose exceeds the number of probes and has no dictionary.

use super::{Result, reserve};

/// The largest dictionary page, in PLAIN encoding. Readers keep a whole dictionary in memory, and a larger one fits
/// neither their second-level cache nor ours.
pub const MAX_BYTES: usize = 1 << 20;

pub const FIRST_BUCKETS: usize = 1 << 10;

/// The most probes in one lookup. At a load of one half, the longest cluster of the largest dictionary is expected to
/// be about half as long.
const MAX_PROBES: usize = 128;

pub const K1: u64 = 0x9e37_79b9_7f4a_7c15;
pub const K2: u64 = 0xe703_7ed1_a0b4_28db;

/// Combines both halves of the full product, so that every bit of the key affects every bit of the hash.
#[inline(always)]
pub fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[inline(always)]
pub fn hash_u64(key: u64) -> u64 {
    fold(key ^ K1, K2)
}

/// A dictionary of values of a fixed width, which are compared by their bits.
pub struct FixedDict<K> {
    /// The entry number plus one; 0 is an empty bucket.
    buckets: Vec<u32>,
    entries: Vec<K>,
}

/// The dictionary did not take all values: too many entries, or too many collisions.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

/// The result of one lookup.
pub enum Probed<S> {
    At(S),
    /// The key was not found; it belongs in this bucket.
    Empty(usize),
    TooFar,
}

/// Looks up one key among `buckets`. Their number is a power of two, and empty ones are 0.
#[inline(always)]
pub fn probe<S: Copy + Default + PartialEq>(
    buckets: &[S],
    hash: u64,
    is_key: impl Fn(S) -> bool,
) -> Probed<S> {
    let mask = buckets.len() - 1;
    let mut at = hash as usize & mask;
    for _ in 0..=MAX_PROBES {
        let bucket = buckets[at];
        if bucket == S::default() {
            return Probed::Empty(at);
        }
        if is_key(bucket) {
            return Probed::At(bucket);
        }
        at = (at + 1) & mask;
    }
    Probed::TooFar
}

/// The result of several lookups: all keys were found, one belongs in an empty bucket, or one took too many probes.
pub enum Found<K> {
    All,
    None(K, usize),
    Collisions,
}

/// The bits by which a dictionary compares values.
pub trait DictKey: Copy + Eq {
    fn hash(self) -> u64;
}

impl DictKey for u32 {
    #[inline(always)]
    fn hash(self) -> u64 {
        hash_u64(self.into())
    }
}

impl DictKey for u64 {
    #[inline(always)]
    fn hash(self) -> u64 {
        hash_u64(self)
    }
}

impl DictKey for u128 {
    #[inline(always)]
    fn hash(self) -> u64 {
        fold(self as u64 ^ K1, (self >> 64) as u64 ^ K2)
    }
}

impl<K: DictKey> FixedDict<K> {
    pub fn new() -> Self {
        FixedDict { buckets: vec![0; FIRST_BUCKETS], entries: Vec::new() }
    }

    pub fn clear(&mut self) {
        self.buckets.truncate(FIRST_BUCKETS);
        self.buckets.fill(0);
        self.entries.clear();
    }

    pub fn entries(&self) -> &[K] {
        &self.entries
    }

    pub fn memory(&self) -> usize {
        self.buckets.capacity() * 4 + self.entries.capacity() * size_of::<K>()
    }

    /// Removes the entries from `len` on. The dictionary can then only be written: lookups no longer work.
    pub fn truncate(&mut self, len: usize) {
        self.entries.truncate(len);
    }

    /// Replaces `indices` by the entry numbers of `keys`, and adds entries up to a total of `limit`.
    pub fn intern(
        &mut self,
        keys: impl ExactSizeIterator<Item = K>,
        limit: usize,
        indices: &mut Vec<u32>,
    ) -> Result<std::result::Result<(), Full>> {
        indices.clear();
        reserve(indices, keys.len())?;
        indices.resize(keys.len(), 0);
        let mut pairs = keys.zip(indices.iter_mut());
        loop {
            match self.find_each(&mut pairs) {
                Found::All => return Ok(Ok(())),
                Found::None((key, index), at) if self.entries.len() < limit => {
                    *index = self.insert(key, at)?;
                }
                Found::None(..) | Found::Collisions => return Ok(Err(Full)),
            }
        }
    }

    /// Looks up keys until one is not found. The table is not changed, so that the loop can keep its addresses in
    /// registers.
    #[inline(always)]
    fn find_each<'a>(&self, pairs: &mut impl Iterator<Item = (K, &'a mut u32)>) -> Found<(K, &'a mut u32)> {
        let (buckets, entries) = (&self.buckets[..], &self.entries[..]);
        for (key, index) in pairs {
            *index = match probe(buckets, key.hash(), |bucket| entries[bucket as usize - 1] == key) {
                Probed::At(bucket) => bucket - 1,
                Probed::Empty(at) => return Found::None((key, index), at),
                Probed::TooFar => return Found::Collisions,
            };
        }
        Found::All
    }

    #[cold]
    #[inline(never)]
    fn insert(&mut self, key: K, at: usize) -> Result<u32> {
        let index = self.entries.len() as u32;
        reserve(&mut self.entries, 1)?;
        self.entries.push(key);
        self.buckets[at] = index + 1;
        if self.entries.len() * 2 > self.buckets.len() {
            self.grow()?;
        }
        Ok(index)
    }

    fn grow(&mut self) -> Result<()> {
        let buckets = self.buckets.len() * 4;
        let more = buckets - self.buckets.len();
        reserve(&mut self.buckets, more)?;
        self.buckets.fill(0);
        self.buckets.resize(buckets, 0);
        for (index, key) in self.entries.iter().enumerate() {
            let mut at = key.hash() as usize & (buckets - 1);
            while self.buckets[at] != 0 {
                at = (at + 1) & (buckets - 1);
            }
            self.buckets[at] = index as u32 + 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A hash that sends every key to one bucket.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    struct Colliding(u32);

    impl DictKey for Colliding {
        fn hash(self) -> u64 {
            7
        }
    }

    #[test]
    fn colliding_keys_stay_apart_or_give_up() {
        let mut dict = FixedDict::new();
        let mut indices = Vec::new();
        let few = (0..100u32).map(|i| Colliding(i % 10));
        let few: Vec<_> = few.collect();
        assert_eq!(dict.intern(few.iter().copied(), 1000, &mut indices).unwrap(), Ok(()));
        assert!(indices.iter().enumerate().all(|(i, &index)| index == i as u32 % 10));
        let many: Vec<_> = (0..1000).map(Colliding).collect();
        assert_eq!(dict.intern(many.iter().copied(), 1000, &mut indices).unwrap(), Err(Full));
    }

    proptest! {
        #[test]
        fn entries_are_in_order_of_first_occurrence(values in prop::collection::vec(0u64..5000, 0..9000)) {
            let mut dict = FixedDict::new();
            let mut indices = Vec::new();
            dict.intern(values.iter().copied(), usize::MAX, &mut indices).unwrap().unwrap();
            let mut seen = Vec::new();
            let mut known = std::collections::HashMap::new();
            for (&value, &index) in values.iter().zip(&indices) {
                let expected = *known.entry(value).or_insert_with(|| {
                    seen.push(value);
                    seen.len() as u32 - 1
                });
                prop_assert_eq!(index, expected);
            }
            prop_assert_eq!(dict.entries(), &seen[..]);
        }
    }
}
