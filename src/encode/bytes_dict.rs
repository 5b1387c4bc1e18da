//! Dictionaries of byte strings.

use super::dict::{FIRST_BUCKETS, Found, Full, K1, K2, MAX_BYTES, Probed, fold, probe};
use super::{Result, reserve};
use crate::types::Cell;

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

/// Returns the first 16 bytes of a value, filled up with zeros, and its bytes.
///
/// Values of up to 16 bytes are hashed and compared by this one load, whatever their length: in a column of mixed
/// lengths a branch on the length would often be mispredicted.
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

/// Hashes a value. The length rotates a constant; if it were added to the first byte, "\1\0" would collide with
/// "\0\0\0".
#[inline(always)]
fn hash_bytes(head: u128, bytes: &[u8]) -> u64 {
    let hash = fold(head as u64 ^ K1.rotate_left(bytes.len() as u32), (head >> 64) as u64 ^ K2);
    if bytes.len() <= 16 { hash } else { hash_tail(hash, bytes) }
}

/// Hashes the bytes after the first 16, sixteen at a time. The last step overlaps the one before it, so that no
/// single bytes are left.
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

/// An entry: its first 16 bytes as `head` returns them, and its place in the page.
struct Entry {
    head: u128,
    len: u32,
    cell: Cell,
}

/// A dictionary of byte strings.
pub struct BytesDict {
    /// The upper half of the hash, then the entry number plus one; 0 is an empty bucket. Comparing the halves first
    /// avoids most accesses to entries that do not match.
    buckets: Vec<u64>,
    entries: Vec<Entry>,
    /// The dictionary page: each entry's length in four bytes, then its bytes. `entries` point into it.
    page: Vec<u8>,
}

impl BytesDict {
    pub fn new() -> Self {
        BytesDict { buckets: vec![0; FIRST_BUCKETS], entries: Vec::new(), page: Vec::new() }
    }

    pub fn clear(&mut self) {
        self.buckets.truncate(FIRST_BUCKETS);
        self.buckets.fill(0);
        self.entries.clear();
        self.page.clear();
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns the entries in PLAIN encoding.
    pub fn page(&self) -> &[u8] {
        &self.page
    }

    pub fn get(&self, index: usize) -> &[u8] {
        self.entries[index].cell.of(&self.page)
    }

    /// Returns an entry and the arena that it lies in.
    pub fn place(&self, index: usize) -> (Cell, &[u8]) {
        (self.entries[index].cell, &self.page)
    }

    pub fn memory(&self) -> usize {
        self.buckets.capacity() * 8 + self.entries.capacity() * size_of::<Entry>() + self.page.capacity()
    }

    /// Forgets the entries from `len` on; see `FixedDict::truncate`.
    pub fn truncate(&mut self, len: usize) {
        if let Some(first_gone) = self.entries.get(len) {
            self.page.truncate(first_gone.cell.pos as usize - 4);
            self.entries.truncate(len);
        }
    }

    /// Appends the entry numbers of `cells` to `indices`. Stops at the first value that would take the dictionary
    /// beyond `limit` entries or `MAX_BYTES`.
    pub fn intern(
        &mut self,
        cells: &[Cell],
        arena: &[u8],
        limit: usize,
        indices: &mut Vec<u32>,
    ) -> Result<std::result::Result<(), Full>> {
        reserve(indices, cells.len())?;
        let known = indices.len();
        indices.resize(known + cells.len(), 0);
        let mut pairs = cells.iter().copied().zip(indices[known..].iter_mut());
        loop {
            match self.find_each(&mut pairs, arena) {
                Found::All => return Ok(Ok(())),
                Found::None((cell, hash, index), at) => {
                    let (head, bytes) = head(cell, arena);
                    let size = self.page.len() + 4 + bytes.len();
                    if self.entries.len() < limit && size <= MAX_BYTES {
                        *index = self.insert(head, bytes, hash, at)?;
                        continue;
                    }
                }
                Found::Collisions => {}
            }
            // The remaining values and the refused one have no number.
            let done = cells.len() - pairs.len() - 1;
            indices.truncate(known + done);
            return Ok(Err(Full));
        }
    }

    /// Looks up cells until one is not found; see `FixedDict::find_each`.
    #[inline(always)]
    fn find_each<'a>(
        &self,
        pairs: &mut impl Iterator<Item = (Cell, &'a mut u32)>,
        arena: &[u8],
    ) -> Found<(Cell, u64, &'a mut u32)> {
        let (buckets, entries) = (&self.buckets[..], &self.entries[..]);
        for (cell, index) in pairs {
            let (head, bytes) = head(cell, arena);
            let hash = hash_bytes(head, bytes);
            let is_key = |bucket: u64| {
                bucket >> 32 == hash >> 32 && {
                    let entry = &entries[bucket as u32 as usize - 1];
                    entry.head == head
                        && entry.len as usize == bytes.len()
                        && (bytes.len() <= 16 || entry.cell.of(&self.page) == bytes)
                }
            };
            *index = match probe(buckets, hash, is_key) {
                Probed::At(bucket) => bucket as u32 - 1,
                Probed::Empty(at) => return Found::None((cell, hash, index), at),
                Probed::TooFar => return Found::Collisions,
            };
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
        self.buckets[at] = hash >> 32 << 32 | u64::from(index + 1);
        if self.entries.len() * 2 > self.buckets.len() {
            self.grow()?;
        }
        Ok(index)
    }

    fn grow(&mut self) -> Result<()> {
        let buckets = self.buckets.len() * 4;
        let mut grown = Vec::new();
        reserve(&mut grown, buckets)?;
        grown.resize(buckets, 0);
        for (index, entry) in self.entries.iter().enumerate() {
            let hash = hash_bytes(entry.head, entry.cell.of(&self.page));
            let mut at = hash as usize & (buckets - 1);
            while grown[at] != 0 {
                at = (at + 1) & (buckets - 1);
            }
            grown[at] = hash >> 32 << 32 | (index as u64 + 1);
        }
        self.buckets = grown;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn zeros_at_the_end_count() {
        let hash = |bytes: &[u8]| {
            let (head, value) = head(Cell::new(0, bytes.len()), bytes);
            hash_bytes(head, value)
        };
        assert_ne!(hash(&[1, 0]), hash(&[0, 0, 0]));
        assert_ne!(hash(&[]), hash(&[0]));
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
    }
}
