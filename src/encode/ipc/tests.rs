//! Whole files, written by this module and read back by arrow's own reader.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Schema};
use arrow::ipc::reader::FileReader;
use arrow::ipc::{Message, root_as_footer, root_as_message};

use super::super::tests::{Rows, columns, field, rows, strings};
use super::super::tests_files::nested_columns;
use super::super::{EncodeError, FileSchema};
use super::*;
use crate::types::{Field, Kind, Lane, Shape, Shapes, Values};

const ALL_CODECS: [BufferCodec; 3] = [BufferCodec::None, BufferCodec::Lz4, BufferCodec::Zstd(3)];

pub fn schema(fields: &[Field], shapes: &Shapes) -> Schema {
    FileSchema::new(fields, shapes).unwrap().arrow_file()
}

pub fn writer(fields: &[Field], shapes: &Shapes, codec: BufferCodec) -> BatchWriter {
    BatchWriter::new(fields, shapes, codec, &vec![true; fields.len()]).unwrap()
}

/// Writes a file of these batches, of which the last lies first, after a gap.
pub fn assemble(fields: &[Field], shapes: &Shapes, batches: Vec<EncodedBatch>) -> Vec<u8> {
    let mut file = file::header(&schema(fields, shapes));
    let mut metas = Vec::new();
    let order = (0..batches.len()).rev();
    for batch in order.map(|index| &batches[index]) {
        file.resize(file.len() + 64, 0xee);
        metas.push(BatchMeta::decode(&batch.metadata_at(file.len() as u64).unwrap()).unwrap());
        let before = file.len();
        batch.buffers().for_each(|buffer| file.extend_from_slice(buffer));
        assert_eq!((file.len() - before) as u64, batch.len());
    }
    metas.reverse();
    let mut digits = BTreeMap::new();
    metas.iter().for_each(|meta| meta.add_digits(&mut digits));
    let exact = exact_shapes(fields, shapes, &digits);
    let header = file::header(&schema(fields, &exact));
    file[..header.len()].copy_from_slice(&header);
    file.extend_from_slice(
        &file::footer(&schema(fields, &exact), &metas.iter().map(BatchMeta::block).collect::<Vec<_>>(), &[])
            .unwrap(),
    );
    file
}

fn write(fields: &[Field], codec: BufferCodec, batches: &[Vec<Rows>], lane: usize) -> Vec<u8> {
    let shapes = Shapes::default();
    let mut writer = writer(fields, &shapes, codec);
    let encode = |columns: &Vec<Rows>| {
        for (index, column) in columns.iter().enumerate() {
            for start in (0..column.len()).step_by(lane) {
                let piece = column.slice(start, lane.min(column.len() - start));
                writer.append(index, &piece, &column.arena).unwrap();
            }
        }
        writer.finish().unwrap()
    };
    let encoded = batches.iter().map(encode).collect();
    assemble(fields, &shapes, encoded)
}

/// The schema and the batches; the reader checks offsets, text and nullability.
pub fn read(file: &[u8]) -> (Arc<Schema>, Vec<RecordBatch>) {
    let reader = FileReader::try_new(Cursor::new(file), None).unwrap();
    let schema = reader.schema();
    (schema, reader.map(|batch| batch.unwrap()).collect())
}

/// The message of every record batch, with the place of its body.
pub fn messages(file: &[u8]) -> Vec<(Message<'_>, usize)> {
    let tail = file.len() - 10;
    let len = i32::from_le_bytes(file[tail..tail + 4].try_into().unwrap()) as usize;
    let footer = root_as_footer(&file[tail - len..tail]).unwrap();
    let blocks = footer.recordBatches().unwrap();
    let message = |block: &arrow::ipc::Block| {
        let (start, body) =
            (block.offset() as usize, block.offset() as usize + block.metaDataLength() as usize);
        (root_as_message(&file[start + 8..body]).unwrap(), body)
    };
    blocks.iter().map(message).collect()
}

#[test]
fn every_kind_and_codec_comes_back() {
    for (codec, nulls) in ALL_CODECS.into_iter().flat_map(|codec| [(codec, false), (codec, true)]) {
        let (fields, first) = columns(5000, nulls);
        let (_, second) = columns(3, nulls);
        let file = write(&fields, codec, &[first.clone(), second.clone()], 777);
        let (read_schema, batches) = read(&file);
        assert_eq!(*read_schema, schema(&fields, &Shapes::default()));
        assert_eq!(batches.iter().map(|batch| batch.num_rows()).collect::<Vec<_>>(), [5000, 3]);
        for (batch, group) in batches.iter().zip([first, second]) {
            for (index, column) in group.iter().enumerate() {
                let expected = column.expected(read_schema.field(index).data_type());
                assert_eq!(batch.column(index), &expected, "{} {codec:?}", fields[index].name);
            }
        }
    }
}

#[test]
fn columns_of_nulls_empty_batches_and_bare_rows() {
    let fields = [field("i", Kind::Int4, true), field("t", Kind::Text, true), field("b", Kind::Bool, true)];
    let all_null = |n: usize| {
        let null = |values: Rows| values.with_nulls(|_| true);
        vec![
            null(rows(Values::I32(vec![7; n]))),
            null(strings(vec!["x"; n])),
            null(rows(Values::Bool(vec![true; n]))),
        ]
    };
    for codec in ALL_CODECS {
        let (_, batches) = read(&write(&fields, codec, &[all_null(9), all_null(0), all_null(1)], 4));
        assert_eq!(batches.iter().map(|batch| batch.num_rows()).collect::<Vec<_>>(), [9, 0, 1]);
        assert!(batches.iter().all(|b| b.columns().iter().all(|c| c.null_count() == b.num_rows())));
        assert!(read(&write(&fields, codec, &[], 1)).1.is_empty());
    }
    let mut bare = writer(&[], &Shapes::default(), BufferCodec::None);
    bare.append_rows(42);
    assert_eq!(bare.rows(), 42);
    let batch = bare.finish().unwrap();
    assert_eq!((batch.rows(), bare.rows()), (42, 0));
    assert_eq!(read(&assemble(&[], &Shapes::default(), vec![batch])).1[0].num_rows(), 42);
}

#[test]
fn nested_columns_come_back_with_as_many_digits_as_they_need() {
    let (fields, mut shapes, [list, composite]) = nested_columns();
    // Room for more digits than there are.
    shapes.merge(1, Shape::numeric(30, 3));
    let schema = schema(&fields, &shapes);
    let list = retyped(&list, schema.field(0).data_type());
    let mut writer = writer(&fields, &shapes, BufferCodec::Lz4);
    for piece in [0..3, 1..3] {
        writer.append_nested(0, &list.slice(piece.start, piece.len())).unwrap();
        writer.append(1, &rows(Values::I32(piece.clone().map(|i| i as i32).collect())).lane, &[]).unwrap();
        writer.append_nested(2, &composite.slice(piece.start, piece.len())).unwrap();
    }
    let file = assemble(&fields, &shapes, vec![writer.finish().unwrap()]);
    let (read_schema, batches) = read(&file);
    shapes = Shapes::new(2);
    shapes.merge(0, Shape::list(2));
    shapes.merge(1, Shape::numeric(19, 3));
    assert_eq!(*read_schema, self::schema(&fields, &shapes), "10^21 at scale 3: 22 digits");
    for (column, array) in [(0, retyped(&list, read_schema.field(0).data_type())), (2, composite)] {
        let expected = concat(&[&array, &array.slice(1, 2)]).unwrap();
        assert_eq!(batches[0].column(column), &expected);
    }
}

/// A list of lists of decimals under another precision.
fn retyped(array: &ArrayRef, data_type: &DataType) -> ArrayRef {
    let data = array.to_data();
    let retype = |data: arrow::array::ArrayData, data_type: &DataType| {
        data.into_builder().data_type(data_type.clone())
    };
    let (DataType::List(inner), [list]) = (data_type, data.child_data()) else { panic!("a list") };
    let (DataType::List(leaf), [decimals]) = (inner.data_type(), list.child_data()) else {
        panic!("of lists")
    };
    let decimals = retype(decimals.clone(), leaf.data_type()).build().unwrap();
    let list = retype(list.clone(), inner.data_type()).child_data(vec![decimals]).build().unwrap();
    arrow::array::make_array(retype(data, data_type).child_data(vec![list]).build().unwrap())
}

#[test]
fn every_buffer_can_be_mapped_as_it_lies() {
    let (fields, first) = columns(1001, true);
    let (_, second) = columns(77, true);
    let file = write(&fields, BufferCodec::None, &[first, second], 500);
    assert_eq!(&file[..8], b"ARROW1\0\0");
    for (message, body) in messages(&file) {
        assert_eq!(body % 64, 0);
        let buffers = message.header_as_record_batch().unwrap().buffers().unwrap();
        assert!(buffers.len() > 2 * fields.len());
        assert!(buffers.iter().all(|buffer| buffer.offset() % 64 == 0));
        assert_eq!(message.bodyLength() % 64, 0);
    }
}

#[test]
fn numerics_take_the_precision_of_the_whole_file() {
    let fields = [
        field("n", Kind::Numeric { shape_index: 0 }, true),
        field("none", Kind::Numeric { shape_index: 1 }, true),
    ];
    let mut shapes = Shapes::new(2);
    shapes.merge(0, Shape::numeric(16, 2));
    let mut writer = writer(&fields, &shapes, BufferCodec::None);
    let mut batches = Vec::new();
    for values in [vec![5, -12_345], vec![99]] {
        let nulls = rows(Values::I32(vec![0; values.len()])).with_nulls(|_| true);
        writer.append(0, &rows(Values::I64(values)).lane, &[]).unwrap();
        writer.append(1, &nulls.lane, &[]).unwrap();
        batches.push(writer.finish().unwrap());
    }
    let (schema, _) = read(&assemble(&fields, &shapes, batches));
    assert_eq!(schema.field(0).data_type(), &DataType::Decimal128(5, 2));
    assert_eq!(schema.field(1).data_type(), &DataType::Decimal128(1, 0));
}

#[test]
fn the_header_does_not_grow_with_the_precision() {
    let fields = [field("n", Kind::Numeric { shape_index: 0 }, true)];
    let lengths = [Shape::numeric(0, 2), Shape::numeric(36, 2)].map(|shape| {
        let mut shapes = Shapes::new(1);
        shapes.merge(0, shape);
        file::header(&schema(&fields, &shapes)).len()
    });
    assert_eq!(lengths[0], lengths[1]);
    assert_eq!(lengths[0] % 64, 0);
}

#[test]
fn the_memory_of_written_batches_is_used_again() {
    let kinds = [("i", Kind::Int4), ("l", Kind::Int8), ("t", Kind::Text)];
    let fields = kinds.map(|(name, kind)| field(name, kind, true));
    let texts: Vec<String> = (0..4000).map(|row| format!("text {row}")).collect();
    let filled =
        [rows(Values::I32((0..4000).collect())), rows(Values::I64((0..4000).collect())), strings(&texts)];
    let mut writer = writer(&fields, &Shapes::default(), BufferCodec::None);
    let mut encode = |written: Option<EncodedBatch>| {
        written.into_iter().for_each(|batch| writer.recycle(batch));
        for (index, column) in filled.iter().enumerate() {
            writer.append(index, &column.lane, &column.arena).unwrap();
        }
        writer.finish().unwrap()
    };
    let large = |batch: &EncodedBatch| -> Vec<(*const u8, Vec<u8>)> {
        let large = batch.buffers().filter(|buffer| buffer.len() > 10_000);
        large.map(|buffer| (buffer.as_ptr(), buffer.to_vec())).collect()
    };
    let first = encode(None);
    let before = large(&first);
    // Memory that is held is not reused; recycled memory is.
    let second = encode(None);
    let other = large(&second);
    drop(first);
    let third = encode(Some(second));
    assert_eq!(large(&third), other);
    assert_eq!(before.len(), 4);
    for ((first, bytes), (second, same)) in before.iter().zip(&other) {
        assert!(first != second && bytes == same);
    }
}

#[test]
fn misuse_is_an_error() {
    let fields = [field("a", Kind::Int4, false)];
    let mut writer = writer(&fields, &Shapes::default(), BufferCodec::None);
    let uneven = Lane { valid: vec![1, 0, 1], values: Values::I32(vec![1]) };
    let null = rows(Values::I32(vec![1, 2])).with_nulls(|i| i == 0).lane;
    for wrong in [rows(Values::I64(vec![1])).lane, null, uneven.clone()] {
        assert!(matches!(writer.append(0, &wrong, &[]), Err(EncodeError::Invalid(_))));
    }
    assert!(writer.append(1, &uneven, &[]).is_err());
    let nullable = [field("a", Kind::Int4, true)];
    assert!(self::writer(&nullable, &Shapes::default(), BufferCodec::None).append(0, &uneven, &[]).is_err());
}

#[test]
fn codecs_are_parsed_by_name_and_level() {
    assert_eq!(BufferCodec::parse(" None "), Ok(BufferCodec::None));
    assert_eq!(BufferCodec::parse("lz4"), Ok(BufferCodec::Lz4));
    assert_eq!(BufferCodec::parse("ZSTD:7"), Ok(BufferCodec::Zstd(7)));
    assert!(matches!(BufferCodec::parse("snappy"), Err(CodecError::Unknown { .. })));
    for bad in ["zstd:23", "lz4:1", "none:0"] {
        assert!(matches!(BufferCodec::parse(bad), Err(CodecError::BadLevel { .. })), "{bad}");
    }
}
