// The operations that threads do together, as the kernels use them. kernels/host/emulate.hpp has the same for the host
// build, where the threads of a block run in turns.
#pragma once
#include "types.cuh"

#ifdef HOST_BUILD
#include "host/emulate.hpp"
#else

#define KERNEL extern "C" __global__ void
#define BOUNDS(threads, blocks) __launch_bounds__(threads, blocks)
#define SHARED(type, name, count) __shared__ type name[count]
#define SHARED_DYNAMIC(name)              \
    extern __shared__ uint4 name##_area[]; \
    u8 *name = reinterpret_cast<u8 *>(name##_area)

DEVICE u32 thread() { return threadIdx.x; }
DEVICE u32 threads() { return blockDim.x; }
DEVICE u32 block_x() { return blockIdx.x; }
DEVICE u32 block_y() { return blockIdx.y; }
DEVICE u32 block_z() { return blockIdx.z; }
DEVICE u32 blocks_x() { return gridDim.x; }
DEVICE u32 blocks_z() { return gridDim.z; }
DEVICE void block_sync() { __syncthreads(); }

// All 32 lanes take part in each of these.
DEVICE u32 ballot(bool vote) { return __ballot_sync(~0u, vote); }
DEVICE u32 shuffle_up(u32 value, u32 by) { return __shfl_up_sync(~0u, value, by); }
DEVICE u64 shuffle_up(u64 value, u32 by) { return __shfl_up_sync(~0u, value, by); }
DEVICE u32 shuffle(u32 value, u32 from) { return __shfl_sync(~0u, value, static_cast<int>(from)); }
// The lanes whose value is the same as this one's.
DEVICE u32 match(u32 value) { return __match_any_sync(~0u, value); }
// After it all lanes see what the lanes wrote before it.
DEVICE void warp_sync() { __syncwarp(); }

DEVICE u32 warp_sum(u32 value) {
#if __CUDA_ARCH__ >= 800
    return __reduce_add_sync(~0u, value);
#else
    for (u32 by = 16; by > 0; by /= 2) value += __shfl_xor_sync(~0u, value, by);
    return value;
#endif
}

DEVICE u32 count_bits(u32 bits) { return __popc(bits); }
// The number of zero bits; `bits` is not 0.
DEVICE u32 trailing_zeros(u32 bits) { return static_cast<u32>(__ffs(static_cast<int>(bits))) - 1; }
DEVICE u32 trailing_zeros(u64 bits) { return static_cast<u32>(__ffsll(static_cast<i64>(bits))) - 1; }
DEVICE u32 leading_zeros(u32 bits) { return static_cast<u32>(__clz(static_cast<int>(bits))); }
DEVICE u32 atomic_add(u32 *at, u32 value) { return atomicAdd(at, value); }
DEVICE void atomic_min(u32 *at, u32 value) { atomicMin(at, value); }
// Stores `value` if `expected` was there, and returns what was there.
DEVICE u32 atomic_swap_if(u32 *at, u32 expected, u32 value) { return atomicCAS(at, expected, value); }
DEVICE void atomic_or(u32 *at, u32 bits) { atomicOr(at, bits); }
DEVICE void atomic_max(u32 *at, u32 value) { atomicMax(at, value); }
DEVICE u64 atomic_add(u64 *at, u64 value) { return atomicAdd(at, value); }
DEVICE void atomic_min(i64 *at, i64 value) { atomicMin(at, value); }
DEVICE void atomic_max(i64 *at, i64 value) { atomicMax(at, value); }
DEVICE void atomic_and(u64 *at, u64 bits) { atomicAnd(at, bits); }
DEVICE void atomic_or(u64 *at, u64 bits) { atomicOr(at, bits); }
DEVICE void atomic_xor(u64 *at, u64 bits) { atomicXor(at, bits); }
DEVICE void publish() { __threadfence(); }
// Reads what another block wrote before its `publish`, past this multiprocessor's cache.
DEVICE u32 load_published(const u32 *at) { return __ldcg(at); }
// Reads it anew each time, as a loop that waits for another thread has to.
DEVICE u32 load_again(const u32 *at) { return *static_cast<const volatile u32 *>(at); }
DEVICE u64 load_published(const u64 *at) { return __ldcg(at); }
DEVICE void store_published(u32 *at, u32 value) { *static_cast<volatile u32 *>(at) = value; }

// Bytes of shared memory that the launch gave for SHARED_DYNAMIC.
DEVICE u32 dynamic_bytes() {
    u32 bytes;
    asm("mov.u32 %0, %%dynamic_smem_size;" : "=r"(bytes));
    return bytes;
}

// Copies 16 bytes from global to shared memory; `copies_done` before `block_sync`.
DEVICE void copy16(u8 *shared, const u8 *global) {
#if __CUDA_ARCH__ >= 800
    u32 to = static_cast<u32>(__cvta_generic_to_shared(shared));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(global) : "memory");
#else
    *reinterpret_cast<uint4 *>(shared) = *reinterpret_cast<const uint4 *>(global);
#endif
}

DEVICE void copies_done() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}

DEVICE void store16(u8 *to, u64 low, u64 high) {
    *reinterpret_cast<ulonglong2 *>(to) = make_ulonglong2(low, high);
}

#endif

DEVICE u32 lane() { return thread() % 32; }
DEVICE u32 warp() { return thread() / 32; }
DEVICE u32 shuffle_xor(u32 value, u32 by) { return shuffle(value, lane() ^ by); }
DEVICE u64 shuffle_xor(u64 value, u32 by) {
    const u64 high = shuffle_xor(static_cast<u32>(value >> 32), by);
    return high << 32 | shuffle_xor(static_cast<u32>(value), by);
}

// The sum over the lanes before this one.
template <class T> DEVICE T warp_scan(T value) {
    T sum = value;
    for (u32 by = 1; by < 32; by *= 2) {
        T other = shuffle_up(sum, by);
        if (lane() >= by) sum += other;
    }
    return sum - value;
}

// The sum over the threads before this one, and over all. `warps`: shared, one more than the block has warps.
template <class T> DEVICE T block_scan(T value, T *warps, T &total) {
    T before = warp_scan(value);
    if (lane() == 31) warps[warp()] = before + value;
    block_sync();
    if (warp() == 0) {
        T sum = lane() < threads() / 32 ? warps[lane()] : 0, start = warp_scan(sum);
        if (lane() < threads() / 32) warps[lane()] = start;
        if (lane() == 31) warps[threads() / 32] = start + sum;
    }
    block_sync();
    before += warps[warp()];
    total = warps[threads() / 32];
    block_sync();
    return before;
}
