//! Short numerics of at most three digits of base 10000 at one scale: four at a time, where the processor can (AVX2).
//!
//! All others, malformed ones included, are left to `short_numeric` and `numeric`.

use crate::types::Cell;

/// Values that are read together.
pub const LANES: usize = 4;

/// Reads the cells of rows, numerics that show `scale` digits after the point, as multiples of `10^-scale`: `scale` is
/// `4 * GROUPS` less the zeros of `DIVISOR`. Returns how many were read, from the first row: it stops before the first
/// four of which one is NULL or has another form.
pub fn read<const GROUPS: i32, const DIVISOR: i64>(
    arena: &[u8],
    cells: &[Cell],
    rows: &[u32],
    scale: u8,
    out: &mut [i64],
) -> usize {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        return unsafe { x86::read::<GROUPS, DIVISOR>(arena, cells, rows, scale, out) };
    }
    let _ = (arena, cells, rows, scale, out);
    0
}

#[cfg(target_arch = "x86_64")]
#[allow(clippy::missing_safety_doc, reason = "all that the functions need is a processor that has AVX2")]
mod x86 {
    use std::arch::x86_64::*;

    use super::LANES;
    use crate::types::Cell;

    /// A header of two bytes and three digits.
    const WINDOW: usize = 8;

    #[target_feature(enable = "avx2")]
    pub fn read<const GROUPS: i32, const DIVISOR: i64>(
        arena: &[u8],
        cells: &[Cell],
        rows: &[u32],
        scale: u8,
        out: &mut [i64],
    ) -> usize {
        // Places are gathered as signed numbers.
        let Some(last) = arena.len().min(i32::MAX as usize).checked_sub(WINDOW) else { return 0 };
        let (rows, out) = (rows.as_chunks::<LANES>().0, out.as_chunks_mut::<LANES>().0);
        let mut done = 0;
        for (rows, out) in rows.iter().zip(out) {
            let four = rows.map(|row| cells[row as usize]);
            if four.iter().any(|cell| cell.is_null() || cell.pos as usize > last) {
                break;
            }
            let Some(values) = step::<GROUPS, DIVISOR>(arena, &four, scale) else { break };
            // SAFETY: four values have 32 bytes.
            unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), values) };
            done += LANES;
        }
        done
    }

    /// Reads four cells, from each of which `WINDOW` bytes lie in the arena.
    #[target_feature(enable = "avx2")]
    fn step<const GROUPS: i32, const DIVISOR: i64>(
        arena: &[u8],
        cells: &[Cell; LANES],
        scale: u8,
    ) -> Option<__m256i> {
        // SAFETY: four cells have 32 bytes.
        let cells = unsafe { _mm256_loadu_si256(cells.as_ptr().cast()) };
        let places = _mm256_and_si256(cells, _mm256_set1_epi64x(0xFFFF_FFFF));
        // SAFETY: the caller has checked that each place has as many bytes in the arena, and none its highest bit set.
        let windows = unsafe { _mm256_i64gather_epi64::<1>(arena.as_ptr().cast(), places) };
        let header = _mm256_and_si256(windows, _mm256_set1_epi64x(0xFFFF));
        // Sixteen bits for each digit.
        let bits =
            _mm256_slli_epi64::<3>(_mm256_sub_epi64(_mm256_srli_epi64::<32>(cells), _mm256_set1_epi64x(2)));
        let keep = _mm256_srlv_epi64(_mm256_set1_epi64x(-1), _mm256_sub_epi64(_mm256_set1_epi64x(64), bits));
        let digits = _mm256_and_si256(_mm256_srli_epi64::<16>(windows), keep);
        // The weight has seven bits in two's complement. `top` is how many digits follow the first one down to the last
        // of `GROUPS`.
        let sign = _mm256_set1_epi64x(0x40);
        let weight = _mm256_sub_epi64(
            _mm256_xor_si256(_mm256_and_si256(header, _mm256_set1_epi64x(0x7F)), sign),
            sign,
        );
        let top = _mm256_add_epi64(weight, _mm256_set1_epi64x(GROUPS.into()));
        let is_empty = _mm256_cmpeq_epi64(bits, _mm256_setzero_si256());
        // A zero has no digits, and any weight.
        let top = _mm256_andnot_si256(is_empty, top);
        let shift = _mm256_slli_epi64::<4>(_mm256_sub_epi64(_mm256_set1_epi64x(2), top));
        let digits = _mm256_sllv_epi64(digits, shift);
        // What the scale has no room for is divided off the last digit.
        let last = _mm256_and_si256(digits, _mm256_set1_epi64x(0xFFFF << 32));
        let (quotient, is_whole) = divide::<DIVISOR>(last);
        // The first two digits times 10000 and 1, added; the third is alone.
        let pairs = _mm256_madd_epi16(digits, _mm256_set1_epi64x(10_000 | 1 << 16));
        let value = _mm256_add_epi64(
            _mm256_mul_epu32(pairs, _mm256_set1_epi64x(10_000 / DIVISOR)),
            _mm256_srli_epi64::<32>(quotient),
        );
        let is_negative = negative(header);
        let value = _mm256_sub_epi64(_mm256_xor_si256(value, is_negative), is_negative);
        let all = [
            // NUMERIC_SHORT, and the scale.
            equal(header, 0xC000 | 0x1F80, 0x8000 | i64::from(scale) << 7),
            // Whole digits, of which there are at most three.
            equal(bits, !0x30, 0),
            // The first digit has one of three places, and none is behind the last one.
            equal(top, !3, 0),
            _mm256_cmpgt_epi64(_mm256_set1_epi64x(3), top),
            _mm256_cmpgt_epi64(_mm256_add_epi64(_mm256_slli_epi64::<4>(top), _mm256_set1_epi64x(17)), bits),
            _mm256_cmpeq_epi16(_mm256_min_epu16(digits, _mm256_set1_epi16(9999)), digits),
            is_whole,
        ];
        let all = all.into_iter().reduce(|a, b| _mm256_and_si256(a, b))?;
        (_mm256_movemask_epi8(all) == -1).then_some(value)
    }

    /// Returns all ones where the masked bits have a value.
    #[target_feature(enable = "avx2")]
    fn equal(of: __m256i, mask: i64, value: i64) -> __m256i {
        _mm256_cmpeq_epi64(_mm256_and_si256(of, _mm256_set1_epi64x(mask)), _mm256_set1_epi64x(value))
    }

    /// Returns all ones where the header's sign is negative.
    #[target_feature(enable = "avx2")]
    fn negative(header: __m256i) -> __m256i {
        equal(header, 0x2000, 0x2000)
    }

    /// Divides 16-bit numbers up to 9999; returns whether nothing is left over, too.
    #[target_feature(enable = "avx2")]
    fn divide<const DIVISOR: i64>(of: __m256i) -> (__m256i, __m256i) {
        // Rounded up reciprocals, exact for numbers of 14 bits.
        let quotient = match DIVISOR {
            1 => of,
            10 => _mm256_srli_epi16::<2>(_mm256_mulhi_epu16(of, _mm256_set1_epi16(26_215))),
            100 => _mm256_srli_epi16::<3>(_mm256_mulhi_epu16(of, _mm256_set1_epi16(5_243))),
            _ => _mm256_srli_epi16::<9>(_mm256_mulhi_epu16(of, _mm256_set1_epi16(33_555_u16 as i16))),
        };
        let product = _mm256_mullo_epi16(quotient, _mm256_set1_epi16(DIVISOR as i16));
        (quotient, _mm256_cmpeq_epi16(product, of))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::numeric::HeapNumeric;
    use proptest::prelude::*;

    #[test]
    fn divisions_are_exact() {
        for (divisor, reciprocal, shift) in [(10, 26_215_u32, 18), (100, 5_243, 19), (1000, 33_555, 25)] {
            for digit in 0..=9999 {
                assert_eq!((digit * reciprocal) >> shift, digit / divisor, "{digit} by {divisor}");
            }
        }
    }

    fn check<const GROUPS: i32, const DIVISOR: i64>(arena: &[u8], cells: &[Cell], rows: &[u32], scale: u8) {
        let mut out = vec![-7; rows.len()];
        let done = read::<GROUPS, DIVISOR>(arena, cells, rows, scale, &mut out);
        assert!(done.is_multiple_of(LANES));
        for (&row, &value) in rows.iter().zip(&out[..done]) {
            let bytes = cells[row as usize].bytes(arena).unwrap();
            let num = HeapNumeric::read(bytes).unwrap().finite().unwrap();
            assert!(num.check().is_ok() && num.dscale() == u16::from(scale));
            assert_eq!(num.to_i128_at(scale), Some(value.into()));
        }
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") && done + LANES <= rows.len() {
            // One of the next four is of another form.
            let is_plain = |row: &u32| {
                let cell = cells[*row as usize];
                let Some(bytes) = cell.bytes(arena) else { return false };
                let short = bytes.len() <= 8 && u16::from_le_bytes([bytes[0], bytes[1]]) & 0xC000 == 0x8000;
                let num = HeapNumeric::read(bytes).and_then(HeapNumeric::finite).ok();
                let fits = num.filter(|num| num.check().is_ok() && num.dscale() == u16::from(scale));
                let value = fits.and_then(|num| num.to_i128_at(scale));
                let in_three =
                    value.is_some_and(|value| value.abs() < 1_000_000_000_000 / i128::from(DIVISOR));
                short && in_three && cell.pos as usize + 8 <= arena.len()
            };
            // Leading zeros, which PostgreSQL never stores, may be refused.
            let has_zeros = |row: &u32| {
                cells[*row as usize]
                    .bytes(arena)
                    .is_some_and(|bytes| bytes.len() > 3 && bytes[2..4] == [0, 0])
            };
            let next = &rows[done..done + LANES];
            assert!(next.iter().any(|row| !is_plain(row) || has_zeros(row)));
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_general_reader(
            values in prop::collection::vec(
                (
                    prop_oneof![8 => Just(0x8000_u16), 1 => any::<u16>()],
                    prop_oneof![8 => Just(2_u16), 1 => 0_u16..10],
                    any::<bool>(),
                    -3_i16..4,
                    prop::collection::vec(prop_oneof![9 => 1_u16..10_000, 3 => (1_u16..100).prop_map(|n| n * 100), 1 => 0_u16..12_000], 0..5),
                    0_u8..20,
                ),
                4..40,
            ),
            tail in 0_usize..10,
        ) {
            let mut arena = vec![0; 5];
            let mut cells = Vec::new();
            for (form, scale, is_negative, weight, digits, odd) in &values {
                if *odd == 0 {
                    cells.push(Cell::NULL);
                    continue;
                }
                let sign = u16::from(*is_negative) << 13;
                let header = form & 0xC000 | scale << 7 | sign | weight.cast_unsigned() & 0x7F;
                let at = arena.len();
                arena.extend(header.to_le_bytes());
                arena.extend(digits.iter().flat_map(|digit| digit.to_le_bytes()));
                cells.push(Cell::new(at, arena.len() - at));
            }
            arena.extend(vec![9; tail]);
            for first in 0..4_u32 {
                for step in 1..3 {
                    let rows: Vec<u32> = (first..cells.len() as u32).step_by(step).collect();
                    check::<0, 1>(&arena, &cells, &rows, 0);
                    check::<1, 1000>(&arena, &cells, &rows, 1);
                    check::<1, 100>(&arena, &cells, &rows, 2);
                    check::<1, 10>(&arena, &cells, &rows, 3);
                    check::<1, 1>(&arena, &cells, &rows, 4);
                    check::<2, 100>(&arena, &cells, &rows, 6);
                    check::<2, 1>(&arena, &cells, &rows, 8);
                }
            }
        }
    }
}
