//! Varlenas with short headers, which most are: eight tuples at a time, where the processor can (AVX2).

use crate::types::Cell;

/// Tuples that are moved together.
pub(super) const LANES: usize = 8;

/// Moves tuples past a varlena that is next in each of them, and writes the cells of the payloads if `OUT`. Returns how
/// many tuples that were, from the first one: it stops before the first eight of which one has no plain varlena with a
/// short header within its tuple.
pub(super) fn walk<const OUT: bool>(arena: &[u8], pos: &mut [u32], end: &[u32], out: &mut [Cell]) -> usize {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        return unsafe { x86::walk::<OUT>(arena, pos, end, out) };
    }
    let _ = (arena, pos, end, out);
    0
}

#[cfg(target_arch = "x86_64")]
#[allow(clippy::missing_safety_doc, reason = "all that the functions need is a processor that has AVX2")]
mod x86 {
    use std::arch::x86_64::*;

    use super::LANES;
    use crate::types::Cell;

    #[target_feature(enable = "avx2")]
    pub fn walk<const OUT: bool>(arena: &[u8], pos: &mut [u32], end: &[u32], out: &mut [Cell]) -> usize {
        // Positions are gathered as signed numbers, and four bytes from each.
        let Some(last) = arena.len().min(i32::MAX as usize).checked_sub(4) else { return 0 };
        let (pos, end, mut out) =
            (pos.as_chunks_mut().0, end.as_chunks().0, out.as_chunks_mut().0.iter_mut());
        let mut done = 0;
        for (pos, end) in pos.iter_mut().zip(end) {
            let Some((start, len)) = step(arena, last as u32, pos, end) else { break };
            if OUT && let Some(cells) = out.next() {
                write(start, len, cells);
            }
            done += LANES;
        }
        done
    }

    /// Moves eight tuples; returns where the payloads are and how long. `last` is the last place with four bytes.
    #[target_feature(enable = "avx2")]
    fn step(
        arena: &[u8],
        last: u32,
        pos: &mut [u32; LANES],
        end: &[u32; LANES],
    ) -> Option<(__m256i, __m256i)> {
        // SAFETY: both arrays have 32 bytes.
        let (at, end) =
            unsafe { (_mm256_loadu_si256(pos.as_ptr().cast()), _mm256_loadu_si256(end.as_ptr().cast())) };
        let one = _mm256_set1_epi32(1);
        if !all(is_at_most(at, _mm256_set1_epi32(last as i32))) {
            return None;
        }
        // SAFETY: four bytes from each place lie in the arena, and no place has the highest bit set.
        let words = unsafe { _mm256_i32gather_epi32::<1>(arena.as_ptr().cast(), at) };
        // VARATT_IS_1B: the lowest bit is set, and the others are the length, header included. If that is 0, it is a TOAST
        // pointer.
        let first = _mm256_and_si256(words, _mm256_set1_epi32(0xff));
        let length = _mm256_srli_epi32::<1>(first);
        let next = _mm256_add_epi32(at, length);
        let is_short = _mm256_cmpeq_epi32(_mm256_and_si256(first, one), one);
        let has_length = _mm256_cmpgt_epi32(length, _mm256_setzero_si256());
        let is_plain = _mm256_and_si256(is_short, has_length);
        if !all(_mm256_and_si256(is_plain, is_at_most(next, end))) {
            return None;
        }
        // SAFETY: the array has 32 bytes.
        unsafe { _mm256_storeu_si256(pos.as_mut_ptr().cast(), next) };
        Some((_mm256_add_epi32(at, one), _mm256_sub_epi32(length, one)))
    }

    /// Compares unsigned numbers.
    #[target_feature(enable = "avx2")]
    fn is_at_most(a: __m256i, b: __m256i) -> __m256i {
        _mm256_cmpeq_epi32(_mm256_min_epu32(a, b), a)
    }

    #[target_feature(enable = "avx2")]
    fn all(mask: __m256i) -> bool {
        _mm256_movemask_epi8(mask) == -1
    }

    /// Writes cells: each is a place and a length.
    #[target_feature(enable = "avx2")]
    fn write(start: __m256i, len: __m256i, cells: &mut [Cell; LANES]) {
        let (low, high) = (_mm256_unpacklo_epi32(start, len), _mm256_unpackhi_epi32(start, len));
        let first = _mm256_permute2x128_si256::<0x20>(low, high);
        let second = _mm256_permute2x128_si256::<0x31>(low, high);
        let at = cells.as_mut_ptr().cast::<__m256i>();
        // SAFETY: eight cells have 64 bytes, and any two words are a cell.
        unsafe {
            _mm256_storeu_si256(at, first);
            _mm256_storeu_si256(at.add(1), second);
        }
    }
}
