//! The rows of one row group or record batch, some columns of them, batch by batch.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::ipc::reader::FileDecoder;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::bloom::BloomFilter;
use super::error::{ReadError, Result, guarded};
use super::meta::{FileMeta, Format};
use super::slices::Slices;
use super::source::Source;

/// Reads the columns of one file, a group at a time.
pub struct Scanner {
    meta: Arc<FileMeta>,
    source: Source,
    /// Ascending, each once.
    columns: Vec<usize>,
    batch_rows: usize,
    decoder: Option<FileDecoder>,
    slices: Option<Slices>,
    open: Open,
    /// The open group, and its rows that are still to come.
    group: usize,
    left: u64,
}

enum Open {
    Nothing,
    Parquet(Box<ParquetRecordBatchReader>),
    Ipc(RecordBatch, usize),
    /// Of a record batch that is read in slices: the rows that were read.
    Slices(usize),
}

impl Scanner {
    /// `source` is the file that the metadata was read of.
    pub fn new(
        source: Source,
        meta: Arc<FileMeta>,
        columns: Vec<usize>,
        batch_rows: usize,
    ) -> Result<Scanner> {
        let (mut decoder, mut slices) = (None, None);
        if let Format::Ipc(ipc) = &meta.format
            && !columns.is_empty()
        {
            // Slices begin at whole bytes of validity.
            slices = Slices::new(ipc, &columns).filter(|_| batch_rows.is_multiple_of(8));
            if slices.is_none() {
                decoder = Some(ipc.decoder(&source, &columns)?);
            }
        }
        let open = Open::Nothing;
        Ok(Scanner { meta, source, columns, batch_rows, decoder, slices, open, group: 0, left: 0 })
    }

    pub fn meta(&self) -> &Arc<FileMeta> {
        &self.meta
    }

    /// The Bloom filter of a column, counted among those that are read, in a group.
    pub fn bloom_filter(&self, group: usize, column: usize) -> Option<BloomFilter<'_>> {
        self.meta.bloom_filter(&self.source, group, *self.columns.get(column)?)
    }

    pub fn open_group(&mut self, group: usize) -> Result<()> {
        (self.group, self.left) = (group, self.meta.group_rows(group));
        self.start(group).map_err(|error| error.in_group(group))
    }

    fn start(&mut self, group: usize) -> Result<()> {
        self.open = match &self.meta.format {
            // Without columns there is nothing to read: the rows are only counted.
            _ if self.columns.is_empty() => Open::Nothing,
            Format::Parquet(metadata) => {
                let builder =
                    ParquetRecordBatchReaderBuilder::new_with_metadata(self.source.clone(), metadata.clone());
                let roots = ProjectionMask::roots(metadata.parquet_schema(), self.columns.iter().copied());
                let builder = builder
                    .with_projection(roots)
                    .with_row_groups(vec![group])
                    .with_batch_size(self.batch_rows);
                Open::Parquet(Box::new(guarded(self.source.path(), || builder.build())?))
            }
            Format::Ipc(_) if self.slices.is_some() => Open::Slices(0),
            Format::Ipc(ipc) => match &self.decoder {
                Some(decoder) => Open::Ipc(ipc.read_batch(&self.source, decoder, group, &self.columns)?, 0),
                None => Open::Nothing,
            },
        };
        Ok(())
    }

    /// The next rows of the open group, their columns in the order of the file; `None` at its end. Rows
    /// without columns come as their number alone.
    pub fn next_batch(&mut self) -> Result<Option<Rows>> {
        self.batch().map_err(|error| error.in_group(self.group))
    }

    fn batch(&mut self) -> Result<Option<Rows>> {
        if self.left == 0 {
            self.open = Open::Nothing;
            return Ok(None);
        }
        let most = self.batch_rows.min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let batch = match &mut self.open {
            Open::Nothing => Rows { count: most, batch: None },
            Open::Parquet(reader) => match guarded(self.source.path(), || reader.next().transpose())? {
                Some(batch) => Rows { count: batch.num_rows(), batch: Some(batch) },
                None => return Err(self.short()),
            },
            Open::Slices(at) => {
                let (Some(slices), Format::Ipc(ipc)) = (&self.slices, &self.meta.format) else {
                    return Err(self.short());
                };
                let batch = slices.read(&self.source, ipc, self.group, *at..*at + most)?;
                *at += most;
                Rows { count: most, batch: Some(batch) }
            }
            Open::Ipc(batch, at) => {
                let count = most.min(batch.num_rows().saturating_sub(*at));
                let slice = batch.slice(*at, count);
                *at += count;
                Rows { count, batch: Some(slice) }
            }
        };
        match self.left.checked_sub(batch.count as u64) {
            Some(left) if batch.count > 0 => self.left = left,
            _ => return Err(self.short()),
        }
        Ok(Some(batch))
    }

    fn short(&self) -> ReadError {
        ReadError::damaged(self.source.path(), "it does not have as many rows as its metadata says")
    }

    pub fn bytes_read(&self) -> u64 {
        self.source.bytes_read()
    }
}

/// Some rows: their number, and the columns asked for if there are any.
pub struct Rows {
    pub count: usize,
    pub batch: Option<RecordBatch>,
}
