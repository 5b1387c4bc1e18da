//! Bit packing, varints and the RLE/bit-packed hybrid (Encodings.md).
//!
//! ```text
//! hybrid   := run*
//! run      := rle-run | packed-run
//! rle-run  := varint(count << 1), the value in ceil(width / 8) bytes
//! packed   := varint(groups << 1 | 1), groups * 8 values of `width` bits, least significant bit first
//! ```

/// Returns the number of bits that `value` needs.
pub fn width_of(value: u64) -> usize {
    (u64::BITS - value.leading_zeros()) as usize
}

/// Appends `value` as ULEB128.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub fn put_zigzag(out: &mut Vec<u8>, value: i64) {
    put_varint(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Appends `values`, each of `width` bits, to `out`. The last group of eight is filled up with zeros.
pub fn pack<T: Copy + Default + Into<u64>>(values: &[T], width: usize, out: &mut Vec<u8>) {
    let (groups, rest) = values.as_chunks::<8>();
    pack_groups(groups, width, out);
    if !rest.is_empty() {
        let mut last = [T::default(); 8];
        last[..rest.len()].copy_from_slice(rest);
        pack_groups(&[last], width, out);
    }
}

fn pack_groups<T: Copy + Into<u64>>(groups: &[[T; 8]], width: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + groups.len() * width, 0);
    let out = &mut out[start..];
    // One copy of the loop per width: every shift is a constant and the eight steps unroll.
    macro_rules! by_width {
        ($($w:literal)*) => {
            match width {
                0 => {}
                $($w => {
                    for (group, bytes) in groups.iter().zip(out.as_chunks_mut::<$w>().0) {
                        pack8::<T, $w>(group, bytes);
                    }
                })*
                _ => unreachable!("no value has more than 64 bits"),
            }
        };
    }
    by_width!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32
              33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61
              62 63 64);
}

#[inline(always)]
fn pack8<T: Copy + Into<u64>, const W: usize>(group: &[T; 8], out: &mut [u8; W]) {
    let mut word = 0u64;
    let mut filled = 0;
    let mut at = 0;
    for &value in group {
        let value: u64 = value.into();
        word |= value << filled;
        filled += W;
        if filled >= 64 {
            out[at..at + 8].copy_from_slice(&word.to_le_bytes());
            at += 8;
            filled -= 64;
            word = if filled == 0 { 0 } else { value >> (W - filled) };
        }
    }
    out[at..].copy_from_slice(&word.to_le_bytes()[..W - at]);
}

/// The number of equal values from which an RLE run is smaller at every width. At width 1 its three bytes of header
/// and value replace as many bytes of packed bits and the header of the next packed run.
const MIN_RUN: usize = 32;

/// The length of a stretch of equal values from which it becomes an RLE run. Wherever the stretch begins, at least
/// `MIN_RUN` of its values follow the start of a group of eight. kernels/hybrid.cuh has the same number.
const MIN_STRETCH: usize = MIN_RUN + 7;

/// Appends `values` as a hybrid of `width` bits, without a length.
pub fn put_hybrid(values: &[u32], width: usize, out: &mut Vec<u8>) {
    put_runs(values, width, out, |values, out| pack(values, width, out));
}

/// Appends `flags`, which are 0 or 1, as a hybrid of width 1, without a length.
pub fn put_hybrid_flags(flags: &[u8], out: &mut Vec<u8>) {
    put_runs(flags, 1, out, pack_flags);
}

fn put_runs<T: Copy + PartialEq + Into<u32>>(
    values: &[T],
    width: usize,
    out: &mut Vec<u8>,
    pack: impl Fn(&[T], &mut Vec<u8>),
) {
    let put_packed = |values: &[T], out: &mut Vec<u8>| {
        if !values.is_empty() {
            put_varint(out, (values.len().div_ceil(8) as u64) << 1 | 1);
            pack(values, out);
        }
    };
    let (mut at, mut packed_from) = (0, 0);
    // A packed run holds whole groups, so a run can only start where a group does.
    while let Some(head) = values.get(at..at + MIN_RUN) {
        let first = head[0];
        if head.iter().fold(false, |differ, &v| differ | (v != first)) {
            at += 8;
            continue;
        }
        let run = values[at..].iter().take_while(|&&v| v == first).count();
        let before = values[packed_from..at].iter().rev().take_while(|&&v| v == first).count();
        if before + run < MIN_STRETCH {
            at += run / 8 * 8;
            continue;
        }
        put_packed(&values[packed_from..at], out);
        put_rle_run(first.into(), run, width, out);
        at += run;
        packed_from = at;
    }
    put_packed(&values[packed_from..], out);
}

/// Appends dictionary indices: a byte with their width, then the hybrid (Encodings.md, RLE_DICTIONARY).
pub fn put_indices(indices: &[u32], entries: usize, out: &mut Vec<u8>) {
    // A width of 0 is legal for a single entry, but not every reader handles it.
    let width = width_of(entries.saturating_sub(1) as u64).max(1);
    out.push(width as u8);
    put_hybrid(indices, width, out);
}

pub fn put_rle_run(value: u32, count: usize, width: usize, out: &mut Vec<u8>) {
    put_varint(out, (count as u64) << 1);
    out.extend_from_slice(&value.to_le_bytes()[..width.div_ceil(8)]);
}

/// Appends one bit per byte of `flags`, which are 0 or 1, least significant bit first.
pub fn pack_flags(flags: &[u8], out: &mut Vec<u8>) {
    // The product moves bit 0 of byte i to bit 56 + i and nothing else into the top byte.
    let gather = |group: [u8; 8]| {
        ((u64::from_le_bytes(group) & 0x0101_0101_0101_0101).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8
    };
    let (groups, rest) = flags.as_chunks::<8>();
    out.extend(groups.iter().map(|&group| gather(group)));
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        out.push(gather(last));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unpack(bytes: &[u8], width: usize, count: usize) -> Vec<u64> {
        let bit = |i: usize| u64::from(bytes[i / 8] >> (i % 8) & 1);
        (0..count).map(|i| (0..width).fold(0, |v, b| v | bit(i * width + b) << b)).collect()
    }

    fn read_hybrid(mut bytes: &[u8], width: usize, count: usize) -> Vec<u32> {
        let mut values = Vec::new();
        while values.len() < count {
            let (mut header, mut shift) = (0usize, 0);
            loop {
                let byte = bytes[0];
                bytes = &bytes[1..];
                header |= usize::from(byte & 0x7f) << shift;
                shift += 7;
                if byte < 0x80 {
                    break;
                }
            }
            if header & 1 == 1 {
                let len = (header >> 1) * width;
                let run = unpack(&bytes[..len], width, (header >> 1) * 8);
                values.extend(run.iter().map(|&v| v as u32));
                bytes = &bytes[len..];
            } else {
                let mut value = [0; 4];
                value[..width.div_ceil(8)].copy_from_slice(&bytes[..width.div_ceil(8)]);
                bytes = &bytes[width.div_ceil(8)..];
                values.extend(std::iter::repeat_n(u32::from_le_bytes(value), header >> 1));
            }
        }
        assert!(bytes.is_empty());
        assert!(values[count..].iter().all(|&v| v == 0));
        values.truncate(count);
        values
    }

    /// A stretch becomes a run from the first group that begins in it.
    #[test]
    fn where_runs_begin() {
        for before in 0..9 {
            for stretch in [MIN_STRETCH - 1, MIN_STRETCH, MIN_STRETCH + 1] {
                let values: Vec<u32> =
                    (10..10 + before).chain([7; 60][..stretch].iter().copied()).chain([1]).collect();
                let mut out = Vec::new();
                put_hybrid(&values, 5, &mut out);
                let groups = before.div_ceil(8) as usize;
                let expected = match stretch {
                    38 => 1 + values.len().div_ceil(8) * 5,
                    _ => usize::from(groups > 0) + groups * 5 + 2 + 1 + 5,
                };
                assert_eq!(out.len(), expected, "{stretch} behind {before}");
                assert_eq!(read_hybrid(&out, 5, values.len()), values);
            }
        }
    }

    proptest! {
        #[test]
        fn packed_bits_come_back(width in 0usize..=64, seeds in prop::collection::vec(any::<u64>(), 0..100)) {
            let mask = if width == 64 { u64::MAX } else { (1 << width) - 1 };
            let values: Vec<u64> = seeds.iter().map(|s| s & mask).collect();
            let mut out = Vec::new();
            pack(&values, width, &mut out);
            prop_assert_eq!(out.len(), values.len().div_ceil(8) * width);
            prop_assert_eq!(unpack(&out, width, values.len()), values);
        }

        #[test]
        fn hybrid_runs_come_back(width in 1usize..=20, runs in prop::collection::vec((any::<u32>(), 1usize..80), 0..40)) {
            let values: Vec<u32> = runs.iter()
                .flat_map(|&(v, n)| std::iter::repeat_n(v & ((1 << width) - 1), n)).collect();
            let mut out = Vec::new();
            put_hybrid(&values, width, &mut out);
            prop_assert_eq!(read_hybrid(&out, width, values.len()), values);
        }

        #[test]
        fn hybrid_flags_come_back(runs in prop::collection::vec((0u8..2, 1usize..80), 0..40)) {
            let flags: Vec<u8> = runs.iter().flat_map(|&(v, n)| std::iter::repeat_n(v, n)).collect();
            let mut out = Vec::new();
            put_hybrid_flags(&flags, &mut out);
            let back = read_hybrid(&out, 1, flags.len());
            prop_assert!(back.iter().zip(&flags).all(|(&a, &b)| a == u32::from(b)));
            let mut packed = Vec::new();
            put_hybrid(&flags.iter().map(|&flag| flag.into()).collect::<Vec<u32>>(), 1, &mut packed);
            prop_assert_eq!(out, packed);
        }

        #[test]
        fn flags_come_back(flags in prop::collection::vec(0u8..2, 0..100)) {
            let mut out = Vec::new();
            pack_flags(&flags, &mut out);
            let back = unpack(&out, 1, flags.len());
            prop_assert!(back.iter().zip(&flags).all(|(&a, &b)| a == u64::from(b)));
        }
    }
}
