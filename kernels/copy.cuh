// Copies by whole blocks of threads, to any address.
#pragma once
#include "bytes.cuh"
#include "warp.cuh"

// Copies `bytes` bytes from byte `at` of `base`, a buffer as bytes.cuh reads it, 16 at a time to where they are
// aligned in `to`. All threads of the block take part; none waits for the others.
DEVICE void copy_from(const u8 *base, u32 at, u32 bytes, u8 *to) {
    const u32 head = least(u32(-reinterpret_cast<u64>(to)) & 15, bytes), wide = (bytes - head) / 16;
    if (thread() < head) to[thread()] = base[at + thread()];
    for (u32 i = thread(); i < wide; i += threads()) {
        u64 low, high;
        const u32 from = at + head + 16 * i;
        load128(base, from, from + 15, low, high);
        store16(to + head + 16 * i, low, high);
    }
    for (u32 i = head + 16 * wide + thread(); i < bytes; i += threads()) to[i] = base[at + i];
}

// `from`: a multiple of 4, in global or shared memory.
DEVICE void copy_block(const u8 *from, u32 bytes, u8 *to) { copy_from(from, 0, bytes, to); }
