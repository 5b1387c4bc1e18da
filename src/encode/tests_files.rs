//! Files as a whole: the order of row groups, empty files, growing shapes, nested columns, metadata.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::{DataType, Int32Type};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::footer::{CREATED_BY, MAGIC, RowGroupMeta, write_footer};
use super::tests::{
    ALL_CODECS, check, columns, field, finish_file, read, read_metadata, rows, strings, write_file,
};
use super::*;
use crate::types::{Field, Kind, Lane, Shape, Shapes, Values};

/// Four row groups of 500 rows, written in another order and with gaps between them.
fn unordered_file() -> Vec<u8> {
    let fields = [field("a", Kind::Int4, false), field("b", Kind::Text, true)];
    let schema = FileSchema::new(&fields, &Shapes::default()).unwrap();
    let options = Options::default();
    let mut writer = RowGroupWriter::new(&schema, &fields, &Shapes::default(), &options).unwrap();
    let mut encoded = Vec::new();
    for group in 0..4i32 {
        writer.append(0, &rows(Values::I32(vec![group; 500])).lane, &[]).unwrap();
        let text = strings((0..500).map(|i| format!("{group}-{i}")));
        writer.append(1, &text.lane, &text.arena).unwrap();
        assert_eq!(writer.rows(), 500);
        assert!(writer.buffered_bytes() > 500 * 4 && writer.memory() > 0);
        assert!(writer.largest_column_bytes() < writer.buffered_bytes());
        encoded.push(writer.finish().unwrap());
        assert_eq!(writer.rows(), 0);
    }
    let mut file = MAGIC.to_vec();
    let mut metas: Vec<Option<RowGroupMeta>> = (0..4).map(|_| None).collect();
    for group in [2, 0, 3, 1] {
        file.extend_from_slice(b"a gap"); // space that was reserved and not used
        let at = file.len() as u64;
        let meta = RowGroupMeta::decode(&encoded[group].metadata_at(at).unwrap()).unwrap();
        assert_eq!((meta.offset(), meta.len(), meta.rows()), (at, encoded[group].len(), 500));
        encoded[group].buffers().for_each(|b| file.extend_from_slice(b));
        metas[group] = Some(meta);
    }
    let metas: Vec<_> = metas.into_iter().flatten().collect();
    finish_file(&mut file, &schema, &metas);
    file
}

#[test]
fn row_groups_may_lie_in_any_order() {
    let read = read(&unordered_file());
    let numbers = read.column(0).as_primitive::<Int32Type>();
    assert!(numbers.values().iter().enumerate().all(|(i, &v)| v == i as i32 / 500));
    assert_eq!(read.column(1).as_string::<i32>().value(1203), "2-203");
}

#[test]
fn files_without_row_groups_or_columns_are_legal() {
    let fields = [field("a", Kind::Int4, false)];
    let empty = write_file(&fields, &Shapes::default(), Codec::Zstd(1), &[], 1);
    assert_eq!(read(&empty).num_rows(), 0);
    let none = write_file(&fields, &Shapes::default(), Codec::Zstd(1), &[vec![rows(Values::I32(vec![]))]], 1);
    assert_eq!(read_metadata(&none).num_row_groups(), 0);

    let file = bare_file();
    assert_eq!(read_metadata(&file).file_metadata().num_rows(), 42);
    let builder = ParquetRecordBatchReaderBuilder::try_new(::bytes::Bytes::copy_from_slice(&file)).unwrap();
    let rows: usize = builder.build().unwrap().map(|b| b.unwrap().num_rows()).sum();
    assert_eq!(rows, 42);
}

/// 42 rows without columns.
fn bare_file() -> Vec<u8> {
    let schema = FileSchema::new(&[], &Shapes::default()).unwrap();
    let mut writer = RowGroupWriter::new(&schema, &[], &Shapes::default(), &Options::default()).unwrap();
    writer.append_rows(42);
    let encoded = writer.finish().unwrap();
    let meta = RowGroupMeta::decode(&encoded.metadata_at(4).unwrap()).unwrap();
    let mut file = MAGIC.to_vec();
    finish_file(&mut file, &schema, &[meta]);
    file
}

#[test]
fn precision_may_grow_after_row_groups_were_written() {
    let fields = [field("n", Kind::Numeric { shape_index: 0 }, true)];
    let mut shapes = Shapes::new(1);
    shapes.merge(0, Shape::numeric(10, 2));
    let early = FileSchema::new(&fields, &shapes).unwrap();
    let mut writer = RowGroupWriter::new(&early, &fields, &shapes, &Options::default()).unwrap();
    writer.append(0, &rows(Values::I64(vec![1, 2])).lane, &[]).unwrap();
    let encoded = writer.finish().unwrap();
    let meta = || RowGroupMeta::decode(&encoded.metadata_at(4).unwrap()).unwrap();
    let mut file = MAGIC.to_vec();
    encoded.buffers().for_each(|b| file.extend_from_slice(b));

    shapes.merge(0, Shape::numeric(14, 2));
    let late = FileSchema::new(&fields, &shapes).unwrap();
    finish_file(&mut file, &late, &[meta()]);
    assert_eq!(read(&file).column(0).data_type(), &DataType::Decimal128(16, 2));

    shapes.merge(0, Shape::numeric(10, 3));
    let rescaled = FileSchema::new(&fields, &shapes).unwrap();
    let refused = write_footer(&mut Vec::new(), 4, &rescaled, &[meta()][..], Vec::new(), CREATED_BY);
    assert!(matches!(refused, Err(EncodeError::Invalid(_))));

    shapes.merge(0, Shape::numeric(30, 2));
    let wide = FileSchema::new(&fields, &shapes).unwrap();
    let refused = write_footer(&mut Vec::new(), 4, &wide, &[meta()][..], Vec::new(), CREATED_BY);
    assert!(matches!(refused, Err(EncodeError::Invalid(_))));
}

/// A two-dimensional array, an integer and a composite, and the nested ones' arrays of three rows.
pub fn nested_columns() -> ([Field; 3], Shapes, [ArrayRef; 2]) {
    let element = Box::new(field("x", Kind::Numeric { shape_index: 1 }, false));
    let fields = [
        field("l", Kind::List { shape_index: 0, element }, true),
        field("i", Kind::Int4, false),
        field(
            "s",
            Kind::Struct {
                fields: vec![
                    field("u", Kind::Uuid, true),
                    field("d", Kind::Decimal { precision: 20, scale: 1 }, true),
                ],
            },
            false,
        ),
    ];
    let mut shapes = Shapes::new(2);
    shapes.merge(0, Shape::list(2));
    shapes.merge(1, Shape::numeric(19, 3));
    let schema = FileSchema::new(&fields, &shapes).unwrap();
    let arrow = schema.arrow();
    let DataType::List(inner) = arrow.field(0).data_type().clone() else { panic!() };
    let DataType::List(leaf) = inner.data_type().clone() else { panic!() };
    let big = 10i128.pow(21);
    let decimals = Decimal128Array::from(vec![Some(-big), None, Some(3), Some(big)])
        .with_precision_and_scale(22, 3)
        .unwrap();
    let offsets = |o: Vec<i32>| arrow::buffer::OffsetBuffer::new(o.into());
    let lists = ListArray::new(leaf, offsets(vec![0, 2, 2, 4]), Arc::new(decimals), None);
    let nulls = arrow::buffer::NullBuffer::from(vec![true, false, true]);
    let list: ArrayRef =
        Arc::new(ListArray::new(inner, offsets(vec![0, 2, 2, 3]), Arc::new(lists), Some(nulls)));
    let DataType::Struct(parts) = arrow.field(2).data_type().clone() else { panic!() };
    let uuids = FixedSizeBinaryArray::try_from_iter([[1u8; 16], [2; 16], [3; 16]].iter()).unwrap();
    let tens = Decimal128Array::from(vec![1, 2, -3]).with_precision_and_scale(20, 1).unwrap();
    let composite: ArrayRef = Arc::new(StructArray::new(parts, vec![Arc::new(uuids), Arc::new(tens)], None));
    (fields, shapes, [list, composite])
}

/// Writes the nested columns in two equal row groups.
fn nested_file() -> (Vec<u8>, [ArrayRef; 2]) {
    let (fields, shapes, [list, composite]) = nested_columns();
    let schema = FileSchema::new(&fields, &shapes).unwrap();
    assert_eq!(schema.parquet().column(0).path().string(), "l.list.element.list.element");
    let mut writer = RowGroupWriter::new(&schema, &fields, &shapes, &Options::default()).unwrap();
    let mut file = MAGIC.to_vec();
    let mut metas = Vec::new();
    for _ in 0..2 {
        writer.append_nested(0, &list).unwrap();
        writer.append(1, &rows(Values::I32(vec![7, 8, 9])).lane, &[]).unwrap();
        writer.append_nested(2, &composite).unwrap();
        let encoded = writer.finish().unwrap();
        metas.push(RowGroupMeta::decode(&encoded.metadata_at(file.len() as u64).unwrap()).unwrap());
        encoded.buffers().for_each(|b| file.extend_from_slice(b));
    }
    finish_file(&mut file, &schema, &metas);
    (file, [list, composite])
}

#[test]
fn nulls_fit_any_shape() {
    let fields = [field("n", Kind::Numeric { shape_index: 0 }, true)];
    let mut shapes = Shapes::new(1);
    let early = FileSchema::new(&fields, &shapes).unwrap();
    let mut writer = RowGroupWriter::new(&early, &fields, &shapes, &Options::default()).unwrap();
    writer.append(0, &rows(Values::I32(vec![0; 7])).with_nulls(|_| true).lane, &[]).unwrap();
    let encoded = writer.finish().unwrap();
    for shape in [Shape::numeric(9, 2), Shape::numeric(30, 2), Shape::TEXT] {
        shapes.merge(0, shape);
        let schema = FileSchema::new(&fields, &shapes).unwrap();
        let meta = RowGroupMeta::decode(&encoded.metadata_at(4).unwrap()).unwrap();
        let mut file = MAGIC.to_vec();
        encoded.buffers().for_each(|b| file.extend_from_slice(b));
        finish_file(&mut file, &schema, &[meta]);
        let read = read(&file);
        assert_eq!(read.column(0).data_type(), schema.arrow().field(0).data_type());
        assert_eq!(read.column(0).null_count(), 7);
    }
}

#[test]
fn bytes_do_not_depend_on_batches() {
    let (fields, columns) = columns(45_000, true);
    let write =
        |batch| write_file(&fields, &Shapes::default(), Codec::Snappy, std::slice::from_ref(&columns), batch);
    assert!(write(45_000) == write(777));
}

#[test]
fn nested_columns_come_back() {
    let (file, [list, composite]) = nested_file();
    let read = read(&file);
    for (column, expected) in [(0, &list), (2, &composite)] {
        let expected = arrow::compute::concat(&[expected, expected]).unwrap();
        assert_eq!(read.column(column), &expected);
    }
}

#[test]
fn metadata_names_the_columns_and_their_types() {
    let file = write_file(&[field("a\"b", Kind::Int4, false)], &Shapes::default(), Codec::None, &[], 1);
    let metadata = read_metadata(&file);
    let entries = metadata.file_metadata().key_value_metadata().unwrap().clone();
    let columns = entries.iter().find(|kv| kv.key == "pg_strata.columns").unwrap();
    let expected = r#"[{"name":"a\"b","pg_type":"\"odd\\type\""}]"#;
    assert_eq!(columns.value.as_deref(), Some(expected));
    assert_eq!(metadata.file_metadata().created_by(), Some(CREATED_BY));
}

#[test]
fn misuse_is_an_error() {
    let fields = [field("a", Kind::Int4, false)];
    let schema = FileSchema::new(&fields, &Shapes::default()).unwrap();
    let mut writer = RowGroupWriter::new(&schema, &fields, &Shapes::default(), &Options::default()).unwrap();
    let wrong = rows(Values::I64(vec![1]));
    assert!(writer.append(0, &wrong.lane, &[]).is_err());
    let null = rows(Values::I32(vec![1, 2])).with_nulls(|i| i == 0);
    assert!(writer.append(0, &null.lane, &[]).is_err());
    let uneven = Lane { valid: vec![1, 0, 1], values: Values::I32(vec![1]) };
    assert!(writer.append(0, &uneven, &[]).is_err());
    assert!(writer.append(1, &uneven, &[]).is_err());
}

/// Writes each file beside the one that parquet's own writer makes of the same rows, for tools that read Parquet.
#[test]
#[ignore = "writes files into $ENCODE_SAMPLES"]
fn samples_for_other_readers() {
    let dir = std::path::PathBuf::from(std::env::var_os("ENCODE_SAMPLES").unwrap());
    let save = |name: String, file: &[u8]| {
        let batch = read(file);
        let mut plain = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
        plain.write(&batch).unwrap();
        std::fs::write(dir.join(format!("{name}.reference.parquet")), plain.into_inner().unwrap()).unwrap();
        std::fs::write(dir.join(format!("{name}.parquet")), file).unwrap();
    };
    for (codec, nulls) in ALL_CODECS.into_iter().flat_map(|c| [(c, false), (c, true)]) {
        let (fields, first) = columns(41_000, nulls);
        let (_, second) = columns(3, nulls);
        let file = check(&fields, &Shapes::default(), codec, &[first, second], 4096);
        save(format!("{codec:?}-{nulls}"), &file);
    }
    save("unordered".into(), &unordered_file());
    save("nested".into(), &nested_file().0);
    let bare = bare_file();
    std::fs::write(dir.join("bare.parquet"), &bare).unwrap();
}

/// Large values have pages of their own, among small ones and NULLs, in the chunk's order.
#[test]
fn large_values_have_pages_of_their_own() {
    let large = |i: usize| format!("{i}{}", "large ".repeat(900_000 + i));
    let value =
        |i: usize| if [0, 3, 4, 900, 1999].contains(&i) { large(i) } else { format!("small {}", i % 50) };
    let fields = [field("t", Kind::Text, true), field("b", Kind::Bytea, false)];
    let text = strings((0..2000).map(value)).with_nulls(|i| i % 7 == 2 || i == 4);
    let bytes = strings((0..2000).map(value));
    for (codec, batch) in
        [(Codec::None, 2000), (Codec::Zstd(1), 700), (Codec::Lz4Raw, 1), (Codec::Snappy, 899)]
    {
        let columns = vec![text.clone(), bytes.clone()];
        let file = check(&fields, &Shapes::default(), codec, &[columns.clone(), columns], batch);
        let metadata = read_metadata(&file);
        for (group, column, small) in [(0, 0, [2, 896, 1098]), (1, 1, [2, 895, 1098])] {
            let index = metadata.page_index_for_row_group(group);
            let firsts: Vec<i64> =
                index.page_locations(column).unwrap().iter().map(|page| page.first_row_index).collect();
            let rows: Vec<i64> =
                firsts.windows(2).map(|pair| pair[1] - pair[0]).filter(|&rows| rows > 1).collect();
            assert_eq!(rows, small, "{codec:?}");
            assert_eq!(firsts.last(), Some(&1999));
            let chunk = metadata.row_group(group).column(column);
            assert!(chunk.unencoded_byte_array_data_bytes().unwrap() > 4 * 5_400_000);
        }
    }
}
