//! The row groups that a device keeps: the columns of their slots until they are encoded, then the encoded pages until
//! they have been fetched.
//!
//! Runs in the engine, on the drainer's thread and those that answer requests. A process has one group at a
//! time, which ends when its last byte is fetched, when the process begins another one, when nobody has asked for
//! it for a while, and when the process is gone.

use std::collections::HashMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use super::encode::{Body, Bounds, ColumnPart, DictionaryState, Ends, NO_CHUNK, Order, Plan, Shape};
use crate::slot::encode::{ColumnChunk, Dictionary, Page, PageEntry, Request, Wish, encoding};
use crate::slot::layout::{Op, OutColumn};

/// Exporters wait no longer than this for anything.
pub(super) const IDLE: Duration = Duration::from_secs(90);

/// Returns the process that a group's number names.
pub fn owner(group: u64) -> u64 {
    group >> 40
}

/// The columns of one slot.
pub struct Part<M> {
    pub memory: M,
    /// The place of the slot's output region in the device's input or memory, a multiple of 16.
    pub at: u64,
    pub rows: u32,
    pub ops: Vec<Op>,
    pub columns: Vec<OutColumn>,
}

/// The groups by process. `M` is a slot's memory, `F` an encoded group.
pub struct Groups<M, F> {
    by_owner: HashMap<u64, Group<M, F>>,
}

struct Group<M, F> {
    id: u64,
    parts: Vec<Part<M>>,
    encoded: Option<F>,
    touched: Instant,
}

impl<M, F> Default for Groups<M, F> {
    fn default() -> Groups<M, F> {
        Groups { by_owner: HashMap::new() }
    }
}

impl<M, F> Groups<M, F> {
    /// Makes room for a group's slot, if it is the one that is expected. The first slot drops groups that are no longer
    /// needed.
    pub fn prepare(&mut self, group: u64, sequence: u32) -> Result<(), String> {
        if sequence == 0 {
            self.by_owner.remove(&owner(group));
            self.by_owner.retain(|&owner, group| group.touched.elapsed() < IDLE && is_alive(owner));
            let new = Group { id: group, parts: Vec::new(), encoded: None, touched: Instant::now() };
            self.by_owner.insert(owner(group), new);
        }
        let found = self.find(group)?;
        match found.encoded.is_none() && found.parts.len() == sequence as usize {
            true => Ok(()),
            false => Err(format!("slot {sequence} of a row group came behind {} of them", found.parts.len())),
        }
    }

    /// Keeps the columns of the slot that `prepare` was called for.
    pub fn keep(&mut self, group: u64, part: Part<M>) -> Result<(), String> {
        self.find(group)?.parts.push(part);
        Ok(())
    }

    fn find(&mut self, group: u64) -> Result<&mut Group<M, F>, String> {
        let found = self.by_owner.get_mut(&owner(group)).filter(|found| found.id == group);
        let found = found.ok_or("the device has not kept the row group")?;
        found.touched = Instant::now();
        Ok(found)
    }

    /// Takes a group's slots, if they are as many as the request says.
    pub fn take(&mut self, group: u64, request: &Request, wishes: &[Wish]) -> Result<Vec<Part<M>>, String> {
        let parts = std::mem::take(&mut self.find(group)?.parts);
        let rows: u64 = parts.iter().map(|part| u64::from(part.rows)).sum();
        let shapes = |ops: &[Op]| ops.iter().map(|op| shape(*op)).collect::<Option<Vec<Shape>>>();
        let ops: Vec<Op> = wishes.iter().map(|wish| wish.op).collect();
        let wanted = shapes(&ops).ok_or("columns that cannot be encoded")?;
        let alike = parts.iter().all(|part| shapes(&part.ops).as_ref() == Some(&wanted));
        match alike && rows == u64::from(request.rows) && parts.len() == request.slots as usize {
            true => Ok(parts),
            false => Err(format!("{rows} rows in {} slots were kept, not what was asked for", parts.len())),
        }
    }

    /// Keeps the encoded group that the taken slots have become.
    pub fn encoded(&mut self, group: u64, encoded: F) -> Result<(), String> {
        self.find(group)?.encoded = Some(encoded);
        Ok(())
    }

    pub fn get(&mut self, group: u64) -> Result<&F, String> {
        self.find(group)?.encoded.as_ref().ok_or_else(|| "the row group has not been encoded".into())
    }

    pub fn forget(&mut self, group: u64) {
        self.by_owner.retain(|_, known| known.id != group);
    }
}

/// Whether the process is there to ask for its group.
pub(super) fn is_alive(process: u64) -> bool {
    // SAFETY: signal 0 only asks whether there is such a process.
    let failed = unsafe { libc::kill(process as libc::pid_t, 0) } != 0;
    !(failed && std::io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH))
}

/// Returns the form of an operation's values; `None` if the kernels have no encoding for it.
fn shape(op: Op) -> Option<Shape> {
    Some(match op {
        Op::Skip | Op::NumericText => return None,
        Op::Bool => Shape::Bits,
        Op::Bytes | Op::Name | Op::Char => Shape::Strings,
        _ => match op.width()? {
            4 => Shape::Fixed4,
            8 => Shape::Fixed8,
            _ => Shape::Fixed16,
        },
    })
}

/// Returns the parts to encode, one column chunk after the other.
pub fn columns<M>(parts: &[Part<M>], wishes: &[Wish]) -> Vec<ColumnPart> {
    let column = |number: usize, wish: &Wish, place: usize, part: &Part<M>| {
        let found = &part.columns[number];
        let shape = shape(wish.op).unwrap_or(Shape::Bits);
        ColumnPart {
            shape,
            order: wish.order,
            nullable: wish.nullable,
            rows: part.rows,
            valid_at: part.at + u64::from(found.valid_at),
            values_at: part.at + u64::from(found.values_at),
            bytes_at: part.at + u64::from(found.bytes_at),
            bytes: found.bytes.into(),
            continues: place > 0,
            dictionary: wish.dictionary,
            encoding: wish.encoding,
        }
    };
    let parts = || parts.iter().enumerate().filter(|(_, part)| part.rows > 0);
    (wishes.iter().enumerate())
        .flat_map(|(number, wish)| {
            parts().enumerate().map(move |(place, (_, part))| column(number, wish, place, part))
        })
        .collect()
}

/// The bodies of a column chunk by their numbers in the plan: pages, and the dictionary that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkBodies {
    pub pages: Range<usize>,
    pub dictionary: Option<usize>,
}

/// Returns the column chunks of a plan.
pub fn chunks(
    columns: &[ColumnPart],
    plan: &Plan,
    page_rows: impl Fn(&ColumnPart) -> u32,
) -> Vec<ChunkBodies> {
    let mut chunks: Vec<ChunkBodies> = Vec::new();
    let mut end = 0;
    for column in columns {
        let first = end;
        end += column.rows.div_ceil(page_rows(column)) as usize;
        match chunks.last_mut() {
            Some(last) if column.continues => last.pages.end = end,
            _ => {
                let number = plan.pages.get(first).map_or(NO_CHUNK, |page| page.chunk);
                let dictionary = (number != NO_CHUNK).then_some(number as usize);
                chunks.push(ChunkBodies { pages: first..end, dictionary });
            }
        }
    }
    chunks
}

impl ChunkBodies {
    /// Returns the numbers of the chunk's bodies in the order in which they lie in the file.
    pub fn in_file<'a>(
        &'a self,
        plan: &'a Plan,
        states: &'a [DictionaryState],
    ) -> impl Iterator<Item = usize> + 'a {
        let used = self.dictionary.filter(|&number| states[number].used != 0);
        used.map(|number| plan.pages.len() + number).into_iter().chain(self.pages.clone())
    }
}

/// The kernels' results, by the bodies' numbers in the plan.
pub struct Tables<'a> {
    pub bodies: &'a [Body],
    pub bounds: &'a [Bounds],
    pub ends: &'a [Ends],
    pub states: &'a [DictionaryState],
    /// Bytes of each body after the codec.
    pub stored: &'a [u32],
}

/// Describes the column chunks for an answer.
pub fn describe(wishes: &[Wish], chunks: &[ChunkBodies], plan: &Plan, tables: &Tables) -> Vec<ColumnChunk> {
    let one = |(wish, chunk): (&Wish, &ChunkBodies)| {
        let used = chunk.dictionary.filter(|&number| tables.states[number].used != 0);
        let dictionary = used.map(|number| {
            let body = plan.pages.len() + number;
            let raw = tables.bodies[body].bytes;
            Dictionary { entries: tables.states[number].entries, raw, stored: tables.stored[body] }
        });
        let pages = chunk.pages.clone().map(|page| describe_page(wish, plan, page, used.is_some(), tables));
        ColumnChunk { dictionary, pages: pages.collect() }
    };
    wishes.iter().zip(chunks).map(one).collect()
}

fn describe_page(wish: &Wish, plan: &Plan, number: usize, by_dictionary: bool, tables: &Tables) -> Page {
    let (page, body, bounds) = (&plan.pages[number], tables.bodies[number], &tables.bounds[number]);
    let strings = page.shape == Shape::Strings as u8;
    let encoding = match (by_dictionary, body.nulls < page.rows) {
        (true, _) => encoding::RLE_DICTIONARY,
        (false, true) => page.encoding.into(),
        (false, false) => encoding::PLAIN,
    };
    let words = |bits: u128| [(bits >> 64) as u64, bits as u64];
    let shape = shape(wish.op).unwrap_or(Shape::Bits);
    let (min, max) = if strings { None } else { bounds.bits(shape, wish.order) }.unwrap_or_default();
    let entry = PageEntry {
        rows: page.rows,
        nulls: body.nulls,
        ordered: bounds.values,
        nans: bounds.nans,
        encoding,
        raw: body.bytes,
        stored: tables.stored[number],
        value_bytes: if strings { bounds.min_low as u32 } else { 0 },
        min: words(min),
        max: words(max),
    };
    let bounded = strings && page.order != Order::None as u8 && bounds.values > 0;
    Page { entry, ends: bounded.then(|| tables.ends[number]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(rows: u32) -> Part<()> {
        let columns = vec![OutColumn { valid_at: 64, values_at: 128, ..OutColumn::default() }; 2];
        Part { memory: (), at: 4096, rows, ops: vec![Op::Int4], columns }
    }

    fn group(block: u64) -> u64 {
        u64::from(std::process::id()) << 40 | block
    }

    const WISH: Wish = Wish {
        op: Op::Date,
        order: Order::Signed,
        nullable: true,
        dictionary: false,
        encoding: encoding::DELTA_BINARY_PACKED,
    };

    #[test]
    fn slots_come_in_order_and_all_of_them() {
        let mut groups: Groups<(), u8> = Groups::default();
        assert!(groups.prepare(group(5), 1).is_err());
        groups.prepare(group(5), 0).unwrap();
        groups.keep(group(5), part(10)).unwrap();
        assert!(groups.prepare(group(5), 2).is_err());
        groups.prepare(group(5), 1).unwrap();
        groups.keep(group(5), part(7)).unwrap();
        let request = Request { rows: 17, slots: 2, ..Request::default() };
        assert!(groups.get(group(5)).is_err());
        assert_eq!(groups.take(group(5), &request, &[WISH]).unwrap().len(), 2);
        assert!(groups.take(group(5), &request, &[WISH]).is_err() && groups.get(group(5)).is_err());
        groups.encoded(group(5), 9).unwrap();
        assert_eq!(groups.get(group(5)), Ok(&9));
        assert!(groups.prepare(group(5), 2).is_err());
    }

    #[test]
    fn requests_are_for_what_was_kept() {
        let request = Request { rows: 10, slots: 1, ..Request::default() };
        let refused = [
            (Request { rows: 9, ..request }, WISH),
            (Request { slots: 2, ..request }, WISH),
            (request, Wish { op: Op::Int8, ..WISH }),
        ];
        for (request, wish) in refused {
            let mut groups: Groups<(), u8> = Groups::default();
            groups.prepare(group(5), 0).unwrap();
            groups.keep(group(5), part(10)).unwrap();
            assert!(groups.take(group(5), &request, &[wish]).is_err());
        }
    }

    #[test]
    fn a_process_has_one_group_and_the_dead_have_none() {
        let mut groups: Groups<(), u8> = Groups::default();
        // Above what processes are numbered to.
        let dead = 1 << 62 | 3;
        groups.prepare(dead, 0).unwrap();
        groups.prepare(group(1), 0).unwrap();
        assert!(groups.prepare(dead, 0).is_ok() && groups.prepare(group(1), 0).is_ok());
        assert!(groups.keep(dead, part(1)).is_err());
        groups.prepare(group(2), 0).unwrap();
        assert!(groups.keep(group(1), part(1)).is_err());
        groups.keep(group(2), part(1)).unwrap();
        groups.forget(group(2));
        assert!(groups.keep(group(2), part(1)).is_err());
    }

    #[test]
    fn chunks_of_several_parts() {
        let parts = [part(100), part(0), part(300)];
        let columns = columns(&parts, &[WISH, Wish { dictionary: true, ..WISH }]);
        let places: Vec<_> = columns.iter().map(|column| (column.rows, column.continues)).collect();
        assert_eq!(places, [(100, false), (300, true), (100, false), (300, true)]);
        assert_eq!((columns[0].valid_at, columns[0].encoding), (4160, WISH.encoding));
        let plan = super::super::encode::plan(&columns, |_| 96, super::super::encode::LIMITS);
        let chunks = chunks(&columns, &plan, |_| 96);
        let second = ChunkBodies { pages: 6..12, dictionary: Some(0) };
        assert_eq!(chunks, [ChunkBodies { pages: 0..6, dictionary: None }, second]);
        let states = [DictionaryState { used: 1, ..DictionaryState::default() }];
        assert_eq!(chunks[1].in_file(&plan, &states).collect::<Vec<_>>(), [12, 6, 7, 8, 9, 10, 11]);
    }
}
