//! Filters of files that parquet's own writer makes, whole and damaged.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::*;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

use super::*;

const UUID: [u8; 16] = *b"0123456789abcdef";

/// Each column's name, its values, and two values that are looked for: one that is there, one that is not.
fn columns() -> Vec<(&'static str, ArrayRef, Sought<'static>, Sought<'static>)> {
    use Sought::*;
    let decimals = |precision, scale| {
        let values = Decimal128Array::from(vec![-150, 7, 1200]).with_precision_and_scale(precision, scale);
        Arc::new(values.unwrap()) as ArrayRef
    };
    let uuids = FixedSizeBinaryArray::try_from_iter([UUID, [0; 16], [9; 16]].into_iter()).unwrap();
    let micros = 3_600_000_000;
    vec![
        ("i8", Arc::new(Int8Array::from(vec![-1, 5, 9])), Integer(-1), Integer(6)),
        ("u16", Arc::new(UInt16Array::from(vec![65535, 5, 9])), Integer(65535), Integer(6)),
        ("i32", Arc::new(Int32Array::from(vec![-1, 5, i32::MIN])), Integer(i32::MIN.into()), Integer(-5)),
        ("u32", Arc::new(UInt32Array::from(vec![1, 5, u32::MAX])), Integer(u32::MAX.into()), Integer(77)),
        ("i64", Arc::new(Int64Array::from(vec![1, i64::MIN, 9])), Integer(i64::MIN), Integer(2)),
        ("whole", Arc::new(Int64Array::from(vec![1, 5, 9])), Numeric("5.00"), Numeric("6")),
        ("d9", decimals(9, 2), Numeric("-1.50"), Numeric("-1.51")),
        ("d18", decimals(18, 2), Numeric("12"), Numeric("13")),
        ("d38", decimals(38, 2), Numeric("-1.5"), Numeric("1.5")),
        ("d21", decimals(21, 2), Numeric("0.07"), Numeric("0.08")),
        ("date", Arc::new(Date32Array::from(vec![0, 10_957, -1])), Date(0), Date(1)),
        ("time", Arc::new(Time32MillisecondArray::from(vec![1, 3_600_000, 2])), Time(micros), Time(5000)),
        (
            "ms",
            Arc::new(TimestampMillisecondArray::from(vec![0, 946_684_800_001, 2])),
            Timestamp(1000),
            Timestamp(2000),
        ),
        (
            "us",
            Arc::new(TimestampMicrosecondArray::from(vec![0, 1, 2])),
            Timestamp(1 - EPOCH_MICROS),
            Timestamp(1),
        ),
        (
            "ns",
            Arc::new(TimestampNanosecondArray::from(vec![0, 1000, 2])),
            Timestamp(1 - EPOCH_MICROS),
            Timestamp(1),
        ),
        ("text", Arc::new(StringArray::from(vec!["", "kůň", "b"])), Text("kůň".as_bytes()), Text(b"c")),
        ("bytes", Arc::new(BinaryArray::from(vec![&b"\0"[..], b"", b"b"])), Bytes(b"\0"), Bytes(b"\0\0")),
        ("uuid", Arc::new(uuids), Bytes(&UUID), Bytes(&[1; 16])),
    ]
}

struct Written(PathBuf);

impl Written {
    fn new(name: &str) -> Written {
        let path = std::env::temp_dir().join(format!("pg_strata_bloom_{name}_{}", std::process::id()));
        let batch =
            RecordBatch::try_from_iter(columns().into_iter().map(|(name, values, ..)| (name, values)));
        let batch = batch.unwrap();
        let properties = WriterProperties::builder().set_bloom_filter_enabled(true).build();
        let file = fs::File::create(&path).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        Written(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }

    fn open(&self) -> (Source, FileMeta) {
        let source = Source::open(self.path().to_str().unwrap()).unwrap();
        let meta = FileMeta::read(&source).unwrap();
        (source, meta)
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn values_are_found_and_others_are_not() {
    let written = Written::new("values");
    let (source, meta) = written.open();
    for (column, (name, _, there, absent)) in columns().into_iter().enumerate() {
        let before = source.bytes_read();
        let filter = meta.bloom_filter(&source, 0, column).unwrap();
        assert_eq!(source.bytes_read(), before, "{name}");
        assert!(filter.may_hold(there) && !filter.may_hold(absent), "{name}");
        let length = filter.chunk.bloom_filter_length().unwrap() as u64;
        assert_eq!(source.bytes_read() - before, length, "{name}");
    }
    assert!(meta.bloom_filter(&source, 0, 99).is_none() && meta.bloom_filter(&source, 1, 0).is_none());
}

/// What a column's file type cannot have, or has in bytes that are not known, may be there.
#[test]
fn what_is_not_certain_may_be_there() {
    let written = Written::new("uncertain");
    let (source, meta) = written.open();
    for (column, (name, ..)) in columns().into_iter().enumerate() {
        let filter = meta.bloom_filter(&source, 0, column).unwrap();
        for value in [
            Sought::Integer(i64::MAX),
            Sought::Numeric("NaN"),
            Sought::Numeric("0.001"),
            Sought::Numeric("1e400"),
            Sought::Date(i32::MAX.into()),
            Sought::Time(-1),
            Sought::Timestamp(i64::MAX),
        ] {
            let certain = matches!(name, "i64" | "whole") && matches!(value, Sought::Integer(_));
            assert_eq!(filter.may_hold(value), !certain, "{name} {value:?}");
        }
        assert_eq!(filter.may_hold(Sought::Bytes(b"?")), name != "bytes", "{name}");
        assert_eq!(filter.may_hold(Sought::Text(b"?")), !matches!(name, "bytes" | "text"), "{name}");
    }
}

/// Header bytes that are changed leave a filter that says nothing, or the same one; other damage is no panic.
#[test]
fn damage() {
    let written = Written::new("damage");
    let whole = fs::read(written.path()).unwrap();
    let (column, (.., there, _)) = columns().into_iter().enumerate().nth(4).unwrap();
    let (_, meta) = written.open();
    let Format::Parquet(metadata) = &meta.format else { panic!("not Parquet") };
    let chunk = metadata.metadata().row_group(0).column(column);
    let offset = chunk.bloom_filter_offset().unwrap() as usize;
    let (header, bits) = footer::bloom_header(&whole[offset..]).unwrap();
    assert_eq!(header + bits, chunk.bloom_filter_length().unwrap() as usize);
    for at in offset..offset + header {
        for byte in (0..=255).step_by(5) {
            let mut damaged = whole.clone();
            damaged[at] = byte;
            fs::write(written.path(), damaged).unwrap();
            let (source, meta) = written.open();
            let filter = meta.bloom_filter(&source, 0, column).unwrap();
            assert!(filter.may_hold(there), "byte {at} is {byte}");
        }
    }
}

#[test]
fn numbers_of_fixed_length() {
    assert_eq!(big_endian(-2, 3), Some(vec![0xff, 0xff, 0xfe]));
    assert_eq!(big_endian(-2, 18), Some([vec![0xff; 17], vec![0xfe]].concat()));
    assert_eq!(big_endian(128, 2), Some(vec![0, 128]));
    assert_eq!((big_endian(128, 1), big_endian(-129, 1), big_endian(0, 0)), (None, None, None));
    assert_eq!((big_endian(127, 1), big_endian(-128, 1)), (Some(vec![127]), Some(vec![128])));
    assert_eq!(big_endian(i128::MIN, 16), Some(i128::MIN.to_be_bytes().to_vec()));
}
