//! A file's metadata: its schema, and its row groups or record batches.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::file::metadata::ColumnChunkMetaData;

use super::decode::{PARQUET_MAGIC, read_parquet};
use super::error::{LeftOut, Problem, ReadError, Result};
use super::ipc::IpcMeta;
use super::page_header::{Kind, PageHeader};
use super::source::{FileId, Source};

pub enum Format {
    /// With the schema that the file is read with (see `raw`).
    Parquet(ArrowReaderMetadata),
    Ipc(IpcMeta),
}

pub struct FileMeta {
    pub id: Arc<FileId>,
    pub format: Format,
    /// Columns that cannot be read; the schema is without them.
    pub left_out: Vec<LeftOut>,
    /// The schema that the file declares.
    schema: SchemaRef,
}

const ENCRYPTED_MAGIC: &[u8] = b"PARE";
const FEATHER_MAGIC: &[u8] = b"FEA1";
const IPC_MAGIC: &[u8] = b"ARROW1";

impl FileMeta {
    pub fn read(source: &Source) -> Result<FileMeta> {
        source.checked(FileMeta::parse(source))
    }

    fn parse(source: &Source) -> Result<FileMeta> {
        let path = source.path();
        let begin = source.read_at(0, source.id().size.min(IPC_MAGIC.len() as u64) as usize)?;
        let (format, schema, left_out) = if begin.starts_with(PARQUET_MAGIC) {
            let (parquet, left_out) = read_parquet(source)?;
            (Format::Parquet(parquet.metadata), parquet.schema, left_out)
        } else if begin.starts_with(IPC_MAGIC) {
            let meta = IpcMeta::read(source)?;
            let (schema, left_out) = (meta.schema.clone(), meta.left_out.clone());
            (Format::Ipc(meta), schema, left_out)
        } else if begin.starts_with(ENCRYPTED_MAGIC) {
            return Err(ReadError::unsupported(path, "it is an encrypted Parquet file"));
        } else if begin.starts_with(FEATHER_MAGIC) {
            return Err(ReadError::unsupported(path, "it is a Feather file of version 1"));
        } else {
            return Err(ReadError::new(path, Problem::UnknownFormat));
        };
        let meta = FileMeta { id: source.id().clone(), format, left_out, schema };
        if meta.is_summary() {
            return Err(ReadError::unsupported(
                path,
                "it is the summary of a dataset, whose rows are in other files",
            ));
        }
        let mut groups = (0..meta.groups()).map(|group| i64::try_from(meta.group_rows(group)).ok());
        if groups.try_fold(0_i64, |rows, group| rows.checked_add(group?)).is_none() {
            return Err(ReadError::damaged(path, "a number of rows is negative, or too large"));
        }
        Ok(meta)
    }

    /// Returns whether column chunks lie in other files, as those of a dataset's `_metadata` do.
    fn is_summary(&self) -> bool {
        let Format::Parquet(metadata) = &self.format else { return false };
        let name = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
        let own = name(&self.id.path);
        let mut chunks = metadata.metadata().row_groups().iter().flat_map(|group| group.columns());
        chunks.any(|chunk| chunk.file_path().is_some_and(|path| !path.is_empty() && name(path) != own))
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Returns the number of row groups or record batches.
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

    /// Returns the average bytes of a row in some columns of a group, as far as they are known.
    pub fn row_bytes(&self, source: &Source, group: usize, columns: &[usize]) -> u64 {
        // The sizes in a record batch are known once it is read.
        let Format::Parquet(metadata) = &self.format else { return 0 };
        let rows = self.group_rows(group).max(1);
        let descr = metadata.parquet_schema();
        let mut bytes = 0_u64;
        for (leaf, chunk) in metadata.metadata().row_group(group).columns().iter().enumerate() {
            if columns.contains(&descr.get_column_root_idx(leaf)) {
                let values = chunk.num_values().max(0) as u64;
                let texts = chunk.unencoded_byte_array_data_bytes().unwrap_or(0);
                let stated = texts.max(chunk.uncompressed_size()).max(0) as u64;
                let of_dictionary = dictionary_bytes(source, chunk).saturating_mul(values);
                bytes = bytes.saturating_add(stated.max(of_dictionary));
            }
        }
        bytes / rows
    }

    /// Returns about how many bytes of memory this takes.
    pub fn memory(&self) -> usize {
        const COLUMN: usize = 200;
        match &self.format {
            Format::Parquet(metadata) => metadata.metadata().memory_size(),
            Format::Ipc(meta) => (self.groups() + 1) * (meta.schema.fields().len() + 1) * COLUMN,
        }
    }

    /// Returns about how many bytes of memory some rows of a group take: as values, compressed, and twice while
    /// they grow.
    pub fn batch_bytes(&self, group: usize, columns: &[usize], rows: usize) -> usize {
        let Format::Parquet(metadata) = &self.format else { return 0 };
        let descr = metadata.parquet_schema();
        let group = metadata.metadata().row_group(group);
        let leaves =
            (0..descr.num_columns()).filter(|&leaf| columns.contains(&descr.get_column_root_idx(leaf)));
        let sizes = leaves.map(|leaf| group.column(leaf).uncompressed_size().max(0) as u64);
        let all = sizes.fold(0, u64::saturating_add) as f64;
        let share = (rows as f64 / group.num_rows().max(1) as f64).min(1.0);
        (4.0 * all * share) as usize
    }

    /// Returns the bytes that the columns take in the file.
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

/// Returns the average bytes of a value of a chunk's dictionary, unless the values in the chunk are few.
fn dictionary_bytes(source: &Source, chunk: &ColumnChunkMetaData) -> u64 {
    const FEW: u64 = 1 << 16;
    let offset = |at: i64| u64::try_from(at).unwrap_or(0);
    let (start, values) = (chunk.dictionary_page_offset().map(offset), offset(chunk.data_page_offset()));
    let Some(start) = start.filter(|start| values.saturating_sub(*start) > FEW) else { return 0 };
    // The decoder will report what is wrong with the header.
    match PageHeader::read(source, start, values) {
        Ok(Ok(PageHeader { unpacked, kind: Kind::Dictionary([_, Some(count), ..]), .. })) if count > 0 => {
            unpacked as u64 / count as u64
        }
        _ => 0,
    }
}
