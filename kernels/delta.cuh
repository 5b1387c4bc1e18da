// DELTA_BINARY_PACKED and DELTA_LENGTH_BYTE_ARRAY (Encodings.md), as src/encode/delta.rs writes them: blocks of
// 128 differences in four miniblocks, a warp a block.
#pragma once
#include "plain.cuh"

constexpr u32 BLOCK = 128, MINIBLOCK = 32, MINIBLOCKS = 4;
// Rows of a tile; blocks that a tile and the values left over before it make at most.
constexpr u32 DELTA_TILE = 512, MOST_BLOCKS = DELTA_TILE / BLOCK + 1;
// The least difference, the widths, and differences of 64 bits.
constexpr u32 MOST_BLOCK_BYTES = 10 + MINIBLOCKS + BLOCK * 8;

struct DeltaStage {
    // The last value that has been written a difference to, and those that wait for a whole block.
    u64 values[DELTA_TILE + BLOCK];
    u64 least[MOST_BLOCKS];
    u32 sizes[MOST_BLOCKS], widths[MOST_BLOCKS];
    u32 ranks[33];
    alignas(16) u8 packed[(MOST_BLOCKS * MOST_BLOCK_BYTES + 15) / 16 * 16];
};

// Signed numbers are compared with the top bit turned over.
template <class T> DEVICE T warp_least(T value) {
    for (u32 by = 16; by > 0; by /= 2) {
        const T other = shuffle_xor(value, by);
        value = other < value ? other : value;
    }
    return value;
}

template <class T> DEVICE T warp_or(T value) {
    for (u32 by = 16; by > 0; by /= 2) value |= shuffle_xor(value, by);
    return value;
}

DEVICE u32 bit_width(u64 value) {
    const u32 high = u32(value >> 32), low = u32(value);
    return high != 0 ? 64 - leading_zeros(high) : low != 0 ? 32 - leading_zeros(low) : 0;
}

// A difference of T's width as a number of 64 bits, folded so that small ones of either sign are short.
template <class T> DEVICE u64 zigzag(T value) {
    const i64 wide = sizeof(T) == 4 ? i64(i32(value)) : i64(value);
    return u64(wide) << 1 ^ u64(wide >> 63);
}

DEVICE u32 varint64_size(u64 value) { return value == 0 ? 1 : (bit_width(value) + 6) / 7; }

DEVICE u32 put_varint64(u8 *to, u64 value) {
    u32 at = 0;
    for (; value >= 0x80; value >>= 7) to[at++] = u8(value | 0x80);
    to[at] = u8(value);
    return at + 1;
}

// Difference `index` less the block's least one; 0 behind the last.
template <class T> DEVICE T excess(const DeltaStage &stage, u32 index, u32 deltas, T least_delta) {
    if (index >= deltas) return 0;
    return T(T(stage.values[index + 1]) - T(stage.values[index]) - least_delta);
}

// Finds the form of block `number` of the tile. The whole warp takes part.
template <class T> DEVICE void measure_block(DeltaStage &stage, u32 number, u32 deltas) {
    constexpr T top = T(1) << (8 * sizeof(T) - 1);
    T own = ~T(0);
    for (u32 m = 0; m < MINIBLOCKS; m++) {
        const u32 index = number * BLOCK + m * MINIBLOCK + lane();
        const T delta = excess<T>(stage, index, deltas, 0) ^ top;
        if (index < deltas && delta < own) own = delta;
    }
    const T least_delta = warp_least(own) ^ top;
    u32 widths = 0, size = varint64_size(zigzag(least_delta)) + MINIBLOCKS;
    for (u32 m = 0; m < MINIBLOCKS; m++) {
        const u32 index = number * BLOCK + m * MINIBLOCK + lane();
        const u32 width = bit_width(warp_or(excess<T>(stage, index, deltas, least_delta)));
        widths |= width << 8 * m;
        size += width * (MINIBLOCK / 8);
    }
    if (lane() != 0) return;
    stage.least[number] = least_delta;
    stage.widths[number] = widths;
    stage.sizes[number] = size;
}

template <class T> DEVICE void pack_block(DeltaStage &stage, u32 number, u32 deltas, u8 *to) {
    const T least_delta = T(stage.least[number]);
    const u32 widths = stage.widths[number], head = varint64_size(zigzag(least_delta));
    if (lane() == 0) put_varint64(to, zigzag(least_delta));
    if (lane() < MINIBLOCKS) to[head + lane()] = u8(widths >> 8 * lane());
    u8 *at = to + head + MINIBLOCKS;
    for (u32 m = 0; m < MINIBLOCKS; m++) {
        const u32 width = widths >> 8 * m & 0xFF, base = number * BLOCK + m * MINIBLOCK;
        // A miniblock of 32 values of `width` bits is `width` words.
        for (u32 word = lane(); word < width; word += 32) {
            u32 packed = 0;
            for (u32 i = 32 * word / width; i * width < 32 * word + 32; i++) {
                const u64 value = excess<T>(stage, base + i, deltas, least_delta);
                const i32 shift = i32(i * width) - i32(32 * word);
                packed |= u32(shift < 0 ? value >> -shift : value << shift);
            }
            for (u32 byte = 0; byte < 4; byte++) at[4 * word + byte] = u8(packed >> 8 * byte);
        }
        at += 4 * width;
    }
}

// The start of a block among the stage's packed ones; for the number of blocks, their end.
DEVICE u32 block_start(const DeltaStage &stage, u32 number) {
    u32 start = 0;
    for (u32 i = 0; i < number; i++) start += stage.sizes[i];
    return start;
}

// Blocks that so many values more than one make; of the last tile, the one that is not full too.
DEVICE u32 count_blocks(u32 held, bool last) {
    const u32 deltas = held > 0 ? held - 1 : 0;
    return last ? (deltas + BLOCK - 1) / BLOCK : deltas / BLOCK;
}

// `load(row)` gives the bits of a row's value, of T's width; `values`, at least 1, is how many rows have one. Returns
// the bytes; all threads take part.
template <class T, class LOAD> DEVICE u32 put_delta(const Rows &rows, u32 values, u8 *to, DeltaStage &stage, LOAD load) {
    u32 held = 0, done = 0;
    for (u32 first = 0; first < rows.count(); first += DELTA_TILE) {
        // Step 1: the tile's values behind those left over.
        if (warp() == 0) {
            const u32 own = lane() < DELTA_TILE / 32 ? count_bits(rows.word(first / 32 + lane())) : 0;
            const u32 before = warp_scan(own);
            stage.ranks[lane()] = before;
            if (lane() == 31) stage.ranks[32] = before + own;
        }
        block_sync();
        for (u32 row = thread(); row < DELTA_TILE; row += WIDE) {
            const u32 word = rows.word((first + row) / 32), bit = row % 32;
            if ((word >> bit & 1) == 0) continue;
            stage.values[held + stage.ranks[row / 32] + count_bits(word & ((1u << bit) - 1))] = load(first + row);
        }
        block_sync();
        held += stage.ranks[32];

        // Step 2: the header, as soon as there is a first value.
        if (done == 0 && held > 0) {
            const u64 head = zigzag(T(stage.values[0]));
            const u32 at = 2 + 1 + varint_size(values);
            if (thread() == 0) {
                put_varint(to, BLOCK);
                put_varint(to + 2, MINIBLOCKS);
                put_varint(to + 3, values);
                put_varint64(to + at, head);
            }
            done = at + varint64_size(head);
        }

        // Step 3: whole blocks packed, and out; in the end, all.
        const u32 deltas = held > 0 ? held - 1 : 0, blocks = count_blocks(held, first + DELTA_TILE >= rows.count());
        for (u32 b = warp(); b < blocks; b += WARPS) measure_block<T>(stage, b, deltas);
        block_sync();
        for (u32 b = warp(); b < blocks; b += WARPS) {
            pack_block<T>(stage, b, deltas, stage.packed + block_start(stage, b));
        }
        block_sync();
        const u32 bytes = block_start(stage, blocks);
        copy_block(stage.packed, bytes, to + done);
        done += bytes;

        // Step 4: the rest moved to the front, with the value before it.
        const u32 gone = least(blocks * BLOCK, deltas), left = held - gone;
        const u64 moved = thread() < left && gone != 0 ? stage.values[gone + thread()] : 0;
        block_sync();
        if (thread() < left && gone != 0) stage.values[thread()] = moved;
        held = left;
        block_sync();
    }
    return done;
}

// Writes the page's values after its levels and returns their bytes. All threads take part.
DEVICE u32 put_deltas(const Rows &rows, u32 values, u8 *to, DeltaStage &stage) {
    if (rows.page.shape == FIXED4) {
        const u32 *from = reinterpret_cast<const u32 *>(rows.values) + rows.page.first;
        return put_delta<u32>(rows, values, to, stage, [=](u32 row) { return from[row]; });
    }
    if (rows.page.shape == FIXED8) {
        const u64 *from = reinterpret_cast<const u64 *>(rows.values) + rows.page.first;
        return put_delta<u64>(rows, values, to, stage, [=](u32 row) { return from[row]; });
    }
    const u32 *offsets = rows.offsets();
    const u32 lengths =
        put_delta<u32>(rows, values, to, stage, [=](u32 row) { return offsets[row + 1] - offsets[row]; });
    // NULL rows have no bytes, so those of the page are all its values'.
    const u32 bytes = offsets[rows.count()] - offsets[0];
    copy_from(rows.bytes, offsets[0], bytes, to + lengths);
    return lengths + bytes;
}
