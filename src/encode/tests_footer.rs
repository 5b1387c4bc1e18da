//! Footers are the bytes that parquet's writer makes of all row groups at once.

use std::sync::Arc;

use parquet::file::metadata::page_index::PageIndexBuilder;
use parquet::file::metadata::{
    FileMetaData, PageIndexPolicy, ParquetMetaDataBuilder, ParquetMetaDataReader, ParquetMetaDataWriter,
    RowGroupMetaData,
};
use parquet::file::writer::TrackedWrite;

use super::footer::{CREATED_BY, MAGIC, relocate, write_footer};
use super::tests::{columns, read, read_metadata};
use super::*;
use crate::types::Shapes;

/// Writes a footer by parquet's writer. What precedes `offset` is dropped.
fn at_once(offset: usize, schema: &FileSchema, metas: &[Vec<u8>]) -> Vec<u8> {
    let descr = schema.parquet();
    let created_by = Some(CREATED_BY.to_string());
    let file = FileMetaData::new(2, 0, created_by, Some(schema.key_values()), descr.clone(), None);
    let mut builder = ParquetMetaDataBuilder::new(file);
    let mut indexes = PageIndexBuilder::new(metas.len(), descr.num_columns());
    for (number, bytes) in metas.iter().enumerate() {
        let options =
            parquet::file::metadata::ParquetMetaDataOptions::new().with_encoding_stats_as_mask(false);
        let found = ParquetMetaDataReader::new()
            .with_metadata_options(Some(options))
            .with_page_index_policy(PageIndexPolicy::Optional)
            .parse_and_finish(&::bytes::Bytes::copy_from_slice(bytes))
            .unwrap();
        let group = found.row_group(0);
        let index = found.page_index_for_row_group(0);
        for column in 0..descr.num_columns() {
            if let Some(bounds) = index.column_index(column) {
                indexes.put_column_index(bounds.clone(), number, column);
            }
            indexes.put_offset_index(index.offset_index(column).unwrap().clone(), number, column);
        }
        let columns = group.columns().iter().enumerate();
        let columns = columns.map(|(at, chunk)| relocate(chunk, descr.column(at), 0).unwrap()).collect();
        let row_group = RowGroupMetaData::builder(descr.clone())
            .set_num_rows(group.num_rows())
            .set_total_byte_size(group.total_byte_size())
            .set_file_offset(group.file_offset().unwrap())
            .set_column_metadata(columns)
            .set_ordinal(number as i32);
        builder = builder.add_row_group(row_group.build().unwrap());
    }
    let metadata = builder.set_page_index(Some(Arc::new(indexes.build()))).build();
    let mut bytes = Vec::new();
    let mut tracked = TrackedWrite::new(&mut bytes);
    std::io::Write::write_all(&mut tracked, &vec![0; offset]).unwrap();
    ParquetMetaDataWriter::new_with_tracked(tracked, &metadata).finish().unwrap();
    bytes.split_off(offset)
}

/// Row groups of all kinds, of one page and of several, some with filters, in another order than their bytes.
#[test]
fn a_footer_is_what_parquet_writes() {
    for groups in [0usize, 1, 14, 15, 200] {
        let (fields, _) = columns(1, true);
        let schema = FileSchema::new(&fields, &Shapes::default()).unwrap();
        let options = Options::default();
        let mut writer = RowGroupWriter::new(&schema, &fields, &Shapes::default(), &options).unwrap();
        writer.add_bloom_filter(1, 10).unwrap();
        let (mut file, mut metas) = (MAGIC.to_vec(), Vec::new());
        for group in 0..groups {
            let (_, rows) = columns(if group % 64 == 63 { 21_000 } else { 1 + group % 5 }, group % 2 == 0);
            for (column, rows) in rows.iter().enumerate() {
                writer.append(column, &rows.lane, &rows.arena).unwrap();
            }
            let encoded = writer.finish().unwrap();
            metas.push(encoded.metadata_at(file.len() as u64).unwrap());
            encoded.buffers().for_each(|bytes| file.extend_from_slice(bytes));
        }
        metas.reverse();
        let decoded: Vec<RowGroupMeta> =
            metas.iter().map(|meta| RowGroupMeta::decode(meta).unwrap()).collect();
        let mut footer = Vec::new();
        let len = write_footer(&mut footer, file.len() as u64, &schema, &decoded[..], Vec::new(), CREATED_BY)
            .unwrap();
        assert_eq!(len, footer.len() as u64);
        let mut expected = at_once(file.len(), &schema, &metas);
        // Ours orders flat floats by their type.
        super::footer_frame::order_floats_by_type(&mut expected, schema.parquet()).unwrap();
        assert!(footer == expected, "{groups} row groups");
        file.extend_from_slice(&footer);
        assert_eq!(read_metadata(&file).num_row_groups(), groups);
        assert_eq!(read(&file).num_rows() as i64, read_metadata(&file).file_metadata().num_rows());
    }
}
