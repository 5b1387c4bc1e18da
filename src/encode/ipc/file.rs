//! The parts of an Arrow file around its record batches.

use arrow::datatypes::Schema;
use arrow::ipc::convert::IpcSchemaEncoder;
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions};
use arrow::ipc::{Block, FooterBuilder, KeyValue, KeyValueArgs, MetadataVersion};
use flatbuffers::{FlatBufferBuilder, WIPOffset};

use super::super::{Result, invalid};

const MAGIC: &[u8; 6] = b"ARROW1";

/// The empty message after the last one, at which readers of a stream stop.
const END_OF_STREAM: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// The alignment of buffers. Arrow recommends 64 bytes, for vector loads.
pub(super) const ALIGNMENT: usize = 64;

/// Frames a message's metadata with its continuation mark and length. The padding aligns what follows if the message
/// lies `before` bytes after an aligned place.
pub(super) fn frame(metadata: &[u8], before: usize) -> Vec<u8> {
    let end = (before + 8 + metadata.len()).next_multiple_of(ALIGNMENT);
    let padded = end - before - 8;
    let mut framed = Vec::with_capacity(8 + padded);
    framed.extend_from_slice(&END_OF_STREAM[..4]);
    framed.extend_from_slice(&(padded as i32).to_le_bytes());
    framed.extend_from_slice(metadata);
    framed.resize(8 + padded, 0);
    framed
}

/// Returns what precedes the first record batch. Its length does not depend on the decimals' precision, which is
/// known only after all values have been written.
pub fn header(schema: &Schema) -> Vec<u8> {
    let mut header = MAGIC.to_vec();
    header.resize(8, 0);
    let message = IpcDataGenerator::default().schema_to_bytes_with_dictionary_tracker(
        schema,
        &mut DictionaryTracker::new(true),
        &IpcWriteOptions::default(),
    );
    header.extend_from_slice(&frame(&message.ipc_message, header.len()));
    header
}

fn key_value<'a>(fbb: &mut FlatBufferBuilder<'a>, key: &str, value: &str) -> WIPOffset<KeyValue<'a>> {
    let (key, value) = (fbb.create_string(key), fbb.create_string(value));
    KeyValue::create(fbb, &KeyValueArgs { key: Some(key), value: Some(value) })
}

/// Returns what follows the last record batch. The batches are in the order of the rows, which may differ from that
/// of the bytes.
pub fn footer(schema: &Schema, blocks: &[Block], metadata: &[(String, String)]) -> Result<Vec<u8>> {
    let mut fbb = FlatBufferBuilder::new();
    let dictionaries = fbb.create_vector::<Block>(&[]);
    let blocks = fbb.create_vector(blocks);
    let pairs: Vec<_> = metadata.iter().map(|(key, value)| key_value(&mut fbb, key, value)).collect();
    let pairs = (!pairs.is_empty()).then(|| fbb.create_vector(&pairs));
    let schema = IpcSchemaEncoder::new().schema_to_fb_offset(&mut fbb, schema);
    let mut builder = FooterBuilder::new(&mut fbb);
    builder.add_version(MetadataVersion::V5);
    builder.add_schema(schema);
    builder.add_dictionaries(dictionaries);
    builder.add_recordBatches(blocks);
    if let Some(pairs) = pairs {
        builder.add_custom_metadata(pairs);
    }
    let root = builder.finish();
    fbb.finish(root, None);
    let data = fbb.finished_data();
    let Ok(len) = i32::try_from(data.len()) else { return invalid("an Arrow footer of more than 2 GiB") };
    let mut footer = END_OF_STREAM.to_vec();
    footer.extend_from_slice(data);
    footer.extend_from_slice(&len.to_le_bytes());
    footer.extend_from_slice(MAGIC);
    Ok(footer)
}
