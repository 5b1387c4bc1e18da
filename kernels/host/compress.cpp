// The compress kernels as a program on the host, for tests: see src/gpu/testing/host_compress_tests.rs.
//
// Each request on stdin: u32 pages, output bytes, codec (1: Snappy, 2: LZ4), seed; each
// page's u32 bytes, then the pages end to end.
// Each answer on stdout: u32 1 when the kernels failed, else 0, each page's u32 bytes, and the streams end to
// end. Buffers are just as large as compress.cu says, so that the sanitizers see what is read or written
// outside of them; between the pages lies garbage.
#include "../compress.cu"
#include "areas.hpp"

int main() {
    u32 request[4];
    while (read_all(request, sizeof request)) {
        const auto [count, output_bytes, codec, seed] = request;
        const bool lz4 = codec == 2;
        std::vector<Page> pages(count);
        u64 at = 0;
        u32 bound = 0;
        for (Page &page : pages) {
            if (!read_all(&page.bytes, 4)) return 1;
            page.at = at;
            at = align_up(at + page.bytes, 16);
            bound += std::max(1u, (page.bytes + SEGMENT - 1) / SEGMENT);
        }
        // The last page may be read up to a multiple of 4, no further.
        if (count > 0) at = pages.back().at + align_up(pages.back().bytes, 4);
        const Area input = area(at), output = area(output_bytes);
        for (const Page &page : pages) {
            if (!read_all(input.get() + page.at, page.bytes)) return 1;
        }
        const u64 room = 256 + align_up(4 * (u64(count) + 1), 64) + align_up(4 * u64(bound), 64) +
                         align_up(8 * (u64(bound) + 1), 64) + (sizeof(Edges) + SEGMENT_ROOM) * u64(bound);
        const Area scratch = area(room);
        std::vector<Body> bodies(count + 1);
        auto run = [&](auto kernel, u32 blocks, u32 threads) {
            emulate::launch({blocks}, threads, 0, seed, [&, kernel] {
                kernel(input.get(), pages.data(), output.get(), bodies.data(), scratch.get(), output_bytes,
                       count, bound);
            });
        };
        // Blocks beyond the last segment do nothing.
        const u32 blocks = bound + 1;
        run(divide, 1, 256);
        run(lz4 ? compress_lz4 : compress_snappy, blocks, 32);
        if (lz4) run(measure, count, 32);
        run(place, 1, 256);
        run(lz4 ? join_lz4 : join_snappy, blocks, 256);
        const u32 failed = bodies[count].bytes != 0;
        write_all(&failed, 4);
        if (!failed) {
            for (u32 i = 0; i < count; i++) write_all(&bodies[i].bytes, 4);
            write_all(output.get(), bodies[count].at);
        }
        std::fflush(stdout);
    }
    return 0;
}
