use super::super::layout::{Code, put};
use super::*;

const OPS: [Op; 6] = [Op::Bool, Op::Int4, Op::Int8, Op::Decimal128, Op::Bytes, Op::Skip];
const ROWS: usize = 40;

/// 40 rows; row 33 is NULL, and every row of the last column.
fn region() -> Vec<u8> {
    let (mut columns, mut at) = lay_out(ROWS, &OPS);
    let mut region = vec![0; 1 << 16];
    for (column, op) in columns.iter_mut().zip(OPS) {
        column.nulls = if op == Op::Skip { ROWS as u32 } else { 1 };
        for row in (0..ROWS).filter(|&row| row != 33 && op != Op::Skip) {
            region[column.valid_at as usize + row / 8] |= 1 << (row % 8);
            let values = column.values_at as usize;
            match op.width() {
                Some(0) => region[values + row / 8] |= ((row % 3 == 0) as u8) << (row % 8),
                Some(width) => region[values + width * row] = row as u8,
                None => (),
            }
        }
        if op == Op::Bytes {
            // Row i has i bytes of value i, but the NULL row has none.
            column.bytes_at = at as u32;
            let mut end = 0;
            for row in 0..ROWS {
                let len = if row == 33 { 0 } else { row };
                region[at + end..at + end + len].fill(row as u8);
                end += len;
                assert!(put(&mut region, column.values_at as usize + 4 * (row + 1), End(end as u32)));
            }
            column.bytes = end as u32;
            at = align(at + end, ALIGN);
        }
    }
    for (number, column) in columns.iter().enumerate() {
        assert!(put(&mut region, size_of::<OutHeader>() + number * size_of::<OutColumn>(), *column));
    }
    let header = OutHeader { rows: ROWS as u32, columns: OPS.len() as u32, statuses: 2, bytes: at as u32 };
    assert!(put(&mut region, 0, header));
    for (number, row) in [9, 3].into_iter().enumerate() {
        let status = Status { row, column: 4, code: Code::Compressed as u32 };
        assert!(put(&mut region, statuses_at(OPS.len()) + number * size_of::<Status>(), status));
    }
    region.truncate(at);
    region
}

#[derive(Clone, Copy)]
#[repr(transparent)]
struct End(u32);
// SAFETY: one integer.
unsafe impl super::super::layout::Plain for End {}

fn lane(column: usize, physical: Physical, range: Range<usize>) -> Lane {
    let region = region();
    let mut lane = Lane { valid: vec![7; 3], values: Values::F32(vec![1.0]) };
    Output::new(&region, ROWS, &OPS, true).unwrap().lane(column, physical, range, &mut lane).unwrap();
    lane
}

#[test]
fn lanes_are_dense_and_their_validity_lazy() {
    assert_eq!(lane(1, Physical::I32, 10..13), Lane { valid: vec![], values: Values::I32(vec![10, 11, 12]) });
    let holed = Lane { valid: vec![1, 0, 1], values: Values::I64(vec![32, 34]) };
    assert_eq!(lane(2, Physical::I64, 32..35), holed);
    assert_eq!(lane(0, Physical::Bool, 32..35).values, Values::Bool(vec![false, false]));
    assert_eq!(lane(0, Physical::Bool, 8..10).values, Values::Bool(vec![false, true]));
    assert_eq!(lane(1, Physical::F32, 1..2).values, Values::F32(vec![f32::from_bits(1)]));
    assert_eq!(lane(2, Physical::F64, 2..3).values, Values::F64(vec![f64::from_bits(2)]));
    let Values::Fixed16(wide) = lane(3, Physical::Fixed16, 39..40).values else { panic!("16 bytes") };
    assert_eq!((wide.len(), wide[0][0]), (1, 39));
    for physical in [Physical::I32, Physical::Bytes, Physical::Bool] {
        let absent = lane(5, physical, 3..6);
        assert_eq!(absent, Lane { valid: vec![0; 3], values: Values::new(physical) });
    }
    assert_eq!(lane(1, Physical::I32, 40..40), Lane { valid: vec![], values: Values::I32(vec![]) });
}

#[test]
fn cells_lie_in_the_columns_bytes() {
    let region = region();
    let output = Output::new(&region, ROWS, &OPS, true).unwrap();
    let mut cells = Vec::new();
    let bytes = output.cells(4, 30..35, &mut cells).unwrap();
    let lengths: Vec<_> = cells.iter().map(|cell| cell.bytes(bytes).map(|bytes| bytes.len())).collect();
    assert_eq!(lengths, [Some(30), Some(31), Some(32), None, Some(34)]);
    assert!(cells[4].of(bytes).iter().all(|&byte| byte == 34));
    let mut lane = Lane::default();
    let bytes = output.lane(4, Physical::Bytes, 0..ROWS, &mut lane).unwrap();
    let Values::Bytes(cells) = lane.values else { panic!("cells") };
    assert_eq!((cells.len(), cells[33].of(bytes)[0]), (39, 34), "the NULL row has no cell");
}

#[test]
fn statuses_are_sorted_and_all_there() {
    let mut region = region();
    let output = Output::new(&region, ROWS, &OPS, true).unwrap();
    assert_eq!(output.statuses().unwrap().iter().map(|status| status.row).collect::<Vec<_>>(), [3, 9]);
    let mut header: OutHeader = get(&region, 0).unwrap();
    header.statuses = STATUSES as u32 + 1;
    assert!(put(&mut region, 0, header));
    let output = Output::new(&region, ROWS, &OPS, true).unwrap();
    assert_eq!((output.statuses(), output.statuses_total()), (None, STATUSES + 1));
}

#[test]
fn another_output_than_was_asked_for_is_refused() {
    let good = region();
    assert!(Output::new(&good, ROWS + 1, &OPS, true).is_err());
    assert!(Output::new(&good, ROWS, &OPS[1..], true).is_err());
    assert!(Output::new(&good[..good.len() - 1], ROWS, &OPS, true).is_err());
    assert!(Output::new(&[], 0, &[], true).is_err());
    let changes: [fn(&mut OutColumn); 5] = [
        |c| c.nulls = 41,
        |c| c.valid_at += 64,
        |c| c.values_at = 0,
        |c| c.bytes_at += 64,
        |c| c.bytes += 64,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        for column in 0..OPS.len() {
            let at = size_of::<OutHeader>() + column * size_of::<OutColumn>();
            let (mut region, mut bad): (_, OutColumn) = (good.clone(), get(&good, at).unwrap());
            change(&mut bad);
            assert!(put(&mut region, at, bad));
            assert!(Output::new(&region, ROWS, &OPS, true).is_err(), "change {number} of column {column}");
        }
    }
    // Offsets are read row by row.
    let (mut region, place) = (good.clone(), lay_out(ROWS, &OPS).0[4]);
    assert!(put(&mut region, place.values_at as usize + 4 * 8, End(u32::MAX)));
    let output = Output::new(&region, ROWS, &OPS, true).unwrap();
    assert!(output.cells(4, 0..7, &mut Vec::new()).is_ok());
    assert!(output.cells(4, 0..8, &mut Vec::new()).is_err());
    assert!(output.lane(1, Physical::I64, 0..1, &mut Lane::default()).is_err(), "another type");
    assert!(output.lane(1, Physical::I32, 0..41, &mut Lane::default()).is_err(), "more rows");
}

#[test]
fn without_columns_there_are_statuses() {
    let region = region();
    let output = Output::new(&region[..columns_start(OPS.len())], ROWS, &OPS, false).unwrap();
    assert_eq!(output.statuses().unwrap().len(), 2);
    assert_eq!(output.columns()[1].nulls, 1);
    assert!(output.lane(1, Physical::I32, 0..1, &mut Lane::default()).is_err());
}
