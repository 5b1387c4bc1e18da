//! A list of the metadata of row groups and record batches. It is kept in compressed blocks, so that tens of
//! thousands of entries, which are much alike, take little memory.

use std::io;

/// The size at which a block is compressed.
const BLOCK_BYTES: usize = 1 << 20;
const LEVEL: i32 = 1;
const LENGTH: usize = size_of::<u32>();

/// Entries in the order in which they were added.
#[derive(Default)]
pub struct MetadataList {
    blocks: Vec<Block>,
    /// The block that is not full yet: each entry after its length.
    open: Vec<u8>,
    entries: usize,
}

struct Block {
    /// The number of the block's first entry.
    first: usize,
    bytes: Vec<u8>,
}

impl MetadataList {
    pub fn push(&mut self, entry: &[u8]) -> io::Result<()> {
        let length = u32::try_from(entry.len()).map_err(io::Error::other)?;
        if self.open.is_empty() {
            self.blocks.push(Block { first: self.entries, bytes: Vec::new() });
        }
        self.open.extend_from_slice(&length.to_le_bytes());
        self.open.extend_from_slice(entry);
        self.entries += 1;
        if self.open.len() >= BLOCK_BYTES { self.close() } else { Ok(()) }
    }

    /// Compresses the last block, whose entries cannot be read before.
    pub fn close(&mut self) -> io::Result<()> {
        if let Some(block) = self.blocks.last_mut().filter(|_| !self.open.is_empty()) {
            let mut head = (self.open.len() as u64).to_le_bytes().to_vec();
            head.append(&mut zstd::bulk::compress(&self.open, LEVEL)?);
            block.bytes = head;
            self.open.clear();
        }
        Ok(())
    }

    /// Returns the number of each block's first entry, and its size, for `from_bytes`.
    pub fn table(&self) -> Vec<(usize, usize)> {
        self.blocks.iter().map(|block| (block.first, block.bytes.len())).collect()
    }

    pub fn bytes(&self) -> impl Iterator<Item = &[u8]> {
        self.blocks.iter().map(|block| &block.bytes[..])
    }

    /// Restores a list. Returns `None` if the number of bytes differs from that in the table.
    pub fn from_bytes(table: &[(usize, usize)], mut bytes: &[u8]) -> Option<MetadataList> {
        let mut list = MetadataList::default();
        for &(first, len) in table {
            let (block, rest) = bytes.split_at_checked(len)?;
            list.blocks.push(Block { first, bytes: block.to_vec() });
            bytes = rest;
        }
        bytes.is_empty().then_some(list)
    }
}

/// Reads entries. If they are read in order, each block is decompressed once.
pub struct MetadataCursor<'p> {
    list: &'p MetadataList,
    block: Option<usize>,
    raw: Vec<u8>,
    /// The number of the block's next entry, and its place.
    next: usize,
    at: usize,
}

impl<'p> MetadataCursor<'p> {
    pub fn new(list: &'p MetadataList) -> MetadataCursor<'p> {
        MetadataCursor { list, block: None, raw: Vec::new(), next: 0, at: 0 }
    }

    pub fn entry(&mut self, number: usize) -> io::Result<&[u8]> {
        let after = self.list.blocks.partition_point(|block| block.first <= number);
        let index = after.checked_sub(1).ok_or_else(missing)?;
        if self.block != Some(index) || number < self.next {
            let block = &self.list.blocks[index];
            let (length, bytes) = block.bytes.split_first_chunk().ok_or_else(missing)?;
            self.raw = zstd::bulk::decompress(bytes, u64::from_le_bytes(*length) as usize)?;
            (self.block, self.next, self.at) = (Some(index), block.first, 0);
        }
        loop {
            let rest = self.raw.get(self.at..).ok_or_else(missing)?;
            let (length, _) = rest.split_first_chunk::<LENGTH>().ok_or_else(missing)?;
            let start = self.at + LENGTH;
            let end = start + u32::from_le_bytes(*length) as usize;
            (self.next, self.at) = (self.next + 1, end);
            if self.next > number {
                return self.raw.get(start..end).ok_or_else(missing);
            }
        }
    }
}

fn missing() -> io::Error {
    io::Error::other("a part without its metadata")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: usize) -> Vec<u8> {
        format!("metadata of number {number} ").repeat(number % 200).into_bytes()
    }

    #[test]
    fn entries_come_back_in_any_order() {
        let mut list = MetadataList::default();
        (0..2000).for_each(|number| list.push(&entry(number)).unwrap());
        list.close().unwrap();
        let bytes: Vec<u8> = list.bytes().flatten().copied().collect();
        assert!(list.table().len() > 3 && bytes.len() < 1 << 20);
        let read = MetadataList::from_bytes(&list.table(), &bytes).unwrap();
        let mut cursor = MetadataCursor::new(&read);
        for number in (0..2000).chain([5, 5, 1999, 3, 0]) {
            assert_eq!(cursor.entry(number).unwrap(), entry(number));
        }
        assert!(cursor.entry(2000).is_err());
        assert!(MetadataList::from_bytes(&list.table(), &bytes[1..]).is_none());
        assert!(MetadataCursor::new(&MetadataList::default()).entry(0).is_err());
    }
}
