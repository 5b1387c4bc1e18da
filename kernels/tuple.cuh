// Heap tuples (src/wire/page.rs, src/wire/tuple.rs).
#pragma once
#include "plan.cuh"
#include "value.cuh"
#include "varlena.cuh"

constexpr u32 PAGE_HEADER = 24, LP_NORMAL = 1, T_BITS = 23, HASNULL = 1, NATTS_MASK = 0x07FF;

// One tuple between two attributes.
struct Tuple {
    // The places of the next attribute and of the tuple's end, from the buffer's start.
    u32 pos, end;
    // The place of the null bitmap; 0 if there is none.
    u32 bits;
    u32 natts;
    // The bitmap's word for the attribute at hand: see `nulls`.
    u32 nulls;
};

// Reads and checks the tuple that line pointer `line` (from 1) of the page at `page` names.
DEVICE bool open_tuple(const u8 *base, u32 page, u32 line, Tuple &tuple) {
    if (line == 0 || PAGE_HEADER + 4 * line > BLOCK_SIZE) return false;
    u32 pointer = word(base, (page + PAGE_HEADER) / 4 + line - 1);
    u32 offset = pointer & 0x7FFF, flags = pointer >> 15 & 3, len = pointer >> 17;
    if (flags != LP_NORMAL || offset + len > BLOCK_SIZE || len < T_BITS || offset % 8 != 0) return false;
    u32 start = page + offset;
    // t_infomask2 and t_infomask are 4 bytes from 18, t_hoff is the byte behind them.
    u32 masks = load32(base, start + 18, start + 21), hoff = load8(base, start + 22);
    u32 natts = masks & NATTS_MASK;
    bool nulls = masks >> 16 & HASNULL;
    if (hoff < T_BITS + (nulls ? (natts + 7) / 8 : 0) || hoff > len || hoff % 8 != 0) return false;
    tuple.pos = start + hoff;
    tuple.end = start + len;
    tuple.bits = nulls ? start + T_BITS : 0;
    tuple.natts = natts;
    tuple.nulls = ~0u;
    return true;
}

// To be called for every attribute, in order: loads the bitmap's next 32 bits.
DEVICE void next_nulls(const u8 *base, Tuple &tuple, u32 number) {
    if (number % 32 == 0 && tuple.bits != 0 && number < tuple.natts) {
        tuple.nulls = load32(base, tuple.bits + number / 8, tuple.bits + (tuple.natts - 1) / 8);
    }
}

DEVICE bool is_null(const Tuple &tuple, u32 number) { return (tuple.nulls >> number % 32 & 1) == 0; }

// Moves past an attribute of fixed width; false when that is past the tuple's end.
DEVICE bool take_fixed(Tuple &tuple, u32 mask, u32 len, u32 &pos) {
    pos = (tuple.pos + mask) & ~mask;
    if (pos > tuple.end || tuple.end - pos < len) return false;
    tuple.pos = pos + len;
    return true;
}

DEVICE bool take_varlena(const u8 *base, Tuple &tuple, u32 mask, Datum &datum) {
    if (!varlena(base, tuple.pos, tuple.end, mask, datum)) return false;
    tuple.pos = datum.next;
    return true;
}

// A C string and its NUL; false when it has none.
DEVICE bool take_cstring(const u8 *base, Tuple &tuple, u32 &pos, u32 &len) {
    pos = tuple.pos;
    u32 at = pos;
    while (at < tuple.end && load8(base, at) != 0) at++;
    if (at >= tuple.end) return false;
    tuple.pos = at + 1;
    len = at + 1 - pos;
    return true;
}

// The bytes that a column keeps of a name or a "char".
DEVICE void trim(const Step &step, Found &found) {
    if (step.op == NAME) {
        found.len = name_length(found.base, found.pos, found.len);
    } else if (step.op == CHAR && found.len == 1) {
        u32 byte = load8(found.base, found.pos);
        found.len = byte != 0;
        if (byte >= 0x80) found.code = CHAR_HIGH;
    }
}

// Attribute `number` of a tuple, to be called for each in order; false where the walk stops.
DEVICE bool find_attribute(const Slot &slot, const Step &step, u32 number, const Tile &tile, Tuple &tuple,
                           Found &found) {
    found.code = OK;
    found.base = tile.base;
    found.origin = tile.origin;
    if (number >= tuple.natts) {
        // The tuple is older than the column.
        found.null = step.missing_len == NO_MISSING;
        found.base = slot.input;
        found.origin = 0;
        found.pos = step.missing_at;
        found.len = step.missing_len;
        return true;
    }
    next_nulls(tile.base, tuple, number);
    found.null = is_null(tuple, number);
    if (found.null) return true;
    if (step.len == -1) {
        Datum datum;
        if (!take_varlena(tile.base, tuple, step.mask, datum)) return false;
        found.code = datum.code;
        found.pos = datum.pos;
        found.len = datum.len;
        return true;
    }
    if (step.len == -2) return take_cstring(tile.base, tuple, found.pos, found.len);
    found.len = static_cast<u32>(step.len);
    if (!take_fixed(tuple, step.mask, found.len, found.pos)) return false;
    if (step.op == NAME || step.op == CHAR) trim(step, found);
    return true;
}
