//! The hash table of groups: open addressing, with the key and the states of a group side by side.

use super::Unfit;
use super::keys::{self, Key, Layout, factor, is_special, text_length, wide};
use super::value::Class;

#[derive(Clone)]
pub struct Table {
    pub layout: Layout,
    /// Words of a group: its key's, then its states'.
    pub stride: usize,
    pub rows: Vec<u64>,
    /// The upper half of a group's hash, and its number plus one; 0 if empty. There are a power of two of them.
    slots: Vec<u64>,
    /// The bytes of long texts.
    pub texts: Vec<u8>,
    pub count: usize,
    /// The scale of each key's numerics.
    pub scales: Vec<u8>,
    states: Vec<u64>,
    hashes: Vec<u64>,
    pub limit: usize,
    /// Bytes that states take elsewhere.
    pub elsewhere: usize,
}

/// Returns the bytes of a row's text.
pub type Texts<'a> = dyn Fn(usize, usize) -> &'a [u8] + 'a;

const FIRST_SLOTS: usize = 1024;

impl Table {
    /// Creates a table of groups whose states begin with the given words. It takes up to `limit` bytes.
    pub fn new(layout: Layout, states: &[u64], limit: usize) -> Table {
        let stride = layout.words + states.len();
        let mut table = Table {
            stride,
            rows: Vec::new(),
            slots: vec![0; FIRST_SLOTS],
            texts: Vec::new(),
            count: 0,
            scales: vec![0; layout.keys.len()],
            states: states.to_vec(),
            hashes: Vec::new(),
            limit,
            elsewhere: 0,
            layout,
        };
        if table.layout.keys.is_empty() {
            table.rows.extend(&table.states);
            table.count = 1;
        }
        table
    }

    /// Returns a table of the same groups that has none.
    pub fn without_groups(&self) -> Table {
        Table::new(self.layout.clone(), &self.states, self.limit)
    }

    /// Gives up the slots: no more keys are placed.
    pub fn close(&mut self) {
        (self.slots, self.hashes) = (Vec::new(), Vec::new());
    }

    /// Bytes that the groups take.
    pub fn size(&self) -> usize {
        8 * (self.rows.capacity() + self.slots.capacity()) + self.texts.capacity() + self.elsewhere
    }

    pub fn group(&self, number: usize) -> &[u64] {
        &self.rows[number * self.stride..(number + 1) * self.stride]
    }

    /// Finds or adds the group of each key.
    pub fn place(
        &mut self,
        keys: &[u64],
        count: usize,
        texts: &Texts,
        ids: &mut Vec<u32>,
    ) -> Result<(), Unfit> {
        ids.clear();
        if self.layout.keys.is_empty() {
            ids.resize(count, 0);
            return Ok(());
        }
        self.reserve(count)?;
        let words = self.layout.words;
        let mask = self.slots.len() - 1;
        let mut hashes = std::mem::take(&mut self.hashes);
        hashes.clear();
        for key in keys.chunks_exact(words) {
            let hash = self.layout.hash(key);
            prefetch(&self.slots[hash as usize & mask]);
            hashes.push(hash);
        }
        for &hash in &hashes {
            if let Some(number) = (self.slots[hash as usize & mask] as u32).checked_sub(1) {
                prefetch(&self.rows[number as usize * self.stride]);
            }
        }
        for (row, (key, &hash)) in keys.chunks_exact(words).zip(&hashes).enumerate() {
            ids.push(self.find(key, hash, |number| texts(row, number)));
        }
        self.hashes = hashes;
        Ok(())
    }

    /// Makes room for more groups, so that none has to be moved while keys are placed.
    fn reserve(&mut self, more: usize) -> Result<(), Unfit> {
        self.check(0)?;
        let wanted = self.count + more;
        if wanted >= u32::MAX as usize {
            return Err(Unfit("more groups than have numbers"));
        }
        if wanted > self.slots.len() / 2 {
            let slots = self.slots.len().max(wanted.next_power_of_two() / 2) * 4;
            self.check(8 * slots)?;
            self.slots = vec![0; slots];
            self.fill();
        }
        if self.rows.capacity() - self.rows.len() < more * self.stride {
            self.check(8 * self.rows.capacity())?;
            self.rows.reserve(more * self.stride);
        }
        Ok(())
    }

    fn check(&self, more: usize) -> Result<(), Unfit> {
        match self.size().saturating_add(more) > self.limit {
            true => Err(TOO_MANY),
            false => Ok(()),
        }
    }

    /// Enters the groups into the slots, which are empty.
    fn fill(&mut self) {
        let mask = self.slots.len() - 1;
        for number in 0..self.count {
            let hash = self.layout.hash(&self.rows[number * self.stride..]);
            let mut at = hash as usize & mask;
            while self.slots[at] != 0 {
                at = (at + 1) & mask;
            }
            self.slots[at] = entry(hash, number);
        }
    }

    #[inline]
    fn find<'t>(&mut self, key: &[u64], hash: u64, text: impl Fn(usize) -> &'t [u8]) -> u32 {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                self.slots[at] = entry(hash, self.count);
                return self.add(key, text);
            }
            if slot >> 32 == hash >> 32 {
                let number = slot as u32 - 1;
                let start = number as usize * self.stride;
                let known = &self.rows[start..start + self.layout.words];
                if is_same(known, key, self.layout.compared) && self.has_texts(known, key, &text) {
                    return number;
                }
            }
            at = (at + 1) & mask;
        }
    }

    /// Returns whether the long texts of two keys with the same words are equal.
    #[inline]
    fn has_texts<'t>(&self, known: &[u64], key: &[u64], text: &impl Fn(usize) -> &'t [u8]) -> bool {
        self.layout.keys.iter().enumerate().all(|(number, of)| {
            !of.is_long(number, key) || {
                let start = known[of.shown] as usize;
                let length = text_length(known[of.at]);
                self.texts[start..start + length] == text(number)[..length]
            }
        })
    }

    fn add<'t>(&mut self, key: &[u64], text: impl Fn(usize) -> &'t [u8]) -> u32 {
        let start = self.rows.len();
        self.rows.extend(key);
        self.rows.extend(&self.states);
        for (number, of) in self.layout.keys.iter().enumerate() {
            if of.is_long(number, key) {
                self.rows[start + of.shown] = self.texts.len() as u64;
                self.texts.extend(&text(number)[..text_length(key[of.at])]);
            }
        }
        self.count += 1;
        self.count as u32 - 1
    }

    /// Brings a key's numerics to a scale that is at least theirs.
    pub fn rescale(&mut self, number: usize, scale: u8) -> Result<(), Unfit> {
        let key = self.layout.keys[number];
        let more = scale.saturating_sub(self.scales[number]);
        if key.of.class() != Class::Numeric || more == 0 {
            return Ok(());
        }
        if scale > 38 {
            return Err(TOO_WIDE);
        }
        rescale_key(key, number, more, &mut self.rows, self.stride)?;
        self.scales[number] = scale;
        self.slots.fill(0);
        self.fill();
        Ok(())
    }

    /// Returns the bytes of a group's text.
    pub fn text<'a>(
        &'a self,
        number: usize,
        group: &'a [u64],
        inline: &'a mut [u8; keys::INLINE],
    ) -> &'a [u8] {
        let key = self.layout.keys[number];
        let length = text_length(group[key.at]);
        if length > keys::INLINE {
            let start = group[key.shown] as usize;
            return &self.texts[start..start + length];
        }
        *inline = keys::inline_bytes([group[key.at], group[key.at + 1]]);
        &inline[..length]
    }
}

pub const TOO_MANY: Unfit = Unfit("the groups need more memory than a hash table may take");
const TOO_WIDE: Unfit = Unfit("a key of many digits");

/// Multiplies a key's numerics by 10 to the power `more`.
pub fn rescale_key(key: Key, number: usize, more: u8, rows: &mut [u64], stride: usize) -> Result<(), Unfit> {
    if key.of.class() != Class::Numeric {
        return Ok(());
    }
    for row in rows.chunks_exact_mut(stride) {
        let value = wide(row[key.at], row[key.at + 1]);
        if row[0] >> number & 1 == 1 || is_special(value) {
            continue;
        }
        let value = value.checked_mul(factor(more)).filter(|value| !is_special(*value)).ok_or(TOO_WIDE)?;
        [row[key.at], row[key.at + 1]] = [value as u64, (value >> 64) as u64];
    }
    Ok(())
}

/// Returns whether the first words are the same. There are few, for which a call of memcmp takes longer.
#[inline(always)]
fn is_same(a: &[u64], b: &[u64], words: usize) -> bool {
    a[..words].iter().zip(&b[..words]).all(|(a, b)| a == b)
}

#[inline(always)]
fn entry(hash: u64, number: usize) -> u64 {
    hash >> 32 << 32 | (number as u64 + 1)
}

/// Asks the processor for a cache line that is read soon.
#[inline(always)]
fn prefetch<T>(at: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a reference is a valid address, and prefetching changes nothing.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(std::ptr::from_ref(at).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}
