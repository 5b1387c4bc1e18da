// The least and the greatest value of a page, for the statistics (parquet.thrift, ColumnOrder), as keys: unsigned
// numbers in the values' order. src/gpu/encode.rs turns keys back into values, and the zeros of floats into -0 and +0.
#pragma once
#include "page.cuh"

struct KeyRange {
    u128 min, max;
    u32 values, nans;
};

DEVICE u64 swap64(u64 value) { return pair(swap32(u32(value >> 32)), swap32(u32(value))); }

template <class T> constexpr T top_bit() { return T(1) << (8 * sizeof(T) - 1); }

// A value with `nan` has no order and is left out.
template <class T> DEVICE T order_key(T bits, u8 order, bool &nan) {
    constexpr T INFINITY_BITS = sizeof(T) == 4 ? T(0x7F800000) : T(0x7FF0000000000000);
    if (order == UNSIGNED) return bits;
    if (order == SIGNED) return bits ^ top_bit<T>();
    nan = (bits & ~top_bit<T>()) > INFINITY_BITS;
    return (bits & top_bit<T>()) != 0 ? ~bits : bits ^ top_bit<T>();
}

// `KEY`: u32, u64 or, for 16 bytes in big-endian order, u128.
template <class KEY> DEVICE KEY load_key(const Rows &rows, u32 row, bool &nan) {
    if constexpr (sizeof(KEY) == 16) {
        const u64 *words = reinterpret_cast<const u64 *>(rows.values) + 2 * (u64(rows.page.first) + row);
        const u128 bits = u128(swap64(words[0])) << 64 | swap64(words[1]);
        return rows.page.order == SIGNED ? bits ^ top_bit<u128>() : bits;
    } else {
        const KEY *values = reinterpret_cast<const KEY *>(rows.values) + rows.page.first;
        return order_key<KEY>(values[row], rows.page.order, nan);
    }
}

template <class KEY> DEVICE KeyRange own_range(const Rows &rows) {
    KEY min = ~KEY(0), max = 0;
    u32 values = 0, nans = 0;
    for (u32 row = thread(); row < rows.count(); row += WIDE) {
        if (!rows.has_value(row)) continue;
        bool nan = false;
        const KEY key = load_key<KEY>(rows, row, nan);
        if (nan) {
            nans++;
            continue;
        }
        values++;
        min = key < min ? key : min;
        max = key > max ? key : max;
    }
    return KeyRange{values == 0 ? ~u128(0) : u128(min), u128(max), values, nans};
}

DEVICE KeyRange own_bit_range(const Rows &rows) {
    const u32 *bits = reinterpret_cast<const u32 *>(rows.values) + rows.page.first / 32;
    u32 trues = 0, falses = 0;
    for (u32 i = thread(); i < rows.words(); i += WIDE) {
        trues += count_bits(bits[i] & rows.word(i));
        falses += count_bits(~bits[i] & rows.word(i));
    }
    const u128 none = ~u128(0);
    return KeyRange{falses != 0 ? 0 : trues != 0 ? u128(1) : none, trues != 0 ? 1u : 0u, trues + falses, 0};
}

// `keys`: shared, WIDE of them. All threads take part, and all have the result.
template <class LESS> DEVICE u128 reduce(u128 own, u128 *keys, LESS less) {
    keys[thread()] = own;
    block_sync();
    for (u32 half = WIDE / 2; half > 0; half /= 2) {
        const bool better = thread() < half && less(keys[thread() + half], keys[thread()]);
        if (better) keys[thread()] = keys[thread() + half];
        block_sync();
    }
    const u128 found = keys[0];
    block_sync();
    return found;
}

DEVICE Bounds find_bounds(const Rows &rows, u128 *keys, u32 *warps) {
    // The bounds of strings are in ends.cuh.
    if (rows.page.order == NO_ORDER || rows.page.shape == STRINGS) return Bounds{0, 0, 0, 0, 0, 0};
    KeyRange own{};
    switch (rows.page.shape) {
    case BITS: own = own_bit_range(rows); break;
    case FIXED4: own = own_range<u32>(rows); break;
    case FIXED8: own = own_range<u64>(rows); break;
    default: own = own_range<u128>(rows);
    }
    const u128 min = reduce(own.min, keys, [](u128 a, u128 b) { return a < b; });
    const u128 max = reduce(own.max, keys, [](u128 a, u128 b) { return a > b; });
    u32 values, nans;
    block_scan(own.values, warps, values);
    block_scan(own.nans, warps, nans);
    return Bounds{u64(min >> 64), u64(min), u64(max >> 64), u64(max), values, nans};
}
