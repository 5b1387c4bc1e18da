use super::*;
use proptest::prelude::*;

/// A value as a tuple may hold it.
#[derive(Clone, Debug)]
enum Datum {
    Null,
    Fixed(Vec<u8>),
    /// A payload, and whether to use a short header if there is a choice.
    Varlena(Vec<u8>, bool),
    /// A compressed value's payload after `va_tcinfo`.
    Compressed(Vec<u8>),
    External([u8; 16]),
}

fn attr(len: i16, align: u8, take: Take) -> Attr {
    Attr { len, align, take, missing: None }
}

fn pad(out: &mut Vec<u8>, align: usize) {
    while !out.len().is_multiple_of(align) {
        out.push(0);
    }
}

/// `heap_form_tuple` and `heap_fill_tuple`, with values for the first `values.len()` attributes.
fn form_tuple(attrs: &[Attr], values: &[Datum]) -> Vec<u8> {
    let nulls = values.iter().any(|value| matches!(value, Datum::Null));
    let mut tuple = vec![0; 23];
    tuple[18..20].copy_from_slice(&(values.len() as u16).to_le_bytes());
    tuple[20] = u8::from(nulls);
    if nulls {
        let mut bits = vec![0u8; values.len().div_ceil(8)];
        for (i, value) in values.iter().enumerate() {
            bits[i / 8] |= u8::from(!matches!(value, Datum::Null)) << (i % 8);
        }
        tuple.extend(bits);
    }
    pad(&mut tuple, 8);
    tuple[22] = tuple.len() as u8;
    for (attr, value) in attrs.iter().zip(values) {
        let align = usize::from(attr.align);
        match value {
            Datum::Null => (),
            Datum::Fixed(bytes) => {
                pad(&mut tuple, align);
                tuple.extend(bytes);
            }
            Datum::Varlena(bytes, true) if bytes.len() < 127 => {
                tuple.push((bytes.len() as u8 + 1) << 1 | 1);
                tuple.extend(bytes);
            }
            Datum::Varlena(bytes, _) => {
                pad(&mut tuple, align);
                tuple.extend(((bytes.len() as u32 + 4) << 2).to_le_bytes());
                tuple.extend(bytes);
            }
            Datum::Compressed(bytes) => {
                pad(&mut tuple, align);
                tuple.extend(((bytes.len() as u32 + 8) << 2 | 2).to_le_bytes());
                tuple.extend([7, 0, 0, 0]);
                tuple.extend(bytes);
            }
            Datum::External(pointer) => {
                tuple.extend([1, 18]);
                tuple.extend(pointer);
            }
        }
    }
    tuple
}

/// Puts tuples into one arena, each MAXALIGNed as on a page.
fn arena_of(tuples: &[Vec<u8>]) -> (Vec<u8>, Vec<TupleRef>) {
    let mut arena = vec![0; 64];
    let refs = tuples
        .iter()
        .map(|tuple| {
            pad(&mut arena, 8);
            let pos = arena.len() as u32;
            arena.extend(tuple);
            TupleRef { pos, len: tuple.len() as u32 }
        })
        .collect();
    (arena, refs)
}

type Cells = Vec<Vec<Cell>>;

fn deformed(
    arena: &mut Vec<u8>,
    refs: &[TupleRef],
    layout: &TupleLayout,
) -> Result<(Cells, Vec<Fixup>), ValueError> {
    let (mut cells, mut fixups) = (Vec::new(), Vec::new());
    deform(arena, refs, layout, &mut cells, &mut fixups)?;
    Ok((cells, fixups))
}

#[test]
fn a_tuple_by_hand() {
    // (1::int4, 'ab'::text, 2::int8): t_hoff 24; int4 at 24; short header 7 = (2+1) << 1 | 1 at 28;
    // padding from 31 to 32; int8 at 32.
    let mut tuple = vec![0; 24];
    (tuple[18], tuple[22]) = (3, 24);
    tuple.extend([1, 0, 0, 0, 7, b'a', b'b', 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    // The columns are exported in another order than the attributes'.
    let attrs = vec![
        attr(4, 4, Take::Fixed { column: 2 }),
        attr(-1, 4, Take::Varlena { column: 0 }),
        attr(8, 8, Take::Fixed { column: 1 }),
        attr(-1, 4, Take::Skip),
    ];
    let (mut arena, refs) = arena_of(&[tuple]);
    let (cells, fixups) = deformed(&mut arena, &refs, &TupleLayout::new(attrs, 3)).unwrap();
    let at = refs[0].pos as usize;
    assert_eq!(cells, [[Cell::new(at + 29, 2)], [Cell::new(at + 32, 8)], [Cell::new(at + 24, 4)]]);
    assert!(fixups.is_empty());
}

#[test]
fn values_that_only_the_server_resolves() {
    let attrs = vec![
        attr(64, 1, Take::Name { column: 0 }),
        attr(1, 1, Take::Char { column: 1 }),
        attr(-1, 4, Take::Varlena { column: 2 }),
        attr(-1, 4, Take::Server { column: 3 }),
        attr(16, 8, Take::Server { column: 4 }),
    ];
    let mut name = vec![0; 64];
    name[..3].copy_from_slice(b"rel");
    let row = |char, third| {
        let values = [
            Datum::Fixed(name.clone()),
            Datum::Fixed(vec![char]),
            third,
            Datum::Varlena(b"inet".to_vec(), true),
            Datum::Fixed(vec![9; 16]),
        ];
        form_tuple(&attrs, &values)
    };
    let tuples =
        [row(b'x', Datum::External([5; 16])), row(0, Datum::Compressed(vec![1; 64])), row(200, Datum::Null)];
    let (mut arena, refs) = arena_of(&tuples);
    let (cells, fixups) = deformed(&mut arena, &refs, &TupleLayout::new(attrs.clone(), 5)).unwrap();
    assert_eq!(cells[0][0].of(&arena), b"rel");
    assert_eq!(
        cells[1].iter().map(|cell| cell.of(&arena)).collect::<Vec<_>>(),
        [&b"x"[..], &b""[..], &[200]]
    );
    assert_eq!(cells[2][2], Cell::NULL);
    let kinds: Vec<_> = fixups.iter().map(|fixup| (fixup.column, fixup.row, fixup.len, fixup.kind)).collect();
    use FixupKind::*;
    assert_eq!(
        kinds,
        [
            (1, 2, 1, Plain),
            (2, 0, 18, External),
            (2, 1, 72, Compressed),
            (3, 0, 5, Plain),
            (3, 1, 5, Plain),
            (3, 2, 5, Plain),
            (4, 0, 16, Plain),
            (4, 1, 16, Plain),
            (4, 2, 16, Plain)
        ]
    );
    for fixup in fixups {
        let cell = cells[fixup.column as usize][fixup.row as usize];
        assert_eq!(cell, Cell::new(fixup.pos as usize, fixup.len as usize));
    }
}

#[test]
fn columns_newer_than_the_tuple() {
    let mut attrs = vec![
        attr(4, 4, Take::Fixed { column: 0 }),
        attr(-1, 4, Take::Server { column: 1 }),
        attr(1, 1, Take::Char { column: 2 }),
        attr(4, 4, Take::Fixed { column: 3 }),
    ];
    attrs[1].missing = Some(b"rendered".to_vec());
    attrs[2].missing = Some(b"ab".to_vec());
    let old = form_tuple(&attrs, &[Datum::Fixed(vec![1; 4])]);
    let (mut arena, refs) = arena_of(&vec![old; 300]);
    let before = arena.len();
    let (cells, fixups) = deformed(&mut arena, &refs, &TupleLayout::new(attrs, 4)).unwrap();
    assert_eq!(arena.len(), before + 10, "one copy for the batch");
    assert!(fixups.is_empty(), "a missing value is final");
    assert!(cells[1].iter().all(|cell| cell.of(&arena) == b"rendered"));
    assert!(cells[2].iter().all(|cell| cell.of(&arena) == b"ab"));
    assert!(cells[3].iter().all(|cell| cell.is_null()));
}

#[test]
fn refuses_what_the_heap_never_holds() {
    let varlena = TupleLayout::new(vec![attr(-1, 4, Take::Varlena { column: 0 })], 1);
    let fixed = TupleLayout::new(vec![attr(8, 8, Take::Fixed { column: 0 })], 1);
    let mut tuple = vec![0; 32];
    (tuple[18], tuple[22]) = (1, 24);
    let fails = |tuple: &[u8], layout: &TupleLayout| {
        let (mut arena, refs) = arena_of(&[tuple.to_vec()]);
        matches!(
            deformed(&mut arena, &refs, layout),
            Err(ValueError { row: 0, reason: Reason::Malformed(_) })
        )
    };
    assert!(!fails(&tuple, &fixed));
    assert!(fails(&tuple[..31], &fixed), "cut off");
    assert!(fails(&tuple[..22], &fixed), "no header");
    for (at, byte) in [(22, 23), (22, 16), (22, 40), (24, 255)] {
        let mut bad = tuple.clone();
        bad[at] = byte;
        assert!(fails(&bad, &varlena), "{at} {byte}");
    }
    // An indirect pointer, a long header of length 3, a compressed one without its tcinfo.
    for start in [[1, 1, 0, 0], [12, 0, 0, 0], [4 << 2 | 2, 0, 0, 0]] {
        let mut bad = tuple.clone();
        bad[24..28].copy_from_slice(&start);
        assert!(fails(&bad, &varlena), "{start:?}");
    }
    let outside = TupleRef { pos: 4096, len: 100 };
    assert!(deformed(&mut vec![0; 4096], &[outside], &fixed).is_err());
}

/// An attribute, and the values that rows may have in it.
fn attrs() -> impl Strategy<Value = Vec<Attr>> {
    let one = (
        prop_oneof![Just(-1i16), Just(1), Just(2), Just(4), Just(8), Just(16), Just(64)],
        0u8..4,
        0u8..3,
        0u8..5,
    );
    proptest::collection::vec(one, 1..20).prop_map(|shapes| {
        let mut column = 0;
        let mut attrs: Vec<Attr> = Vec::new();
        for (len, align, take, missing) in shapes {
            let align = if len == -1 { [4, 8, 1, 4][usize::from(align)] } else { (len as u8).min(8) };
            let take = match (take, len) {
                (0, _) => Take::Skip,
                (1, _) => Take::Server { column },
                (_, -1) => Take::Varlena { column },
                _ => Take::Fixed { column },
            };
            column += usize::from(take != Take::Skip);
            let missing = (missing > 2).then(|| vec![missing; missing.into()]);
            attrs.push(Attr { len, align, take, missing });
        }
        attrs
    })
}

fn datum(attr: &Attr, seed: u32, nulls: bool) -> Datum {
    let size = seed as usize >> 8;
    match (seed % 16, attr.len) {
        (0 | 1, _) if nulls => Datum::Null,
        (2, -1) => Datum::External([seed as u8 | 1; 16]),
        (3, -1) => Datum::Compressed(vec![seed as u8; size % 90]),
        (4, -1) => Datum::Varlena(vec![seed as u8; size % 700], false),
        (_, -1) => Datum::Varlena(vec![0; size % 130], attr.align != 1),
        (_, len) => Datum::Fixed((0..len).map(|i| (seed as i16).wrapping_add(i) as u8).collect()),
    }
}

/// Among tuples that are moved eight at a time, one at any place is of another kind.
#[test]
fn short_varlenas_beside_others() {
    let attrs = [
        attr(-1, 4, Take::Varlena { column: 0 }),
        attr(-1, 4, Take::Skip),
        attr(-1, 4, Take::Varlena { column: 1 }),
    ];
    let layout = TupleLayout::new(attrs.to_vec(), 2);
    let others = [
        Datum::Varlena(vec![b'l'; 300], false),
        Datum::Varlena(vec![b's'; 3], false),
        Datum::Compressed(vec![b'c'; 20]),
        Datum::External([b'e'; 16]),
    ];
    for rows in [1, 7, 8, 9, 16, 17, 130] {
        for (other, at) in others.iter().flat_map(|other| (0..rows).step_by(3).map(move |at| (other, at))) {
            let value = |row: usize, seed: usize| match row == at {
                true => other.clone(),
                false => Datum::Varlena(vec![(row + seed) as u8; (7 * row + seed) % 126], true),
            };
            let of_row: Vec<[Datum; 3]> =
                (0..rows).map(|row| [value(row, 0), value(row + at % 2, 1), value(row, 2)]).collect();
            let tuples: Vec<_> = of_row.iter().map(|row| form_tuple(&attrs, row)).collect();
            let (mut arena, refs) = arena_of(&tuples);
            // The last tuple ends with the arena.
            arena.truncate((refs[rows - 1].pos + refs[rows - 1].len) as usize);
            let (cells, fixups) = deformed(&mut arena, &refs, &layout).unwrap();
            for (row, values) in of_row.iter().enumerate() {
                for (column, value) in [(0, &values[0]), (1, &values[2])] {
                    let found = cells[column][row].of(&arena);
                    let is_right = match value {
                        Datum::Varlena(bytes, _) => found == bytes,
                        Datum::Compressed(bytes) => found.ends_with(bytes),
                        Datum::External(bytes) => found.ends_with(bytes),
                        _ => false,
                    };
                    assert!(is_right, "{rows} rows, {at}: row {row}, column {column}");
                }
            }
            let fixed = usize::from(matches!(other, Datum::Compressed(_) | Datum::External(_)));
            assert_eq!(fixups.len(), 2 * fixed);
        }
    }
}

#[test]
fn short_varlenas_that_leave_their_tuples() {
    let attrs = [attr(-1, 4, Take::Varlena { column: 0 })];
    let layout = TupleLayout::new(attrs.to_vec(), 1);
    let tuple = form_tuple(&attrs, &[Datum::Varlena(vec![b'x'; 10], true)]);
    for wrong in 0..20 {
        let mut tuples = vec![tuple.clone(); 20];
        // One byte too many.
        tuples[wrong][24] += 2;
        let (mut arena, refs) = arena_of(&tuples);
        assert_eq!(deformed(&mut arena, &refs, &layout).unwrap_err().row, wrong);
    }
}

proptest! {
    #[test]
    fn agrees_with_the_tuple_builder(
        attrs in attrs(),
        seeds in proptest::collection::vec((proptest::collection::vec(any::<u32>(), 20), 0usize..40, any::<bool>()), 1..150),
    ) {
        let rows: Vec<Vec<Datum>> = seeds
            .iter()
            .map(|(seeds, natts, nulls)| {
                let values = attrs.iter().zip(seeds).map(|(attr, &seed)| datum(attr, seed, *nulls));
                values.take(*natts).collect()
            })
            .collect();
        let tuples: Vec<_> = rows.iter().map(|row| form_tuple(&attrs, row)).collect();
        let (mut arena, refs) = arena_of(&tuples);
        let columns = attrs.iter().filter_map(|attr| attr.take.column()).count();
        let layout = TupleLayout::new(attrs.clone(), columns);
        let (cells, fixups) = deformed(&mut arena, &refs, &layout).unwrap();
        for (r, row) in rows.iter().enumerate() {
            for (a, attr) in attrs.iter().enumerate() {
                let Some(column) = attr.take.column() else { continue };
                let cell = cells[column][r];
                let fixup = fixups.iter().find(|f| (f.row, f.column) == (r as u32, column as u32));
                let bytes = cell.bytes(&arena);
                let whole = matches!(attr.take, Take::Server { .. });
                let kind = match row.get(a) {
                    None => {
                        prop_assert_eq!(bytes, attr.missing.as_deref());
                        None
                    }
                    Some(Datum::Null) => {
                        prop_assert_eq!(bytes, None);
                        None
                    }
                    Some(Datum::Fixed(value)) => {
                        prop_assert_eq!(bytes, Some(&value[..]));
                        whole.then_some(FixupKind::Plain)
                    }
                    Some(Datum::Varlena(value, _)) => {
                        let bytes = bytes.unwrap();
                        let same = if whole { bytes.ends_with(value) } else { bytes == value };
                        prop_assert!(same);
                        whole.then_some(FixupKind::Plain)
                    }
                    Some(Datum::Compressed(value)) => {
                        prop_assert_eq!(&bytes.unwrap()[8..], &value[..]);
                        Some(FixupKind::Compressed)
                    }
                    Some(Datum::External(pointer)) => {
                        prop_assert_eq!(&bytes.unwrap()[2..], &pointer[..]);
                        Some(FixupKind::External)
                    }
                };
                prop_assert_eq!(fixup.map(|fixup| fixup.kind), kind);
            }
        }
    }

    #[test]
    fn survives_any_tuple(
        attrs in attrs(),
        head in (0u16..30, any::<bool>(), prop_oneof![Just(24u8), Just(32), any::<u8>()]),
        body in proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(3), Just(18), any::<u8>()], 0..300),
        pos in 0u32..64,
    ) {
        let mut tuple = vec![0; 18];
        tuple.extend(head.0.to_le_bytes());
        tuple.extend([u8::from(head.1), 0, head.2]);
        tuple.extend(body);
        let len = tuple.len() as u16;
        let mut arena = vec![0; 16];
        arena.extend(tuple);
        let layout = TupleLayout::new(attrs, 20);
        for pos in [16, pos] {
            let tuples = [TupleRef { pos, len: len.into() }; 9];
            if let Ok((cells, _)) = deformed(&mut arena.clone(), &tuples, &layout) {
                for cell in cells.iter().flatten().filter(|cell| !cell.is_null()) {
                    let _ = cell.pos;
                }
            }
        }
    }
}
