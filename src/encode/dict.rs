//! Dictionaries of a column chunk: distinct values in the order in which they first occur.
//!
//! Open addressing with linear probing at a load of at most one half. The hashes need to spread, not
//! to resist: a chunk whose values collide on purpose runs out of probes and loses the dictionary.

use super::{Result, reserve};
use crate::types::Cell;

/// What a dictionary page may hold in PLAIN bytes. Readers keep a whole dictionary in memory, and past
/// this size neither theirs nor ours stays in a core's second-level cache.
pub const MAX_BYTES: usize = 1 << 20;

const FIRST_SLOTS: usize = 1 << 10;

/// Probes that one lookup may take. At a load of one half, the longest cluster of the largest dictionary
/// is expected to be about half as long.
const MAX_PROBES: usize = 128;

const K1: u64 = 0x9e37_79b9_7f4a_7c15;
const K2: u64 = 0xe703_7ed1_a0b4_28db;

/// Both halves of the full product: every bit of the key reaches every bit of the hash.
#[inline(always)]
pub fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[inline(always)]
pub fn hash_u64(key: u64) -> u64 {
    fold(key ^ K1, K2)
}

/// The low `n` bytes.
const LOW_BYTES: [u128; 17] = {
    let mut masks = [0; 17];
    let mut n = 1;
    while n <= 16 {
        masks[n] = u128::MAX >> (128 - 8 * n);
        n += 1;
    }
    masks
};

/// The first 16 bytes of the value, filled up with zeros; and its bytes.
///
/// Values of up to 16 bytes are hashed and compared by this one load, whatever their length: a branch on
/// the length would be mispredicted on every other value of a column of mixed lengths.
#[inline(always)]
pub fn head(cell: Cell, arena: &[u8]) -> (u128, &[u8]) {
    let bytes = cell.of(arena);
    let word = match arena[cell.pos as usize..].first_chunk::<16>() {
        Some(wide) => u128::from_le_bytes(*wide),
        None => {
            let mut wide = [0; 16];
            let len = bytes.len().min(16);
            wide[..len].copy_from_slice(&bytes[..len]);
            u128::from_le_bytes(wide)
        }
    };
    (word & LOW_BYTES[bytes.len().min(16)], bytes)
}

#[inline(always)]
fn hash_bytes(head: u128, bytes: &[u8]) -> u64 {
    let hash = fold(head as u64 ^ bytes.len() as u64 ^ K1, (head >> 64) as u64 ^ K2);
    if bytes.len() <= 16 { hash } else { hash_tail(hash, bytes) }
}

/// Sixteen bytes at a time; the last step overlaps the one before it instead of looking at single bytes.
fn hash_tail(mut hash: u64, bytes: &[u8]) -> u64 {
    let mut add = |sixteen: &[u8; 16]| {
        let word = u128::from_le_bytes(*sixteen);
        hash = fold(word as u64 ^ hash, (word >> 64) as u64 ^ K2);
    };
    bytes[16..].as_chunks::<16>().0.iter().for_each(&mut add);
    if let Some(last) = bytes.last_chunk::<16>() {
        add(last);
    }
    hash
}

/// Values of a fixed width, told apart by their bits.
pub struct FixedDict<K> {
    /// Entry number plus one; 0 is an empty slot.
    slots: Vec<u32>,
    entries: Vec<K>,
}

/// The dictionary did not take all values: too many entries, or too many collisions.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

/// How a row of lookups ended: at a key that belongs into an empty slot, or at one with too many probes.
enum Found<K> {
    All,
    None(K, usize),
    Collisions,
}

/// The bits of a value, as a dictionary compares them.
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
        FixedDict { slots: vec![0; FIRST_SLOTS], entries: Vec::new() }
    }

    pub fn clear(&mut self) {
        self.slots.truncate(FIRST_SLOTS);
        self.slots.fill(0);
        self.entries.clear();
    }

    pub fn entries(&self) -> &[K] {
        &self.entries
    }

    pub fn memory(&self) -> usize {
        self.slots.capacity() * 4 + self.entries.capacity() * size_of::<K>()
    }

    /// Forgets the entries from `len` on. Nothing can be looked up any more: for a dictionary that is
    /// about to be written.
    pub fn truncate(&mut self, len: usize) {
        self.entries.truncate(len);
    }

    /// Replaces `indices` by the entry numbers of `keys`, adding entries up to a total of `limit`.
    pub fn intern(
        &mut self,
        keys: impl ExactSizeIterator<Item = K>,
        limit: usize,
        indices: &mut Vec<u32>,
    ) -> Result<std::result::Result<(), Full>> {
        let mut keys = keys;
        indices.clear();
        reserve(indices, keys.len())?;
        loop {
            match self.find_each(&mut keys, indices) {
                Found::All => return Ok(Ok(())),
                Found::None(key, at) if self.entries.len() < limit => {
                    let index = self.insert(key, at)?;
                    indices.push(index);
                }
                Found::None(..) | Found::Collisions => return Ok(Err(Full)),
            }
        }
    }

    /// Looks keys up to the first that is not there. The table stays as it is, so that the loop can keep
    /// its places in registers.
    #[inline(always)]
    fn find_each(&self, keys: &mut impl Iterator<Item = K>, indices: &mut Vec<u32>) -> Found<K> {
        let (slots, entries) = (&self.slots[..], &self.entries[..]);
        let mask = slots.len() - 1;
        for key in keys {
            let mut at = key.hash() as usize & mask;
            let mut probes = MAX_PROBES;
            let index = loop {
                let slot = slots[at];
                if slot == 0 {
                    return Found::None(key, at);
                }
                if entries[slot as usize - 1] == key {
                    break slot - 1;
                }
                if probes == 0 {
                    return Found::Collisions;
                }
                probes -= 1;
                at = (at + 1) & mask;
            };
            indices.push(index);
        }
        Found::All
    }

    #[cold]
    #[inline(never)]
    fn insert(&mut self, key: K, at: usize) -> Result<u32> {
        let index = self.entries.len() as u32;
        reserve(&mut self.entries, 1)?;
        self.entries.push(key);
        self.slots[at] = index + 1;
        if self.entries.len() * 2 > self.slots.len() {
            self.grow()?;
        }
        Ok(index)
    }

    fn grow(&mut self) -> Result<()> {
        let slots = self.slots.len() * 4;
        let more = slots - self.slots.len();
        reserve(&mut self.slots, more)?;
        self.slots.fill(0);
        self.slots.resize(slots, 0);
        for (index, key) in self.entries.iter().enumerate() {
            let mut at = key.hash() as usize & (slots - 1);
            while self.slots[at] != 0 {
                at = (at + 1) & (slots - 1);
            }
            self.slots[at] = index as u32 + 1;
        }
        Ok(())
    }
}

/// A byte string's first 16 bytes, as `head` gives them, and where all of it is.
struct Entry {
    head: u128,
    len: u32,
    cell: Cell,
}

/// Byte strings.
pub struct BytesDict {
    /// Upper half of the hash, then entry number plus one; 0 is an empty slot. Comparing the halves
    /// first keeps a probe that misses away from the entries.
    slots: Vec<u64>,
    entries: Vec<Entry>,
    /// The dictionary page: each entry's length in four bytes, then its bytes. `entries` point into it.
    page: Vec<u8>,
}

impl BytesDict {
    pub fn new() -> Self {
        BytesDict { slots: vec![0; FIRST_SLOTS], entries: Vec::new(), page: Vec::new() }
    }

    pub fn clear(&mut self) {
        self.slots.truncate(FIRST_SLOTS);
        self.slots.fill(0);
        self.entries.clear();
        self.page.clear();
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The entries in PLAIN encoding.
    pub fn page(&self) -> &[u8] {
        &self.page
    }

    pub fn get(&self, index: usize) -> &[u8] {
        self.entries[index].cell.of(&self.page)
    }

    /// An entry, and the arena that it lies in.
    pub fn place(&self, index: usize) -> (Cell, &[u8]) {
        (self.entries[index].cell, &self.page)
    }

    pub fn memory(&self) -> usize {
        self.slots.capacity() * 8 + self.entries.capacity() * size_of::<Entry>() + self.page.capacity()
    }

    /// As `FixedDict::truncate`.
    pub fn truncate(&mut self, len: usize) {
        if let Some(first_gone) = self.entries.get(len) {
            self.page.truncate(first_gone.cell.pos as usize - 4);
            self.entries.truncate(len);
        }
    }

    /// Appends the entry numbers of `cells` to `indices`. Stops before the value that would take the
    /// dictionary beyond `limit` entries or `MAX_BYTES`.
    pub fn intern(
        &mut self,
        cells: &[Cell],
        arena: &[u8],
        limit: usize,
        indices: &mut Vec<u32>,
    ) -> Result<std::result::Result<(), Full>> {
        reserve(indices, cells.len())?;
        let mut cells = cells.iter().copied();
        loop {
            match self.find_each(&mut cells, arena, indices) {
                Found::All => return Ok(Ok(())),
                Found::None((cell, hash), at) => {
                    let (head, bytes) = head(cell, arena);
                    let size = self.page.len() + 4 + bytes.len();
                    if self.entries.len() >= limit || size > MAX_BYTES {
                        return Ok(Err(Full));
                    }
                    let index = self.insert(head, bytes, hash, at)?;
                    indices.push(index);
                }
                Found::Collisions => return Ok(Err(Full)),
            }
        }
    }

    /// As `FixedDict::find_each`.
    #[inline(always)]
    fn find_each(
        &self,
        cells: &mut impl Iterator<Item = Cell>,
        arena: &[u8],
        indices: &mut Vec<u32>,
    ) -> Found<(Cell, u64)> {
        let (slots, entries) = (&self.slots[..], &self.entries[..]);
        let mask = slots.len() - 1;
        for cell in cells {
            let (head, bytes) = head(cell, arena);
            let hash = hash_bytes(head, bytes);
            let mut at = hash as usize & mask;
            let mut probes = MAX_PROBES;
            let index = loop {
                let slot = slots[at];
                if slot == 0 {
                    return Found::None((cell, hash), at);
                }
                if slot >> 32 == hash >> 32 {
                    let entry = &entries[slot as u32 as usize - 1];
                    if entry.head == head
                        && entry.len as usize == bytes.len()
                        && (bytes.len() <= 16 || entry.cell.of(&self.page) == bytes)
                    {
                        break slot as u32 - 1;
                    }
                }
                if probes == 0 {
                    return Found::Collisions;
                }
                probes -= 1;
                at = (at + 1) & mask;
            };
            indices.push(index);
        }
        Found::All
    }

    #[cold]
    #[inline(never)]
    fn insert(&mut self, head: u128, bytes: &[u8], hash: u64, at: usize) -> Result<u32> {
        let index = self.entries.len() as u32;
        reserve(&mut self.entries, 1)?;
        reserve(&mut self.page, 4 + bytes.len())?;
        self.page.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        let cell = Cell::new(self.page.len(), bytes.len());
        self.entries.push(Entry { head, len: bytes.len() as u32, cell });
        self.page.extend_from_slice(bytes);
        self.slots[at] = hash >> 32 << 32 | u64::from(index + 1);
        if self.entries.len() * 2 > self.slots.len() {
            self.grow()?;
        }
        Ok(index)
    }

    fn grow(&mut self) -> Result<()> {
        let slots = self.slots.len() * 4;
        let mut grown = Vec::new();
        reserve(&mut grown, slots)?;
        grown.resize(slots, 0);
        for (index, entry) in self.entries.iter().enumerate() {
            let hash = hash_bytes(entry.head, entry.cell.of(&self.page));
            let mut at = hash as usize & (slots - 1);
            while grown[at] != 0 {
                at = (at + 1) & (slots - 1);
            }
            grown[at] = hash >> 32 << 32 | (index as u64 + 1);
        }
        self.slots = grown;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A hash that sends every key to one slot.
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
        fn strings_hash_by_every_byte(
            a in prop::collection::vec(0u8..3, 0..40), b in prop::collection::vec(0u8..3, 0..40)
        ) {
            let hash = |bytes: &[u8], room: usize| {
                let mut arena = bytes.to_vec();
                arena.resize(bytes.len() + room, 0xa5);
                let (head, value) = head(Cell::new(0, bytes.len()), &arena);
                hash_bytes(head, value)
            };
            prop_assert_eq!(hash(&a, 0), hash(&a, 16));
            if a != b {
                prop_assert_ne!(hash(&a, 16), hash(&b, 16));
            }
        }

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
