// The decode kernels as a program on the host, for tests: see src/gpu/testing/host_kernels_tests.rs.
//
// Each request on stdin: u32 input bytes, output bytes, shared memory, seed; the input region. Each answer on
// stdout: u32 bytes, and as many of the output region. Input, output and scratch are just as large as
// decode.cu says, so that the sanitizers see what is read or written outside of them.
#include "../decode.cu"
#include "areas.hpp"

namespace {

// The region with its data moved to the end: what is read behind the data is then behind the region.
Area data_last(const u8 *region, size_t bytes) {
    Header header;
    std::memcpy(&header, region, sizeof header);
    const size_t at = align_up(bytes, 4096), end = align_up(at + header.data_bytes, 16);
    Area moved = area(end);
    std::memcpy(moved.get(), region, bytes);
    std::memset(moved.get() + header.data_at, emulate::GARBAGE, header.data_bytes);
    std::memcpy(moved.get() + at, region + header.data_at, header.data_bytes);
    header.data_at = static_cast<u32>(at);
    std::memcpy(moved.get(), &header, sizeof header);
    return moved;
}

u32 count_varying(const u8 *input) {
    const Slot slot{input, nullptr, nullptr};
    u32 found = 0;
    for (u32 a = 0; a < slot.header().attrs; a++) found += width(slot.attrs()[a].op) == VARYING;
    return found;
}

void decode(const u8 *input, u8 *output, u32 output_bytes, u32 shared, u32 seed) {
    const Header &header = *reinterpret_cast<const Header *>(input);
    const u32 tiles = header.rows / ROWS + (header.rows % ROWS != 0), varying = count_varying(input);
    const u32 splits = std::clamp(header.data_bytes / 65536 / std::max(tiles, 1u), 1u, 64u);
    const Area scratch =
        area(256 + 64 * size_t(header.attrs + header.columns) + 1056 * size_t(tiles) * varying);
    auto run = [&](auto kernel, emulate::Index grid, u32 shared) {
        emulate::launch(grid, ROWS, shared, seed, [&, kernel] {
            kernel(input, output, scratch.get(), output_bytes);
        });
    };
    run(plan, {}, 0);
    if (header.rows != 0) run(header.kind == HEAP ? walk_heap : walk_copy, {tiles}, shared);
    if (varying == 0) return;
    run(scan, {varying}, 0);
    if (header.rows == 0) return;
    run(offsets, {tiles, varying}, 0);
    run(gather, {tiles, varying, splits}, 0);
}

} // namespace

int main() {
    u32 request[4];
    while (read_all(request, sizeof request)) {
        const auto [bytes, output_bytes, shared, seed] = request;
        const Area region = area(bytes), output = area(output_bytes);
        if (!read_all(region.get(), bytes)) return 1;
        const Area input = data_last(region.get(), bytes);
        decode(input.get(), output.get(), output_bytes, shared, seed);
        const u32 used = reinterpret_cast<const OutHeader *>(output.get())->bytes;
        std::fwrite(&used, sizeof used, 1, stdout);
        std::fwrite(output.get(), 1, used, stdout);
        std::fflush(stdout);
    }
    return 0;
}
