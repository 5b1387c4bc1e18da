//! A look at a Parquet footer, and at what lies apart from it, before it is decoded.
//!
//! The decoder trusts two things in a footer that anybody may have written: it reserves memory for as many
//! children as a group claims, and follows groups in groups by recursion. Neither failure can be caught, so that
//! both are checked here. The footer is a Thrift struct in the compact protocol (thrift-compact-protocol.md),
//! whose field 2 lists the schema's elements depth first (parquet.thrift, FileMetaData).

/// Groups in groups. Each takes some kilobytes of stack, of which a backend has two megabytes.
const DEEPEST: usize = 64;

const MALFORMED: &str = "its metadata is not in Thrift's compact protocol";

type Checked<T> = Result<T, &'static str>;

/// Checks the bytes between the last row group and the footer's length.
pub fn check(footer: &[u8]) -> Checked<()> {
    const SCHEMA: i64 = 2;
    let mut children = Vec::new();
    let mut reader = Reader { rest: footer };
    reader.fields(DEEPEST, &mut |reader, field, kind| match (field, kind) {
        (SCHEMA, LIST) => reader.elements(&mut children),
        _ => reader.skip(kind, DEEPEST),
    })?;
    check_tree(&children)
}

/// Of a Bloom filter's header: how long it is, and how long the bits behind it (parquet.thrift,
/// BloomFilterHeader). What else it says is the decoder's.
pub fn bloom_header(bytes: &[u8]) -> Checked<(usize, usize)> {
    const NUM_BYTES: i64 = 1;
    let mut bits = None;
    let mut reader = Reader { rest: bytes };
    reader.fields(DEEPEST, &mut |reader, field, kind| match (field, kind) {
        (NUM_BYTES, I32) => {
            bits = Some(reader.zigzag()?);
            Ok(())
        }
        _ => reader.skip(kind, DEEPEST),
    })?;
    let bits = bits.and_then(|bits| usize::try_from(bits).ok()).ok_or(MALFORMED)?;
    Ok((bytes.len() - reader.rest.len(), bits))
}

/// Checks that a struct has all the items that its lists claim, for which the decoder reserves memory.
pub fn check_lists(bytes: &[u8]) -> Checked<()> {
    Reader { rest: bytes }.skip(STRUCT, DEEPEST)
}

/// `children`: how many each element claims, depth first.
fn check_tree(children: &[i64]) -> Checked<()> {
    // Of the groups that are open, how many children are still to come.
    let mut open: Vec<i64> = Vec::new();
    for (at, &count) in children.iter().enumerate() {
        if !(0..children.len() as i64 - at as i64).contains(&count) {
            return Err("its schema has a group with more children than there are columns");
        }
        if let Some(left) = open.last_mut() {
            *left -= 1;
        }
        open.push(count);
        while open.last() == Some(&0) {
            open.pop();
        }
        if open.len() > DEEPEST {
            return Err("unsupported: its schema has more groups in groups than can be read");
        }
    }
    Ok(())
}

const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn byte(&mut self) -> Checked<u8> {
        let (byte, rest) = self.rest.split_first().ok_or(MALFORMED)?;
        self.rest = rest;
        Ok(*byte)
    }

    fn advance(&mut self, bytes: u64) -> Checked<()> {
        let bytes = usize::try_from(bytes).map_err(|_| MALFORMED)?;
        self.rest = self.rest.get(bytes..).ok_or(MALFORMED)?;
        Ok(())
    }

    fn varint(&mut self) -> Checked<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(MALFORMED)
    }

    fn zigzag(&mut self) -> Checked<i64> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A struct's fields, by number and type; `visit` reads the value.
    fn fields(
        &mut self,
        depth: usize,
        visit: &mut dyn FnMut(&mut Self, i64, u8) -> Checked<()>,
    ) -> Checked<()> {
        if depth == 0 {
            return Err("its metadata has more structs in structs than can be read");
        }
        let mut field = 0;
        loop {
            let header = self.byte()?;
            if header == 0 {
                return Ok(());
            }
            field = match header >> 4 {
                0 => self.zigzag()?,
                delta => field + i64::from(delta),
            };
            visit(self, field, header & 0xf)?;
        }
    }

    /// The type of a list's items, and how many there are.
    fn list(&mut self) -> Checked<(u8, u64)> {
        let header = self.byte()?;
        let size = match header >> 4 {
            15 => self.varint()?,
            size => u64::from(size),
        };
        Ok((header & 0xf, size))
    }

    /// The numbers of children of a list of schema elements.
    fn elements(&mut self, children: &mut Vec<i64>) -> Checked<()> {
        const NUM_CHILDREN: i64 = 5;
        let (kind, size) = self.list()?;
        for _ in 0..size {
            if kind != STRUCT {
                return Err(MALFORMED);
            }
            let mut count = 0;
            self.fields(DEEPEST, &mut |reader, field, kind| match (field, kind) {
                (NUM_CHILDREN, I32) => {
                    count = reader.zigzag()?;
                    Ok(())
                }
                _ => reader.skip(kind, DEEPEST),
            })?;
            children.push(count);
        }
        Ok(())
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Checked<()> {
        match kind {
            TRUE | FALSE => Ok(()),
            BYTE => self.advance(1),
            I16 | I32 | I64 => self.varint().map(|_| ()),
            DOUBLE => self.advance(8),
            BINARY => {
                let len = self.varint()?;
                self.advance(len)
            }
            LIST | SET => {
                let (kind, size) = self.list()?;
                (0..size).try_for_each(|_| self.skip_item(kind, depth))
            }
            MAP => {
                let size = self.varint()?;
                let kinds = if size > 0 { self.byte()? } else { 0 };
                (0..size).try_for_each(|_| {
                    self.skip_item(kinds >> 4, depth)?;
                    self.skip_item(kinds & 0xf, depth)
                })
            }
            STRUCT => {
                let inner = depth.checked_sub(1).ok_or(MALFORMED)?;
                self.fields(inner, &mut |reader, _, kind| reader.skip(kind, inner))
            }
            _ => Err(MALFORMED),
        }
    }

    /// As `skip`, where a boolean has a byte of its own and lists in lists count as depth.
    fn skip_item(&mut self, kind: u8, depth: usize) -> Checked<()> {
        match kind {
            TRUE | FALSE => self.advance(1),
            LIST | SET | MAP => self.skip(kind, depth.checked_sub(1).ok_or(MALFORMED)?),
            _ => self.skip(kind, depth),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A footer with a schema of elements that claim so many children.
    fn footer(children: &[i64]) -> Vec<u8> {
        let varint = |out: &mut Vec<u8>, mut value: u64| {
            while value >= 0x80 {
                out.push(value as u8 | 0x80);
                value >>= 7;
            }
            out.push(value as u8);
        };
        let mut out = vec![0x15, 2, 0x19, 0xf0 | STRUCT];
        varint(&mut out, children.len() as u64);
        for &count in children {
            out.extend([0x48, 1, b'n', 0x15]);
            varint(&mut out, ((count << 1) ^ (count >> 63)) as u64);
            out.push(0);
        }
        out.extend([0x16, 6, 0x19, STRUCT, 0]);
        out
    }

    #[test]
    fn trees() {
        for good in [&[2, 0, 0][..], &[1, 1, 0], &[0], &[2, 1, 0, 1, 0]] {
            assert_eq!(check(&footer(good)), Ok(()), "{good:?}");
        }
        for bad in [&[i64::from(i32::MAX), 0][..], &[2, 0], &[-1, 0], &[1, 5, 0]] {
            assert!(check(&footer(bad)).is_err(), "{bad:?}");
        }
        let deep: Vec<i64> = (0..100).map(|at| i64::from(at < 99)).collect();
        assert!(check(&footer(&deep)).is_err());
        let wide: Vec<i64> = (0..1000).map(|at| if at == 0 { 999 } else { 0 }).collect();
        assert_eq!(check(&footer(&wide)), Ok(()));
    }

    #[test]
    fn no_bytes_are_a_panic() {
        let whole = footer(&[2, 1, 0, 0]);
        for end in 0..whole.len() {
            assert!(check(&whole[..end]).is_err());
        }
        for at in 0..whole.len() {
            for byte in 0..=255 {
                let mut bytes = whole.clone();
                bytes[at] = byte;
                let _ = check(&bytes);
            }
        }
        // Structs in structs, lists in lists, and a list of as many empty structs as there can be numbers.
        assert!(check(&[0x3c; 100_000]).is_err());
        assert!(check(&[&[0x39_u8][..], &[0x19; 100_000]].concat()).is_err());
        assert!(check(&[0x39, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x0f]).is_err());
    }
}
