//! An open file of a scan: the columns that become values, the groups' statistics, and the reader.

use super::column::Statistics;
use super::conditions::{Conditions, Known};
use super::error::report;
use super::file_column::{FileColumn, TableColumn};
use super::files::{metadata, reopen};
use super::options::ColumnSource;
use crate::expr::Bounds;
use crate::fdw::{BloomFilter, FileId, Keys, Pages, Scanner, Selected};
use crate::pg::error::Result;

/// Rows of a batch: few enough for the cache, many enough that the cost of a batch does not matter.
const BATCH_ROWS: usize = 4096;

/// Rows are selected by pages if at most this share of a group's rows is.
const WORTH_SELECTING: f64 = 0.8;

pub struct OpenFile {
    /// Which file of the scan it is.
    pub unit: usize,
    pub scanner: Scanner,
    pub values: Vec<FileColumn>,
    /// The statistics of the columns that conditions are about, by the scan's number of the column.
    statistics: Vec<(usize, Statistics)>,
    /// The number of rows before the group.
    pub first: u64,
    /// Bytes read that are counted already.
    counted: u64,
}

impl OpenFile {
    /// Opens a file. `about` are the columns that conditions are about. What is looked up lives in the current context.
    pub fn new(
        unit: usize,
        id: &FileId,
        keys: &Keys,
        columns: &[TableColumn],
        about: &[usize],
    ) -> Result<OpenFile> {
        let source = reopen(id)?;
        let meta = metadata(&source)?;
        let values = columns.iter().map(|column| column.in_file(&meta, keys));
        let mut values = values.collect::<Result<Vec<_>>>()?;
        let mut statistics = Vec::new();
        for &at in about {
            if let FileColumn::Read(column, value) = &values[at]
                && let Some(found) = meta.bounds(*column).and_then(|bounds| value.statistics(&bounds))
            {
                statistics.push((at, found));
            }
        }
        let at = |value: &FileColumn| if let FileColumn::Read(at, _) = value { Some(*at) } else { None };
        let mut read: Vec<usize> = values.iter().filter_map(at).collect();
        read.sort_unstable();
        read.dedup();
        for value in &mut values {
            match value {
                FileColumn::Read(at, _) => *at = read.partition_point(|&other| other < *at),
                FileColumn::Constant(value) => value.repeat(BATCH_ROWS),
            }
        }
        let scanner = Scanner::new(source, meta, read, BATCH_ROWS).map_err(report)?;
        Ok(OpenFile { unit, scanner, values, statistics, first: 0, counted: 0 })
    }

    /// Makes the values of columns that differ by group, in the current context.
    pub fn fill_metadata(&mut self, columns: &[TableColumn], group: usize) -> Result<()> {
        for (column, value) in columns.iter().zip(&mut self.values) {
            if let ColumnSource::MetadataSplit(key) = &column.source {
                let mut constant = column.of_group(self.scanner.meta(), key, group)?;
                constant.repeat(BATCH_ROWS);
                *value = FileColumn::Constant(constant);
            }
        }
        Ok(())
    }

    /// Begins to read a group; returns false if no rows of it can meet the conditions.
    ///
    /// # Safety
    /// The conditions are the scan's, and their expressions are evaluated.
    pub unsafe fn begin(&mut self, conditions: Option<&Conditions>, group: usize) -> Result<bool> {
        let mut selected = None;
        if let Some(conditions) = conditions {
            // SAFETY: the conditions are the scan's.
            if !unsafe { self.may_match(conditions, group) } {
                return Ok(false);
            }
            // SAFETY: the conditions are the scan's.
            selected = unsafe { self.select(conditions, group) };
            if selected.as_ref().is_some_and(|selected| selected.count() == 0) {
                return Ok(false);
            }
        }
        let meta = self.scanner.meta();
        self.first = (0..group).map(|before| meta.group_rows(before)).sum();
        self.scanner.open_group(group, selected).map_err(report)?;
        Ok(true)
    }

    /// Returns whether rows of a group may match: by the metadata first, then by filters, which are read of the file.
    ///
    /// # Safety
    /// The conditions are the scan's, and their expressions are evaluated.
    unsafe fn may_match(&self, conditions: &Conditions, group: usize) -> bool {
        let bounds = |at: usize| self.bounds(at, group);
        // SAFETY: the statistics are values of the columns' types.
        if !unsafe { conditions.may_match(&Known { bounds: &bounds, filters: &[] }) } {
            return false;
        }
        let filters = self.filters(conditions, group);
        // SAFETY: the statistics are values of the columns' types.
        filters.is_empty() || unsafe { conditions.may_match(&Known { bounds: &bounds, filters: &filters }) }
    }

    /// Returns the rows of a group that may match by the statistics of its pages; `None` if reading all is cheaper.
    ///
    /// # Safety
    /// The conditions are the scan's, and their expressions are evaluated.
    unsafe fn select(&self, conditions: &Conditions, group: usize) -> Option<Selected> {
        let pages = self.pages(conditions, group);
        let rows = self.scanner.meta().group_rows(group);
        // No page begins between two of these.
        let mut starts: Vec<u64> = pages.iter().flat_map(|(_, pages, _)| pages.starts()).copied().collect();
        starts.sort_unstable();
        starts.dedup();
        let mut selected = Selected::default();
        for range in starts.windows(2) {
            let bounds = |at: usize| match pages.iter().find(|(of, ..)| *of == at) {
                Some((_, pages, statistics)) => {
                    let (page, rows) = pages.at(range[0]);
                    Some(statistics.bounds(page, rows))
                }
                None => self.bounds(at, group),
            };
            // SAFETY: the statistics are values of the columns' types.
            if unsafe { conditions.may_match(&Known { bounds: &bounds, filters: &[] }) } {
                selected.push(range[0]..range[1]);
            }
        }
        let is_worth = !pages.is_empty() && selected.count() as f64 <= WORTH_SELECTING * rows as f64;
        is_worth.then_some(selected)
    }

    /// Returns the pages of the columns that conditions are about, and their statistics as values.
    fn pages(&self, conditions: &Conditions, group: usize) -> Vec<(usize, Pages, Statistics)> {
        let pages = |at: usize| match &self.values[at] {
            FileColumn::Read(column, value) => {
                let pages = self.scanner.pages(group, *column)?;
                let statistics = value.statistics(&pages.bounds)?;
                Some((at, pages, statistics))
            }
            FileColumn::Constant(_) => None,
        };
        conditions.columns().into_iter().filter_map(pages).collect()
    }

    fn bounds(&self, at: usize, group: usize) -> Option<Bounds> {
        match &self.values[at] {
            FileColumn::Constant(value) => Some(value.bounds()),
            FileColumn::Read(..) => {
                let (_, statistics) = self.statistics.iter().find(|(of, _)| *of == at)?;
                Some(statistics.bounds(group, self.scanner.meta().group_rows(group)))
            }
        }
    }

    /// Returns the Bloom filters that a group has for the columns that conditions are about.
    fn filters(&self, conditions: &Conditions, group: usize) -> Vec<(usize, BloomFilter<'_>)> {
        let filter = |at: usize| match &self.values[at] {
            FileColumn::Read(column, _) => Some((at, self.scanner.bloom_filter(group, *column)?)),
            FileColumn::Constant(_) => None,
        };
        conditions.columns().into_iter().filter_map(filter).collect()
    }

    /// Returns the bytes that were read since the last call.
    pub fn uncounted(&mut self) -> u64 {
        let before = std::mem::replace(&mut self.counted, self.scanner.bytes_read());
        self.counted - before
    }
}
