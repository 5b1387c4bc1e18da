// Loads from any address of a buffer, by aligned words: shared and global memory are read four bytes at a time.
//
// A buffer starts at a multiple of 16 and may be read up to its length rounded up to 16. Each load names the
// last byte that the value has: words after that byte's are not read, and what is loaded in their place has no
// meaning.
#pragma once
#include "types.cuh"

DEVICE u32 word(const u8 *base, u32 index) { return reinterpret_cast<const u32 *>(base)[index]; }

// The 32 bits from bit `shift` (0 to 31) of `high : low`.
DEVICE u32 funnel(u32 low, u32 high, u32 shift) {
#ifdef HOST_BUILD
    return static_cast<u32>((static_cast<u64>(high) << 32 | low) >> shift);
#else
    return __funnelshift_r(low, high, shift);
#endif
}

DEVICE u32 swap32(u32 value) {
#ifdef HOST_BUILD
    return __builtin_bswap32(value);
#else
    return __byte_perm(value, 0, 0x0123);
#endif
}

// Swaps the bytes in each 16-bit half.
DEVICE u32 swap16x2(u32 value) {
#ifdef HOST_BUILD
    return (value & 0x00FF00FF) << 8 | (value >> 8 & 0x00FF00FF);
#else
    return __byte_perm(value, 0, 0x2301);
#endif
}

DEVICE u64 pair(u32 low, u32 high) { return static_cast<u64>(high) << 32 | low; }

DEVICE u32 load8(const u8 *base, u32 at) { return base[at]; }

DEVICE u32 load32(const u8 *base, u32 at, u32 last) {
    u32 first = at >> 2;
    return funnel(word(base, first), word(base, least(first + 1, last >> 2)), (at & 3) * 8);
}

DEVICE u64 load64(const u8 *base, u32 at, u32 last) {
    u32 first = at >> 2, end = last >> 2, shift = (at & 3) * 8;
    u32 a = word(base, first), b = word(base, least(first + 1, end)), c = word(base, least(first + 2, end));
    return pair(funnel(a, b, shift), funnel(b, c, shift));
}

// Sixteen bytes in `low` and `high`.
DEVICE void load128(const u8 *base, u32 at, u32 last, u64 &low, u64 &high) {
    u32 first = at >> 2, end = last >> 2, shift = (at & 3) * 8;
    u32 a = word(base, first), b = word(base, least(first + 1, end)), c = word(base, least(first + 2, end));
    u32 d = word(base, least(first + 3, end)), e = word(base, least(first + 4, end));
    low = pair(funnel(a, b, shift), funnel(b, c, shift));
    high = pair(funnel(c, d, shift), funnel(d, e, shift));
}

// 16 bits in the order of the format: WIRE is network order, the heap is little-endian.
template <bool WIRE> DEVICE u32 load16(const u8 *base, u32 at) {
    u32 first = base[at], second = base[at + 1];
    return WIRE ? first << 8 | second : second << 8 | first;
}

// The last of `count` ascending numbers from `from` that is at most `wanted`; `from` when none is.
DEVICE u32 last_at_most(const u32 *numbers, u32 from, u32 count, u32 wanted) {
    while (count > 1) {
        u32 half = count / 2;
        bool upper = numbers[from + half] <= wanted;
        from = upper ? from + half : from;
        count = upper ? count - half : half;
    }
    return from;
}
