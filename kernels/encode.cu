// Encode: columns as the decode kernels leave them to bodies of data pages.
//
// Built as decode.cu is. The host makes page headers; the .cuh files make the bodies.
//
// # Launches
//
// In this order, on one stream. Every kernel takes the same eleven parameters:
//
//     const u8 *input         the columns' memory: 256-byte aligned
//     const Page *pages       `count` of them: see src/gpu/encode.rs
//     const DictionaryChunk *chunks
//                             `tried` of them, likewise: those that a dictionary is tried for
//     u8 *output              256-byte aligned; it need not be cleared
//     Body *bodies            `count + tried` of them, written: as compress.cu takes its pages
//     Bounds *bounds          `count` of them, written
//     Ends *ends              `count` of them: see ends.cuh; written for pages of strings with bounds
//     DictionaryState *states `tried` of them, written
//     u8 *scratch             256-byte aligned, as large as the chunks say; it need not be cleared
//     u32 count, tried
//
//     kernel      grid            block   dynamic shared memory   left out when
//     clear       (64, tried)     256     0                       tried == 0
//     insert      count           256     0                       tried == 0
//     mark        (64, tried)     256     0                       tried == 0
//     rank        tried           256     0                       tried == 0
//     number      (64, tried)     256     0                       tried == 0
//     decide      tried           256     0                       tried == 0
//     entries     (64, tried)     256     0                       tried == 0
//     encode      count           256     0                       count == 0
//     deltas      count           256     0                       count == 0, or no page has them
//     find_ends   count           256     0                       count == 0, or no page is of strings with bounds
//
// # Result
//
// bodies[i]: where in `output` the body of page i is, at a multiple of 16, its bytes and its NULLs.
// bounds[i]: the bounds of its values, as keys. Strings have their bytes in `min_low` and the bounds in ends[i], which
// has no meaning if bounds[i].values is 0. states[i].used: chunk i has a dictionary, and its pages are indices; the
// dictionary is bodies[count + i], with the number of its entries in the NULLs' place.
// The bytes depend on the columns alone.
#include "bounds.cuh"
#include "delta.cuh"
#include "ends.cuh"
#include "indices.cuh"

#define PARAMETERS                                                                                      \
    const u8 *input, const Page *pages, const DictionaryChunk *chunks, u8 *output, Body *bodies, Bounds *bounds, \
        Ends *ends, DictionaryState *states, u8 *scratch, u32 count, u32 tried

// A chunk's threads, numbered over its blocks.
DEVICE u32 chunk_thread() { return block_x() * WIDE + thread(); }
DEVICE u32 chunk_threads() { return blocks_x() * WIDE; }

DEVICE Rows rows_of(const u8 *input, const Page &page) {
    return Rows{page, reinterpret_cast<const u32 *>(input + page.valid_at), input + page.values_at,
                input + page.bytes_at};
}

// registers: 32
KERNEL BOUNDS(256, 4) clear(PARAMETERS) {
    const Dictionary dictionary{chunks[block_y()], states[block_y()], pages, input, scratch};
    for (u32 i = chunk_thread(); i < dictionary.chunk.buckets; i += chunk_threads()) dictionary.table()[i] = 0;
    for (u32 i = chunk_thread(); i < dictionary.mark_words(); i += chunk_threads()) dictionary.marks()[i] = 0;
    if (chunk_thread() == 0) dictionary.state = DictionaryState{};
}

// registers: 64
KERNEL BOUNDS(256, 4) insert(PARAMETERS) {
    SHARED(u32, warps, WARPS + 1);
    const Page &page = pages[block_x()];
    if (page.chunk == NO_CHUNK) return;
    const Dictionary dictionary{chunks[page.chunk], states[page.chunk], pages, input, scratch};
    const Rows rows = rows_of(input, page);
    const u32 base = (block_x() - dictionary.chunk.first_page) << dictionary.chunk.shift;
    bool full = false;
    for (u32 row = thread(); row < rows.count() && !full; row += WIDE) {
        full = rows.has_value(row) && !intern(dictionary, base + row);
    }
    if (full) atomic_max(&dictionary.state.failed, 1);
    const u32 values = count_values(rows, warps);
    if (thread() == 0) atomic_add(&dictionary.state.values, values);
}

// registers: 32
KERNEL BOUNDS(256, 4) mark(PARAMETERS) {
    const Dictionary dictionary{chunks[block_y()], states[block_y()], pages, input, scratch};
    if (dictionary.state.failed) return;
    for (u32 i = chunk_thread(); i < dictionary.chunk.buckets; i += chunk_threads()) {
        const u32 found = dictionary.table()[i];
        if (found != 0) atomic_or(&dictionary.marks()[(found - 1) / 32], 1u << (found - 1) % 32);
    }
}

// registers: 64
KERNEL BOUNDS(256, 1) rank(PARAMETERS) {
    SHARED(u32, warps, WARPS + 1);
    const Dictionary dictionary{chunks[block_x()], states[block_x()], pages, input, scratch};
    if (dictionary.state.failed) return;
    constexpr u32 EACH = 8;
    const u32 words = dictionary.mark_words();
    u32 before = 0;
    for (u32 first = 0; first < words; first += WIDE * EACH) {
        const u32 start = first + thread() * EACH, end = least(start + EACH, words);
        u32 own = 0, all;
        for (u32 word = start; word < end; word++) own += count_bits(dictionary.marks()[word]);
        u32 rank = before + block_scan(own, warps, all);
        for (u32 word = start; word < end; word++) {
            dictionary.ranks()[word] = rank;
            rank += count_bits(dictionary.marks()[word]);
        }
        before += all;
    }
}

// registers: 32
KERNEL BOUNDS(256, 4) number(PARAMETERS) {
    const Dictionary dictionary{chunks[block_y()], states[block_y()], pages, input, scratch};
    if (dictionary.state.failed) return;
    for (u32 i = chunk_thread(); i < dictionary.chunk.buckets; i += chunk_threads()) {
        const u32 found = dictionary.table()[i];
        if (found == 0) continue;
        const u32 entry = rank_of(dictionary, found - 1);
        dictionary.firsts()[entry] = found - 1;
        dictionary.table()[i] = entry;
    }
}

// Bytes of the chunk's values in PLAIN. All threads of the block take part.
DEVICE u64 plain_bytes(const Dictionary &dictionary, u64 *warps) {
    const DictionaryChunk &chunk = dictionary.chunk;
    const u8 shape = dictionary.page_of(0).shape;
    const u64 values = dictionary.state.values;
    if (shape != STRINGS) return values * width_of(shape);
    u64 own = 0, all;
    for (u32 i = thread(); i < chunk.pages; i += WIDE) {
        const Rows rows = rows_of(dictionary.input, dictionary.pages[chunk.first_page + i]);
        own += rows.offsets()[rows.count()] - rows.offsets()[0];
    }
    block_scan(own, warps, all);
    return all + 4 * values;
}

// registers: 72
KERNEL BOUNDS(256, 1) decide(PARAMETERS) {
    SHARED(u64, warps, WARPS + 1);
    const Dictionary dictionary{chunks[block_x()], states[block_x()], pages, input, scratch};
    DictionaryState &state = dictionary.state;
    if (thread() == 0) bodies[count + block_x()] = Body{0, 0, 0};
    if (state.failed || state.values == 0) return;

    // Step 1: where the entries' values start.
    const u32 entries = state.entries;
    const bool strings = dictionary.page_of(0).shape == STRINGS;
    u64 bytes = strings ? 0 : u64(entries) * width_of(dictionary.page_of(0).shape);
    for (u32 first = 0; first < entries && bytes <= dictionary.chunk.most_bytes; first += WIDE) {
        const u32 entry = first + thread(), known = least(entry, entries - 1);
        if (!strings) {
            dictionary.starts()[known] = known * width_of(dictionary.page_of(0).shape);
            continue;
        }
        u64 own = 0, all;
        if (entry < entries) own = 4 + find_value(dictionary, dictionary.firsts()[entry]).bytes;
        const u64 before = bytes + block_scan(own, warps, all);
        if (entry < entries) dictionary.starts()[entry] = u32(before);
        bytes += all;
    }

    // Step 2: whether all that is worth while. A quarter has to be saved: what codecs make of plain values
    // is smaller, too.
    const u64 plain = plain_bytes(dictionary, warps);
    // 0 would do for a single entry, but not every reader has met it.
    const u32 width = entries > 1 ? 32 - leading_zeros(entries - 1) : 1;
    const u64 indices = (u64(state.values) * width + 7) / 8;
    if (thread() != 0) return;
    const bool used = bytes <= dictionary.chunk.most_bytes && 4 * (bytes + indices) <= 3 * plain;
    state.bytes = u32(bytes);
    state.width = width;
    state.plain = plain;
    state.used = used;
    if (used) bodies[count + block_x()] = Body{dictionary.chunk.body_at, u32(bytes), entries};
}

// registers: 48
KERNEL BOUNDS(256, 4) entries(PARAMETERS) {
    const Dictionary dictionary{chunks[block_y()], states[block_y()], pages, input, scratch};
    if (!dictionary.state.used) return;
    u8 *body = output + dictionary.chunk.body_at;
    const bool strings = dictionary.page_of(0).shape == STRINGS;
    // A warp an entry, a lane a byte: dictionaries are small.
    for (u32 i = chunk_thread() / 32; i < dictionary.state.entries; i += chunk_threads() / 32) {
        const Value value = find_value(dictionary, dictionary.firsts()[i]);
        u8 *to = body + dictionary.starts()[i];
        if (strings) {
            if (lane() < 4) to[lane()] = u8(value.bytes >> 8 * lane());
            to += 4;
        }
        for (u32 at = lane(); at < value.bytes; at += 32) to[at] = value.base[value.at + at];
    }
}

// The pages of the chunk are indices.
DEVICE bool has_dictionary(const Page &page, const DictionaryState *states) {
    return page.chunk != NO_CHUNK && states[page.chunk].used;
}

DEVICE bool has_deltas(const Page &page) {
    return page.encoding == DELTA_BINARY_PACKED || page.encoding == DELTA_LENGTH_BYTE_ARRAY;
}

DEVICE u32 put_plain(const Rows &rows, u32 nulls, u8 *to, Stage &stage, u32 *warps) {
    switch (rows.page.shape) {
    case BITS: return put_bits(rows, to, stage, warps);
    case FIXED4: return put_fixed<u32>(rows, nulls, to, stage, warps);
    case FIXED8: return put_fixed<u64>(rows, nulls, to, stage, warps);
    case FIXED16: return put_fixed<u128>(rows, nulls, to, stage, warps);
    default: return put_strings(rows, to, stage, warps);
    }
}

// registers: 64
KERNEL BOUNDS(256, 4) encode(PARAMETERS) {
    SHARED(Stage, stage, 1);
    SHARED(u32, warps, 33);
    const Page &page = pages[block_x()];
    const Rows rows = rows_of(input, page);
    const u32 nulls = rows.count() - count_values(rows, warps);
    // Bodies of strings lie as far apart as their bytes say.
    const u64 at = align_up(page.body_at + (page.shape == STRINGS ? rows.offsets()[0] : 0), 16);
    const u32 levels = put_levels(rows, nulls, output + at, stage->hybrid, warps);
    u8 *to = output + at + levels;
    u32 values;
    if (has_dictionary(page, states)) {
        const Dictionary dictionary{chunks[page.chunk], states[page.chunk], pages, input, scratch};
        const u32 base = (block_x() - dictionary.chunk.first_page) << dictionary.chunk.shift;
        values = put_indices(rows, nulls, dictionary.state.width, dictionary.table(), dictionary.codes() + base,
                             to, *stage, warps);
    } else if (has_deltas(page)) {
        values = 0; // `deltas` writes them
    } else if (page.encoding == BYTE_STREAM_SPLIT) {
        values = page.shape == FIXED4 ? put_split<u32>(rows, nulls, to, *stage, warps)
                                      : put_split<u64>(rows, nulls, to, *stage, warps);
    } else {
        values = put_plain(rows, nulls, to, *stage, warps);
    }
    block_sync();
    const Bounds found = find_bounds(rows, stage->keys, warps);
    if (thread() != 0) return;
    bodies[block_x()] = Body{at, levels + values, nulls};
    bounds[block_x()] = found;
}

// registers: 64
KERNEL BOUNDS(256, 4) deltas(PARAMETERS) {
    SHARED(DeltaStage, stage, 1);
    const Page &page = pages[block_x()];
    if (!has_deltas(page) || has_dictionary(page, states)) return;
    const Rows rows = rows_of(input, page);
    const Body body = bodies[block_x()];
    const u32 values = rows.count() - body.nulls;
    if (values == 0) return;
    // The body has only levels so far.
    const u32 bytes = put_deltas(rows, values, output + body.at + body.bytes, *stage);
    if (thread() == 0) bodies[block_x()].bytes = body.bytes + bytes;
}

// registers: 64
KERNEL BOUNDS(256, 4) find_ends(PARAMETERS) {
    SHARED(u32, found, WIDE);
    const Page &page = pages[block_x()];
    if (page.shape != STRINGS || page.order == NO_ORDER) return;
    const Rows rows = rows_of(input, page);
    const u32 values = rows.count() - bodies[block_x()].nulls;
    const u32 bytes = rows.offsets()[rows.count()] - rows.offsets()[0];
    if (thread() == 0) bounds[block_x()] = Bounds{0, bytes, 0, 0, values, 0};
    if (values != 0) put_ends(input, rows, found, ends[block_x()]);
}
