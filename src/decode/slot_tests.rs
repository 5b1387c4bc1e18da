use super::*;
use crate::decode::decode_lane;
use crate::slot::fill::{AttrSpec, InputWriter};
use crate::slot::layout::{COPY_BINARY, HEAP, get};
use crate::slot::output::Output;
use crate::types::{Kind, Lane, Repr, Shapes, Values};
use crate::wire::copy_binary::{RowSource, SendMethod};
use proptest::prelude::*;

fn attr(op: Op, len: i16, align: u8, column: u32) -> AttrSpec {
    let attr = Attr { len, align, op: op as u8, precision: 9, scale: 2, column, ..Attr::default() };
    AttrSpec { attr, missing: None }
}

/// Decodes one page of tuples.
fn heap(attrs: &[AttrSpec], columns: usize, tuples: &[Vec<u8>], flags: u32) -> (Vec<u8>, Vec<u8>) {
    let (mut input, mut output) = (vec![0xEE; 1 << 16], vec![0xEE; 1 << 16]);
    let mut writer = InputWriter::new(&mut input, HEAP, attrs, columns, output.len(), flags).unwrap();
    let page = writer.page().unwrap();
    page.fill(0);
    let mut end = BLOCK;
    for (number, tuple) in tuples.iter().enumerate() {
        end = (end - tuple.len()) / 8 * 8;
        page[end..end + tuple.len()].copy_from_slice(tuple);
        let word = (tuple.len() as u32) << 17 | 1 << 15 | end as u32;
        page[24 + 4 * number..28 + 4 * number].copy_from_slice(&word.to_le_bytes());
    }
    let lines: Vec<u16> = (1..=tuples.len() as u16).collect();
    assert!(writer.commit_page(1, &lines));
    writer.finish();
    decode_slot(&input, &mut output).unwrap();
    (input, output)
}

/// Returns a tuple without NULLs.
fn tuple(natts: u8, data: &[u8]) -> Vec<u8> {
    let mut tuple = vec![0; 24];
    (tuple[18], tuple[22]) = (natts, 24);
    tuple.extend_from_slice(data);
    tuple
}

fn text(text: &[u8]) -> Vec<u8> {
    [&[(text.len() as u8 + 1) << 1 | 1], text].concat()
}

fn lane(output: &Output, column: usize, physical: crate::types::Physical) -> Lane {
    let mut lane = Lane::default();
    output.lane(column, physical, 0..output.rows(), &mut lane).unwrap();
    lane
}

fn texts(output: &Output, column: usize) -> Vec<Option<String>> {
    let mut cells = Vec::new();
    let bytes = output.cells(column, 0..output.rows(), &mut cells).unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    cells.iter().map(|cell| cell.bytes(bytes).map(text)).collect()
}

fn statuses(output: &Output) -> Vec<(u32, u32, u32)> {
    output.statuses().unwrap().iter().map(|status| (status.row, status.column, status.code)).collect()
}

#[test]
fn what_the_host_has_to_do_is_listed_and_blank() {
    use crate::types::Physical::I32;
    // int4, text, numeric(9,2), "char", text added later.
    let mut attrs = vec![
        attr(Op::Int4, 4, 4, 0),
        attr(Op::Bytes, -1, 4, 1),
        attr(Op::Decimal32, -1, 4, 3),
        attr(Op::Char, 1, 1, 2),
        attr(Op::Bytes, -1, 4, 4),
    ];
    attrs[4].missing = Some(b"old".to_vec());
    let row = |number: i32, rest: &[&[u8]]| tuple(4, &[&number.to_le_bytes(), &rest.concat()[..]].concat());
    // NumericShort: 1.5 with one digit behind the point; with three; NaN.
    let (fits, misfit) = ([0x07u8, 0x80, 0x80, 1, 0, 0x88, 0x13], [0x07u8, 0x80, 0x81, 1, 0, 0x88, 0x13]);
    let numeric = |bytes: &[u8; 7]| [&[15u8], &bytes[1..]].concat();
    let compressed = [&[0u8][..], &(8u32 << 2 | 2).to_le_bytes(), &[0; 4]].concat();
    let external = [&[1u8, 18][..], &[0; 16]].concat();
    let tuples = [
        row(7, &[&text(b"abc"), &numeric(&fits), b"x"]),
        row(8, &[&text(b""), &numeric(&misfit), &[0]]),
        row(9, &[&external, &[7, 0, 0xC0], &[200]]),
        // A text of 100 bytes in a tuple that ends: the walk stops there.
        row(10, &[&[201, 1]]),
        // No tuple at all: shorter than its header.
        vec![0; 16],
        row(11, &[&text(b"no"), &compressed, b"y"]),
    ];
    let (input, output) = heap(&attrs, 6, &tuples, WANT_COLUMNS);
    let output = Output::of(&Input::new(&input).unwrap(), &output).unwrap();
    use Code::*;
    let codes = [
        (1, 3, Misfit),
        (2, 1, External),
        (2, 2, Char),
        (2, 3, NumericNan),
        (3, 1, Malformed),
        (4, 0, Malformed),
        (5, 3, Compressed),
    ];
    assert_eq!(statuses(&output), codes.map(|(row, column, code)| (row, column, code as u32)));
    assert_eq!(lane(&output, 0, I32), Lane { valid: vec![], values: Values::I32(vec![7, 8, 9, 10, 0, 11]) });
    assert_eq!(texts(&output, 1), ["abc", "", "", "", "", "no"].map(|text| Some(text.to_string())));
    assert_eq!(texts(&output, 2), ["x", "", "", "", "", "y"].map(|text| Some(text.to_string())));
    assert_eq!(lane(&output, 3, I32).values, Values::I32(vec![150, 0, 0, 0, 0, 0]));
    let old = texts(&output, 4);
    assert_eq!(old[..3], [const { "old" }; 3].map(|text| Some(text.to_string())));
    assert_eq!(old[3..5], [Some(String::new()), Some(String::new())], "behind the walk's end");
    assert_eq!(texts(&output, 1).len(), 6);
    assert_eq!(lane(&output, 5, I32).valid, [0; 6], "a column without an attribute");
}

#[test]
fn nulls_are_zero_and_nothing_is_left_of_the_slot_before() {
    let attrs = [attr(Op::Bool, 1, 1, 0), attr(Op::Int8, 8, 8, 1)];
    let mut null = tuple(2, &[1]);
    (null[20], null[23]) = (1, 0b01);
    let full = tuple(2, &[&[1, 0, 0, 0, 0, 0, 0, 0][..], &[7; 8]].concat());
    let (input, output) = heap(&attrs, 2, &[null, full], WANT_COLUMNS);
    let header: OutHeader = get(&output, 0).unwrap();
    let place: OutColumn = get(&output, size_of::<OutHeader>() + size_of::<OutColumn>()).unwrap();
    assert_eq!(place.nulls, 1);
    assert_eq!(output[place.valid_at as usize..][..64], [&[2][..], &[0; 63]].concat());
    assert_eq!(output[place.values_at as usize..][..64], [&[0; 8][..], &[7; 8], &[0; 48]].concat());
    let zeros = output[statuses_at(2)..columns_start(2)].iter().all(|&byte| byte == 0);
    assert!(zeros, "statuses that are not used");
    assert_eq!(output[header.bytes as usize], 0xEE, "nothing is written behind the end");
    // Without columns the head is the same, and nothing follows it.
    let (_, bare) = heap(&attrs, 2, &[], 0);
    assert_eq!(bare[columns_start(2)], 0xEE);
    let mut small = vec![0; header.bytes as usize - 1];
    assert!(decode_slot(&input, &mut small).is_err(), "no room");
}

#[test]
fn statuses_are_counted_when_they_cannot_be_listed() {
    let rows: Vec<u8> = std::iter::repeat_n([0, 1, 0, 0, 0, 1, 9], 3000).flatten().collect();
    let offsets: Vec<u32> = (0..=3000).map(|row| 7 * row).collect();
    let (mut input, mut output) = (vec![0; 1 << 17], vec![0; 1 << 17]);
    let attrs = [attr(Op::Bool, 0, 0, 0)];
    let mut writer = InputWriter::new(&mut input, COPY_BINARY, &attrs, 1, 1 << 17, WANT_COLUMNS).unwrap();
    assert_eq!(writer.append(&rows, &offsets), 3000);
    writer.finish();
    decode_slot(&input, &mut output).unwrap();
    let output = Output::of(&Input::new(&input).unwrap(), &output).unwrap();
    assert_eq!((output.statuses_total(), output.statuses()), (3000, None));
}

/// Writes rows of two int4 columns.
#[test]
fn a_row_is_decoded_as_far_as_its_walk_goes() {
    let int = |value: u8| [0, 0, 0, 4, 0, 0, 0, value];
    let rows: [Vec<u8>; 6] = [
        [&[0, 2][..], &int(1), &int(2)].concat(),
        [&[0, 3][..], &int(3), &int(4)].concat(),
        [&[0, 2][..], &int(5), &[0, 0, 0, 5, 0, 0, 0, 0]].concat(),
        [&[0, 2][..], &int(6), &int(7), &[0]].concat(),
        [&[0, 2][..], &[0, 0, 0, 3, 1, 1, 1], &[255; 4]].concat(),
        vec![],
    ];
    let mut offsets = vec![0];
    rows.iter().for_each(|row| offsets.push(offsets.last().unwrap() + row.len() as u32));
    let (mut input, mut output) = (vec![0; 1 << 14], vec![0; 1 << 15]);
    let attrs = [attr(Op::Int4, 0, 0, 0), attr(Op::Int4, 0, 0, 1)];
    let mut writer = InputWriter::new(&mut input, COPY_BINARY, &attrs, 2, 1 << 15, WANT_COLUMNS).unwrap();
    assert_eq!(writer.append(&rows.concat(), &offsets), 6);
    writer.finish();
    decode_slot(&input, &mut output).unwrap();
    let output = Output::of(&Input::new(&input).unwrap(), &output).unwrap();
    use crate::types::Physical::I32;
    assert_eq!(lane(&output, 0, I32).values, Values::I32(vec![1, 0, 5, 6, 0, 0]));
    let second = lane(&output, 1, I32);
    assert_eq!((second.values, second.valid), (Values::I32(vec![2, 0, 0, 7, 0]), vec![1, 1, 1, 1, 0, 1]));
    let malformed = [(1, 0), (2, 1), (3, NO_COLUMN), (4, 0), (5, 0)];
    assert_eq!(statuses(&output), malformed.map(|(row, column)| (row, column, Code::Malformed as u32)));
}

/// Columns, how they are sent, and their operations in a slot.
const COLUMNS: [(Kind, SendMethod, Op); 8] = [
    (Kind::Int2, SendMethod::Swap2, Op::Int2),
    (Kind::Date, SendMethod::Swap4, Op::Date),
    (Kind::Time, SendMethod::Swap8, Op::Time),
    (Kind::Timestamp, SendMethod::Swap8, Op::Timestamp),
    (Kind::Float8, SendMethod::Swap8, Op::Int8),
    (Kind::Decimal { precision: 9, scale: 2 }, SendMethod::Numeric, Op::Decimal32),
    (Kind::Text, SendMethod::Raw, Op::Bytes),
    (Kind::Json, SendMethod::Jsonb, Op::Bytes),
];

fn cell_bytes(kind: &Kind, seed: u64) -> Vec<u8> {
    match kind {
        Kind::Int2 => (seed as i16).to_le_bytes().to_vec(),
        Kind::Date => (seed as i32 >> 8).to_le_bytes().to_vec(),
        Kind::Time => (seed % 86_400_000_000).to_le_bytes().to_vec(),
        Kind::Timestamp => (seed as i64 >> 8).to_le_bytes().to_vec(),
        Kind::Float8 => seed.to_le_bytes().to_vec(),
        // dscale 2, weight 0, digits x.yy00.
        Kind::Decimal { .. } => {
            [0x8100u16, (seed % 9999) as u16, (seed % 100) as u16 * 100].map(u16::to_le_bytes).concat()
        }
        _ => seed.to_string().as_bytes()[..(seed % 5) as usize].to_vec(),
    }
}

proptest! {
    /// A slot's columns are the lanes of a batch of the same rows.
    #[test]
    fn slots_are_decoded_as_batches_are(
        rows in prop::collection::vec(prop::array::uniform8(prop::option::of(any::<u64>())), 0..80),
        cut in 0usize..80,
    ) {
        let (mut arena, mut cells) = (Vec::new(), vec![Vec::new(); 8]);
        for row in &rows {
            for ((seed, (kind, ..)), column) in row.iter().zip(&COLUMNS).zip(&mut cells) {
                let value = seed.map(|seed| cell_bytes(kind, seed | 1 << 40));
                column.push(value.as_ref().map_or(Cell::NULL, |value| Cell::new(arena.len(), value.len())));
                arena.extend(value.unwrap_or_default());
            }
        }
        let send = COLUMNS.each_ref().map(|column| column.1);
        let source = RowSource { cells: &cells, arena: &arena, send: &send };
        let mut attrs: Vec<AttrSpec> =
            COLUMNS.iter().enumerate().map(|(column, (_, _, op))| attr(*op, 0, 0, column as u32)).collect();
        attrs[7].attr.strip = STRIP_VERSION;
        let (mut input, mut output) = (vec![0xEE; 1 << 16], vec![0xEE; 1 << 16]);
        let mut writer = InputWriter::new(&mut input, COPY_BINARY, &attrs, 8, 1 << 16, WANT_COLUMNS).unwrap();
        prop_assert_eq!(writer.rows(source, 0..rows.len()).unwrap(), rows.len());
        writer.finish();
        decode_slot(&input, &mut output).unwrap();
        let output = Output::of(&Input::new(&input).unwrap(), &output).unwrap();
        prop_assert_eq!(output.statuses().unwrap(), vec![]);
        let range = cut.min(rows.len())..rows.len();
        for (column, (kind, ..)) in COLUMNS.iter().enumerate() {
            let (mut expected, mut found) = (Lane::default(), Lane::default());
            let cells = &cells[column][range.clone()];
            decode_lane(kind, Repr::Heap, &Shapes::new(0), cells, &mut arena, &mut expected).unwrap();
            let physical = kind.physical(&Shapes::new(0)).unwrap();
            let bytes = output.lane(column, physical, range.clone(), &mut found).unwrap();
            prop_assert_eq!(&expected.valid, &found.valid);
            let text = |values: &Values, arena: &[u8]| match values {
                Values::Bytes(cells) => cells.iter().map(|cell| cell.of(arena).to_vec()).collect(),
                values => vec![format!("{values:?}").into_bytes()],
            };
            prop_assert_eq!(text(&expected.values, &arena), text(&found.values, bytes));
        }
    }

    /// Any pages and rows are decoded or refused.
    #[test]
    fn survives_any_data(heap: bool, seed in prop::collection::vec(any::<u8>(), 1..600), bounds in prop::collection::vec(0u32..600, 3)) {
        let ops = [Op::Int4, Op::Bytes, Op::Decimal128, Op::Bool];
        let widths = [(4, 4), (-1, 4), (-1, 4), (1, 1)];
        let attrs: Vec<AttrSpec> = ops.iter().zip(widths).enumerate()
            .map(|(column, (op, (len, align)))| attr(*op, len, align, column as u32)).collect();
        let (mut input, mut output) = (vec![0; 1 << 16], vec![0; 1 << 17]);
        let kind = if heap { HEAP } else { COPY_BINARY };
        let mut writer = InputWriter::new(&mut input, kind, &attrs, 4, 1 << 17, WANT_COLUMNS).unwrap();
        if heap {
            let page = writer.page().unwrap();
            page.iter_mut().zip(seed.iter().cycle()).for_each(|(to, from)| *to = *from);
            // One line pointer to a tuple with a header, the others anywhere.
            page[24..28].copy_from_slice(&(400u32 << 17 | 1 << 15 | 4096).to_le_bytes());
            (page[4096 + 18], page[4096 + 19], page[4096 + 22]) = (4, 0, 24);
            prop_assert!(writer.commit_page(1, &[1, 2, 3, 300, 1]));
        } else {
            let mut offsets: Vec<u32> = bounds.iter().map(|bound| bound % (seed.len() as u32 + 1)).collect();
            offsets.sort_unstable();
            writer.append(&seed, &offsets);
        }
        writer.finish();
        if decode_slot(&input, &mut output).is_ok() {
            let input = Input::new(&input).unwrap();
            let output = Output::of(&input, &output).unwrap();
            prop_assert!(output.statuses().unwrap().iter().all(|status| (status.row as usize) < input.rows()));
        }
    }
}
