//! Slots that are hard to decode, made up from a seed. They test the kernels on the host (`host_kernels_tests`) and on a
//! device (`examples/gpu_check`).
//!
//! The same seed gives the same bytes everywhere.

use crate::slot::fill::{AttrSpec, InputWriter};
use crate::slot::layout::{
    Attr, BLOCK, COPY_BINARY, HEAP, Header, NO_COLUMN, Op, OutColumn, OutHeader, STRIP_VERSION, WANT_COLUMNS,
    get,
};

pub mod columns;
pub mod faults;
pub mod pages;
mod values;
use values::{Datum, heap_datum, heap_payload, wire_field};

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    /// 0 for a `limit` of 0.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.word() % limit.max(1) as u64) as usize
    }

    pub fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Fewer than `limit` bytes.
    pub fn some(&mut self, limit: usize) -> Vec<u8> {
        let count = self.below(limit);
        self.bytes(count)
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.word() as u8).collect()
    }
}

/// An input region, and an output region's size that its rows fit.
pub struct Specimen {
    pub name: String,
    pub input: Vec<u8>,
    pub output_bytes: usize,
}

/// The kind of slot to make up. `nulls` and `trouble` are the percentages of NULL values and of damaged rows.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    pub seed: u64,
    pub rows: usize,
    pub columns: usize,
    pub nulls: usize,
    pub trouble: usize,
}

const OPS: [Op; 15] = [
    Op::Bool,
    Op::Int2,
    Op::Int4,
    Op::Int8,
    Op::Date,
    Op::Time,
    Op::Timestamp,
    Op::Uuid,
    Op::Decimal32,
    Op::Decimal64,
    Op::Decimal128,
    Op::Bytes,
    Op::Name,
    Op::Char,
    Op::NumericText,
];

/// A precision and a scale that the operation takes.
fn decimal(op: Op, random: &mut Random) -> (u8, u8) {
    let most = match op {
        Op::Decimal32 => 9,
        Op::Decimal64 => 18,
        _ => 38,
    };
    let precision = if random.percent(5) { 0 } else { 1 + random.below(most) };
    let limit = if random.percent(20) { most } else { precision };
    let scale = random.below(limit + 1);
    (precision as u8, scale as u8)
}

/// Returns an attribute for `op`, with the length and the alignment of a type that a catalog may have.
fn heap_attr(op: Op, random: &mut Random) -> Attr {
    let (len, align) = match op {
        Op::Skip => [(4, 4), (8, 8), (1, 1), (-1, 4), (-1, 8), (-2, 1), (random.below(40) as i16 + 1, 2)]
            [random.below(7)],
        Op::Bool | Op::Char => (1, 1),
        Op::Int2 => (2, 2),
        Op::Int4 | Op::Date => (4, 4),
        Op::Int8 | Op::Time | Op::Timestamp => (8, 8),
        Op::Uuid => (16, 1),
        Op::Name => (if random.percent(50) { 64 } else { random.below(70) as i16 + 1 }, 1),
        _ => (-1, 4),
    };
    let align = if random.percent(10) { random.pick(&[1, 2, 4, 8]) } else { align };
    let (precision, scale) = decimal(op, random);
    Attr { len, align, op: op as u8, precision, scale, column: NO_COLUMN, ..Attr::default() }
}

/// `columns` columns in another order than the attributes that are theirs, among some that are skipped.
fn heap_attrs(wish: &Wish, random: &mut Random) -> Vec<AttrSpec> {
    let mut free: Vec<u32> = (0..wish.columns as u32).collect();
    let mut attrs = Vec::new();
    while !free.is_empty() {
        if random.percent(12) {
            attrs.push(AttrSpec { attr: heap_attr(Op::Skip, random), missing: None });
            continue;
        }
        let op = random.pick(&OPS);
        let column = free.swap_remove(random.below(free.len()));
        let missing = random.percent(40).then(|| heap_payload(op, &heap_attr(op, random), random));
        attrs.push(AttrSpec { attr: Attr { column, ..heap_attr(op, random) }, missing });
    }
    if random.percent(30) {
        attrs.push(AttrSpec { attr: heap_attr(Op::Skip, random), missing: None });
    }
    attrs
}

fn op_of(attr: &Attr) -> Op {
    Op::try_from(attr.op).unwrap_or(Op::Skip)
}

fn pad(out: &mut Vec<u8>, align: usize) {
    out.resize(out.len().next_multiple_of(align), 0);
}

/// Forms a tuple as `heap_form_tuple` does, of at most about `room` bytes; a value that has no room becomes NULL.
pub fn form_tuple(attrs: &[AttrSpec], values: impl Fn(usize) -> Datum, natts: usize, room: usize) -> Vec<u8> {
    let mut bits = vec![0u8; natts.div_ceil(8)];
    let mut data = Vec::new();
    let mut nulls = false;
    for (number, spec) in attrs.iter().enumerate().take(natts) {
        let value = values(number);
        let bytes = value.stored();
        if matches!(value, Datum::Null) || data.len() + bytes.len() + 8 > room {
            nulls = true;
            continue;
        }
        bits[number / 8] |= 1 << (number % 8);
        if value.is_aligned() {
            pad(&mut data, usize::from(spec.attr.align));
        }
        data.extend(bytes);
    }
    let mut tuple = vec![0; 23];
    tuple[18..20].copy_from_slice(&(natts as u16).to_le_bytes());
    tuple[20] = u8::from(nulls);
    if nulls {
        tuple.extend(bits);
    }
    pad(&mut tuple, 8);
    tuple[22] = tuple.len() as u8;
    tuple.extend(data);
    tuple
}

/// Damages a tuple in one of the ways that a torn page or a stray write would.
fn damage(tuple: &mut Vec<u8>, random: &mut Random) {
    match random.below(5) {
        0 => tuple.truncate(random.below(tuple.len())),
        1 => tuple[22] = random.word() as u8,
        2 => tuple[18] = random.word() as u8,
        _ => {
            for _ in 0..=random.below(3) {
                let at = random.below(tuple.len());
                tuple[at] = random.word() as u8;
            }
        }
    }
}

/// A page, from the end downwards, and its line pointers.
struct Page {
    bytes: Box<[u8; BLOCK]>,
    lines: Vec<u16>,
    upper: usize,
}

impl Page {
    fn new(random: &mut Random) -> Page {
        let mut bytes = Box::new([0; BLOCK]);
        // Free space is not always zero.
        bytes[24..].fill(random.word() as u8);
        Page { bytes, lines: Vec::new(), upper: BLOCK }
    }

    fn word(&mut self, line: usize, word: u32) {
        self.bytes[20 + 4 * line..24 + 4 * line].copy_from_slice(&word.to_le_bytes());
    }

    /// False when the page is full.
    fn add(&mut self, tuple: &[u8], last: usize) -> bool {
        let lower = 24 + 4 * (last + 2);
        let Some(at) = self.upper.checked_sub(tuple.len()).map(|at| at / 8 * 8).filter(|&at| at >= lower)
        else {
            return false;
        };
        self.bytes[at..at + tuple.len()].copy_from_slice(tuple);
        self.word(last + 1, (tuple.len() as u32) << 17 | 1 << 15 | at as u32);
        self.lines.push(last as u16 + 1);
        self.upper = at;
        true
    }
}

/// Heap pages with tuples of a made-up table.
pub fn heap(wish: Wish) -> Specimen {
    let random = &mut Random::new(wish.seed);
    let attrs = heap_attrs(&wish, random);
    let mut pages = vec![Page::new(random)];
    let mut last = 0;
    for _ in 0..wish.rows {
        let natts = if random.percent(75) { attrs.len() } else { random.below(attrs.len() + 1) };
        let row: Vec<Datum> = attrs
            .iter()
            .map(|spec| {
                if random.percent(wish.nulls) {
                    Datum::Null
                } else {
                    heap_datum(&spec.attr, wish.columns, random)
                }
            })
            .collect();
        let mut tuple = form_tuple(&attrs, |number| row[number].clone(), natts, 7800);
        if random.percent(wish.trouble) {
            damage(&mut tuple, random);
        }
        // Some line pointers are dead, some pages are left early, some are empty.
        if random.percent(5) {
            last += 1;
        }
        let crowded = random.percent(2) || pages.last().is_some_and(|page| page.lines.len() > 250);
        let page = pages.last_mut().expect("there is one");
        if crowded || !page.add(&tuple, last) {
            if random.percent(20) {
                pages.push(Page::new(random));
            }
            let mut next = Page::new(random);
            last = random.below(3);
            next.add(&tuple, last);
            pages.push(next);
        }
        last += 1;
        if random.percent(wish.trouble) && random.percent(20) {
            let page = pages.last_mut().expect("there is one");
            page.word(last, random.word() as u32);
        }
    }
    let pages: Vec<(Box<[u8; BLOCK]>, Vec<u16>)> =
        pages.into_iter().map(|page| (page.bytes, page.lines)).collect();
    heap_slot(format!("{wish:?}"), &attrs, wish.columns, &pages)
}

/// Pages of noise, and line pointers to anywhere on them.
pub fn noise(wish: Wish) -> Specimen {
    let random = &mut Random::new(wish.seed);
    let attrs = heap_attrs(&wish, random);
    let pages: Vec<_> = (0..3)
        .map(|_| {
            let mut bytes = Box::new([0; BLOCK]);
            bytes.copy_from_slice(&random.bytes(BLOCK));
            let rows = random.below(wish.rows.min(290) + 1);
            (bytes, (0..rows).map(|_| random.word() as u16 % 2100).collect())
        })
        .collect();
    heap_slot(format!("noise {wish:?}"), &attrs, wish.columns, &pages)
}

/// Returns an output region's size that fits the rows with any values.
fn output_bytes(attrs: &[AttrSpec], columns: usize, rows: usize, data: usize) -> usize {
    let missing: usize = attrs.iter().filter_map(|spec| spec.missing.as_ref()).map(Vec::len).sum();
    (20_000 + 300 * columns + (rows + 300) * (20 * columns + missing) + 2 * data).next_multiple_of(64)
}

/// # Panics
/// When the pages do not fit, which is a mistake here.
pub fn heap_slot(
    name: String,
    attrs: &[AttrSpec],
    columns: usize,
    pages: &[(Box<[u8; BLOCK]>, Vec<u16>)],
) -> Specimen {
    let rows: usize = pages.iter().map(|(_, lines)| lines.len()).sum();
    let data = (pages.len() + 2) * BLOCK;
    let output_bytes = output_bytes(attrs, columns, rows, data);
    let missing: usize =
        attrs.iter().filter_map(|spec| spec.missing.as_ref()).map(|value| value.len() + 8).sum();
    let mut region = vec![0; 20_000 + 20 * attrs.len() + missing + data + 2 * rows + 8 * pages.len()];
    let mut writer = InputWriter::new(&mut region, HEAP, attrs, columns, output_bytes, WANT_COLUMNS)
        .expect("room for the attributes");
    for (block, (bytes, lines)) in pages.iter().enumerate() {
        writer.page().expect("room for a page").copy_from_slice(&bytes[..]);
        assert!(writer.commit_page(block as u32, lines), "room for the page's rows");
    }
    writer.finish();
    Specimen { name, input: region, output_bytes }
}

fn copy_attrs(columns: usize, random: &mut Random) -> Vec<AttrSpec> {
    (0..columns as u32)
        .map(|column| {
            let op = loop {
                let op = random.pick(&OPS);
                if !matches!(op, Op::Name | Op::Char) {
                    break op;
                }
            };
            let (precision, scale) = decimal(op, random);
            let strip = if op == Op::Bytes && random.percent(20) { STRIP_VERSION } else { 0 };
            let attr = Attr { op: op as u8, precision, scale, strip, column, ..Attr::default() };
            AttrSpec { attr, missing: None }
        })
        .collect()
}

/// A row of COPY BINARY; `None` is NULL.
pub fn form_row(fields: &[Option<Vec<u8>>]) -> Vec<u8> {
    let mut row = (fields.len() as u16).to_be_bytes().to_vec();
    for field in fields {
        match field {
            None => row.extend((-1i32).to_be_bytes()),
            Some(bytes) => {
                row.extend((bytes.len() as u32).to_be_bytes());
                row.extend(bytes);
            }
        }
    }
    row
}

/// COPY BINARY rows of a made-up table.
pub fn copy_binary(wish: Wish) -> Specimen {
    let random = &mut Random::new(wish.seed);
    let attrs = copy_attrs(wish.columns, random);
    let rows: Vec<Vec<u8>> = (0..wish.rows)
        .map(|_| {
            let fields: Vec<_> = attrs
                .iter()
                .map(|spec| {
                    (!random.percent(wish.nulls)).then(|| wire_field(&spec.attr, wish.columns, random))
                })
                .collect();
            let mut row = form_row(&fields);
            if random.percent(wish.trouble) {
                match random.below(4) {
                    0 => row.truncate(random.below(row.len())),
                    1 => row.extend(random.bytes(3)),
                    _ => {
                        let at = random.below(row.len());
                        row[at] = random.word() as u8;
                    }
                }
            }
            row
        })
        .collect();
    copy_slot(format!("{wish:?}"), &attrs, &rows)
}

/// # Panics
/// When the rows do not fit, which is a mistake here.
pub fn copy_slot(name: String, attrs: &[AttrSpec], rows: &[Vec<u8>]) -> Specimen {
    let data = rows.concat();
    let mut offsets = vec![0];
    offsets.extend(rows.iter().scan(0, |end, row| {
        *end += row.len() as u32;
        Some(*end)
    }));
    let output_bytes = output_bytes(attrs, attrs.len(), rows.len(), data.len());
    let mut region = vec![0; 20_000 + 20 * attrs.len() + data.len() + 4 * rows.len()];
    let mut writer =
        InputWriter::new(&mut region, COPY_BINARY, attrs, attrs.len(), output_bytes, WANT_COLUMNS)
            .expect("room for the attributes");
    assert_eq!(writer.append(&data, &offsets), rows.len(), "room for the rows");
    writer.finish();
    Specimen { name, input: region, output_bytes }
}

/// Names the part of an output region in which byte `at` lies, for messages.
pub fn place(input: &[u8], output: &[u8], at: usize) -> String {
    let columns = get::<Header>(input, 0).map_or(0, |header| header.columns as usize);
    let column = (0..columns).rev().find_map(|column| {
        let entry: OutColumn = get(output, size_of::<OutHeader>() + column * size_of::<OutColumn>())?;
        let parts = [("bytes", entry.bytes_at), ("values", entry.values_at), ("valid", entry.valid_at)];
        let (part, start) = parts.into_iter().find(|&(_, start)| start != 0 && start as usize <= at)?;
        Some((start, format!("{part} of column {column} from {start}, {entry:?}")))
    });
    column.map_or("the header".into(), |(_, place)| place)
}
