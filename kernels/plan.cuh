// The memory that the kernels of a slot share: the slot's regions, and the scratch that `plan` fills.
//
//     scratch    Plan | Entry[attrs] | Column[columns] | sources | sums           each entry 64 bytes
//     sources    u32[varying][tiles * ROWS]: where each value's bytes are, from the input region's start
//     sums       u32[varying][tiles * WARPS]: the bytes of 32 rows each, later of all rows before them
#pragma once
#include "bytes.cuh"
#include "slot.cuh"

// Rows of a tile, each with a thread, and warps.
constexpr u32 ROWS = 256, WARPS = ROWS / 32;

struct alignas(64) Plan {
    // Not 0 if the output does not fit and nothing more is done.
    u32 failed;
    // Columns that `scan` has finished.
    u32 scanned;
    // Attributes to walk.
    u32 steps;
    u32 varying;
    // The first place for the bytes of columns of varying length.
    u32 bytes_at;
};

// The part of a step for decimals; `few_digits` explains the fields for few digits.
struct alignas(16) Bounds {
    u64 inverse, limit;
    // 10 to the power of the precision.
    u64 low, high;
};

// An attribute prepared for the walk. Every lane of a warp reads the same one, by `load_step`.
struct alignas(32) Step {
    i16 len;
    // The alignment less one.
    u8 mask;
    u8 op;
    u32 column, valid_at, values_at;
    u32 missing_at, missing_len;
    u8 scale;
    // Groups of four digits behind the point, and by how many digits they are more than `scale`.
    u8 groups, spare;
    u8 strip;
    u32 reserved;
};

// The part of a step for columns of varying length: the start of the column's sources and sums in scratch.
struct alignas(16) Places {
    u64 sources, sums;
};

struct alignas(64) Entry {
    Step step;
    union {
        Bounds bounds;
        Places places;
    };
};

struct alignas(64) Column {
    u32 op, named, valid_at, values_at;
    // Its number among those of varying length.
    u32 varying;
    // The column of varying length that has this entry's number.
    u32 column;
};

struct Slot {
    const u8 *input;
    u8 *output;
    u8 *scratch;

    DEVICE const Header &header() const { return *reinterpret_cast<const Header *>(input); }
    DEVICE const Attr *attrs() const { return reinterpret_cast<const Attr *>(input + header().attrs_at); }
    DEVICE u32 tiles() const { return header().rows / ROWS + (header().rows % ROWS != 0); }

    DEVICE OutHeader &out() const { return *reinterpret_cast<OutHeader *>(output); }
    DEVICE OutColumn *out_columns() const {
        return reinterpret_cast<OutColumn *>(output + sizeof(OutHeader));
    }
    DEVICE Status *statuses() const {
        return reinterpret_cast<Status *>(out_columns() + header().columns);
    }

    DEVICE Plan &plan() const { return *reinterpret_cast<Plan *>(scratch); }
    DEVICE Entry *steps() const { return reinterpret_cast<Entry *>(scratch + 256); }
    DEVICE Column *columns() const { return reinterpret_cast<Column *>(steps() + header().attrs); }
    // A column of varying length, by its number among those.
    DEVICE const Column &column(u32 varying) const { return columns()[columns()[varying].column]; }
    DEVICE OutColumn &out_column(u32 varying) const { return out_columns()[columns()[varying].column]; }
    DEVICE u64 sources_at(u32 varying) const {
        u64 head = 256 + sizeof(Entry) * u64(header().attrs) + sizeof(Column) * u64(header().columns);
        return head + sizeof(u32) * ROWS * u64(varying) * tiles();
    }
    // `all`: columns of varying length.
    DEVICE u64 sums_at(u32 varying, u32 all) const {
        return sources_at(all) + sizeof(u32) * WARPS * u64(varying) * tiles();
    }
    DEVICE u32 *words(u64 at) const { return reinterpret_cast<u32 *>(scratch + at); }
};

static_assert(sizeof(Entry) == 64 && sizeof(Column) == 64 && sizeof(Plan) == 64, "scratch, see decode.cu");
static_assert(sizeof(Step) == 32, "two loads");

// Bytes of a value in the column's buffer: 0 for a bitmap, `VARYING` for offsets.
constexpr u32 VARYING = ~0u;
DEVICE u32 width(u32 op) {
    switch (op) {
    case INT2: case INT4: case DATE: case DECIMAL32: return 4;
    case INT8: case TIME: case TIMESTAMP: case DECIMAL64: return 8;
    case UUID: case DECIMAL128: return 16;
    case BYTES: case NAME: case CHAR: case NUMERIC_TEXT: return VARYING;
    default: return 0;
    }
}

DEVICE u64 bitmap_bytes(u32 rows) { return (u64(rows) + 31) / 32 * 4; }

// Bytes of the column's values or offsets.
DEVICE u64 values_bytes(u32 op, u32 rows) {
    u32 each = width(op);
    return each == 0 ? bitmap_bytes(rows) : each == VARYING ? 4 * (u64(rows) + 1) : u64(each) * rows;
}

// 10 to the power `power`, at most 38.
DEVICE u128 power10(u32 power) {
    u128 value = 1;
    for (u32 i = 0; i < power && i < 38; i++) value *= 10;
    return value;
}

// Prepares a decimal for `few_digits`: division by 10^spare is a product with the inverse of 5^spare and a rotation,
// after which a quotient is below `limit` if and only if there is no remainder.
DEVICE void plan_decimal(const Attr &attr, Step &step, Bounds &bounds) {
    constexpr u64 FIFTH = 0xCCCCCCCCCCCCCCCD;
    step.scale = attr.scale;
    step.groups = (attr.scale + 3) / 4;
    step.spare = 4 * step.groups - attr.scale;
    bounds.inverse = 1;
    for (u32 i = 0; i < step.spare; i++) bounds.inverse *= FIFTH;
    u64 quotients = ~0ull / static_cast<u64>(power10(step.spare));
    u128 bound = power10(attr.precision);
    bounds.low = static_cast<u64>(bound);
    bounds.high = static_cast<u64>(bound >> 64);
    bounds.limit = bound - 1 < quotients ? static_cast<u64>(bound - 1) : quotients;
}

// `all`: columns of varying length.
DEVICE void plan_step(const Slot &slot, const Attr &attr, u32 all, Entry &entry) {
    Step &step = entry.step;
    step.len = attr.len;
    step.mask = attr.align == 0 ? 0 : attr.align - 1;
    step.op = attr.op;
    step.strip = attr.strip;
    step.column = attr.op == SKIP || attr.column >= slot.header().columns ? NO_COLUMN : attr.column;
    step.missing_at = attr.missing_at;
    step.missing_len = attr.missing_len;
    if (step.column == NO_COLUMN) return;
    const Column &column = slot.columns()[attr.column];
    step.valid_at = column.valid_at;
    step.values_at = column.values_at;
    if (width(attr.op) == VARYING) {
        entry.places = Places{slot.sources_at(column.varying), slot.sums_at(column.varying, all)};
    } else {
        plan_decimal(attr, step, entry.bounds);
    }
}

// Lays out a column, whose parts start at `valid_at` and `values_at`, and clears the bytes that no row writes.
DEVICE void plan_column(const Slot &slot, u32 number, u32 valid_at, u32 values_at, u32 varying) {
    const u32 rows = slot.header().rows;
    Column &column = slot.columns()[number];
    column.valid_at = valid_at;
    column.values_at = values_at;
    column.varying = varying;
    slot.out_columns()[number] = OutColumn{column.named ? 0 : rows, valid_at, values_at, 0, 0, 0};
    u32 *words = reinterpret_cast<u32 *>(slot.output);
    for (u64 i = bitmap_bytes(rows); i % ALIGN != 0; i += 4) words[(valid_at + i) / 4] = 0;
    for (u64 i = values_bytes(column.op, rows); i % ALIGN != 0; i += 4) words[(values_at + i) / 4] = 0;
}

// Reads 16 bytes at a time, which no thread writes meanwhile.
template <class T> DEVICE T load_shared_by_all(const T &from) {
#ifdef HOST_BUILD
    return from;
#else
    union {
        uint4 parts[sizeof(T) / 16];
        T whole;
    };
    for (u32 i = 0; i < sizeof(T) / 16; i++) parts[i] = __ldg(reinterpret_cast<const uint4 *>(&from) + i);
    return whole;
#endif
}
