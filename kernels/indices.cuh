// Dictionary indices of a page (Encodings.md): the width in a byte, then the RLE / bit-packed hybrid.
#pragma once
#include "dictionary.cuh"
#include "plain.cuh"

// A page's indices without gaps.
struct Indices {
    const u32 *indices;
    u32 count, bit_width;

    DEVICE u32 width() const { return bit_width; }
    DEVICE u32 value(u32 at) const { return indices[at]; }
    DEVICE u32 bits(u32 from, u32 bit) const {
        u32 packed = 0;
        for (u32 i = bit / bit_width; i * bit_width < bit + 32 && from + i < count; i++) {
            const i32 shift = i32(i * bit_width) - i32(bit);
            packed |= shift < 0 ? indices[from + i] >> -shift : indices[from + i] << shift;
        }
        return packed;
    }
    DEVICE void mark(u32 *changes) const {
        for (u32 first = 0; first < count; first += WIDE) {
            const u32 at = first + thread();
            const u32 found = ballot(at < count && (at == 0 || indices[at] != indices[at - 1]));
            if (lane() == 0 && at < count) changes[at / 32] = found;
        }
    }
};

// Replaces the buckets of a page's rows by the indices of its values, moved together. `ranks`: shared, 33 words.
DEVICE void gather_indices(const Rows &rows, const u32 *table, u32 *codes, u32 *ranks) {
    constexpr u32 EACH = TILE / WIDE;
    u32 done = 0;
    for (u32 first = 0; first < rows.count(); first += TILE) {
        if (warp() == 0) {
            const u32 own = count_bits(rows.word(first / 32 + lane())), before = warp_scan(own);
            ranks[lane()] = done + before;
            if (lane() == 31) ranks[32] = done + before + own;
        }
        block_sync();
        u32 found[EACH], places[EACH];
        for (u32 i = 0; i < EACH; i++) {
            const u32 row = i * WIDE + thread(), word = rows.word((first + row) / 32), bit = row % 32;
            const bool valid = (word >> bit & 1) != 0;
            places[i] = valid ? ranks[row / 32] + count_bits(word & ((1u << bit) - 1)) : ~0u;
            found[i] = valid ? table[codes[first + row]] : 0;
        }
        done = ranks[32];
        // All threads have read what is overwritten now.
        block_sync();
        for (u32 i = 0; i < EACH; i++) {
            if (places[i] != ~0u) codes[places[i]] = found[i];
        }
    }
    block_sync();
}

// `table`: entry numbers by bucket; `codes`: the page's rows' buckets, and then the indices. All threads take part.
DEVICE u32 put_indices(const Rows &rows, u32 nulls, u32 width, const u32 *table, u32 *codes, u8 *to,
                       Stage &stage, u32 *warps) {
    const u32 values = rows.count() - nulls;
    if (thread() == 0) to[0] = u8(width);
    if (values == 0) return 1;
    gather_indices(rows, table, codes, warps);
    return 1 + put_hybrid(Indices{codes, values, width}, values, to + 1, stage.hybrid, warps);
}
