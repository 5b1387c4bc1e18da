//! Messages of Arrow IPC files: the parts that change the meaning of the buffers after them.

use std::ops::Range;

use arrow::ipc::{
    self, Block, BodyCompressionMethod, CompressionType, DictionaryBatch, DictionaryBatchArgs, Message,
    MessageArgs, MessageHeader, MetadataVersion, RecordBatchArgs, root_as_message,
};
use flatbuffers::FlatBufferBuilder;
use parquet::basic::{Compression, ZstdLevel};

use super::unpack::Unpacker;
use crate::interrupts::in_steps;
use crate::memory::reserve_exact;

/// The key of V4 messages' metadata that names the codec of the buffers, as Arrow 0.17 wrote it before the
/// format had a field for it.
const EXPERIMENTAL_COMPRESSION: &str = "ARROW:experimental_compression";

const CONTINUATION: [u8; 4] = [0xff; 4];

pub type MessageResult<T> = std::result::Result<T, String>;

/// Parses a message, without its length and its continuation mark, which files of old writers lack.
pub fn parse(framed: &[u8]) -> MessageResult<Message<'_>> {
    let prefix = if framed.starts_with(&CONTINUATION) { 8 } else { 4 };
    let bytes = framed.get(prefix..).ok_or("a message is too short")?;
    let message = root_as_message(bytes).map_err(|cause| cause.to_string())?;
    // Messages before V4 describe buffers in another way.
    match message.version() {
        MetadataVersion::V4 | MetadataVersion::V5 => Ok(message),
        other => Err(format!("a message is of the unknown version V{}", i32::from(other.0) + 1)),
    }
}

/// Returns whether the buffers after a message are compressed.
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

/// Unpacks the buffers of a block's body that are `wanted` and drops the others, if they are packed. Returns
/// the new bytes and their block.
pub fn unpacked(
    bytes: Vec<u8>,
    block: &Block,
    wanted: impl Fn(Range<u64>) -> bool,
) -> MessageResult<(Vec<u8>, Block)> {
    let message = parse(&bytes)?;
    let dictionary = message.header_as_dictionary_batch();
    let batch = dictionary.as_ref().map_or_else(|| message.header_as_record_batch(), DictionaryBatch::data);
    let batch = batch.ok_or("a block is neither a record batch nor a dictionary")?;
    if !is_compressed(&message, &batch)? {
        return Ok((bytes, *block));
    }
    let codec = batch.compression().map(|compression| Ok(Some(compression.codec())));
    let codec = codec.unwrap_or_else(|| experimental_codec(&message))?;
    let head = usize::try_from(block.metaDataLength()).unwrap_or(0);
    let body = bytes.get(head..).ok_or("a message is too short")?;
    let mut packed = Vec::new();
    for buffer in batch.buffers().into_iter().flatten() {
        packed.push(Packed::new(body, buffer, &wanted)?);
    }
    let (head, length) = laid_out(&message, &batch, dictionary.as_ref(), &packed);
    let mut out = Vec::new();
    reserve_exact(&mut out, head.len().saturating_add(length)).map_err(|missing| missing.to_string())?;
    out.extend_from_slice(&head);
    let mut unpacker = Unpacker::new(Compression::ZSTD(ZstdLevel::default()));
    for buffer in packed {
        match codec {
            _ if !buffer.is_packed => in_steps(buffer.bytes, |step| out.extend_from_slice(step)),
            Some(CompressionType::LZ4_FRAME) => unpacker.lz4_frame(buffer.bytes, &mut out, buffer.length)?,
            Some(CompressionType::ZSTD) => unpacker.unpack(buffer.bytes, &mut out, buffer.length)?,
            _ => return Err("unsupported: its buffers are compressed by an unknown codec".to_owned()),
        }
        out.resize(head.len() + (out.len() - head.len()).next_multiple_of(ALIGNMENT), 0);
    }
    let block = Block::new(block.offset(), head.len() as i32, (out.len() - head.len()) as i64);
    Ok((out, block))
}

const ALIGNMENT: usize = 64;

/// A buffer as it lies in the file. A packed one begins with its unpacked length.
struct Packed<'a> {
    bytes: &'a [u8],
    length: usize,
    is_packed: bool,
}

impl<'a> Packed<'a> {
    fn new(
        body: &'a [u8],
        buffer: &ipc::Buffer,
        wanted: impl Fn(Range<u64>) -> bool,
    ) -> MessageResult<Packed<'a>> {
        /// Zstandard's densest block: 128 KiB in 4 bytes, with a margin.
        const DENSEST: u64 = 1 << 16;
        const OUTSIDE: &str = "a buffer does not lie in its record batch";
        let (start, length) = (buffer.offset().max(0) as u64, buffer.length().max(0) as u64);
        let range = start..start.checked_add(length).ok_or(OUTSIDE)?;
        let bytes = body.get(range.start as usize..range.end as usize).ok_or(OUTSIDE)?;
        if bytes.is_empty() || !wanted(range) {
            return Ok(Packed { bytes: &[], length: 0, is_packed: false });
        }
        let (prefix, bytes) =
            bytes.split_first_chunk().ok_or("a buffer is shorter than its length is told in")?;
        match i64::from_le_bytes(*prefix) {
            // A buffer that would not become shorter is stored unpacked.
            -1 => Ok(Packed { bytes, length: bytes.len(), is_packed: false }),
            0 => Ok(Packed { bytes: &[], length: 0, is_packed: false }),
            length if length > 0 && length as u64 <= (bytes.len() as u64).saturating_mul(DENSEST) => {
                Ok(Packed { bytes, length: length as usize, is_packed: true })
            }
            length => Err(format!("a buffer claims to be {length} bytes long")),
        }
    }
}

/// Returns the block's message for unpacked buffers, framed, and the length of those.
fn laid_out(
    message: &Message,
    batch: &ipc::RecordBatch,
    dictionary: Option<&DictionaryBatch>,
    packed: &[Packed],
) -> (Vec<u8>, usize) {
    let mut length = 0_usize;
    let place = |buffer: &Packed| {
        let place = ipc::Buffer::new(length as i64, buffer.length as i64);
        length =
            length.saturating_add(buffer.length).checked_next_multiple_of(ALIGNMENT).unwrap_or(usize::MAX);
        place
    };
    let buffers: Vec<ipc::Buffer> = packed.iter().map(place).collect();
    let mut out = FlatBufferBuilder::new();
    let nodes: Vec<ipc::FieldNode> = batch.nodes().into_iter().flatten().copied().collect();
    let views: Option<Vec<i64>> = batch.variadicBufferCounts().map(|counts| counts.iter().collect());
    let args = RecordBatchArgs {
        length: batch.length(),
        nodes: Some(out.create_vector(&nodes)),
        buffers: Some(out.create_vector(&buffers)),
        compression: None,
        variadicBufferCounts: views.map(|counts| out.create_vector(&counts)),
    };
    let batch = ipc::RecordBatch::create(&mut out, &args);
    let (header_type, header) = match dictionary {
        Some(of) => {
            let args = DictionaryBatchArgs { id: of.id(), data: Some(batch), isDelta: of.isDelta() };
            let header = DictionaryBatch::create(&mut out, &args).as_union_value();
            (MessageHeader::DictionaryBatch, header)
        }
        None => (MessageHeader::RecordBatch, batch.as_union_value()),
    };
    let args = MessageArgs {
        version: message.version(),
        header_type,
        header: Some(header),
        bodyLength: length as i64,
        custom_metadata: None,
    };
    let root = Message::create(&mut out, &args);
    out.finish(root, None);
    let mut framed = [&CONTINUATION[..], &[0; 4], out.finished_data()].concat();
    framed.resize(framed.len().next_multiple_of(ALIGNMENT), 0);
    let header = (framed.len() - 8) as u32;
    framed[4..8].copy_from_slice(&header.to_le_bytes());
    (framed, length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::ipc::{KeyValue, KeyValueArgs};

    /// Two buffers of a length and four bytes that are not packed, and an empty one.
    const BODY: [&[u8]; 5] = [&[0xff; 8], b"four....", &[0xff; 8], b"sixteen bytes...", &[]];

    /// A dictionary's delta of two buffers, with its codec in the metadata of its message or in its header.
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
            buffers: Some(out.create_vector(&[ipc::Buffer::new(0, 12), ipc::Buffer::new(16, 24)])),
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
        [framed, BODY.concat()].concat()
    }

    fn block(bytes: &[u8]) -> Block {
        Block::new(64, bytes.len() as i32 - 40, 40)
    }

    #[test]
    fn an_experimental_codec_is_followed_and_nothing_else_changed() {
        for name in ["ZSTD", "lz4"] {
            let bytes = dictionary(Some(name), None);
            let (unpacked, at) = unpacked(bytes.clone(), &block(&bytes), |_| true).unwrap();
            let body = &unpacked[at.metaDataLength() as usize..];
            assert_eq!((at.offset(), at.bodyLength(), body.len()), (64, 128, 128));
            assert_eq!((&body[..4], &body[64..80]), (&b"four"[..], &b"sixteen bytes..."[..]));
            let message = parse(&unpacked).unwrap();
            let of = message.header_as_dictionary_batch().unwrap();
            let batch = of.data().unwrap();
            assert_eq!((of.id(), of.isDelta(), batch.length()), (7, true, 3));
            assert_eq!((message.version(), message.bodyLength()), (MetadataVersion::V4, 128));
            assert!(batch.compression().is_none());
            let old = parse(&bytes).unwrap();
            let old = old.header_as_dictionary_batch().unwrap().data().unwrap();
            assert!(batch.nodes().unwrap().iter().eq(old.nodes().unwrap().iter()));
            let buffers: Vec<_> =
                batch.buffers().unwrap().iter().map(|buffer| (buffer.offset(), buffer.length())).collect();
            assert_eq!(buffers, [(0, 4), (64, 16)]);
        }
        for (name, same) in [(None, true), (Some("uncompressed"), true), (Some("gzip"), false)] {
            let bytes = dictionary(name, None);
            let found = unpacked(bytes.clone(), &block(&bytes), |_| true);
            assert_eq!(found.is_ok_and(|(found, _)| found == bytes), same);
        }
    }

    #[test]
    fn versions() {
        let later = of_version(MetadataVersion::V5, Some("zstd"), None);
        let found = unpacked(later.clone(), &block(&later), |_| true);
        assert!(found.is_ok_and(|(found, _)| found == later));
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
