// Snappy's elements for one segment of a page, by one warp (google/snappy, format_description.txt).
//
// A stream is the length of what it holds as a varint, then elements: literals, and copies of what lies a
// distance back. No element here reaches back beyond its segment, so the elements of a page's segments, made
// apart, are the page's when they are joined.
//
// The warp looks at a window of 32 positions at once, a lane each:
//
//     find      the four bytes at the position hash to the place of an earlier position, of this window
//               (`match`) or one before (the table); the lane compares up to 16 bytes there
//     choose    the first match, then the first behind its end, and so on; one that is equal in all
//               16 bytes goes on as far as it can, all lanes comparing
//     put       literals and copies, each lane what its own byte is part of, at places that a scan tells
//     remember  the positions, in the table
//
// The bytes depend on nothing but the segment: of the lanes that hash to one place, the last is remembered.
#pragma once
#include "bytes.cuh"
#include "warp.cuh"

// Distances in a segment fit the two bytes that a copy has for them, positions an entry of the table.
constexpr u32 SEGMENT = 65536;
constexpr u32 TABLE_BITS = 13, TABLE = 1 << TABLE_BITS;
constexpr u32 LEAST_MATCH = 4, SEEN = 16, LONGEST_COPY = 64;
// The most bytes that a segment's elements take. Only literals above 60 bytes and short copies beside them
// take more than they stand for: 61 + 4 bytes take 66. The last literal, 65,536 bytes at most, has a head of 3.
constexpr u32 SLOT = SEGMENT + SEGMENT / 64 + 16;

DEVICE u32 lanes_before() { return (1u << lane()) - 1; }
DEVICE u32 last_lane(u32 lanes) { return 31 - leading_zeros(lanes); }
DEVICE u32 place_in_table(u32 bytes) { return bytes * 0x9E3779B1u >> (32 - TABLE_BITS); }

// Equal bytes at the start, 16 at most.
DEVICE u32 count_same(u64 low, u64 high, u64 other_low, u64 other_high) {
    u64 differ = low ^ other_low, differ_high = high ^ other_high;
    if (differ != 0) return trailing_zeros(differ) / 8;
    return differ_high != 0 ? 8 + trailing_zeros(differ_high) / 8 : SEEN;
}

struct Segment {
    const u8 *from;
    u32 bytes;
    u8 *to;
};

// What a lane found at its position.
struct Seen {
    // The position's first byte in the lowest bits.
    u32 bytes;
    u32 place, peers;
    u32 source, length;
};

DEVICE Seen find(const Segment &segment, u32 at, const u16 *table) {
    const u32 own = at + lane(), last = segment.bytes - 1;
    const bool inside = own + LEAST_MATCH <= segment.bytes;
    u64 low, high;
    load128(segment.from, inside ? own : at, last, low, high);
    Seen seen{u32(low), inside ? place_in_table(u32(low)) : TABLE + lane(), 0, 0, 0};
    seen.peers = match(seen.place);
    const u32 before = seen.peers & lanes_before();
    if (!inside) return seen;
    seen.source = before != 0 ? at + last_lane(before) : table[seen.place];
    if (seen.source >= own) return seen;
    u64 other_low, other_high;
    load128(segment.from, seen.source, last, other_low, other_high);
    seen.length = least(count_same(low, high, other_low, other_high), segment.bytes - own);
    return seen;
}

// How far the bytes at `own` equal those at `source`, of which `length` do. The same for all lanes.
DEVICE u32 extend(const Segment &segment, u32 own, u32 source, u32 length) {
    const u32 last = segment.bytes - 1;
    while (own + length < segment.bytes) {
        u32 next = own + length + 4 * lane(), same = 0;
        if (next < segment.bytes) {
            u32 differ =
                load32(segment.from, next, last) ^ load32(segment.from, next - (own - source), last);
            same = least(differ != 0 ? trailing_zeros(differ) / 8 : 4, segment.bytes - next);
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
    // Where the copy that begins before this lane ends, unless it is the extended one; 0 without one.
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
        // Behind a long one the next window begins.
        if (chosen.extended) break;
    }
    if (chosen.lanes != 0) {
        const u32 before = chosen.lanes & lanes_before(), earlier = before != 0 ? last_lane(before) : 0;
        const u32 end = earlier + shuffle(seen.length, earlier);
        chosen.reach = before != 0 ? end : 0;
    }
    return chosen;
}

DEVICE bool is_short_copy(u32 distance, u32 length) { return length <= 11 && distance < 2048; }
DEVICE u32 copy_size(u32 distance, u32 length) { return is_short_copy(distance, length) ? 2 : 3; }

// A copy of 4 to 64 bytes; less than 4 never come.
DEVICE void put_copy(u8 *to, u32 distance, u32 length) {
    if (is_short_copy(distance, length)) {
        to[0] = u8(1 | (length - 4) << 2 | distance >> 8 << 5);
        to[1] = u8(distance);
    } else {
        to[0] = u8(2 | (length - 1) << 2);
        to[1] = u8(distance);
        to[2] = u8(distance >> 8);
    }
}

// A copy of any length, the same for all lanes. Gives where the next element goes.
DEVICE u32 put_copies(u8 *to, u32 out, u32 distance, u32 length) {
    // At least four bytes are left for the last, so that it can be a short one.
    const u32 full = (length - LEAST_MATCH) / LONGEST_COPY;
    for (u32 i = lane(); i < full; i += 32) put_copy(to + out + 3 * i, distance, LONGEST_COPY);
    out += 3 * full;
    u32 rest = length - LONGEST_COPY * full;
    if (rest > LONGEST_COPY) {
        if (lane() == 0) put_copy(to + out, distance, 60);
        out += 3;
        rest -= 60;
    }
    if (lane() == 0) put_copy(to + out, distance, rest);
    return out + copy_size(distance, rest);
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

// The literal of bytes [begin, end), unless it is empty. Gives where the next element goes.
DEVICE u32 put_literal(const Segment &segment, u32 begin, u32 end, u32 out) {
    const u32 bytes = end - begin;
    if (bytes == 0) return out;
    const u32 number = bytes - 1, head = number < 60 ? 1 : number < 256 ? 2 : 3;
    if (lane() == 0) {
        segment.to[out] = u8((number < 60 ? number : 58 + head) << 2);
        if (head > 1) segment.to[out + 1] = u8(number);
        if (head > 2) segment.to[out + 2] = u8(number >> 8);
    }
    copy_bytes(segment.from, begin, bytes, segment.to + out + head);
    return out + head + bytes;
}

// What lies in a window from the first of several copies up to the last, that one left out.
DEVICE u32 put_between(const Segment &segment, u32 at, const Seen &seen, const Chosen &chosen, u32 out) {
    const u32 last = last_lane(chosen.lanes);
    const bool copy = (chosen.lanes >> lane() & 1) != 0 && lane() != last;
    const bool literal = chosen.reach != 0 && lane() >= chosen.reach && lane() < last && !copy;
    const bool first = literal && lane() == chosen.reach;
    const u32 distance = at + lane() - seen.source;
    const u32 size = copy ? copy_size(distance, seen.length) : u32(literal) + u32(first);
    const u32 place = out + warp_scan(size);
    if (copy) put_copy(segment.to + place, distance, seen.length);
    // Shorter than 32 bytes.
    if (first) segment.to[place] = u8((trailing_zeros(chosen.lanes >> lane()) - 1) << 2);
    if (literal) segment.to[place + u32(first)] = u8(seen.bytes);
    return shuffle(place + size, 31);
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

// Compresses a segment, whose start is a multiple of 4, and gives the bytes written. All lanes take part.
// `table`: of the warp alone.
DEVICE u32 compress(const Segment &segment, u16 *table) {
    for (u32 i = lane(); i < TABLE / 2; i += 32) reinterpret_cast<u32 *>(table)[i] = 0;
    warp_sync();
    u32 at = 0, literal = 0, out = 0;
    while (at + LEAST_MATCH <= segment.bytes) {
        const Seen seen = find(segment, at, table);
        const Chosen chosen = choose(segment, at, seen);
        const u32 step = chosen.extended || chosen.end > 32 ? chosen.end : 32;
        if (chosen.lanes != 0) {
            const u32 first = trailing_zeros(chosen.lanes), last = last_lane(chosen.lanes);
            out = put_literal(segment, literal, at + first, out);
            if (first != last) out = put_between(segment, at, seen, chosen, out);
            const u32 distance = at + last - shuffle(seen.source, last);
            out = put_copies(segment.to, out, distance, chosen.end - last);
            literal = at + chosen.end;
        }
        remember(at, seen, chosen, step, table);
        at += step;
    }
    return put_literal(segment, literal, segment.bytes, out);
}
