// Snappy's elements for one segment of a page, by one warp (google/snappy, format_description.txt).
//
// A stream is the length of what it holds as a varint, then elements: literals, and copies of what lies a
// distance back. The elements of a page's segments are the page's when they are joined.
#pragma once
#include "match.cuh"

constexpr u32 LONGEST_COPY = 64;
// Only literals above 60 bytes and short copies beside them take more than they stand for: 61 + 4 bytes take 66.
// The last literal, 65,536 bytes at most, has a head of 3.
static_assert(SEGMENT_ROOM >= SEGMENT + SEGMENT / 65 + 3, "room for a segment's elements");

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

// The elements of a window from the first of several copies up to the last, without the last.
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

struct SnappyElements {
    // Bytes written.
    u32 out;

    // A window's copies and what comes before them, from byte `literal` on.
    DEVICE void put(const Segment &segment, u32 literal, u32 at, const Seen &seen, const Chosen &chosen) {
        const u32 first = trailing_zeros(chosen.lanes), last = last_lane(chosen.lanes);
        out = put_literal(segment, literal, at + first, out);
        if (first != last) out = put_between(segment, at, seen, chosen, out);
        const u32 distance = at + last - shuffle(seen.source, last);
        out = put_copies(segment.to, out, distance, chosen.end - last);
    }

    DEVICE void finish(const Segment &segment, u32 literal) {
        out = put_literal(segment, literal, segment.bytes, out);
    }
};
