//! Rows that a device adds to the groups of a query. Those that it leaves out come back as cells, which this process adds
//! to groups of its own.
//!
//! If most rows of a slot are left out, the rest of the leaf goes to this process at once.
//!
//! A slot that comes back done has every other row in the device's groups. Of one that does not, nobody knows: all of the
//! query is computed again.

use super::completion::tuple_of;
use super::flight::{Completion, Flight};
use super::{Reader, Sink};
use crate::pg::error::{Result, internal};
use crate::pg::heap::invalid_line_pointer;
use crate::slot::input::Input;
use crate::slot::query::read_marks;
use crate::wire::tuple::TupleRef;

/// Rows that are handed on at once.
const AT_ONCE: usize = 4096;

impl Reader<'_> {
    pub(super) fn take_aggregated(
        &mut self,
        flight: &Flight,
        completion: Completion,
        sink: &mut dyn Sink,
    ) -> Result<()> {
        let marked = match completion {
            Completion::Done => read_marks(flight.slot.output(), flight.rows),
            Completion::Undone => {
                sink.lost();
                return Ok(());
            }
        };
        let Some(client) = &mut self.client else { return Ok(()) };
        let marked = match marked {
            Ok(marked) => marked,
            Err(what) => {
                client.lose(format!("a device returned something else than it was asked for: {what}"));
                sink.lost();
                return Ok(());
            }
        };
        client.tally.patched += marked.len() as u64;
        client.unfit |= marked.len() > flight.rows / 2;
        sink.aggregated((flight.rows - marked.len()) as u64);
        let input = Input::new(flight.slot.input()).map_err(internal)?;
        for rows in marked.chunks(AT_ONCE) {
            self.hand_marked(&input, rows, sink)?;
        }
        Ok(())
    }

    /// Deforms some rows of a slot and hands them on. The batch is empty: rows go into it only where no slot takes them, and
    /// it is ended before the next slot.
    fn hand_marked(&mut self, input: &Input, rows: &[u32], sink: &mut dyn Sink) -> Result<()> {
        let Some(leaf) = &self.leaf else { return Ok(()) };
        let batch = &mut self.batch;
        for &row in rows {
            let Some((tid, bytes)) = tuple_of(input, row as usize) else {
                let tid =
                    input.tid(row as usize).ok_or_else(|| internal("a marked row is not in its slot"))?;
                return Err(invalid_line_pointer(tid, &self.pass.reading.source.leaves[leaf.index].name));
            };
            batch.arena.resize(batch.arena.len().next_multiple_of(8), 0);
            batch.tuples.push(TupleRef { pos: batch.arena.len() as u32, len: bytes.len() as u32 });
            batch.arena.extend_from_slice(bytes);
            batch.tids.push(tid);
        }
        self.flush(true, sink)
    }
}
