// numeric to an integer at a fixed scale (src/wire/numeric.rs, src/wire/short_numeric.rs). Nothing rounds.
#pragma once
#include "plan.cuh"

constexpr u32 NBASE = 10000, WIRE_HEADER = 8, DSCALE_MASK = 0x3FFF;

// A numeric's header, and where its digits are.
struct Numeric {
    u32 digits, count;
    // The first digit's weight, as a power of 10000.
    i32 weight;
    u32 dscale;
    bool negative;
};

// The code of a special value's sign bits.
DEVICE u32 special(u32 sign) {
    return sign == 0xC000 ? NUMERIC_NAN : sign == 0xD000 || sign == 0xF000 ? INFINITE : MALFORMED;
}

// The payload of a varlena: `NumericShort` or `NumericLong` and little-endian digits.
DEVICE u32 read_header_heap(const u8 *base, u32 pos, u32 len, Numeric &num) {
    if (len < 2) return MALFORMED;
    u32 header = load16<false>(base, pos), size = 2;
    if ((header & 0xC000) == 0xC000) return special(header & 0xF000);
    if (header & 0x8000) {
        // Seven bits in two's complement.
        num.weight = static_cast<i32>((header & 0x7F) ^ 0x40) - 0x40;
        num.dscale = header >> 7 & 0x3F;
        num.negative = header & 0x2000;
    } else {
        size = 4;
        if (len < 4) return MALFORMED;
        num.weight = static_cast<i16>(load16<false>(base, pos + 2));
        num.dscale = header & DSCALE_MASK;
        num.negative = header & 0x4000;
    }
    num.digits = pos + size;
    num.count = (len - size) / 2;
    return len % 2 ? MALFORMED : OK;
}

// The format of numeric_send.
DEVICE u32 read_header_wire(const u8 *base, u32 pos, u32 len, Numeric &num) {
    if (len < WIRE_HEADER || len % 2) return MALFORMED;
    u32 sign = load16<true>(base, pos + 4);
    num.digits = pos + WIRE_HEADER;
    num.count = (len - WIRE_HEADER) / 2;
    num.weight = static_cast<i16>(load16<true>(base, pos + 2));
    num.dscale = load16<true>(base, pos + 6);
    num.negative = sign == 0x4000;
    if (num.count != load16<true>(base, pos) || num.dscale > DSCALE_MASK) return MALFORMED;
    return sign == 0 || sign == 0x4000 ? OK : special(sign);
}

constexpr u128 TEN19 = 10000000000000000000ull;
constexpr u128 TEN38 = TEN19 * TEN19;

// Times 10 to the power `power`; false when that is 10^38 or more.
DEVICE bool times10(u128 &value, i32 power) {
    if (value == 0) return true;
    for (; power > 0; power--) {
        if (value >= TEN38 / 10) return false;
        value *= 10;
    }
    return true;
}

// The digits' sum at `scale`: every form, by the steps of a school book. MALFORMED comes before MISFIT.
template <bool WIRE> DEVICE u32 sum_digits(const u8 *base, const Numeric &num, i32 scale, u128 &value) {
    value = 0;
    bool fits = true;
    // The power of ten that a digit counts; it stops where no digit can count any more.
    i32 power = 4 * num.weight + scale;
    for (u32 i = 0; i < num.count; i++) {
        u32 digit = load16<WIRE>(base, num.digits + 2 * i);
        if (digit >= NBASE) return MALFORMED;
        if (power >= 0) {
            fits = fits && times10(value, 4);
            // Below 10^38 still: `value` is a multiple of 10^4 below it.
            value += digit;
        } else if (power > -4) {
            u32 unit = power == -1 ? 10 : power == -2 ? 100 : 1000;
            fits = fits && digit % unit == 0 && times10(value, 4 + power);
            value += digit / unit;
        } else {
            fits = fits && digit == 0;
        }
        power = power > -4 ? power - 4 : power;
    }
    fits = fits && times10(value, power + 4);
    return fits ? OK : MISFIT;
}

struct Magnitude {
    u64 low, high;
    u32 code;
    bool negative;
};

// Any numeric's magnitude at the column's scale, below 10^38.
template <bool WIRE> COLD Magnitude any_magnitude(const u8 *base, u32 pos, u32 len, u32 scale) {
    Numeric num;
    u32 code = WIRE ? read_header_wire(base, pos, len, num) : read_header_heap(base, pos, len, num);
    if (code != OK) return Magnitude{0, 0, code, false};
    u128 value;
    code = sum_digits<WIRE>(base, num, static_cast<i32>(scale), value);
    if (code == OK && num.dscale > scale) code = MISFIT;
    return Magnitude{static_cast<u64>(value), static_cast<u64>(value >> 64), code, num.negative};
}

// The 16-bit lanes of `digits`, the first in the lowest, are all below 10000: when one is not, its sum with
// this has the highest bit set.
DEVICE bool all_digits(u64 digits) {
    constexpr u64 ABOVE_9999 = 0x58F058F058F058F0, TOPS = 0x8000800080008000;
    return (((digits + ABOVE_9999) | digits) & TOPS) == 0;
}

// The numerics that nearly all are: a short header and at most four digits, read as one window and without
// a loop. False for every other, malformed ones included.
template <bool WIRE>
DEVICE bool few_digits(const u8 *base, u32 pos, u32 len, const Step &step, const Bounds &bounds, u64 &value,
                       u32 &code) {
    constexpr u32 HEADER = WIRE ? WIRE_HEADER : 2;
    u32 size = len - HEADER;
    if (size > 8 || size % 2) return false;
    u32 count = size / 2, dscale;
    i32 weight;
    bool negative;
    u64 low, high, digits;
    load128(base, pos, pos + len - 1, low, high);
    if (WIRE) {
        u32 first = swap16x2(static_cast<u32>(low)), second = swap16x2(static_cast<u32>(low >> 32));
        weight = static_cast<i32>(first) >> 16;
        dscale = second >> 16;
        negative = second & 0x4000;
        if ((first & 0xFFFF) != count || (second & 0xBFFF) != 0 || dscale > DSCALE_MASK) return false;
        digits = pair(swap16x2(static_cast<u32>(high)), swap16x2(static_cast<u32>(high >> 32)));
    } else {
        u32 header = static_cast<u32>(low);
        if ((header & 0xC000) != 0x8000) return false;
        weight = static_cast<i32>((header & 0x7F) ^ 0x40) - 0x40;
        dscale = header >> 7 & 0x3F;
        negative = header & 0x2000;
        digits = low >> 16 | high << 48;
    }
    // Bits after the last digit are shifted out at the top; by two shifts, since one by 64 is not defined.
    digits = digits << (32 - 8 * count) << (32 - 8 * count);
    // The last digit's place in units of the result's groups.
    u32 places = static_cast<u32>(weight + step.groups + 1) - count;
    if (count == 0) places = 0;
    if (count + places > 4 || places > 4 || !all_digits(digits)) return false;
    digits = digits >> (8 * places) >> (8 * places);
    u32 upper = static_cast<u32>(digits), lower = static_cast<u32>(digits >> 32);
    upper = (upper & 0xFFFF) * NBASE + (upper >> 16);
    lower = (lower & 0xFFFF) * NBASE + (lower >> 16);
    u64 sum = static_cast<u64>(upper) * (NBASE * NBASE) + lower;
    sum *= bounds.inverse;
    if (step.spare != 0) sum = sum >> step.spare | sum << (64 - step.spare);
    code = sum > bounds.limit || dscale > step.scale ? MISFIT : OK;
    value = negative ? 0 - sum : sum;
    return true;
}

// A decimal's 128 bits, two's complement.
template <bool WIRE>
DEVICE u32 decimal(const u8 *base, u32 pos, u32 len, const Step &step, const Bounds &bounds, u64 &low,
                   u64 &high) {
    u32 code;
    if (few_digits<WIRE>(base, pos, len, step, bounds, low, code)) {
        high = static_cast<u64>(static_cast<i64>(low) >> 63);
        return code;
    }
    Magnitude found = any_magnitude<WIRE>(base, pos, len, step.scale);
    if (found.code != OK) return found.code;
    low = found.low;
    high = found.high;
    if (high > bounds.high || (high == bounds.high && low >= bounds.low)) return MISFIT;
    if (found.negative) {
        low = 0 - low;
        high = ~high + (low == 0);
    }
    return OK;
}
