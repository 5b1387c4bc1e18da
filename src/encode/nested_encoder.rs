//! Encodes lists and composites by parquet's own Arrow writer.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, StructArray};
use arrow::datatypes::{DataType, Decimal128Type, Field as ArrowField, Schema};
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::basic::Compression;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr};
use parquet::file::statistics::{Statistics, ValueStatistics};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnDescPtr, Type, TypePtr};

use super::checksums::with_checksums;
use super::chunk::{EncodedChunk, PAGE_BYTES, PAGE_ROWS, Scratch};
use super::codec::Codec;
use super::{Result, invalid};
use crate::memory::headroom;

/// The encoder of one nested column, which has a column chunk for each leaf.
pub struct NestedEncoder {
    root: TypePtr,
    /// The Arrow field that parquet's writer sees; see `widen`.
    field: ArrowField,
    properties: WriterPropertiesPtr,
    /// The codec, if the pages are compressed here instead of by parquet's writer.
    slow: Option<Compression>,
    writers: Vec<ArrowColumnWriter>,
    /// About how much memory the compressor needs.
    compressor: usize,
}

impl NestedEncoder {
    /// `column` is the column's type in the file's schema.
    pub fn new(column: &TypePtr, field: &ArrowField, codec: Codec) -> Result<NestedEncoder> {
        let slow = codec.is_slow().then(|| codec.compression()).transpose()?;
        let inside = if slow.is_some() { Compression::UNCOMPRESSED } else { codec.compression()? };
        let properties = WriterProperties::builder()
            .set_compression(inside)
            .set_statistics_enabled(EnabledStatistics::Page)
            .set_data_page_size_limit(PAGE_BYTES)
            .set_data_page_row_count_limit(PAGE_ROWS)
            .build();
        let root = Type::group_type_builder("schema").with_fields(vec![column.clone()]).build()?;
        let mut nested = NestedEncoder {
            root: Arc::new(root),
            field: field.clone().with_data_type(widened(field.data_type())),
            properties: Arc::new(properties),
            slow,
            writers: Vec::new(),
            compressor: codec.memory(),
        };
        nested.writers = nested.new_writers()?;
        Ok(nested)
    }

    /// Creates writers, which serve one row group. Their factory requires a file, which is never written.
    fn new_writers(&self) -> Result<Vec<ArrowColumnWriter>> {
        let file = SerializedFileWriter::new(std::io::sink(), self.root.clone(), self.properties.clone())?;
        let schema = Arc::new(Schema::new(vec![self.field.clone()]));
        Ok(ArrowRowGroupWriterFactory::new(&file, schema).create_column_writers(0)?)
    }

    pub fn append(&mut self, array: &ArrayRef) -> Result<()> {
        headroom(self.compressor)?;
        let array = widen(array)?;
        let leaves = compute_leaves(&self.field, &array)?;
        if leaves.len() != self.writers.len() {
            return invalid("an array does not have its column's leaves");
        }
        for (leaf, writer) in leaves.iter().zip(&mut self.writers) {
            writer.write(leaf)?;
        }
        Ok(())
    }

    pub fn memory(&self) -> usize {
        self.writers.iter().map(|w| w.memory_size()).sum()
    }

    /// Closes the chunks and starts the next ones. `columns` are the leaves in the file's schema.
    pub fn finish(&mut self, columns: &[ColumnDescPtr], scratch: &mut Scratch) -> Result<Vec<EncodedChunk>> {
        let memory = self.memory();
        headroom(memory + self.compressor)?;
        let fresh = self.new_writers()?;
        let writers = std::mem::replace(&mut self.writers, fresh);
        // Only parquet itself can put an ArrowColumnChunk's pages in order, and only into a file.
        let mut bytes = Vec::new();
        super::reserve(&mut bytes, memory)?;
        let mut file = SerializedFileWriter::new(&mut bytes, self.root.clone(), self.properties.clone())?;
        let mut row_group = file.next_row_group()?;
        for writer in writers {
            writer.close()?.append_to_row_group(&mut row_group)?;
        }
        row_group.close()?;
        let metadata = file.close()?;
        let leaves = metadata.row_group(0).columns().iter().zip(columns).enumerate();
        leaves
            .map(|(leaf, (chunk, column))| {
                let (start, len) = chunk.byte_range();
                let start_offset = start as i64;
                let page_index = metadata.page_index_for_row_group(0);
                let Some(offset_index) = page_index.offset_index(leaf) else {
                    return invalid("parquet wrote a column chunk without an offset index");
                };
                let mut offset_index = offset_index.clone();
                offset_index.page_locations.iter_mut().for_each(|page| page.offset -= start_offset);
                let mut metadata = super::footer::relocate(chunk, column.clone(), -start_offset)?;
                if let Some(codec) = self.slow {
                    metadata = metadata.into_builder().set_compression(codec).build()?;
                }
                let bounds = without_bounds(metadata.statistics());
                let chunk = EncodedChunk {
                    dictionary: Vec::new(),
                    pages: Vec::new(),
                    column_index: page_index.column_index(leaf).filter(|_| bounds.is_none()).cloned(),
                    metadata: match bounds {
                        Some(statistics) => metadata.into_builder().set_statistics(statistics).build()?,
                        None => metadata,
                    },
                    offset_index,
                };
                let pages = bytes.get(start as usize..(start + len) as usize);
                let Some(pages) = pages else {
                    return invalid("parquet wrote a column chunk outside its file");
                };
                with_checksums(chunk, pages, self.slow.is_some().then_some(&mut *scratch))
            })
            .collect()
    }
}

/// Returns the statistics of a chunk that has NaNs, without bounds; see `stats::PageStats`.
fn without_bounds(statistics: Option<&Statistics>) -> Option<Statistics> {
    let statistics = statistics?;
    let nans = statistics.nan_count_opt().filter(|&nans| nans > 0);
    let nulls = statistics.null_count_opt();
    nans?;
    match statistics {
        Statistics::Float(_) => {
            Some(ValueStatistics::<f32>::new(None, None, None, nulls, false).with_nan_count(nans).into())
        }
        Statistics::Double(_) => {
            Some(ValueStatistics::<f64>::new(None, None, None, nulls, false).with_nan_count(nans).into())
        }
        _ => None,
    }
}

/// Widens decimals. parquet writes a decimal in as few bytes as its precision needs; our schema has 16 bytes for 19
/// digits and more, which 38 digits need.
fn widened(data_type: &DataType) -> DataType {
    let child = |field: &ArrowField| field.clone().with_data_type(widened(field.data_type()));
    match data_type {
        DataType::Decimal128(19.., scale) => DataType::Decimal128(38, *scale),
        DataType::List(element) => DataType::List(Arc::new(child(element))),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|f| child(f)).collect()),
        other => other.clone(),
    }
}

/// Returns the array under its widened type, without copying values.
fn widen(array: &ArrayRef) -> Result<ArrayRef> {
    let arrow = |e: arrow::error::ArrowError| parquet::errors::ParquetError::from(e);
    if *array.data_type() == widened(array.data_type()) {
        return Ok(array.clone());
    }
    Ok(match (array.data_type(), widened(array.data_type())) {
        (DataType::Decimal128(..), DataType::Decimal128(precision, scale)) => {
            let decimals = array.as_primitive::<Decimal128Type>().clone();
            Arc::new(decimals.with_precision_and_scale(precision, scale).map_err(arrow)?)
        }
        (DataType::List(_), DataType::List(element)) => {
            let (_, offsets, values, nulls) = array.as_list::<i32>().clone().into_parts();
            let values = widen(&values)?;
            Arc::new(ListArray::try_new(element, offsets, values, nulls).map_err(arrow)?)
        }
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let (_, columns, nulls) = array.as_struct().clone().into_parts();
            let columns = columns.iter().map(widen).collect::<Result<Vec<_>>>()?;
            Arc::new(StructArray::try_new(fields, columns, nulls).map_err(arrow)?)
        }
        _ => array.clone(),
    })
}
