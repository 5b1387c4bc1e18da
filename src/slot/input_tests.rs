use super::super::fill::{AttrSpec, InputWriter};
use super::super::layout::{Code, lay_out, put};
use super::*;
use proptest::prelude::*;

fn heap_attr(op: Op, len: i16, align: u8, column: u32) -> AttrSpec {
    let attr = Attr { len, align, op: op as u8, precision: 9, scale: 2, column, ..Attr::default() };
    AttrSpec { attr, missing: None }
}

fn field(op: Op, column: u32) -> AttrSpec {
    AttrSpec { attr: Attr { op: op as u8, precision: 9, column, ..Attr::default() }, missing: None }
}

/// A page whose line pointers 1 to `tuples` lead to 32 bytes each, from the end downwards.
fn page(tuples: u16) -> [u8; BLOCK] {
    let mut page = [0; BLOCK];
    for offset in 1..=usize::from(tuples) {
        let word = 32 << 17 | 1 << 15 | (BLOCK - 32 * offset) as u32;
        page[20 + 4 * offset..24 + 4 * offset].copy_from_slice(&word.to_le_bytes());
    }
    page
}

fn region(kib: usize) -> Vec<u8> {
    vec![0xEE; kib << 10]
}

#[test]
fn pages_come_back() {
    let mut memory = region(64);
    let mut attrs = vec![heap_attr(Op::Int4, 4, 4, 1), heap_attr(Op::Bytes, -1, 4, 0)];
    attrs.insert(1, AttrSpec { attr: Attr { column: NO_COLUMN, ..attrs[0].attr }, missing: None });
    attrs[1].attr.op = Op::Skip as u8;
    attrs[2].missing = Some(b"old".to_vec());
    let mut writer = InputWriter::new(&mut memory, HEAP, &attrs, 3, 1 << 20, 1).unwrap();
    for (block, lines) in [(7, &[1, 3][..]), (8, &[]), (4_000_000_000, &[2])] {
        *writer.page().unwrap() = page(3);
        assert!(writer.commit_page(block, lines));
    }
    assert_eq!((writer.rows_len(), writer.bytes()), (3, 3 * BLOCK));
    let header = writer.finish();
    let input = Input::new(&memory).unwrap();
    assert_eq!((input.header(), input.header().flags), (&header, 1));
    assert_eq!(input.ops(), [Op::Bytes, Op::Int4, Op::Skip]);
    assert_eq!(input.missing(&input.attrs()[2]), Some(&b"old"[..]));
    assert_eq!(input.missing(&input.attrs()[0]), None);
    let tids = [(7, 1), (7, 3), (4_000_000_000, 2)].map(|(block, offset)| Tid { block, offset });
    assert_eq!([0, 1, 2].map(|row| input.tid(row)), tids.map(Some));
    assert_eq!(input.tid(3), None);
    let mut batch = Batch::new(3);
    (0..3).for_each(|page| input.append_page(page, &mut batch).unwrap());
    assert_eq!(batch.tids, tids);
    let positions: Vec<usize> = batch.tuples.iter().map(|tuple| tuple.pos as usize).collect();
    assert_eq!(positions, [BLOCK - 32, BLOCK - 96, 3 * BLOCK - 64]);
    assert_eq!(batch.arena.len(), 3 * BLOCK);
    assert!(input.used() <= memory.len());
}

#[test]
fn a_line_pointer_to_nothing_is_named() {
    let mut memory = region(32);
    let mut writer =
        InputWriter::new(&mut memory, HEAP, &[heap_attr(Op::Bool, 1, 1, 0)], 1, 1 << 20, 0).unwrap();
    *writer.page().unwrap() = page(1);
    assert!(writer.commit_page(9, &[1, 2]));
    writer.finish();
    let input = Input::new(&memory).unwrap();
    assert_eq!(input.append_page(0, &mut Batch::new(1)), Err(Tid { block: 9, offset: 2 }));
}

#[test]
fn rows_come_back_and_stop_where_the_region_ends() {
    let mut memory = region(8);
    let attrs = [field(Op::Bytes, 0), field(Op::Int4, 1)];
    let mut writer = InputWriter::new(&mut memory, COPY_BINARY, &attrs, 2, 1 << 20, 0).unwrap();
    let stream: Vec<u8> = (0..=255).cycle().take(5000).collect();
    assert_eq!(writer.append(&stream, &[10, 25, 25, 40]), 3);
    assert_eq!(writer.append(&stream, &[40]), 0);
    assert_eq!(writer.append(&stream, &[]), 0);
    // 4096 bytes are left, of which rows of 100 take 104 each with their offsets, and 192 are aligned away.
    let offsets: Vec<u32> = (0..50).map(|row| 40 + 99 * row).collect();
    let taken = writer.append(&stream, &offsets);
    assert!((37..40).contains(&taken), "{taken}");
    assert_eq!(writer.append(&stream, &offsets[taken..]), 0, "full");
    let header = writer.finish();
    let input = Input::new(&memory).unwrap();
    assert_eq!(input.rows(), 3 + taken);
    assert_eq!(input.offsets()[..4], [0, 15, 15, 30]);
    assert_eq!(input.data(), &stream[10..40 + 99 * taken]);
    assert_eq!(header.data_bytes as usize, input.data().len());
}

#[test]
fn programs_that_no_region_has_room_for() {
    let attrs = [heap_attr(Op::Int4, 4, 4, 0)];
    let room = |kib, output| InputWriter::new(&mut region(kib), HEAP, &attrs, 1, output, 0).is_some();
    assert!(room(16, 1 << 20));
    assert!(!room(12, 1 << 20), "no page");
    assert!(!room(16, 4096), "no output");
    let mut wide = attrs[0].clone();
    wide.missing = Some(vec![0; 1 << 20]);
    assert!(InputWriter::new(&mut region(64), HEAP, &[wide], 1, 1 << 20, 0).is_none());
    assert!(InputWriter::new(&mut [0; 10], HEAP, &attrs, 1, 1 << 20, 0).is_none());
    let twice = [attrs[0].clone(), attrs[0].clone()];
    assert!(InputWriter::new(&mut region(64), HEAP, &twice, 1, 1 << 20, 0).is_none(), "one column");
}

#[test]
fn what_is_out_of_order_is_refused() {
    let mut memory = region(64);
    let attrs = [heap_attr(Op::Decimal32, -1, 4, 0)];
    let mut writer = InputWriter::new(&mut memory, HEAP, &attrs, 1, 1 << 20, 0).unwrap();
    for _ in 0..2 {
        *writer.page().unwrap() = page(2);
        assert!(writer.commit_page(1, &[1, 2]));
    }
    let good = writer.finish();
    let attr: Attr = get(&memory, good.attrs_at as usize).unwrap();
    assert!(Input::new(&memory).is_ok());
    let headers: [fn(&mut Header); 13] = [
        |h| h.kind = 2,
        |h| h.rows = 3,
        |h| h.rows = u32::MAX,
        |h| h.columns = 0,
        |h| h.columns = 1 << 30,
        |h| h.attrs = u32::MAX,
        |h| h.pages = 1,
        |h| h.pages = u32::MAX,
        |h| h.attrs_at = u32::MAX,
        |h| h.data_at += 64,
        |h| h.data_bytes = u32::MAX,
        |h| h.index_at = 1 << 20,
        |h| h.page_rows_at = h.blocks_at,
    ];
    for (number, change) in headers.into_iter().enumerate() {
        let (mut bad, mut memory) = (good, memory.clone());
        change(&mut bad);
        assert!(put(&mut memory, 0, bad));
        assert!(Input::new(&memory).is_err(), "header {number}");
    }
    let changes: [fn(&mut Attr); 9] = [
        |a| a.len = 4,
        |a| a.align = 3,
        |a| a.op = 15,
        |a| a.op = Op::Skip as u8,
        |a| a.precision = 10,
        |a| a.scale = 10,
        |a| a.column = 1,
        |a| a.missing_len = 1,
        |a| a.strip = 1,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let (mut bad, mut memory) = (attr, memory.clone());
        change(&mut bad);
        assert!(put(&mut memory, good.attrs_at as usize, bad));
        assert!(Input::new(&memory).is_err(), "attribute {number}");
    }
}

#[test]
fn kernels_have_the_same_numbers() {
    let header = include_str!("../../kernels/slot.cuh");
    let list = |name: &str| {
        let start = header.find(name).expect("the enumeration");
        let text = &header[start..][header[start..].find('{').unwrap() + 1..];
        text[..text.find('}').unwrap()].split(',').map(|word| word.trim().to_string()).collect::<Vec<_>>()
    };
    let ops = list("enum Op");
    for (number, name) in ops.iter().enumerate() {
        let op = format!("{:?}", Op::try_from(number as u8).unwrap());
        assert_eq!(op.to_uppercase(), name.replace('_', ""));
    }
    assert!(Op::try_from(ops.len() as u8).is_err());
    let codes = list("enum Code");
    assert_eq!(codes.len(), 1 + Code::Server as usize);
    assert_eq!((codes[1].as_str(), codes[Code::Misfit as usize].as_str()), ("MALFORMED", "MISFIT"));
}

proptest! {
    /// However full, the input lies in its region, and what decode may make of it in the output region.
    #[test]
    fn what_fits_fits(
        ops in prop::collection::vec(0u8..=11, 1..6),
        output in 13_000usize..60_000,
        kib in 5usize..64,
        length in 0usize..200,
    ) {
        let ops: Vec<Op> = ops.iter().map(|&op| Op::try_from(op.max(1)).unwrap()).collect();
        let attrs: Vec<AttrSpec> = ops.iter().enumerate().map(|(i, &op)| field(op, i as u32)).collect();
        let mut memory = region(kib);
        let Some(mut writer) = InputWriter::new(&mut memory, COPY_BINARY, &attrs, ops.len(), output, 0) else {
            return Ok(());
        };
        let stream = vec![1; 1 << 16];
        let offsets: Vec<u32> = (0..200).map(|row| (row * length) as u32).collect();
        while writer.append(&stream, &offsets) > 0 && writer.rows_len() < 2000 {}
        let header = writer.finish();
        let input = Input::new(&memory).unwrap();
        let varlena = ops.iter().filter(|op| op.width().is_none()).count();
        let (_, end) = lay_out(input.rows(), &ops);
        let bytes = if varlena > 0 { header.data_bytes as usize + varlena * ALIGN } else { 0 };
        prop_assert!(end + bytes <= output);
    }

    /// Whatever the region holds, reading it neither panics nor leaves it.
    #[test]
    fn survives_any_region(
        heap: bool,
        changes in prop::collection::vec((0usize..200, any::<u8>()), 0..6),
        tail in prop::collection::vec((0usize..512, any::<u8>()), 0..3),
    ) {
        let mut memory = region(32);
        let attrs = [heap_attr(Op::Int4, 4, 4, 0), heap_attr(Op::Bytes, -1, 4, 1)];
        let kind = if heap { HEAP } else { COPY_BINARY };
        let mut writer = InputWriter::new(&mut memory, kind, &attrs, 2, 1 << 20, 0).unwrap();
        let at = if heap {
            *writer.page().unwrap() = page(9);
            prop_assert!(writer.commit_page(1, &[1, 2, 9]));
            writer.finish().index_at as usize
        } else {
            prop_assert_eq!(writer.append(&[7; 100], &[0, 50, 100]), 2);
            writer.finish().index_at as usize
        };
        changes.iter().for_each(|&(place, byte)| memory[place] = byte);
        tail.iter().for_each(|&(place, byte)| memory[at + place] = byte);
        if let Ok(input) = Input::new(&memory) {
            prop_assert!(input.used() <= memory.len());
            let mut batch = Batch::new(2);
            (0..input.pages() + 1).for_each(|page| { let _ = input.append_page(page, &mut batch); });
            (0..input.rows().min(99) + 1).for_each(|row| { let _ = input.tid(row); });
            input.attrs().iter().for_each(|attr| { let _ = input.missing(attr); });
            if !input.is_heap() {
                prop_assert!(input.offsets().iter().all(|&end| end as usize <= input.data().len()));
            }
        }
    }
}
