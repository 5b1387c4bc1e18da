// The RLE / bit-packed hybrid (Encodings.md), as src/encode/bits.rs writes it: stretches of equal values that are
// long enough are RLE runs, and values between them are packed.
//
// A packed run holds whole groups of eight, counted from where the RLE run before it ends. So an RLE run begins up
// to seven values behind its stretch's first, and the least length of a stretch leaves it enough. Which stretches
// are runs depends only on their lengths, so that all are found at once.
#pragma once
#include "page.cuh"

// Rows of a page, at most: PAGE_ROWS. `LEAST_STRETCH`: MIN_STRETCH in src/encode/bits.rs.
constexpr u32 MOST_ROWS = 20000, LEAST_STRETCH = 39;
constexpr u32 MOST_RUNS = MOST_ROWS / LEAST_STRETCH, MOST_WORDS = (MOST_ROWS + 31) / 32;

struct Hybrid {
    // A bit for each value that is not the same as the one before it; a bit for each word of those that has one.
    u32 changes[MOST_WORDS], filled[(MOST_WORDS + 31) / 32];
    // Stretches that are runs, and where in the output the parts are: a run with what is packed before it.
    u32 begins[MOST_RUNS], ends[MOST_RUNS], places[MOST_RUNS + 1];
};

// Returns the first change after those in word `word`; `count` if there is none.
DEVICE u32 next_change(const Hybrid &hybrid, u32 word, u32 count) {
    const u32 last = (count + 31) / 32 / 32;
    u32 index = word / 32, bits = hybrid.filled[index] & ~((2u << word % 32) - 1);
    while (bits == 0 && index < last) bits = hybrid.filled[++index];
    if (bits == 0) return count;
    const u32 next = 32 * index + trailing_zeros(bits);
    return 32 * next + trailing_zeros(hybrid.changes[next]);
}

// Finds the stretches among `count` values and returns their number. All threads take part.
DEVICE u32 find_runs(u32 count, Hybrid &hybrid, u32 *warps) {
    const u32 words = (count + 31) / 32;
    for (u32 first = 0; first <= words / 32 * 32; first += WIDE) {
        const u32 word = first + thread(), filled = ballot(word < words && hybrid.changes[word] != 0);
        if (lane() == 0 && word <= words) hybrid.filled[word / 32] = filled;
    }
    block_sync();
    u32 runs = 0;
    for (u32 first = 0; first < words; first += WIDE) {
        const u32 word = first + thread(), changes = word < words ? hybrid.changes[word] : 0;
        // Only the last stretch that begins in a word can be so long.
        const u32 begin = changes != 0 ? 32 * word + 31 - leading_zeros(changes) : 0;
        const u32 end = changes != 0 ? next_change(hybrid, word, count) : 0;
        const bool found = end - begin >= LEAST_STRETCH;
        u32 all;
        const u32 place = runs + block_scan(u32(found), warps, all);
        if (found) {
            hybrid.begins[place] = begin;
            hybrid.ends[place] = end;
        }
        runs += all;
    }
    block_sync();
    return runs;
}

// Values from `from` on: some that are packed, then a run; behind the last run there is none.
struct HybridPart {
    u32 from, packed, run;

    DEVICE u32 groups() const { return (packed + 7) / 8; }
    DEVICE u32 packed_head() const { return groups() << 1 | 1; }
    DEVICE u32 run_head() const { return run << 1; }
    DEVICE u32 size(u32 width) const {
        const u32 bytes = packed != 0 ? varint_size(packed_head()) + groups() * width : 0;
        return bytes + (run != 0 ? varint_size(run_head()) + (width + 7) / 8 : 0);
    }
};

DEVICE HybridPart hybrid_part(const Hybrid &hybrid, u32 number, u32 runs, u32 count) {
    const u32 from = number != 0 ? hybrid.ends[number - 1] : 0;
    if (number == runs) return HybridPart{from, count - from, 0};
    const u32 packed = (hybrid.begins[number] - from + 7) / 8 * 8;
    return HybridPart{from, packed, hybrid.ends[number] - from - packed};
}

// `workers` threads take part, numbered by `worker`.
template <class SOURCE>
DEVICE void put_part(const SOURCE &source, const HybridPart &part, u8 *to, u32 worker, u32 workers) {
    if (part.packed != 0) {
        if (worker == 0) put_varint(to, part.packed_head());
        to += varint_size(part.packed_head());
        const u32 bytes = part.groups() * source.width();
        const u32 head = least(u32(-reinterpret_cast<u64>(to)) & 3, bytes), words = (bytes - head) / 4;
        if (worker < head) to[worker] = u8(source.bits(part.from, 8 * worker));
        for (u32 i = worker; i < words; i += workers) {
            const u32 at = head + 4 * i;
            *reinterpret_cast<u32 *>(to + at) = source.bits(part.from, 8 * at);
        }
        const u32 rest = head + 4 * words + worker;
        if (rest < bytes) to[rest] = u8(source.bits(part.from, 8 * rest));
        to += bytes;
    }
    if (part.run == 0 || worker != 0) return;
    put_varint(to, part.run_head());
    to += varint_size(part.run_head());
    const u32 value = source.value(part.from + part.packed);
    for (u32 i = 0; i < (source.width() + 7) / 8; i++) to[i] = u8(value >> 8 * i);
}

// A source has values of `width` bits: the `value` at a place, and 32 of the `bits` that those from a place on
// make; `mark` says where they change. Gives the bytes; all threads of the block take part.
template <class SOURCE>
DEVICE u32 put_hybrid(const SOURCE &source, u32 count, u8 *to, Hybrid &hybrid, u32 *warps) {
    // Step 1: the runs.
    source.mark(hybrid.changes);
    block_sync();
    const u32 runs = find_runs(count, hybrid, warps);

    // Step 2: where they go, and what is packed between them.
    u32 bytes = 0;
    for (u32 first = 0; first <= runs; first += WIDE) {
        const u32 number = first + thread();
        const u32 own = number <= runs ? hybrid_part(hybrid, number, runs, count).size(source.width()) : 0;
        u32 all;
        const u32 before = bytes + block_scan(own, warps, all);
        if (number <= runs) hybrid.places[number] = before;
        bytes += all;
    }
    block_sync();

    // Step 3: all of the block for each where they are few, else a warp.
    const bool few = runs < WARPS;
    for (u32 number = few ? 0 : warp(); number <= runs; number += few ? 1 : WARPS) {
        const HybridPart part = hybrid_part(hybrid, number, runs, count);
        put_part(source, part, to + hybrid.places[number], few ? thread() : lane(), few ? WIDE : 32);
    }
    block_sync();
    return bytes;
}

// Whether rows have values, as definition levels.
struct Levels {
    const Rows &rows;

    DEVICE u32 width() const { return 1; }
    DEVICE u32 value(u32 at) const { return u32(rows.has_value(at)); }
    DEVICE u32 bits(u32 from, u32 bit) const {
        const u32 at = from + bit;
        return funnel(rows.word(at / 32), rows.word(at / 32 + 1), at % 32);
    }
    DEVICE void mark(u32 *changes) const {
        for (u32 i = thread(); i < rows.words(); i += WIDE) {
            const u32 word = rows.word(i), before = i != 0 ? rows.word(i - 1) >> 31 : ~word & 1;
            const u32 left = rows.count() - 32 * i, all = left < 32 ? (1u << left) - 1 : ~0u;
            changes[i] = (word ^ (word << 1 | before)) & all;
        }
    }
};

// The definition levels of a v1 data page: four bytes of length, then the hybrid of width 1. Nothing for a
// column whose only level is 0. `to`: a multiple of 4. Gives the bytes; all threads take part.
DEVICE u32 put_levels(const Rows &rows, u32 nulls, u8 *to, Hybrid &hybrid, u32 *warps) {
    if (!rows.page.nullable) return 0;
    const u32 count = rows.count(), header = count << 1;
    u32 bytes = varint_size(header) + 1;
    if (nulls == 0 || nulls == count) {
        if (thread() == 0) {
            put_varint(to + 4, header);
            to[3 + bytes] = nulls == 0;
        }
    } else {
        bytes = put_hybrid(Levels{rows}, count, to + 4, hybrid, warps);
    }
    if (thread() == 0) *reinterpret_cast<u32 *>(to) = bytes;
    return 4 + bytes;
}
