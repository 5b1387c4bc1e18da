//! The messages of Arrow IPC files: what in them changes the meaning of the buffers behind them.

use arrow::ipc::{
    self, Block, BodyCompressionMethod, CompressionType, DictionaryBatch, DictionaryBatchArgs, Message,
    MessageArgs, MessageHeader, MetadataVersion, RecordBatchArgs, root_as_message,
};
use flatbuffers::{FlatBufferBuilder, WIPOffset};

/// In the metadata of a message of V4, the codec of its buffers, as Arrow 0.17 wrote it before the format told where.
const EXPERIMENTAL_COMPRESSION: &str = "ARROW:experimental_compression";

const CONTINUATION: [u8; 4] = [0xff; 4];

pub type MessageResult<T> = std::result::Result<T, String>;

/// A message of a file: without its continuation mark, which files of old writers lack, and length.
pub fn parse(framed: &[u8]) -> MessageResult<Message<'_>> {
    let prefix = if framed.starts_with(&CONTINUATION) { 8 } else { 4 };
    let bytes = framed.get(prefix..).ok_or("a message is too short")?;
    let message = root_as_message(bytes).map_err(|cause| cause.to_string())?;
    // Before V4, buffers were told in another way.
    match message.version() {
        MetadataVersion::V4 | MetadataVersion::V5 => Ok(message),
        other => Err(format!("a message is of the unknown version V{}", i32::from(other.0) + 1)),
    }
}

/// Whether the buffers behind a message are compressed.
pub fn is_compressed(message: &Message, batch: &ipc::RecordBatch) -> MessageResult<bool> {
    match batch.compression() {
        Some(compression) if compression.method() != BodyCompressionMethod::BUFFER => {
            Err(format!("its buffers are compressed by the unknown method {}", compression.method().0))
        }
        Some(_) => Ok(true),
        None => Ok(experimental_codec(message)?.is_some()),
    }
}

fn experimental_codec(message: &Message) -> MessageResult<Option<CompressionType>> {
    if message.version() != MetadataVersion::V4 {
        return Ok(None);
    }
    let mut pairs = message.custom_metadata().into_iter().flatten();
    let name = pairs.find(|pair| pair.key() == Some(EXPERIMENTAL_COMPRESSION)).and_then(|pair| pair.value());
    match name.map(str::to_ascii_lowercase).as_deref() {
        None | Some("uncompressed") => Ok(None),
        Some("lz4") => Ok(Some(CompressionType::LZ4_FRAME)),
        Some("zstd") => Ok(Some(CompressionType::ZSTD)),
        Some(other) => Err(format!("its buffers are compressed by the unknown codec \"{other}\"")),
    }
}

/// A block's bytes, and the block, with the codec where the decoder looks for it.
pub fn with_codec(mut bytes: Vec<u8>, block: &Block) -> MessageResult<(Vec<u8>, Block)> {
    let message = parse(&bytes)?;
    let Some(codec) = experimental_codec(&message)? else { return Ok((bytes, *block)) };
    let head = stating(&message, codec)?;
    let stated = Block::new(block.offset(), head.len() as i32, block.bodyLength());
    let old = usize::try_from(block.metaDataLength()).unwrap_or(0).min(bytes.len());
    bytes.splice(..old, head);
    Ok((bytes, stated))
}

/// The message of a record batch or dictionary, framed, with a codec.
fn stating(message: &Message, codec: CompressionType) -> MessageResult<Vec<u8>> {
    let mut out = FlatBufferBuilder::new();
    let dictionary = message.header_as_dictionary_batch();
    let batch = dictionary.as_ref().map_or_else(|| message.header_as_record_batch(), DictionaryBatch::data);
    let batch = batch.ok_or("a block is neither a record batch nor a dictionary")?;
    let batch = batch_stating(&mut out, &batch, codec);
    let header = match dictionary {
        Some(of) => {
            let args = DictionaryBatchArgs { id: of.id(), data: Some(batch), isDelta: of.isDelta() };
            DictionaryBatch::create(&mut out, &args).as_union_value()
        }
        None => batch.as_union_value(),
    };
    let args = MessageArgs {
        version: message.version(),
        header_type: if dictionary.is_some() {
            MessageHeader::DictionaryBatch
        } else {
            MessageHeader::RecordBatch
        },
        header: Some(header),
        bodyLength: message.bodyLength(),
        custom_metadata: None,
    };
    let root = Message::create(&mut out, &args);
    out.finish(root, None);
    let mut framed = [&CONTINUATION[..], &[0; 4], out.finished_data()].concat();
    framed.resize(framed.len().next_multiple_of(8), 0);
    let length = (framed.len() - 8) as u32;
    framed[4..8].copy_from_slice(&length.to_le_bytes());
    Ok(framed)
}

fn batch_stating<'a>(
    out: &mut FlatBufferBuilder<'a>,
    batch: &ipc::RecordBatch,
    codec: CompressionType,
) -> WIPOffset<ipc::RecordBatch<'a>> {
    let nodes: Vec<ipc::FieldNode> = batch.nodes().into_iter().flatten().copied().collect();
    let buffers: Vec<ipc::Buffer> = batch.buffers().into_iter().flatten().copied().collect();
    let compression = ipc::BodyCompressionArgs { codec, method: BodyCompressionMethod::BUFFER };
    let args = RecordBatchArgs {
        length: batch.length(),
        nodes: Some(out.create_vector(&nodes)),
        buffers: Some(out.create_vector(&buffers)),
        compression: Some(ipc::BodyCompression::create(out, &compression)),
        variadicBufferCounts: None,
    };
    ipc::RecordBatch::create(out, &args)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::ipc::{KeyValue, KeyValueArgs};

    /// A dictionary's delta of two buffers, its codec in the metadata of its message or in its header.
    fn dictionary(experimental: Option<&str>, method: Option<BodyCompressionMethod>) -> Vec<u8> {
        of_version(MetadataVersion::V4, experimental, method)
    }

    fn of_version(
        version: MetadataVersion,
        experimental: Option<&str>,
        method: Option<BodyCompressionMethod>,
    ) -> Vec<u8> {
        let mut out = FlatBufferBuilder::new();
        let pairs = experimental.map(|codec| {
            let (key, value) = (out.create_string(EXPERIMENTAL_COMPRESSION), out.create_string(codec));
            let pair = KeyValue::create(&mut out, &KeyValueArgs { key: Some(key), value: Some(value) });
            out.create_vector(&[pair])
        });
        let compression = method.map(|method| {
            let args = ipc::BodyCompressionArgs { codec: CompressionType::ZSTD, method };
            ipc::BodyCompression::create(&mut out, &args)
        });
        let args = RecordBatchArgs {
            length: 3,
            nodes: Some(out.create_vector(&[ipc::FieldNode::new(3, 1)])),
            buffers: Some(out.create_vector(&[ipc::Buffer::new(0, 9), ipc::Buffer::new(16, 20)])),
            compression,
            variadicBufferCounts: None,
        };
        let data = Some(ipc::RecordBatch::create(&mut out, &args));
        let header = DictionaryBatch::create(&mut out, &DictionaryBatchArgs { id: 7, data, isDelta: true });
        let args = MessageArgs {
            version,
            header_type: MessageHeader::DictionaryBatch,
            header: Some(header.as_union_value()),
            bodyLength: 40,
            custom_metadata: pairs,
        };
        let root = Message::create(&mut out, &args);
        out.finish(root, None);
        let framed = [&CONTINUATION[..], &[0; 4], out.finished_data()].concat();
        [framed, vec![0xab; 40]].concat()
    }

    fn block(bytes: &[u8]) -> Block {
        Block::new(64, bytes.len() as i32 - 40, 40)
    }

    #[test]
    fn an_experimental_codec_is_stated_and_nothing_else_changed() {
        for (name, codec) in [("ZSTD", CompressionType::ZSTD), ("lz4", CompressionType::LZ4_FRAME)] {
            let bytes = dictionary(Some(name), None);
            let (stated, at) = with_codec(bytes.clone(), &block(&bytes)).unwrap();
            assert_eq!((at.offset(), at.bodyLength()), (64, 40));
            assert_eq!(stated[at.metaDataLength() as usize..], [0xab; 40]);
            let message = parse(&stated).unwrap();
            let of = message.header_as_dictionary_batch().unwrap();
            let batch = of.data().unwrap();
            assert_eq!((of.id(), of.isDelta(), batch.length()), (7, true, 3));
            assert_eq!((message.version(), message.bodyLength()), (MetadataVersion::V4, 40));
            assert_eq!(batch.compression().unwrap().codec(), codec);
            let old = parse(&bytes).unwrap();
            let old = old.header_as_dictionary_batch().unwrap().data().unwrap();
            assert!(batch.nodes().unwrap().iter().eq(old.nodes().unwrap().iter()));
            assert!(batch.buffers().unwrap().iter().eq(old.buffers().unwrap().iter()));
        }
        for (name, same) in [(None, true), (Some("uncompressed"), true), (Some("gzip"), false)] {
            let bytes = dictionary(name, None);
            assert_eq!(
                with_codec(bytes.clone(), &block(&bytes)).is_ok_and(|(found, _)| found == bytes),
                same
            );
        }
    }

    #[test]
    fn versions() {
        let later = of_version(MetadataVersion::V5, Some("zstd"), None);
        assert!(with_codec(later.clone(), &block(&later)).is_ok_and(|(found, _)| found == later));
        for version in 0..6 {
            let bytes = of_version(MetadataVersion(version), None, None);
            assert_eq!(parse(&bytes).is_ok(), [3, 4].contains(&version), "{version}");
        }
    }

    #[test]
    fn how_buffers_are_compressed() {
        let compressed = |bytes: &[u8]| {
            let message = parse(bytes)?;
            is_compressed(&message, &message.header_as_dictionary_batch().unwrap().data().unwrap())
        };
        assert_eq!(compressed(&dictionary(None, None)), Ok(false));
        assert_eq!(compressed(&dictionary(Some("LZ4"), None)), Ok(true));
        assert_eq!(compressed(&dictionary(None, Some(BodyCompressionMethod::BUFFER))), Ok(true));
        assert!(compressed(&dictionary(Some("lzo"), None)).is_err());
        assert!(compressed(&dictionary(None, Some(BodyCompressionMethod(1)))).is_err());
    }
}
