//! The rows of one row group or record batch, some columns of them, batch by batch.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::ipc::reader::FileDecoder;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelectionPolicy,
};
use parquet::file::reader::ChunkReader;

use super::bloom::BloomFilter;
use super::error::{ReadError, Result, guarded};
use super::meta::{FileMeta, Format};
use super::old_pages::{fault_of, mended};
use super::pages::{Pages, Selected, with_offsets};
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
    /// The open group, its rows that were read, and those that are still to come.
    group: usize,
    done: u64,
    left: u64,
    /// Not all of its rows.
    selected: Option<Arc<Selected>>,
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
        let (group, done, left, selected) = (0, 0, 0, None);
        Ok(Scanner { meta, source, columns, batch_rows, decoder, slices, open, group, done, left, selected })
    }

    pub fn meta(&self) -> &Arc<FileMeta> {
        &self.meta
    }

    /// The Bloom filter of a column, counted among those that are read, in a group.
    pub fn bloom_filter(&self, group: usize, column: usize) -> Option<BloomFilter<'_>> {
        self.meta.bloom_filter(&self.source, group, *self.columns.get(column)?)
    }

    /// The pages of a column, counted among those that are read, in a group.
    pub fn pages(&self, group: usize, column: usize) -> Option<Pages> {
        self.meta.pages(&self.source, group, *self.columns.get(column)?)
    }

    /// Opens a group, to read all of its rows or those that are selected, if the file lets them be found.
    pub fn open_group(&mut self, group: usize, selected: Option<Selected>) -> Result<()> {
        (self.group, self.done, self.left) = (group, 0, self.meta.group_rows(group));
        self.selected = None;
        match selected {
            Some(selected) if self.start_selected(group, &selected)? => {
                self.left = selected.count();
                self.selected = Some(Arc::new(selected));
                Ok(())
            }
            _ => self.start(group).map_err(|error| error.in_group(group)),
        }
    }

    fn start_selected(&mut self, group: usize, selected: &Selected) -> Result<bool> {
        let Format::Parquet(metadata) = &self.meta.format else { return Ok(false) };
        if fault_of(metadata.metadata().file_metadata().created_by()).is_some() {
            return Ok(false);
        }
        let Some(one) = with_offsets(metadata, &self.source, group, &self.columns) else { return Ok(false) };
        let rows = selected.of_rows(self.left);
        let reader = guarded(self.source.path(), || {
            let builder = self.builder(self.source.clone(), one, &self.columns);
            let builder = builder.with_row_groups(vec![0]).with_row_selection(rows);
            builder.with_row_selection_policy(RowSelectionPolicy::Selectors).build()
        });
        self.open = Open::Parquet(Box::new(reader.map_err(|error| error.in_group(group))?));
        Ok(true)
    }

    fn builder<T: ChunkReader + 'static>(
        &self,
        file: T,
        metadata: ArrowReaderMetadata,
        columns: &[usize],
    ) -> ParquetRecordBatchReaderBuilder<T> {
        let roots = ProjectionMask::roots(metadata.parquet_schema(), columns.iter().copied());
        ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata)
            .with_projection(roots)
            .with_batch_size(self.batch_rows)
    }

    /// Of a whole row group.
    fn reader(&self, metadata: &ArrowReaderMetadata, columns: &[usize]) -> Result<ParquetRecordBatchReader> {
        let path = self.source.path();
        if let Some((one, file)) = mended(metadata, &self.source, self.group, columns)? {
            return guarded(path, || self.builder(file, one, columns).with_row_groups(vec![0]).build());
        }
        guarded(path, || {
            let builder = self.builder(self.source.clone(), metadata.clone(), columns);
            builder.with_row_groups(vec![self.group]).build()
        })
    }

    fn start(&mut self, group: usize) -> Result<()> {
        self.open = match &self.meta.format {
            // Without columns there is nothing to read: the rows are only counted.
            _ if self.columns.is_empty() => Open::Nothing,
            Format::Parquet(metadata) => Open::Parquet(Box::new(self.reader(metadata, &self.columns)?)),
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
        let (count, batch) = match &mut self.open {
            Open::Nothing => (most, None),
            Open::Parquet(reader) => match guarded(self.source.path(), || reader.next().transpose())? {
                Some(batch) => (batch.num_rows(), Some(batch)),
                None => return Err(self.short()),
            },
            Open::Slices(at) => {
                let (Some(slices), Format::Ipc(ipc)) = (&self.slices, &self.meta.format) else {
                    return Err(self.short());
                };
                let batch = slices.read(&self.source, ipc, self.group, *at..*at + most)?;
                *at += most;
                (most, Some(batch))
            }
            Open::Ipc(batch, at) => {
                let count = most.min(batch.num_rows().saturating_sub(*at));
                let slice = batch.slice(*at, count);
                *at += count;
                (count, Some(slice))
            }
        };
        match self.left.checked_sub(count as u64) {
            Some(left) if count > 0 => self.left = left,
            _ => return Err(self.short()),
        }
        let rows = Rows { count, batch, before: self.done, selected: self.selected.clone() };
        self.done += count as u64;
        Ok(Some(rows))
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
    /// Rows that were read of the group before.
    before: u64,
    selected: Option<Arc<Selected>>,
}

impl Rows {
    /// How many rows of the group come before a row of the batch.
    pub fn before(&self, row: usize) -> u64 {
        let before = self.before + row as u64;
        self.selected.as_ref().map_or(before, |selected| selected.nth(before))
    }
}
