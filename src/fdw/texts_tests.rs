//! Arrays of bytes, as texts are read, and the texts of them.

use std::fs::File;

use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{Int32Type, UInt64Type};
use parquet::arrow::ArrowWriter;
use parquet::data_type::ByteArrayType;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::super::meta::FileMeta;
use super::super::pages::Selected;
use super::super::read::Scanner;
use super::super::source::Source;
use super::*;
use crate::interrupts::counted::during;

fn schema(columns: &[&ArrayRef]) -> Schema {
    let fields = columns.iter().map(|column| Field::new("c", column.data_type().clone(), true));
    Schema::new(fields.collect::<Vec<_>>())
}

/// Returns an array of texts as one of bytes: what the decoder reads.
fn as_read(array: ArrayData) -> ArrayData {
    let field = Arc::new(Field::new("", array.data_type().clone(), true));
    let read = mapped(&field, &bytes).data_type().clone();
    let children = array.child_data().iter().cloned().map(as_read).collect();
    array.into_builder().data_type(read).child_data(children).build().unwrap()
}

fn checked(read: &ArrayRef, declared: &ArrayRef) -> Result<ArrayRef, String> {
    let batch = RecordBatch::try_new(Arc::new(schema(&[read])), vec![read.clone()]).unwrap();
    Texts::new(Arc::new(schema(&[declared]))).check(batch).map(|batch| batch.column(0).clone())
}

fn of_all_types() -> Vec<ArrayRef> {
    let texts =
        [Some("é"), None, Some(""), Some("a text of more than twelve bytes: 😀"), Some("twelve bytes")];
    let plain = || -> ArrayRef { Arc::new(StringArray::from_iter(texts)) };
    let item = |array: &ArrayRef| Arc::new(Field::new("item", array.data_type().clone(), true));
    let list = ListArray::new(item(&plain()), OffsetBuffer::from_lengths([2, 0, 3]), plain(), None);
    let list: ArrayRef = Arc::new(list);
    let of_lists = Arc::new(FixedSizeListArray::new(item(&list), 3, list, None));
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    for row in 0..3 {
        map.keys().append_value(format!("é{row}"));
        map.values().append_value(row);
        map.append(row > 0).unwrap();
    }
    let numbers: ArrayRef = Arc::new(Int32Array::from_iter(0..5));
    let nulls = NullBuffer::from(vec![true, true, false, true, true]);
    let fields =
        Fields::from(vec![Field::new("t", DataType::Utf8, true), Field::new("n", DataType::Int32, true)]);
    let composite = StructArray::new(fields, vec![plain(), numbers.clone()], Some(nulls));
    let dictionary = DictionaryArray::new(Int32Array::from(vec![Some(3), None, Some(0)]), plain());
    let runs = RunArray::<Int32Type>::try_new(&Int32Array::from(vec![1, 4, 5, 6, 9]), &plain()).unwrap();
    vec![
        plain(),
        Arc::new(LargeStringArray::from_iter(texts)),
        Arc::new(StringViewArray::from_iter(texts)),
        plain().slice(2, 2),
        plain().slice(1, 0),
        of_lists,
        Arc::new(map.finish()),
        Arc::new(composite),
        Arc::new(dictionary),
        Arc::new(runs),
        numbers,
        Arc::new(StringArray::new_null(3)),
        Arc::new(StringViewArray::from_iter(texts).slice(1, 3)),
    ]
}

#[test]
fn texts_are_those_that_were_read() {
    for declared in of_all_types() {
        let read = make_array(as_read(declared.to_data()));
        assert_eq!(*schema(&[&read]).field(0), *as_bytes(&schema(&[&declared])).field(0));
        let found = checked(&read, &declared).unwrap();
        assert_eq!(&found, &declared);
        found.to_data().validate_full().unwrap();
    }
}

#[test]
fn what_is_no_text_is_an_error() {
    const WRONG: [&[u8]; 4] = [b"\xff", "é".as_bytes().split_at(1).0, b"more than twelve bytes\xc3", b"\xa9"];
    for wrong in WRONG {
        let values = [b"a", wrong, b"b"];
        let arrays: [(ArrayRef, ArrayRef); 3] = [
            (Arc::new(BinaryArray::from_iter_values(values)), Arc::new(StringArray::new_null(0))),
            (Arc::new(LargeBinaryArray::from_iter_values(values)), Arc::new(LargeStringArray::new_null(0))),
            (Arc::new(BinaryViewArray::from_iter_values(values)), Arc::new(StringViewArray::new_null(0))),
        ];
        for (read, declared) in arrays {
            assert_eq!(checked(&read, &declared).unwrap_err(), NOT_UTF8);
            let keys = Int32Array::from(vec![0]);
            let read: ArrayRef = Arc::new(DictionaryArray::new(keys.clone(), read));
            let declared: ArrayRef = Arc::new(DictionaryArray::new(Int32Array::new_null(0), declared));
            assert_eq!(checked(&read, &declared).unwrap_err(), NOT_UTF8);
        }
    }
    // Together they are text, but no value is.
    let halves: ArrayRef = Arc::new(BinaryArray::from_vec(vec![b"a\xc3", b"\xa9b"]));
    let texts: ArrayRef = Arc::new(StringArray::new_null(0));
    assert_eq!(checked(&halves, &texts).unwrap_err(), NOT_UTF8);
    for other in of_all_types().iter().filter(|other| !matches!(other.data_type(), DataType::Utf8)) {
        let read = make_array(as_read(other.to_data()));
        assert_eq!(checked(&read, &texts).unwrap_err(), OTHER_TYPE, "{}", other.data_type());
    }
}

#[test]
fn a_long_text_is_checked_in_steps() {
    const STEPS: usize = 5;
    let long = "é".repeat(STEPS * STEP_BYTES / 2);
    let arrays: [ArrayRef; 2] =
        [Arc::new(StringArray::from(vec![&long[..]])), Arc::new(StringViewArray::from(vec![&long[..]]))];
    for declared in arrays {
        let read = make_array(as_read(declared.to_data()));
        let (checks, _) = during(|| assert!(checked(&read, &declared).is_ok()));
        assert!((STEPS..2 * STEPS + 3).contains(&checks), "{checks}");
    }
}

#[test]
fn a_dictionary_is_checked_once() {
    let values: ArrayRef = Arc::new(StringArray::from(vec!["é".repeat(3 * STEP_BYTES / 2)]));
    let declared: ArrayRef = Arc::new(DictionaryArray::new(Int32Array::from(vec![0, 0]), values));
    let read = make_array(as_read(declared.to_data()));
    let batch = RecordBatch::try_new(Arc::new(schema(&[&read])), vec![read]).unwrap();
    let mut texts = Texts::new(Arc::new(schema(&[&declared])));
    let mut check = || during(|| assert_eq!(texts.check(batch.clone()).unwrap().column(0), &declared)).0;
    assert!(check() > 0 && check() == 0);
}

/// A value that is longer than pages are, among short ones: its page, and those after it, become views.
#[test]
fn short_values_before_and_after_a_long_one() {
    const ROWS: u64 = 20_000;
    const LONG: u64 = 7_300;
    let text = |row: u64| match row {
        LONG => "é".repeat(STEP_BYTES),
        row => format!("é{row}"),
    };
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..ROWS).map(text)));
    let numbers: ArrayRef = Arc::new(UInt64Array::from_iter(0..ROWS));
    let batch = RecordBatch::try_from_iter([("n", numbers), ("t", texts)]).unwrap();
    let path = std::env::temp_dir().join(format!("pg_strata_long_{}", std::process::id()));
    let properties = WriterProperties::builder().set_dictionary_enabled(false);
    let properties = properties.set_write_batch_size(100).set_data_page_row_count_limit(1000).build();
    let mut writer =
        ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let source = Source::open(path.to_str().unwrap()).unwrap();
    let meta = Arc::new(FileMeta::read(&source).unwrap());
    let around = [10..20, LONG - 1..LONG + 2, ROWS - 5..ROWS];
    let some = || {
        let mut some = Selected::default();
        around.iter().for_each(|rows| some.push(rows.clone()));
        Some(some)
    };
    let all = (0..ROWS).collect::<Vec<_>>();
    let wanted: Vec<u64> = around.iter().flat_map(|rows| rows.clone()).collect();
    for (selected, batch_rows, wanted) in [
        (None, 512, &all),
        (some(), 512, &wanted),
        // After rows were returned, the index is not used again.
        (some(), 8, &all),
    ] {
        let mut scanner = Scanner::new(source.clone(), meta.clone(), vec![0, 1], batch_rows).unwrap();
        scanner.open_group(0, selected).unwrap();
        let mut found = Vec::new();
        while let Some(rows) = scanner.next_batch().unwrap() {
            let batch = rows.batch.as_ref().unwrap();
            let texts = arrow::compute::cast(batch.column(1), &DataType::Utf8).unwrap();
            for row in 0..rows.count {
                let number = batch.column(0).as_primitive::<UInt64Type>().value(row);
                assert!(rows.before(row) == number && texts.as_string::<i32>().value(row) == text(number));
                found.push(number);
            }
        }
        found.sort_unstable();
        assert!(found == *wanted, "{found:?}");
    }
    std::fs::remove_file(path).unwrap();
}

#[test]
fn long_texts_in_other_values() {
    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("é"), None, Some(&"é".repeat(STEP_BYTES))]));
    let item = Arc::new(Field::new("item", DataType::Utf8, true));
    let list: ArrayRef =
        Arc::new(ListArray::new(item, OffsetBuffer::from_lengths([2, 1]), texts.clone(), None));
    let numbers: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
    let fields = [("l", list), ("n", numbers)].map(|(name, array)| (name, array, true));
    let composite: ArrayRef =
        Arc::new(StructArray::from(RecordBatch::try_from_iter_with_nullable(fields).unwrap()));
    let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for row in [0, 2] {
        map.keys().append_value(format!("k{row}"));
        map.values().append_value(texts.as_string::<i32>().value(row));
        map.append(true).unwrap();
    }
    let bytes: ArrayRef = Arc::new(BinaryArray::from_opt_vec(vec![None, Some(b"\xff\xfe")]));
    let columns = [("s", composite), ("m", Arc::new(map.finish())), ("b", bytes)];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let path = std::env::temp_dir().join(format!("pg_strata_nested_{}", std::process::id()));
    let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let source = Source::open(path.to_str().unwrap()).unwrap();
    let meta = Arc::new(FileMeta::read(&source).unwrap());
    for column in 0..3 {
        let mut scanner = Scanner::new(source.clone(), meta.clone(), vec![column], 512).unwrap();
        scanner.open_group(0, None).unwrap();
        let mut found = Vec::new();
        while let Some(rows) = scanner.next_batch().unwrap() {
            let read = rows.batch.unwrap().column(0).clone();
            let is_viewed = format!("{:?}", read.data_type()).contains("View");
            assert_eq!(is_viewed, column < 2);
            found.push(arrow::compute::cast(&read, batch.column(column).data_type()).unwrap());
        }
        let found: Vec<&dyn Array> = found.iter().map(|array| array.as_ref()).collect();
        assert!(&arrow::compute::concat(&found).unwrap() == batch.column(column), "{column}");
    }
    std::fs::remove_file(path).unwrap();
}

/// The crate does not check texts that are declared to be JSON.
#[test]
fn json_is_text() {
    for (value, is_text) in [(&b"\"\xff\""[..], false), ("\"é\"".as_bytes(), true)] {
        let path = std::env::temp_dir().join(format!("pg_strata_json_{}", std::process::id()));
        let schema = parse_message_type("message m { required binary j (JSON); }").unwrap();
        let mut writer =
            SerializedFileWriter::new(File::create(&path).unwrap(), Arc::new(schema), Arc::default())
                .unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&[value.to_vec().into()], None, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();
        let source = Source::open(path.to_str().unwrap()).unwrap();
        let meta = Arc::new(FileMeta::read(&source).unwrap());
        assert_eq!(meta.schema().field(0).data_type(), &DataType::Utf8);
        let mut scanner = Scanner::new(source, meta, vec![0], 512).unwrap();
        scanner.open_group(0, None).unwrap();
        assert_eq!(scanner.next_batch().is_ok(), is_text);
        std::fs::remove_file(path).unwrap();
    }
}
