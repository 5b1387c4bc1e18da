// The host build's device: the threads of a block as fibers of one thread, which run in turns and wait for
// each other where the kernels do. Same names as warp.cuh.
//
// Stricter than a device: a ballot, shuffle or barrier that not all of the warp's or block's threads reach,
// at the same place in the source, ends the program. It finds no races. Blocks run one after the other,
// threads in an order that the launch's seed shuffles; shared memory starts as garbage.
#pragma once
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <sanitizer/common_interface_defs.h>
#include <sys/mman.h>
#include <vector>

#define KERNEL inline void
#define BOUNDS(threads, blocks)
#define SHARED(type, name, count) \
    static type name[count];      \
    emulate::fresh(name, sizeof name)
#define SHARED_DYNAMIC(name) u8 *name = emulate::device.dynamic

// Saves the callee's registers and the stack pointer in `*from` and goes on where `to` was saved.
// swapcontext would do, but makes a system call and, under AddressSanitizer, clears a whole stack's shadow.
extern "C" void emulate_switch(void **from, void *to);
#if defined(__x86_64__)
constexpr size_t SAVED_WORDS = 6;
asm(R"(
.text
.type emulate_switch, @function
emulate_switch:
    push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp
    ret
.size emulate_switch, .-emulate_switch
)");
#elif defined(__aarch64__)
constexpr size_t SAVED_WORDS = 19;
asm(R"(
.text
.type emulate_switch, %function
emulate_switch:
    sub sp, sp, #160
    stp x19, x20, [sp, #0]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp d8, d9, [sp, #80]
    stp d10, d11, [sp, #96]
    stp d12, d13, [sp, #112]
    stp d14, d15, [sp, #128]
    stp x29, x30, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp d8, d9, [sp, #80]
    ldp d10, d11, [sp, #96]
    ldp d12, d13, [sp, #112]
    ldp d14, d15, [sp, #128]
    ldp x29, x30, [sp, #144]
    add sp, sp, #160
    ret
.size emulate_switch, .-emulate_switch
)");
#else
#error "the kernels' host build knows how to switch stacks on x86-64 and AArch64"
#endif

namespace emulate {

constexpr u32 LANES = 32, MOST_THREADS = 1024;
constexpr size_t STACK = 256 << 10;
constexpr int GARBAGE = 0xA5;

struct Index {
    u32 x = 1, y = 1, z = 1;
};

// A barrier of `size` threads, each with a word.
struct Meeting {
    u32 size = 0, arrived = 0, generation = 0;
    const char *what = nullptr;
    u64 words[LANES] = {}, met[LANES] = {};
};

struct Fiber {
    void *context = nullptr;
    char *stack = nullptr;
    bool done = false;
};

struct Device {
    Index grid, block;
    u32 threads = 0, current = 0, progress = 0;
    u8 *dynamic = nullptr;
    u32 dynamic_bytes = 0;
    std::function<void()> kernel;
    std::vector<Fiber> fibers;
    std::vector<Meeting> warps;
    Meeting all;
    std::vector<const void *> shared;
    void *scheduler = nullptr;
    const void *scheduler_stack = nullptr;
    size_t scheduler_size = 0;
};

inline Device device;

[[noreturn]] inline void fail(const char *what) {
    std::fprintf(stderr, "kernel: %s (block %u %u %u, thread %u)\n", what, device.block.x, device.block.y,
                 device.block.z, device.current);
    std::abort();
}

// Back to the scheduler, which goes on with other threads first.
inline void yield(bool done) {
    Fiber &fiber = device.fibers[device.current];
    void *fake = nullptr;
    __sanitizer_start_switch_fiber(done ? nullptr : &fake, device.scheduler_stack, device.scheduler_size);
    emulate_switch(&fiber.context, device.scheduler);
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
}

inline void body() {
    __sanitizer_finish_switch_fiber(nullptr, &device.scheduler_stack, &device.scheduler_size);
    device.kernel();
    device.fibers[device.current].done = true;
    device.progress++;
    yield(true);
}

// A stack on which `emulate_switch` finds `body` to return to.
inline void *start(char *stack) {
    void **top = reinterpret_cast<void **>(stack + STACK) - 4 - SAVED_WORDS % 2;
    top[0] = reinterpret_cast<void *>(body);
    void **context = top - SAVED_WORDS;
    std::fill(context, top, nullptr);
    return context;
}

inline void resume(u32 thread) {
    Fiber &fiber = device.fibers[thread];
    device.current = thread;
    void *fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, fiber.stack, STACK);
    emulate_switch(&device.scheduler, fiber.context);
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
}

inline void meet(Meeting &meeting, u32 place, u64 word, const char *what) {
    if (meeting.arrived == 0) meeting.what = what;
    if (std::strcmp(meeting.what, what) != 0) fail("threads meet at different places");
    const u32 generation = meeting.generation;
    meeting.words[place] = word;
    device.progress++;
    if (++meeting.arrived == meeting.size) {
        std::copy(meeting.words, meeting.words + LANES, meeting.met);
        meeting.arrived = 0;
        meeting.generation++;
    }
    while (meeting.generation == generation) yield(false);
}

inline Meeting &meet_warp(u64 word, const char *what) {
    Meeting &warp = device.warps[device.current / LANES];
    meet(warp, device.current % LANES, word, what);
    return warp;
}

inline void fresh(void *area, size_t bytes) {
    auto &seen = device.shared;
    if (std::find(seen.begin(), seen.end(), area) != seen.end()) return;
    seen.push_back(area);
    std::memset(area, GARBAGE, bytes);
}

inline void run_block(const std::vector<u32> &order) {
    device.shared.clear();
    std::memset(device.dynamic, GARBAGE, device.dynamic_bytes);
    for (u32 t = 0; t < device.threads; t++) {
        Fiber &fiber = device.fibers[t];
        fiber.done = false;
        fiber.context = start(fiber.stack);
    }
    for (u32 live = device.threads; live > 0;) {
        device.progress = 0;
        live = 0;
        for (u32 t : order) {
            if (device.fibers[t].done) continue;
            resume(t);
            live += !device.fibers[t].done;
        }
        if (live > 0 && device.progress == 0) fail("threads wait for others that do not come");
    }
}

// Runs `kernel` for every thread of a grid.
inline void launch(Index grid, u32 threads, u32 dynamic_bytes, u32 seed, std::function<void()> kernel) {
    if (threads % LANES != 0 || threads > MOST_THREADS) fail("block size");
    device.grid = grid;
    device.threads = threads;
    device.kernel = std::move(kernel);
    device.warps.assign(threads / LANES, Meeting{LANES});
    device.all = Meeting{threads};
    device.dynamic_bytes = dynamic_bytes;
    device.dynamic = static_cast<u8 *>(std::aligned_alloc(16, dynamic_bytes));
    while (device.fibers.size() < threads) {
        void *stack = mmap(nullptr, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (stack == MAP_FAILED) fail("no memory for a stack");
        device.fibers.emplace_back().stack = static_cast<char *>(stack);
    }
    std::vector<u32> order(threads);
    for (u32 t = 0; t < threads; t++) order[t] = t;
    std::mt19937 random(seed);
    if (seed != 0) std::shuffle(order.begin(), order.end(), random);
    for (device.block.z = 0; device.block.z < grid.z; device.block.z++)
        for (device.block.y = 0; device.block.y < grid.y; device.block.y++)
            for (device.block.x = 0; device.block.x < grid.x; device.block.x++) run_block(order);
    std::free(device.dynamic);
}

} // namespace emulate

DEVICE u32 thread() { return emulate::device.current; }
DEVICE u32 threads() { return emulate::device.threads; }
DEVICE u32 block_x() { return emulate::device.block.x; }
DEVICE u32 block_y() { return emulate::device.block.y; }
DEVICE u32 block_z() { return emulate::device.block.z; }
DEVICE u32 blocks_x() { return emulate::device.grid.x; }
DEVICE u32 blocks_z() { return emulate::device.grid.z; }
DEVICE u32 dynamic_bytes() { return emulate::device.dynamic_bytes; }
DEVICE void block_sync() { emulate::meet(emulate::device.all, thread() % emulate::LANES, 0, "barrier"); }

DEVICE u32 ballot(bool vote) {
    const u64 *votes = emulate::meet_warp(vote, "ballot").met;
    u32 bits = 0;
    for (u32 i = 0; i < emulate::LANES; i++) bits |= static_cast<u32>(votes[i]) << i;
    return bits;
}

template <class T> DEVICE T shuffle_up(T value, u32 by) {
    const u64 *values = emulate::meet_warp(value, "shuffle").met;
    u32 lane = thread() % emulate::LANES;
    return static_cast<T>(values[lane >= by ? lane - by : lane]);
}

DEVICE u32 shuffle(u32 value, u32 from) {
    return static_cast<u32>(emulate::meet_warp(value, "shuffle from").met[from % emulate::LANES]);
}

DEVICE u32 match(u32 value) {
    const u64 *values = emulate::meet_warp(value, "match").met;
    u32 bits = 0;
    for (u32 i = 0; i < emulate::LANES; i++) bits |= static_cast<u32>(values[i] == value) << i;
    return bits;
}

DEVICE void warp_sync() { emulate::meet_warp(0, "warp barrier"); }

DEVICE u32 warp_sum(u32 value) {
    const u64 *values = emulate::meet_warp(value, "sum").met;
    u32 sum = 0;
    for (u32 i = 0; i < emulate::LANES; i++) sum += static_cast<u32>(values[i]);
    return sum;
}

DEVICE u32 count_bits(u32 bits) { return static_cast<u32>(__builtin_popcount(bits)); }
DEVICE u32 trailing_zeros(u32 bits) { return static_cast<u32>(__builtin_ctz(bits)); }
DEVICE u32 trailing_zeros(u64 bits) { return static_cast<u32>(__builtin_ctzll(bits)); }
DEVICE u32 leading_zeros(u32 bits) { return static_cast<u32>(__builtin_clz(bits)); }
DEVICE u32 atomic_add(u32 *at, u32 value) {
    u32 before = *at;
    *at += value;
    return before;
}
DEVICE void atomic_min(u32 *at, u32 value) { *at = std::min(*at, value); }
// Stores `value` if `expected` was there, and returns what was there.
DEVICE u32 atomic_swap_if(u32 *at, u32 expected, u32 value) {
    u32 before = *at;
    if (before == expected) *at = value;
    return before;
}
DEVICE void atomic_or(u32 *at, u32 bits) { *at |= bits; }
DEVICE void atomic_max(u32 *at, u32 value) { *at = std::max(*at, value); }
DEVICE u64 atomic_add(u64 *at, u64 value) {
    u64 before = *at;
    *at += value;
    return before;
}
DEVICE void atomic_min(i64 *at, i64 value) { *at = std::min(*at, value); }
DEVICE void atomic_max(i64 *at, i64 value) { *at = std::max(*at, value); }
DEVICE void atomic_and(u64 *at, u64 bits) { *at &= bits; }
DEVICE void atomic_or(u64 *at, u64 bits) { *at |= bits; }
DEVICE void atomic_xor(u64 *at, u64 bits) { *at ^= bits; }
DEVICE void publish() {}
DEVICE u32 load_published(const u32 *at) { return *at; }
DEVICE u32 load_again(const u32 *at) { return *at; }
DEVICE u64 load_published(const u64 *at) { return *at; }
DEVICE void store_published(u32 *at, u32 value) { *at = value; }
DEVICE void copies_done() {}
DEVICE void copy16(u8 *shared, const u8 *global) { std::memcpy(shared, global, 16); }
DEVICE void store16(u8 *to, u64 low, u64 high) {
    u64 *words = reinterpret_cast<u64 *>(to);
    words[0] = low;
    words[1] = high;
}
