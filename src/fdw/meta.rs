//! What a file says of itself: its schema, and its row groups or record batches.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::metadata::ParquetMetaDataReader;

use super::error::{Problem, ReadError, Result, guarded};
use super::footer;
use super::ipc::IpcMeta;
use super::source::{FileId, Source};

pub enum Format {
    Parquet(ArrowReaderMetadata),
    Ipc(IpcMeta),
}

pub struct FileMeta {
    pub id: Arc<FileId>,
    pub format: Format,
}

const PARQUET_MAGIC: &[u8] = b"PAR1";
const ENCRYPTED_MAGIC: &[u8] = b"PARE";
const FEATHER_MAGIC: &[u8] = b"FEA1";
const IPC_MAGIC: &[u8] = b"ARROW1";

/// The footer's length and the closing magic bytes.
const PARQUET_TRAILER: u64 = 8;

fn read_parquet(source: &Source) -> Result<ArrowReaderMetadata> {
    let path = source.path();
    let Some(end) = source.id().size.checked_sub(PARQUET_TRAILER) else {
        return Err(ReadError::damaged(path, "it is too short for a Parquet file"));
    };
    let trailer = source.read_at(end, PARQUET_TRAILER as usize)?;
    if !trailer.ends_with(PARQUET_MAGIC) {
        return Err(ReadError::damaged(path, "it does not end as a Parquet file that is not encrypted does"));
    }
    let len = u32::from_le_bytes([trailer[0], trailer[1], trailer[2], trailer[3]]);
    let Some(begin) = end.checked_sub(len.into()) else {
        return Err(ReadError::damaged(path, "its footer is longer than the file"));
    };
    let footer = source.read_at(begin, len as usize)?;
    footer::check(&footer).map_err(|why| ReadError::damaged(path, why))?;
    guarded(path, || {
        let metadata = ParquetMetaDataReader::decode_metadata(&footer)?;
        // The schema that Arrow writers store beside Parquet's is not looked at: Parquet's says all that
        // PostgreSQL's types can use, and is the one that the data must follow.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        ArrowReaderMetadata::try_new(Arc::new(metadata), options)
    })
}

impl FileMeta {
    pub fn read(source: &Source) -> Result<FileMeta> {
        let path = source.path();
        let begin = source.read_at(0, source.id().size.min(IPC_MAGIC.len() as u64) as usize)?;
        let format = if begin.starts_with(PARQUET_MAGIC) {
            Format::Parquet(read_parquet(source)?)
        } else if begin.starts_with(IPC_MAGIC) {
            Format::Ipc(IpcMeta::read(source)?)
        } else if begin.starts_with(ENCRYPTED_MAGIC) {
            return Err(ReadError::unsupported(path, "it is an encrypted Parquet file"));
        } else if begin.starts_with(FEATHER_MAGIC) {
            return Err(ReadError::unsupported(path, "it is a Feather file of version 1"));
        } else {
            return Err(ReadError::new(path, Problem::UnknownFormat));
        };
        let meta = FileMeta { id: source.id().clone(), format };
        if meta.is_summary() {
            return Err(ReadError::unsupported(
                path,
                "it is the summary of a dataset, whose rows are in other files",
            ));
        }
        if (0..meta.groups()).any(|group| i64::try_from(meta.group_rows(group)).is_err()) {
            return Err(ReadError::damaged(path, "a number of rows is negative"));
        }
        Ok(meta)
    }

    /// Column chunks may lie in other files: those of a dataset's `_metadata` do.
    fn is_summary(&self) -> bool {
        let Format::Parquet(metadata) = &self.format else { return false };
        let name = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
        let own = name(&self.id.path);
        let mut chunks = metadata.metadata().row_groups().iter().flat_map(|group| group.columns());
        chunks.any(|chunk| chunk.file_path().is_some_and(|path| !path.is_empty() && name(path) != own))
    }

    pub fn schema(&self) -> &SchemaRef {
        match &self.format {
            Format::Parquet(metadata) => metadata.schema(),
            Format::Ipc(meta) => &meta.schema,
        }
    }

    /// Row groups, or record batches.
    pub fn groups(&self) -> usize {
        match &self.format {
            Format::Parquet(metadata) => metadata.metadata().num_row_groups(),
            Format::Ipc(meta) => meta.batches.len(),
        }
    }

    pub fn group_rows(&self, group: usize) -> u64 {
        match &self.format {
            Format::Parquet(metadata) => metadata.metadata().row_group(group).num_rows() as u64,
            Format::Ipc(meta) => meta.batches[group].rows,
        }
    }

    pub fn rows(&self) -> u64 {
        (0..self.groups()).map(|group| self.group_rows(group)).fold(0, u64::saturating_add)
    }

    /// Bytes of memory that this takes, about.
    pub fn memory(&self) -> usize {
        const COLUMN: usize = 200;
        match &self.format {
            Format::Parquet(metadata) => metadata.metadata().memory_size(),
            Format::Ipc(meta) => (self.groups() + 1) * (meta.schema.fields().len() + 1) * COLUMN,
        }
    }

    /// Bytes that the columns take in the file.
    pub fn column_bytes(&self, columns: &[usize]) -> u64 {
        match &self.format {
            Format::Parquet(metadata) => {
                let descr = metadata.parquet_schema();
                let leaves = (0..descr.num_columns())
                    .filter(|&leaf| columns.contains(&descr.get_column_root_idx(leaf)));
                let groups = metadata.metadata().row_groups();
                let bytes = leaves.flat_map(|leaf| {
                    groups.iter().map(move |group| group.column(leaf).compressed_size().max(0) as u64)
                });
                bytes.fold(0, u64::saturating_add)
            }
            Format::Ipc(meta) => meta.column_bytes(columns),
        }
    }
}
