// Buffers as cuMemAlloc gives them, for the programs that run kernels on the host.
#pragma once
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

struct Free {
    void operator()(u8 *area) const { std::free(area); }
};
using Area = std::unique_ptr<u8, Free>;

// `bytes` bytes of garbage, aligned as cuMemAlloc does.
inline Area area(size_t bytes) {
    void *found = nullptr;
    if (posix_memalign(&found, 256, bytes) != 0) emulate::fail("no memory");
    std::memset(found, emulate::GARBAGE, bytes);
    return Area(static_cast<u8 *>(found));
}

// Nothing is read to nowhere, and nothing written from there.
inline bool read_all(void *to, size_t bytes) { return bytes == 0 || std::fread(to, 1, bytes, stdin) == bytes; }

inline void write_all(const void *from, size_t bytes) {
    if (bytes != 0) std::fwrite(from, 1, bytes, stdout);
}
