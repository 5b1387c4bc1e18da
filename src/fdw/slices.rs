//! Reads record batches of plain fixed-width columns some rows at a time.
//!
//! The buffers of such columns lie in the file as they do in memory, so any rows of them can be read alone,
//! into memory that stays in the processor's caches, unlike a whole record batch.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayData, RecordBatch, RecordBatchOptions, make_array};
use arrow::buffer::{Buffer, MutableBuffer};
use arrow::datatypes::{DataType, SchemaRef};

use super::error::{ReadError, Result, guarded};
use super::ipc::IpcMeta;
use super::source::Source;

/// The columns of a file that are read in slices.
pub struct Slices {
    schema: SchemaRef,
    columns: Vec<usize>,
}

/// Validity has a bit for each row.
const BITS: usize = 8;

impl Slices {
    /// Returns `None` if a column is not plain, or a record batch is compressed.
    pub fn new(meta: &IpcMeta, columns: &[usize]) -> Option<Slices> {
        let schema = Arc::new(meta.schema.project(columns).ok()?);
        let is_plain = |data_type: &DataType| data_type.primitive_width().is_some();
        let all_plain = schema.fields().iter().all(|field| is_plain(field.data_type()));
        let usable = all_plain && !meta.batches.iter().any(|batch| batch.compressed);
        usable.then(|| Slices { schema, columns: columns.to_vec() })
    }

    /// Reads some rows of a record batch; `rows` begins at a multiple of eight.
    pub fn read(
        &self,
        source: &Source,
        meta: &IpcMeta,
        group: usize,
        rows: Range<usize>,
    ) -> Result<RecordBatch> {
        let mut arrays = Vec::with_capacity(self.columns.len());
        for (&column, field) in self.columns.iter().zip(self.schema.fields()) {
            let data_type = field.data_type();
            let width = data_type.primitive_width().unwrap_or(0);
            let (validity, values) = meta.plain_buffers(source, group, column)?;
            let bytes = part(source, &values, rows.start * width..rows.end * width)?;
            let bits = match &validity {
                Some(validity) => Some(part(source, validity, rows.start / BITS..rows.end.div_ceil(BITS))?),
                None => None,
            };
            let array = ArrayData::builder(data_type.clone())
                .len(rows.len())
                .add_buffer(bytes.into())
                .null_bit_buffer(bits.map(Buffer::from));
            arrays.push(make_array(guarded(source.path(), || array.build())?));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        guarded(source.path(), || RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options))
    }
}

/// Reads a part of a buffer that lies at `whole` in the file.
fn part(source: &Source, whole: &Range<u64>, within: Range<usize>) -> Result<MutableBuffer> {
    let (start, end) = (whole.start + within.start as u64, whole.start + within.end as u64);
    if end > whole.end {
        return Err(ReadError::damaged(source.path(), "a buffer is too short for its record batch"));
    }
    let mut bytes = MutableBuffer::from_len_zeroed(within.len());
    source.read_into(&mut bytes, start)?;
    Ok(bytes)
}
