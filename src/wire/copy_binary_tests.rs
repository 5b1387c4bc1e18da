use super::*;
use proptest::prelude::*;

fn written(rows: &[Vec<Option<Vec<u8>>>], send: &[SendMethod]) -> (Vec<u8>, Vec<u32>) {
    let mut arena = Vec::new();
    let mut cells = vec![Vec::new(); send.len()];
    for row in rows {
        for (value, column) in row.iter().zip(&mut cells) {
            column.push(match value {
                None => Cell::NULL,
                Some(bytes) => {
                    arena.extend_from_slice(bytes);
                    Cell::new(arena.len() - bytes.len(), bytes.len())
                }
            });
        }
    }
    let source = RowSource { cells: &cells, arena: &arena, send };
    let mut out = Vec::new();
    write_header(&mut out);
    let (start, mut offsets) = (out.len(), vec![out.len() as u32]);
    out.resize(start + source.room(0..rows.len()), 0xEE);
    let written = source.write(0..rows.len(), &mut out[start..], start as u32, &mut offsets, |_, _| true);
    assert_eq!(written, Ok(rows.len()));
    out.truncate(*offsets.last().unwrap() as usize);
    write_trailer(&mut out);
    (out, offsets)
}

#[test]
fn a_stream_by_hand() {
    // (258::int2, 'ab'::jsonb's text, NULL), then the same types' values as COPY writes them.
    let row = vec![Some(vec![0x02, 0x01]), Some(b"ab".to_vec()), None];
    let (out, offsets) = written(&[row], &[SendMethod::Swap2, SendMethod::Jsonb, SendMethod::Raw]);
    let expected = [
        &b"PGCOPY\n\xff\r\n\0"[..],
        &[0, 0, 0, 0, 0, 0, 0, 0],
        &[0, 3],
        &[0, 0, 0, 2, 1, 2],
        &[0, 0, 0, 3, 1, b'a', b'b'],
        &[0xFF, 0xFF, 0xFF, 0xFF],
        &[0xFF, 0xFF],
    ]
    .concat();
    assert_eq!(out, expected);
    assert_eq!(offsets, [19, 38]);
    let cells = read_stream(&out, &[false, true, false]).unwrap();
    assert_eq!(cells[0][0].of(&out), [1, 2]);
    assert_eq!(cells[1][0].of(&out), b"ab");
    assert!(cells[2][0].is_null());
}

#[test]
fn every_send_form() {
    // interval '1 month 2 days 3 us': int8 3, int4 2, int4 1 (src/include/datatype/timestamp.h).
    let interval = [&3i64.to_le_bytes()[..], &2i32.to_le_bytes(), &1i32.to_le_bytes()].concat();
    let row = vec![
        Some(1i32.to_le_bytes().to_vec()),
        Some(2.5f64.to_le_bytes().to_vec()),
        Some(interval),
        // 123.45, see the numeric tests.
        Some(vec![0x00, 0x81, 0x7B, 0x00, 0x94, 0x11]),
        Some(vec![7; 3]),
    ];
    let send =
        [SendMethod::Swap4, SendMethod::Swap8, SendMethod::Interval, SendMethod::Numeric, SendMethod::Done];
    let (out, _) = written(&[row], &send);
    let cells = read_stream(&out, &[false; 5]).unwrap();
    let field = |column: usize| cells[column][0].of(&out);
    assert_eq!(field(0), 1i32.to_be_bytes());
    assert_eq!(field(1), 2.5f64.to_be_bytes());
    assert_eq!(field(2), [&3i64.to_be_bytes()[..], &2i32.to_be_bytes(), &1i32.to_be_bytes()].concat());
    assert_eq!(field(3), [0, 2, 0, 0, 0, 0, 0, 2, 0, 0x7B, 0x11, 0x94]);
    assert_eq!(field(4), [7; 3]);
}

#[test]
fn refuses_values_of_the_wrong_width() {
    for send in
        [SendMethod::Swap2, SendMethod::Swap4, SendMethod::Swap8, SendMethod::Interval, SendMethod::Numeric]
    {
        let cells = [vec![Cell::NULL, Cell::new(0, 3)]];
        let source = RowSource { cells: &cells, arena: &[0; 3], send: &[send] };
        let error = source.write(0..2, &mut [0; 200], 0, &mut Vec::new(), |_, _| true);
        assert!(matches!(error, Err(ValueError { row: 1, reason: Reason::Malformed(_) })), "{send:?}");
    }
}

#[test]
fn refuses_broken_streams() {
    let (out, offsets) = written(&[vec![Some(vec![1; 4])], vec![None]], &[SendMethod::Raw]);
    assert_eq!(find_rows(&out, HEADER_LEN).unwrap(), offsets);
    for cut in 0..out.len() {
        assert!(read_stream(&out[..cut], &[false]).is_err(), "cut at {cut}");
    }
    assert!(read_stream(&[&out[..], &[0]].concat(), &[false]).is_err(), "after the trailer");
    assert!(read_stream(&out, &[false, false]).is_err(), "field count");
    let mut cells = Vec::new();
    for bad in [[19, 28, 35], [19, 29, 34], [18, 29, 35], [29, 19, 35], [19, 29, 4000]] {
        assert!(read_rows(&out, &bad, &[false], &mut cells).is_err(), "{bad:?}");
    }
    let mut negative = out.clone();
    negative[HEADER_LEN + 2..HEADER_LEN + 6].copy_from_slice(&(-2i32).to_be_bytes());
    assert!(read_stream(&negative, &[false]).is_err());
    let mut flags = out;
    flags[11] = 1;
    assert!(read_header(&flags).is_err(), "critical flag");
}

proptest! {
    #[test]
    fn reads_what_it_writes(
        rows in proptest::collection::vec(
            proptest::collection::vec(proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20)), 3), 0..20),
    ) {
        let (out, offsets) = written(&rows, &[SendMethod::Raw, SendMethod::Jsonb, SendMethod::Done]);
        prop_assert_eq!(&find_rows(&out, HEADER_LEN).unwrap(), &offsets);
        let cells = read_stream(&out, &[false, true, false]).unwrap();
        for (r, row) in rows.iter().enumerate() {
            for (c, value) in row.iter().enumerate() {
                prop_assert_eq!(cells[c][r].bytes(&out), value.as_deref());
            }
        }
    }

    #[test]
    fn survives_any_stream(
        bytes in proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255), any::<u8>()], 0..200),
        offsets in proptest::collection::vec(0u32..220, 0..6),
        columns in 0usize..4,
        framed: bool,
    ) {
        let stream = if framed { [&SIGNATURE[..], &[0; 8], &bytes].concat() } else { bytes };
        let _ = read_stream(&stream, &vec![true; columns]);
        let _ = read_rows(&stream, &offsets, &vec![false; columns], &mut Vec::new());
    }
}

/// Payloads of numerics: short headers and long ones, more digits than the fast way takes, special values.
fn numerics() -> impl Strategy<Value = Vec<u8>> {
    let digits = |most| proptest::collection::vec(0u16..10_000, 0..most);
    let payload = |header: &[u16], digits: &[u16]| -> Vec<u8> {
        header.iter().chain(digits).flat_map(|word| word.to_le_bytes()).collect()
    };
    prop_oneof![
        4 => (0u16..0x4000, digits(7)).prop_map(move |(low, digits)| payload(&[0x8000 | low], &digits)),
        1 => (0u16..0x8000, any::<u16>(), digits(9)).prop_map(move |(a, b, digits)| payload(&[a, b], &digits)),
        1 => proptest::sample::select(vec![0xC000u16, 0xD000, 0xF000]).prop_map(|word| word.to_le_bytes().to_vec()),
    ]
}

proptest! {
    /// Compares rows of any part of a batch with fields that are written one by one.
    #[test]
    fn writes_field_by_field(
        rows in proptest::collection::vec(
            (proptest::option::of(any::<i32>()), proptest::option::of(numerics()),
             proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40))), 1..200),
        (cut, room, most) in (0usize..200, 0usize..1 << 16, 0usize..200),
    ) {
        let (mut arena, mut cells) = (vec![9; 3], vec![Vec::new(); 3]);
        let mut expected: Vec<Vec<u8>> = Vec::new();
        for (int, numeric, text) in &rows {
            let values = [int.map(|int| int.to_le_bytes().to_vec()), numeric.clone(), text.clone()];
            let sent = [
                int.map(|int| int.to_be_bytes().to_vec()),
                numeric.as_ref().map(|payload| {
                    let mut sent = vec![0; numeric::wire_len(payload)];
                    numeric::write_wire(payload, &mut sent).unwrap();
                    sent
                }),
                text.clone(),
            ];
            let mut row = vec![0, 3];
            for ((value, sent), column) in values.into_iter().zip(sent).zip(&mut cells) {
                row.extend(sent.as_ref().map_or(-1, |sent| sent.len() as i32).to_be_bytes());
                row.extend(sent.unwrap_or_default());
                column.push(value.as_ref().map_or(Cell::NULL, |value| Cell::new(arena.len(), value.len())));
                arena.extend(value.unwrap_or_default());
            }
            expected.push(row);
        }
        let range = cut % rows.len()..rows.len();
        let send = [SendMethod::Swap4, SendMethod::Numeric, SendMethod::Raw];
        let source = RowSource { cells: &cells, arena: &arena, send: &send };
        let mut ends = Vec::new();
        let mut out = vec![0xEE; source.room(range.clone())];
        let written = source.write(range.clone(), &mut out, 7, &mut ends, |_, _| true).unwrap();
        prop_assert_eq!(written, range.len());
        let expected = &expected[range.clone()];
        prop_assert_eq!(&out[..expected.concat().len()], expected.concat());
        let lengths: Vec<u32> = expected.iter().scan(7, |end, row| { *end += row.len() as u32; Some(*end) }).collect();
        prop_assert_eq!(&ends, &lengths);

        // If there is less room, only the first rows are written, and nothing after them.
        let (less, most) = (room % out.len(), most.min(range.len()));
        let (mut part, mut ends) = (vec![0xEE; less], Vec::new());
        let written = source.write(range.clone(), &mut part, 0, &mut ends, |rows, _| rows <= most).unwrap();
        let bytes = expected[..written].concat();
        prop_assert!(written <= most && ends.len() == written && part.starts_with(&bytes));
        let next = range.start + written;
        prop_assert!(written == most || bytes.len() + source.room(next..next + 1) > less);
    }
}
