//! Checks a Parquet footer, and structures apart from it, before they are decoded.
//!
//! The decoder trusts two things in a footer, which anybody may have written: it reserves memory for as many
//! children as a group claims, and follows nested groups by recursion. Neither failure can be caught, so both
//! are checked here. Encrypted columns, which the decoder does not know, are found here too. The footer is a
//! Thrift struct in the compact protocol, whose field 2 lists the schema's elements depth first
//! (parquet.thrift, FileMetaData).

use super::thrift::{Checked, DEEPEST, I32, LIST, MALFORMED, Reader, STRUCT};

/// The deepest nesting of groups in a schema, its root included: what pyarrow reads, and deeper than what is
/// exported (`types::arrow::MAX_NESTING`, where a list is two groups).
const DEEPEST_SCHEMA: usize = 98;

/// Checks the bytes between the last row group and the footer's length. Returns which of Parquet's columns are
/// encrypted in a row group, up to the last that is.
pub fn check(footer: &[u8]) -> Checked<Vec<bool>> {
    const SCHEMA: i64 = 2;
    const ROW_GROUPS: i64 = 4;
    let (mut children, mut encrypted) = (Vec::new(), Vec::new());
    Reader { rest: footer }.fields(DEEPEST, &mut |reader, field, kind| match (field, kind) {
        (SCHEMA, LIST) => reader.structs(&mut |reader| {
            children.push(children_of(reader)?);
            Ok(())
        }),
        (ROW_GROUPS, LIST) => reader.structs(&mut |reader| look_at_group(reader, &mut encrypted)),
        _ => reader.skip(kind, DEEPEST),
    })?;
    check_tree(&children)?;
    Ok(encrypted)
}

/// Returns how many children a schema element claims.
fn children_of(reader: &mut Reader) -> Checked<i64> {
    const NUM_CHILDREN: i64 = 5;
    let mut count = 0;
    reader.fields(DEEPEST, &mut |reader, field, kind| match (field, kind) {
        (NUM_CHILDREN, I32) => {
            count = reader.int()?;
            Ok(())
        }
        _ => reader.skip(kind, DEEPEST),
    })?;
    Ok(count)
}

fn look_at_group(reader: &mut Reader, encrypted: &mut Vec<bool>) -> Checked<()> {
    const COLUMNS: i64 = 1;
    let mut columns = 0..;
    reader.fields(DEEPEST, &mut |reader, field, kind| match (field, kind) {
        (COLUMNS, LIST) => {
            reader.structs(&mut |reader| look_at_chunk(reader, columns.next().unwrap_or(0), encrypted))
        }
        _ => reader.skip(kind, DEEPEST),
    })
}

fn look_at_chunk(reader: &mut Reader, column: usize, encrypted: &mut Vec<bool>) -> Checked<()> {
    const CRYPTO_METADATA: i64 = 8;
    reader.fields(DEEPEST, &mut |reader, field, kind| {
        if (field, kind) == (CRYPTO_METADATA, STRUCT) {
            encrypted.resize(encrypted.len().max(column + 1), false);
            encrypted[column] = true;
        }
        reader.skip(kind, DEEPEST)
    })
}

/// Returns the length of a Bloom filter's header, and that of the bits after it (parquet.thrift,
/// BloomFilterHeader). The decoder checks the rest.
pub fn bloom_header(bytes: &[u8]) -> Checked<(usize, usize)> {
    const NUM_BYTES: i64 = 1;
    let mut bits = None;
    let mut reader = Reader { rest: bytes };
    reader.fields(DEEPEST, &mut |reader, field, kind| match (field, kind) {
        (NUM_BYTES, I32) => {
            bits = Some(reader.int()?);
            Ok(())
        }
        _ => reader.skip(kind, DEEPEST),
    })?;
    let bits = bits.and_then(|bits| usize::try_from(bits).ok()).ok_or(MALFORMED)?;
    Ok((bytes.len() - reader.rest.len(), bits))
}

/// Checks that a page index (parquet.thrift, ColumnIndex or OffsetIndex) has all the items that its lists
/// claim, for which the decoder reserves memory.
pub fn check_lists(bytes: &[u8]) -> Checked<()> {
    const NULL_PAGES: i64 = 1;
    Reader { rest: bytes }.fields(DEEPEST, &mut |reader, field, kind| match (field, kind) {
        (NULL_PAGES, LIST) if reader.skip_booleans()? => Ok(()),
        _ => reader.skip(kind, DEEPEST),
    })
}

/// Checks the schema's nesting. `children` has the number that each element claims, depth first.
fn check_tree(children: &[i64]) -> Checked<()> {
    // For each open group, how many children are still to come.
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
        if open.len() > DEEPEST_SCHEMA {
            return Err("unsupported: its schema has more groups in groups than can be read");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A footer with a schema whose elements claim so many children.
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
            assert_eq!(check(&footer(good)), Ok(Vec::new()), "{good:?}");
        }
        for bad in [&[i64::from(i32::MAX), 0][..], &[2, 0], &[-1, 0], &[1, 5, 0]] {
            assert!(check(&footer(bad)).is_err(), "{bad:?}");
        }
        let deep: Vec<i64> = (0..100).map(|at| i64::from(at < 99)).collect();
        assert!(check(&footer(&deep)).is_err());
        let wide: Vec<i64> = (0..1000).map(|at| if at == 0 { 999 } else { 0 }).collect();
        assert_eq!(check(&footer(&wide)), Ok(Vec::new()));
    }

    /// Field 9, a list of three booleans, precedes the schema, which the decoder takes for the list's end.
    #[test]
    fn booleans_in_a_list() {
        let list = [0x99, 0x31, 1, 2, 1];
        let unknown = [&list[..], &[0x05, 2], &footer(&[0])[..]].concat();
        assert!(check(&unknown).is_err_and(|why| why.contains("booleans")));
        // In a page index it is the first field; the next is empty here.
        assert_eq!(check_lists(&[0x19, 0x31, 1, 2, 1, 0x19, 0x08, 0]), Ok(()));
        assert!(check_lists(&[0x19, 0x41, 1, 2, 1]).is_err());
        assert!(check_lists(&[&[0x19, 0x31, 1, 2, 1][..], &list, &[0]].concat()).is_err());
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
        // Nested structs, nested lists, and a list of as many empty structs as a count can state.
        assert!(check(&[0x3c; 100_000]).is_err());
        assert!(check(&[&[0x39_u8][..], &[0x19; 100_000]].concat()).is_err());
        assert!(check(&[0x39, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x0f]).is_err());
    }
}
