//! Pages that parquet's own writer makes, whole and with other counts.

use std::fs;
use std::io::Write;
use std::ops::Range;
use std::path::PathBuf;

use arrow::array::*;
use arrow::datatypes::{Field, Int32Type, Schema};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::column::page::{CompressedPage, PageWriter};
use parquet::file::metadata::{ParquetMetaDataReader, ParquetMetaDataWriter};
use parquet::file::properties::{WriterProperties, WriterVersion};
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};

use super::super::error::Problem;
use super::super::meta::FileMeta;
use super::super::pages::Selected;
use super::super::read::Scanner;
use super::super::source::Source;
use super::*;
use crate::encode::bits::put_varint;
use crate::encode::footer::MAGIC;

const ROWS: usize = 300;

struct Written(PathBuf);

impl Written {
    fn new(bytes: &[u8]) -> Written {
        static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("pg_strata_checked_{number}_{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, bytes).unwrap();
        Written(path)
    }

    fn scanner(&self, batch_rows: usize) -> super::super::Result<Scanner> {
        let source = Source::open(self.0.to_str().unwrap())?;
        let meta = Arc::new(FileMeta::read(&source)?);
        Scanner::new(source, meta, vec![0], batch_rows)
    }

    /// Returns all values, in the type that the file declares, or the first problem.
    fn read(&self) -> super::super::Result<ArrayRef> {
        let mut scanner = self.scanner(64)?;
        scanner.open_group(0, None)?;
        let mut found = Vec::new();
        while let Some(rows) = scanner.next_batch()? {
            found.push(rows.batch.unwrap().column(0).clone());
        }
        let found: Vec<&dyn Array> = found.iter().map(|array| array.as_ref()).collect();
        let found = arrow::compute::concat(&found).unwrap();
        let declared = scanner.meta().schema().field(0).data_type().clone();
        Ok(arrow::compute::cast(&found, &declared).unwrap())
    }

    /// Returns what is wrong with the file.
    fn damage(&self) -> String {
        match self.read().map_err(|error| error.problem) {
            Err(Problem::Damaged(why)) => why,
            other => panic!("{other:?}"),
        }
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn written(values: &ArrayRef, properties: WriterProperties) -> Vec<u8> {
    let nullable = values.null_count() > 0;
    let schema = Arc::new(Schema::new(vec![Field::new("c", values.data_type().clone(), nullable)]));
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, schema.clone(), Some(properties)).unwrap();
    writer.write(&RecordBatch::try_new(schema, vec![values.clone()]).unwrap()).unwrap();
    writer.close().unwrap();
    bytes
}

fn delta(encoding: Encoding, version: WriterVersion) -> WriterProperties {
    let properties = WriterProperties::builder().set_dictionary_enabled(false).set_encoding(encoding);
    properties.set_writer_version(version).set_compression(Compression::UNCOMPRESSED).build()
}

/// Writes a file of one column and one row group again, with the pages that `change` returns.
fn rewritten(bytes: &[u8], change: impl Fn(&mut Page)) -> Written {
    let bytes = Bytes::copy_from_slice(bytes);
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&bytes).unwrap();
    let (row_group, chunk) = (metadata.row_group(0), metadata.row_group(0).column(0));
    let pages = SerializedPageReader::new(Arc::new(bytes.clone()), chunk, ROWS, None).unwrap();
    let mut out = Vec::new();
    let mut tracked = TrackedWrite::new(&mut out);
    tracked.write_all(MAGIC).unwrap();
    for page in pages {
        let mut page = page.unwrap();
        change(&mut page);
        let length = page.buffer().len();
        SerializedPageWriter::new(&mut tracked).write_page(CompressedPage::new(page, length)).unwrap();
    }
    let length = tracked.bytes_written() - MAGIC.len();
    let chunk = chunk.clone().into_builder().set_total_compressed_size(length as i64);
    let chunk = chunk.set_data_page_offset(MAGIC.len() as i64);
    let chunk = chunk.set_offset_index_offset(None).set_column_index_offset(None).build().unwrap();
    let row_group = row_group.clone().into_builder().set_column_metadata(vec![chunk]).build().unwrap();
    let metadata = metadata.into_builder().set_row_groups(vec![row_group]).build();
    ParquetMetaDataWriter::new_with_tracked(tracked, &metadata).finish().unwrap();
    Written::new(&out)
}

/// Replaces the count of the numbers in DELTA_BINARY_PACKED that come first in the page, or of those after
/// them.
fn claim(page: &mut Page, which: usize, counts: [u64; 2]) {
    // The writer makes blocks of 128 numbers in four parts.
    let [before, after] = counts.map(|count| {
        let mut header = vec![0x80, 0x01, 0x04];
        put_varint(&mut header, count);
        header
    });
    let (Page::DataPage { buf, .. } | Page::DataPageV2 { buf, .. }) = page else { panic!("{page:?}") };
    let places = buf.windows(before.len()).enumerate().filter(|(_, found)| *found == before);
    let at = places.map(|(at, _)| at).nth(which).unwrap();
    *buf = [&buf[..at], &after, &buf[at + before.len()..]].concat().into();
}

/// Columns, with the number of values of a page, NULL and not NULL, and the number of lengths.
fn columns() -> Vec<(ArrayRef, u64, u64, &'static [Encoding])> {
    const BOTH: &[Encoding] = &[Encoding::DELTA_LENGTH_BYTE_ARRAY, Encoding::DELTA_BYTE_ARRAY];
    let text = |row: usize| format!("text {} {}", row / 50, "x".repeat(row % 40));
    let texts = StringArray::from_iter_values((0..ROWS).map(text));
    let nulls = StringArray::from_iter((0..ROWS).map(|row| (!row.is_multiple_of(3)).then(|| text(row))));
    let mut lists = ListBuilder::new(StringBuilder::new());
    let items = |row: usize| if row.is_multiple_of(7) { 0 } else { row % 3 };
    for row in 0..ROWS {
        (0..items(row)).for_each(|item| lists.values().append_option((item > 0).then(|| text(row))));
        lists.append(!row.is_multiple_of(7));
    }
    let levels = (0..ROWS).map(|row| items(row).max(1) as u64).sum();
    let lengths = (0..ROWS).map(|row| items(row).saturating_sub(1) as u64).sum();
    let fixed = FixedSizeBinaryArray::try_from_iter((0..ROWS).map(|row| text(row)[..6].to_owned())).unwrap();
    vec![
        (Arc::new(texts), 300, 300, BOTH),
        (Arc::new(nulls), 300, 200, BOTH),
        (Arc::new(lists.finish()), levels, lengths, BOTH),
        (Arc::new(fixed), 300, 300, &BOTH[1..]),
    ]
}

#[test]
fn lengths_that_are_claimed() {
    for (values, levels, lengths, encodings) in columns() {
        for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
            for &encoding in encodings {
                let bytes = written(&values, delta(encoding, version));
                let same = rewritten(&bytes, |page| claim(page, 0, [lengths; 2]));
                assert_eq!(&same.read().unwrap(), &values, "{version:?} {encoding}");
                let sequences = if encoding == Encoding::DELTA_BYTE_ARRAY { 2 } else { 1 };
                for which in 0..sequences {
                    for count in [levels + 1, 1 << 31, 1 << 40, 1 << 62, u64::MAX] {
                        let file = rewritten(&bytes, |page| claim(page, which, [lengths, count]));
                        let why = file.damage();
                        assert!(
                            why.contains("more lengths"),
                            "{version:?} {encoding} {which} {count}: {why}"
                        );
                        assert!(why.contains("column \"c\""), "{why}");
                    }
                }
            }
        }
    }
}

/// Lengths of many blocks, with widths from none to all bits, are followed to their end.
#[test]
fn lengths_of_all_widths() {
    for rows in [0, 1, 2, 32, 33, 128, 129, 130, 1000, 5000] {
        let text = |row: usize| "abc".repeat(if row % 700 < 300 { 1 } else { row * row % 1009 });
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(text)));
        let bytes = written(&texts, delta(Encoding::DELTA_BYTE_ARRAY, WriterVersion::PARQUET_2_0));
        match rows {
            0 => assert_eq!(Written::new(&bytes).scanner(64).unwrap().meta().groups(), 0),
            _ => assert_eq!(&Written::new(&bytes).read().unwrap(), &texts, "{rows}"),
        }
    }
}

#[test]
fn lengths_that_end_too_early() {
    let values: ArrayRef = Arc::new(StringArray::from_iter_values((0..ROWS).map(|row| row.to_string())));
    for encoding in [Encoding::DELTA_LENGTH_BYTE_ARRAY, Encoding::DELTA_BYTE_ARRAY] {
        let bytes = written(&values, delta(encoding, WriterVersion::PARQUET_2_0));
        for left in [0, 1, 3, 4, 5, 8, 12, 40] {
            let cut = rewritten(&bytes, |page| {
                let Page::DataPageV2 { buf, .. } = page else { panic!("{page:?}") };
                *buf = buf.slice(..left);
            });
            cut.damage();
        }
        // Invalid sizes of blocks and of their parts.
        for header in [[0x80, 0x01, 0x00], [0x80, 0x00, 0x04], [0xff, 0xff, 0x7f]] {
            let other = rewritten(&bytes, |page| {
                let Page::DataPageV2 { buf, .. } = page else { panic!("{page:?}") };
                *buf = [&header, &buf[3..]].concat().into();
            });
            other.damage();
        }
    }
}

/// The page has no compression that would show that it is shorter than it claims.
#[test]
fn a_dictionary_that_claims_too_much() {
    let keys = Int32Array::from_iter_values((0..ROWS as i32).map(|row| row % 7));
    let properties = WriterProperties::builder().set_compression(Compression::UNCOMPRESSED).build();
    let bytes = written(&(Arc::new(keys.clone()) as ArrayRef), properties);
    let claimed = |count| {
        rewritten(&bytes, move |page| {
            if let Page::DictionaryPage { num_values, .. } = page {
                *num_values = count;
            }
        })
    };
    assert_eq!(claimed(7).read().unwrap().as_primitive::<Int32Type>(), &keys);
    assert!(claimed(i32::MAX as u32).damage().contains("a dictionary claims more values"));
}

/// Values so wide that not even one batch fits into any memory.
#[test]
fn widths_that_are_claimed() {
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;
    let schema = "message m { optional fixed_len_byte_array(2147483647) c; }";
    let mut bytes = Vec::new();
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let levels = vec![0; 1 << 20];
    column
        .typed::<parquet::data_type::FixedLenByteArrayType>()
        .write_batch(&[], Some(&levels), None)
        .unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    let mut scanner = Written::new(&bytes).scanner(1 << 20).unwrap();
    let error = scanner.open_group(0, None).unwrap_err();
    assert!(matches!(&error.problem, Problem::Damaged(why) if why.contains("memory")), "{error:?}");
}

/// Single rows, far apart in small pages: the pages between are not read.
#[test]
fn sparse_rows_of_small_pages() {
    let rows = 10_000;
    let text = |row: usize| format!("{row}").repeat(10);
    let values: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(text)));
    let properties = WriterProperties::builder().set_data_page_row_count_limit(5).set_write_batch_size(5);
    let file = Written::new(&written(&values, properties.set_dictionary_enabled(false).build()));
    let read = |selected: &[Range<u64>]| {
        let mut rows = Selected::default();
        selected.iter().for_each(|range| rows.push(range.clone()));
        let mut scanner = file.scanner(64).unwrap();
        scanner.open_group(0, Some(rows)).unwrap();
        let mut found = Vec::new();
        while let Some(rows) = scanner.next_batch().unwrap() {
            let batch = rows.batch.unwrap();
            found.extend(batch.column(0).as_string::<i32>().iter().map(|text| text.unwrap().to_owned()));
        }
        (found, scanner.bytes_read())
    };
    let (_, all) = read(std::slice::from_ref(&(0..rows as u64)));
    let sparse: Vec<Range<u64>> = (0..rows as u64).step_by(20).map(|row| row..row + 1).collect();
    let (found, some) = read(&sparse);
    assert_eq!(found, (0..rows).step_by(20).map(text).collect::<Vec<String>>());
    assert!(some < all / 2, "{some} of {all}");
}

/// The second value begins with 9 bytes of a first one that has 3, or with a negative number of bytes.
#[test]
fn prefixes_longer_than_the_value_before() {
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["abc", "abd"]));
    let bytes = written(&texts, delta(Encoding::DELTA_BYTE_ARRAY, WriterVersion::PARQUET_2_0));
    // 0 and 2 in blocks of 128 numbers in four parts: the difference is the block's least.
    let with_prefix = |prefix: i64| {
        rewritten(&bytes, move |page| {
            let Page::DataPageV2 { buf, .. } = page else { panic!("{page:?}") };
            assert_eq!(buf[..6], [0x80, 0x01, 0x04, 0x02, 0x00, 0x04], "{buf:?}");
            let zigzag = (prefix << 1 ^ prefix >> 63) as u8;
            *buf = [&buf[..5], &[zigzag], &buf[6..]].concat().into();
        })
    };
    assert_eq!(&with_prefix(2).read().unwrap(), &texts);
    for prefix in [4, 9, -1] {
        let why = with_prefix(prefix).damage();
        assert!(why.contains("more bytes of the one before it"), "{prefix}: {why}");
    }
}
