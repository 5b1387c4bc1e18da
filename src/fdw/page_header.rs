//! Headers of Parquet's pages (parquet.thrift, PageHeader).

use bytes::Bytes;
use parquet::basic::Encoding;
use parquet::column::page::{Page, PageMetadata};

use super::error::Result;
use super::source::Source;
use super::thrift::{Checked, DEEPEST, FALSE, I32, MALFORMED, Reader, STRUCT, TRUE};

/// The integers and booleans of a struct, by the numbers of their fields.
type Numbers = [Option<i64>; 9];

pub struct PageHeader {
    pub length: usize,
    /// Bytes after the header.
    pub body: usize,
    /// Length of those bytes unpacked.
    pub unpacked: usize,
    pub checksum: Option<u32>,
    pub kind: Kind,
}

pub enum Kind {
    Dictionary(Numbers),
    Data(Numbers),
    DataV2(Numbers),
    /// A page that holds no values.
    Other,
}

impl PageHeader {
    /// Reads the header at an offset in a chunk that ends at `end`. Headers may contain statistics: a least and
    /// a greatest value.
    pub fn read(source: &Source, offset: u64, end: u64) -> Result<Checked<PageHeader>> {
        const ROOMS: [u64; 4] = [1 << 9, 1 << 16, 1 << 24, u64::MAX];
        let left = end.min(source.id().size).saturating_sub(offset);
        let mut found = Err(MALFORMED);
        for room in ROOMS {
            let bytes = source.read_at(offset, room.min(left) as usize)?;
            found = PageHeader::parse(&bytes);
            if found.is_ok() || room >= left {
                break;
            }
        }
        Ok(found)
    }

    pub fn parse(bytes: &[u8]) -> Checked<PageHeader> {
        const DATA_PAGE_HEADER: i64 = 5;
        const DICTIONARY_PAGE_HEADER: i64 = 7;
        const DATA_PAGE_HEADER_V2: i64 = 8;
        let (mut own, mut data, mut dictionary, mut v2) = ([None; 9], None, None, None);
        let mut reader = Reader { rest: bytes };
        reader.fields(DEEPEST, &mut |reader, field, kind| {
            let part = match (field, kind) {
                (DATA_PAGE_HEADER, STRUCT) => &mut data,
                (DICTIONARY_PAGE_HEADER, STRUCT) => &mut dictionary,
                (DATA_PAGE_HEADER_V2, STRUCT) => &mut v2,
                _ => return number(reader, field, kind, &mut own),
            };
            let numbers = part.insert([None; 9]);
            reader.fields(DEEPEST, &mut |reader, field, kind| number(reader, field, kind, numbers))
        })?;
        let [_, page_type, unpacked, body, checksum, ..] = own;
        let size = |size: Option<i64>| size.and_then(|size| usize::try_from(size).ok()).ok_or(MALFORMED);
        let kind = match page_type.ok_or(MALFORMED)? {
            0 => Kind::Data(data.ok_or(MALFORMED)?),
            2 => Kind::Dictionary(dictionary.ok_or(MALFORMED)?),
            3 => Kind::DataV2(v2.ok_or(MALFORMED)?),
            _ => Kind::Other,
        };
        Ok(PageHeader {
            length: bytes.len() - reader.rest.len(),
            body: size(body)?,
            unpacked: size(unpacked)?,
            checksum: checksum.map(|checksum| checksum as u32),
            kind,
        })
    }

    /// Returns the number of values of a data page, NULL and not NULL.
    pub fn values(&self) -> Option<i64> {
        match &self.kind {
            Kind::Data(numbers) | Kind::DataV2(numbers) => numbers[1],
            _ => None,
        }
    }

    pub fn metadata(&self) -> PageMetadata {
        let count = |number: Option<i64>| number.and_then(|number| usize::try_from(number).ok());
        let (num_rows, is_dict) = match &self.kind {
            Kind::DataV2(numbers) => (count(numbers[3]), false),
            kind => (None, matches!(kind, Kind::Dictionary(_))),
        };
        PageMetadata { num_rows, num_levels: count(self.values()), is_dict }
    }

    /// Returns the length of the levels before the values, which are never packed, and whether the values are.
    pub fn packing(&self) -> Checked<(usize, bool)> {
        match &self.kind {
            Kind::DataV2(numbers) => {
                let levels = count(numbers[5])?.checked_add(count(numbers[6])?).ok_or(MALFORMED)?;
                Ok((levels as usize, numbers[7] != Some(0)))
            }
            _ => Ok((0, true)),
        }
    }

    /// Makes the page from its bytes, which were read and unpacked.
    pub fn page(&self, buf: Bytes) -> Checked<Page> {
        Ok(match &self.kind {
            Kind::Dictionary(numbers) => Page::DictionaryPage {
                buf,
                num_values: count(numbers[1])?,
                encoding: encoding(numbers[2])?,
                is_sorted: numbers[3] == Some(1),
            },
            Kind::Data(numbers) => Page::DataPage {
                buf,
                num_values: count(numbers[1])?,
                encoding: encoding(numbers[2])?,
                def_level_encoding: encoding(numbers[3])?,
                rep_level_encoding: encoding(numbers[4])?,
                statistics: None,
            },
            Kind::DataV2(numbers) => Page::DataPageV2 {
                buf,
                num_values: count(numbers[1])?,
                num_nulls: count(numbers[2])?,
                num_rows: count(numbers[3])?,
                encoding: encoding(numbers[4])?,
                def_levels_byte_len: count(numbers[5])?,
                rep_levels_byte_len: count(numbers[6])?,
                is_compressed: numbers[7] != Some(0),
                statistics: None,
            },
            Kind::Other => return Err(MALFORMED),
        })
    }
}

fn number(reader: &mut Reader, field: i64, kind: u8, numbers: &mut Numbers) -> Checked<()> {
    let value = match kind {
        I32 => reader.int()?,
        TRUE => 1,
        FALSE => 0,
        _ => return reader.skip(kind, DEEPEST),
    };
    if let Some(place) = usize::try_from(field).ok().and_then(|field| numbers.get_mut(field)) {
        *place = Some(value);
    }
    Ok(())
}

fn count(number: Option<i64>) -> Checked<u32> {
    // The format's numbers are signed.
    let number = number.and_then(|number| i32::try_from(number).ok());
    number.and_then(|number| u32::try_from(number).ok()).ok_or(MALFORMED)
}

fn encoding(number: Option<i64>) -> Checked<Encoding> {
    let known = Encoding::VARIANTS.iter().find(|known| Some(**known as i64) == number);
    known.copied().ok_or("unsupported: a page has an unknown encoding")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of a data page's header (parquet.thrift, PageHeader): its type, the unpacked size, the size in the file,
    /// and a DataPageHeader of no fields.
    fn header(unpacked: u64) -> Vec<u8> {
        let mut bytes = vec![0x15, 0, 0x15];
        let mut zigzag = unpacked << 1;
        while zigzag >= 0x80 {
            bytes.push(zigzag as u8 | 0x80);
            zigzag >>= 7;
        }
        bytes.extend([zigzag as u8, 0x15, 2, 0x2c, 0, 0]);
        bytes
    }

    #[test]
    fn sizes_have_32_bits() {
        let largest = i32::MAX as u64;
        for unpacked in [0, 1, 300, largest] {
            assert!(
                PageHeader::parse(&header(unpacked)).is_ok_and(|found| found.unpacked as u64 == unpacked)
            );
        }
        for unpacked in [largest + 1, 86_981_542_432, u64::MAX >> 1] {
            assert!(PageHeader::parse(&header(unpacked)).is_err());
        }
    }
}
