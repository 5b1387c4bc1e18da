// LZ4's sequences for one segment of a page, by one warp (lz4/lz4, doc/lz4_Block_format.md).
//
// A block is sequences: a token, literals, and a copy of what lies a distance back; the last has no copy. The
// token's halves are how many literals there are and how long the copy is beyond 4 bytes; 15 means that bytes
// follow to be added, 255 as often as it takes and what is left. A copy begins at least 12 bytes before the
// page's end and ends at least 5 before it.
//
// The literals behind a segment's last copy go on with those before the next segment's first: they are one run,
// which may reach over segments without a copy, and the token before it tells its length. So a segment is put
// without its first token and literals and without its last ones:
//
//     the lower half of its first token in a byte of its own; distance and length of the first copy; further
//     sequences up to the last copy
//
// and what closes a run, a segment with a copy or the page's last, has the run put before it.
#pragma once
#include "match.cuh"

constexpr u32 MORE = 15, LAST_LITERALS = 5, LAST_COPY = 12;
// A sequence takes more than it stands for when it has 270 literals or more: a byte for each 255 of them.
static_assert(SEGMENT_ROOM >= SEGMENT + SEGMENT / 255 + 3, "room for a segment's sequences");

// A segment that is put: its bytes, 0 without a copy, and the literals before its first and behind its last.
struct Edges {
    u32 bytes, lead, tail;
    // The start in the page of the run that its first literals belong to.
    u32 run_at;
};

// A segment of a page with `left` bytes from the segment's start on.
DEVICE Segment lz4_segment(const u8 *from, u32 bytes, u32 left, u8 *to) {
    if (left < LAST_COPY) return Segment{from, bytes, 0, 0, to};
    const u32 stop = least(stop_of(bytes), left - LAST_COPY + 1);
    return Segment{from, bytes, stop, least(bytes, left - LAST_LITERALS), to};
}

// Bytes that follow the token for a number.
DEVICE u32 more_bytes(u32 number) { return number < MORE ? 0 : (number - MORE) / 255 + 1; }

// All threads of the block take part.
DEVICE void put_more(u8 *to, u32 number) {
    const u32 bytes = more_bytes(number);
    for (u32 i = thread(); i < bytes; i += threads()) to[i] = i + 1 < bytes ? 255 : u8((number - MORE) % 255);
}

DEVICE u8 copy_code(u32 length) { return u8(least(length - LEAST_MATCH, MORE)); }

// Token and further bytes before so many literals. Gives their size. All threads of the block take part.
DEVICE u32 put_run_head(u8 *to, u32 literals, u8 code) {
    if (thread() == 0) to[0] = u8(least(literals, MORE) << 4 | code);
    put_more(to + 1, literals);
    return 1 + more_bytes(literals);
}

DEVICE u32 run_bytes(u32 literals) { return 1 + more_bytes(literals) + literals; }

struct Lz4Sequences {
    Edges edges;

    // From the first copy of a window to the last: distances, and the tokens and literals between them. A copy
    // that is not the last is shorter than 19 bytes, and what lies between two shorter than 32.
    DEVICE u32 put_window(const Segment &segment, u32 at, const Seen &seen, const Chosen &chosen, u32 out) {
        const u32 last = last_lane(chosen.lanes), rest = chosen.lanes >> lane();
        const bool copy = (rest & 1) != 0, behind = chosen.reach != 0 && lane() <= last;
        const bool literal = behind && lane() >= chosen.reach && !copy;
        const bool opens = behind && lane() == chosen.reach;
        const u32 literals = rest != 0 ? trailing_zeros(rest) : 0, next = lane() + literals;
        const u32 seen_length = shuffle(seen.length, next);
        const u32 head = opens ? 1 + more_bytes(literals) : 0;
        const u32 place = out + warp_scan(head + u32(literal) + 2 * u32(copy));
        if (opens) {
            const u32 length = next == last ? chosen.end - last : seen_length;
            segment.to[place] = u8(least(literals, MORE) << 4 | copy_code(length));
            if (head > 1) segment.to[place + 1] = u8(literals - MORE);
        }
        if (literal) segment.to[place + head] = u8(seen.bytes);
        if (copy) {
            const u32 distance = at + lane() - seen.source;
            segment.to[place + head] = u8(distance);
            segment.to[place + head + 1] = u8(distance >> 8);
        }
        return shuffle(place + head + u32(literal) + 2 * u32(copy), 31);
    }

    // A window's copies and what comes before them, from byte `literal` on.
    DEVICE void put(const Segment &segment, u32 literal, u32 at, const Seen &seen, const Chosen &chosen) {
        const u32 first = trailing_zeros(chosen.lanes), last = last_lane(chosen.lanes);
        const u32 length = first == last ? chosen.end - last : shuffle(seen.length, first);
        u32 out = edges.bytes;
        if (out == 0) {
            edges.lead = at + first;
            if (lane() == 0) segment.to[0] = copy_code(length);
            out = 1;
        } else {
            const u32 literals = at + first - literal;
            out += put_run_head(segment.to + out, literals, copy_code(length));
            copy_bytes(segment.from, literal, literals, segment.to + out);
            out += literals;
        }
        out = put_window(segment, at, seen, chosen, out);
        put_more(segment.to + out, chosen.end - last - LEAST_MATCH);
        edges.bytes = out + more_bytes(chosen.end - last - LEAST_MATCH);
    }

    DEVICE void finish(const Segment &segment, u32 literal) { edges.tail = segment.bytes - literal; }
};
