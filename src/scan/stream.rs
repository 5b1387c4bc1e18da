//! The copy_binary scan: writes rows as COPY BINARY and, for a file, reads them back as cells.

use std::ops::Range;

use super::{KEPT_BYTES, Place, RowValues, Rows, Sink, value_error};
use crate::interrupts;
use crate::memory::reserve;
use crate::pg::error::{Result, internal};
use crate::plan::{Output, Pass, Stored};
use crate::types::{Cell, Kind, Repr, ValueError};
use crate::wire::copy_binary::{RowSource, SendMethod, read_rows};

pub struct Stream {
    /// The stream itself is exported.
    pub raw: bool,
    pub send: Vec<SendMethod>,
    /// Columns whose sent bytes begin with jsonb's version.
    strip: Vec<bool>,
    /// Rows of the stream; `offsets` has the start of each.
    pub bytes: Vec<u8>,
    pub offsets: Vec<u32>,
    cells: Vec<Vec<Cell>>,
}

impl Stream {
    pub fn new(pass: &Pass) -> Stream {
        let send: Vec<SendMethod> =
            pass.reading.columns.iter().map(|column| send_of(&column.field.kind, column.stored)).collect();
        Stream {
            raw: matches!(pass.output, Output::Stream { .. }),
            strip: send.iter().map(|send| *send == SendMethod::Jsonb).collect(),
            send,
            bytes: Vec::new(),
            offsets: Vec::new(),
            cells: Vec::new(),
        }
    }

    /// Writes the rows as a stream into `bytes` and `offsets`.
    pub fn write(
        &mut self,
        cells: &[Vec<Cell>],
        rows: Range<usize>,
        arena: &[u8],
        place: Place,
    ) -> Result<()> {
        let source = RowSource { cells, arena, send: &self.send };
        let room = source.room(rows.clone());
        self.offsets.clear();
        self.offsets.push(0);
        self.bytes.clear();
        reserve(&mut self.bytes, room)?;
        interrupts::extend_to(&mut self.bytes, room);
        let written = source.write(rows.clone(), &mut self.bytes, 0, &mut self.offsets, |_, _| true);
        if written.map_err(|failed| failure(failed, place))? != rows.len() {
            return Err(internal("rows take more than the most that they can take"));
        }
        self.bytes.truncate(self.offsets.last().map_or(0, |end| *end as usize));
        Ok(())
    }

    /// Hands on the stream, or the cells that are read back from it.
    pub fn hand_on(&mut self, place: Place, ends_batch: bool, sink: &mut dyn Sink) -> Result<()> {
        let rows = place.tids.len();
        if self.raw {
            return sink.stream(&self.bytes, rows);
        }
        read_rows(&self.bytes, &self.offsets, &self.strip, &mut self.cells)
            .map_err(|failed| failure(failed, place))?;
        let values = RowValues::Cells { cells: &self.cells, arena: &mut self.bytes, repr: Repr::Wire };
        sink.rows(Rows { range: 0..rows, place, ends_batch, values })?;
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
        Ok(())
    }

    /// Loads rows as if they had just been written.
    pub fn load(&mut self, data: &[u8], offsets: &[u32]) {
        let start = offsets.first().map_or(0, |start| *start);
        let end = offsets.last().map_or(0, |end| *end);
        self.bytes.clear();
        self.bytes.extend_from_slice(&data[start as usize..end as usize]);
        self.offsets.clear();
        self.offsets.extend(offsets.iter().map(|offset| offset - start));
    }
}

pub(super) fn failure(failed: ValueError, place: Place) -> crate::pg::error::Error {
    value_error(place, failed.row, None, &failed.reason)
}

/// Returns how the cells that the scan resolves become the stream's bytes.
fn send_of(kind: &Kind, stored: Stored) -> SendMethod {
    match (stored, kind) {
        (Stored::Nested | Stored::Sent, _) => SendMethod::Done,
        (_, Kind::Json) if stored != Stored::Direct => SendMethod::Jsonb,
        (Stored::Direct, Kind::Int2) => SendMethod::Swap2,
        (Stored::Direct, Kind::Int4 | Kind::Oid | Kind::Float4 | Kind::Date) => SendMethod::Swap4,
        (Stored::Direct, Kind::Int8 | Kind::Float8 | Kind::Time | Kind::Timestamp | Kind::TimestampTz) => {
            SendMethod::Swap8
        }
        (Stored::Direct, Kind::Numeric { .. } | Kind::Decimal { .. }) => SendMethod::Numeric,
        _ => SendMethod::Raw,
    }
}
