use super::*;
use arrow::array::{Array, AsArray};
use arrow::datatypes::{Decimal128Type, Int32Type};
use proptest::prelude::*;

fn field(pg_type: &str, kind: Kind) -> Field {
    Field { name: pg_type.into(), pg_type: pg_type.into(), nullable: true, kind }
}

fn list(shape_index: usize, element: Field) -> Field {
    field("array", Kind::List { shape_index, element: Box::new(element) })
}

fn composite(fields: Vec<Field>) -> Field {
    field("composite", Kind::Struct { fields })
}

fn value(value: Option<&[u8]>) -> Vec<u8> {
    match value {
        None => (-1i32).to_be_bytes().to_vec(),
        Some(bytes) => [&(bytes.len() as i32).to_be_bytes(), bytes].concat(),
    }
}

/// `array_send`'s bytes: sizes with lower bounds, then the elements.
fn array(dimensions: &[(i32, i32)], elements: &[Option<&[u8]>]) -> Vec<u8> {
    let mut out = [dimensions.len() as i32, 1, 23].map(i32::to_be_bytes).concat();
    for (size, bound) in dimensions {
        out.extend([size.to_be_bytes(), bound.to_be_bytes()].concat());
    }
    out.extend(elements.iter().flat_map(|element| value(*element)));
    out
}

fn ints(dimensions: &[(i32, i32)], elements: &[i32]) -> Vec<u8> {
    let bytes: Vec<_> = elements.iter().map(|element| element.to_be_bytes()).collect();
    array(dimensions, &bytes.iter().map(|bytes| Some(&bytes[..])).collect::<Vec<_>>())
}

/// `record_send`'s bytes.
fn record(fields: &[Option<&[u8]>]) -> Vec<u8> {
    let mut out = (fields.len() as i32).to_be_bytes().to_vec();
    for field in fields {
        out.extend(23u32.to_be_bytes());
        out.extend(value(*field));
    }
    out
}

fn build(field: &Field, shapes: &Shapes, rows: &[Option<Vec<u8>>]) -> Result<ArrayRef, ValueError> {
    let mut arena = Vec::new();
    let cells: Vec<_> = rows
        .iter()
        .map(|row| match row {
            None => Cell::NULL,
            Some(bytes) => {
                arena.extend_from_slice(bytes);
                Cell::new(arena.len() - bytes.len(), bytes.len())
            }
        })
        .collect();
    let mut builder = NestedBuilder::new(field, shapes);
    // Batches end anywhere.
    let (first, second) = cells.split_at(cells.len() / 2);
    builder.append(first, &arena)?;
    builder.append(second, &arena)?;
    let array = builder.finish();
    assert_eq!(array.len(), rows.len());
    assert_eq!(array.data_type(), &arrow_type(&field.kind, shapes));
    array.to_data().validate_full().expect("a valid array");
    Ok(array)
}

fn shapes(known: &[Shape]) -> Shapes {
    let mut shapes = Shapes::new(known.len());
    for (shape_index, &shape) in known.iter().enumerate() {
        shapes.merge(shape_index, shape);
    }
    shapes
}

fn misfit(result: Result<ArrayRef, ValueError>) -> (usize, usize, Shape) {
    match result {
        Err(ValueError { row, reason: Reason::Misfit { shape_index, needs } }) => (row, shape_index, needs),
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_dimension() {
    let column = list(0, field("integer", Kind::Int4));
    let two = 2i32.to_be_bytes();
    let rows = [
        Some(ints(&[(2, 1)], &[7, 8])),
        None,
        Some(ints(&[], &[])),
        Some(array(&[(2, 1)], &[None, Some(&two)])),
    ];
    let found = build(&column, &shapes(&[Shape::list(1)]), &rows).unwrap();
    let found = found.as_list::<i32>();
    assert_eq!(found.value_offsets(), [0, 2, 2, 2, 4]);
    assert!(found.is_null(1) && found.is_valid(2));
    let elements = found.values().as_primitive::<Int32Type>();
    assert_eq!(elements.iter().collect::<Vec<_>>(), [Some(7), Some(8), None, Some(2)]);
}

#[test]
fn two_dimensions() {
    let column = list(0, field("integer", Kind::Int4));
    let rows = [
        Some(ints(&[(2, 1), (3, 1)], &[1, 2, 3, 4, 5, 6])),
        Some(ints(&[], &[])),
        None,
        Some(ints(&[(1, 1), (1, 1)], &[9])),
    ];
    let found = build(&column, &shapes(&[Shape::list(2)]), &rows).unwrap();
    let outer = found.as_list::<i32>();
    assert_eq!(outer.value_offsets(), [0, 2, 2, 2, 3]);
    let inner = outer.values().as_list::<i32>();
    assert_eq!(inner.value_offsets(), [0, 3, 6, 7]);
    assert_eq!(inner.values().as_primitive::<Int32Type>().values(), &[1, 2, 3, 4, 5, 6, 9]);
}

#[test]
fn dimensions_are_learnt() {
    let column = list(0, field("integer", Kind::Int4));
    let open = shapes(&[Shape::default()]);
    assert!(build(&column, &open, &[None, Some(ints(&[], &[]))]).is_ok(), "any shape holds no elements");
    let square = Some(ints(&[(1, 1), (1, 1)], &[9]));
    let line = Some(ints(&[(1, 1)], &[9]));
    assert_eq!(misfit(build(&column, &open, &[None, square.clone()])), (0, 0, Shape::list(2)));
    let mixed = misfit(build(&column, &shapes(&[Shape::list(1)]), &[line.clone(), square])).2;
    assert_eq!(Shape::list(1).merge(mixed).dimensions(), None, "text");
    let shifted = misfit(build(&column, &open, &[Some(ints(&[(1, 0)], &[9]))])).2;
    assert_eq!(shifted, Shape::TEXT);
}

#[test]
fn every_slot_is_learnt() {
    let column = composite(vec![
        field("numeric", Kind::Numeric { shape_index: 0 }),
        list(1, field("numeric", Kind::Numeric { shape_index: 2 })),
    ]);
    // 5, 0.5 and 12345.
    let five: &[u8] = &[0, 1, 0, 0, 0, 0, 0, 0, 0, 5];
    let half: &[u8] = &[0, 1, 0xFF, 0xFF, 0, 0, 0, 1, 0x13, 0x88];
    let wide: &[u8] = &[0, 2, 0, 1, 0, 0, 0, 0, 0, 1, 0x09, 0x29];
    let numbers = array(&[(2, 1)], &[Some(half), Some(wide)]);
    let bytes = record(&[Some(five), Some(&numbers)]);
    let cells = [Cell::NULL, Cell::new(0, bytes.len())];
    let mut known = Shapes::new(3);
    for learnt in [(0, Shape::numeric(1, 0)), (1, Shape::list(1)), (2, Shape::numeric(5, 1))] {
        let result = NestedBuilder::new(&column, &known).append(&cells, &bytes).unwrap_err();
        let (shape_index, needs) = learnt;
        assert_eq!(result, ValueError { row: 1, reason: Reason::Misfit { shape_index, needs } });
        known.merge(shape_index, needs);
    }
    let found = build(&column, &known, &[None, Some(bytes)]).unwrap();
    let list = found.as_struct().column(1).as_list::<i32>();
    assert_eq!(list.values().as_primitive::<Decimal128Type>().values(), &[5, 123_450]);
}

#[test]
fn a_misfit_outweighs_a_value_error_before_or_after_it() {
    let column = list(0, field("date", Kind::Date));
    let infinite = array(&[(1, 1)], &[Some(&i32::MAX.to_be_bytes())]);
    let shifted = ints(&[(1, 0)], &[9]);
    let both = array(&[(1, 0)], &[Some(&i32::MAX.to_be_bytes())]);
    let one = shapes(&[Shape::list(1)]);
    let append = |rows: &[&[u8]]| {
        let arena = rows.concat();
        let mut from = 0;
        let cell = |row: &&[u8]| {
            from += row.len();
            Cell::new(from - row.len(), row.len())
        };
        let cells: Vec<_> = rows.iter().map(cell).collect();
        NestedBuilder::new(&column, &one).append(&cells, &arena)
    };
    for rows in [&[&infinite[..], &shifted][..], &[&shifted, &infinite], &[&both]] {
        assert_eq!(append(rows).unwrap_err().reason, Reason::Misfit { shape_index: 0, needs: Shape::TEXT });
    }
    let error = append(&[&ints(&[(1, 1)], &[9]), &infinite, &infinite]).unwrap_err();
    assert_eq!(error, ValueError { row: 1, reason: Reason::InfiniteDate });
}

#[test]
fn a_day_does_not_end_in_a_list_or_composite() {
    let end = 86_400_000_000i64;
    let known = shapes(&[Shape::list(1)]);
    for (micros, found) in [(end - 1, None), (end, Some(Reason::EndOfDay))] {
        let bytes = micros.to_be_bytes();
        let in_list =
            build(&list(0, field("time", Kind::Time)), &known, &[Some(array(&[(1, 1)], &[Some(&bytes)]))]);
        let in_row =
            build(&composite(vec![field("time", Kind::Time)]), &known, &[Some(record(&[Some(&bytes)]))]);
        for made in [in_list, in_row] {
            assert_eq!(made.err().map(|error| error.reason), found);
        }
    }
}

#[test]
fn null_is_not_a_composite_of_nulls() {
    let column = composite(vec![field("integer", Kind::Int4), list(0, field("uuid", Kind::Uuid))]);
    let rows = [None, Some(record(&[None, None]))];
    let found = build(&column, &shapes(&[Shape::default()]), &rows).unwrap();
    let found = found.as_struct();
    assert!(found.is_null(0) && found.is_valid(1));
    assert!(found.column(0).is_null(1) && found.column(1).is_null(1));
    let empty = build(&composite(vec![]), &Shapes::new(0), &[None, Some(record(&[]))]).unwrap();
    assert_eq!((empty.len(), empty.null_count()), (2, 1));
}

#[test]
fn every_leaf() {
    let decimal = Kind::Decimal { precision: 5, scale: 1 };
    let half: &[u8] = &[0, 1, 0xFF, 0xFF, 0, 0, 0, 1, 0x13, 0x88];
    let cases: Vec<(Field, Vec<u8>)> = vec![
        (field("boolean", Kind::Bool), vec![1]),
        (field("smallint", Kind::Int2), vec![0, 2]),
        (field("bigint", Kind::Int8), vec![0; 8]),
        (field("oid", Kind::Oid), vec![255; 4]),
        (field("real", Kind::Float4), vec![0; 4]),
        (field("double precision", Kind::Float8), vec![0; 8]),
        (field("date", Kind::Date), vec![0; 4]),
        (field("time", Kind::Time), vec![0; 8]),
        (field("timestamp", Kind::Timestamp), vec![0; 8]),
        (field("timestamptz", Kind::TimestampTz), vec![0; 8]),
        (field("uuid", Kind::Uuid), vec![3; 16]),
        (field("bytea", Kind::Bytea), vec![255, 0]),
        (field("text", Kind::Text), "é".into()),
        (field("json", Kind::Json), b"{}".to_vec()),
        (field("jsonb", Kind::Json), b"\x01{}".to_vec()),
        (field("\"char\"", Kind::Text), vec![0]),
        (field("numeric(5,1)", decimal), half.to_vec()),
    ];
    for (leaf, bytes) in cases {
        let name = leaf.name.clone();
        let column = composite(vec![leaf]);
        let rows = [Some(record(&[Some(&bytes)])), Some(record(&[None])), None];
        let found = build(&column, &Shapes::new(0), &rows).unwrap();
        assert_eq!(found.as_struct().column(0).null_count(), 2, "{name}");
        if bytes.len() < 17 && !matches!(name.as_str(), "text" | "json" | "jsonb" | "bytea") {
            let long = record(&[Some(&[&bytes[..], &[0]].concat())]);
            assert!(build(&column, &Shapes::new(0), &[Some(long)]).is_err(), "{name}");
        }
    }
}

#[test]
fn texts_are_checked_and_unwrapped() {
    let row = |pg_type, kind, bytes: &[u8]| {
        let column = composite(vec![field(pg_type, kind)]);
        let found =
            build(&column, &Shapes::new(0), &[Some(record(&[Some(bytes)]))]).map_err(|error| error.reason)?;
        Ok(found.as_struct().column(0).as_string::<i32>().value(0).to_string())
    };
    assert_eq!(row("jsonb", Kind::Json, b"\x01[1]"), Ok("[1]".into()));
    assert!(matches!(row("jsonb", Kind::Json, b"\x02[1]"), Err(Reason::Malformed(_))));
    assert_eq!(row("\"char\"", Kind::Text, &[0]), Ok("".into()));
    assert_eq!(row("\"char\"", Kind::Text, b"x"), Ok("x".into()));
    assert_eq!(row("\"char\"", Kind::Text, &[0o310]), Ok("\\310".into()));
    // Two halves of a character are UTF-8 together, but not alone.
    assert_eq!(row("text", Kind::Text, &[0xC3]), Err(Reason::InvalidUtf8));
}

#[test]
fn refuses_hostile_arrays() {
    let column = list(0, field("integer", Kind::Int4));
    let open = shapes(&[Shape::list(2)]);
    let full = ints(&[(1, 1), (2, 1)], &[1, 2]);
    for cut in 0..full.len() {
        assert!(build(&column, &open, &[Some(full[..cut].to_vec())]).is_err(), "cut at {cut}");
    }
    for dimensions in
        [[(1 << 30, 1), (1 << 30, 1)], [(i32::MAX, 1), (0, 1)], [(-1, 1), (-2, 1)], [(1, 1), (1, 1)]]
    {
        let bad = ints(&dimensions, &[1, 2]);
        let error = build(&column, &open, &[Some(bad)]).unwrap_err();
        assert!(matches!(error.reason, Reason::Malformed(_)), "{dimensions:?}");
    }
    assert!(build(&column, &open, &[Some(ints(&[(1, 1); 7], &[1]))]).is_err(), "MAXDIM");
    let pair = composite(vec![field("integer", Kind::Int4); 2]);
    assert!(build(&pair, &open, &[Some(record(&[None]))]).is_err(), "field count");
}

proptest! {
    #[test]
    fn survives_any_bytes(
        words in proptest::collection::vec(prop_oneof![-1i32..8, Just(4), any::<i32>()], 0..40),
        as_list: bool,
    ) {
        let inner = composite(vec![field("integer", Kind::Int4), list(1, field("numeric", Kind::Numeric { shape_index: 2 }))]);
        let column = if as_list { list(0, inner) } else { inner };
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        for shape in [Shape::default(), Shape::list(1), Shape::list(2)] {
            let _ = build(&column, &shapes(&[shape, shape, Shape::numeric(5, 5)]), &[Some(bytes.clone()), None]);
        }
    }
}
