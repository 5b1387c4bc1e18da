// COPY BINARY rows (src/wire/copy_binary.rs).
#pragma once
#include "plan.cuh"
#include "value.cuh"

// Whether the row from `pos` has `count` fields; moves to the first one's length.
DEVICE bool open_row(const u8 *base, u32 &pos, u32 end, u32 count) {
    if (end - pos < 2 || load16<true>(base, pos) != count || count > 0x7FFF) return false;
    pos += 2;
    return true;
}

// The field whose length is at `pos`; false when it does not lie before `end`, where the walk stops.
DEVICE bool find_field(const Step &step, const u8 *base, u32 &pos, u32 end, Found &found) {
    found.code = OK;
    if (end - pos < 4) return false;
    u32 len = swap32(load32(base, pos, pos + 3));
    pos += 4;
    found.pos = pos;
    found.len = len;
    found.null = len == ~0u;
    if (found.null) return true;
    // A length below -1 is larger than any room.
    if (len > end - pos) return false;
    pos += len;
    if (step.strip != 0) {
        if (len == 0 || load8(base, found.pos) != 1) {
            found.code = MALFORMED;
            return true;
        }
        found.pos++;
        found.len--;
    }
    return true;
}
