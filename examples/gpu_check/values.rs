//! Values and their two forms: as a heap tuple stores them and as COPY BINARY sends them.

use pg_strata::slot::layout::{Attr, Op};

/// splitmix64: the same slots every time.
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    /// Returns a number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub fn one_in(&mut self, of: usize) -> bool {
        of != 0 && self.below(of) == 0
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| b'a' + self.below(26) as u8).collect()
    }

    pub fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}

/// numeric, as `numeric_send` describes it; `sign` may be NaN's or an infinity's.
#[derive(Clone, Debug)]
pub struct Num {
    pub sign: u16,
    pub weight: i16,
    pub dscale: u16,
    pub digits: Vec<u16>,
}

const NEGATIVE: u16 = 0x4000;
const SPECIAL: u16 = 0xC000;

impl Num {
    /// An integer, stripped of zeros at either end as PostgreSQL does.
    pub fn integer(value: i64) -> Num {
        let (mut rest, mut digits) = (value.unsigned_abs(), Vec::new());
        while rest > 0 {
            digits.push((rest % 10_000) as u16);
            rest /= 10_000;
        }
        let weight = (digits.len() as i16 - 1).max(0);
        digits.reverse();
        while digits.last() == Some(&0) {
            digits.pop();
        }
        Num { sign: if value < 0 { NEGATIVE } else { 0 }, weight, dscale: 0, digits }
    }

    pub fn wire(&self) -> Vec<u8> {
        let head = [self.digits.len() as u16, self.weight as u16, self.sign, self.dscale];
        head.iter().chain(&self.digits).flat_map(|word| word.to_be_bytes()).collect()
    }

    /// The payload of the varlena; `long`: with the header of 4 bytes though the one of 2 would do.
    pub fn heap(&self, long: bool) -> Vec<u8> {
        if self.sign & SPECIAL == SPECIAL {
            return self.sign.to_le_bytes().to_vec();
        }
        let short = !long && self.dscale <= 63 && (-64..=63).contains(&self.weight);
        let mut words = if short {
            let sign = if self.sign == NEGATIVE { 0x2000 } else { 0 };
            vec![0x8000 | sign | self.dscale << 7 | (self.weight as u16 & 0x7F)]
        } else {
            vec![self.sign | (self.dscale & 0x3FFF), self.weight as u16]
        };
        words.extend(&self.digits);
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }
}

#[derive(Clone, Debug)]
pub enum Value {
    Null,
    /// Bytes as stored on a little-endian machine. They are sent reversed unless `as_is`.
    Fixed {
        bytes: Vec<u8>,
        as_is: bool,
    },
    Number(Num),
    Bytes(Vec<u8>),
    /// Stored in 64 bytes; sent as text.
    Name(Vec<u8>),
    Compressed(usize),
    External,
}

impl Value {
    pub fn swapped(bytes: &[u8]) -> Value {
        Value::Fixed { bytes: bytes.to_vec(), as_is: false }
    }

    pub fn as_is(bytes: &[u8]) -> Value {
        Value::Fixed { bytes: bytes.to_vec(), as_is: true }
    }

    /// Appends the field, its length first.
    pub fn send(&self, out: &mut Vec<u8>) {
        let payload = match self {
            Value::Null => return out.extend((-1i32).to_be_bytes()),
            Value::Fixed { bytes, as_is: true } | Value::Bytes(bytes) | Value::Name(bytes) => bytes.clone(),
            Value::Fixed { bytes, .. } => bytes.iter().rev().copied().collect(),
            Value::Number(num) => num.wire(),
            Value::Compressed(len) => vec![b'c'; *len],
            Value::External => b"external".to_vec(),
        };
        out.extend((payload.len() as i32).to_be_bytes());
        out.extend(payload);
    }

    /// Appends the value to a tuple, aligned as its attribute asks.
    fn store(&self, attr: &Attr, tuple: &mut Vec<u8>, chance: &mut Chance) {
        let align = usize::from(attr.align);
        match self {
            Value::Null => (),
            Value::Fixed { bytes, .. } => {
                pad(tuple, align);
                tuple.extend(bytes);
            }
            Value::Name(bytes) => {
                let end = tuple.len() + 64;
                tuple.extend(bytes);
                tuple.resize(end, 0);
            }
            Value::Number(num) => store_varlena(&num.heap(chance.one_in(20)), align, tuple, chance),
            Value::Bytes(bytes) => store_varlena(bytes, align, tuple, chance),
            Value::Compressed(len) => {
                pad(tuple, align);
                tuple.extend(((*len as u32 + 8) << 2 | 2).to_le_bytes());
                tuple.extend([7, 0, 0, 0]);
                tuple.extend(vec![b'c'; *len]);
            }
            Value::External => {
                tuple.extend([1, 18]);
                tuple.extend([9; 16]);
            }
        }
    }
}

fn store_varlena(bytes: &[u8], align: usize, tuple: &mut Vec<u8>, chance: &mut Chance) {
    if bytes.len() < 127 && !chance.one_in(16) {
        tuple.push((bytes.len() as u8 + 1) << 1 | 1);
    } else {
        pad(tuple, align);
        tuple.extend(((bytes.len() as u32 + 4) << 2).to_le_bytes());
    }
    tuple.extend(bytes);
}

pub fn pad(out: &mut Vec<u8>, align: usize) {
    out.resize(out.len().next_multiple_of(align), 0);
}

/// A tuple with the first `values.len()` of the attributes.
pub fn tuple(attrs: &[Attr], values: &[Value], chance: &mut Chance) -> Vec<u8> {
    let nulls = values.iter().any(|value| matches!(value, Value::Null));
    let mut tuple = vec![0; 23];
    tuple[18..20].copy_from_slice(&(values.len() as u16).to_le_bytes());
    tuple[20] = u8::from(nulls);
    if nulls {
        let mut bits = vec![0u8; values.len().div_ceil(8)];
        for (number, value) in values.iter().enumerate() {
            bits[number / 8] |= u8::from(!matches!(value, Value::Null)) << (number % 8);
        }
        tuple.extend(bits);
    }
    pad(&mut tuple, 8);
    tuple[22] = tuple.len() as u8;
    for (attr, value) in attrs.iter().zip(values) {
        value.store(attr, &mut tuple, chance);
    }
    tuple
}

/// A row of COPY BINARY.
pub fn row(values: &[Value], out: &mut Vec<u8>) {
    out.extend((values.len() as u16).to_be_bytes());
    values.iter().for_each(|value| value.send(out));
}

/// An attribute of the operation, with the length and alignment of a type that has it.
pub fn attr(op: Op, column: u32) -> Attr {
    let (len, align) = match op {
        Op::Skip | Op::Int4 | Op::Date => (4, 4),
        Op::Bool | Op::Char => (1, 1),
        Op::Int2 => (2, 2),
        Op::Int8 | Op::Time | Op::Timestamp => (8, 8),
        Op::Uuid => (16, 1),
        Op::Name => (64, 1),
        Op::Decimal32 | Op::Decimal64 | Op::Decimal128 | Op::Bytes | Op::NumericText => (-1, 4),
    };
    let precision = match op {
        Op::Decimal32 => 9,
        Op::Decimal64 => 18,
        Op::Decimal128 => 38,
        _ => 0,
    };
    Attr { len, align, op: op as u8, precision, column, ..Attr::default() }
}
