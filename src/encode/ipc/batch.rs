//! Record batches: a builder for each column while rows are appended, then a message and its body.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::buffer::Buffer;
use arrow::datatypes::{Decimal128Type, Field as ArrowField, Metadata, Schema};
use arrow::ipc::convert::metadata_to_fb;
use arrow::ipc::writer::{IpcWriteOptions, StreamEncoder};
use arrow::ipc::{
    Block, BodyCompressionBuilder, BodyCompressionMethod, Buffer as BufferPlace, CompressionType, FieldNode,
    MessageBuilder, MessageHeader, RecordBatchBuilder, root_as_message,
};
use flatbuffers::FlatBufferBuilder;
use serde::{Deserialize, Serialize};

use super::super::compress::Compressor;
use super::super::precision::decimal_digits;
use super::super::{EncodeError, Result, invalid};
use super::BufferCodec;
use super::body::compressed;
use super::column::{ColumnBuilder, KEPT_BYTES};
use super::file::frame;
use super::stats::{ColumnBounds, KEY, has_bounds};
use crate::memory::headroom;
use crate::types::{Field, Kind, Lane, Shapes};

/// About how much memory a compression context takes.
const CONTEXT_BYTES: usize = 4 << 20;

/// Encodes record batches. arrow's encoder would copy their buffers, and not compress them in steps.
pub struct BatchEncoder {
    encoder: StreamEncoder,
    codec: BufferCodec,
    /// `None` where buffers are not compressed.
    compressor: Option<Compressor>,
}

impl BatchEncoder {
    pub fn new(codec: BufferCodec) -> Result<BatchEncoder> {
        let empty = Schema::empty();
        let mut encoder = StreamEncoder::try_new_with_options(&empty, IpcWriteOptions::default())?;
        // The schema comes out before the first record batch, and is not used here.
        encoder.encode(&RecordBatch::new_empty(Arc::new(empty)))?;
        Ok(BatchEncoder { encoder, codec, compressor: codec.compressor()? })
    }

    /// Encodes a record batch with custom metadata.
    pub fn encode(&mut self, batch: RecordBatch, metadata: &Metadata) -> Result<EncodedBatch> {
        let (message, mut body) = split_message(self.encoder.encode(&batch)?)?;
        let rows = batch.num_rows();
        let mut arrays = batch.columns().to_vec();
        drop(batch);
        let mut places = places_of(&message)?;
        if let Some(compressor) = &mut self.compressor {
            // A buffer that is held only here is freed once it is compressed.
            if arrays.iter().any(|array| array.get_buffer_memory_size() > KEPT_BYTES) {
                arrays.clear();
            }
            body = compressed(body, &mut places, compressor)?;
        }
        let body_len = body.iter().map(|buffer| buffer.len()).sum::<usize>();
        let codec = self.codec.compression_type();
        let message = with_custom_metadata(&message, &places, body_len, codec, metadata)?;
        Ok(EncodedBatch { rows, header: frame(&message, 0), body, digits: Vec::new(), arrays })
    }
}

/// Encodes record batches one after the other.
pub struct BatchWriter {
    fields: Vec<Field>,
    columns: Vec<ColumnBuilder>,
    bounds: Vec<Option<ColumnBounds>>,
    /// Whether a column's bounds are written to the file. Those of numerics are kept in any case, for their digits.
    stated: Vec<bool>,
    /// The largest magnitude of the numerics in this record batch, by index of their shape.
    largest: BTreeMap<usize, u128>,
    encoder: BatchEncoder,
    /// The rows, in a file without columns.
    bare_rows: usize,
}

impl BatchWriter {
    /// `stated` says for each column whether its bounds are written; only kinds for which `has_bounds` holds have
    /// them.
    pub fn new(
        fields: &[Field],
        shapes: &Shapes,
        codec: BufferCodec,
        stated: &[bool],
    ) -> Result<BatchWriter> {
        let bounds = |(field, &stated): (&Field, &bool)| {
            let kept = stated || matches!(field.kind, Kind::Numeric { .. });
            (kept && has_bounds(&field.kind)).then(|| ColumnBounds::new(&field.kind, shapes))
        };
        Ok(BatchWriter {
            columns: fields.iter().map(|field| ColumnBuilder::new(field, shapes)).collect(),
            bounds: fields.iter().zip(stated).map(bounds).collect(),
            stated: stated.to_vec(),
            fields: fields.to_vec(),
            largest: BTreeMap::new(),
            encoder: BatchEncoder::new(codec)?,
            bare_rows: 0,
        })
    }

    /// Appends the next rows of a flat column. The cells of a `Values::Bytes` point into `arena`.
    pub fn append(&mut self, column: usize, lane: &Lane, arena: &[u8]) -> Result<()> {
        let Some(builder) = self.columns.get_mut(column) else { return invalid("no such column") };
        if !self.fields[column].nullable && !lane.valid.is_empty() {
            return invalid("a column that is NOT NULL has a NULL");
        }
        builder.append(lane, arena)?;
        if let Some(bounds) = &mut self.bounds[column] {
            bounds.add(&lane.values, arena);
        }
        Ok(())
    }

    /// Appends the next rows of a nested column, which are of the type that `arrow_type` returns.
    pub fn append_nested(&mut self, column: usize, array: &ArrayRef) -> Result<()> {
        let Some(builder) = self.columns.get_mut(column) else { return invalid("no such column") };
        builder.append_nested(array)?;
        note_largest(&self.fields[column].kind, array, &mut self.largest);
        Ok(())
    }

    /// Appends rows to a file that has no columns.
    pub fn append_rows(&mut self, rows: usize) {
        self.bare_rows += rows;
    }

    /// Returns the number of rows since the record batch began, in the first column.
    pub fn rows(&self) -> usize {
        self.columns.first().map_or(self.bare_rows, |column| column.rows)
    }

    /// Returns the uncompressed size of the buffers since the record batch began.
    pub fn buffered_bytes(&self) -> usize {
        self.columns.iter().map(|column| column.bytes).sum()
    }

    /// Returns the uncompressed size of the largest column.
    pub fn largest_column_bytes(&self) -> usize {
        self.columns.iter().map(|column| column.bytes).max().unwrap_or(0)
    }

    /// Closes the record batch and starts the next.
    pub fn finish(&mut self) -> Result<EncodedBatch> {
        let rows = self.rows();
        if self.columns.iter().any(|column| column.rows != rows) {
            return invalid("the columns of a record batch differ in their number of rows");
        }
        self.bare_rows = 0;
        if self.encoder.compressor.is_some() {
            headroom(self.buffered_bytes() + CONTEXT_BYTES)?;
        }
        let arrays = self.columns.iter_mut().map(ColumnBuilder::finish).collect::<Result<Vec<_>>>()?;
        let fields = arrays.iter().map(|array| ArrowField::new("", array.data_type().clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(schema, arrays, &options)?;
        let encoded = self.encoder.encode(batch, &self.stated_bounds())?;
        Ok(EncodedBatch { digits: self.take_digits(), ..encoded })
    }

    /// Reuses the memory of a record batch that has been written.
    pub fn recycle(&mut self, batch: EncodedBatch) {
        let EncodedBatch { body, arrays, .. } = batch;
        drop(body);
        self.columns.iter_mut().zip(arrays).for_each(|(column, array)| column.recycle(array));
    }

    fn stated_bounds(&self) -> Metadata {
        let columns = self.fields.iter().zip(&self.bounds).zip(&self.stated);
        columns
            .filter(|(_, stated)| **stated)
            .filter_map(|((field, bounds), _)| {
                Some((format!("{KEY}{}", field.name), bounds.as_ref()?.text()?))
            })
            .collect()
    }

    /// Returns the digits of the numerics in this record batch, and clears the bounds for the next one.
    fn take_digits(&mut self) -> Vec<(usize, u16)> {
        for (field, bounds) in self.fields.iter().zip(&mut self.bounds) {
            let Some(bounds) = bounds else { continue };
            if let Kind::Numeric { shape_index } = field.kind {
                self.largest.insert(shape_index, bounds.magnitude());
            }
            bounds.clear();
        }
        let digits = |(shape_index, largest): (usize, u128)| (shape_index, decimal_digits(largest));
        std::mem::take(&mut self.largest).into_iter().map(digits).collect()
    }
}

/// Raises the largest magnitude of each numeric inside a nested column. The value under a NULL is 0.
fn note_largest(kind: &Kind, array: &ArrayRef, largest: &mut BTreeMap<usize, u128>) {
    match kind {
        Kind::List { element, .. } => {
            let mut values = array.clone();
            while let Some(list) = values.as_list_opt::<i32>() {
                values = list.values().clone();
            }
            note_largest(&element.kind, &values, largest);
        }
        Kind::Struct { fields } => {
            let columns = array.as_struct_opt().map_or(&[][..], |composite| composite.columns());
            fields.iter().zip(columns).for_each(|(field, column)| note_largest(&field.kind, column, largest));
        }
        Kind::Numeric { shape_index } => {
            let values = array.as_primitive_opt::<Decimal128Type>();
            let seen = values.and_then(|values| values.values().iter().map(|v| v.unsigned_abs()).max());
            let known = largest.entry(*shape_index).or_default();
            *known = seen.unwrap_or(0).max(*known);
        }
        _ => {}
    }
}

/// Splits an encoded message into its metadata and the buffers of its body, with the padding between them.
fn split_message(encoded: Vec<Buffer>) -> Result<(Buffer, Vec<Buffer>)> {
    let mut buffers = encoded.into_iter();
    // The continuation mark and length come first.
    let Some(metadata) = buffers.nth(1) else { return invalid("a record batch without a message") };
    let body_len = root_as_message(&metadata).map_err(flatbuffer)?.bodyLength() as usize;
    let mut body: Vec<Buffer> = buffers.collect();
    // Remove the metadata's padding, if there is any.
    if body.iter().map(|buffer| buffer.len()).sum::<usize>() > body_len {
        body.remove(0);
    }
    match body.iter().map(|buffer| buffer.len()).sum::<usize>() == body_len {
        true => Ok((metadata, body)),
        false => invalid("a record batch is not laid out as expected"),
    }
}

/// Returns where a record batch's buffers lie in its body.
fn places_of(message: &[u8]) -> Result<Vec<BufferPlace>> {
    let message = root_as_message(message).map_err(flatbuffer)?;
    let Some(batch) = message.header_as_record_batch() else { return invalid("not a record batch") };
    Ok(batch.buffers().into_iter().flatten().copied().collect())
}

/// Rewrites a record batch's message with its buffers in other places, and with custom metadata, which arrow's
/// encoder does not support.
fn with_custom_metadata(
    message: &[u8],
    places: &[BufferPlace],
    body_len: usize,
    codec: Option<CompressionType>,
    metadata: &Metadata,
) -> Result<Vec<u8>> {
    let message = root_as_message(message).map_err(flatbuffer)?;
    let Some(batch) = message.header_as_record_batch() else { return invalid("not a record batch") };
    let mut fbb = FlatBufferBuilder::new();
    let metadata = (!metadata.is_empty()).then(|| metadata_to_fb(&mut fbb, metadata));
    let nodes: Vec<FieldNode> = batch.nodes().into_iter().flatten().copied().collect();
    let nodes = fbb.create_vector(&nodes);
    let buffers = fbb.create_vector(places);
    let compression = codec.map(|codec| {
        let mut builder = BodyCompressionBuilder::new(&mut fbb);
        builder.add_codec(codec);
        builder.add_method(BodyCompressionMethod::BUFFER);
        builder.finish()
    });
    let mut builder = RecordBatchBuilder::new(&mut fbb);
    builder.add_length(batch.length());
    builder.add_nodes(nodes);
    builder.add_buffers(buffers);
    if let Some(compression) = compression {
        builder.add_compression(compression);
    }
    let header = builder.finish();
    let mut builder = MessageBuilder::new(&mut fbb);
    builder.add_version(message.version());
    builder.add_header_type(MessageHeader::RecordBatch);
    builder.add_header(header.as_union_value());
    builder.add_bodyLength(body_len as i64);
    if let Some(metadata) = metadata {
        builder.add_custom_metadata(metadata);
    }
    let root = builder.finish();
    fbb.finish(root, None);
    Ok(fbb.finished_data().to_vec())
}

fn flatbuffer(e: flatbuffers::InvalidFlatbuffer) -> EncodeError {
    EncodeError::Invalid(e.to_string())
}

/// A record batch's bytes, which have no place in a file yet.
pub struct EncodedBatch {
    rows: usize,
    header: Vec<u8>,
    body: Vec<Buffer>,
    digits: Vec<(usize, u16)>,
    /// The arrays that the body was made of, for `recycle`.
    arrays: Vec<ArrayRef>,
}

impl EncodedBatch {
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the size of the record batch in the file, a multiple of the alignment.
    pub fn len(&self) -> u64 {
        (self.header.len() + self.body_len()) as u64
    }

    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    fn body_len(&self) -> usize {
        self.body.iter().map(|buffer| buffer.len()).sum()
    }

    /// Returns the record batch's bytes in file order.
    pub fn buffers(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(&self.header[..]).chain(self.body.iter().map(|buffer| buffer.as_slice()))
    }

    /// Encodes what the footer needs to know of the record batch when it lies at `offset` of the file.
    /// `BatchMeta::decode` reads it, in this process or another.
    pub fn metadata_at(&self, offset: u64) -> Result<Vec<u8>> {
        let meta = BatchMeta {
            offset: offset as i64,
            header_len: self.header.len() as i32,
            body_len: self.body_len() as i64,
            digits: self.digits.clone(),
        };
        serde_json::to_vec(&meta).map_err(json)
    }
}

/// A record batch's place, and the digits of its numerics by index of their shape.
#[derive(Debug, Serialize, Deserialize)]
pub struct BatchMeta {
    offset: i64,
    header_len: i32,
    body_len: i64,
    digits: Vec<(usize, u16)>,
}

impl BatchMeta {
    pub fn decode(bytes: &[u8]) -> Result<BatchMeta> {
        serde_json::from_slice(bytes).map_err(json)
    }

    /// Raises the digits of each numeric to those of this record batch.
    pub fn add_digits(&self, all: &mut BTreeMap<usize, u16>) {
        for &(shape_index, digits) in &self.digits {
            let known = all.entry(shape_index).or_default();
            *known = digits.max(*known);
        }
    }

    pub fn block(&self) -> Block {
        Block::new(self.offset, self.header_len, self.body_len)
    }
}

fn json(e: serde_json::Error) -> EncodeError {
    EncodeError::Invalid(e.to_string())
}

/// Returns `shapes` with only as many digits for each numeric as the record batches' values need. `digits` are those,
/// by index of the shape.
pub fn exact_shapes(fields: &[Field], shapes: &Shapes, digits: &BTreeMap<usize, u16>) -> Shapes {
    let mut exact = shapes.clone();
    fields.iter().for_each(|field| narrow(&field.kind, shapes, digits, &mut exact));
    exact
}

fn narrow(kind: &Kind, shapes: &Shapes, digits: &BTreeMap<usize, u16>, exact: &mut Shapes) {
    match kind {
        _ if kind.nested_as_text(shapes) => {}
        Kind::List { element, .. } => narrow(&element.kind, shapes, digits, exact),
        Kind::Struct { fields } => {
            fields.iter().for_each(|field| narrow(&field.kind, shapes, digits, exact));
        }
        Kind::Numeric { shape_index } if shapes.get(*shape_index).decimal().is_some() => {
            let digits = digits.get(shape_index).copied().unwrap_or(0);
            let mut shape = shapes.get(*shape_index);
            shape.whole = digits.saturating_sub(shape.scale);
            exact.set(*shape_index, shape);
        }
        _ => {}
    }
}
