//! Values, most of them ordinary and some at the edges of what their type or its column takes.

use super::{Random, op_of};
use crate::slot::layout::{Attr, Op};

/// A value as a tuple holds it.
#[derive(Clone, Debug)]
pub enum Datum {
    Null,
    Fixed(Vec<u8>),
    /// A value after a header of one byte.
    Short(Vec<u8>),
    /// A value after a header of four bytes.
    Long(Vec<u8>),
    /// The bytes from `va_tcinfo` on.
    Compressed(Vec<u8>),
    External([u8; 16]),
    /// A C string without its NUL.
    Cstring(Vec<u8>),
}

impl Datum {
    pub fn is_aligned(&self) -> bool {
        matches!(self, Datum::Fixed(_) | Datum::Long(_) | Datum::Compressed(_))
    }

    pub fn stored(&self) -> Vec<u8> {
        let long = |bytes: &[u8], bits: u32| {
            let header = ((bytes.len() as u32 + 4) << 2 | bits).to_le_bytes();
            [&header, bytes].concat()
        };
        match self {
            Datum::Null => Vec::new(),
            Datum::Fixed(bytes) => bytes.clone(),
            Datum::Short(bytes) => [&[(bytes.len() as u8 + 1) << 1 | 1], &bytes[..]].concat(),
            Datum::Long(bytes) => long(bytes, 0),
            Datum::Compressed(bytes) => long(bytes, 2),
            Datum::External(pointer) => [&[1, 18], &pointer[..]].concat(),
            Datum::Cstring(bytes) => [&bytes[..], &[0]].concat(),
        }
    }
}

pub fn heap_datum(attr: &Attr, columns: usize, random: &mut Random) -> Datum {
    match attr.len {
        -1 => match random.below(40) {
            0 => Datum::Compressed([vec![0; 4], random.some(60)].concat()),
            1 => Datum::External([7; 16]),
            form => {
                let payload = match op_of(attr) {
                    Op::Bytes | Op::Skip => text(columns, 900, random),
                    _ => heap_payload(op_of(attr), attr, random),
                };
                // Lengths 125 to 127 are where a short header ends.
                if payload.len() < 127 && form < 30 { Datum::Short(payload) } else { Datum::Long(payload) }
            }
        },
        -2 => Datum::Cstring((0..random.below(20)).map(|_| 1 + random.below(255) as u8).collect()),
        len => match op_of(attr) {
            Op::Skip => Datum::Fixed(random.bytes(len as usize)),
            Op::Name => {
                let mut name = random.bytes(len as usize);
                if random.percent(80) {
                    let nul = random.below(len as usize);
                    name[nul] = 0;
                }
                Datum::Fixed(name)
            }
            op => Datum::Fixed(heap_payload(op, attr, random)),
        },
    }
}

/// A value's bytes as the final cell of a heap column holds them.
pub fn heap_payload(op: Op, attr: &Attr, random: &mut Random) -> Vec<u8> {
    match op {
        Op::Decimal32 | Op::Decimal64 | Op::Decimal128 | Op::NumericText => {
            Number::any(attr, random).heap(random)
        }
        _ => {
            let mut bytes = wire_value(op, random);
            if !matches!(op, Op::Bytes | Op::Name | Op::Uuid) {
                bytes.reverse();
            }
            bytes
        }
    }
}

/// A field of COPY BINARY.
pub fn wire_field(attr: &Attr, columns: usize, random: &mut Random) -> Vec<u8> {
    if random.percent(1) {
        return random.some(24);
    }
    match op_of(attr) {
        Op::Decimal32 | Op::Decimal64 | Op::Decimal128 | Op::NumericText => Number::any(attr, random).wire(),
        Op::Bytes => {
            let mut bytes = text(columns, 3000, random);
            if attr.strip != 0 && !random.percent(3) {
                bytes.insert(0, 1);
            }
            bytes
        }
        op => wire_value(op, random),
    }
}

/// In microseconds.
const DAY: i64 = 86_400_000_000;

/// In network order.
fn wire_value(op: Op, random: &mut Random) -> Vec<u8> {
    match op {
        Op::Bool if random.percent(97) => vec![random.below(2) as u8],
        Op::Char if random.percent(80) => vec![random.below(128) as u8],
        Op::Bool | Op::Char => vec![random.word() as u8],
        Op::Int2 => random.bytes(2),
        Op::Date if random.percent(10) => {
            let edges =
                [i32::MIN, i32::MIN + 1, i32::MAX, i32::MAX - 1, i32::MAX - 10_957, i32::MAX - 10_956];
            random.pick(&edges).to_be_bytes().to_vec()
        }
        Op::Int4 | Op::Date => random.bytes(4),
        Op::Time if random.percent(10) => {
            random.pick(&[i64::MIN, -1, 0, DAY - 1, DAY, DAY + 1]).to_be_bytes().to_vec()
        }
        Op::Time => (random.word() as i64).rem_euclid(DAY).to_be_bytes().to_vec(),
        Op::Timestamp if random.percent(10) => {
            let past = i64::MAX - 946_684_800_000_000;
            let edges = [i64::MIN, i64::MIN + 1, i64::MAX, i64::MAX - 1, past, past + 1];
            random.pick(&edges).to_be_bytes().to_vec()
        }
        Op::Timestamp => ((random.word() >> 4) as i64).to_be_bytes().to_vec(),
        Op::Int8 => random.bytes(8),
        Op::Uuid => random.bytes(16),
        _ => random.some(30),
    }
}

/// A text, or the bytes of `columns` over and over, which look like the start of a row.
fn text(columns: usize, most: usize, random: &mut Random) -> Vec<u8> {
    let len = match random.below(20) {
        0 => 0,
        1 => random.below(most),
        2 => 120 + random.below(12),
        3 => 12 + random.below(40),
        _ => random.below(20),
    };
    if random.percent(10) {
        return (columns as u16).to_be_bytes().into_iter().cycle().take(len).collect();
    }
    random.bytes(len)
}

/// A numeric's parts.
#[derive(Clone, Debug)]
pub struct Number {
    /// Sign bits of the wire form; 0xC000 and more are the special values.
    pub sign: u16,
    pub weight: i16,
    pub dscale: u16,
    pub digits: Vec<u16>,
}

impl Number {
    /// `unscaled` divided by 10 to the power `scale`, as it is stored: without zero groups at either end.
    pub fn of(mut unscaled: u128, negative: bool, scale: u16) -> Number {
        let mut digits = Vec::new();
        let spare = u32::from(scale).wrapping_neg() % 4;
        // The lowest group has fewer digits of the value: the others are zeros behind its scale.
        let first = 10u128.pow(4 - spare);
        digits.push((unscaled % first) as u16 * 10u16.pow(spare));
        unscaled /= first;
        while unscaled > 0 {
            digits.push((unscaled % 10_000) as u16);
            unscaled /= 10_000;
        }
        digits.reverse();
        let mut weight = digits.len() as i16 - 1 - scale.div_ceil(4) as i16;
        while digits.first() == Some(&0) {
            digits.remove(0);
            weight -= 1;
        }
        while digits.last() == Some(&0) {
            digits.pop();
        }
        Number { sign: if negative { 0x4000 } else { 0 }, weight, dscale: scale, digits }
    }

    /// Values that the column takes, values at its limits, and others.
    pub fn any(attr: &Attr, random: &mut Random) -> Number {
        let limit = 10u128.pow(u32::from(attr.precision));
        let scale = u16::from(attr.scale);
        let negative = random.percent(40);
        let longest = if random.percent(3) { 300 } else { 12 };
        let wide = u128::from(random.word()) << 64 | u128::from(random.word());
        match random.below(100) {
            0..60 => {
                let fewer = 10u128.pow(random.below(usize::from(attr.precision) + 1) as u32);
                Number::of(wide % limit.min(fewer.max(1)), negative, scale)
            }
            60..70 => {
                let edges = [0, 1, limit - 1, limit, limit.saturating_mul(10), limit / 10];
                Number::of(random.pick(&edges), negative, scale)
            }
            70..80 => {
                let scale = random.below(usize::from(scale) + 6) as u16;
                Number::of(wide % limit, negative, scale)
            }
            80..85 => Number {
                sign: random.pick(&[0xC000, 0xD000, 0xF000]),
                weight: 0,
                dscale: random.pick(&[0, 32]),
                digits: vec![],
            },
            other => Number {
                sign: if negative { 0x4000 } else { 0 },
                weight: match other {
                    85..95 => random.below(24) as i16 - 12,
                    _ => random.pick(&[i16::MIN, i16::MAX, -64, -65, 63, 64, 32, -32, 8, 9, 10]),
                },
                dscale: random.pick(&[0, 2, scale, scale, scale, 63, 64, 0x3FFF]),
                digits: (0..random.below(longest))
                    .map(|_| {
                        random.pick(&[0, 0, 1, 10, 100, 1000, 9999, 1234, 10_000, 0x7FFF, 5, 500]) % 10_001
                    })
                    .collect(),
            },
        }
    }

    pub fn wire(&self) -> Vec<u8> {
        let header = [self.digits.len() as u16, self.weight as u16, self.sign, self.dscale];
        header.iter().chain(&self.digits).flat_map(|word| word.to_be_bytes()).collect()
    }

    /// The stored form. It nearly always has a short header if weight and scale fit one.
    pub fn heap(&self, random: &mut Random) -> Vec<u8> {
        let words: Vec<u16> = if self.sign >= 0xC000 {
            vec![self.sign]
        } else if (-64..64).contains(&self.weight) && self.dscale < 64 && !random.percent(10) {
            let sign = if self.sign == 0 { 0 } else { 0x2000 };
            vec![0x8000 | sign | self.dscale << 7 | self.weight as u16 & 0x7F]
        } else {
            vec![self.sign | self.dscale, self.weight as u16]
        };
        let mut bytes: Vec<u8> =
            words.iter().chain(&self.digits).flat_map(|word| word.to_le_bytes()).collect();
        if random.percent(1) {
            bytes.truncate(random.below(bytes.len() + 1));
        }
        bytes
    }
}
