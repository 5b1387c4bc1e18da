use super::*;
use proptest::prelude::*;

/// A batch of values, `None` for NULL.
fn batch(values: &[Option<Vec<u8>>]) -> (Vec<u8>, Vec<Cell>) {
    let mut arena = vec![0xEE; 5];
    let cells = values
        .iter()
        .map(|value| match value {
            None => Cell::NULL,
            Some(bytes) => {
                arena.extend_from_slice(bytes);
                Cell::new(arena.len() - bytes.len(), bytes.len())
            }
        })
        .collect();
    (arena, cells)
}

fn lane(
    kind: &Kind,
    repr: Repr,
    shapes: &Shapes,
    values: &[Option<Vec<u8>>],
) -> Result<(Lane, Vec<u8>), ValueError> {
    let (mut arena, cells) = batch(values);
    let mut lane = Lane { valid: vec![9; 3], values: Values::F32(vec![1.0]) };
    decode_lane(kind, repr, shapes, &cells, &mut arena, &mut lane)?;
    Ok((lane, arena))
}

fn one(kind: &Kind, repr: Repr, bytes: &[u8]) -> Result<Values, Reason> {
    lane(kind, repr, &Shapes::new(1), &[Some(bytes.to_vec())])
        .map(|(lane, _)| lane.values)
        .map_err(|e| e.reason)
}

/// Returns the heap form of a numeric of given groups.
fn numeric(weight: i16, dscale: u16, groups: &[u16]) -> Option<Vec<u8>> {
    let head = [dscale, weight as u16];
    Some(head.iter().chain(groups).flat_map(|word| word.to_le_bytes()).collect())
}

#[test]
fn fixed_widths_in_either_order() {
    use Values::*;
    let cases: [(Kind, &[u8], Values); 8] = [
        (Kind::Bool, &[1], Bool(vec![true])),
        (Kind::Int2, &(-2i16).to_be_bytes(), I32(vec![-2])),
        (Kind::Int4, &7i32.to_be_bytes(), I32(vec![7])),
        (Kind::Oid, &u32::MAX.to_be_bytes(), I32(vec![-1])),
        (Kind::Int8, &i64::MIN.to_be_bytes(), I64(vec![i64::MIN])),
        (Kind::Time, &86_399_999_999i64.to_be_bytes(), I64(vec![86_399_999_999])),
        (Kind::Float4, &1.5f32.to_be_bytes(), F32(vec![1.5])),
        (Kind::Float8, &(-0.25f64).to_be_bytes(), F64(vec![-0.25])),
    ];
    for (kind, wire, expected) in cases {
        let heap: Vec<u8> = wire.iter().rev().copied().collect();
        assert_eq!(one(&kind, Repr::Wire, wire).as_ref(), Ok(&expected));
        assert_eq!(one(&kind, Repr::Heap, &heap).as_ref(), Ok(&expected));
        let longer = [wire, &[0]].concat();
        for bad in [&wire[1..], &longer] {
            assert!(matches!(one(&kind, Repr::Wire, bad), Err(Reason::Malformed(_))), "{kind:?}");
        }
    }
    let uuid: [u8; 16] = std::array::from_fn(|i| i as u8);
    for repr in [Repr::Heap, Repr::Wire] {
        assert_eq!(one(&Kind::Uuid, repr, &uuid), Ok(Fixed16(vec![uuid])));
    }
    assert!(one(&Kind::Bool, Repr::Heap, &[2]).is_err());
}

#[test]
fn dates_and_timestamps_count_from_1970() {
    let day = |days: i32| one(&Kind::Date, Repr::Wire, &days.to_be_bytes());
    assert_eq!(day(0), Ok(Values::I32(vec![10_957])));
    assert_eq!(day(-10_957), Ok(Values::I32(vec![0])));
    assert_eq!(day(i32::MAX), Err(Reason::InfiniteDate));
    assert_eq!(day(i32::MIN), Err(Reason::InfiniteDate));
    assert_eq!(day(i32::MAX - 1), Err(Reason::OutOfRange));
    for kind in [Kind::Timestamp, Kind::TimestampTz] {
        let at = |micros: i64| one(&kind, Repr::Heap, &micros.to_le_bytes());
        assert_eq!(at(1), Ok(Values::I64(vec![946_684_800_000_001])));
        assert_eq!(at(i64::MIN), Err(Reason::InfiniteTimestamp));
        assert_eq!(at(i64::MAX), Err(Reason::InfiniteTimestamp));
        assert_eq!(at(i64::MAX - 946_684_800_000_000 + 1), Err(Reason::OutOfRange));
    }
}

#[test]
fn a_day_ends_before_its_last_time() {
    for repr in [Repr::Heap, Repr::Wire] {
        let at = |micros: i64| {
            let bytes = if repr == Repr::Heap { micros.to_le_bytes() } else { micros.to_be_bytes() };
            one(&Kind::Time, repr, &bytes)
        };
        assert_eq!(at(0), Ok(Values::I64(vec![0])));
        assert_eq!(at(86_400_000_000), Err(Reason::EndOfDay));
        assert!(matches!(
            (at(-1), at(86_400_000_001)),
            (Err(Reason::Malformed(_)), Err(Reason::Malformed(_)))
        ));
    }
}

#[test]
fn values_are_dense_and_validity_is_lazy() {
    let int = |value: i32| Some(value.to_le_bytes().to_vec());
    let shapes = Shapes::new(0);
    let (full, _) = lane(&Kind::Int4, Repr::Heap, &shapes, &[int(1), int(2)]).unwrap();
    assert_eq!(full, Lane { valid: vec![], values: Values::I32(vec![1, 2]) });
    let (holes, _) = lane(&Kind::Int4, Repr::Heap, &shapes, &[None, int(2), None, int(4)]).unwrap();
    assert_eq!(holes, Lane { valid: vec![0, 1, 0, 1], values: Values::I32(vec![2, 4]) });
    let (text, arena) = lane(&Kind::Text, Repr::Heap, &shapes, &[None, Some(b"ab".to_vec())]).unwrap();
    assert_eq!(text.valid, [0, 1]);
    let Values::Bytes(cells) = text.values else { panic!("cells") };
    assert_eq!(cells.iter().map(|cell| cell.of(&arena)).collect::<Vec<_>>(), [b"ab"]);
}

#[test]
fn declared_decimals() {
    let decimal = |precision, scale| Kind::Decimal { precision, scale };
    // 123.45 is 0123 . 4500.
    let value = numeric(0, 2, &[123, 4500]).unwrap();
    assert_eq!(one(&decimal(9, 2), Repr::Heap, &value), Ok(Values::I32(vec![12345])));
    assert_eq!(one(&decimal(12, 3), Repr::Heap, &value), Ok(Values::I64(vec![123_450])));
    let wide = 123_450i128.to_be_bytes();
    assert_eq!(one(&decimal(38, 3), Repr::Heap, &value), Ok(Values::Fixed16(vec![wide])));
    assert_eq!(one(&decimal(4, 2), Repr::Heap, &value), Err(Reason::OutOfRange));
    assert_eq!(one(&decimal(9, 1), Repr::Heap, &value), Err(Reason::OutOfRange));
    let wire = [0, 1, 0, 0, 0x40, 0, 0, 2, 0, 5];
    assert_eq!(one(&decimal(5, 2), Repr::Wire, &wire), Ok(Values::I32(vec![-500])));
    assert_eq!(one(&decimal(5, 2), Repr::Heap, &[0, 0xC0]), Err(Reason::NumericNan));
    assert_eq!(one(&decimal(38, 2), Repr::Heap, &[0, 0xF0]), Err(Reason::NumericInfinity));
}

#[test]
fn a_misfit_learns_from_the_whole_batch() {
    let kind = Kind::Numeric { shape_index: 0 };
    // 0, NULL, 1.5, 12345 and 0.000: the first fits the shape that nothing has widened yet.
    let values =
        [numeric(0, 0, &[]), None, numeric(0, 1, &[1, 5000]), numeric(1, 0, &[1, 2345]), numeric(0, 3, &[])];
    let mut shapes = Shapes::new(1);
    let error = lane(&kind, Repr::Heap, &shapes, &values).unwrap_err();
    let needs = Shape::numeric(5, 3);
    assert_eq!(error, ValueError { row: 2, reason: Reason::Misfit { shape_index: 0, needs } });
    shapes.merge(0, needs);
    let (found, _) = lane(&kind, Repr::Heap, &shapes, &values).unwrap();
    assert_eq!(found.values, Values::I32(vec![0, 1500, 12_345_000, 0]));
    assert_eq!(found.valid, [1, 0, 1, 1, 1]);
    // A display scale beyond the shape's is a misfit even when the digits are zeros.
    let error = lane(&kind, Repr::Heap, &shapes, &[numeric(0, 4, &[1])]).unwrap_err();
    assert_eq!(error.reason, Reason::Misfit { shape_index: 0, needs: Shape::numeric(1, 4) });
}

#[test]
fn numerics_too_wide_for_a_decimal_are_text() {
    let kind = Kind::Numeric { shape_index: 0 };
    let mut shapes = Shapes::new(1);
    shapes.merge(0, Shape::numeric(30, 20));
    let values = [numeric(0, 2, &[123, 4500]), None, numeric(-1, 4, &[7])];
    let (found, arena) = lane(&kind, Repr::Heap, &shapes, &values).unwrap();
    let Values::Bytes(cells) = found.values else { panic!("text") };
    assert_eq!(cells.iter().map(|cell| cell.of(&arena)).collect::<Vec<_>>(), [&b"123.45"[..], b"0.0007"]);
    let nan = lane(&kind, Repr::Heap, &shapes, &[values[0].clone(), Some(vec![0, 0xC0])]);
    assert_eq!(nan.unwrap_err(), ValueError { row: 1, reason: Reason::NumericNan });
}

proptest! {
    /// Every restart widens the shape until the batch fits it.
    #[test]
    fn restarts_end(
        values in proptest::collection::vec(
            proptest::option::of((-3i16..4, 0u16..20, proptest::collection::vec(0u16..10_000, 0..6))), 0..12),
    ) {
        let values: Vec<_> =
            values.iter().map(|value| value.as_ref().and_then(|(w, d, groups)| numeric(*w, *d, groups))).collect();
        let mut shapes = Shapes::new(1);
        let mut restarts = 0;
        while let Err(error) = lane(&Kind::Numeric { shape_index: 0 }, Repr::Heap, &shapes, &values) {
            let Reason::Misfit { shape_index, needs } = error.reason else { panic!("{error:?}") };
            prop_assert!(shapes.merge(shape_index, needs));
            restarts += 1;
        }
        prop_assert!(restarts <= 1, "one restart learns from all of the batch");
    }

    #[test]
    fn survives_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..24), wire: bool) {
        let repr = if wire { Repr::Wire } else { Repr::Heap };
        for kind in [
            Kind::Bool, Kind::Int2, Kind::Date, Kind::Timestamp, Kind::Uuid, Kind::Numeric { shape_index: 0 },
            Kind::Decimal { precision: 9, scale: 9 }, Kind::Decimal { precision: 38, scale: 0 },
        ] {
            let _ = one(&kind, repr, &bytes);
        }
    }
}
