use super::*;
use proptest::prelude::*;

fn written(rows: &[Vec<Option<Vec<u8>>>], send: &[Send]) -> (Vec<u8>, Vec<u32>) {
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
    let (mut out, mut offsets) = (Vec::new(), Vec::new());
    write_header(&mut out);
    write_rows(&cells, &arena, send, &mut out, &mut offsets).unwrap();
    write_trailer(&mut out);
    (out, offsets)
}

#[test]
fn a_stream_by_hand() {
    // (258::int2, 'ab'::jsonb's text, NULL), then the same types' values as COPY writes them.
    let row = vec![Some(vec![0x02, 0x01]), Some(b"ab".to_vec()), None];
    let (out, offsets) = written(&[row], &[Send::Swap2, Send::Jsonb, Send::Raw]);
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
    let send = [Send::Swap4, Send::Swap8, Send::Interval, Send::Numeric, Send::Done];
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
    for send in [Send::Swap2, Send::Swap4, Send::Swap8, Send::Interval, Send::Numeric] {
        let cells = [vec![Cell::NULL, Cell::new(0, 3)]];
        let error = write_rows(&cells, &[0; 3], &[send], &mut Vec::new(), &mut Vec::new());
        assert!(matches!(error, Err(ValueError { row: 1, reason: Reason::Malformed(_) })), "{send:?}");
    }
}

#[test]
fn refuses_broken_streams() {
    let (out, offsets) = written(&[vec![Some(vec![1; 4])], vec![None]], &[Send::Raw]);
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
        let (out, offsets) = written(&rows, &[Send::Raw, Send::Jsonb, Send::Done]);
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
