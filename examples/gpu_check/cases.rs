//! Slots for the comparison of the device with the CPU: every operation, and what kernels get wrong.

use pg_strata::slot::fill::AttrSpec;
use pg_strata::slot::layout::{Attr, COPY_BINARY, HEAP, Header, NO_COLUMN, Op, STRIP_VERSION, get};

use super::build::Table;
use super::lineorder;
use super::values::{Chance, Num, Value, attr};

pub struct Case {
    pub name: String,
    pub table: Table,
    pub rows: usize,
    /// One in so many bytes of the data is changed; 0: none.
    pub damage: usize,
    /// One in so many line pointer numbers is changed; 0: none.
    pub wrong_lines: usize,
    pub want: bool,
}

impl Case {
    fn new(name: &str, table: Table, rows: usize) -> Case {
        let kind = if table.kind == HEAP { "heap" } else { "copy" };
        Case { name: format!("{kind} {name}"), table, rows, damage: 0, wrong_lines: 0, want: true }
    }

    /// Fills a region; the index and what bounds rows stay in order, as `Input` demands.
    pub fn fill(&mut self, region: &mut [u8], output: usize, chance: &mut Chance) -> usize {
        let filled = self.table.fill(region, output, self.rows, self.want, chance);
        let (rows, data) = filled.unwrap_or_else(|| panic!("{}: no room for the attributes", self.name));
        let header: Header = get(region, 0).expect("a region has a header");
        for _ in 0..data.checked_div(self.damage).unwrap_or(0) {
            let at = header.data_at as usize + chance.below(data);
            region[at] = chance.of(&[0, 1, 2, 3, 0xFF, 0x80, chance.0 as u8]);
        }
        for _ in 0..rows.checked_div(self.wrong_lines).unwrap_or(0) {
            let at = header.index_at as usize + 2 * chance.below(rows);
            region[at..at + 2].copy_from_slice(&chance.of(&[0u16, 1, 2, 300, 2047, 0xFFFF]).to_le_bytes());
        }
        rows
    }
}

/// How often what happens, one in so many; 0: never.
#[derive(Clone, Copy)]
struct Odds {
    null: usize,
    /// Values that are left to the host.
    odd: usize,
    /// Tuples older than the last columns; rows with a wrong count of fields.
    short: usize,
}

const CALM: Odds = Odds { null: 8, odd: 0, short: 0 };
const ROUGH: Odds = Odds { null: 6, odd: 40, short: 7 };

fn decimal(attr: &Attr, odd: bool, chance: &mut Chance) -> Num {
    let scale = u16::from(attr.scale);
    if !odd {
        // Groups of digits that the precision holds: whole ones by themselves, or those of the fraction too.
        let whole = usize::from((attr.precision.max(attr.scale) - attr.scale) / 4).min(9);
        let fraction = usize::from(attr.scale / 4);
        let weight = chance.below(whole + 1) as i16 - 1;
        let count = (weight + 1) as usize + if chance.one_in(2) { fraction } else { 0 };
        let mut digits: Vec<u16> = (0..count).map(|_| chance.below(10_000) as u16).collect();
        if chance.one_in(10) {
            digits.iter_mut().for_each(|digit| *digit = chance.of(&[0, 9999, 1, 1000]));
        }
        let sign = if chance.one_in(3) { 0x4000 } else { 0 };
        return Num { sign, weight, dscale: scale.min(4 * fraction as u16), digits };
    }
    let count = chance.below(14);
    Num {
        sign: chance.of(&[0, 0x4000, 0xC000, 0xD000, 0xF000]),
        weight: chance.of(&[0, 1, 2, 9, 10, 31, 40, -1, -2, -9, -40, 63, -64, 300, i16::MAX, i16::MIN]),
        dscale: chance.of(&[0, scale, scale + 1, 2, 63, 64, 1000, 0x3FFF]),
        digits: (0..count).map(|_| chance.of(&[0, 1, 9999, 10_000, 0xFFFF, 1234, 5000])).collect(),
    }
}

/// In microseconds.
const DAY: i64 = 86_400_000_000;

fn value(attr: &Attr, heap: bool, odds: Odds, longest: usize, chance: &mut Chance) -> Value {
    if chance.one_in(odds.null) {
        return Value::Null;
    }
    let odd = chance.one_in(odds.odd);
    let word = chance.next().to_le_bytes();
    match Op::try_from(attr.op).expect("made here") {
        Op::Skip if attr.len == -1 => Value::Bytes(chance.bytes(word[0] as usize % 40)),
        Op::Skip if attr.len == -2 => Value::as_is(&[chance.bytes(word[0] as usize % 9), vec![0]].concat()),
        Op::Skip => Value::swapped(&word[..attr.len as usize]),
        Op::Bool => Value::as_is(&[if odd { 2 + (word[0] & 0x7F) } else { word[0] & 1 }]),
        Op::Int2 => Value::swapped(&word[..2]),
        Op::Int4 => Value::swapped(&word[..4]),
        Op::Int8 => Value::swapped(&word),
        Op::Date if odd => {
            Value::swapped(&chance.of(&[i32::MIN, i32::MAX, i32::MAX - 1, i32::MIN + 1]).to_le_bytes())
        }
        Op::Date => Value::swapped(&(chance.below(20_000) as i32 - 10_000).to_le_bytes()),
        Op::Time if odd => Value::swapped(&chance.of(&[-1, DAY, DAY + 1]).to_le_bytes()),
        Op::Time => Value::swapped(&((chance.next() >> 8) as i64 % DAY).to_le_bytes()),
        Op::Timestamp if odd => Value::swapped(&chance.of(&[i64::MIN, i64::MAX, i64::MAX - 1]).to_le_bytes()),
        Op::Timestamp => Value::swapped(&((chance.next() >> 8) as i64).to_le_bytes()),
        Op::Uuid => Value::as_is(&[word, chance.next().to_le_bytes()].concat()),
        Op::Decimal32 | Op::Decimal64 | Op::Decimal128 | Op::NumericText => {
            Value::Number(decimal(attr, odd, chance))
        }
        Op::Bytes if odd && heap => {
            if chance.one_in(2) {
                Value::External
            } else {
                Value::Compressed(chance.below(90))
            }
        }
        Op::Bytes => {
            let most = chance.of(&[4, 40, 200, longest]).min(longest);
            let text = chance.bytes(chance.0 as usize % (most + 1));
            let version = if odd { 7 } else { STRIP_VERSION };
            Value::Bytes(if attr.strip == 0 { text } else { [vec![version], text].concat() })
        }
        Op::Name => Value::Name(chance.bytes(word[0] as usize % 64)),
        Op::Char => Value::as_is(&[if odd { 0x80 | word[0] } else { word[0] & 0x7F }]),
    }
}

/// A missing value as the final cell holds it.
fn missing(attr: &Attr, chance: &mut Chance) -> Option<Vec<u8>> {
    match value(attr, true, Odds { null: 4, odd: 0, short: 0 }, 60, chance) {
        Value::Fixed { bytes, .. } | Value::Bytes(bytes) | Value::Name(bytes) => Some(bytes),
        Value::Number(num) => Some(num.heap(false)),
        _ => None,
    }
}

fn table(kind: u32, attrs: Vec<AttrSpec>, columns: usize, odds: Odds, longest: usize) -> Table {
    let plain: Vec<Attr> = attrs.iter().map(|spec| spec.attr).collect();
    let next = move |chance: &mut Chance| {
        let mut values: Vec<Value> =
            plain.iter().map(|attr| value(attr, kind == HEAP, odds, longest, chance)).collect();
        if kind == HEAP && chance.one_in(odds.short) {
            values.truncate(chance.below(values.len() + 1));
        } else if kind != HEAP && odds.short != 0 && chance.one_in(50 * odds.short) {
            if chance.one_in(2) { values.truncate(values.len() / 2) } else { values.push(Value::Null) }
        }
        values
    };
    Table { kind, attrs, columns, dead: kind == HEAP, next: Box::new(next) }
}

/// Every operation, some twice, in another order than the columns'; skipped attributes of every length.
fn every_op(kind: u32, odds: Odds, chance: &mut Chance) -> Table {
    use Op::*;
    let fields = [
        Bool,
        Int2,
        Int4,
        Int8,
        Date,
        Time,
        Timestamp,
        Uuid,
        Decimal32,
        Bytes,
        Decimal64,
        Decimal128,
        Bool,
        Bytes,
        NumericText,
        Decimal128,
        Int4,
        Bytes,
    ];
    // Each of its values is a status.
    let fields = fields.into_iter().filter(|op| *op != NumericText || odds.odd != 0);
    let scales = [0, 2, 4, 7, 9];
    let mut attrs: Vec<Attr> = Vec::new();
    for (number, op) in fields.enumerate() {
        let mut attr = attr(op, 0);
        attr.scale = if attr.precision == 0 { 0 } else { scales[number % scales.len()] };
        if kind == COPY_BINARY && number == 13 {
            attr.strip = STRIP_VERSION;
        }
        if kind == HEAP && number % 4 == 1 {
            let skip = Attr { column: NO_COLUMN, ..self::attr(Skip, NO_COLUMN) };
            let (len, align) = chance.of(&[(8, 8), (1, 1), (-1, 4), (-2, 1), (3, 2), (-1, 8)]);
            attrs.push(Attr { len, align, ..skip });
        }
        attrs.push(attr);
    }
    if kind == HEAP {
        attrs.insert(7, attr(Name, 0));
        attrs.insert(3, attr(Char, 0));
    }
    let wanted = attrs.iter().filter(|attr| attr.column != NO_COLUMN).count() as u32;
    for (column, attr) in (0..).zip(attrs.iter_mut().filter(|attr| attr.column != NO_COLUMN)) {
        // 7 and the columns have no common divisor: each has its place.
        attr.column = if kind == HEAP && !wanted.is_multiple_of(7) { column * 7 % wanted } else { column };
    }
    let specs = attrs
        .iter()
        .map(|attr| AttrSpec {
            attr: *attr,
            missing: if kind == HEAP && attr.op != 0 { missing(attr, chance) } else { None },
        })
        .collect();
    // heap: a column that no attribute names is NULL throughout.
    table(kind, specs, wanted as usize + usize::from(kind == HEAP), odds, 300)
}

fn of_ops(kind: u32, ops: &[Op], odds: Odds, longest: usize) -> Table {
    let specs =
        ops.iter().enumerate().map(|(column, op)| AttrSpec { attr: attr(*op, column as u32), missing: None });
    table(kind, specs.collect(), ops.len(), odds, longest)
}

/// `small`: few and small, for the sanitizers.
pub fn cases(small: bool, chance: &mut Chance) -> Vec<Case> {
    let mut cases = Vec::new();
    let most = if small { 700 } else { 1 << 20 };
    for kind in [HEAP, COPY_BINARY] {
        cases.push(Case::new("every operation", every_op(kind, CALM, chance), most));
        // Few enough rows that the statuses are listed, and so compared.
        cases.push(Case::new("every operation, odd values", every_op(kind, ROUGH, chance), most.min(800)));
        let many = Case::new(
            "more statuses than listed",
            every_op(kind, Odds { odd: 3, ..ROUGH }, chance),
            most.min(20_000),
        );
        cases.push(many);
        let mut unwanted = Case::new("columns not wanted", every_op(kind, ROUGH, chance), most.min(800));
        unwanted.want = false;
        cases.push(unwanted);
        for damage in [7, 60, 1000, 20_000] {
            let rows = if damage > 10_000 { most.min(20_000) } else { most.min(800) };
            let mut damaged =
                Case::new(&format!("damaged, 1 byte in {damage}"), every_op(kind, ROUGH, chance), rows);
            (damaged.damage, damaged.wrong_lines) = (damage, if kind == HEAP { 50 } else { 0 });
            cases.push(damaged);
        }
        cases.push(Case::new("lineorder", lineorder::table(kind, 1_000_000), most));
        cases.push(Case::new(
            "all NULL",
            of_ops(kind, &[Op::Int4, Op::Bytes, Op::Bool, Op::Decimal128], Odds { null: 1, ..CALM }, 9),
            most.min(9000),
        ));
        cases.push(Case::new(
            "no NULL",
            of_ops(kind, &[Op::Int8, Op::Bytes, Op::Bool], Odds { null: 0, ..CALM }, 30),
            most,
        ));
        let long = if kind == HEAP {
            7900
        } else if small {
            100_000
        } else {
            2_000_000
        };
        cases.push(Case::new("long values", of_ops(kind, &[Op::Bytes, Op::Int2], CALM, long), most.min(900)));
        cases.push(Case::new(
            "no columns of varying length",
            of_ops(kind, &[Op::Int2, Op::Uuid, Op::Bool], CALM, 0),
            most,
        ));
        cases.push(Case::new("one bool", of_ops(kind, &[Op::Bool], CALM, 0), most));
        let edges: &[usize] = if small {
            &[0, 1, 33, 257]
        } else {
            &[0, 1, 2, 31, 32, 33, 63, 64, 65, 255, 256, 257, 511, 512, 513, 16_383, 16_384, 16_385]
        };
        for rows in edges {
            cases.push(Case::new(
                &format!("{rows} rows"),
                of_ops(kind, &[Op::Bytes, Op::Int4, Op::Bool, Op::Decimal64], CALM, 20),
                *rows,
            ));
        }
        for columns in if small { vec![18, 250] } else { vec![1, 18, 64, 250, 1600] } {
            let ops: Vec<Op> =
                (0..columns).map(|_| chance.of(&[Op::Bool, Op::Int4, Op::Bytes, Op::Decimal32])).collect();
            // As many as fit a page: most are NULL then.
            let mut table = match columns {
                300.. => sparse(kind, &ops),
                _ => of_ops(kind, &ops, Odds { null: 2, odd: 0, short: 0 }, 12),
            };
            table.dead = false;
            cases.push(Case::new(
                &format!("{columns} columns"),
                table,
                most.min(if columns > 300 { 1500 } else { 20_000 }),
            ));
        }
    }
    cases
}

/// One value in thirty is not NULL.
fn sparse(kind: u32, ops: &[Op]) -> Table {
    let full = Odds { null: 0, odd: 0, short: 0 };
    let specs: Vec<AttrSpec> = ops
        .iter()
        .enumerate()
        .map(|(column, op)| AttrSpec { attr: attr(*op, column as u32), missing: None })
        .collect();
    let attrs: Vec<Attr> = specs.iter().map(|spec| spec.attr).collect();
    let next =
        move |chance: &mut Chance| {
            attrs
                .iter()
                .map(|attr| {
                    if chance.one_in(30) { value(attr, kind == HEAP, full, 12, chance) } else { Value::Null }
                })
                .collect()
        };
    Table { kind, attrs: specs, columns: ops.len(), dead: false, next: Box::new(next) }
}
