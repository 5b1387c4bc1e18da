//! Writes record batches as an Arrow IPC file.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::{Metadata, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::Block;

use super::Sink;
use crate::encode::EncodeError;
use crate::encode::ipc::{BatchEncoder, BatchMeta, BufferCodec, file};
use crate::interrupts::steps;

/// The size of one write call.
const WRITE_BYTES: usize = 4 << 20;

pub struct FileSink<W: Write> {
    out: W,
    written: u64,
    codec: BufferCodec,
    /// `None` before the file has begun.
    file: Option<(SchemaRef, BatchEncoder)>,
    blocks: Vec<Block>,
}

impl<W: Write> FileSink<W> {
    pub fn new(out: W, codec: BufferCodec) -> FileSink<W> {
        FileSink { out, written: 0, codec, file: None, blocks: Vec::new() }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ArrowError> {
        steps(bytes, WRITE_BYTES).try_for_each(|step| self.out.write_all(step))?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Writes the footer; returns the output and the number of record batches.
    pub fn finish(mut self) -> Result<(W, u64), ArrowError> {
        let Some((schema, _)) = self.file.take() else {
            return Err(ArrowError::IpcError("a file without a schema".into()));
        };
        let footer = file::footer(&schema, &self.blocks, &[]).map_err(arrow_error)?;
        self.write(&footer)?;
        Ok((self.out, self.blocks.len() as u64))
    }
}

impl<W: Write> Sink for FileSink<W> {
    fn begin(&mut self, schema: SchemaRef) -> Result<(), ArrowError> {
        self.write(&file::header(&schema))?;
        self.file = Some((schema, BatchEncoder::new(self.codec).map_err(arrow_error)?));
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let Some((_, encoder)) = &mut self.file else { return Ok(()) };
        let encoded = encoder.encode(batch.clone(), &Metadata::default()).map_err(arrow_error)?;
        let metadata = encoded.metadata_at(self.written).map_err(arrow_error)?;
        self.blocks.push(BatchMeta::decode(&metadata).map_err(arrow_error)?.block());
        encoded.buffers().try_for_each(|buffer| self.write(buffer))
    }
}

fn arrow_error(cause: EncodeError) -> ArrowError {
    match cause {
        EncodeError::Arrow(cause) => cause,
        EncodeError::Io(cause) => cause.into(),
        other => ArrowError::IpcError(other.to_string()),
    }
}
