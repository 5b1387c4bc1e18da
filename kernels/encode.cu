// Encode: columns as the decode kernels leave them to bodies of data pages.
//
// Built as decode.cu is. Page headers are the host's; what a body is, is in the .cuh files.
//
// # Launch
//
// Every kernel takes the same six parameters:
//
//     const u8 *input     what the columns lie in: 256-byte aligned
//     const Page *pages   `count` of them: see src/gpu/encode.rs
//     u8 *output          256-byte aligned; it need not be cleared
//     Body *bodies        `count` of them, written: as compress.cu takes its pages
//     Bounds *bounds      `count` of them, written
//     u32 count           pages
//
//     kernel      grid      block   dynamic shared memory   left out when
//     plain       count     256     0                       count == 0
//
// # Result
//
// bodies[i]: where in `output` the body of page i is, at a multiple of 16, its bytes and its NULLs.
// bounds[i]: of its values, as keys. The bytes depend on the columns alone.
#include "bounds.cuh"
#include "plain.cuh"

#define PARAMETERS \
    const u8 *input, const Page *pages, u8 *output, Body *bodies, Bounds *bounds, u32 count

DEVICE u32 put_plain(const Rows &rows, u32 nulls, u8 *to, Stage &stage, u32 *warps) {
    switch (rows.page.shape) {
    case BITS: return put_bits(rows, to, stage, warps);
    case FIXED4: return put_fixed<u32>(rows, nulls, to, stage, warps);
    case FIXED8: return put_fixed<u64>(rows, nulls, to, stage, warps);
    case FIXED16: return put_fixed<u128>(rows, nulls, to, stage, warps);
    default: return put_strings(rows, to, stage, warps);
    }
}

// registers: 64
KERNEL BOUNDS(256, 4) plain(PARAMETERS) {
    SHARED(Stage, stage, 1);
    SHARED(u32, warps, 33);
    const Page &page = pages[block_x()];
    const Rows rows{page, reinterpret_cast<const u32 *>(input + page.valid_at), input + page.values_at,
                    input + page.bytes_at};
    const u32 nulls = rows.count() - count_values(rows, warps);
    // Bodies of strings lie as far apart as their bytes say.
    const u64 at = align_up(page.body_at + (page.shape == STRINGS ? rows.offsets()[0] : 0), 16);
    const u32 levels = put_levels(rows, nulls, output + at);
    const u32 values = put_plain(rows, nulls, output + at + levels, *stage, warps);
    block_sync();
    const Bounds found = find_bounds(rows, stage->keys, warps);
    if (thread() != 0) return;
    bodies[block_x()] = Body{at, levels + values, nulls};
    bounds[block_x()] = found;
}
