// What the generated text of a query uses: columns as decode lays them out, values, groups and their states. The text
// itself is made by src/query/cuda; aggregate.cuh has the kernels.
#pragma once
#include "slot.cuh"
#include "warp.cuh"

// The columns of a decoded slot, and the query's constants.
struct Source {
    const u8 *output;
    const u64 *constants;

    DEVICE const OutColumn &column(u32 number) const {
        return reinterpret_cast<const OutColumn *>(output + sizeof(OutHeader))[number];
    }
    DEVICE bool is_null(u32 number, u32 row) const {
        return (reinterpret_cast<const u32 *>(output + column(number).valid_at)[row / 32] >> row % 32 & 1) == 0;
    }
    template <class T> DEVICE T value(u32 number, u32 row) const {
        return reinterpret_cast<const T *>(output + column(number).values_at)[row];
    }
    DEVICE bool truth(u32 number, u32 row) const {
        return (reinterpret_cast<const u32 *>(output + column(number).values_at)[row / 32] >> row % 32 & 1) != 0;
    }
    // 16 bytes, big-endian.
    DEVICE i128 decimal128(u32 number, u32 row) const {
        const u8 *at = output + column(number).values_at + 16 * u64(row);
        u128 value = 0;
        for (u32 i = 0; i < 16; i++) value = value << 8 | at[i];
        return static_cast<i128>(value);
    }
    DEVICE i64 word(u32 index) const { return static_cast<i64>(constants[index]); }
    DEVICE i128 wide(u32 index) const {
        return static_cast<i128>(static_cast<u128>(constants[index + 1]) << 64 | constants[index]);
    }
};

struct Text {
    const u8 *at;
    u32 length;

    DEVICE Text without_blanks() const {
        Text text = *this;
        while (text.length > 0 && text.at[text.length - 1] == ' ') text.length--;
        return text;
    }
};

DEVICE Text text_of(const Source &from, u32 number, u32 row) {
    const OutColumn &column = from.column(number);
    const u32 *ends = reinterpret_cast<const u32 *>(from.output + column.values_at);
    return Text{from.output + column.bytes_at + ends[row], ends[row + 1] - ends[row]};
}

DEVICE Text uuid_of(const Source &from, u32 number, u32 row) {
    return Text{from.output + from.column(number).values_at + 16 * u64(row), 16};
}

// A constant: where its bytes are among the constants, and its length.
DEVICE Text text_constant(const Source &from, u32 index) {
    const u8 *bytes = reinterpret_cast<const u8 *>(from.constants);
    return Text{bytes + from.constants[index], static_cast<u32>(from.constants[index + 1])};
}

DEVICE i32 compare(const Text &a, const Text &b) {
    const u32 length = least(a.length, b.length);
    for (u32 i = 0; i < length; i++) {
        if (a.at[i] != b.at[i]) return a.at[i] < b.at[i] ? -1 : 1;
    }
    return a.length == b.length ? 0 : a.length < b.length ? -1 : 1;
}

// The order of floats as integers: NaN equals NaN and is above all others, -0 equals 0.
DEVICE i64 float_key(double value) {
    if (value != value) return 0x7FFFFFFFFFFFFFFF;
    union {
        double value;
        i64 bits;
    } of{value == 0 ? 0 : value};
    return of.bits ^ static_cast<i64>(static_cast<u64>(of.bits >> 63) >> 1);
}

DEVICE double float_of(i64 bits) {
    union {
        i64 bits;
        double value;
    } of{bits};
    return of.value;
}

// Magnitudes of numerics of 128 bits are below it; those of summed ones below SUM_LIMIT.
constexpr i128 WIDE_LIMIT = i128(1) << 96, SUM_LIMIT = i128(1) << 84;
// Those of columns are below it.
constexpr i128 READ_LIMIT = i128(100000000000000) * 100000000000000;

DEVICE bool fits_word(i128 value) { return value == static_cast<i64>(value); }
DEVICE i128 magnitude(i128 value) { return value < 0 ? -value : value; }

// The value, or 0 if its magnitude is too large.
DEVICE i128 limited(i128 value, i128 limit, bool &bad) {
    if (magnitude(value) < limit) return value;
    bad = true;
    return 0;
}

// The product of numbers below WIDE_LIMIT.
DEVICE i128 product(i128 a, i128 b, bool &bad) {
    if (fits_word(a) && fits_word(b)) return limited(a * b, WIDE_LIMIT, bad);
    const i128 x = magnitude(a), y = magnitude(b);
    if (x != 0 && y >= (WIDE_LIMIT + x - 1) / x) {
        bad = true;
        return 0;
    }
    return a * b;
}

// The integer, or 0 if its type does not hold it.
DEVICE i64 ranged(i128 value, i64 from, i64 to, bool &bad) {
    if (value >= from && value <= to) return static_cast<i64>(value);
    bad = true;
    return 0;
}

DEVICE i128 quotient(i64 a, i64 b, bool &bad) {
    if (b == 0) {
        bad = true;
        return 0;
    }
    return i128(a) / b;
}

DEVICE i64 remainder(i64 a, i64 b, bool &bad) {
    if (b == 0) bad = true;
    return b == 0 || b == -1 ? 0 : a % b;
}

// By how many bits an integer of `bits` is shifted.
DEVICE u32 shift_of(i64 by, u32 bits, bool &bad) {
    if (by >= 0 && by < i64(bits)) return static_cast<u32>(by);
    bad = true;
    return 0;
}

// The words of a short text as src/query/keys.rs has them; a long one is bad.
DEVICE void put_text(const Text &text, u64 *words, bool &bad) {
    if (text.length > 12) bad = true;
    u64 first = text.length, second = 0;
    for (u32 i = 0; i < 12; i++) {
        const u64 byte = i < text.length ? text.at[i] : 0;
        if (i < 4) first |= byte << (32 + 8 * i);
        else second |= byte << (8 * (i - 4));
    }
    words[0] = first;
    words[1] = second;
}

DEVICE void put_wide(i128 value, u64 *words) {
    words[0] = static_cast<u64>(value);
    words[1] = static_cast<u64>(static_cast<u128>(value) >> 64);
}

// The sums over the lanes of a warp, all of which take part.
DEVICE i64 lanes_total(i64 value) {
    for (u32 by = 16; by > 0; by /= 2) value += static_cast<i64>(shuffle_xor(static_cast<u64>(value), by));
    return value;
}

DEVICE i128 lanes_total(i128 value) {
    for (u32 by = 16; by > 0; by /= 2) {
        const u64 low = shuffle_xor(static_cast<u64>(value), by);
        const u64 high = shuffle_xor(static_cast<u64>(static_cast<u128>(value) >> 64), by);
        value += static_cast<i128>(static_cast<u128>(high) << 64 | low);
    }
    return value;
}

DEVICE i64 lanes_least(i64 value) {
    for (u32 by = 16; by > 0; by /= 2) {
        const i64 other = static_cast<i64>(shuffle_xor(static_cast<u64>(value), by));
        if (other < value) value = other;
    }
    return value;
}

DEVICE i64 lanes_greatest(i64 value) { return ~lanes_least(~value); }

DEVICE u64 lanes_and(u64 value) {
    for (u32 by = 16; by > 0; by /= 2) value &= shuffle_xor(value, by);
    return value;
}

DEVICE u64 lanes_or(u64 value) { return ~lanes_and(~value); }

DEVICE u64 lanes_xor(u64 value) {
    for (u32 by = 16; by > 0; by /= 2) value ^= shuffle_xor(value, by);
    return value;
}

// Adds to a sum of 128 bits.
DEVICE void add_wide(u64 *at, i128 value) {
    const u64 low = static_cast<u64>(value);
    u64 high = static_cast<u64>(static_cast<u128>(value) >> 64);
    if (low != 0) {
        const u64 before = atomic_add(at, low);
        high += before + low < before;
    }
    if (high != 0) atomic_add(at + 1, high);
}

// Each takes the word of a state, and the word behind it, which says that there is a value.
DEVICE void put_least(u64 *at, i64 value) {
    atomic_min(reinterpret_cast<i64 *>(at), value);
}
DEVICE void put_greatest(u64 *at, i64 value) {
    atomic_max(reinterpret_cast<i64 *>(at), value);
}

enum Found : u32 { EXCLUDED, INCLUDED, MARKED };
