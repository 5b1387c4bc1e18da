//! Random plans, and rows for them as both a heap and decode have them.

use super::specimens::Random;
use crate::expr::{Numeric, Test};
use crate::query::cuda::{Decoded, Task};
use crate::query::{Aggregate, Arithmetic, Column, Expr, Function, Output, Plan, Type, Value};
use crate::slot::layout::{
    ALIGN, Code, Op, OutColumn, OutHeader, STATUSES, Status, align, lay_out, put, statuses_at,
};
use crate::types::Cell;

/// The columns of every query: type, operation, precision and scale.
pub const COLUMNS: [(Type, Op, u8, u8); 15] = [
    (Type::Bool, Op::Bool, 0, 0),
    (Type::Int2, Op::Int2, 0, 0),
    (Type::Int4, Op::Int4, 0, 0),
    (Type::Int8, Op::Int8, 0, 0),
    (Type::Oid, Op::Int4, 0, 0),
    (Type::Date, Op::Date, 0, 0),
    (Type::Timestamp, Op::Timestamp, 0, 0),
    (Type::Float8, Op::Int8, 0, 0),
    (Type::Numeric, Op::Decimal32, 9, 2),
    (Type::Numeric, Op::Decimal64, 15, 2),
    (Type::Numeric, Op::Decimal64, 18, 4),
    (Type::Numeric, Op::Decimal128, 30, 2),
    (Type::Text, Op::Bytes, 0, 0),
    (Type::Bpchar, Op::Bytes, 0, 0),
    // Declared without a scale.
    (Type::Numeric, Op::Decimal64, 18, 0),
];
/// The scale that stands for none.
const UNDECLARED: u8 = 0;

/// A value as a heap has it, and as decode makes it of that.
pub struct Made {
    heap: Vec<u8>,
    decoded: Vec<u8>,
}

/// Rows: a value or NULL for each column, and whether decode leaves the row out.
pub struct Row {
    values: Vec<Option<Made>>,
    is_left: bool,
}

fn made<const N: usize>(heap: [u8; N], decoded: &[u8]) -> Made {
    Made { heap: heap.to_vec(), decoded: decoded.to_vec() }
}

/// Returns an integer: small, or anything up to a magnitude, or one of its ends.
fn integer(random: &mut Random, least: i64, greatest: i64) -> i64 {
    match random.below(8) {
        0 => greatest,
        1 => least,
        2 => (random.word() as i64).clamp(least, greatest),
        _ => (random.below(7) as i64 - 3).clamp(least, greatest),
    }
}

fn decimal(random: &mut Random, op: Op, precision: u8, scale: u8) -> Made {
    let most = 10_i128.pow(precision.into()) - 1;
    let value = match random.below(6) {
        0 => most,
        1 => -most,
        2 => (i128::from(random.word()) * i128::from(random.word() >> 1)) % (most + 1),
        3 => i128::from(random.word() as i64) % (most + 1),
        _ => random.below(2000) as i128 - 700,
    };
    let (unit, sign) = (10_i128.pow(scale.into()), if value < 0 { "-" } else { "" });
    let (whole, part) = (value.abs() / unit, value.abs() % unit);
    let part =
        if scale == 0 { String::new() } else { format!(".{part:0width$}", width = usize::from(scale)) };
    let text = format!("{sign}{whole}{part}");
    let heap = Numeric::parse(&text).unwrap().image()[4..].to_vec();
    let decoded = match op {
        Op::Decimal32 => (value as i32).to_le_bytes().to_vec(),
        Op::Decimal64 => (value as i64).to_le_bytes().to_vec(),
        _ => value.to_be_bytes().to_vec(),
    };
    Made { heap, decoded }
}

fn value(random: &mut Random, (of, op, precision, scale): (Type, Op, u8, u8)) -> Made {
    match of {
        Type::Bool => {
            let bit = random.below(2) as u8;
            made([bit], &[bit])
        }
        Type::Int2 => {
            let word = integer(random, i16::MIN.into(), i16::MAX.into());
            made((word as i16).to_le_bytes(), &(word as i32).to_le_bytes())
        }
        Type::Int4 | Type::Oid => {
            let word = integer(random, i32::MIN.into(), i32::MAX.into()) as i32;
            made(word.to_le_bytes(), &word.to_le_bytes())
        }
        Type::Int8 => {
            let word = integer(random, i64::MIN, i64::MAX);
            made(word.to_le_bytes(), &word.to_le_bytes())
        }
        Type::Date => {
            let day = integer(random, -2_451_545, 2_145_031_948) as i32;
            made(day.to_le_bytes(), &(day + 10_957).to_le_bytes())
        }
        Type::Timestamp => {
            let at = integer(random, -211_813_488_000_000_000, 9_222_424_646_399_999_999);
            made(at.to_le_bytes(), &(at + 946_684_800_000_000).to_le_bytes())
        }
        Type::Float8 => {
            let float =
                random.pick(&[0.0, -0.0, 1.5, -1.5, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300]);
            made(float.to_le_bytes(), &float.to_le_bytes())
        }
        Type::Numeric => decimal(random, op, precision, scale),
        _ => {
            let mut text =
                random.pick(&["", "a", "b", "ab", "abcdefghijkl", "abcdefghijklm", "žž"]).as_bytes().to_vec();
            // char(16); which of texts that differ in blanks a group shows is open.
            text.resize(if of == Type::Bpchar { 16 } else { text.len() + random.below(3) }, b' ');
            Made { heap: text.clone(), decoded: text }
        }
    }
}

pub fn rows(random: &mut Random, count: usize) -> Vec<Row> {
    let nulls = random.pick(&[0, 20]);
    let left = random.pick(&[0, 0, 3]);
    let row = |_| {
        let values = COLUMNS.iter().map(|column| {
            let made = value(random, *column);
            (!random.percent(nulls)).then_some(made)
        });
        let values: Vec<Option<Made>> = values.collect();
        Row { is_left: random.percent(left), values }
    };
    (0..count).map(row).collect()
}

/// Returns the rows' cells and what they lie in.
pub fn heap(rows: &[Row]) -> (Vec<Vec<Cell>>, Vec<u8>) {
    let mut arena = Vec::new();
    let mut cell = |value: &Option<Made>| match value {
        None => Cell::NULL,
        Some(made) => {
            arena.extend(&made.heap);
            Cell::new(arena.len() - made.heap.len(), made.heap.len())
        }
    };
    let mut column = |number: usize| rows.iter().map(|row| cell(&row.values[number])).collect();
    let cells = (0..COLUMNS.len()).map(&mut column).collect();
    arena.extend([0; 16]);
    (cells, arena)
}

/// Returns the rows as decode's output region.
pub fn decoded(rows: &[Row]) -> Vec<u8> {
    let ops = COLUMNS.map(|(_, op, ..)| op);
    let (columns, mut end) = lay_out(rows.len(), &ops);
    let mut region = vec![0; end];
    for (number, (op, place)) in ops.into_iter().zip(columns).enumerate() {
        let bytes_at = if op.width().is_none() { end } else { 0 };
        let mut bytes: Vec<u8> = Vec::new();
        for (row, values) in rows.iter().enumerate() {
            let at = place.values_at as usize;
            if let Some(made) = &values.values[number] {
                region[place.valid_at as usize + row / 8] |= 1 << (row % 8);
                // A value that was left out is zero, or has no bytes.
                match op.width() {
                    _ if values.is_left => {}
                    Some(0) => region[at + row / 8] |= made.decoded[0] << (row % 8),
                    Some(width) => region[at + width * row..][..width].copy_from_slice(&made.decoded),
                    None => bytes.extend(&made.decoded),
                }
            }
            if op.width().is_none() {
                region[at + 4 * (row + 1)..][..4].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
            }
        }
        let column = OutColumn { bytes_at: bytes_at as u32, bytes: bytes.len() as u32, ..place };
        assert!(put(&mut region, size_of::<OutHeader>() + number * size_of::<OutColumn>(), column));
        if op.width().is_none() {
            region.extend(bytes);
            end = align(region.len(), ALIGN);
            region.resize(end, 0);
        }
    }
    let left: Vec<u32> = (0..rows.len() as u32).filter(|row| rows[*row as usize].is_left).collect();
    for (number, &row) in left.iter().enumerate().take(STATUSES) {
        let status = Status { row, column: 3, code: Code::External as u32 };
        assert!(put(&mut region, statuses_at(COLUMNS.len()) + number * size_of::<Status>(), status));
    }
    let header = OutHeader {
        rows: rows.len() as u32,
        columns: COLUMNS.len() as u32,
        statuses: left.len() as u32,
        bytes: end as u32,
    };
    assert!(put(&mut region, 0, header));
    region
}

/// Makes a plan. Not every one has a text.
pub fn task(random: &mut Random) -> Task {
    let columns = COLUMNS.iter().map(|(of, _, _, scale)| Column {
        of: *of,
        scale: (*of == Type::Numeric && *scale != UNDECLARED).then_some(*scale),
    });
    let filters = (0..random.below(3)).map(|_| truth(random, 3)).collect();
    let keys = (0..random.below(4)).map(|_| key(random)).collect();
    let aggregates = (0..random.below(5)).map(|_| aggregate(random)).collect();
    let plan = Plan { columns: columns.collect(), filters, keys, aggregates };
    let columns = COLUMNS.iter().map(|&(_, op, precision, scale)| Decoded { op: op as u8, precision, scale });
    Task { plan, columns: columns.collect() }
}

fn key(random: &mut Random) -> Expr {
    match random.below(6) {
        0 => truth(random, 1),
        1 => number(random, 1),
        2 => Expr::Column(12),
        3 => Expr::Column(13),
        4 => Expr::Column(5),
        _ => word(random, 1),
    }
}

fn aggregate(random: &mut Random) -> Aggregate {
    use Function::*;
    let function = random.pick(&[Count, Sum, Sum, Sum, Least, Greatest, BitAnd, BitOr, BitXor]);
    let argument = match function {
        Count => random.percent(50).then(|| truth(random, 2)),
        BitAnd | BitOr | BitXor => Some(word(random, 2)),
        Sum if random.percent(60) => Some(number(random, 2)),
        Sum => Some(word(random, 2)),
        _ => Some(match random.below(4) {
            0 => truth(random, 1),
            1 => Expr::Column(random.pick(&[5, 6])),
            2 => number(random, 1),
            _ => word(random, 2),
        }),
    };
    let filter = random.percent(25).then(|| truth(random, 1));
    let output = if function == Sum { Output::Numeric } else { Output::Value };
    Aggregate { function, argument, filter, is_distinct: false, output }
}

fn both(make: impl Fn(&mut Random, usize) -> Expr, random: &mut Random, depth: usize) -> Box<[Expr; 2]> {
    Box::new([make(random, depth), make(random, depth)])
}

fn truth(random: &mut Random, depth: usize) -> Expr {
    use Test::*;
    if depth == 0 {
        return Expr::Column(0);
    }
    let depth = depth - 1;
    let test = random.pick(&[Less, LessEqual, Equal, GreaterEqual, Greater, NotEqual]);
    match random.below(14) {
        0 => Expr::And((0..3).map(|_| truth(random, depth)).collect()),
        1 => Expr::Or((0..3).map(|_| truth(random, depth)).collect()),
        2 => Expr::Not(Box::new(truth(random, depth))),
        3 => Expr::IsNull(Box::new(Expr::Column(random.below(COLUMNS.len())))),
        4 => Expr::Is {
            argument: Box::new(truth(random, depth)),
            value: random.percent(50),
            is_negated: random.percent(50),
        },
        5 | 6 => Expr::Compare(test, both(word, random, depth)),
        7 | 8 => Expr::Compare(test, both(number, random, depth)),
        9 => Expr::Compare(test, both(text, random, depth)),
        10 => Expr::Compare(
            test,
            Box::new([Expr::Column(7), Expr::Constant(Type::Float8, Value::Float(1.5_f64.to_bits()))]),
        ),
        11 => Expr::Compare(test, Box::new([Expr::ToTimestamp(Box::new(Expr::Column(5))), Expr::Column(6)])),
        12 => {
            let argument = word(random, depth);
            let list = (0..random.below(4)).map(|_| Value::Word(random.below(5) as i64 - 2)).collect();
            Expr::In {
                argument: Box::new(argument),
                list,
                has_null: random.percent(30),
                is_negated: random.percent(50),
            }
        }
        _ => Expr::Case(
            Type::Bool,
            vec![(truth(random, depth), truth(random, depth))],
            Box::new(if random.percent(50) {
                Expr::Constant(Type::Bool, Value::Null)
            } else {
                truth(random, depth)
            }),
        ),
    }
}

/// Texts, or blank-padded ones.
fn text(random: &mut Random, _: usize) -> Expr {
    match random.below(3) {
        0 => Expr::Constant(Type::Text, Value::Bytes(random.pick(&["", "a", "ab", "abcdefghijklm"]).into())),
        1 => Expr::Column(13),
        _ => Expr::Column(12),
    }
}

fn word(random: &mut Random, depth: usize) -> Expr {
    use Arithmetic::*;
    let of = Type::Int8;
    match random.below(if depth == 0 { 3 } else { 8 }) {
        0 => Expr::ToInteger(of, Box::new(Expr::Column(random.pick(&[1, 2])))),
        1 => Expr::Column(3),
        2 => Expr::Constant(of, Value::Word(integer(random, i64::MIN, i64::MAX))),
        3 => Expr::ToInteger(
            of,
            Box::new(Expr::Arithmetic(
                random.pick(&[Add, Subtract, Multiply, Divide, Modulo, ShiftLeft, ShiftRight]),
                Type::Int4,
                Box::new([Expr::Column(2), Expr::ToInteger(Type::Int4, Box::new(word(random, depth - 1)))]),
            )),
        ),
        4 => Expr::Coalesce(of, vec![word(random, depth - 1), word(random, depth - 1)]),
        5 => Expr::Case(
            of,
            vec![(truth(random, depth - 1), word(random, depth - 1))],
            Box::new(Expr::Constant(of, Value::Null)),
        ),
        _ => Expr::Arithmetic(
            random.pick(&[
                Add, Subtract, Multiply, Divide, Modulo, BitAnd, BitOr, BitXor, ShiftLeft, ShiftRight,
            ]),
            of,
            both(word, random, depth - 1),
        ),
    }
}

fn number(random: &mut Random, depth: usize) -> Expr {
    use Arithmetic::*;
    let of = Type::Numeric;
    match random.below(if depth == 0 { 3 } else { 7 }) {
        0 => Expr::Column(14),
        1 => Expr::Column(8 + random.below(4)),
        2 => {
            let text = random.pick(&["1.00", "0", "-7.5", "123456789012345.67", "10000000000000000000.01"]);
            Expr::Constant(of, Value::Numeric(Numeric::parse(text).unwrap()))
        }
        3 => Expr::ToNumeric(Box::new(word(random, depth - 1))),
        4 => Expr::Case(
            of,
            vec![(truth(random, depth - 1), Expr::Column(9))],
            Box::new(Expr::Constant(
                of,
                if random.percent(50) {
                    Value::Null
                } else {
                    Value::Numeric(Numeric::parse("0.00").unwrap())
                },
            )),
        ),
        _ => Expr::Arithmetic(random.pick(&[Add, Subtract, Multiply]), of, both(number, random, depth - 1)),
    }
}
