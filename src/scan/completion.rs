//! Hands on the columns of slots that return. The server finds single values that the device left out; this
//! process decodes whatever else the device could not.

use std::ops::Range;

use super::decoded::{Decoded, Patch};
use super::flight::{Completion, Flight};
use super::{Place, RESOLVED_BYTES, Reader, RowValues, Rows, Sink};
use crate::pg::error::{Result, internal};
use crate::pg::heap::invalid_line_pointer;
use crate::plan::ScanKind;
use crate::scan::program::Form;
use crate::slot::Tid;
use crate::slot::input::Input;
use crate::slot::layout::{Code, Op, Status};
use crate::slot::output::Output;
use crate::types::Repr;
use crate::wire::deform::deform;
use crate::wire::tuple::TupleRef;

/// One row of so many may lack a value for the piece to be patched.
const PATCH_SHARE: usize = 20;

/// Rows of a slot that are handed on at once: a batch, or the part of it that lies in the slot.
struct Piece {
    rows: Range<usize>,
    ends_batch: bool,
}

fn pieces(flight: &Flight) -> Vec<Piece> {
    let mut start = 0;
    let mut pieces = Vec::with_capacity(flight.cuts.len() + 1);
    for &end in flight.cuts.iter().filter(|&&end| end <= flight.rows) {
        pieces.push(Piece { rows: start..end, ends_batch: true });
        start = end;
    }
    if start < flight.rows {
        pieces.push(Piece { rows: start..flight.rows, ends_batch: false });
    }
    pieces
}

/// How a piece is completed.
enum Remedy {
    None,
    Patch,
    Redo,
}

impl Reader<'_> {
    pub(super) fn take(
        &mut self,
        flight: &Flight,
        completion: Completion,
        sink: &mut dyn Sink,
    ) -> Result<()> {
        if self.client.as_ref().is_some_and(|client| client.kept.is_some()) {
            return self.take_kept(flight, completion);
        }
        if self.client.as_ref().is_some_and(|client| client.is_query) {
            return self.take_aggregated(flight, completion, sink);
        }
        // This process wrote the input, and nobody else may have changed it.
        let input = Input::new(flight.slot.input()).map_err(internal)?;
        if input.rows() != flight.rows {
            return Err(internal("a slot's rows changed under way"));
        }
        let output = match completion {
            Completion::Done => self.check(flight, &input),
            Completion::Undone => None,
        };
        let statuses = output.as_ref().and_then(Output::statuses);
        let tids = self.tids(flight, &input);
        let mut redone = false;
        for piece in pieces(flight) {
            if sink.stopped() {
                break;
            }
            let marks = statuses.as_deref().map(|all| marks(all, &piece.rows));
            let output = match (&output, marks) {
                (Some(output), Some(marks)) if self.remedy(&input, &piece, marks)? => output,
                _ => {
                    redone = true;
                    self.redo(flight, &input, &piece, sink)?;
                    continue;
                }
            };
            self.hand_decoded(output, &piece, &tids, sink)?;
        }
        if let Some(client) = &mut self.client {
            client.tally.redone += u64::from(redone);
        }
        Ok(())
    }

    /// Returns the slot's output if it matches the input.
    pub(super) fn check<'f>(&mut self, flight: &'f Flight, input: &Input) -> Option<Output<'f>> {
        let client = self.client.as_mut()?;
        let output = match Output::of(input, flight.slot.output()) {
            Ok(output) => output,
            Err(what) => {
                client.lose(format!("a device returned something else than it was asked for: {what}"));
                return None;
            }
        };
        // A value that was left out has no bytes.
        if output.statuses_total() == 0 {
            let bytes = |column: usize| u64::from(output.columns()[column].bytes);
            if let Some(column) = client.miscounted(flight, bytes) {
                client.lose(format!("a device returned another number of bytes for column {column}"));
                return None;
            }
        }
        Some(output)
    }

    /// Returns the place of each row, if a message may need it.
    fn tids<'f>(&self, flight: &'f Flight, input: &Input) -> std::borrow::Cow<'f, [Tid]> {
        let by_cells = self.client.as_ref().is_some_and(|client| client.forms.contains(&Form::Cells));
        match self.pass.reading.scan {
            ScanKind::Heap if by_cells => (0..flight.rows).filter_map(|row| input.tid(row)).collect(),
            _ => flight.tids.as_slice().into(),
        }
    }

    /// Completes the values that the device left out; returns false when this process has to decode the piece.
    fn remedy(&mut self, input: &Input, piece: &Piece, marks: &[Status]) -> Result<bool> {
        if let Some(client) = &mut self.client {
            client.patches.clear();
        }
        match remedy(input, piece, marks) {
            Remedy::None => Ok(true),
            Remedy::Redo => Ok(false),
            Remedy::Patch => self.patch(input, marks),
        }
    }

    /// Lets the server find values of single rows. Returns false when they are too large for that.
    fn patch(&mut self, input: &Input, marks: &[Status]) -> Result<bool> {
        let Some(client) = &mut self.client else { return Ok(false) };
        let Some(leaf) = &self.leaf else { return Ok(false) };
        let batch = &mut self.batch;
        batch.clear();
        let mut rows: Vec<u32> = marks.iter().map(|mark| mark.row).collect();
        rows.dedup();
        for &row in &rows {
            let Some((tid, bytes)) = tuple_of(input, row as usize) else { return Ok(false) };
            batch.arena.resize(batch.arena.len().next_multiple_of(8), 0);
            batch.tuples.push(TupleRef { pos: batch.arena.len() as u32, len: bytes.len() as u32 });
            batch.arena.extend_from_slice(bytes);
            batch.tids.push(tid);
        }
        self.fixups.clear();
        let walked =
            deform(&mut batch.arena, &batch.tuples, &leaf.layout, &mut batch.cells, &mut self.fixups);
        let mut found = walked.is_ok() && self.fixups.len() == marks.len();
        for fixup in &self.fixups {
            // The values lie one after the other in the arena, as those of a batch do.
            found &= batch.arena.len() <= RESOLVED_BYTES;
            if !found {
                break;
            }
            let (row, column) = (rows[fixup.row as usize], fixup.column);
            self.resolving = Some((fixup.row as usize, column as usize));
            let value = self.renderer.resolve(column as usize, fixup.pos as usize, &mut batch.arena)?;
            client.patches.push(Patch { column, row, value });
            client.tally.patched += 1;
        }
        self.resolving = None;
        std::mem::swap(&mut client.patches.arena, &mut batch.arena);
        client.patches.sort();
        batch.clear();
        Ok(found)
    }

    fn hand_decoded(&self, output: &Output, piece: &Piece, tids: &[Tid], sink: &mut dyn Sink) -> Result<()> {
        let (Some(client), Some(leaf)) = (&self.client, &self.leaf) else { return Ok(()) };
        let repr = if self.pass.reading.scan == ScanKind::Heap { Repr::Heap } else { Repr::Wire };
        let decoded = Decoded { output, forms: &client.forms, patches: &client.patches, repr };
        sink.rows(Rows {
            range: piece.rows.clone(),
            place: Place { table: &self.pass.reading.source.leaves[leaf.index].name, tids },
            ends_batch: piece.ends_batch,
            values: RowValues::Decoded(decoded),
        })
    }

    /// Decodes the piece in this process.
    fn redo(&mut self, flight: &Flight, input: &Input, piece: &Piece, sink: &mut dyn Sink) -> Result<()> {
        match self.pass.reading.scan {
            ScanKind::Heap => self.redo_pages(input, piece, sink),
            ScanKind::CopyBinary => self.redo_rows(flight, input, piece, sink),
        }
    }

    fn redo_pages(&mut self, input: &Input, piece: &Piece, sink: &mut dyn Sink) -> Result<()> {
        let mut pages = (0..input.pages()).filter(|&page| {
            let rows = input.page_rows(page);
            rows.start >= piece.rows.start && rows.end <= piece.rows.end
        });
        let failed = pages.find_map(|page| input.append_page(page, &mut self.batch).err());
        if let (Some(tid), Some(leaf)) = (failed, &self.leaf) {
            return Err(invalid_line_pointer(tid, &self.pass.reading.source.leaves[leaf.index].name));
        }
        if self.batch.rows() != piece.rows.len() {
            return Err(internal("a slot's pages do not hold the rows of a batch"));
        }
        self.flush(piece.ends_batch, sink)
    }

    fn redo_rows(
        &mut self,
        flight: &Flight,
        input: &Input,
        piece: &Piece,
        sink: &mut dyn Sink,
    ) -> Result<()> {
        let (Some(client), Some(leaf)) = (&mut self.client, &self.leaf) else { return Ok(()) };
        let offsets = input.offsets();
        client.redo.load(input.data(), &offsets[piece.rows.start..=piece.rows.end]);
        let table = &self.pass.reading.source.leaves[leaf.index].name;
        let place = Place { table, tids: &flight.tids[piece.rows.clone()] };
        client.redo.hand_on(place, piece.ends_batch, sink)
    }
}

/// Returns the statuses of some rows; `all` is sorted by row.
fn marks<'s>(all: &'s [Status], rows: &Range<usize>) -> &'s [Status] {
    let place = |row: usize| all.partition_point(|status| (status.row as usize) < row);
    &all[place(rows.start)..place(rows.end)]
}

/// Chooses the remedy. Values that are compressed, stored out of line or rendered by the server are found one
/// by one while they are few. The CPU's decoder handles, or reports, everything else.
fn remedy(input: &Input, piece: &Piece, marks: &[Status]) -> Remedy {
    const FOUND: [u32; 4] =
        [Code::Compressed as u32, Code::External as u32, Code::Char as u32, Code::Server as u32];
    if marks.is_empty() {
        return Remedy::None;
    }
    let single = |mark: &Status| {
        let op = input.ops().get(mark.column as usize);
        FOUND.contains(&mark.code) && matches!(op, Some(Op::Bytes | Op::Char))
    };
    let few = marks.len() * PATCH_SHARE <= piece.rows.len();
    match input.is_heap() && few && marks.iter().all(single) {
        true => Remedy::Patch,
        false => Remedy::Redo,
    }
}

/// Returns a row's tuple and its place.
pub(super) fn tuple_of<'i>(input: &Input<'i>, row: usize) -> Option<(Tid, &'i [u8])> {
    let tid = input.tid(row)?;
    let (mut page, mut end) = (0, input.pages());
    while page < end {
        let middle = page + (end - page) / 2;
        match input.page_rows(middle).end <= row {
            true => page = middle + 1,
            false => end = middle,
        }
    }
    let (at, len) = crate::wire::page::line_pointer(input.page(page), tid.offset)?;
    input.page(page).get(usize::from(at)..usize::from(at) + usize::from(len)).map(|bytes| (tid, bytes))
}
