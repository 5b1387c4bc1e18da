// The encode kernels as a program on the host, for tests: see src/gpu/testing/host_encode_tests.rs.
//
// Each request on stdin: u32 pages, chunks, input bytes, output bytes, scratch bytes, seed; the pages' and the
// chunks' tables, then the input. Each answer on stdout: the tables of bodies, bounds, ends and states, and the
// bodies end to end. Buffers are just as large as encode.cu says, so that the sanitizers see what is read or
// written outside of them.
#include "../encode.cu"
#include "areas.hpp"

int main() {
    u32 request[6];
    while (read_all(request, sizeof request)) {
        const auto [count, tried, input_bytes, output_bytes, scratch_bytes, seed] = request;
        std::vector<Page> pages(count);
        std::vector<DictionaryChunk> chunks(tried);
        const Area input = area(input_bytes), output = area(output_bytes), scratch = area(scratch_bytes);
        if (!read_all(pages.data(), count * sizeof(Page)) || !read_all(chunks.data(), tried * sizeof(DictionaryChunk)) ||
            !read_all(input.get(), input_bytes))
            return 1;
        std::vector<Body> bodies(count + tried);
        std::vector<Bounds> bounds(count);
        std::vector<Ends> ends(count);
        std::vector<DictionaryState> states(tried);
        auto run = [&](auto kernel, emulate::Index grid) {
            emulate::launch(grid, WIDE, 0, seed, [&, kernel] {
                kernel(input.get(), pages.data(), chunks.data(), output.get(), bodies.data(), bounds.data(),
                       ends.data(), states.data(), scratch.get(), count, tried);
            });
        };
        if (tried != 0) {
            const emulate::Index wide{3, tried}, each{tried};
            run(clear, wide);
            run(insert, {count});
            run(mark, wide);
            run(rank, each);
            run(number, wide);
            run(decide, each);
            run(entries, wide);
        }
        run(encode, {count});
        run(deltas, {count});
        run(find_ends, {count});
        write_all(bodies.data(), bodies.size() * sizeof(Body));
        write_all(bounds.data(), count * sizeof(Bounds));
        write_all(ends.data(), count * sizeof(Ends));
        write_all(states.data(), tried * sizeof(DictionaryState));
        for (const Body &body : bodies) write_all(output.get() + body.at, body.bytes);
        std::fflush(stdout);
    }
    return 0;
}
