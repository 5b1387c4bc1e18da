// Values without a dictionary (Encodings.md), PLAIN or split: those that are not NULL, where the levels end.
//
// A body's values start at any byte. They are put together in shared memory first, a tile of rows at a time, or read
// from the column as they are, and written by aligned words.
#pragma once
#include "gather.cuh"
#include "hybrid.cuh"

// Rows of a tile of fixed-size values; of strings and of words of bits it is a row or word a thread.
constexpr u32 TILE = 1024;
constexpr u32 STAGE = TILE * 16;

union Stage {
    u8 bytes[STAGE];
    u128 keys[WIDE];
    u32 words[STAGE / 4];
    Hybrid hybrid;
};

// The bits of `bits` where `mask` has one, moved together.
DEVICE u32 compact_bits(u32 bits, u32 mask) {
    if (mask == ~0u) return bits;
    u32 found = 0;
    for (u32 at = 0; mask != 0; at++, mask &= mask - 1) found |= (bits >> trailing_zeros(mask) & 1) << at;
    return found;
}

// The values of TILE rows from `first` on, together: `dense`. Gives the number of them. `ranks`: shared, 33 words.
template <class VALUE>
DEVICE u32 gather_tile(const Rows &rows, u32 first, const VALUE *values, VALUE *dense, u32 *ranks) {
    // Step 1: how many values there are before each word.
    if (warp() == 0) {
        const u32 own = count_bits(rows.word(first / 32 + lane())), before = warp_scan(own);
        ranks[lane()] = before;
        if (lane() == 31) ranks[32] = before + own;
    }
    block_sync();

    // Step 2: the values.
    for (u32 row = thread(); row < TILE; row += WIDE) {
        const u32 word = rows.word((first + row) / 32);
        if ((word >> row % 32 & 1) == 0) continue;
        dense[ranks[row / 32] + count_bits(word & ((1u << row % 32) - 1))] = values[first + row];
    }
    block_sync();
    return ranks[32];
}

// `VALUE`: any type as large as the values.
template <class VALUE> DEVICE u32 put_fixed(const Rows &rows, u32 nulls, u8 *to, Stage &stage, u32 *ranks) {
    const u8 *from = rows.values + u64(rows.page.first) * sizeof(VALUE);
    const u32 bytes = (rows.count() - nulls) * u32(sizeof(VALUE));
    if (nulls == 0) {
        copy_block(from, bytes, to);
        return bytes;
    }
    const VALUE *values = reinterpret_cast<const VALUE *>(from);
    VALUE *dense = reinterpret_cast<VALUE *>(stage.bytes);
    u32 done = 0;
    for (u32 first = 0; first < rows.count(); first += TILE) {
        const u32 size = gather_tile(rows, first, values, dense, ranks) * u32(sizeof(VALUE));
        copy_block(stage.bytes, size, to + done);
        done += size;
        block_sync();
    }
    return bytes;
}

// BYTE_STREAM_SPLIT (Encodings.md): the values' first bytes, then their second ones, and so on.
template <class VALUE> DEVICE u32 put_split(const Rows &rows, u32 nulls, u8 *to, Stage &stage, u32 *ranks) {
    constexpr u32 WIDTH = sizeof(VALUE);
    const VALUE *values = reinterpret_cast<const VALUE *>(rows.values + u64(rows.page.first) * WIDTH);
    const u32 count = rows.count() - nulls;
    u32 done = 0;
    for (u32 first = 0; first < rows.count(); first += TILE) {
        const u32 held = gather_tile(rows, first, values, reinterpret_cast<VALUE *>(stage.bytes), ranks);
        for (u32 byte = 0; byte < WIDTH; byte++) {
            u8 *stream = to + byte * count + done;
            const u8 *bytes = stage.bytes + byte;
            const u32 head = least(u32(-reinterpret_cast<u64>(stream)) & 3, held), words = (held - head) / 4;
            if (thread() < head) stream[thread()] = bytes[thread() * WIDTH];
            // A tile has no more words than the block has threads.
            if (thread() < words) {
                const u32 at = head + 4 * thread();
                u32 word = 0;
                for (u32 i = 0; i < 4; i++) word |= u32(bytes[(at + i) * WIDTH]) << 8 * i;
                *reinterpret_cast<u32 *>(stream + at) = word;
            }
            const u32 rest = head + 4 * words + thread();
            if (rest < held) stream[rest] = bytes[rest * WIDTH];
        }
        done += held;
        block_sync();
    }
    return count * WIDTH;
}

// BOOLEAN: a bit a value, the first in the lowest.
DEVICE u32 put_bits(const Rows &rows, u8 *to, Stage &stage, u32 *warps) {
    const u32 *bits = reinterpret_cast<const u32 *>(rows.values) + rows.page.first / 32;
    // Bits that do not make a byte yet are carried from tile to tile.
    u32 done = 0, carry = 0, carried = 0;
    for (u32 first = 0; first < rows.words(); first += WIDE) {
        const u32 index = first + thread(), word = rows.word(index);
        const u32 dense = word != 0 ? compact_bits(bits[index], word) : 0;
        u32 all;
        const u32 at = carried + block_scan(count_bits(word), warps, all);
        for (u32 i = thread(); i < WIDE + 2; i += WIDE) stage.words[i] = i == 0 ? carry : 0;
        block_sync();
        const u64 placed = u64(dense) << at % 32;
        if (u32(placed) != 0) atomic_or(&stage.words[at / 32], u32(placed));
        if (placed >> 32 != 0) atomic_or(&stage.words[at / 32 + 1], u32(placed >> 32));
        block_sync();
        const u32 whole = (carried + all) / 8;
        copy_block(stage.bytes, whole, to + done);
        done += whole;
        carry = stage.bytes[whole];
        carried = (carried + all) % 8;
        block_sync();
    }
    if (carried == 0) return done;
    if (thread() == 0) to[done] = u8(carry);
    return done + 1;
}

// A tile of values of varying length, each behind its length in four bytes. Value i's length starts at byte
// starts[i] of `to`, which is a multiple of 16; its bytes are at sources[i] of the column's.
struct Strings {
    const u8 *bytes;
    u8 *to;
    const u32 *starts, *sources;
    u32 count;
};

// Writes bytes `at` (a multiple of 16) to `at + 16` of `to`, as far as they are the tile's.
DEVICE void put_strings16(const Strings &strings, u32 at) {
    const u32 begin = strings.starts[0], end = strings.starts[strings.count];
    const u32 first = at < begin ? begin : at, stop = least(end - at, 16) + at;
    u64 low = 0, high = 0;
    u32 index = last_at_most(strings.starts, 0, strings.count, first);
    for (u32 next = first; next < stop; index++) {
        const u32 start = strings.starts[index], after = strings.starts[index + 1];
        if (next < start + 4) {
            const u32 skip = next - start, part = least(4 - skip, stop - next);
            place_bytes((after - start - 4) >> 8 * skip, 0, part, next - at, low, high);
            next += part;
        }
        const u32 part = least(after, stop) - next;
        if (part == 0) continue;
        const u32 source = strings.sources[index] + (next - start - 4);
        u64 from_low, from_high;
        load128(strings.bytes, source, source + part - 1, from_low, from_high);
        place_bytes(from_low, from_high, part, next - at, low, high);
        next += part;
    }
    if (stop - first == 16) {
        store16(strings.to + at, low, high);
        return;
    }
    for (u32 i = first; i < stop; i++) strings.to[i] = u8((i - at < 8 ? low : high) >> 8 * (i - at) % 64);
}

// BYTE_ARRAY. NULL rows have no bytes in the column.
DEVICE u32 put_strings(const Rows &rows, u8 *to, Stage &stage, u32 *warps) {
    u32 *starts = stage.words, *sources = stage.words + WIDE + 1;
    const u32 *offsets = rows.offsets();
    u32 done = 0;
    for (u32 first = 0; first < rows.count(); first += WIDE) {
        // Step 1: where the values go, counted from a multiple of 16.
        const u32 row = first + thread(), shift = u32(reinterpret_cast<u64>(to + done)) & 15;
        const u32 base = offsets[first], valid = row < rows.count() && rows.has_value(row);
        u32 count;
        const u32 index = block_scan(valid, warps, count);
        const u32 last = offsets[least(first + WIDE, rows.count())];
        if (valid) {
            starts[index] = shift + 4 * index + (offsets[row] - base);
            sources[index] = offsets[row];
        }
        const u32 size = 4 * count + (last - base);
        if (thread() == 0) starts[count] = shift + size;
        block_sync();

        // Step 2: 16 bytes at a time, whatever values they are of.
        const Strings strings{rows.bytes, to + done - shift, starts, sources, count};
        const u32 end = count != 0 ? shift + size : 0;
        for (u32 at = 16 * thread(); at < end; at += 16 * WIDE) put_strings16(strings, at);
        done += size;
        block_sync();
    }
    return done;
}
