// The encode kernels as a program on the host, for tests: see src/gpu/host_encode_tests.rs.
//
// Each request on stdin: u32 pages, input bytes, output bytes, seed; the pages' table, then the input. Each
// answer on stdout: the bodies' table, the bounds' table, and the bodies end to end. Buffers are just as large
// as encode.cu says, so that the sanitizers see what is read or written outside of them.
#include "../encode.cu"
#include "areas.hpp"

int main() {
    u32 request[4];
    while (read_all(request, sizeof request)) {
        const auto [count, input_bytes, output_bytes, seed] = request;
        std::vector<Page> pages(count);
        const Area input = area(input_bytes), output = area(output_bytes);
        if (!read_all(pages.data(), count * sizeof(Page)) || !read_all(input.get(), input_bytes)) return 1;
        std::vector<Body> bodies(count);
        std::vector<Bounds> bounds(count);
        emulate::launch({count}, WIDE, 0, seed, [&] {
            plain(input.get(), pages.data(), output.get(), bodies.data(), bounds.data(), count);
        });
        write_all(bodies.data(), count * sizeof(Body));
        write_all(bounds.data(), count * sizeof(Bounds));
        for (const Body &body : bodies) write_all(output.get() + body.at, body.bytes);
        std::fflush(stdout);
    }
    return 0;
}
