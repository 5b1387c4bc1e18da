// Values of fixed width (src/decode/mod.rs, src/decode/lanes.rs). Each reads a cell of `len` bytes, in the
// order of its format, and returns a Code; without OK the value has no meaning.
#pragma once
#include "bytes.cuh"
#include "slot.cuh"

// In `Found::code`: no value, and no status either, as the row has one already.
constexpr u32 QUIET = ~0u;

// A row and what the walk found in it for an attribute. `row` is a row of the slot when `inside`.
struct Found {
    const u8 *base;
    // The place of `base`, from the input region's start.
    u32 origin;
    u32 row;
    bool inside, null;
    // OK with a value of `len` bytes at `pos`.
    u32 code, pos, len;
};

// A tile's bytes, in shared memory or in the input region itself.
struct Tile {
    const u8 *base;
    u32 origin;
};

// Days, and microseconds, from 1970-01-01 to 2000-01-01.
constexpr i32 EPOCH_DAYS = 10957;
constexpr i64 EPOCH_MICROS = 946684800000000;
constexpr u64 DAY_MICROS = 86400000000;
constexpr i32 LAST_DATE = 0x7FFFFFFF;
constexpr i64 LAST_TIMESTAMP = 0x7FFFFFFFFFFFFFFF;

DEVICE u32 read_bool(const u8 *base, u32 pos, u32 len, bool &value) {
    u32 byte = len == 1 ? load8(base, pos) : 2;
    value = byte == 1;
    return byte > 1 ? MALFORMED : OK;
}

template <bool WIRE> DEVICE u32 read_int2(const u8 *base, u32 pos, u32 len, u32 &value) {
    if (len != 2) return MALFORMED;
    value = static_cast<u32>(static_cast<i32>(static_cast<i16>(load16<WIRE>(base, pos))));
    return OK;
}

template <bool WIRE> DEVICE u32 read_int4(const u8 *base, u32 pos, u32 len, u32 &value) {
    if (len != 4) return MALFORMED;
    u32 stored = load32(base, pos, pos + 3);
    value = WIRE ? swap32(stored) : stored;
    return OK;
}

template <bool WIRE> DEVICE u32 read_int8(const u8 *base, u32 pos, u32 len, u64 &value) {
    if (len != 8) return MALFORMED;
    u64 stored = load64(base, pos, pos + 7);
    u32 low = static_cast<u32>(stored), high = static_cast<u32>(stored >> 32);
    value = WIRE ? pair(swap32(high), swap32(low)) : stored;
    return OK;
}

template <bool WIRE> DEVICE u32 read_date(const u8 *base, u32 pos, u32 len, u32 &value) {
    u32 code = read_int4<WIRE>(base, pos, len, value);
    if (code != OK) return code;
    i32 days = static_cast<i32>(value);
    if (days == LAST_DATE || days == -LAST_DATE - 1) return INFINITE;
    value += EPOCH_DAYS;
    return days > LAST_DATE - EPOCH_DAYS ? OUT_OF_RANGE : OK;
}

// The end of a day (24:00) is a time in PostgreSQL, but not in the file.
template <bool WIRE> DEVICE u32 read_time(const u8 *base, u32 pos, u32 len, u64 &value) {
    u32 code = read_int8<WIRE>(base, pos, len, value);
    if (code != OK) return code;
    return value < DAY_MICROS ? OK : value == DAY_MICROS ? OUT_OF_RANGE : MALFORMED;
}

template <bool WIRE> DEVICE u32 read_timestamp(const u8 *base, u32 pos, u32 len, u64 &value) {
    u32 code = read_int8<WIRE>(base, pos, len, value);
    if (code != OK) return code;
    i64 micros = static_cast<i64>(value);
    if (micros == LAST_TIMESTAMP || micros == -LAST_TIMESTAMP - 1) return INFINITE;
    value += EPOCH_MICROS;
    return micros > LAST_TIMESTAMP - EPOCH_MICROS ? OUT_OF_RANGE : OK;
}

DEVICE u32 read_uuid(const u8 *base, u32 pos, u32 len, u64 &low, u64 &high) {
    if (len != 16) return MALFORMED;
    load128(base, pos, pos + 15, low, high);
    return OK;
}

// Bytes before the first NUL.
DEVICE u32 name_length(const u8 *base, u32 pos, u32 len) {
    u32 at = 0;
    while (at < len && load8(base, pos + at) != 0) at++;
    return at;
}
