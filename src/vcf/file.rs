//! The record batches as an Arrow IPC file.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::writer::FileWriter;

use super::Sink;
use crate::encode::ipc::BufferCodec;

pub struct FileSink<W: Write> {
    out: Option<W>,
    writer: Option<FileWriter<W>>,
    codec: BufferCodec,
    batches: u64,
}

impl<W: Write> FileSink<W> {
    pub fn new(out: W, codec: BufferCodec) -> FileSink<W> {
        FileSink { out: Some(out), writer: None, codec, batches: 0 }
    }

    /// Writes the footer; what was written to, and how many record batches.
    pub fn finish(self) -> Result<(W, u64), ArrowError> {
        let writer = self.writer.ok_or_else(|| ArrowError::IpcError("a file without a schema".into()))?;
        // Writes the footer too.
        Ok((writer.into_inner()?, self.batches))
    }
}

impl<W: Write> Sink for FileSink<W> {
    fn begin(&mut self, schema: SchemaRef) -> Result<(), ArrowError> {
        let options = self.codec.options().map_err(|cause| ArrowError::IpcError(cause.to_string()))?;
        if let Some(out) = self.out.take() {
            self.writer = Some(FileWriter::try_new_with_options(out, &schema, options)?);
        }
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        self.batches += 1;
        self.writer.as_mut().map_or(Ok(()), |writer| writer.write(batch))
    }
}
