//! The groups of a worker on their way to the leader.

use serde::{Deserialize, Serialize};

use super::Unfit;
use super::distinct::{Distinct, VALUE};
use super::executor::Executor;
use super::state::{Groups, States};
use super::value::Value;

/// PostgreSQL's queues take messages below 1 GB (MaxAllocSize).
pub const MOST: usize = 1 << 29;
pub const MALFORMED: Unfit = Unfit("a worker's message that cannot be read");

#[derive(Serialize, Deserialize)]
pub struct Head<S> {
    pub groups: usize,
    pub texts: usize,
    /// The lengths of what states have elsewhere.
    pub of_states: Vec<Lengths>,
    pub scales: Vec<u8>,
    pub states: S,
    pub counted: u64,
    pub odd_rows: u64,
}

/// Returns groups as bytes: the head after its length, the keys' long texts, what states have elsewhere, and the words.
pub fn encode<S: Serialize>(
    head: &Head<S>,
    texts: &[u8],
    elsewhere: impl Fn(&mut Vec<u8>),
    rows: &[u64],
) -> Result<Vec<u8>, Unfit> {
    let bytes = serde_json::to_vec(head).map_err(|_| Unfit("a state that has no text"))?;
    let of_states = head.of_states.iter().map(Lengths::bytes).sum::<usize>();
    let mut message = Vec::with_capacity(8 + bytes.len() + texts.len() + of_states + 8 * rows.len());
    message.extend((bytes.len() as u64).to_le_bytes());
    message.extend(bytes);
    message.extend(texts);
    elsewhere(&mut message);
    write_words(rows, &mut message);
    Ok(message)
}

fn write_words(words: &[u64], message: &mut Vec<u8>) {
    let start = message.len();
    message.resize(start + 8 * words.len(), 0);
    let places = message[start..].as_chunks_mut().0;
    places.iter_mut().zip(words).for_each(|(place, word)| *place = word.to_le_bytes());
}

/// What a message says.
pub struct Read<'m> {
    pub head: Head<Vec<States>>,
    pub texts: &'m [u8],
    pub rows: Vec<u64>,
}

impl Read<'_> {
    /// Reads groups of so many words and states.
    pub fn parse(message: &[u8], stride: usize, states: usize) -> Result<Read<'_>, Unfit> {
        let (length, rest) = message.split_first_chunk().ok_or(MALFORMED)?;
        let (head, rest) = rest.split_at_checked(u64::from_le_bytes(*length) as usize).ok_or(MALFORMED)?;
        let mut head: Head<Vec<States>> = serde_json::from_slice(head).map_err(|_| MALFORMED)?;
        let (texts, mut rest) = rest.split_at_checked(head.texts).ok_or(MALFORMED)?;
        for (states, lengths) in head.states.iter_mut().zip(&head.of_states) {
            rest = states.read_elsewhere(lengths, rest).ok_or(MALFORMED)?;
        }
        let rows: Vec<u64> = rest.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
        if rows.len() != head.groups * stride || head.states.len() != states {
            return Err(MALFORMED);
        }
        Ok(Read { head, texts, rows })
    }
}

impl Executor {
    /// Returns the groups as bytes.
    pub fn to_message(&self) -> Result<Vec<u8>, Unfit> {
        let head = Head {
            groups: self.table.count,
            texts: self.table.texts.len(),
            of_states: self.states.iter().map(Lengths::of).collect(),
            scales: self.table.scales.clone(),
            states: &self.states[..],
            counted: self.counted,
            odd_rows: self.odd_rows,
        };
        let of_states = head.of_states.iter().map(Lengths::bytes).sum::<usize>();
        if self.table.texts.len() + of_states + 8 * self.table.rows.len() > MOST {
            return Err(Unfit("more groups than a worker can send"));
        }
        let elsewhere =
            |message: &mut Vec<u8>| self.states.iter().for_each(|states| states.write_elsewhere(message));
        encode(&head, &self.table.texts, elsewhere, &self.table.rows)
    }

    /// Adds the groups of another process that runs the same plan. `check` is called now and then.
    pub fn merge(&mut self, message: &[u8], check: impl Fn()) -> Result<(), Unfit> {
        let Read { mut head, texts, mut rows } = Read::parse(message, self.table.stride, self.states.len())?;
        self.add_groups(&mut head, &mut rows, texts, check)
    }

    /// Adds groups whose states have nothing beside their words; `scales` are those of the keys.
    pub fn merge_groups(
        &mut self,
        states: Vec<States>,
        scales: Vec<u8>,
        mut rows: Vec<u64>,
        check: impl Fn(),
    ) -> Result<(), Unfit> {
        let groups = rows.len() / self.table.stride;
        let of_states = states.iter().map(Lengths::of).collect();
        let mut head = Head { groups, texts: 0, of_states, scales, states, counted: 0, odd_rows: 0 };
        self.add_groups(&mut head, &mut rows, &[], check)
    }

    fn add_groups(
        &mut self,
        head: &mut Head<Vec<States>>,
        rows: &mut [u64],
        texts: &[u8],
        check: impl Fn(),
    ) -> Result<(), Unfit> {
        self.counted += head.counted;
        self.odd_rows += head.odd_rows;
        check();
        self.align(head, rows)?;
        check();
        self.insert(head, rows, texts, check)
    }

    /// Brings numerics of both processes to the same scales.
    fn align(&mut self, head: &mut Head<Vec<States>>, rows: &mut [u64]) -> Result<(), Unfit> {
        let stride = self.table.stride;
        for (states, other) in self.states.iter_mut().zip(&mut head.states) {
            states.align(other, &mut self.table.rows, rows, stride)?;
        }
        let keys = self.table.layout.keys.clone();
        for (number, key) in keys.iter().enumerate() {
            let (mine, theirs) = (self.table.scales[number], head.scales[number]);
            self.table.rescale(number, theirs)?;
            if mine > theirs {
                super::table::rescale_key(*key, number, mine - theirs, rows, stride)?;
            }
        }
        Ok(())
    }

    fn insert(
        &mut self,
        head: &mut Head<Vec<States>>,
        rows: &[u64],
        texts: &[u8],
        check: impl Fn(),
    ) -> Result<(), Unfit> {
        const AT_ONCE: usize = 4096;
        let (stride, words) = (self.table.stride, self.table.layout.words);
        let layout = self.table.layout.clone();
        let (mut ids, mut numbers) = (Vec::new(), Vec::new());
        let mut keys = Vec::new();
        for (at, groups) in rows.chunks(AT_ONCE * stride).enumerate() {
            check();
            keys.clear();
            keys.extend(groups.chunks_exact(stride).flat_map(|group| &group[..words]));
            let text = |row: usize, number: usize| {
                let key = &groups[row * stride..];
                let (start, length) = (
                    key[layout.keys[number].shown] as usize,
                    super::keys::text_length(key[layout.keys[number].at]),
                );
                texts.get(start..start + length).unwrap_or(&[])
            };
            self.table.place(&keys, groups.len() / stride, &text, &mut ids)?;
            numbers.extend(&ids);
            for (row, (group, &id)) in groups.chunks_exact(stride).zip(&ids).enumerate() {
                let start = id as usize * stride;
                let into = &mut self.table.rows[start..start + stride];
                let from = (at * AT_ONCE + row) as u32;
                for (states, other) in self.states.iter_mut().zip(&head.states) {
                    states.merge(into, group, other);
                    if let Some(sum) = other.others.get(&from) {
                        states.others.entry(id).or_default().merge(sum);
                    }
                }
            }
        }
        for (states, other) in self.states.iter_mut().zip(&mut head.states) {
            check();
            states.merge_distinct(other, &numbers, (&mut self.table.rows, stride))?;
        }
        Ok(())
    }
}

/// How much a state has beside the groups: bytes of texts, and words, bytes of texts and the scale of DISTINCT values.
#[derive(Serialize, Deserialize)]
pub struct Lengths {
    texts: usize,
    distinct: Option<(usize, usize, u8)>,
}

impl Lengths {
    fn of(states: &States) -> Lengths {
        let distinct = states.distinct.as_ref().map(|distinct| {
            let table = &distinct.table;
            (table.rows.len(), table.texts.len(), table.scales[VALUE])
        });
        Lengths { texts: states.texts.len(), distinct }
    }

    fn bytes(&self) -> usize {
        self.texts + self.distinct.map_or(0, |(words, texts, _)| 8 * words + texts)
    }
}

impl States {
    /// Appends what the state has beside the groups.
    fn write_elsewhere(&self, message: &mut Vec<u8>) {
        message.extend(&self.texts);
        if let Some(distinct) = &self.distinct {
            write_words(&distinct.table.rows, message);
            message.extend(&distinct.table.texts);
        }
    }

    /// Reads what `write_elsewhere` has written, so that it can be merged; returns what follows.
    fn read_elsewhere<'m>(&mut self, lengths: &Lengths, message: &'m [u8]) -> Option<&'m [u8]> {
        let (texts, rest) = message.split_at_checked(lengths.texts)?;
        self.texts = texts.to_vec();
        let Some((words, texts, scale)) = lengths.distinct else { return Some(rest) };
        let (words, rest) = rest.split_at_checked(8 * words)?;
        let (texts, rest) = rest.split_at_checked(texts)?;
        let mut distinct = Distinct::new(self.of, usize::MAX).ok()?;
        let table = &mut distinct.table;
        table.rows = words.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
        (table.texts, table.count) = (texts.to_vec(), table.rows.len() / table.stride);
        table.scales[VALUE] = scale;
        self.distinct = Some(Box::new(distinct));
        Some(rest)
    }

    /// Adds the DISTINCT values of another process's groups, whose numbers here are given.
    fn merge_distinct(
        &mut self,
        other: &mut States,
        numbers: &[u32],
        (rows, stride): (&mut [u64], usize),
    ) -> Result<(), Unfit> {
        let (Some(mut mine), Some(theirs)) = (self.distinct.take(), other.distinct.as_mut()) else {
            return Ok(());
        };
        // But for count, there are words alone.
        let merged = mine.merge(theirs, numbers, |number, word| {
            let mut groups = Groups { rows, stride, ids: &[number] };
            self.add_value(&mut groups, &Value::Word(word as i64))
        });
        self.distinct = Some(mine);
        merged
    }
}
