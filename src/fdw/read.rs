//! Reads the rows of one row group or record batch in some columns, batch by batch.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::ipc::reader::FileDecoder;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, RowSelection};

use super::bloom::BloomFilter;
use super::checked_pages::checked_reader;
use super::error::{Problem, ReadError, Result, guarded};
use super::meta::{FileMeta, Format};
use super::old_pages::fault_of;
use super::pages::{Pages, Selected, with_offsets};
use super::slices::Slices;
use super::source::Source;
use super::texts::{ParquetColumns, Texts};
use crate::memory::room_for;

/// Reads the columns of one file, a group at a time.
pub struct Scanner {
    meta: Arc<FileMeta>,
    source: Source,
    /// Ascending, without duplicates.
    columns: Vec<usize>,
    batch_rows: usize,
    /// Rows of a batch of the open group: fewer if rows are large.
    rows_at_once: usize,
    decoder: Option<FileDecoder>,
    slices: Option<Slices>,
    parquet: Option<ParquetColumns>,
    texts: Texts,
    open: Open,
    /// About how many bytes of memory a batch of the open group takes.
    batch_bytes: usize,
    /// The open group, its rows that were read, and those still to come.
    group: usize,
    done: u64,
    left: u64,
    /// Present if not all rows are read.
    selected: Option<Arc<Selected>>,
    /// The selected rows are found by the page index.
    is_indexed: bool,
}

enum Open {
    Nothing,
    Parquet(Box<ParquetRecordBatchReader>),
    Ipc(RecordBatch, usize),
    /// A record batch that is read in slices, with the number of rows read.
    Slices(usize),
}

impl Scanner {
    /// Makes a scanner. `source` is the file that the metadata was read from.
    pub fn new(
        source: Source,
        meta: Arc<FileMeta>,
        columns: Vec<usize>,
        batch_rows: usize,
    ) -> Result<Scanner> {
        let (mut decoder, mut slices, mut parquet) = (None, None, None);
        let mut texts = Texts::new(guarded(source.path(), || meta.schema().project(&columns))?.into());
        match &meta.format {
            _ if columns.is_empty() => {}
            Format::Ipc(ipc) => {
                // Slices begin at whole bytes of validity.
                slices = Slices::new(ipc, &columns).filter(|_| batch_rows.is_multiple_of(8));
                if slices.is_none() {
                    decoder = Some(ipc.decoder(&source, &columns)?);
                }
            }
            Format::Parquet(metadata) => {
                let found = guarded(source.path(), || ParquetColumns::new(metadata, &columns, false))?;
                (parquet, texts) = (Some(found.0), found.1);
            }
        }
        let open = Open::Nothing;
        let (group, done, left, selected, is_indexed) = (0, 0, 0, None, false);
        Ok(Scanner {
            meta,
            source,
            columns,
            batch_rows,
            rows_at_once: batch_rows,
            decoder,
            slices,
            parquet,
            texts,
            open,
            batch_bytes: 0,
            group,
            done,
            left,
            selected,
            is_indexed,
        })
    }

    pub fn meta(&self) -> &Arc<FileMeta> {
        &self.meta
    }

    /// Returns the Bloom filter in a group of a column, which is numbered among those read.
    pub fn bloom_filter(&self, group: usize, column: usize) -> Option<BloomFilter<'_>> {
        self.meta.bloom_filter(&self.source, group, *self.columns.get(column)?)
    }

    /// Returns the pages in a group of a column, which is numbered among those read.
    pub fn pages(&self, group: usize, column: usize) -> Option<Pages> {
        self.meta.pages(&self.source, group, *self.columns.get(column)?)
    }

    /// Opens a group to read all of its rows, or the selected ones if the file's index leads to them.
    pub fn open_group(&mut self, group: usize, selected: Option<Selected>) -> Result<()> {
        let opened = self.open(group, selected);
        self.source.checked(opened)
    }

    fn open(&mut self, group: usize, selected: Option<Selected>) -> Result<()> {
        self.limit_rows(self.meta.row_bytes(&self.source, group, &self.columns));
        (self.group, self.done, self.left) = (group, 0, self.meta.group_rows(group));
        (self.selected, self.is_indexed) = (None, false);
        self.batch_bytes = self.meta.batch_bytes(group, &self.columns, self.rows_at_once);
        match selected {
            Some(selected) if self.start_selected(&selected) => {
                self.left = selected.count();
                (self.selected, self.is_indexed) = (Some(Arc::new(selected)), true);
                Ok(())
            }
            _ => self.start(group).map_err(|error| self.located(error)),
        }
    }

    /// Sets the rows of a batch. `bytes` is the average size of a row.
    fn limit_rows(&mut self, bytes: u64) {
        /// About so many bytes of values are made between checks for a cancel.
        const AT_ONCE: u64 = 32 << 20;
        let most = AT_ONCE.checked_div(bytes).unwrap_or(u64::MAX).max(1);
        self.rows_at_once = self.batch_rows.min(usize::try_from(most).unwrap_or(usize::MAX));
    }

    fn start_selected(&mut self, selected: &Selected) -> bool {
        let Format::Parquet(metadata) = &self.meta.format else { return false };
        if fault_of(metadata.metadata().file_metadata().created_by()).is_some() {
            return false;
        }
        let found = with_offsets(metadata, &self.source, self.group, &self.columns);
        let Some(((one, places), columns)) = found.zip(self.parquet.as_ref()) else { return false };
        let reader = guarded(self.source.path(), || {
            let rows = Some(selected.selection());
            checked_reader(&self.source, &one, 0, columns, self.rows_at_once, rows, Some(&places))
        });
        match reader {
            Ok(reader) => self.open = Open::Parquet(Box::new(reader)),
            Err(_) => return false,
        }
        true
    }

    /// Starts again without the page index, which was wrong: with all rows that were not read yet, as those
    /// that it selected may be others, too.
    fn restart(&mut self) -> Result<()> {
        let rows = self.meta.group_rows(self.group);
        let read = self.selected.take().unwrap_or_default();
        let rest = read.without_first(self.done, rows);
        let reader = self.reader(self.parquet.as_ref(), Some(rest.selection()))?;
        self.open = Open::Parquet(Box::new(reader));
        (self.done, self.left, self.is_indexed) = (0, rest.count(), false);
        self.selected = Some(Arc::new(rest));
        Ok(())
    }

    /// Starts again with views, which long pages need, and with the rows that were not read yet.
    fn restart_with_views(&mut self) -> Result<()> {
        let Format::Parquet(metadata) = &self.meta.format else { return Err(self.short()) };
        let found = guarded(self.source.path(), || ParquetColumns::new(metadata, &self.columns, true))?;
        (self.parquet, self.texts) = (Some(found.0), found.1);
        if self.is_indexed {
            let selected = self.selected.clone().filter(|_| self.done == 0);
            let has_begun = selected.is_some_and(|selected| self.start_selected(&selected));
            return if has_begun { Ok(()) } else { self.restart() };
        }
        let mut all = Selected::default();
        all.push(0..self.meta.group_rows(self.group));
        let rest = self.selected.as_deref().unwrap_or(&all).after_first(self.done);
        self.open = Open::Parquet(Box::new(self.reader(self.parquet.as_ref(), Some(rest.selection()))?));
        (self.done, self.left) = (0, rest.count());
        self.selected = Some(Arc::new(rest));
        Ok(())
    }

    /// Makes a reader of the open row group, without the page index.
    fn reader(
        &self,
        columns: Option<&ParquetColumns>,
        rows: Option<RowSelection>,
    ) -> Result<ParquetRecordBatchReader> {
        let (Format::Parquet(metadata), Some(columns)) = (&self.meta.format, columns) else {
            return Err(self.short());
        };
        guarded(self.source.path(), || {
            checked_reader(&self.source, metadata, self.group, columns, self.rows_at_once, rows, None)
        })
    }

    fn start(&mut self, group: usize) -> Result<()> {
        self.open = match &self.meta.format {
            // Without columns the rows are only counted.
            _ if self.columns.is_empty() => Open::Nothing,
            Format::Parquet(_) => Open::Parquet(Box::new(self.reader(self.parquet.as_ref(), None)?)),
            Format::Ipc(_) if self.slices.is_some() => Open::Slices(0),
            Format::Ipc(ipc) => match &self.decoder {
                Some(decoder) => {
                    let (batch, bytes) = ipc.read_batch(&self.source, decoder, group, &self.columns)?;
                    let batch = guarded(self.source.path(), || self.texts.check(batch))?;
                    let of_dictionaries: u64 = batch.columns().iter().map(dictionary_bytes).sum();
                    self.limit_rows(bytes / batch.num_rows().max(1) as u64 + of_dictionaries);
                    Open::Ipc(batch, 0)
                }
                None => Open::Nothing,
            },
        };
        Ok(())
    }

    /// Returns the next rows of the open group, with columns in the order of the file; `None` at its end.
    /// Without columns there is only their number.
    pub fn next_batch(&mut self) -> Result<Option<Rows>> {
        let found = self.batch_of_any_page();
        let batch = match self.source.checked(found) {
            Err(error) if self.is_indexed && !matches!(error.problem, Problem::Changed | Problem::Io(..)) => {
                let found = self.restart().and_then(|()| self.batch_of_any_page());
                self.source.checked(found)
            }
            batch => batch,
        };
        batch.map_err(|error| self.located(error))
    }

    /// Returns the next rows, which are read again with views if a page of theirs is long.
    fn batch_of_any_page(&mut self) -> Result<Option<Rows>> {
        match self.batch() {
            Err(_) if self.parquet.as_ref().is_some_and(ParquetColumns::met_long_page) => {
                self.restart_with_views().and_then(|()| self.batch())
            }
            found => found,
        }
    }

    /// Checks that the file is still the one that was read.
    pub fn check(&self) -> Result<()> {
        self.source.check()
    }

    /// Adds the group and the column of the damage to an error.
    fn located(&self, error: ReadError) -> ReadError {
        let column = match error.problem {
            Problem::Damaged(_) => self.damaged_column(),
            _ => None,
        };
        error.at(self.group, column)
    }

    /// Returns the first column that cannot be read alone.
    fn damaged_column(&self) -> Option<&str> {
        let Format::Parquet(metadata) = &self.meta.format else { return None };
        let read = |column: usize| {
            let (columns, mut texts) =
                guarded(self.source.path(), || ParquetColumns::new(metadata, &[column], true))?;
            let mut reader = self.reader(Some(&columns), None)?;
            guarded(self.source.path(), || {
                reader.try_for_each(|batch| texts.check(batch.map_err(|cause| cause.to_string())?).map(drop))
            })
        };
        let is_damaged = |column: &&usize| read(**column).is_err();
        let column = self.columns.iter().find(is_damaged)?;
        metadata.schema().fields().get(*column).map(|field| field.name().as_str())
    }

    /// Checks that there is memory for a batch: the decoder and Arrow cannot report a lack of it.
    fn check_room(&self) -> Result<()> {
        room_for(self.batch_bytes)
            .map_err(|missing| ReadError::new(self.source.path(), Problem::OutOfMemory(missing.0)))
    }

    fn batch(&mut self) -> Result<Option<Rows>> {
        if self.left == 0 {
            self.open = Open::Nothing;
            return Ok(None);
        }
        self.check_room()?;
        let at_once = if self.slices.is_some() { self.batch_rows } else { self.rows_at_once };
        let most = at_once.min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let (count, batch) = match &mut self.open {
            Open::Nothing => (most, None),
            Open::Parquet(reader) => match guarded(self.source.path(), || reader.next().transpose())? {
                Some(batch) => {
                    let batch = guarded(self.source.path(), || self.texts.check(batch))?;
                    (batch.num_rows(), Some(batch))
                }
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

/// Returns an upper bound for the average bytes that a value takes of a column's dictionary.
fn dictionary_bytes(column: &ArrayRef) -> u64 {
    let Some(column) = column.as_any_dictionary_opt() else { return 0 };
    let values = column.values();
    values.get_buffer_memory_size() as u64 / values.len().max(1) as u64
}

/// Some rows: their number, and the requested columns if there are any.
pub struct Rows {
    pub count: usize,
    pub batch: Option<RecordBatch>,
    /// Rows of the group that were read before.
    before: u64,
    selected: Option<Arc<Selected>>,
}

impl Rows {
    /// Returns the number of rows of the group before a row of the batch.
    pub fn before(&self, row: usize) -> u64 {
        let before = self.before + row as u64;
        self.selected.as_ref().map_or(before, |selected| selected.nth(before))
    }
}
