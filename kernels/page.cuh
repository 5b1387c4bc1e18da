// The pages that are encoded; src/gpu/encode.rs explains each field.
#pragma once
#include "copy.cuh"

constexpr u32 WIDE = 256, WARPS = WIDE / 32;

enum Shape : u8 { BITS, FIXED4, FIXED8, FIXED16, STRINGS };
// The encodings of parquet.thrift that values without a dictionary have.
enum Encoding : u8 { PLAIN = 0, DELTA_BINARY_PACKED = 5, DELTA_LENGTH_BYTE_ARRAY = 6, BYTE_STREAM_SPLIT = 9 };
enum Order : u8 { NO_ORDER, SIGNED, UNSIGNED, FLOATING };

struct Page {
    u64 valid_at, values_at, bytes_at, body_at;
    u32 first, rows;
    u8 shape, order, nullable, encoding;
    u32 chunk;
};

// The Page::chunk of a page for which no dictionary is tried.
constexpr u32 NO_CHUNK = ~0u;

struct Body {
    u64 at;
    u32 bytes, nulls;
};

// A column chunk that a dictionary is tried for.
struct DictionaryChunk {
    u64 table_at, codes_at, marks_at, ranks_at, firsts_at, starts_at, body_at;
    u32 first_page, pages, buckets, shift, most, most_bytes;
};

struct DictionaryState {
    u32 entries, failed, values, bytes, used, width;
    u64 plain;
};

struct Bounds {
    u64 min_high, min_low, max_high, max_low;
    u32 values, nans;
};

static_assert(sizeof(Page) == 48 && sizeof(Body) == 16 && sizeof(Bounds) == 40 && sizeof(DictionaryChunk) == 80 &&
                  sizeof(DictionaryState) == 32, "src/gpu/encode.rs");

// A page with where its column lies.
struct Rows {
    const Page &page;
    const u32 *valid;
    const u8 *values, *bytes;

    DEVICE u32 count() const { return page.rows; }
    DEVICE u32 words() const { return (page.rows + 31) / 32; }
    // The validity of 32 rows of the page; 0 behind its last.
    DEVICE u32 word(u32 index) const {
        const u32 start = 32 * index;
        if (start >= page.rows) return 0;
        const u32 bits = valid[page.first / 32 + index], left = page.rows - start;
        return left < 32 ? bits & ((1u << left) - 1) : bits;
    }
    DEVICE bool has_value(u32 row) const { return (valid[(page.first + row) / 32] >> row % 32 & 1) != 0; }
    // A value of a column of varying length.
    DEVICE const u32 *offsets() const { return reinterpret_cast<const u32 *>(values) + page.first; }
};

// Rows with a value. All threads of the block take part.
DEVICE u32 count_values(const Rows &rows, u32 *warps) {
    u32 own = 0, all;
    for (u32 i = thread(); i < rows.words(); i += WIDE) own += count_bits(rows.word(i));
    block_scan(own, warps, all);
    return all;
}

// ULEB128; gives its length.
DEVICE u32 put_varint(u8 *to, u32 value) {
    u32 at = 0;
    for (; value >= 0x80; value >>= 7) to[at++] = u8(value | 0x80);
    to[at] = u8(value);
    return at + 1;
}

DEVICE u32 varint_size(u32 value) {
    return 1 + u32(value >= 1u << 7) + u32(value >= 1u << 14) + u32(value >= 1u << 21) + u32(value >= 1u << 28);
}
