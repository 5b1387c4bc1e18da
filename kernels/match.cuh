// Finds repeated bytes in a segment of a page, by one warp: the part that formats of the LZ77 family have in common.
//
// No copy reaches back beyond its segment, so that a page's segments can be compressed apart and joined.
//
// The warp looks at a window of 32 positions at once, a lane each:
//
//     find      the bytes at the position hash to the place of an earlier position, of this window
//               (`match`) or one before (the table); the lane compares up to 16 bytes there
//     choose    the first match, then the first behind its end, and so on; one that is equal in all
//               16 bytes goes on as far as it can, all lanes comparing
//     put       literals and copies, as the format has them: each lane what its own byte is part of, at
//               places that a scan tells
//     remember  the positions, in the table
//
// The result depends only on the segment: of the lanes that hash to one place, the last is remembered.
#pragma once
#include "bytes.cuh"
#include "warp.cuh"

// Distances in a segment fit the two bytes that a copy has for them, positions an entry of the table.
constexpr u32 SEGMENT = 65536;
constexpr u32 TABLE_BITS = 13, TABLE = 1 << TABLE_BITS;
// A hash of five bytes: matches of four are shorter than those found a little further back, and hardly pay.
constexpr u32 HASHED = 5, LEAST_MATCH = 4, SEEN = 16;
// The most bytes that a segment takes: snappy.cuh and lz4.cuh say why.
constexpr u32 SEGMENT_ROOM = SEGMENT + SEGMENT / 64 + 16;

DEVICE u32 lanes_before() { return (1u << lane()) - 1; }
DEVICE u32 last_lane(u32 lanes) { return 31 - leading_zeros(lanes); }

DEVICE u32 place_in_table(u64 bytes) {
    return u32((bytes << (64 - 8 * HASHED)) * 0x9E3779B185EBCA87ull >> (64 - TABLE_BITS));
}

// Equal bytes at the start, 16 at most.
DEVICE u32 count_same(u64 low, u64 high, u64 other_low, u64 other_high) {
    u64 differ = low ^ other_low, differ_high = high ^ other_high;
    if (differ != 0) return trailing_zeros(differ) / 8;
    return differ_high != 0 ? 8 + trailing_zeros(differ_high) / 8 : SEEN;
}

// Its start is a multiple of 4.
struct Segment {
    const u8 *from;
    u32 bytes;
    // Copies stand for bytes that begin before `stop`, which `stop_of` is at most, and end at `end` or before.
    u32 stop, end;
    u8 *to;
};

// From here on a segment of so many bytes has not enough of them to hash.
DEVICE u32 stop_of(u32 bytes) { return bytes < HASHED ? 0 : bytes - HASHED + 1; }

// A lane's match at its position.
struct Seen {
    // The position's first byte in the lowest bits.
    u32 bytes;
    u32 place, peers;
    u32 source, length;
};

DEVICE Seen find(const Segment &segment, u32 at, const u16 *table) {
    const u32 own = at + lane(), last = segment.bytes - 1;
    const bool inside = own < segment.stop;
    u64 low, high;
    load128(segment.from, inside ? own : at, last, low, high);
    Seen seen{u32(low), inside ? place_in_table(low) : TABLE + lane(), 0, 0, 0};
    seen.peers = match(seen.place);
    const u32 before = seen.peers & lanes_before();
    if (!inside) return seen;
    seen.source = before != 0 ? at + last_lane(before) : table[seen.place];
    if (seen.source >= own) return seen;
    u64 other_low, other_high;
    load128(segment.from, seen.source, last, other_low, other_high);
    seen.length = least(count_same(low, high, other_low, other_high), segment.end - own);
    return seen;
}

// Returns how far the bytes at `own` equal those at `source`, of which `length` do. The same for all lanes.
DEVICE u32 extend(const Segment &segment, u32 own, u32 source, u32 length) {
    const u32 last = segment.bytes - 1;
    while (own + length < segment.end) {
        u32 next = own + length + 4 * lane(), same = 0;
        if (next < segment.end) {
            u32 differ =
                load32(segment.from, next, last) ^ load32(segment.from, next - (own - source), last);
            same = least(differ != 0 ? trailing_zeros(differ) / 8 : 4, segment.end - next);
        }
        u32 broken = ~ballot(same == 4);
        if (broken != 0) return length + 4 * trailing_zeros(broken) + shuffle(same, trailing_zeros(broken));
        length += 4 * 32;
    }
    return length;
}

// The copies of a window, bits of lanes, and how far they reach: positions from the window's first on.
struct Chosen {
    u32 lanes, end;
    bool extended;
    // The end of the copy that begins before this lane, unless it is the extended one; 0 if there is none.
    u32 reach;
};

DEVICE Chosen choose(const Segment &segment, u32 at, const Seen &seen) {
    const u32 matches = ballot(seen.length >= LEAST_MATCH);
    Chosen chosen{0, 0, false, 0};
    while (chosen.end < 32 && matches >> chosen.end != 0) {
        u32 first = chosen.end + trailing_zeros(matches >> chosen.end), length = shuffle(seen.length, first);
        if (length == SEEN) {
            length = extend(segment, at + first, shuffle(seen.source, first), SEEN);
            chosen.extended = true;
        }
        chosen.lanes |= 1u << first;
        chosen.end = first + length;
        // The next window begins after a long copy.
        if (chosen.extended) break;
    }
    if (chosen.lanes != 0) {
        const u32 before = chosen.lanes & lanes_before(), earlier = before != 0 ? last_lane(before) : 0;
        const u32 end = earlier + shuffle(seen.length, earlier);
        chosen.reach = before != 0 ? end : 0;
    }
    return chosen;
}

// Copies bytes [begin, begin + bytes) of `from`, by aligned words of `to`.
DEVICE void copy_bytes(const u8 *from, u32 begin, u32 bytes, u8 *to) {
    const u32 head = least(u32(-reinterpret_cast<u64>(to)) & 3, bytes), words = (bytes - head) / 4;
    if (lane() < head) to[lane()] = from[begin + lane()];
    for (u32 i = lane(); i < words; i += 32) {
        u32 at = begin + head + 4 * i;
        *reinterpret_cast<u32 *>(to + head + 4 * i) = load32(from, at, at + 3);
    }
    for (u32 i = head + 4 * words + lane(); i < bytes; i += 32) to[i] = from[begin + i];
}

// Remembers the window's positions, up to `step` of them. Of those inside a copy only the last is: it would
// crowd out others, and what follows the copy follows that position too.
DEVICE void remember(u32 at, const Seen &seen, const Chosen &chosen, u32 step, u16 *table) {
    const bool worth = seen.place < TABLE && lane() < step && lane() + 1 >= chosen.reach;
    const u32 lanes = ballot(worth);
    // All have looked into the table.
    warp_sync();
    if (worth && (seen.peers & lanes) >> lane() == 1) table[seen.place] = u16(at + lane());
    warp_sync();
}

// Finds repeated bytes of the segment and puts `elements`. All lanes take part. The warp alone uses `table`.
template <class ELEMENTS> DEVICE void compress(const Segment &segment, u16 *table, ELEMENTS &elements) {
    for (u32 i = lane(); i < TABLE / 2; i += 32) reinterpret_cast<u32 *>(table)[i] = 0;
    warp_sync();
    // Bytes from `literal` on have not been put yet.
    u32 at = 0, literal = 0;
    while (at < segment.stop) {
        const Seen seen = find(segment, at, table);
        const Chosen chosen = choose(segment, at, seen);
        const u32 step = chosen.extended || chosen.end > 32 ? chosen.end : 32;
        if (chosen.lanes != 0) {
            elements.put(segment, literal, at, seen, chosen);
            literal = at + chosen.end;
        }
        remember(at, seen, chosen, step, table);
        at += step;
    }
    elements.finish(segment, literal);
}
