//! Footers and files that Arrow's own writer makes.

use std::fs::File;
use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::{IntervalDayTime, IntervalMonthDayNano};
use arrow::ipc::writer::{FileWriter, IpcWriteOptions};
use arrow::ipc::{DictionaryEncoding, DictionaryEncodingArgs, FieldArgs, FooterArgs, SchemaArgs};
use flatbuffers::FlatBufferBuilder;

use super::super::meta::FileMeta;
use super::super::read::Scanner;
use super::*;

/// A footer whose schema has a feature and a column with a dictionary.
fn footer(feature: i64, kind: i16) -> Vec<u8> {
    let mut out = FlatBufferBuilder::new();
    let index = Some(ipc::Int::create(&mut out, &ipc::IntArgs { bitWidth: 8, is_signed: true }));
    let kind = DictionaryKind(kind);
    let encoding = DictionaryEncodingArgs { indexType: index, dictionaryKind: kind, ..Default::default() };
    let dictionary = Some(DictionaryEncoding::create(&mut out, &encoding));
    let type_ = Some(ipc::Utf8::create(&mut out, &ipc::Utf8Args {}).as_union_value());
    let name = Some(out.create_string("v"));
    let args = FieldArgs { name, dictionary, type_type: ipc::Type::Utf8, type_, ..Default::default() };
    let field = ipc::Field::create(&mut out, &args);
    let fields = Some(out.create_vector(&[field]));
    let features = Some(out.create_vector(&[Feature(feature)]));
    let schema = ipc::Schema::create(&mut out, &SchemaArgs { fields, features, ..Default::default() });
    let args = FooterArgs {
        schema: Some(schema),
        recordBatches: Some(out.create_vector::<Block>(&[])),
        ..Default::default()
    };
    let root = ipc::Footer::create(&mut out, &args);
    out.finish(root, None);
    out.finished_data().to_vec()
}

#[test]
fn intervals_of_every_unit_are_read_whole() {
    let day_time = |days, millis| IntervalDayTime::new(days, millis);
    let columns: [(&str, ArrayRef); 3] = [
        ("months", Arc::new(IntervalYearMonthArray::from(vec![Some(-13), None, Some(i32::MAX)]))),
        (
            "days",
            Arc::new(IntervalDayTimeArray::from(vec![
                Some(day_time(3, -5)),
                None,
                Some(day_time(i32::MIN, i32::MAX)),
            ])),
        ),
        (
            "all",
            Arc::new(IntervalMonthDayNanoArray::from(vec![
                Some(IntervalMonthDayNano::new(14, -3, 1500)),
                None,
                Some(IntervalMonthDayNano::new(i32::MIN, i32::MAX, i64::MAX)),
            ])),
        ),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let path = std::env::temp_dir().join(format!("pg_strata_intervals_{}", std::process::id()));
    for compression in [None, Some(ipc::CompressionType::ZSTD)] {
        let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
        let file = File::create(&path).unwrap();
        let mut writer = FileWriter::try_new_with_options(file, &batch.schema(), options).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
        let source = Source::open(path.to_str().unwrap()).unwrap();
        let meta = Arc::new(FileMeta::read(&source).unwrap());
        let mut scanner = Scanner::new(source, meta, vec![0, 1, 2], 1024).unwrap();
        scanner.open_group(0, None).unwrap();
        assert_eq!(scanner.next_batch().unwrap().unwrap().batch.unwrap().columns(), batch.columns());
    }
    std::fs::remove_file(path).unwrap();
}

#[test]
fn what_is_not_known_is_refused() {
    for feature in 0..3 {
        assert!(parse_footer("f", &footer(feature, 0)).is_ok(), "{feature}");
    }
    for (feature, kind) in [(3, 0), (0, 1)] {
        assert!(parse_footer("f", &footer(feature, kind)).is_err(), "{feature} {kind}");
    }
}
