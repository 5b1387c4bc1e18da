// Copies by whole blocks of threads, to any address.
#pragma once
#include "bytes.cuh"
#include "warp.cuh"

// Copies `bytes` bytes, 16 at a time to where they are aligned in `to`. `from`: a multiple of 4, in global or
// shared memory. All threads of the block take part; none waits for the others.
DEVICE void copy_block(const u8 *from, u32 bytes, u8 *to) {
    const u32 head = least(u32(-reinterpret_cast<u64>(to)) & 15, bytes), wide = (bytes - head) / 16;
    if (thread() < head) to[thread()] = from[thread()];
    for (u32 i = thread(); i < wide; i += threads()) {
        u64 low, high;
        load128(from, head + 16 * i, head + 16 * i + 15, low, high);
        store16(to + head + 16 * i, low, high);
    }
    for (u32 i = head + 16 * wide + thread(); i < bytes; i += threads()) to[i] = from[i];
}
