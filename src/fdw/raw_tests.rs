//! Files that parquet's own writer makes, with statistics.

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use parquet::data_type::{ByteArray, FixedLenByteArray, FixedLenByteArrayType, Int96, Int96Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::super::meta::FileMeta;
use super::super::read::Scanner;
use super::super::source::Source;

/// Timestamps of 9999-12-31, of the last day that nanoseconds since 1970 hold, and of year 1.
const DAYS: [u32; 3] = [5_373_484, 2_547_339, 1_721_426];

struct Written(PathBuf);

impl Drop for Written {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A row group with three values of each column; the second value of the last two columns is NULL.
fn written(name: &str) -> Written {
    let path = std::env::temp_dir().join(format!("pg_strata_raw_{name}_{}", std::process::id()));
    let schema = "message m { required int96 t; optional int96 u;
        optional fixed_len_byte_array(12) i (INTERVAL); required fixed_len_byte_array(12) b; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = Arc::new(WriterProperties::builder().build());
    let mut writer = SerializedFileWriter::new(File::create(&path).unwrap(), schema, properties).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let stamps = DAYS.map(|day| Int96::from(vec![7000, 0, day]));
    let bytes = DAYS.map(|day| {
        let parts = [day, 2, u32::MAX].map(u32::to_le_bytes);
        FixedLenByteArray::from(ByteArray::from(parts.concat()))
    });
    for column in 0..4 {
        let levels: Option<&[i16]> = [None, Some(&[1, 0, 1][..]), Some(&[1, 0, 1]), None][column];
        let mut column = group.next_column().unwrap().unwrap();
        match column.untyped() {
            parquet::column::writer::ColumnWriter::Int96ColumnWriter(_) => {
                column.typed::<Int96Type>().write_batch(&stamps, levels, None).unwrap()
            }
            _ => column.typed::<FixedLenByteArrayType>().write_batch(&bytes, levels, None).unwrap(),
        };
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
    Written(path)
}

#[test]
fn columns_are_declared_as_they_are_and_read_as_bytes() {
    let written = written("read");
    let source = Source::open(written.0.to_str().unwrap()).unwrap();
    let meta = Arc::new(FileMeta::read(&source).unwrap());
    let types: Vec<&DataType> = meta.schema().fields().iter().map(|field| field.data_type()).collect();
    let stamp = DataType::Timestamp(TimeUnit::Nanosecond, None);
    let interval = DataType::Interval(IntervalUnit::DayTime);
    assert_eq!(types, [&stamp, &stamp, &interval, &DataType::FixedSizeBinary(12)]);
    assert_eq!(meta.sql_type(2).as_deref(), Some("interval"));
    let mut scanner = Scanner::new(source, meta, vec![0, 1, 2, 3], 1024).unwrap();
    scanner.open_group(0, None).unwrap();
    let batch = scanner.next_batch().unwrap().unwrap().batch.unwrap();
    for (column, nulls) in batch.columns().iter().zip([0, 1, 1, 0]) {
        let bytes = column.as_fixed_size_binary();
        assert_eq!((bytes.value_length(), bytes.null_count()), (12, nulls));
    }
    let first = [7000_u32, 0, DAYS[0]].map(u32::to_le_bytes).concat();
    assert_eq!(batch.column(0).as_fixed_size_binary().value(0), first);
    assert_eq!(batch.column(2).as_fixed_size_binary().value(2)[..4], DAYS[1].to_le_bytes());
}

#[test]
fn statistics_tell_of_nulls_alone() {
    let written = written("bounds");
    let source = Source::open(written.0.to_str().unwrap()).unwrap();
    let meta = FileMeta::read(&source).unwrap();
    for (column, nulls) in [(0, 0), (1, 1), (2, 1)] {
        let bounds = meta.bounds(column).unwrap();
        assert_eq!((bounds.mins.null_count(), bounds.maxes.null_count()), (1, 1), "{column}");
        assert_eq!(bounds.nulls, [Some(nulls)]);
        assert!(meta.pages(&source, 0, column).is_none());
    }
    // The bytes of a column without annotation have their order.
    assert_eq!(meta.bounds(3).unwrap().mins.null_count(), 0);
}
