//! Many groups, merged by all processes: each one splits its groups into parts by their hashes, in a segment of shared
//! memory, and then merges some of the parts of all. Few groups are sent to the leader, which merges them.
//!
//! Runs in the leader and in each worker, between the last row and the result.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::pg::check_for_interrupts;
use crate::pg::error::{Result, internal};
use crate::pg::parallel::wait_until;
use crate::pg::segment::{Segment, has_room};
use crate::query::{Executor, PARTS, Unfit};

/// Processes that have begun, those among them that read rows, and those that have split their groups.
const JOINED: usize = 0;
const READING: usize = 1;
const SPLIT: usize = 2;
/// Not 0 if a process has so many groups that all of them exchange theirs.
const IS_ON: usize = 3;
/// The next part that nobody merges, and how many are merged.
const NEXT: usize = 4;
const MERGED: usize = 5;
/// The handles of each process's segment; 0 for none.
const HANDLES: usize = 6;

/// A process with more groups makes all exchange theirs.
const MANY: usize = 16 << 10;

type Fit<T> = std::result::Result<T, Unfit>;

/// Why a process has no result if another one has given up.
pub const STOPPED: Unfit = Unfit("rows that another process cannot compute");

/// A process's part in an exchange.
pub struct Exchange<'w> {
    words: &'w [AtomicU64],
    number: usize,
}

/// Returns how many words the leader and so many workers share.
pub fn words(workers: usize) -> usize {
    HANDLES + workers + 1
}

impl<'w> Exchange<'w> {
    /// Joins, before the first row is claimed. The leader's number is 0.
    pub fn join(words: &'w [AtomicU64], number: usize) -> Exchange<'w> {
        words[READING].fetch_add(1, Ordering::SeqCst);
        words[JOINED].fetch_add(1, Ordering::SeqCst);
        Exchange { words, number }
    }

    fn read(&self, word: usize) -> u64 {
        self.words[word].load(Ordering::SeqCst)
    }

    /// Merges the groups of all processes, if one of them has many; the executor then has some parts. `is_stopped`
    /// tells that another process has given up.
    pub fn merge(&self, executor: &mut Executor, is_stopped: impl Fn() -> bool) -> Result<Fit<()>> {
        let processes = self.words.len() - HANDLES;
        if processes == 1 || !executor.can_split() {
            return Ok(Ok(()));
        }
        if executor.groups() > MANY && has_room(executor.table.size().saturating_mul(processes)) {
            self.words[IS_ON].store(1, Ordering::SeqCst);
        }
        self.words[READING].fetch_sub(1, Ordering::SeqCst);
        // A process that joins later finds no rows to claim.
        if !wait_until(|| self.read(READING) == 0, &is_stopped) {
            return Ok(Err(STOPPED));
        }
        if self.read(IS_ON) == 0 {
            return Ok(Ok(()));
        }
        let own = match self.publish(executor)? {
            Ok(own) => own,
            Err(unfit) => return Ok(Err(unfit)),
        };
        self.words[SPLIT].fetch_add(1, Ordering::SeqCst);
        if !wait_until(|| self.read(SPLIT) >= self.read(JOINED), &is_stopped) {
            return Ok(Err(STOPPED));
        }
        if let Err(unfit) = self.merge_parts(executor, own.as_ref())? {
            return Ok(Err(unfit));
        }
        // Others may still read the segment.
        let is_merged = wait_until(|| self.read(MERGED) >= PARTS as u64, &is_stopped);
        drop(own);
        Ok(if is_merged { Ok(()) } else { Err(STOPPED) })
    }

    /// Splits the groups into a segment; there is none without rows.
    fn publish(&self, executor: &mut Executor) -> Result<Fit<Option<Segment>>> {
        if executor.counted == 0 {
            return Ok(Ok(None));
        }
        let messages = match executor.split(check_for_interrupts) {
            Ok(messages) => messages,
            Err(unfit) => return Ok(Err(unfit)),
        };
        let head = PARTS * size_of::<u64>();
        let size = head + messages.iter().map(Vec::len).sum::<usize>();
        let Some(mut segment) = Segment::create(size) else {
            return Ok(Err(Unfit("groups for which there is no shared memory")));
        };
        let (lengths, mut rest) = segment.bytes_mut().split_at_mut(head);
        for (length, message) in lengths.as_chunks_mut().0.iter_mut().zip(&messages) {
            *length = (message.len() as u64).to_le_bytes();
            let (place, others) = rest.split_at_mut(message.len());
            place.copy_from_slice(message);
            rest = others;
        }
        self.words[HANDLES + self.number].store(segment.handle().into(), Ordering::SeqCst);
        Ok(Ok(Some(segment)))
    }

    /// Merges parts until all are taken.
    fn merge_parts(&self, executor: &mut Executor, own: Option<&Segment>) -> Result<Fit<()>> {
        let mut others: Option<Vec<Segment>> = None;
        loop {
            let part = self.words[NEXT].fetch_add(1, Ordering::SeqCst) as usize;
            if part >= PARTS {
                return Ok(Ok(()));
            }
            let others = match &others {
                Some(others) => others,
                None => others.insert(self.others()?),
            };
            let messages = others.iter().chain(own).map(|segment| of_part(segment.bytes(), part));
            if let Err(unfit) = executor.merge_part(messages, check_for_interrupts) {
                return Ok(Err(unfit));
            }
            self.words[MERGED].fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Attaches the segments of the other processes. They stay until all parts are merged.
    fn others(&self) -> Result<Vec<Segment>> {
        let handle = |(number, handle): (usize, &AtomicU64)| match number == self.number {
            true => 0,
            false => handle.load(Ordering::SeqCst) as u32,
        };
        let handles = self.words[HANDLES..].iter().enumerate().map(handle);
        let attach = |handle| Segment::attach(handle).ok_or_else(|| internal("a segment of groups is gone"));
        handles.filter(|handle| *handle != 0).map(attach).collect()
    }
}

/// Returns the message of a part.
fn of_part(bytes: &[u8], part: usize) -> &[u8] {
    let (lengths, messages) = bytes.split_at_checked(PARTS * size_of::<u64>()).unwrap_or_default();
    let lengths: Vec<usize> =
        lengths.as_chunks().0.iter().map(|length| u64::from_le_bytes(*length) as usize).collect();
    let start = lengths.iter().take(part).sum();
    messages.get(start..).and_then(|rest| rest.get(..*lengths.get(part)?)).unwrap_or_default()
}
