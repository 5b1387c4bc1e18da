//! Arrow IPC files: the footer, the record batches' messages, and the buffers of some columns.
//!
//! Arrow's format documentation describes the layout (Columnar.rst, "IPC File Format"). A message lists the
//! buffers of all columns in the order of the schema; only the requested columns' buffers are read.

use std::collections::{HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::iter::Peekable;
use std::ops::Range;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, SchemaRef, UnionMode};
use arrow::ipc::reader::{FileDecoder, read_footer_length};
use arrow::ipc::{self, Block, DictionaryKind, Feature, MetadataVersion, root_as_footer};

use super::error::{LeftOut, ReadError, Result, guarded};
use super::ipc_schema::IpcSchema;
use super::message;
use super::source::{Source, zeroed};
use super::texts::as_bytes;
use crate::interrupts;

pub struct IpcMeta {
    /// The columns that can be read.
    pub schema: SchemaRef,
    pub left_out: Vec<LeftOut>,
    /// All columns, and the places among them of those that can be read.
    layout: SchemaRef,
    places: Vec<usize>,
    version: MetadataVersion,
    dictionaries: Vec<Block>,
    /// The footer's metadata.
    pub metadata: Vec<(String, String)>,
    pub batches: Vec<BatchMeta>,
}

pub struct BatchMeta {
    block: Block,
    pub rows: u64,
    /// Number of NULLs in each column.
    pub nulls: Vec<u64>,
    /// The message's metadata, `min_max_stats.<column>` included.
    pub metadata: HashMap<String, String>,
    /// The bytes of the body that each column takes.
    buffers: Vec<Vec<Range<u64>>>,
    pub compressed: bool,
}

/// The footer's length and the closing magic bytes.
const TRAILER: usize = 10;

impl IpcMeta {
    pub fn read(source: &Source) -> Result<IpcMeta> {
        let path = source.path();
        let size = source.id().size;
        if size < TRAILER as u64 {
            return Err(ReadError::damaged(path, "it is too short for an Arrow file"));
        }
        let trailer = source.read_at(size - TRAILER as u64, TRAILER)?;
        let trailer = trailer.try_into().unwrap_or([0; TRAILER]);
        let len = guarded(path, || read_footer_length(trailer))?;
        let Some(at) = (size - TRAILER as u64).checked_sub(len as u64) else {
            return Err(ReadError::damaged(path, "its footer is longer than the file"));
        };
        let bytes = source.read_at(at, len)?;
        let (mut meta, blocks) = parse_footer(path, &bytes)?;
        for block in blocks {
            interrupts::check();
            let message = read_message(source, &block)?;
            meta.batches.push(guarded(path, || meta.parse_batch(&message, block))?);
        }
        Ok(meta)
    }

    pub fn version(&self) -> MetadataVersion {
        self.version
    }

    pub fn has_dictionaries(&self) -> bool {
        !self.dictionaries.is_empty()
    }

    /// Returns the places of the record batches.
    pub fn blocks(&self) -> Vec<Block> {
        self.batches.iter().map(|batch| batch.block).collect()
    }

    fn parse_batch(&self, framed: &[u8], block: Block) -> std::result::Result<BatchMeta, String> {
        let message = message::parse(framed)?;
        let batch = message.header_as_record_batch().ok_or("a block is not a record batch")?;
        let mut layout = Layout::new(&batch, message.version(), block.bodyLength());
        let (mut nulls, mut buffers) = (Vec::new(), Vec::new());
        let rows = u64::try_from(batch.length()).map_err(|_| "a number of rows is negative")?;
        for (place, field) in self.layout.fields().iter().enumerate() {
            let (count, ranges) = layout.column(field.data_type(), batch.length())?;
            if self.places.binary_search(&place).is_ok() {
                nulls.push(count);
                buffers.push(ranges);
            }
        }
        let pairs = message.custom_metadata().into_iter().flatten();
        let metadata = pairs.filter_map(|pair| Some((pair.key()?.to_owned(), pair.value()?.to_owned())));
        let compressed = message::is_compressed(&message, &batch)?;
        Ok(BatchMeta { block, rows, nulls, metadata: metadata.collect(), buffers, compressed })
    }

    pub fn column_bytes(&self, columns: &[usize]) -> u64 {
        let ranges = |batch: &BatchMeta| {
            let of_columns = columns.iter().filter_map(|&column| batch.buffers.get(column));
            of_columns.flatten().map(|range| range.end - range.start).sum::<u64>()
        };
        self.batches.iter().map(ranges).sum()
    }

    /// Makes a decoder for the columns, in ascending order, with their dictionaries. It reads texts as bytes.
    pub fn decoder(&self, source: &Source, columns: &[usize]) -> Result<FileDecoder> {
        let places: Vec<usize> =
            columns.iter().filter_map(|&column| self.places.get(column).copied()).collect();
        // Messages may be of another version than the footer states, which the decoder accepts only if it is
        // told V1; it then goes by the version of each message.
        let decoder = FileDecoder::new(as_bytes(&self.layout).into(), MetadataVersion::V1);
        let mut decoder = decoder.with_projection(places);
        let read = guarded(source.path(), || self.schema.project(columns))?;
        let mut known = HashSet::new();
        for block in &self.dictionaries {
            let (offset, len) = extent(source, block)?;
            let message = source.read_at(offset, block.metaDataLength() as usize)?;
            let id = guarded(source.path(), || dictionary_id(&message))?;
            #[expect(deprecated, reason = "the format's numbers of dictionaries have no other name")]
            if read.fields_with_dict_id(id).is_empty() {
                continue;
            }
            let bytes = source.read_at(offset, len)?;
            guarded(source.path(), || {
                check_dictionary(&bytes, &mut known)?;
                let (bytes, block) = message::unpacked(bytes, block, |_| true)?;
                decoder.read_dictionary(&block, &Buffer::from_vec(bytes)).map_err(|cause| cause.to_string())
            })?;
        }
        Ok(decoder)
    }

    /// Returns the places in the file of validity, unless all rows are valid, and of values, for a fixed-width
    /// column that is not nested.
    pub fn plain_buffers(
        &self,
        source: &Source,
        group: usize,
        column: usize,
    ) -> Result<(Option<Range<u64>>, Range<u64>)> {
        let batch = &self.batches[group];
        let (offset, _) = extent(source, &batch.block)?;
        let body = offset + batch.block.metaDataLength() as u64;
        let in_file = |range: &Range<u64>| body + range.start..body + range.end;
        match (&batch.buffers[column][..], batch.nulls[column]) {
            ([_, values], 0) => Ok((None, in_file(values))),
            ([validity, values], _) => Ok((Some(in_file(validity)), in_file(values))),
            _ => Err(ReadError::damaged(source.path(), "a column does not have the buffers of its type")),
        }
    }

    /// Reads some columns of a record batch, and returns the number of bytes of its body.
    pub fn read_batch(
        &self,
        source: &Source,
        decoder: &FileDecoder,
        group: usize,
        columns: &[usize],
    ) -> Result<(RecordBatch, u64)> {
        let batch = &self.batches[group];
        let (offset, len) = extent(source, &batch.block)?;
        let head = batch.block.metaDataLength() as usize;
        // The decoder needs the whole block; the parts of other columns remain untouched zeros.
        let mut bytes = zeroed(source.path(), len)?;
        source.read_into(&mut bytes[..head], offset)?;
        let ranges = columns.iter().filter_map(|&column| batch.buffers.get(column)).flatten();
        let wanted: HashSet<Range<u64>> = ranges.clone().cloned().collect();
        for range in ranges {
            let within = head + range.start as usize..head + range.end as usize;
            let at = offset + within.start as u64;
            source.read_into(&mut bytes[within], at)?;
        }
        guarded(source.path(), || {
            let is_wanted = |range| wanted.contains(&range);
            let (bytes, block) = message::unpacked(bytes, &batch.block, is_wanted)?;
            let read = decoder.read_record_batch(&block, &Buffer::from_vec(bytes));
            let read = read.map_err(|cause| cause.to_string())?;
            let batch = read.ok_or_else(|| "a block is not a record batch".to_owned())?;
            Ok::<_, String>((batch, block.bodyLength() as u64))
        })
    }
}

fn parse_footer(path: &str, bytes: &[u8]) -> Result<(IpcMeta, Vec<Block>)> {
    let footer = guarded(path, || root_as_footer(bytes))?;
    let lacking = |what| ReadError::damaged(path, format!("its footer has no {what}"));
    let schema = footer.schema().ok_or_else(|| lacking("schema"))?;
    if schema.endianness() != ipc::Endianness::Little {
        return Err(ReadError::unsupported(path, "its values are big-endian"));
    }
    check_schema(&schema).map_err(|why| ReadError::unsupported(path, &why))?;
    let columns = guarded(path, || Ok::<_, Infallible>(IpcSchema::new(schema)))?;
    let columns = columns.map_err(|why| ReadError::unsupported(path, &why))?;
    let dictionaries = footer.dictionaries().into_iter().flatten().copied().collect();
    let blocks = footer.recordBatches().ok_or_else(|| lacking("list of record batches"))?;
    let pairs = footer.custom_metadata().into_iter().flatten();
    let metadata =
        pairs.filter_map(|pair| Some((pair.key()?.to_owned(), pair.value()?.to_owned()))).collect();
    let IpcSchema { schema, layout, places, left_out } = columns;
    let (version, batches) = (footer.version(), Vec::new());
    let meta = IpcMeta { schema, left_out, layout, places, version, dictionaries, metadata, batches };
    Ok((meta, blocks.iter().copied().collect()))
}

/// Refuses features of a schema that change the layout of values in an unknown way.
fn check_schema(schema: &ipc::Schema) -> std::result::Result<(), String> {
    const KNOWN: [Feature; 3] = [Feature::UNUSED, Feature::DICTIONARY_REPLACEMENT, Feature::COMPRESSED_BODY];
    if let Some(feature) = schema.features().into_iter().flatten().find(|feature| !KNOWN.contains(feature)) {
        return Err(format!("its schema asks for the unknown feature {}", feature.0));
    }
    schema.fields().into_iter().flatten().try_for_each(|field| check_field(&field))
}

fn check_field(field: &ipc::Field) -> std::result::Result<(), String> {
    if field.dictionary().is_some_and(|of| of.dictionaryKind() != DictionaryKind::DenseArray) {
        return Err(format!(
            "the dictionary of column \"{}\" is of an unknown kind",
            field.name().unwrap_or("")
        ));
    }
    field.children().into_iter().flatten().try_for_each(|child| check_field(&child))
}

/// Returns the place of a block in the file.
fn extent(source: &Source, block: &Block) -> Result<(u64, usize)> {
    let parts = (
        u64::try_from(block.offset()),
        u64::try_from(block.metaDataLength()),
        u64::try_from(block.bodyLength()),
    );
    if let (Ok(offset), Ok(head), Ok(body)) = parts
        && let Some(len) = head.checked_add(body)
        && head >= 8
        && source.holds(offset, len)
    {
        return Ok((offset, len as usize));
    }
    Err(ReadError::damaged(source.path(), "a record batch does not lie in the file"))
}

fn read_message(source: &Source, block: &Block) -> Result<Vec<u8>> {
    let (offset, _) = extent(source, block)?;
    source.read_at(offset, block.metaDataLength() as usize)
}

/// Walks the lists of nodes and buffers of a record batch, column by column.
struct Layout {
    nodes: Peekable<std::vec::IntoIter<ipc::FieldNode>>,
    buffers: std::vec::IntoIter<ipc::Buffer>,
    views: VecDeque<i64>,
    version: MetadataVersion,
    body: u64,
}

type LayoutResult<T> = std::result::Result<T, String>;

impl Layout {
    fn new(batch: &ipc::RecordBatch, version: MetadataVersion, body: i64) -> Layout {
        let nodes: Vec<_> = batch.nodes().into_iter().flatten().copied().collect();
        let buffers: Vec<_> = batch.buffers().into_iter().flatten().copied().collect();
        Layout {
            nodes: nodes.into_iter().peekable(),
            buffers: buffers.into_iter(),
            views: batch.variadicBufferCounts().into_iter().flatten().collect(),
            version,
            body: body.max(0) as u64,
        }
    }

    /// Returns the number of NULLs and the buffers of the next column, which must have as many rows as its
    /// record batch.
    fn column(&mut self, data_type: &DataType, rows: i64) -> LayoutResult<(u64, Vec<Range<u64>>)> {
        let mut ranges = Vec::new();
        if self.nodes.peek().is_some_and(|node| node.length() != rows) {
            return Err("a column does not have as many rows as its record batch".into());
        }
        let nulls = self.walk(data_type, &mut ranges)?;
        Ok((nulls, ranges))
    }

    fn walk(&mut self, data_type: &DataType, out: &mut Vec<Range<u64>>) -> LayoutResult<u64> {
        let node = self.nodes.next().ok_or("a record batch has fewer columns than the schema")?;
        let own = match data_type {
            DataType::Null | DataType::RunEndEncoded(..) => 0,
            DataType::Struct(_) | DataType::FixedSizeList(..) => 1,
            DataType::Utf8 | DataType::Binary | DataType::LargeUtf8 | DataType::LargeBinary => 3,
            DataType::ListView(_) | DataType::LargeListView(_) => 3,
            DataType::Utf8View | DataType::BinaryView => {
                let more = self.views.pop_front().and_then(|count| u32::try_from(count).ok());
                2 + more.ok_or("a record batch lacks the number of a column's buffers")? as usize
            }
            DataType::Union(_, mode) => {
                1 + usize::from(*mode == UnionMode::Dense) + usize::from(self.version < MetadataVersion::V5)
            }
            _ => 2,
        };
        for _ in 0..own {
            out.push(self.range()?);
        }
        match data_type {
            DataType::List(child)
            | DataType::LargeList(child)
            | DataType::FixedSizeList(child, _)
            | DataType::ListView(child)
            | DataType::LargeListView(child)
            | DataType::Map(child, _) => {
                self.walk(child.data_type(), out)?;
            }
            DataType::Struct(fields) => {
                for field in fields {
                    self.walk(field.data_type(), out)?;
                }
            }
            DataType::Union(fields, _) => {
                for (_, field) in fields.iter() {
                    self.walk(field.data_type(), out)?;
                }
            }
            DataType::RunEndEncoded(ends, values) => {
                self.walk(ends.data_type(), out)?;
                self.walk(values.data_type(), out)?;
            }
            _ => {}
        }
        u64::try_from(node.null_count()).map_err(|_| "a number of NULLs is negative".into())
    }

    fn range(&mut self) -> LayoutResult<Range<u64>> {
        let buffer =
            self.buffers.next().ok_or("a record batch has fewer buffers than the schema asks for")?;
        let parts = (u64::try_from(buffer.offset()), u64::try_from(buffer.length()));
        if let (Ok(offset), Ok(len)) = parts
            && offset.checked_add(len).is_some_and(|end| end <= self.body)
        {
            return Ok(offset..offset + len);
        }
        Err("a buffer does not lie in its record batch".into())
    }
}

fn dictionary_id(framed: &[u8]) -> LayoutResult<i64> {
    let message = message::parse(framed)?;
    let dictionary = message.header_as_dictionary_batch().ok_or("a block is not a dictionary")?;
    Ok(dictionary.id())
}

/// Checks a dictionary's message. `known` has the dictionaries before it.
fn check_dictionary(bytes: &[u8], known: &mut HashSet<i64>) -> LayoutResult<()> {
    let message = message::parse(bytes)?;
    let dictionary = message.header_as_dictionary_batch().ok_or("a block is not a dictionary")?;
    // The file does not state which record batches precede a second dictionary.
    match known.insert(dictionary.id()) || dictionary.isDelta() {
        true => Ok(()),
        false => Err(format!("it has two dictionaries of the number {}", dictionary.id())),
    }
}

#[cfg(test)]
#[path = "ipc_tests.rs"]
mod tests;
