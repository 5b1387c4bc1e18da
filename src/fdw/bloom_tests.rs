//! Filters of files that parquet's own writer makes, whole and damaged.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::*;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

use super::*;
use crate::expr::Scalar;

const UUID: [u8; 16] = *b"0123456789abcdef";

type Sought = (Type, Scalar);

fn integer(value: i64) -> Sought {
    (Type::Integer, Scalar::Integer(value))
}

fn numeric(text: &str) -> Sought {
    (Type::Numeric, Scalar::Numeric(Numeric::parse(text).unwrap()))
}

fn date(days: i64) -> Sought {
    (Type::Date, Scalar::Integer(days))
}

fn time(micros: i64) -> Sought {
    (Type::Time, Scalar::Integer(micros))
}

fn timestamp(micros: i64) -> Sought {
    (Type::Timestamp, Scalar::Integer(micros))
}

fn text(bytes: &[u8]) -> Sought {
    (Type::Text, Scalar::bytes(Type::Text, bytes))
}

fn bytes(bytes: &[u8]) -> Sought {
    (Type::Bytea, Scalar::bytes(Type::Bytea, bytes))
}

/// Each column's name, its values, and two values to look for: one that is there and one that is not.
fn columns() -> Vec<(&'static str, ArrayRef, Sought, Sought)> {
    let decimals = |precision, scale| {
        let values = Decimal128Array::from(vec![-150, 7, 1200]).with_precision_and_scale(precision, scale);
        Arc::new(values.unwrap()) as ArrayRef
    };
    let uuids = FixedSizeBinaryArray::try_from_iter([UUID, [0; 16], [9; 16]].into_iter()).unwrap();
    let micros = 3_600_000_000;
    vec![
        ("i8", Arc::new(Int8Array::from(vec![-1, 5, 9])), integer(-1), integer(6)),
        ("u16", Arc::new(UInt16Array::from(vec![65535, 5, 9])), integer(65535), integer(6)),
        ("i32", Arc::new(Int32Array::from(vec![-1, 5, i32::MIN])), integer(i32::MIN.into()), integer(-5)),
        ("u32", Arc::new(UInt32Array::from(vec![1, 5, u32::MAX])), integer(u32::MAX.into()), integer(77)),
        ("i64", Arc::new(Int64Array::from(vec![1, i64::MIN, 9])), integer(i64::MIN), integer(2)),
        ("whole", Arc::new(Int64Array::from(vec![1, 5, 9])), numeric("5.00"), numeric("6")),
        ("d9", decimals(9, 2), numeric("-1.50"), numeric("-1.51")),
        ("d18", decimals(18, 2), numeric("12"), numeric("13")),
        ("d38", decimals(38, 2), numeric("-1.5"), numeric("1.5")),
        ("d21", decimals(21, 2), numeric("0.07"), numeric("0.08")),
        ("date", Arc::new(Date32Array::from(vec![0, 10_957, -1])), date(0), date(1)),
        ("time", Arc::new(Time32MillisecondArray::from(vec![1, 3_600_000, 2])), time(micros), time(5000)),
        (
            "ms",
            Arc::new(TimestampMillisecondArray::from(vec![0, 946_684_800_001, 2])),
            timestamp(1000),
            timestamp(2000),
        ),
        (
            "us",
            Arc::new(TimestampMicrosecondArray::from(vec![0, 1, 2])),
            timestamp(1 - EPOCH_MICROS),
            timestamp(1),
        ),
        (
            "ns",
            Arc::new(TimestampNanosecondArray::from(vec![0, 1000, 2])),
            timestamp(1 - EPOCH_MICROS),
            timestamp(1),
        ),
        ("text", Arc::new(StringArray::from(vec!["", "kůň", "b"])), text("kůň".as_bytes()), text(b"c")),
        ("bytes", Arc::new(BinaryArray::from(vec![&b"\0"[..], b"", b"b"])), bytes(b"\0"), bytes(b"\0\0")),
        ("uuid", Arc::new(uuids), bytes(&UUID), bytes(&[1; 16])),
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
        assert!(filter.may_hold(there.0, &there.1) && !filter.may_hold(absent.0, &absent.1), "{name}");
        let length = filter.chunk.bloom_filter_length().unwrap() as u64;
        assert_eq!(source.bytes_read() - before, length, "{name}");
    }
    assert!(meta.bloom_filter(&source, 0, 99).is_none() && meta.bloom_filter(&source, 1, 0).is_none());
}

/// A value that the file's type cannot have, or has in unknown bytes, may be there.
#[test]
fn what_is_not_certain_may_be_there() {
    let written = Written::new("uncertain");
    let (source, meta) = written.open();
    for (column, (name, ..)) in columns().into_iter().enumerate() {
        let filter = meta.bloom_filter(&source, 0, column).unwrap();
        for value in [
            integer(i64::MAX),
            numeric("NaN"),
            numeric("0.001"),
            numeric(&format!("1{}", "0".repeat(400))),
            date(i32::MAX.into()),
            time(-1),
            timestamp(i64::MAX),
        ] {
            let certain = matches!(name, "i64" | "whole") && value.0 == Type::Integer;
            assert_eq!(filter.may_hold(value.0, &value.1), !certain, "{name} {value:?}");
        }
        let may_hold = |(of, value): Sought| filter.may_hold(of, &value);
        assert_eq!(may_hold(bytes(b"?")), name != "bytes", "{name}");
        assert_eq!(may_hold(text(b"?")), !matches!(name, "bytes" | "text"), "{name}");
    }
}

/// Changed header bytes leave a filter that excludes nothing, or the same one; other damage causes no panic.
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
            assert!(filter.may_hold(there.0, &there.1), "byte {at} is {byte}");
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
