// Dictionary indices of a page (Encodings.md): the width in a byte, then the RLE / bit-packed hybrid. One run:
// of one index, or of all of them bit-packed. What repeats in those, the codec finds.
#pragma once
#include "dictionary.cuh"
#include "plain.cuh"

// Indices that wait to be packed: a tile's, and what the one before left over.
constexpr u32 GROUP = 32, PENDING = TILE + GROUP;

// Word `number` of the packed `indices`, the first index in the lowest bits.
DEVICE u32 pack_word(const u32 *indices, u32 number, u32 width) {
    const u32 first_bit = number * 32;
    u32 packed = 0;
    for (u32 i = first_bit / width; i * width < first_bit + 32; i++) {
        const i32 shift = i32(i * width) - i32(first_bit);
        packed |= shift < 0 ? indices[i] >> -shift : indices[i] << shift;
    }
    return packed;
}

// The least and the greatest index of the page. `pair`: shared, two words. All threads take part.
DEVICE void index_range(const Rows &rows, const u32 *table, const u32 *codes, u32 *pair, u32 &min, u32 &max) {
    if (thread() == 0) {
        pair[0] = ~0u;
        pair[1] = 0;
    }
    block_sync();
    u32 own_min = ~0u, own_max = 0;
    for (u32 row = thread(); row < rows.count(); row += WIDE) {
        if (!rows.has_value(row)) continue;
        const u32 index = table[codes[row]];
        own_min = least(own_min, index);
        own_max = index > own_max ? index : own_max;
    }
    atomic_min(&pair[0], own_min);
    atomic_max(&pair[1], own_max);
    block_sync();
    min = pair[0];
    max = pair[1];
    block_sync();
}

// `table`: entry numbers by slot; `codes`: the page's rows' slots. All threads take part.
DEVICE u32 put_indices(const Rows &rows, u32 nulls, u32 width, const u32 *table, const u32 *codes, u8 *to,
                       Stage &stage, u32 *ranks) {
    u32 *pending = stage.words, *packed = stage.words + PENDING;
    const u32 values = rows.count() - nulls;
    u32 min, max;
    index_range(rows, table, codes, ranks, min, max);
    const bool alike = min == max || values == 0;
    const u32 header = alike ? values << 1 : (values + 7) / 8 << 1 | 1;
    u32 done = 1 + varint_size(header);
    if (thread() == 0) {
        to[0] = u8(width);
        if (values != 0) put_varint(to + 1, header);
        for (u32 i = 0; alike && values != 0 && i < (width + 7) / 8; i++) to[done + i] = u8(min >> 8 * i);
    }
    if (values == 0) return 1;
    if (alike) return done + (width + 7) / 8;

    u32 left = 0;
    for (u32 first = 0; first < rows.count(); first += TILE) {
        // Step 1: the tile's indices behind those left over.
        if (warp() == 0) {
            const u32 own = count_bits(rows.word(first / 32 + lane())), before = warp_scan(own);
            ranks[lane()] = before;
            if (lane() == 31) ranks[32] = before + own;
        }
        block_sync();
        for (u32 row = thread(); row < TILE; row += WIDE) {
            const u32 word = rows.word((first + row) / 32), bit = row % 32;
            if ((word >> bit & 1) == 0) continue;
            pending[left + ranks[row / 32] + count_bits(word & ((1u << bit) - 1))] = table[codes[first + row]];
        }
        block_sync();

        // Step 2: whole groups packed, and out; in the end, all.
        const u32 held = left + ranks[32];
        const bool last = first + TILE >= rows.count();
        const u32 padded = last ? (held + GROUP - 1) / GROUP * GROUP : held / GROUP * GROUP;
        for (u32 i = held + thread(); i < padded; i += WIDE) pending[i] = 0;
        block_sync();
        for (u32 i = thread(); i < padded / 32 * width; i += WIDE) packed[i] = pack_word(pending, i, width);
        block_sync();
        const u32 bytes = last ? (held + 7) / 8 * width : padded / 8 * width;
        copy_block(reinterpret_cast<const u8 *>(packed), bytes, to + done);
        done += bytes;

        // Step 3: the rest moved to the front.
        left = last ? 0 : held - padded;
        const u32 moved = thread() < left ? pending[padded + thread()] : 0;
        block_sync();
        if (thread() < left) pending[thread()] = moved;
        block_sync();
    }
    return done;
}
