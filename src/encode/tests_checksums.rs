//! Every page has a checksum, by which a reader finds each changed bit.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::DataType;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::statistics::Statistics;

use super::footer::{MAGIC, RowGroupMeta};
use super::tests::{ALL_CODECS, columns, field, finish_file, read, read_metadata, write_file};
use super::*;
use crate::types::{Field, Kind, Shape, Shapes};

/// The places of a file's pages, dictionaries among them.
fn pages(file: &[u8]) -> Vec<std::ops::Range<usize>> {
    let metadata = read_metadata(file);
    let mut found = Vec::new();
    for (group, row_group) in metadata.row_groups().iter().enumerate() {
        for (leaf, chunk) in row_group.columns().iter().enumerate() {
            let (start, len) = chunk.byte_range();
            let index = metadata.page_index_for_row_group(group);
            let locations = index.page_locations(leaf).unwrap().iter().map(|page| page.offset as usize);
            let mut starts: Vec<usize> = locations.chain([(start + len) as usize]).collect();
            if starts[0] > start as usize {
                starts.insert(0, start as usize);
            }
            found.extend(starts.windows(2).map(|page| page[0]..page[1]));
        }
    }
    found
}

fn is_readable(file: Vec<u8>) -> bool {
    let reader = ParquetRecordBatchReaderBuilder::try_new(::bytes::Bytes::from(file)).unwrap().build();
    reader.is_ok_and(|mut reader| reader.all(|batch| batch.is_ok()))
}

/// Changes a bit in each page's last byte and in its middle; headers are shorter than half of these pages.
fn check_every_page(file: &[u8], least: usize) {
    assert!(is_readable(file.to_vec()));
    let pages = pages(file);
    assert!(pages.len() >= least);
    for page in pages {
        let middle = page.start + page.len() / 2;
        for at in [page.end - 1, middle].into_iter().filter(|&at| page.len() > 100 || at == page.end - 1) {
            let mut flipped = file.to_vec();
            flipped[at] ^= 1 << (at % 8);
            assert!(!is_readable(flipped), "byte {at} of {page:?}");
        }
    }
}

#[test]
fn a_bit_of_any_page() {
    for codec in ALL_CODECS {
        let (fields, first) = columns(300, true);
        let (_, second) = columns(9, true);
        let file = write_file(&fields, &Shapes::default(), codec, &[first, second], 100);
        check_every_page(&file, 2 * fields.len());
    }
}

/// Lists of floats are as parquet writes them, except for checksums and for bounds beside NaN.
fn lists(codec: Codec, values: &[f64], rows: usize) -> Vec<u8> {
    let element = Box::new(field("x", Kind::Float8, true));
    let fields: [Field; 1] = [field("l", Kind::List { shape_index: 0, element }, true)];
    let mut shapes = Shapes::new(1);
    shapes.merge(0, Shape::list(1));
    let schema = FileSchema::new(&fields, &shapes).unwrap();
    let DataType::List(element) = schema.arrow().field(0).data_type().clone() else { panic!() };
    let repeated: Float64Array = values.iter().copied().cycle().take(rows * values.len()).collect();
    let offsets = arrow::buffer::OffsetBuffer::from_lengths(vec![values.len(); rows]);
    let array: ArrayRef = Arc::new(ListArray::new(element, offsets, Arc::new(repeated), None));
    let options = Options { codec, ..Options::default() };
    let mut writer = RowGroupWriter::new(&schema, &fields, &shapes, &options).unwrap();
    writer.append_nested(0, &array).unwrap();
    let encoded = writer.finish().unwrap();
    let meta = RowGroupMeta::decode(&encoded.metadata_at(MAGIC.len() as u64).unwrap()).unwrap();
    let mut file = MAGIC.to_vec();
    encoded.buffers().for_each(|buffer| file.extend_from_slice(buffer));
    finish_file(&mut file, &schema, &[meta]);
    assert_eq!(read(&file).column(0), &array);
    file
}

#[test]
fn nested_pages_too() {
    check_every_page(&lists(Codec::default(), &[0.5, 1.5], 45_000), 4);
    check_every_page(&lists(Codec::default(), &[1.5], 3), 2);
}

/// The metadata of nested pages that slow codecs compressed have their codec and sizes.
#[test]
fn nested_pages_of_slow_codecs() {
    let plain = read_metadata(&lists(Codec::None, &[0.5, 1.5], 45_000));
    let plain = plain.row_group(0).column(0);
    for codec in [Codec::Zstd(13), Codec::Brotli(10)] {
        let file = lists(codec, &[0.5, 1.5], 45_000);
        check_every_page(&file, 4);
        let metadata = read_metadata(&file);
        let chunk = metadata.row_group(0).column(0);
        let compression = codec.compression().unwrap();
        assert_eq!(chunk.compression_codec(), compression.into());
        assert!(chunk.compressed_size() < plain.compressed_size() / 10);
        // The headers differ in length.
        assert!((chunk.uncompressed_size() - plain.uncompressed_size()).abs() < 30);
        let bytes = pages(&file).iter().map(|page| page.len() as i64).sum::<i64>();
        assert_eq!(chunk.compressed_size(), bytes);
    }
}

#[test]
fn nothing_bounds_nested_nan() {
    for (values, nans) in [(vec![1.0, f64::NAN], 2), (vec![1.0, 2.0], 0)] {
        let metadata = read_metadata(&lists(Codec::default(), &values, 2));
        let Some(Statistics::Double(found)) = metadata.row_group(0).column(0).statistics() else { panic!() };
        assert_eq!((found.nan_count_opt(), found.null_count_opt()), (Some(nans), Some(0)));
        assert_eq!((found.min_opt().is_some(), found.max_opt().is_some()), (nans == 0, nans == 0));
        assert_eq!(metadata.page_index_for_row_group(0).column_index(0).is_some(), nans == 0);
    }
}
