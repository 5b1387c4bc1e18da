//! Columns to encode, made up from a seed, and what the encode kernels make of some of them.

use super::Random;
use crate::gpu::encode::{ColumnPart, Order, Shape, encoding};

/// The kind of a column's values.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    pub shape: Shape,
    pub order: Order,
    pub nullable: bool,
    pub rows: usize,
    /// Percent.
    pub nulls: usize,
    /// Strings: their bytes at most, but for few.
    pub longest: usize,
    /// Rows that are alike, one behind the other, at most; 0 and 1: none but by chance.
    pub alike: usize,
    /// Different values; 0 for any.
    pub distinct: usize,
    /// The chunk of the column before goes on, with the same values.
    pub continues: bool,
    /// See `ColumnPart::encoding`.
    pub encoding: u32,
}

/// Shapes with the orders that they have.
pub const TYPES: [(Shape, Order); 10] = [
    (Shape::Bits, Order::Unsigned),
    (Shape::Fixed4, Order::Signed),
    (Shape::Fixed4, Order::Unsigned),
    (Shape::Fixed4, Order::Floating),
    (Shape::Fixed8, Order::Signed),
    (Shape::Fixed8, Order::Floating),
    (Shape::Fixed8, Order::None),
    (Shape::Fixed16, Order::Signed),
    (Shape::Fixed16, Order::Unsigned),
    (Shape::Strings, Order::None),
];

/// Columns in an input, and their values: in the bytes of the column, a bit as one byte.
#[derive(Default)]
pub struct Columns {
    pub input: Vec<u8>,
    pub columns: Vec<ColumnPart>,
    pub values: Vec<Vec<Option<Vec<u8>>>>,
    pool: Vec<Vec<u8>>,
}

/// The alignment of column parts, as in an output region.
const ALIGN: usize = 64;

impl Columns {
    fn put(&mut self, bytes: &[u8]) -> u64 {
        self.input.resize(self.input.len().next_multiple_of(ALIGN), 0xA5);
        let at = self.input.len();
        self.input.extend(bytes);
        at as u64
    }

    /// Adds a column.
    pub fn add(&mut self, wish: Wish, random: &mut Random) {
        if !wish.continues {
            self.pool = pool(wish, random);
        }
        let mut next = 0..self.pool.len();
        let mut rows: Vec<Option<Vec<u8>>> = Vec::with_capacity(wish.rows);
        while rows.len() < wish.rows {
            let row = match () {
                _ if random.percent(wish.nulls) => None,
                _ if wish.distinct == 0 => Some(value(wish, random)),
                // Each once, if there are rows enough.
                _ => Some(self.pool[next.next().unwrap_or_else(|| random.below(self.pool.len()))].clone()),
            };
            let times = if wish.alike > 1 { 1 + random.below(wish.alike) } else { 1 };
            rows.extend(std::iter::repeat_n(row, times.min(wish.rows - rows.len())));
        }
        let bits = |of: &dyn Fn(&Option<Vec<u8>>) -> bool| {
            let mut words = vec![0u32; rows.len().div_ceil(32)];
            rows.iter()
                .enumerate()
                .for_each(|(row, value)| words[row / 32] |= u32::from(of(value)) << (row % 32));
            words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>()
        };
        let valid_at = self.put(&bits(&|value| value.is_some()));
        let mut bytes = Vec::new();
        let values = match wish.shape {
            Shape::Bits => bits(&|value| value.as_ref().is_some_and(|value| value[0] != 0)),
            Shape::Strings => {
                let mut offsets = 0u32.to_le_bytes().to_vec();
                for row in &rows {
                    bytes.extend(row.iter().flatten());
                    offsets.extend((bytes.len() as u32).to_le_bytes());
                }
                offsets
            }
            shape => rows.iter().flat_map(|row| row.clone().unwrap_or(vec![0; width(shape)])).collect(),
        };
        let values_at = self.put(&values);
        let bytes_at = self.put(&bytes);
        self.columns.push(ColumnPart {
            shape: wish.shape,
            order: wish.order,
            nullable: wish.nullable,
            rows: rows.len() as u32,
            valid_at,
            values_at,
            bytes_at,
            bytes: bytes.len() as u64,
            continues: wish.continues,
            dictionary: true,
            encoding: wish.encoding,
        });
        self.input.resize(self.input.len().next_multiple_of(16), 0xA5);
        self.values.push(rows);
    }
}

/// Returns the encoding other than PLAIN that a type's values can have, if any.
pub fn other_encoding(shape: Shape, order: Order) -> u32 {
    match (shape, order) {
        (Shape::Fixed4 | Shape::Fixed8, Order::Floating) => encoding::BYTE_STREAM_SPLIT,
        (Shape::Fixed4 | Shape::Fixed8, _) => encoding::DELTA_BINARY_PACKED,
        (Shape::Strings, _) => encoding::DELTA_LENGTH_BYTE_ARRAY,
        (Shape::Bits | Shape::Fixed16, _) => encoding::PLAIN,
    }
}

/// Makes up as many different values as the column is to have.
fn pool(wish: Wish, random: &mut Random) -> Vec<Vec<u8>> {
    let mut pool = Vec::new();
    let mut known = std::collections::HashSet::new();
    let longest = wish.longest.max(4);
    while pool.len() < wish.distinct && !(wish.shape == Shape::Bits && pool.len() == 2) {
        let value = value(Wish { longest, ..wish }, random);
        if known.insert(value.clone()) {
            pool.push(value);
        }
    }
    pool
}

fn width(shape: Shape) -> usize {
    match shape {
        Shape::Bits => 1,
        Shape::Fixed4 => 4,
        Shape::Fixed8 => 8,
        Shape::Fixed16 => 16,
        Shape::Strings => 0,
    }
}

fn value(wish: Wish, random: &mut Random) -> Vec<u8> {
    match (wish.shape, wish.order) {
        (Shape::Bits, _) => vec![random.word() as u8 & 1],
        (Shape::Strings, _) => {
            let longest = if random.percent(1) { 8 * wish.longest } else { wish.longest };
            random.some(longest + 1)
        }
        (Shape::Fixed4, Order::Floating) => {
            let plain = random.word() as i32 as f32 / 1000.0;
            let edges = [0.0, -0.0, f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MIN_POSITIVE];
            (if random.percent(20) { random.pick(&edges) } else { plain }).to_le_bytes().to_vec()
        }
        (Shape::Fixed8, Order::Floating) => {
            let plain = random.word() as i64 as f64 / 1000.0;
            let edges = [0.0, -0.0, f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE];
            (if random.percent(20) { random.pick(&edges) } else { plain }).to_le_bytes().to_vec()
        }
        (shape, _) => match random.below(20) {
            0 => vec![0; width(shape)],
            1 => vec![0xFF; width(shape)],
            _ => random.bytes(width(shape)),
        },
    }
}

/// Columns of every type, with few, many and no NULLs, of rows about where pages end.
pub fn golden() -> Columns {
    let mut columns = Columns::default();
    let mut random = Random::new(2);
    for (number, (shape, order)) in TYPES.into_iter().enumerate() {
        let wish = Wish {
            shape,
            order,
            nullable: true,
            rows: 0,
            nulls: 0,
            longest: 40,
            alike: 0,
            distinct: 0,
            continues: false,
            encoding: encoding::PLAIN,
        };
        let several = Wish { rows: 700, nulls: 5, distinct: 60, ..wish };
        for wish in [
            Wish { nullable: false, rows: 1, ..wish },
            Wish { rows: 257, ..wish },
            Wish { nulls: 100, rows: 40, ..wish },
            Wish { nulls: 30, rows: 1025 + number, ..wish },
            Wish { nulls: 2, rows: 2100, ..wish },
            several,
            Wish { continues: true, rows: 500, ..several },
            Wish { distinct: 1, rows: 300, ..several },
            Wish { alike: 90, nulls: 20, distinct: 9, rows: 1400, ..wish },
            Wish { alike: 60, rows: 900, ..wish },
            Wish { encoding: other_encoding(shape, order), rows: 1100, ..wish },
            Wish { encoding: other_encoding(shape, order), nulls: 30, rows: 1100, ..wish },
        ] {
            columns.add(wish, &mut random);
        }
    }
    columns
}

/// SHA-256 of what the encode kernels make of [`golden`] in pages of 256 rows with dictionaries tried, end
/// to end: on the host and on every device.
pub const GOLDEN_BODIES: &str = "643cb1cc1f01f2e45c8f9b895d864b4333eb86ad2af64968f08a257af9217147";
pub const GOLDEN_ROWS: u32 = 256;
