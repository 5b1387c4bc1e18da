//! The output region of a slot, as the process that submitted it reads it: lanes for the encoder.
//!
//! A reader is made once per slot. It checks the layout against the rows and columns of the input, which finds out a device
//! that did something else than it was asked.

use std::ops::Range;

use super::input::Input;
use super::layout::{
    ALIGN, Op, OutColumn, OutHeader, STATUSES, Status, align, columns_start, get, lay_out, statuses_at,
};
use crate::types::{Cell, Lane, Physical, Values, Vector};

/// A checked output region.
pub struct Output<'a> {
    region: &'a [u8],
    header: OutHeader,
    ops: Vec<Op>,
    columns: Vec<OutColumn>,
    with_columns: bool,
}

impl<'a> Output<'a> {
    /// Reads the output of an input.
    pub fn of(input: &Input, region: &'a [u8]) -> Result<Output<'a>, String> {
        Output::new(region, input.rows(), input.ops(), input.header().returns_columns())
    }

    /// Reads the output of that many rows and these columns, with the columns or with the statuses alone.
    pub fn new(region: &'a [u8], rows: usize, ops: &[Op], with_columns: bool) -> Result<Output<'a>, String> {
        let header: OutHeader = get(region, 0).ok_or("an output region shorter than its header")?;
        if header.rows as usize != rows || header.columns as usize != ops.len() {
            let (found, columns) = (header.rows, header.columns);
            return Err(format!("{found} rows and {columns} columns came back for {rows} and {}", ops.len()));
        }
        let (expected, mut at) = lay_out(rows, ops);
        let mut columns = Vec::with_capacity(ops.len());
        for (number, (op, place)) in ops.iter().zip(expected).enumerate() {
            let found: OutColumn = get(region, size_of::<OutHeader>() + number * size_of::<OutColumn>())
                .ok_or("an output region shorter than its columns")?;
            let bytes_at = if op.width().is_none() { at } else { 0 };
            let as_laid_out = (found.valid_at, found.values_at) == (place.valid_at, place.values_at);
            if !as_laid_out || found.bytes_at as usize != bytes_at || found.nulls as usize > rows {
                return Err(format!("column {number} is not where it should be"));
            }
            match op.width() {
                None => at = align(at + found.bytes as usize, ALIGN),
                Some(_) if found.bytes != 0 => return Err(format!("column {number} has bytes")),
                Some(_) => (),
            }
            columns.push(found);
        }
        let used = if with_columns { at } else { columns_start(ops.len()) };
        if header.bytes as usize != at || used > region.len() {
            return Err(format!("{} bytes came back where {at} were to, of {}", header.bytes, region.len()));
        }
        Ok(Output { region, header, ops: ops.to_vec(), columns, with_columns })
    }

    pub fn rows(&self) -> usize {
        self.header.rows as usize
    }

    pub fn columns(&self) -> &[OutColumn] {
        &self.columns
    }

    /// Returns how many values the device left to the host. If they are more than [`STATUSES`], not all are listed.
    pub fn statuses_total(&self) -> usize {
        self.header.statuses as usize
    }

    /// Returns the values that the device left to the host, by row, then column; `None` if they are too many to list.
    pub fn statuses(&self) -> Option<Vec<Status>> {
        let total = self.statuses_total();
        if total > STATUSES {
            return None;
        }
        let at = statuses_at(self.ops.len());
        let mut listed: Vec<Status> =
            (0..total).filter_map(|number| get(self.region, at + number * size_of::<Status>())).collect();
        listed.sort_unstable_by_key(|status| (status.row, status.column));
        Some(listed)
    }

    fn part(&self, at: u32, bytes: usize) -> Result<&'a [u8], String> {
        let part = self.region.get(at as usize..at as usize + bytes).filter(|_| self.with_columns);
        part.ok_or_else(|| "columns were not asked for, or lie past the region".into())
    }

    /// Reads rows of a column into a lane. Cells lie in the bytes that are returned; columns of fixed width have none.
    pub fn lane(
        &self,
        column: usize,
        physical: Physical,
        range: Range<usize>,
        lane: &mut Lane,
    ) -> Result<&'a [u8], String> {
        let (Some(place), Some(op)) = (self.columns.get(column), self.ops.get(column)) else {
            return Err(format!("column {column} of {}", self.columns.len()));
        };
        if range.start > range.end || range.end > self.rows() {
            return Err(format!("rows {range:?} of {}", self.rows()));
        }
        let valid = self.part(place.valid_at, self.rows().div_ceil(32) * 4)?;
        mark_valid(valid, place.nulls as usize, range.clone(), &mut lane.valid);
        let mask = &lane.valid;
        let values = &mut lane.values;
        let fixed = |width: usize| {
            let all = self.part(place.values_at, width * self.rows())?;
            Ok::<_, String>(&all[width * range.start..width * range.end])
        };
        match (*op, physical) {
            // Only NULLs, of any type.
            (Op::Skip, _) if mask.iter().all(|&valid| valid == 0) && mask.len() == range.len() => {
                *values = Values::new(physical);
            }
            (Op::Bool, Physical::Bool) => {
                let bits = self.part(place.values_at, self.rows().div_ceil(32) * 4)?;
                let all = range.clone().map(|row| bits[row / 8] >> (row % 8) & 1 == 1);
                dense(all, mask, bool::emptied(values));
            }
            (op, Physical::I32) if op.width() == Some(4) => {
                let all = fixed(4)?.as_chunks().0.iter().map(|&bytes| i32::from_le_bytes(bytes));
                dense(all, mask, i32::emptied(values));
            }
            (Op::Int4, Physical::F32) => {
                let all = fixed(4)?.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes));
                dense(all, mask, f32::emptied(values));
            }
            (op, Physical::I64) if op.width() == Some(8) => {
                let all = fixed(8)?.as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes));
                dense(all, mask, i64::emptied(values));
            }
            (Op::Int8, Physical::F64) => {
                let all = fixed(8)?.as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes));
                dense(all, mask, f64::emptied(values));
            }
            (op, Physical::Fixed16) if op.width() == Some(16) => {
                let all = fixed(16)?.as_chunks().0.iter().copied();
                dense(all, mask, <[u8; 16]>::emptied(values));
            }
            (op, Physical::Bytes) if op.width().is_none() => {
                let cells = Cell::emptied(values);
                return self.read_cells(place, range, |row, cell| {
                    if mask.is_empty() || mask[row] == 1 {
                        cells.push(cell);
                    }
                });
            }
            (op, physical) => return Err(format!("{op:?} is not read as {physical:?}")),
        }
        Ok(&[])
    }

    /// Reads rows of a column of varying length as cells of the bytes that are returned, with NULLs in their places.
    pub fn cells(
        &self,
        column: usize,
        range: Range<usize>,
        cells: &mut Vec<Cell>,
    ) -> Result<&'a [u8], String> {
        let mut lane = Lane::default();
        let bytes = self.lane(column, Physical::Bytes, range.clone(), &mut lane)?;
        let Values::Bytes(dense) = lane.values else { return Err("no cells".into()) };
        cells.clear();
        if lane.valid.is_empty() {
            *cells = dense;
            return Ok(bytes);
        }
        let mut dense = dense.into_iter();
        cells.extend(lane.valid.iter().map(|&valid| match valid {
            1 => dense.next().unwrap_or(Cell::NULL),
            _ => Cell::NULL,
        }));
        Ok(bytes)
    }

    /// Calls `take` with the cells of rows, numbered from the range's start.
    fn read_cells(
        &self,
        place: &OutColumn,
        range: Range<usize>,
        mut take: impl FnMut(usize, Cell),
    ) -> Result<&'a [u8], String> {
        let bytes = self.part(place.bytes_at, place.bytes as usize)?;
        let offsets = self.part(place.values_at, 4 * (self.rows() + 1))?;
        let offsets = &offsets.as_chunks::<4>().0[range.start..=range.end];
        let mut start = u32::from_le_bytes(offsets[0]);
        for (row, end) in offsets[1..].iter().enumerate() {
            let end = u32::from_le_bytes(*end);
            if end < start || end > place.bytes {
                return Err(format!("row {} has no place in its column's bytes", range.start + row));
            }
            take(row, Cell::new(start as usize, (end - start) as usize));
            start = end;
        }
        Ok(bytes)
    }
}

/// Writes one byte for each row to `valid`; none if the rows have no NULL.
fn mark_valid(bitmap: &[u8], nulls: usize, range: Range<usize>, valid: &mut Vec<u8>) {
    valid.clear();
    if nulls > 0 {
        valid.extend(range.map(|row| bitmap[row / 8] >> (row % 8) & 1));
        if valid.iter().all(|&bit| bit == 1) {
            valid.clear();
        }
    }
}

/// Appends the values that are not NULL.
fn dense<T>(all: impl Iterator<Item = T>, valid: &[u8], out: &mut Vec<T>) {
    match valid {
        [] => out.extend(all),
        _ => out.extend(all.zip(valid).filter(|(_, valid)| **valid == 1).map(|(value, _)| value)),
    }
}

#[cfg(test)]
#[path = "output_tests.rs"]
mod tests;
