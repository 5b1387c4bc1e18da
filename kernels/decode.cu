// Decode: a slot's input region (slot.cuh) to its output region, on the device.
//
// This file maps threads only; the .cuh files decode values. Built by NVRTC from this file and
// kernels/*.cuh as named headers, with --std=c++17 --device-int128 -default-device.
//
// # Launches
//
// In this order, on one stream. Every kernel takes the same four parameters:
//
//     const u8 *input     the input region, copied to the device: 256-byte aligned, readable up to its length
//                         rounded up to 16. `slot::input::Input` has checked it: header, attributes, the
//                         index and page_rows are in order; the contents of pages and rows are checked here.
//     u8 *output          the output region: 256-byte aligned. It need not be cleared.
//     u8 *scratch         256-byte aligned; it need not be cleared.
//     u32 output_bytes    bytes of the output region, a multiple of 16
//
//     tiles   = ceil(rows / 256)
//     varying = columns whose Op has no fixed width: Bytes, Name, Char, NumericText
//     splits  = clamp(data_bytes / 65536 / max(tiles, 1), 1, 64)
//     scratch = 256 + 64 * (attrs + columns) + 1056 * tiles * varying      bytes
//
//     kernel      grid                        block   dynamic shared memory   left out when
//     plan        1                           256     0                       never
//     walk_heap   tiles                       256     `shared`                no rows, or COPY BINARY
//     walk_copy   tiles                       256     `shared`                no rows, or heap
//     scan        varying                     256     0                       varying == 0
//     offsets     (tiles, varying)            256     0                       no rows, or varying == 0
//     gather      (tiles, varying, splits)    256     0                       no rows, or varying == 0
//
// `shared`: the bytes in which a tile's pages or rows are staged, a multiple of 16. Any size is right: with 0, or when
// a tile needs more, the tile is read from global memory. The best size is what most tiles need, as long as three
// blocks fit on a multiprocessor:
//
//     heap           8192 * (min(ceil(256 * pages / rows), pages - 1) + 1)
//     copy_binary    (data_bytes * 256 / rows) * 9 / 8 + 32, rounded up to 16
//     both           at most 73728; 0 when more than that; above 49152 a kernel needs
//                    CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES (clamp to the device's
//                    CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN; sm_75 has 65536)
//
// # Result
//
// `OutHeader.bytes` bytes of the output region, the same that `decode::slot` makes except for the order of statuses.
// The kernels ignore WANT_COLUMNS: without it, copy back only what lies before the fixed-size parts
// (`slot::layout::columns_start`). A slot whose output does not fit the region, or that has a column of more than
// i32::MAX bytes, comes back with `OutHeader.statuses == u32::MAX`: the host redoes it, and everything after
// `OutHeader` has no meaning.
#include "copy_binary.cuh"
#include "emit.cuh"
#include "gather.cuh"
#include "tuple.cuh"

#define PARAMETERS const u8 *input, u8 *output, u8 *scratch, u32 output_bytes

// A column that no attribute names: all NULL. All threads of the block take part.
DEVICE void clear_column(const Slot &slot, const Column &column) {
    for (u64 i = thread(); i < bitmap_bytes(slot.header().rows) / 4; i += threads()) {
        store32(slot, column.valid_at, i, 0);
        store32(slot, column.values_at, i, 0);
    }
}

// The attributes name their columns; `steps`: as many of them as are walked. All threads take part.
DEVICE void name_columns(const Slot &slot, u32 *steps) {
    const Header &header = slot.header();
    Column *columns = slot.columns();
    for (u32 c = thread(); c < header.columns; c += ROWS) columns[c] = Column{SKIP, 0, 0, 0, 0, 0};
    block_sync();
    for (u32 a = thread(); a < header.attrs; a += ROWS) {
        const Attr &attr = slot.attrs()[a];
        bool named = attr.op != SKIP && attr.column < header.columns;
        if (named) {
            columns[attr.column].op = attr.op;
            columns[attr.column].named = 1;
        }
        // A heap tuple is walked up to the last attribute that is wanted, a COPY BINARY row to its end.
        if (named || header.kind == COPY_BINARY) atomic_max(steps, a + 1);
    }
    block_sync();
}

// registers: 64
KERNEL BOUNDS(256, 1) plan(PARAMETERS) {
    SHARED(u64, warps, WARPS + 1);
    SHARED(u32, steps, 1);
    SHARED(u32, unnamed, 1);
    const Slot slot{input, output, scratch};
    const Header &header = slot.header();
    const u32 rows = header.rows, count = header.columns;
    Column *columns = slot.columns();

    // Step 1: an empty head, and what the columns are.
    u64 head = sizeof(OutHeader) + u64(count) * sizeof(OutColumn) + STATUSES * sizeof(Status), varying = 0;
    u64 at = align_up(head, ALIGN);
    bool fits = at <= output_bytes;
    for (u64 i = thread(); fits && i < at / 4; i += ROWS) store32(slot, 0, i, 0);
    if (thread() == 0) *steps = *unnamed = 0;
    block_sync();
    name_columns(slot, steps);

    // Step 2: the parts whose size the rows tell, column by column.
    const u64 bitmap = align_up(bitmap_bytes(rows), ALIGN);
    for (u32 first = 0; first < count; first += ROWS) {
        u32 c = first + thread();
        u64 size = 0, is_varying = 0, all, all_varying;
        if (c < count) {
            size = bitmap + align_up(values_bytes(columns[c].op, rows), ALIGN);
            is_varying = width(columns[c].op) == VARYING;
            if (!columns[c].named) atomic_max(unnamed, 1);
        }
        u64 start = at + block_scan(size, warps, all);
        u64 number = varying + block_scan(is_varying, warps, all_varying);
        at += all;
        varying += all_varying;
        fits = fits && at <= output_bytes;
        if (c < count && fits) plan_column(slot, c, u32(start), u32(start + bitmap), u32(number));
        if (is_varying) columns[number].column = c;
    }
    block_sync();

    // Step 3: the attributes with where their columns are, and what the other kernels share.
    for (u32 a = thread(); a < *steps; a += ROWS) {
        plan_step(slot, slot.attrs()[a], u32(varying), slot.steps()[a]);
    }
    for (u32 c = 0; c < count && fits && *unnamed; c++) {
        if (!columns[c].named) clear_column(slot, columns[c]);
    }
    if (thread() == 0) {
        slot.plan() = Plan{!fits, 0, *steps, u32(varying), u32(at)};
        slot.out() = OutHeader{rows, count, fits ? 0 : FAILED, fits ? u32(at) : 0};
    }
}

// Stages `bytes` bytes from `from` (a multiple of 16) when they fit. All threads of the block take part.
DEVICE Tile stage(const u8 *input, u32 from, u64 bytes, u8 *shared) {
    if (bytes > dynamic_bytes()) return Tile{input + from, from};
    for (u32 i = thread() * 16; i < bytes; i += ROWS * 16) copy16(shared + i, input + from + i);
    copies_done();
    block_sync();
    return Tile{shared, from};
}

// registers: 64
KERNEL BOUNDS(256, 4) walk_heap(PARAMETERS) {
    SHARED_DYNAMIC(shared);
    const Slot slot{input, output, scratch};
    const Header &header = slot.header();
    if (slot.plan().failed) return;

    // Step 1: the tile's pages.
    const u32 first = block_x() * ROWS, last = least(ROWS, header.rows - first) - 1 + first;
    const u32 *page_rows = reinterpret_cast<const u32 *>(input + header.page_rows_at);
    u32 page = last_at_most(page_rows, 0, header.pages, first);
    u32 pages = last_at_most(page_rows, page, header.pages - page, last) - page + 1;
    u32 from = header.data_at + page * BLOCK_SIZE;
    const Tile tile = stage(input, from, u64(pages) * BLOCK_SIZE, shared);

    // Step 2: the thread's tuple.
    Found found{tile.base, tile.origin, first + thread(), first + thread() <= last, false, QUIET, 0, 0};
    Tuple tuple{0, 0, 0, 0, ~0u};
    bool walking = false;
    if (found.inside) {
        u32 own = last_at_most(page_rows, page, pages, found.row) - page;
        u32 line = reinterpret_cast<const u16 *>(input + header.index_at)[found.row];
        walking = open_tuple(tile.base, own * BLOCK_SIZE, line, tuple);
    }

    // Step 3: its attributes. Where the walk stops, the row's next column takes the status.
    bool pending = found.inside && !walking;
    const u32 steps = slot.plan().steps;
    for (u32 number = 0; number < steps; number++) {
        const Step step = load_shared_by_all(slot.steps()[number].step);
        if (walking && !find_attribute(slot, step, number, tile, tuple, found)) {
            walking = false;
            pending = true;
        }
        if (step.column == NO_COLUMN) continue;
        emit_or_stop<false>(slot, step, slot.steps()[number], found, walking, pending);
    }
    if (pending) add_status(slot, found.row, NO_COLUMN, MALFORMED);
}

// registers: 64
KERNEL BOUNDS(256, 4) walk_copy(PARAMETERS) {
    SHARED_DYNAMIC(shared);
    const Slot slot{input, output, scratch};
    const Header &header = slot.header();
    if (slot.plan().failed) return;

    // Step 1: the tile's bytes.
    const u32 first = block_x() * ROWS, rows = least(ROWS, header.rows - first);
    const u32 *index = reinterpret_cast<const u32 *>(input + header.index_at) + first;
    const u32 from = index[0] & ~15u, bytes = index[rows] - from;
    const Tile tile = stage(input, header.data_at + from, align_up(bytes, 16), shared);

    // Step 2: the thread's row.
    Found found{tile.base, tile.origin, first + thread(), thread() < rows, false, QUIET, 0, 0};
    u32 pos = 0, end = 0;
    const u32 steps = slot.plan().steps;
    bool walking = false;
    if (found.inside) {
        pos = index[thread()] - from;
        end = index[thread() + 1] - from;
        walking = pos <= end && end <= bytes && open_row(tile.base, pos, end, header.attrs);
    }

    // Step 3: its fields, and that the next row starts where it ends.
    bool pending = found.inside && !walking;
    for (u32 number = 0; number < steps; number++) {
        const Step step = load_shared_by_all(slot.steps()[number].step);
        if (walking && !find_field(step, tile.base, pos, end, found)) {
            walking = false;
            pending = true;
        }
        if (step.column == NO_COLUMN) continue;
        emit_or_stop<true>(slot, step, slot.steps()[number], found, walking, pending);
    }
    pending = pending || (walking && pos != end);
    if (pending) add_status(slot, found.row, NO_COLUMN, MALFORMED);
}

// The bytes of the columns of varying length, one behind the other. All threads of the block take part.
DEVICE void place_columns(const Slot &slot, u64 *warps, u32 output_bytes) {
    Plan &plan = slot.plan();
    u64 at = plan.bytes_at;
    bool fits = true;
    for (u32 first = 0; first < plan.varying; first += threads()) {
        u32 number = first + thread();
        u64 bytes = 0, all;
        if (number < plan.varying) bytes = load_published(&slot.out_column(number).bytes);
        u64 start = at + block_scan(align_up(bytes, ALIGN), warps, all);
        at += all;
        fits = fits && at <= output_bytes && bytes <= MAX_BYTES;
        if (number < plan.varying && fits) {
            slot.out_column(number).bytes_at = static_cast<u32>(start);
            for (u64 i = start + bytes; i % ALIGN != 0; i++) slot.output[i] = 0;
        }
    }
    if (thread() == 0 && fits) slot.out().bytes = static_cast<u32>(at);
    block_sync();
    if (!fits) {
        plan.failed = 1;
        slot.out().statuses = FAILED;
    }
}

// registers: 48
KERNEL BOUNDS(256, 1) scan(PARAMETERS) {
    SHARED(u64, warps, WARPS + 1);
    SHARED(u32, arrived, 1);
    const Slot slot{input, output, scratch};
    const u32 rows = slot.header().rows;
    Plan &plan = slot.plan();
    if (plan.failed) return;

    // Step 1: this column's sums, each to the bytes before it.
    u32 *sums = slot.words(slot.sums_at(block_x(), plan.varying));
    constexpr u32 EACH = 4;
    const u32 count = slot.tiles() * WARPS;
    u64 bytes = 0;
    for (u32 first = 0; first < count; first += ROWS * EACH) {
        u32 own[EACH], start = first + thread() * EACH;
        u64 sum = 0, all;
        for (u32 i = 0; i < EACH; i++) {
            // Warps behind the last row have not written theirs.
            own[i] = u64(start + i) * 32 < rows ? sums[start + i] : 0;
            sum += own[i];
        }
        u64 before = bytes + block_scan(sum, warps, all);
        bytes += all;
        for (u32 i = 0; i < EACH; i++) {
            if (start + i < count) sums[start + i] = static_cast<u32>(before);
            before += own[i];
        }
    }
    if (thread() == 0) {
        store32(slot, slot.column(block_x()).values_at, rows, static_cast<u32>(bytes));
        slot.out_column(block_x()).bytes =
            bytes > MAX_BYTES ? FAILED : static_cast<u32>(bytes);
        publish();
        *arrived = atomic_add(&plan.scanned, 1) + 1;
    }
    block_sync();
    if (*arrived != plan.varying) return;

    // Step 2, by the last block: where each column's bytes are.
    publish();
    place_columns(slot, warps, output_bytes);
}

// registers: 32
KERNEL BOUNDS(256, 4) offsets(PARAMETERS) {
    const Slot slot{input, output, scratch};
    if (slot.plan().failed) return;
    const u32 row = block_x() * ROWS + thread(), rows = slot.header().rows;
    const u32 *sums = slot.words(slot.sums_at(block_y(), slot.plan().varying));
    u32 *offsets = reinterpret_cast<u32 *>(slot.output + slot.column(block_y()).values_at);
    u32 before = warp_scan(row < rows ? offsets[row] : 0);
    if (row < rows) offsets[row] = sums[row / 32] + before;
}

// registers: 48
KERNEL BOUNDS(256, 4) gather(PARAMETERS) {
    SHARED(u32, offsets, ROWS + 1);
    SHARED(u32, sources, ROWS);
    const Slot slot{input, output, scratch};
    if (slot.plan().failed) return;

    // Step 1: the tile's values, and the bytes of the column that they are.
    const u32 first = block_x() * ROWS, rows = least(ROWS, slot.header().rows - first);
    const OutColumn &column = slot.out_column(block_y());
    const u32 *ends = reinterpret_cast<const u32 *>(output + column.values_at) + first;
    for (u32 i = thread(); i <= rows; i += ROWS) offsets[i] = ends[i];
    if (thread() < rows) sources[thread()] = slot.words(slot.sources_at(block_y()))[first + thread()];
    block_sync();
    const u32 begin = offsets[0], end = offsets[rows];

    // Step 2: 16 bytes of the column at a time, whatever rows they are of.
    const u64 stride = u64(blocks_z()) * ROWS * 16;
    for (u64 at = (begin & ~15u) + (u64(block_z()) * ROWS + thread()) * 16; at < end; at += stride) {
        gather16(input, output + column.bytes_at, offsets, sources, rows, static_cast<u32>(at), begin, end);
    }
}
