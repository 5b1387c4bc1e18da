//! The copy_binary scan: rows become COPY BINARY's bytes, and, for a file, cells again.

use std::ops::Range;

use super::{Place, Rows, Sink, value_error};
use crate::pg::error::Result;
use crate::plan::{Job, Output, Stored};
use crate::types::{Cell, Kind, Repr, ValueError};
use crate::wire::copy_binary::{Send, read_rows, write_rows};

pub struct Stream {
    /// The bytes themselves are wanted.
    raw: bool,
    send: Vec<Send>,
    /// Columns whose sent bytes begin with jsonb's version.
    strip: Vec<bool>,
    bytes: Vec<u8>,
    offsets: Vec<u32>,
    cells: Vec<Vec<Cell>>,
    part: Vec<Vec<Cell>>,
}

impl Stream {
    pub fn new(job: &Job) -> Stream {
        let send: Vec<Send> =
            job.columns.iter().map(|column| send_of(&column.field.kind, column.stored)).collect();
        Stream {
            raw: matches!(job.output, Output::Stream { .. }),
            strip: send.iter().map(|send| *send == Send::Jsonb).collect(),
            send,
            bytes: Vec::new(),
            offsets: Vec::new(),
            cells: Vec::new(),
            part: Vec::new(),
        }
    }

    /// Writes the rows as a stream, and hands on the stream or what is read back from it.
    pub fn pass(
        &mut self,
        cells: &[Vec<Cell>],
        range: Range<usize>,
        arena: &[u8],
        place: Place,
        sink: &mut dyn Sink,
    ) -> Result<()> {
        let tids = &place.tids[range.clone()];
        let place = Place { tids, ..place };
        let fail = |failed: ValueError| value_error(place, failed.row, None, &failed.reason);
        self.bytes.clear();
        self.offsets.clear();
        // A part of a batch, when its values were too large to resolve at once, is copied out first.
        let whole = cells.first().is_none_or(|column| column.len() == range.len());
        if !whole {
            self.part.clear();
            self.part.extend(cells.iter().map(|column| column[range.clone()].to_vec()));
        }
        let cells = if whole { cells } else { &self.part };
        if cells.is_empty() {
            self.write_bare_rows(range.len());
        } else {
            write_rows(cells, arena, &self.send, &mut self.bytes, &mut self.offsets).map_err(fail)?;
        }
        if self.raw {
            return sink.stream(&self.bytes, range.len());
        }
        read_rows(&self.bytes, &self.offsets, &self.strip, &mut self.cells).map_err(fail)?;
        let range = 0..range.len();
        sink.rows(Rows { cells: &self.cells, range, arena: &mut self.bytes, repr: Repr::Wire, place })
    }
}

impl Stream {
    /// Rows of a table without columns: a field count of 0 each.
    fn write_bare_rows(&mut self, rows: usize) {
        self.bytes.resize(2 * rows, 0);
        self.offsets.extend((0..=rows as u32).map(|row| 2 * row));
    }
}

/// How the cells that the scan resolves become the stream's bytes.
fn send_of(kind: &Kind, stored: Stored) -> Send {
    match (stored, kind) {
        (Stored::Nested | Stored::Sent, _) => Send::Done,
        (_, Kind::Json) if stored != Stored::Direct => Send::Jsonb,
        (Stored::Direct, Kind::Int2) => Send::Swap2,
        (Stored::Direct, Kind::Int4 | Kind::Oid | Kind::Float4 | Kind::Date) => Send::Swap4,
        (Stored::Direct, Kind::Int8 | Kind::Float8 | Kind::Time | Kind::Timestamp | Kind::TimestampTz) => {
            Send::Swap8
        }
        (Stored::Direct, Kind::Numeric { .. } | Kind::Decimal { .. }) => Send::Numeric,
        _ => Send::Raw,
    }
}
