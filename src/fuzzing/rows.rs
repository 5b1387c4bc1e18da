//! Fuzzes the decoding of rows as PostgreSQL stores and sends them.

use super::Choices;
use crate::decode::{NestedBuilder, decode_lane, decode_slot};
use crate::slot::fill::{AttrSpec, InputWriter};
use crate::slot::input::Input;
use crate::slot::layout::{self, BLOCK, HEAP, NO_COLUMN, Op, WANT_COLUMNS};
use crate::slot::output::Output;
use crate::types::{Cell, Field, Kind, Lane, Reason, Repr, Shapes, ValueError};
use crate::wire::copy_binary::{HEADER_LEN, RowSource, SendMethod, find_rows, read_header, read_rows};
use crate::wire::deform::deform;
use crate::wire::page::line_pointer;
use crate::wire::tuple::{Attr, Take, TupleLayout, TupleRef};

const MOST_COLUMNS: usize = 8;
const PAGE_HEADER: usize = 24;
/// The indexes of the shapes of numerics and of arrays.
const NUMERIC: usize = 0;
const LIST: usize = 1;

/// Decodes a page of tuples as a scan and as the fake device do. The input has the number of columns and of line
/// pointers, a byte for each column, the line pointers, and the bytes at the page's end.
pub fn heap_pages(data: &[u8]) {
    let mut choices = Choices(data);
    let (columns, lines) = (1 + choices.of(MOST_COLUMNS), choices.byte());
    let specs: Vec<AttrSpec> = (0..columns).map(|column| stored(choices.byte(), column)).collect();
    let page = page(choices.bytes(4 * lines), choices.0);
    let kinds: Vec<Kind> = specs.iter().map(|spec| kind(spec.attr.op)).collect();
    walk(&page, lines as u16, &specs, &kinds);
    as_the_device_does(&page, lines as u16, &specs);
}

fn page(pointers: &[u8], tuples: &[u8]) -> Vec<u8> {
    let mut page = vec![0; BLOCK];
    page[PAGE_HEADER..PAGE_HEADER + pointers.len()].copy_from_slice(pointers);
    let tuples = &tuples[..tuples.len().min(BLOCK - PAGE_HEADER - pointers.len())];
    page[BLOCK - tuples.len()..].copy_from_slice(tuples);
    page
}

/// Returns an attribute of a kind that a byte chooses.
fn stored(choice: usize, column: usize) -> AttrSpec {
    const FORMS: [(Op, i16, u8); 20] = [
        (Op::Bool, 1, 1),
        (Op::Int2, 2, 2),
        (Op::Int4, 4, 4),
        (Op::Int8, 8, 8),
        (Op::Date, 4, 4),
        (Op::Timestamp, 8, 8),
        (Op::Time, 8, 8),
        (Op::Uuid, 16, 1),
        (Op::Decimal32, -1, 4),
        (Op::Decimal64, -1, 4),
        (Op::Decimal128, -1, 4),
        (Op::Bytes, -1, 4),
        (Op::Bytes, -1, 1),
        (Op::Name, 64, 1),
        (Op::Char, 1, 1),
        (Op::NumericText, -1, 4),
        (Op::Skip, -1, 4),
        (Op::Skip, -2, 1),
        (Op::Skip, 5, 2),
        (Op::Skip, -1, 8),
    ];
    let (op, len, align) = FORMS[choice % FORMS.len()];
    let (precision, scale) = match op {
        Op::Decimal32 => (9, 2),
        Op::Decimal64 => (18, 4),
        Op::Decimal128 => (38, 10),
        _ => (0, 0),
    };
    let column = if op == Op::Skip { NO_COLUMN } else { column as u32 };
    let missing = (choice >= 128 && op == Op::Bytes).then(|| b"missing".to_vec());
    let attr = layout::Attr { len, align, op: op as u8, precision, scale, column, ..Default::default() };
    AttrSpec { attr, missing }
}

fn kind(op: u8) -> Kind {
    match Op::try_from(op) {
        Ok(Op::Bool) => Kind::Bool,
        Ok(Op::Int2) => Kind::Int2,
        Ok(Op::Int4) => Kind::Int4,
        Ok(Op::Int8) => Kind::Int8,
        Ok(Op::Date) => Kind::Date,
        Ok(Op::Timestamp) => Kind::Timestamp,
        Ok(Op::Time) => Kind::Time,
        Ok(Op::Uuid) => Kind::Uuid,
        Ok(Op::Decimal32) => Kind::Decimal { precision: 9, scale: 2 },
        Ok(Op::Decimal64 | Op::Decimal128 | Op::NumericText) => Kind::Numeric { shape_index: NUMERIC },
        _ => Kind::Text,
    }
}

fn walk(page: &[u8], lines: u16, specs: &[AttrSpec], kinds: &[Kind]) {
    let found = (1..=lines).filter_map(|line| line_pointer(page, line));
    let tuples: Vec<TupleRef> =
        found.map(|(pos, len)| TupleRef { pos: pos.into(), len: len.into() }).collect();
    let layout = TupleLayout::new(specs.iter().map(walked).collect(), specs.len());
    let (mut arena, mut cells, mut fixups) = (page.to_vec(), Vec::new(), Vec::new());
    if deform(&mut arena, &tuples, &layout, &mut cells, &mut fixups).is_err() {
        return;
    }
    for fixup in fixups {
        assert!((fixup.pos + fixup.len) as usize <= arena.len());
        // The server would resolve the value.
        cells[fixup.column as usize][fixup.row as usize] = Cell::NULL;
    }
    for (cells, kind) in cells.iter().zip(kinds) {
        decode(kind, Repr::Heap, cells, &mut arena);
    }
}

fn walked(spec: &AttrSpec) -> Attr {
    let column = spec.attr.column as usize;
    let take = match Op::try_from(spec.attr.op) {
        Ok(Op::Skip) | Err(_) => Take::Skip,
        Ok(Op::Name) => Take::Name { column },
        Ok(Op::Char) => Take::Char { column },
        Ok(_) if spec.attr.len == -1 => Take::Varlena { column },
        Ok(_) => Take::Fixed { column },
    };
    Attr { len: spec.attr.len, align: spec.attr.align, take, missing: spec.missing.clone() }
}

/// Decodes a column. If the data need another shape, it starts again, as an export does; each time the shape is
/// wider.
fn decode(kind: &Kind, repr: Repr, cells: &[Cell], arena: &mut Vec<u8>) {
    let mut shapes = Shapes::new(2);
    let mut lane = Lane::default();
    while let Err(ValueError { row, reason: Reason::Misfit { shape_index, needs } }) =
        decode_lane(kind, repr, &shapes, cells, arena, &mut lane)
    {
        assert!(row < cells.len() && !shapes.get(shape_index).covers(needs), "the same misfit again");
        shapes.set(shape_index, shapes.get(shape_index).merge(needs).widened_numeric());
    }
}

fn as_the_device_does(page: &[u8], lines: u16, specs: &[AttrSpec]) {
    let (mut input, mut output) = (vec![0; 3 * BLOCK], vec![0xEE; 8 * BLOCK]);
    let room = output.len();
    let writer = InputWriter::new(&mut input, HEAP, specs, specs.len(), room, WANT_COLUMNS);
    let Some(mut writer) = writer else { return };
    let Some(free) = writer.page() else { return };
    free.copy_from_slice(page);
    let lines: Vec<u16> = (1..=lines.min(291)).collect();
    if !writer.commit_page(1, &lines) {
        return;
    }
    writer.finish();
    if decode_slot(&input, &mut output).is_ok() {
        let input = Input::new(&input).expect("the writer's own region");
        let read = Output::of(&input, &output).expect("what was decoded");
        for column in 0..specs.len() {
            if input.ops()[column].width().is_none() {
                let mut cells = Vec::new();
                let bytes = read.cells(column, 0..read.rows(), &mut cells).expect("a column of bytes");
                assert!(cells.iter().all(|cell| cell.bytes(bytes).is_some() || cell.is_null()));
            }
        }
    }
}

/// The input has the number of columns, a byte for each, and a COPY BINARY stream.
pub fn copy_binary(data: &[u8]) {
    let mut choices = Choices(data);
    let columns = 1 + choices.of(MOST_COLUMNS);
    let fields: Vec<Field> = (0..columns).map(|_| sent(choices.byte())).collect();
    let stream = choices.0;
    let strip: Vec<bool> = fields.iter().map(|field| field.kind == Kind::Json).collect();
    let Ok(start) = read_header(stream) else { return };
    let Ok(offsets) = find_rows(stream, start) else { return };
    let mut cells = Vec::new();
    if read_rows(stream, &offsets, &strip, &mut cells).is_err() {
        return;
    }
    if !strip.contains(&true) {
        is_written_again(stream, &offsets, &cells);
    }
    let mut arena = stream.to_vec();
    for (cells, field) in cells.iter().zip(&fields) {
        match field.kind {
            Kind::List { .. } | Kind::Struct { .. } => build(field, cells, &arena),
            _ => decode(&field.kind, Repr::Wire, cells, &mut arena),
        }
    }
}

/// The writer must write what has been read.
fn is_written_again(stream: &[u8], offsets: &[u32], cells: &[Vec<Cell>]) {
    let rows = offsets.len() - 1;
    let send = vec![SendMethod::Done; cells.len()];
    let source = RowSource { cells, arena: stream, send: &send };
    let (mut out, mut ends) = (vec![0; source.room(0..rows)], Vec::new());
    let written = source.write(0..rows, &mut out, offsets[0], &mut ends, |_, _| true);
    assert_eq!((written, &ends[..]), (Ok(rows), &offsets[1..]));
    let bytes = (offsets[rows] - offsets[0]) as usize;
    assert_eq!(out[..bytes], stream[offsets[0] as usize..offsets[rows] as usize]);
    assert!(offsets[0] as usize >= HEADER_LEN);
}

fn sent(choice: usize) -> Field {
    let field = |name: &str, kind| Field { name: name.into(), pg_type: String::new(), nullable: true, kind };
    let kind = match choice % 20 {
        0 => Kind::Bool,
        1 => Kind::Int2,
        2 => Kind::Int4,
        3 => Kind::Int8,
        4 => Kind::Oid,
        5 => Kind::Float4,
        6 => Kind::Float8,
        7 => Kind::Decimal { precision: 9, scale: 2 },
        8 => Kind::Decimal { precision: 30, scale: 10 },
        9 => Kind::Numeric { shape_index: NUMERIC },
        10 => Kind::Date,
        11 => Kind::Time,
        12 => Kind::Timestamp,
        13 => Kind::TimestampTz,
        14 => Kind::Uuid,
        15 => Kind::Json,
        16 => Kind::Bytea,
        17 => Kind::List { shape_index: LIST, element: Box::new(field("element", Kind::Int4)) },
        18 => Kind::List { shape_index: LIST, element: Box::new(field("element", Kind::Text)) },
        _ => Kind::Struct {
            fields: vec![
                field("a", Kind::Numeric { shape_index: NUMERIC }),
                field("b", Kind::Text),
                field("c", Kind::Date),
            ],
        },
    };
    field("c", kind)
}

/// Builds a nested column, again while its shape widens, until it becomes text.
fn build(field: &Field, cells: &[Cell], arena: &[u8]) {
    let mut shapes = Shapes::new(2);
    while !field.kind.nested_as_text(&shapes) {
        let mut builder = NestedBuilder::new(field, &shapes);
        match builder.append(cells, arena) {
            Ok(()) => return assert_eq!(builder.finish().len(), cells.len()),
            Err(ValueError { reason: Reason::Misfit { shape_index, needs }, .. }) => {
                assert!(!shapes.get(shape_index).covers(needs), "the same misfit again");
                shapes.set(shape_index, shapes.get(shape_index).merge(needs));
            }
            Err(_) => return,
        }
    }
}
