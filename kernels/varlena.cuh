// Stored varlenas (src/wire/varlena.rs).
#pragma once
#include "bytes.cuh"
#include "slot.cuh"

struct Datum {
    // The payload; with a code, the whole datum.
    u32 pos, len;
    // OK, COMPRESSED or EXTERNAL.
    u32 code;
    // The first place of the next attribute.
    u32 next;
};

constexpr u32 VARTAG_ONDISK = 18, TOAST_POINTER = 18;

// The varlena at or after `pos`, which is aligned by `mask` unless it has a short header; false when it
// does not lie before `end`, or has a form that is never stored.
DEVICE bool varlena(const u8 *base, u32 pos, u32 end, u32 mask, Datum &datum) {
    if (pos >= end) return false;
    u32 head = load32(base, pos, end - 1);
    // att_align_pointer: zero is padding, or the start of a long header, which aligning does not move.
    if ((head & 0xFF) == 0 && (pos & mask) != 0) {
        pos = (pos + mask) & ~mask;
        if (pos >= end) return false;
        head = load32(base, pos, end - 1);
    }
    u32 room = end - pos, header = 1, len = head >> 1 & 0x7F;
    datum.code = OK;
    if ((head & 1) == 0) {
        if (room < 4) return false;
        bool compressed = head & 2;
        header = 4;
        len = head >> 2;
        if (len < (compressed ? 8 : 4)) return false;
        datum.code = compressed ? COMPRESSED : OK;
    } else if (len == 0) {
        if (room < 2 || (head >> 8 & 0xFF) != VARTAG_ONDISK) return false;
        len = TOAST_POINTER;
        datum.code = EXTERNAL;
    }
    if (room < len) return false;
    datum.pos = pos + header;
    datum.len = len - header;
    datum.next = pos + len;
    return true;
}
