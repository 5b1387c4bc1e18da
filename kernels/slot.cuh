// The layout of a slot; src/slot/layout.rs explains each field.
#pragma once
#include "types.cuh"

constexpr u32 ALIGN = 64, BLOCK_SIZE = 8192, STATUSES = 1024;
constexpr u32 HEAP = 0, COPY_BINARY = 1, WANT_COLUMNS = 1;
constexpr u32 NO_COLUMN = ~0u, NO_MISSING = ~0u;
// The OutHeader::statuses of an output that does not fit: see decode.cu.
constexpr u32 FAILED = ~0u;
// The most bytes of a column, since its offsets are i32.
constexpr u32 MAX_BYTES = 0x7FFFFFFF;

struct Header {
    u32 kind, flags, rows, columns, attrs, pages, attrs_at, missing_at, missing_bytes, index_at, page_rows_at,
        blocks_at, data_at, data_bytes, sequence, reserved;
};

struct Attr {
    i16 len;
    u8 align, op, precision, scale, strip, reserved;
    u32 column, missing_at, missing_len;
};

enum Op : u8 {
    SKIP, BOOL, INT2, INT4, INT8, DATE, TIMESTAMP, UUID, DECIMAL32, DECIMAL64, DECIMAL128, BYTES, NAME, CHAR,
    NUMERIC_TEXT, TIME
};

enum Code : u32 {
    OK, MALFORMED, COMPRESSED, EXTERNAL, NUMERIC_NAN, INFINITE, MISFIT, OUT_OF_RANGE, CHAR_HIGH, SERVER
};

struct Status { u32 row, column, code; };
struct OutHeader { u32 rows, columns, statuses, bytes; };
struct OutColumn { u32 nulls, valid_at, values_at, bytes_at, bytes, reserved; };

static_assert(sizeof(Header) == 64 && sizeof(Attr) == 20 && sizeof(OutColumn) == 24, "src/slot/layout.rs");
