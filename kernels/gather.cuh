// The bytes of columns of varying length. The caller asks for 16 bytes of the column, which are put together from the
// values that they are part of.
#pragma once
#include "bytes.cuh"
#include "warp.cuh"

// Puts the first `bytes` (1 to 16) of `from_high : from_low` into `high : low`, from byte `place` on.
DEVICE void place_bytes(u64 from_low, u64 from_high, u32 bytes, u32 place, u64 &low, u64 &high) {
    if (bytes < 8) {
        from_low &= (1ull << 8 * bytes) - 1;
        from_high = 0;
    } else if (bytes < 16) {
        from_high &= (1ull << 8 * (bytes - 8)) - 1;
    }
    if (place == 0) {
        low |= from_low;
        high |= from_high;
    } else if (place < 8) {
        low |= from_low << 8 * place;
        high |= from_high << 8 * place | from_low >> (64 - 8 * place);
    } else {
        high |= from_low << 8 * (place - 8);
    }
}

// Bytes `at` (a multiple of 16) to `at + 16` of the column at `to`, of which [begin, end) are the tile's:
// those of `rows` values, value i from offsets[i] to offsets[i + 1], and at sources[i] in `input`.
DEVICE void gather16(const u8 *input, u8 *to, const u32 *offsets, const u32 *sources, u32 rows, u32 at,
                     u32 begin, u32 end) {
    const u32 first = at < begin ? begin : at, stop = least(end - at, 16) + at;
    u64 low = 0, high = 0;
    u32 row = last_at_most(offsets, 0, rows, first);
    for (u32 next = first; next < stop; row++) {
        u32 part = least(offsets[row + 1], stop) - next;
        if (part == 0) continue;
        u32 source = sources[row] + (next - offsets[row]);
        u64 from_low, from_high;
        load128(input, source, source + part - 1, from_low, from_high);
        place_bytes(from_low, from_high, part, next - at, low, high);
        next += part;
    }
    if (stop - first == 16) {
        store16(to + at, low, high);
        return;
    }
    for (u32 i = first; i < stop; i++) to[i] = u8((i - at < 8 ? low : high) >> 8 * (i - at) % 64);
}
