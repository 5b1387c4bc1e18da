// The least and the greatest string of a page, by their bytes, and how they begin: the statistics' bounds.
#pragma once
#include "dictionary.cuh"

constexpr u32 END_BYTES = 72;

struct Ends {
    u32 min_bytes, max_bytes;
    u8 min[END_BYTES], max[END_BYTES];
};

static_assert(sizeof(Ends) == 152, "src/slot/encode.rs");

constexpr u32 NO_ROW = ~0u;

DEVICE u32 ranked_part(const Value &value, u32 from) { return from < value.bytes ? swap32(value.part(from)) : 0; }

// Zeros behind a string's end rank as the end itself does: then the shorter one is less.
DEVICE bool is_less(const Value &left, const Value &right) {
    const u32 both = least(left.bytes, right.bytes);
    for (u32 at = 0; at < both; at += 4) {
        const u32 a = ranked_part(left, at), b = ranked_part(right, at);
        if (a != b) return a < b;
    }
    return left.bytes < right.bytes;
}

// Whether `row`'s string is beyond that of `best`, if there is one.
template <bool LESS> DEVICE bool is_better(const u8 *input, const Page &page, u32 row, u32 best) {
    if (row == NO_ROW) return false;
    if (best == NO_ROW) return true;
    const Value one = find_value(input, page, page.first + row), other = find_value(input, page, page.first + best);
    return LESS ? is_less(one, other) : is_less(other, one);
}

// A row of the page with the least or greatest string. `found`: shared, WIDE words. All threads take part.
template <bool LESS> DEVICE u32 find_end(const u8 *input, const Rows &rows, u32 *found) {
    u32 own = NO_ROW, head = 0;
    for (u32 row = thread(); row < rows.count(); row += WIDE) {
        if (!rows.has_value(row)) continue;
        const u32 first = ranked_part(find_value(input, rows.page, rows.page.first + row), 0);
        // Most strings differ in their first bytes.
        const bool hopeless = own != NO_ROW && (LESS ? first > head : first < head);
        if (hopeless || !is_better<LESS>(input, rows.page, row, own)) continue;
        own = row;
        head = first;
    }
    found[thread()] = own;
    block_sync();
    for (u32 half = WIDE / 2; half > 0; half /= 2) {
        const u32 other = thread() < half ? found[thread() + half] : NO_ROW;
        if (thread() < half && is_better<LESS>(input, rows.page, other, found[thread()])) found[thread()] = other;
        block_sync();
    }
    const u32 row = found[0];
    block_sync();
    return row;
}

DEVICE void put_end(const Value &value, u32 &bytes, u8 *first) {
    if (thread() == 0) bytes = value.bytes;
    if (thread() < END_BYTES) first[thread()] = thread() < value.bytes ? value.base[value.at + thread()] : 0;
}

// Writes the ends of a page that has a value. All threads take part.
DEVICE void put_ends(const u8 *input, const Rows &rows, u32 *found, Ends &ends) {
    const u32 min = find_end<true>(input, rows, found), max = find_end<false>(input, rows, found);
    put_end(find_value(input, rows.page, rows.page.first + min), ends.min_bytes, ends.min);
    put_end(find_value(input, rows.page, rows.page.first + max), ends.max_bytes, ends.max);
}
