// Writes an attribute of a warp's 32 rows during the walk: the validity word, values of a fixed width or the lengths
// and places of others, and statuses.
#pragma once
#include "numeric.cuh"
#include "value.cuh"
#include "warp.cuh"

DEVICE void add_status(const Slot &slot, u32 row, u32 column, u32 code) {
    u32 number = atomic_add(&slot.out().statuses, 1);
    if (number < STATUSES) slot.statuses()[number] = Status{row, column, code};
}

DEVICE void store32(const Slot &slot, u32 at, u64 index, u32 value) {
    reinterpret_cast<u32 *>(slot.output + at)[index] = value;
}

DEVICE void store64(const Slot &slot, u32 at, u64 index, u64 value) {
    reinterpret_cast<u64 *>(slot.output + at)[index] = value;
}

// A word of a bitmap, by the first lane; none for a warp behind the last row.
DEVICE void store_bits(const Slot &slot, u32 at, const Found &found, u32 bits) {
    if (lane() == 0 && found.inside) store32(slot, at, found.row / 32, bits);
}

// Lengths, for `offsets` to sum up, and places, for `gather`.
DEVICE void emit_varying(const Slot &slot, const Step &step, const Places &places, const Found &found,
                         u32 len) {
    if (found.inside) {
        store32(slot, step.values_at, found.row, len);
        slot.words(places.sources)[found.row] = found.origin + found.pos;
    }
    // Halves, as the sum may be above 32 bits.
    u64 sum = u64(warp_sum(len >> 16)) << 16;
    sum += warp_sum(len & 0xFFFF);
    // Too much for a column of any slot: `scan` will see that.
    if (lane() == 0) slot.words(places.sums)[found.row / 32] = sum > ~0u ? ~0u : static_cast<u32>(sum);
}

template <bool WIRE>
DEVICE void emit_decimal(const Slot &slot, const Step &step, const Bounds &bounds, const Found &found,
                         u32 &code) {
    u64 low = 0, high = 0;
    if (found.inside && code == OK) {
        code = decimal<WIRE>(found.base, found.pos, found.len, step, bounds, low, high);
        if (code != OK) low = high = 0;
    }
    if (!found.inside) return;
    if (step.op == DECIMAL32) {
        store32(slot, step.values_at, found.row, static_cast<u32>(low));
    } else if (step.op == DECIMAL64) {
        store64(slot, step.values_at, found.row, low);
    } else {
        u64 first = pair(swap32(static_cast<u32>(high >> 32)), swap32(static_cast<u32>(high)));
        u64 second = pair(swap32(static_cast<u32>(low >> 32)), swap32(static_cast<u32>(low)));
        store16(slot.output + step.values_at + u64(16) * found.row, first, second);
    }
}

// `read` gives a value of 4 or 8 bytes.
template <class T, class Read>
DEVICE void emit_fixed(const Slot &slot, const Step &step, const Found &found, u32 &code, Read read) {
    T value = 0;
    if (code == OK) {
        code = read(found.base, found.pos, found.len, value);
        if (code != OK) value = 0;
    }
    if (found.inside) reinterpret_cast<T *>(slot.output + step.values_at)[found.row] = value;
}

// `step` is the entry's, in registers.
template <bool WIRE>
DEVICE void emit(const Slot &slot, const Step &step, const Entry &entry, const Found &found) {
    bool valid = found.inside && !found.null;
    u32 bits = ballot(valid), rows = ballot(found.inside);
    store_bits(slot, step.valid_at, found, bits);
    if (lane() == 0 && bits != rows) {
        atomic_add(&slot.out_columns()[step.column].nulls, count_bits(rows & ~bits));
    }
    // Without a value there is nothing to read, and a row that is NULL has no status.
    u32 code = valid ? found.code : QUIET;
    switch (step.op) {
    case BOOL: {
        bool value = false;
        if (code == OK) code = read_bool(found.base, found.pos, found.len, value);
        store_bits(slot, step.values_at, found, ballot(value));
        break;
    }
    case INT2: emit_fixed<u32>(slot, step, found, code, read_int2<WIRE>); break;
    case INT4: emit_fixed<u32>(slot, step, found, code, read_int4<WIRE>); break;
    case DATE: emit_fixed<u32>(slot, step, found, code, read_date<WIRE>); break;
    case INT8: emit_fixed<u64>(slot, step, found, code, read_int8<WIRE>); break;
    case TIME: emit_fixed<u64>(slot, step, found, code, read_time<WIRE>); break;
    case TIMESTAMP: emit_fixed<u64>(slot, step, found, code, read_timestamp<WIRE>); break;
    case UUID: {
        u64 low = 0, high = 0;
        if (code == OK) code = read_uuid(found.base, found.pos, found.len, low, high);
        if (found.inside) store16(slot.output + step.values_at + u64(16) * found.row, low, high);
        break;
    }
    case DECIMAL32:
    case DECIMAL64:
    case DECIMAL128: emit_decimal<WIRE>(slot, step, entry.bounds, found, code); break;
    default:
        // A value that only the server can render, it renders from any form.
        if (step.op == NUMERIC_TEXT && (code == OK || code == COMPRESSED || code == EXTERNAL)) code = SERVER;
        emit_varying(slot, step, entry.places, found, code == OK ? found.len : 0);
    }
    if (code != OK && code != QUIET) add_status(slot, found.row, step.column, code);
}

// `emit` or, if the row's walk has stopped, no value and once a status.
template <bool WIRE>
DEVICE void emit_or_stop(const Slot &slot, const Step &step, const Entry &entry, Found &found, bool walking,
                         bool &pending) {
    if (!walking) {
        found.null = false;
        found.code = pending ? MALFORMED : QUIET;
    }
    emit<WIRE>(slot, step, entry, found);
    pending = false;
}
