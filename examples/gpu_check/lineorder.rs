//! lineorder of the Star Schema Benchmark as pg_test/bench/tables.py makes it: 17 columns, numerics
//! without a precision, one to seven lines an order.

use pg_strata::slot::fill::AttrSpec;
use pg_strata::slot::layout::{Attr, HEAP, Op};

use super::build::Table;
use super::values::{Chance, Num, Value, attr};

const PRIORITIES: [&[u8]; 5] =
    [b"1-URGENT       ", b"2-HIGH         ", b"3-MEDIUM       ", b"4-NOT SPECIFIED", b"5-LOW          "];
const MODES: [&[u8]; 7] =
    [b"REG AIR   ", b"AIR       ", b"RAIL      ", b"SHIP      ", b"TRUCK     ", b"MAIL      ", b"FOB       "];
/// Rows that the generator's bounds are scaled to.
const SCALE: usize = 10;

struct Order {
    key: i64,
    customer: i64,
    date: i32,
    priority: usize,
    total: i64,
    lines: i32,
    line: i32,
}

fn ymd(chance: &mut Chance) -> i32 {
    let (year, month, day) = (1992 + chance.below(7), 1 + chance.below(12), 1 + chance.below(28));
    (year * 10_000 + month * 100 + day) as i32
}

fn order(number: i64, chance: &mut Chance) -> Order {
    Order {
        key: number / 8 * 32 + number % 8 + 1,
        customer: 1 + chance.below(150_000 * SCALE) as i64,
        date: ymd(chance),
        priority: chance.below(5),
        total: 1_000_000 + chance.below(40_000_000) as i64,
        lines: 1 + chance.below(7) as i32,
        line: 0,
    }
}

fn number(value: i64) -> Value {
    Value::Number(Num::integer(value))
}

fn int4(value: i32) -> Value {
    Value::swapped(&value.to_le_bytes())
}

fn line(order: &Order, chance: &mut Chance) -> Vec<Value> {
    let part = 1 + chance.below(200_000 * SCALE) as i64;
    let (quantity, discount, tax) =
        (1 + chance.below(50) as i64, chance.below(11) as i64, chance.below(9) as i64);
    let price = 90_000 + (part / 10) % 20_001 + 100 * (part % 1000);
    let extended = quantity * price;
    vec![
        number(order.key),
        int4(order.line),
        number(order.customer),
        int4(part as i32),
        number(1 + chance.below(10_000 * SCALE) as i64),
        int4(order.date),
        Value::Bytes(PRIORITIES[order.priority].to_vec()),
        Value::Bytes(b"0".to_vec()),
        number(quantity),
        number(extended),
        number(order.total),
        number(discount),
        number(extended * (100 - discount) / 100),
        number(price * 6 / 10),
        number(tax),
        Value::Bytes(ymd(chance).to_string().into_bytes()),
        Value::Bytes(MODES[chance.below(7)].to_vec()),
    ]
}

/// Operations as an export of the table has them: decimals as wide as the values are.
const OPS: [(Op, u8); 17] = [
    (Op::Decimal64, 10),
    (Op::Int4, 0),
    (Op::Decimal32, 8),
    (Op::Int4, 0),
    (Op::Decimal32, 7),
    (Op::Int4, 0),
    (Op::Bytes, 0),
    (Op::Bytes, 0),
    (Op::Decimal32, 4),
    (Op::Decimal32, 8),
    (Op::Decimal32, 9),
    (Op::Decimal32, 4),
    (Op::Decimal32, 8),
    (Op::Decimal32, 8),
    (Op::Decimal32, 4),
    (Op::Bytes, 0),
    (Op::Bytes, 0),
];

pub fn table(kind: u32, first_order: i64) -> Table {
    let attrs = OPS
        .iter()
        .enumerate()
        .map(|(column, (op, precision))| {
            let mut attr = Attr { precision: *precision, ..attr(*op, column as u32) };
            if kind != HEAP {
                (attr.len, attr.align) = (0, 0);
            }
            AttrSpec { attr, missing: None }
        })
        .collect();
    let mut number = first_order;
    let mut now: Option<Order> = None;
    let next = move |chance: &mut Chance| {
        if now.as_ref().is_none_or(|order| order.line == order.lines) {
            number += 1;
            now = Some(order(number, chance));
        }
        let order = now.as_mut().expect("made above");
        order.line += 1;
        line(order, chance)
    };
    Table { kind, attrs, columns: OPS.len(), dead: false, next: Box::new(next) }
}
