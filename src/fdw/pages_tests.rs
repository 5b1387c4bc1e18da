//! Page indexes of files that parquet's own writer makes, whole and damaged.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::page_index::PageIndexBuilder;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaDataReader, ParquetMetaDataWriter};
use parquet::file::page_index::offset_index::PageLocation;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::TrackedWrite;

use super::super::error::Problem;
use super::super::read::Scanner;
use super::*;
use crate::encode::footer::{CREATED_BY, MAGIC, write_footer};
use crate::encode::{Codec, FileSchema, Options, RowGroupMeta, RowGroupWriter};
use crate::types::{Kind, Lane, Shapes, Values};

const ROWS: u64 = 1000;
const PAGE: u64 = 100;

struct Written(PathBuf);

impl Written {
    /// Two row groups of `ROWS` rows: ascending numbers with NULL in the third page, and texts of a dictionary
    /// in pages of another size.
    fn new(name: &str) -> Written {
        let path = std::env::temp_dir().join(format!("pg_strata_pages_{name}_{}", std::process::id()));
        let numbers = (0..2 * ROWS as i32).map(|row| (row as u64 % ROWS / PAGE != 2).then_some(row));
        let texts = (0..2 * ROWS).map(|row| format!("text {}", row % 7));
        let schema = Schema::new(vec![
            Field::new("n", DataType::Int32, true),
            Field::new("t", DataType::Utf8, false),
            Field::new("z", DataType::Int64, false),
        ]);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from_iter(numbers)),
            Arc::new(StringArray::from_iter_values(texts)),
            Arc::new(Int64Array::from_iter_values((0..2 * ROWS as i64).map(|row| row * 1_000_003))),
        ];
        let batch = RecordBatch::try_new(Arc::new(schema), columns).unwrap();
        let properties = WriterProperties::builder()
            .set_max_row_group_row_count(Some(ROWS as usize))
            .set_data_page_row_count_limit(PAGE as usize)
            .set_write_batch_size(PAGE as usize)
            .set_dictionary_enabled(false)
            .set_column_dictionary_enabled("t".into(), true)
            .build();
        let mut writer =
            ArrowWriter::try_new(fs::File::create(&path).unwrap(), batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        Written(path)
    }

    fn open(&self) -> (Source, Arc<FileMeta>) {
        let source = Source::open(self.0.to_str().unwrap()).unwrap();
        let meta = FileMeta::read(&source).unwrap();
        (source, Arc::new(meta))
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn selected(ranges: &[(u64, u64)]) -> Selected {
    let mut selected = Selected::default();
    ranges.iter().for_each(|&(start, end)| selected.push(start..end));
    selected
}

#[test]
fn rows_that_are_selected() {
    let some = selected(&[(0, 2), (2, 3), (7, 9)]);
    assert_eq!(some, Selected(vec![0..3, 7..9]));
    assert_eq!(some.count(), 5);
    assert_eq!((0..6).map(|before| some.nth(before)).collect::<Vec<u64>>(), [0, 1, 2, 7, 8, 9]);
    assert_eq!((Selected::default().count(), Selected::default().nth(3)), (0, 0));
}

#[test]
fn pages_and_their_bounds() {
    let written = Written::new("bounds");
    let (source, meta) = written.open();
    let pages = meta.pages(&source, 1, 0).unwrap();
    assert_eq!(pages.starts(), (0..=10).map(|page| page * PAGE).collect::<Vec<u64>>());
    assert_eq!(
        (pages.at(0), pages.at(99), pages.at(100), pages.at(999)),
        ((0, 100), (0, 100), (1, 100), (9, 100))
    );
    let (mins, maxes) = (&pages.bounds.mins, &pages.bounds.maxes);
    let (mins, maxes) = (mins.as_primitive::<Int32Type>(), maxes.as_primitive::<Int32Type>());
    for page in 0..10 {
        let first = (ROWS + PAGE * page as u64) as i32;
        assert_eq!(pages.bounds.nulls[page], Some(if page == 2 { PAGE } else { 0 }));
        match page {
            2 => assert!(mins.is_null(page) && maxes.is_null(page)),
            _ => assert_eq!((mins.value(page), maxes.value(page)), (first, first + 99)),
        }
    }
    assert!(meta.pages(&source, 2, 0).is_none() && meta.pages(&source, 0, 3).is_none());
}

/// Reads rows of a group: their numbers by the batches, and by the values of `z`.
fn read(scanner: &mut Scanner, group: usize, rows: Option<Selected>, z: usize) -> Vec<u64> {
    scanner.open_group(group, rows).unwrap();
    let mut found = Vec::new();
    while let Some(rows) = scanner.next_batch().unwrap() {
        let batch = rows.batch.as_ref().unwrap();
        let values = batch.column(z).as_primitive::<arrow::datatypes::Int64Type>();
        for row in 0..rows.count {
            assert_eq!(values.value(row) as u64 / 1_000_003, group as u64 * ROWS + rows.before(row));
            found.push(rows.before(row));
        }
    }
    found
}

#[test]
fn selected_rows_are_read() {
    let written = Written::new("rows");
    for columns in [vec![2], vec![0, 2], vec![0, 1, 2]] {
        let z = columns.len() - 1;
        let (source, meta) = written.open();
        let mut scanner = Scanner::new(source, meta, columns, 64).unwrap();
        for ranges in [
            &[(0, 1000)][..],
            &[(0, 100)],
            &[(100, 300), (950, 1000)],
            &[(5, 6), (500, 501), (999, 1000)],
            &[(250, 750)],
        ] {
            for group in [1, 0, 1] {
                let wanted: Vec<u64> = ranges.iter().flat_map(|&(start, end)| start..end).collect();
                assert_eq!(read(&mut scanner, group, Some(selected(ranges)), z), wanted);
            }
        }
        let before = scanner.bytes_read();
        read(&mut scanner, 0, None, z);
        let all = scanner.bytes_read() - before;
        read(&mut scanner, 0, Some(selected(&[(300, 400)])), z);
        let some = scanner.bytes_read() - before - all;
        assert!(some < all / 2, "{some} of {all}");
    }
}

/// Returns the numbers of the rows that are read, checked as `read` does, whatever the index states.
fn read_sorted(written: &Written, rows: Selected) -> Vec<u64> {
    let (source, meta) = written.open();
    let mut found = read(&mut Scanner::new(source, meta, vec![0, 2], 64).unwrap(), 0, Some(rows), 1);
    found.sort_unstable();
    found
}

/// Writes the file again with other page locations of `z` in the first row group.
fn relocate(written: &Written, change: impl Fn(&mut [PageLocation])) {
    let whole = fs::read(&written.0).unwrap();
    let mut metadata = ParquetMetaDataReader::new()
        .with_page_index_policy(PageIndexPolicy::Required)
        .parse_and_finish(&bytes::Bytes::from(whole.clone()))
        .unwrap();
    let last = metadata.row_group(1).column(2).byte_range();
    let mut indexes = PageIndexBuilder::new(2, 3);
    for (group, leaf) in (0..2).flat_map(|group| (0..3).map(move |leaf| (group, leaf))) {
        let found = metadata.page_index_for_row_group(group);
        indexes.put_column_index(found.column_index(leaf).unwrap().clone(), group, leaf);
        let mut offsets = found.offset_index(leaf).unwrap().clone();
        if (group, leaf) == (0, 2) {
            change(&mut offsets.page_locations);
        }
        indexes.put_offset_index(offsets, group, leaf);
    }
    metadata = metadata.into_builder().set_page_index(Some(Arc::new(indexes.build()))).build();
    let mut out = Vec::new();
    let mut tracked = TrackedWrite::new(&mut out);
    tracked.write_all(&whole[..(last.0 + last.1) as usize]).unwrap();
    ParquetMetaDataWriter::new_with_tracked(tracked, &metadata).finish().unwrap();
    fs::write(&written.0, out).unwrap();
}

#[test]
fn an_index_that_leads_wrong() {
    let all: Vec<u64> = (0..ROWS).collect();
    type Change = fn(&mut [PageLocation]);
    let changes: [(Change, bool); 5] = [
        (|_| {}, true),
        // Sizes without headers, and an invalid offset.
        (|pages| pages.iter_mut().for_each(|page| page.compressed_page_size -= 20), false),
        (|pages| pages[3].offset = -1, false),
        // Pages of other rows, which shows when they are read; and an offset at which no page begins.
        (|pages| pages[4].first_row_index += 50, true),
        (
            |pages| {
                pages[4].offset += 8;
                pages[3].compressed_page_size += 8;
                pages[4].compressed_page_size -= 8;
            },
            true,
        ),
    ];
    for (number, (change, is_sound)) in changes.into_iter().enumerate() {
        let written = Written::new(&format!("relocated{number}"));
        relocate(&written, change);
        let (source, meta) = written.open();
        assert_eq!(meta.pages(&source, 0, 2).is_some(), is_sound, "{number}");
        let some = [(20, 30), (310, 330), (480, 490)];
        let found = read_sorted(&written, selected(&some));
        match number {
            0 => assert_eq!(found, some.iter().flat_map(|&(start, end)| start..end).collect::<Vec<u64>>()),
            _ => assert_eq!(found, all, "{number}"),
        }
    }
}

/// A page index that calls pages of a REQUIRED column all NULL, as an old writer's does.
#[test]
fn null_pages_of_a_required_column() {
    let written = Written::new("required");
    let whole = fs::read(&written.0).unwrap();
    let (source, meta) = written.open();
    let pages = meta.pages(&source, 0, 2).unwrap();
    assert_eq!(pages.bounds.nulls, [Some(0); 10]);
    let Format::Parquet(metadata) = &meta.format else { panic!("not Parquet") };
    let range = metadata.metadata().row_group(0).column(2).column_index_range().unwrap();
    // A list of ten booleans (thrift-compact-protocol.md) is the index's first field.
    let at = range.start as usize;
    assert_eq!((whole[at], whole[at + 1] >> 4), (0x19, 10));
    let mut contradicts = whole;
    contradicts[at + 2..at + 12].fill(1);
    fs::write(&written.0, contradicts).unwrap();
    let (source, meta) = written.open();
    assert!(meta.pages(&source, 0, 2).is_none());
    assert_eq!(meta.bounds(2).unwrap().nulls, [Some(0); 2]);
}

#[test]
fn rows_that_were_not_read() {
    let some = selected(&[(2, 4), (6, 9)]);
    for (count, wanted) in [
        (0, vec![(0, 10)]),
        (1, vec![(0, 2), (3, 10)]),
        (2, vec![(0, 2), (4, 10)]),
        (3, vec![(0, 2), (4, 6), (7, 10)]),
        (5, vec![(0, 2), (4, 6), (9, 10)]),
    ] {
        assert_eq!(some.without_first(count, 10), selected(&wanted), "{count}");
    }
    assert_eq!(selected(&[(0, 10)]).without_first(10, 10), Selected::default());
}

/// A damaged bit of a page that has a checksum: the error says where.
#[test]
fn damaged_pages() {
    let fields = [
        crate::types::Field { name: "a".into(), pg_type: "int8".into(), nullable: false, kind: Kind::Int8 },
        crate::types::Field { name: "b".into(), pg_type: "int8".into(), nullable: false, kind: Kind::Int8 },
    ];
    let schema = FileSchema::new(&fields, &Shapes::default()).unwrap();
    let options = Options { codec: Codec::None, ..Options::default() };
    let mut writer = RowGroupWriter::new(&schema, &fields, &Shapes::default(), &options).unwrap();
    let lane = Lane { valid: Vec::new(), values: Values::I64((0..50_000).map(|i| i * i).collect()) };
    (0..2).for_each(|column| writer.append(column, &lane, &[]).unwrap());
    let encoded = writer.finish().unwrap();
    let meta = RowGroupMeta::decode(&encoded.metadata_at(4).unwrap()).unwrap();
    let mut file = MAGIC.to_vec();
    encoded.buffers().for_each(|buffer| file.extend_from_slice(buffer));
    let end = file.len();
    let mut footer = Vec::new();
    write_footer(&mut footer, end as u64, &schema, &[meta][..], Vec::new(), CREATED_BY).unwrap();
    file.extend(footer);
    file[end - 100] ^= 4;
    let written = Written(std::env::temp_dir().join(format!("pg_strata_pages_crc_{}", std::process::id())));
    fs::write(&written.0, file).unwrap();
    for (rows, fails) in [(None, true), (Some((49_000, 49_010)), true), (Some((10, 20)), false)] {
        let (source, meta) = written.open();
        let mut scanner = Scanner::new(source, meta, vec![0, 1], 64).unwrap();
        scanner.open_group(0, rows.map(|rows| selected(&[rows]))).unwrap();
        let error = loop {
            match scanner.next_batch() {
                Ok(Some(_)) => {}
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        assert_eq!(error.is_some(), fails, "{rows:?}");
        if let Some(error) = error {
            let Problem::Damaged(why) = error.problem else { panic!("{error:?}") };
            assert!(why.starts_with("In row group or record batch 0, column \"b\": "), "{why}");
            assert!(why.contains("checksum"), "{why}");
        }
    }
}

/// Whatever the index's bytes are, there is no panic, and no page is outside the group.
#[test]
fn damage() {
    let written = Written::new("damage");
    let whole = fs::read(&written.0).unwrap();
    let (_, meta) = written.open();
    let Format::Parquet(metadata) = &meta.format else { panic!("not Parquet") };
    let chunk = metadata.metadata().row_group(0).column(0).clone();
    let (columns, offsets) = (chunk.column_index_range().unwrap(), chunk.offset_index_range().unwrap());
    for at in columns.chain(offsets) {
        for byte in [0, 1, 0x19, 0x7f, 0x9c, 0xff] {
            let mut damaged = whole.clone();
            damaged[at as usize] = byte;
            fs::write(&written.0, damaged).unwrap();
            let (source, meta) = written.open();
            if let Some(pages) = meta.pages(&source, 0, 0) {
                assert_eq!((pages.starts()[0], pages.starts().last()), (0, Some(&ROWS)));
                assert_eq!(pages.bounds.nulls.len() + 1, pages.starts().len());
            }
            let mut scanner = Scanner::new(source, meta, vec![0], 64).unwrap();
            if scanner.open_group(0, Some(selected(&[(300, 400)]))).is_ok() {
                while let Ok(Some(_)) = scanner.next_batch() {}
            }
        }
    }
}
