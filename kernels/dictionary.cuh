// Dictionaries: the different values of a column chunk, in the order of their first rows.
//
// A chunk's rows are numbered `page << shift | row`, which orders them and tells where each lies. The table
// holds such numbers, plus one: of the first row known with a value. Equal hashes meet in a chain of buckets,
// and values are compared whole. Once all rows are in, each bucket's row is the first with its value, whichever
// thread came first; a bit for each of those rows, counted, numbers the entries.
#pragma once
#include "page.cuh"

// A chunk's memory in the scratch.
struct Dictionary {
    const DictionaryChunk &chunk;
    DictionaryState &state;
    const Page *pages;
    const u8 *input;
    u8 *scratch;

    DEVICE u32 *words(u64 at) const { return reinterpret_cast<u32 *>(scratch + at); }
    // Row numbers plus one; 0 for an empty bucket. In the end, entry numbers.
    DEVICE u32 *table() const { return words(chunk.table_at); }
    // The bucket of each row.
    DEVICE u32 *codes() const { return words(chunk.codes_at); }
    // A bit for each row that is the first with its value; how many there are before each word.
    DEVICE u32 *marks() const { return words(chunk.marks_at); }
    DEVICE u32 *ranks() const { return words(chunk.ranks_at); }
    DEVICE u32 mark_words() const { return chunk.pages << chunk.shift >> 5; }
    // The first row of each entry, and the start of its value in the dictionary.
    DEVICE u32 *firsts() const { return words(chunk.firsts_at); }
    DEVICE u32 *starts() const { return words(chunk.starts_at); }
    DEVICE const Page &page_of(u32 number) const { return pages[chunk.first_page + (number >> chunk.shift)]; }
    DEVICE u32 row_of(u32 number) const { return page_of(number).first + (number & ((1u << chunk.shift) - 1)); }
};

// A value where it lies: the bytes at `at`, a multiple of 4 but for strings.
struct Value {
    const u8 *base;
    u64 at;
    u32 bytes;

    // Four bytes; at the end as many as there are, and zeros.
    DEVICE u32 part(u32 from) const {
        // The words that `load32` loads are counted from one that the value is near to.
        const u8 *start = base + (at & ~u64(3));
        const u32 skip = u32(at & 3) + from, left = bytes - from;
        const u32 found = load32(start, skip, skip + least(left, 4) - 1);
        return left < 4 ? found & ((1u << 8 * left) - 1) : found;
    }
};

DEVICE u32 width_of(u8 shape) { return shape == FIXED4 ? 4 : shape == FIXED8 ? 8 : 16; }

DEVICE Value find_value(const u8 *input, const Page &page, u32 row) {
    if (page.shape != STRINGS) {
        const u32 width = width_of(page.shape);
        return Value{input + page.values_at, u64(row) * width, width};
    }
    const u32 *offsets = reinterpret_cast<const u32 *>(input + page.values_at);
    return Value{input + page.bytes_at, offsets[row], offsets[row + 1] - offsets[row]};
}

DEVICE Value find_value(const Dictionary &dictionary, u32 number) {
    return find_value(dictionary.input, dictionary.page_of(number), dictionary.row_of(number));
}

// Every bit of the value changes about half of the bits (Murmur3's steps).
DEVICE u32 hash_value(const Value &value) {
    u32 hash = value.bytes;
    for (u32 at = 0; at < value.bytes; at += 4) {
        const u32 part = value.part(at) * 0xCC9E2D51u;
        hash ^= funnel(part, part, 17) * 0x1B873593u;
        hash = funnel(hash, hash, 19) * 5 + 0xE6546B64u;
    }
    hash = (hash ^ hash >> 16) * 0x85EBCA6Bu;
    hash = (hash ^ hash >> 13) * 0xC2B2AE35u;
    return hash ^ hash >> 16;
}

DEVICE bool is_same(const Value &left, const Value &right) {
    if (left.bytes != right.bytes) return false;
    for (u32 at = 0; at < left.bytes; at += 4) {
        if (left.part(at) != right.part(at)) return false;
    }
    return true;
}

// Gives the row's value a bucket, which names no later row than this. Returns false if the dictionary has too many
// values: then it is given up.
DEVICE bool intern(const Dictionary &dictionary, u32 number) {
    const Value value = find_value(dictionary, number);
    const u32 mask = dictionary.chunk.buckets - 1;
    u32 bucket = hash_value(value) & mask;
    for (u32 tried = 0; tried <= mask; tried++, bucket = (bucket + 1) & mask) {
        u32 *at = &dictionary.table()[bucket];
        u32 found = load_published(at);
        if (found == 0) {
            if (load_published(&dictionary.state.failed) != 0) return false;
            found = atomic_swap_if(at, 0, number + 1);
            if (found == 0) {
                dictionary.codes()[number] = bucket;
                return atomic_add(&dictionary.state.entries, 1) < dictionary.chunk.most;
            }
        }
        if (is_same(find_value(dictionary, found - 1), value)) {
            if (number + 1 < found) atomic_min(at, number + 1);
            dictionary.codes()[number] = bucket;
            return true;
        }
    }
    return false;
}

// The entry of the first row with a value.
DEVICE u32 rank_of(const Dictionary &dictionary, u32 number) {
    const u32 before = dictionary.marks()[number / 32] & ((1u << number % 32) - 1);
    return dictionary.ranks()[number / 32] + count_bits(before);
}
