//! The places of the tuples on a heap page (src/include/storage/bufpage.h and itemid.h).

use super::le_u32;

/// `SizeOfPageHeaderData`, after which the line pointers start.
const PAGE_HEADER: usize = 24;
/// `sizeof(ItemIdData)`.
const LINE_POINTER: usize = 4;
/// `LP_NORMAL`: the line pointer has storage and is in use.
const LP_NORMAL: u32 = 1;

/// Returns the offset and length within `page` of the tuple of line pointer `offnum`, which counts from 1.
///
/// Returns `None` if the pointer is not on the page, is not in normal use, or leads outside the page. The caller's
/// list of visible tuples says which pointers to read, since `pd_lower` may be torn in a copy.
#[inline]
pub fn line_pointer(page: &[u8], offnum: u16) -> Option<(u16, u16)> {
    let index = usize::from(offnum.checked_sub(1)?);
    let word = le_u32(page, PAGE_HEADER + index * LINE_POINTER)?;
    // The bit fields of ItemIdData, from the lowest bit: lp_off:15, lp_flags:2, lp_len:15.
    let (offset, flags, len) = (word & 0x7FFF, word >> 15 & 3, word >> 17);
    let inside = (offset + len) as usize <= page.len();
    (flags == LP_NORMAL && inside).then_some((offset as u16, len as u16))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page_with(word: u32) -> Vec<u8> {
        let mut page = vec![0; 8192];
        page[28..32].copy_from_slice(&word.to_le_bytes());
        page
    }

    #[test]
    fn reads_the_bit_fields() {
        // Offset 8152, LP_NORMAL, length 40: 40 << 17 | 1 << 15 | 8152.
        let page = page_with(40 << 17 | 1 << 15 | 8152);
        assert_eq!(line_pointer(&page, 2), Some((8152, 40)));
        assert_eq!(line_pointer(&page, 1), None, "LP_UNUSED");
    }

    #[test]
    fn refuses_what_is_not_a_tuple_on_this_page() {
        for flags in [0, 2, 3] {
            assert_eq!(line_pointer(&page_with(40 << 17 | flags << 15 | 8152), 2), None);
        }
        assert_eq!(line_pointer(&page_with(41 << 17 | 1 << 15 | 8152), 2), None, "past the end");
        assert_eq!(line_pointer(&page_with(0), 0), None, "offset numbers start at 1");
        assert_eq!(line_pointer(&[0; 24], 1), None);
        assert_eq!(line_pointer(&[], u16::MAX), None);
    }
}
