// Compress: many buffers, such as a row group's pages, to Snappy streams or LZ4 blocks end to end.
//
// Built as decode.cu is. match.cuh, snappy.cuh and lz4.cuh compress a segment; this file divides pages into segments
// and joins the results.
//
// # Launches
//
// In this order, on one stream. Every kernel takes the same eight parameters:
//
//     const u8 *input     the pages' bytes: 256-byte aligned
//     const Page *pages   `count` of them
//     u8 *output          256-byte aligned; it need not be cleared
//     Body *bodies        `count + 1` of them, written
//     u8 *scratch         256-byte aligned; it need not be cleared
//     u64 output_bytes    bytes of `output`
//     u32 count           pages
//     u32 bound           segments that there is room for: at least the sum of max(1, ceil(bytes / 65536))
//                         over the pages, which the host need not know exactly
//
//     scratch = 256 + align(4 * (count + 1), 64) + align(4 * bound, 64) + align(8 * (bound + 1), 64)
//               + 66592 * bound                                                      bytes
//
//     kernel            grid     block   dynamic shared memory   left out
//     divide            1        256     0                       never
//     compress_CODEC    bound    32      0                       when bound == 0
//     measure           count    32      0                       when count == 0, and for snappy
//     place             1        256     0                       never
//     join_CODEC        bound    256     0                       when bound == 0
//
// CODEC is snappy or lz4.
//
// # Result
//
// bodies[i]: where in `output` the stream of page i is, at no alignment, and its bytes. bodies[count].at:
// bytes of `output` in use; bodies[count].bytes: 0, or FAILED when `output` or `bound` is too small, and then
// nothing else has a meaning. The bytes depend on the pages alone.
#include "copy.cuh"
#include "lz4.cuh"
#include "snappy.cuh"

#define PARAMETERS                                                                                     \
    const u8 *input, const Page *pages, u8 *output, Body *bodies, u8 *scratch, u64 output_bytes, u32 count, \
        u32 bound

constexpr u32 FAILED = ~0u, WIDE = 256;

// `at`: a multiple of 16. The page is read up to its length rounded up to 4.
struct Page {
    u64 at;
    u32 bytes, reserved;
};

struct Body {
    u64 at;
    u32 bytes, reserved;
};

struct Plan {
    u32 failed, segments;
};

struct Layout {
    const Page *pages;
    u8 *scratch;
    u32 count, bound;

    DEVICE Plan &plan() const { return *reinterpret_cast<Plan *>(scratch); }
    // The first segment of each page, and one more.
    DEVICE u32 *firsts() const { return reinterpret_cast<u32 *>(scratch + 256); }
    DEVICE u64 sizes_at() const { return 256 + align_up(4 * (u64(count) + 1), 64); }
    // The bytes that each segment adds to its page's stream.
    DEVICE u32 *sizes() const { return reinterpret_cast<u32 *>(scratch + sizes_at()); }
    DEVICE u64 starts_at() const { return sizes_at() + align_up(4 * u64(bound), 64); }
    // The start of each segment in the output, and the end of the last.
    DEVICE u64 *starts() const { return reinterpret_cast<u64 *>(scratch + starts_at()); }
    DEVICE u64 edges_at() const { return starts_at() + align_up(8 * (u64(bound) + 1), 64); }
    DEVICE Edges *edges() const { return reinterpret_cast<Edges *>(scratch + edges_at()); }
    DEVICE u8 *room(u32 segment) const {
        return scratch + edges_at() + sizeof(Edges) * u64(bound) + u64(segment) * SEGMENT_ROOM;
    }
};

// A segment's place in its page.
struct Part {
    u32 page, at, bytes;
};

DEVICE Part find_part(const Layout &layout, u32 segment) {
    const u32 page = last_at_most(layout.firsts(), 0, layout.count, segment);
    const u32 at = (segment - layout.firsts()[page]) * SEGMENT;
    return Part{page, at, least(SEGMENT, layout.pages[page].bytes - at)};
}

// Bytes of the page's length at its stream's start.
DEVICE u32 head_size(u32 bytes) {
    return 1 + u32(bytes >= 1 << 7) + u32(bytes >= 1 << 14) + u32(bytes >= 1 << 21) + u32(bytes >= 1 << 28);
}

DEVICE void put_head(u8 *to, u32 bytes) {
    for (; bytes >= 0x80; bytes >>= 7) *to++ = u8(bytes | 0x80);
    *to = u8(bytes);
}

// registers: 40
KERNEL BOUNDS(256, 1) divide(PARAMETERS) {
    SHARED(u64, warps, WIDE / 32 + 1);
    const Layout layout{pages, scratch, count, bound};
    u64 segments = 0;
    for (u32 first = 0; first < count; first += WIDE) {
        const u32 page = first + thread();
        u64 own = 0, all;
        // An empty page has a segment too: its stream is the length alone.
        if (page < count) own = pages[page].bytes == 0 ? 1 : (u64(pages[page].bytes) + SEGMENT - 1) / SEGMENT;
        const u64 before = segments + block_scan(own, warps, all);
        if (page < count) layout.firsts()[page] = u32(before);
        segments += all;
    }
    if (thread() != 0) return;
    layout.firsts()[count] = u32(segments);
    layout.plan() = Plan{segments > bound ? 1u : 0u, segments > bound ? 0 : u32(segments)};
}

// registers: 72
KERNEL BOUNDS(32, 16) compress_snappy(PARAMETERS) {
    SHARED(u32, table, TABLE / 2);
    const Layout layout{pages, scratch, count, bound};
    if (block_x() >= layout.plan().segments) return;
    const Part part = find_part(layout, block_x());
    const Page &page = pages[part.page];
    const u32 bytes = part.bytes;
    const Segment segment{input + page.at + part.at, bytes, stop_of(bytes), bytes, layout.room(block_x())};
    SnappyElements elements{0};
    compress(segment, reinterpret_cast<u16 *>(table), elements);
    const u32 head = part.at == 0 ? head_size(page.bytes) : 0;
    if (lane() == 0) layout.sizes()[block_x()] = head + elements.out;
}

// registers: 72
KERNEL BOUNDS(32, 16) compress_lz4(PARAMETERS) {
    SHARED(u32, table, TABLE / 2);
    const Layout layout{pages, scratch, count, bound};
    if (block_x() >= layout.plan().segments) return;
    const Part part = find_part(layout, block_x());
    const Page &page = pages[part.page];
    const Segment segment =
        lz4_segment(input + page.at + part.at, part.bytes, page.bytes - part.at, layout.room(block_x()));
    Lz4Sequences sequences{Edges{0, 0, 0, 0}};
    compress(segment, reinterpret_cast<u16 *>(table), sequences);
    if (lane() == 0) layout.edges()[block_x()] = sequences.edges;
}

// How long the runs of literals between LZ4's segments are, and with them the segments. A page a block.
// registers: 40
KERNEL BOUNDS(32, 16) measure(PARAMETERS) {
    const Layout layout{pages, scratch, count, bound};
    if (layout.plan().failed) return;
    const u32 first = layout.firsts()[block_x()], end = layout.firsts()[block_x() + 1];
    const u32 page_bytes = pages[block_x()].bytes;
    // The start of the run that is open before the 32 segments.
    u32 open_at = 0;
    for (u32 base = first; base < end; base += 32) {
        const u32 segment = base + lane(), at = (segment - first) * SEGMENT;
        const Edges edges = segment < end ? layout.edges()[segment] : Edges{0, 0, 0, 0};
        const u32 tail_at = at + least(SEGMENT, page_bytes - at) - edges.tail;
        const u32 matched = ballot(edges.bytes != 0), before = matched & lanes_before();
        const u32 found = shuffle(tail_at, before != 0 ? last_lane(before) : 0);
        const u32 run_at = before != 0 ? found : open_at;
        u32 size = edges.bytes != 0 ? run_bytes(at + edges.lead - run_at) + edges.bytes - 1 : 0;
        if (segment + 1 == end) size += run_bytes(page_bytes - (edges.bytes != 0 ? tail_at : run_at));
        if (segment < end) {
            layout.edges()[segment].run_at = run_at;
            layout.sizes()[segment] = size;
        }
        if (matched != 0) open_at = shuffle(tail_at, last_lane(matched));
    }
}

// registers: 40
KERNEL BOUNDS(256, 1) place(PARAMETERS) {
    SHARED(u64, warps, WIDE / 32 + 1);
    const Layout layout{pages, scratch, count, bound};

    // Step 1: where the segments go.
    const u32 segments = layout.plan().segments;
    u64 bytes = 0;
    for (u32 first = 0; first < segments; first += WIDE) {
        const u32 segment = first + thread();
        u64 own = segment < segments ? layout.sizes()[segment] : 0, all;
        const u64 before = bytes + block_scan(own, warps, all);
        if (segment < segments) layout.starts()[segment] = before;
        bytes += all;
    }
    if (thread() == 0) layout.starts()[segments] = bytes;
    block_sync();

    // Step 2: where the pages are, then.
    const bool failed = layout.plan().failed != 0 || bytes > output_bytes;
    for (u32 page = thread(); page < count && !failed; page += WIDE) {
        const u64 at = layout.starts()[layout.firsts()[page]], end = layout.starts()[layout.firsts()[page + 1]];
        bodies[page] = Body{at, u32(end - at), 0};
    }
    block_sync();
    if (thread() != 0) return;
    bodies[count] = Body{failed ? 0 : bytes, failed ? FAILED : 0, 0};
    layout.plan().failed = failed;
}

// registers: 40
KERNEL BOUNDS(256, 4) join_snappy(PARAMETERS) {
    const Layout layout{pages, scratch, count, bound};
    if (block_x() >= layout.plan().segments || layout.plan().failed) return;
    const Part part = find_part(layout, block_x());
    const u32 page_bytes = pages[part.page].bytes, head = part.at == 0 ? head_size(page_bytes) : 0;
    u8 *to = output + layout.starts()[block_x()];
    if (head != 0 && thread() == 0) put_head(to, page_bytes);
    copy_block(layout.room(block_x()), layout.sizes()[block_x()] - head, to + head);
}

// The literals of `page` from `at` on, with the token before them. Gives their size.
DEVICE u32 put_run(const u8 *page, u32 at, u32 literals, u8 code, u8 *to) {
    const u32 head = put_run_head(to, literals, code);
    copy_from(page, at, literals, to + head);
    return head + literals;
}

// registers: 56
KERNEL BOUNDS(256, 4) join_lz4(PARAMETERS) {
    const Layout layout{pages, scratch, count, bound};
    if (block_x() >= layout.plan().segments || layout.plan().failed) return;
    const Part part = find_part(layout, block_x());
    const u8 *page = input + pages[part.page].at, *room = layout.room(block_x());
    const Edges edges = layout.edges()[block_x()];
    u8 *to = output + layout.starts()[block_x()];
    u32 literals_at = edges.run_at;
    if (edges.bytes != 0) {
        to += put_run(page, edges.run_at, part.at + edges.lead - edges.run_at, room[0], to);
        copy_from(room, 1, edges.bytes - 1, to);
        to += edges.bytes - 1;
        literals_at = part.at + part.bytes - edges.tail;
    }
    const u32 end = pages[part.page].bytes;
    if (part.at + part.bytes == end) put_run(page, literals_at, end - literals_at, 0, to);
}
