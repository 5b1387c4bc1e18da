//! Slots that other systems of this kind have been seen to get wrong.

use super::values::{Datum, Number};
use super::{
    Page, Random, Specimen, Wish, copy_binary, copy_slot, form_row, form_tuple, heap, heap_slot, noise,
};
use crate::slot::fill::AttrSpec;
use crate::slot::layout::{Attr, BLOCK, NO_COLUMN, Op, STRIP_VERSION};

/// A slot, and how many statuses it has to have where that is known.
pub type Fault = (Specimen, Option<usize>);

pub fn all() -> Vec<Fault> {
    let mut found = Vec::new();
    sizes(&mut found);
    found.push((lookalikes(), Some(0)));
    found.push((large_fields(), Some(0)));
    found.push((one_column_of_nulls(), Some(0)));
    found.push((old_tuples(), Some(0)));
    found.push((empty_pages(), Some(0)));
    numerics(&mut found);
    found.push((infinite_dates(), Some(9)));
    found.push((ends_of_days(), Some(4)));
    found.push((more_statuses_than_listed(), Some(1500)));
    found.push((varlenas_that_are_never_stored(), Some(6)));
    found.push((versions_that_are_not_there(), Some(2)));
    let wish = Wish { seed: 8, rows: 300, columns: 0, nulls: 0, trouble: 30 };
    found.extend([heap(wish), copy_binary(wish), noise(wish)].map(|specimen| (specimen, None)));
    found
}

fn attr(op: Op, len: i16, align: u8, column: u32) -> AttrSpec {
    AttrSpec { attr: Attr { op: op as u8, len, align, column, ..Attr::default() }, missing: None }
}

fn decimal(op: Op, precision: u8, scale: u8) -> AttrSpec {
    let mut spec = attr(op, -1, 4, 0);
    (spec.attr.precision, spec.attr.scale) = (precision, scale);
    spec
}

/// One page a hundred rows.
fn pages_of(tuples: &[Vec<u8>]) -> Vec<(Box<[u8; BLOCK]>, Vec<u16>)> {
    let mut pages: Vec<Page> = Vec::new();
    for tuple in tuples {
        let line = pages.last().map_or(0, |page| page.lines.len());
        if line == 100 || !pages.last_mut().is_some_and(|page| page.add(tuple, line)) {
            let mut page = Page::new(&mut Random::new(1));
            page.add(tuple, 0);
            pages.push(page);
        }
    }
    pages.into_iter().map(|page| (page.bytes, page.lines)).collect()
}

fn table(name: &str, attrs: &[AttrSpec], columns: usize, rows: &[Vec<Datum>]) -> Specimen {
    let tuples: Vec<_> =
        rows.iter().map(|row| form_tuple(attrs, |number| row[number].clone(), row.len(), 8000)).collect();
    heap_slot(name.into(), attrs, columns, &pages_of(&tuples))
}

/// Columns and rows at every edge of a word, a warp, a tile and a page.
fn sizes(found: &mut Vec<Fault>) {
    for (seed, rows) in [0, 1, 31, 32, 33, 255, 256, 257, 511, 512, 513].into_iter().enumerate() {
        let wish = Wish { seed: seed as u64, rows, columns: 6, nulls: 20, trouble: 0 };
        found.push((heap(wish), None));
        found.push((copy_binary(wish), None));
    }
    for (columns, rows) in [(1, 700), (17, 600), (18, 300), (250, 300), (1600, 40)] {
        let wish = Wish { seed: columns as u64, rows, columns, nulls: 5, trouble: 1 };
        found.push((heap(wish), None));
        found.push((copy_binary(wish), None));
        found.push((noise(Wish { rows: 60, ..wish }), None));
    }
}

/// Rows whose values look like starts of rows: the field count, and lengths.
fn lookalikes() -> Specimen {
    let columns = 3u16;
    let attrs = [attr(Op::Bytes, 0, 0, 0), attr(Op::Int2, 0, 0, 1), attr(Op::Bytes, 0, 0, 2)];
    let inner = form_row(&[Some(vec![0, 3]), Some(vec![0, 3]), None]);
    let rows: Vec<_> = (0..600)
        .map(|row| {
            form_row(&[
                Some(columns.to_be_bytes().repeat(row % 40)),
                Some(columns.to_be_bytes().to_vec()),
                Some(inner.repeat(row % 7)),
            ])
        })
        .collect();
    copy_slot("values that look like rows".into(), &attrs, &rows)
}

fn large_fields() -> Specimen {
    let attrs = [attr(Op::Bytes, 0, 0, 0), attr(Op::Int4, 0, 0, 1), attr(Op::Bytes, 0, 0, 2)];
    let random = &mut Random::new(3);
    let rows: Vec<_> = (0..40)
        .map(|row| {
            let large = if row % 13 == 5 { 1_200_000 + row } else { row };
            form_row(&[Some(random.bytes(large)), Some(vec![0; 4]), Some(random.bytes(row % 3 * 70_000))])
        })
        .collect();
    copy_slot("fields above a megabyte".into(), &attrs, &rows)
}

fn one_column_of_nulls() -> Specimen {
    let attrs = [attr(Op::Bytes, -1, 4, 0), attr(Op::Int8, 8, 8, 1), attr(Op::Bool, 1, 1, 2)];
    let rows = vec![vec![Datum::Null, Datum::Null, Datum::Null]; 300];
    table("all NULL", &attrs, 3, &rows)
}

/// Tuples older than some columns: with a default, without, and behind a dropped column.
fn old_tuples() -> Specimen {
    let mut attrs = vec![
        attr(Op::Int4, 4, 4, 0),
        attr(Op::Skip, -1, 4, NO_COLUMN),
        attr(Op::Bytes, -1, 4, 1),
        attr(Op::Int8, 8, 8, 2),
        attr(Op::Bool, 1, 1, 3),
        decimal(Op::Decimal64, 12, 2),
        attr(Op::Name, 64, 1, 6),
        attr(Op::Uuid, 16, 1, 5),
    ];
    attrs[5].attr.column = 4;
    attrs[2].missing = Some(b"a default that is longer than sixteen bytes".to_vec());
    attrs[4].missing = Some(vec![1]);
    attrs[5].missing = Some(Number::of(1250, true, 2).heap(&mut Random::new(0)));
    attrs[6].missing = Some(b"name".to_vec());
    attrs[7].missing = Some((0..16).collect());
    let mut name = b"given".to_vec();
    name.resize(64, 0);
    let whole = [
        Datum::Fixed(vec![1, 2, 3, 4]),
        Datum::Null,
        Datum::Short(b"new".to_vec()),
        Datum::Fixed(vec![9; 8]),
        Datum::Fixed(vec![0]),
        Datum::Short(Number::of(99, false, 2).heap(&mut Random::new(0))),
        Datum::Fixed(name),
        Datum::Fixed(vec![7; 16]),
    ];
    let rows: Vec<_> = (0..400).map(|row| whole[..row % 9].to_vec()).collect();
    table("tuples older than their columns", &attrs, 7, &rows)
}

fn empty_pages() -> Specimen {
    let attrs = [attr(Op::Int4, 4, 4, 0)];
    let tuple = form_tuple(&attrs, |_| Datum::Fixed(vec![1, 0, 0, 0]), 1, 100);
    let pages: Vec<_> = (0..40)
        .map(|number| {
            let mut page = Page::new(&mut Random::new(number));
            for line in 0..[0, 0, 3, 0, 150][number as usize % 5] {
                page.add(&tuple, line);
            }
            (page.bytes, page.lines)
        })
        .collect();
    heap_slot("empty pages among others".into(), &attrs, 1, &pages)
}

/// Special values, extremes of the weight, 38 and 39 digits, zeros at either end.
fn numerics(found: &mut Vec<Fault>) {
    let special = |sign| Number { sign, weight: 0, dscale: 0, digits: vec![] };
    let number = |weight, digits: &[u16]| Number { sign: 0x4000, weight, dscale: 0, digits: digits.to_vec() };
    let ten38 = 10u128.pow(38);
    let mut numbers: Vec<Number> = [0xC000, 0xD000, 0xF000].map(special).to_vec();
    for weight in [i16::MIN, -33, -32, -1, 0, 1, 8, 9, 10, 32, 33, i16::MAX] {
        numbers.push(number(weight, &[]));
        numbers.push(number(weight, &[0]));
        numbers.push(number(weight, &[1]));
        numbers.push(number(weight, &[0, 0, 9999, 0]));
        numbers.push(number(weight, &[1000; 10]));
    }
    for scale in [0, 1, 2, 3, 4, 5, 38] {
        for value in [1, 10, 9_999, 10_000, 123_456_789, ten38 / 10 - 1, ten38 / 10, ten38 - 1, ten38] {
            numbers.push(Number::of(value, scale % 2 == 0, scale));
        }
    }
    numbers.push(number(0, &[10_000]));
    numbers.push(number(-40, &[1, 2, 3, u16::MAX]));
    for (op, precision, scale) in [
        (Op::Decimal32, 9, 0),
        (Op::Decimal32, 9, 2),
        (Op::Decimal64, 18, 3),
        (Op::Decimal64, 18, 0),
        (Op::Decimal128, 38, 0),
        (Op::Decimal128, 38, 38),
        (Op::Decimal128, 20, 1),
        (Op::Decimal64, 0, 0),
        (Op::NumericText, 0, 0),
    ] {
        let attrs = [decimal(op, precision, scale)];
        let statuses = (op == Op::NumericText).then_some(numbers.len());
        let random = &mut Random::new(2);
        let rows: Vec<_> = numbers.iter().map(|number| vec![Datum::Long(number.heap(random))]).collect();
        let name = format!("numerics as {op:?} {precision},{scale}");
        found.push((table(&name, &attrs, 1, &rows), statuses));
        let rows: Vec<_> = numbers.iter().map(|number| form_row(&[Some(number.wire())])).collect();
        found.push((copy_slot(name, &attrs_of_fields(&attrs), &rows), statuses));
    }
}

/// The attributes of a heap as fields of COPY BINARY.
fn attrs_of_fields(attrs: &[AttrSpec]) -> Vec<AttrSpec> {
    attrs
        .iter()
        .map(|spec| AttrSpec { attr: Attr { len: 0, align: 0, ..spec.attr }, missing: None })
        .collect()
}

fn infinite_dates() -> Specimen {
    let attrs = [attr(Op::Date, 4, 4, 0), attr(Op::Timestamp, 8, 8, 1)];
    let past = i64::MAX - 946_684_800_000_000;
    let rows: Vec<_> = [
        (i32::MIN, i64::MIN),
        (i32::MAX, i64::MAX),
        (i32::MIN + 1, i64::MIN + 1),
        (i32::MAX - 1, i64::MAX - 1),
        (i32::MAX - 10_957, past),
        (i32::MAX - 10_956, past + 1),
        (0, 0),
        (-10_957, -1),
        (i32::MAX, 0),
    ]
    .into_iter()
    .map(|(date, time)| {
        vec![Datum::Fixed(date.to_le_bytes().to_vec()), Datum::Fixed(time.to_le_bytes().to_vec())]
    })
    .collect();
    table("dates at the ends of their range", &attrs, 2, &rows)
}

fn ends_of_days() -> Specimen {
    const DAY: i64 = 86_400_000_000;
    let rows = [0, DAY - 1, DAY, DAY + 1, -1, i64::MIN];
    let rows = rows.map(|time: i64| vec![Datum::Fixed(time.to_le_bytes().to_vec())]);
    table("times at the end of a day", &[attr(Op::Time, 8, 8, 0)], 1, &rows)
}

fn more_statuses_than_listed() -> Specimen {
    let attrs = [attr(Op::Bytes, -1, 4, 0)];
    let rows = vec![vec![Datum::External([1; 16])]; 1500];
    table("all out of line", &attrs, 1, &rows)
}

/// Headers of 4 bytes with a length below their own, compressed or not, and a pointer into memory. The first
/// is the shortest plain value and has no status, the second the shortest compressed one.
fn varlenas_that_are_never_stored() -> Specimen {
    let attrs = [attr(Op::Bytes, -1, 4, 0), attr(Op::Int4, 4, 4, 1)];
    let header = |len: u32, bits: u32| Datum::Fixed((len << 2 | bits).to_le_bytes().to_vec());
    let mut values = vec![header(4, 0), header(8, 2), header(0, 0), header(3, 0)];
    values.extend([4, 7].map(|len| header(len, 2)));
    values.push(Datum::Fixed(vec![1, 1, 0, 0]));
    let rows: Vec<_> = values.into_iter().map(|value| vec![value, Datum::Fixed(vec![5; 8])]).collect();
    table("varlenas that are never stored", &attrs, 2, &rows)
}

/// Empty values where a version byte has to be, with a 1 behind them: 257 fields start with the bytes 1, 1.
fn versions_that_are_not_there() -> Specimen {
    let mut attrs: Vec<_> = (0..257).map(|column| attr(Op::Bytes, 0, 0, column)).collect();
    attrs[256].attr.strip = STRIP_VERSION;
    let mut fields = vec![None; 257];
    fields[256] = Some(vec![]);
    let mut rows = vec![form_row(&fields); 2];
    fields[256] = Some(vec![1, b'{', b'}']);
    rows.push(form_row(&fields));
    copy_slot("empty values of jsonb".into(), &attrs, &rows)
}
