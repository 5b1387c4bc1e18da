// Integer names for every kernel source. NVRTC has no <cstdint>; the host build (HOST_BUILD) uses the same.
#pragma once
using i8 = signed char;
using u8 = unsigned char;
using i16 = short;
using u16 = unsigned short;
using i32 = int;
using u32 = unsigned int;
using i64 = long long;
using u64 = unsigned long long;
using i128 = __int128;
using u128 = unsigned __int128;

#ifdef HOST_BUILD
#define DEVICE inline
#define COLD inline
#else
#define DEVICE __device__ __forceinline__
// A function that few values need is called, not inlined, so that it takes no registers and no instruction cache.
#define COLD __device__ __noinline__
#endif

DEVICE u32 least(u32 a, u32 b) { return a < b ? a : b; }
DEVICE u64 align_up(u64 at, u64 to) { return (at + to - 1) / to * to; }
