//! Groups split by the hashes of their keys, so that several processes merge them, each one some of the parts.

use std::collections::HashMap;

use super::Unfit;
use super::executor::{Executor, Merged};
use super::message::{Head, MALFORMED, Read, encode};
use super::state::{Form, Kind, States};
use super::table::TOO_MANY;
use super::value::Class;

/// So many that the groups of a part mostly lie in a processor's caches.
pub const PARTS: usize = 64;

/// A part's groups while they are split.
#[derive(Default)]
struct Begun {
    rows: Vec<u64>,
    texts: Vec<u8>,
    /// Each aggregate's sums that 128 bits do not hold.
    others: HashMap<usize, HashMap<u32, crate::expr::NumericSum>>,
}

impl Executor {
    /// Returns whether equal keys have the same hash in every process, and a group has nothing beside its words but the
    /// keys' long texts. The words of a numeric depend on a scale, which processes find by themselves.
    pub fn can_split(&self) -> bool {
        let keys = &self.table.layout.keys;
        let is_plain = |states: &States| {
            states.distinct.is_none() && !matches!(states.kind, Kind::Extreme { class: Form::Bytes, .. })
        };
        let mut classes = keys.iter().map(|key| key.of.class());
        !keys.is_empty() && classes.all(|class| class != Class::Numeric) && self.states.iter().all(is_plain)
    }

    /// Returns the number of all groups.
    pub fn groups(&self) -> usize {
        self.table.count + self.parts.iter().map(|part| part.table.count).sum::<usize>()
    }

    /// Takes the groups out, and returns those of each part as a message. `check` is called now and then.
    pub fn split(&mut self, check: impl Fn()) -> Result<Vec<Vec<u8>>, Unfit> {
        let Merged { table, states } = self.take();
        let mut parts: Vec<Begun> = (0..PARTS).map(|_| Begun::default()).collect();
        let has_others = states.iter().any(|states| !states.others.is_empty());
        for (number, group) in table.rows.chunks_exact(table.stride).enumerate() {
            if number % 4096 == 0 {
                check();
            }
            let part = &mut parts[(table.layout.hash(group) >> 32) as usize % PARTS];
            let start = part.rows.len();
            part.rows.extend_from_slice(group);
            for (at, key) in table.layout.keys.iter().enumerate() {
                if key.is_long(at, group) {
                    part.rows[start + key.shown] = part.texts.len() as u64;
                    part.texts.extend(table.text(at, group, &mut [0; super::keys::INLINE]));
                }
            }
            for (aggregate, states) in states.iter().enumerate().filter(|_| has_others) {
                if let Some(sum) = states.others.get(&(number as u32)) {
                    let others = part.others.entry(aggregate).or_default();
                    others.insert((start / table.stride) as u32, sum.clone());
                }
            }
        }
        drop(table.rows);
        let (mut counted, mut odd_rows) =
            (std::mem::take(&mut self.counted), std::mem::take(&mut self.odd_rows));
        let mut messages = Vec::with_capacity(PARTS);
        for mut part in parts {
            check();
            let states: Vec<States> = states.iter().map(States::without_others).collect();
            let states = states.into_iter().enumerate().map(|(number, mut states)| {
                states.others = part.others.remove(&number).unwrap_or_default();
                states
            });
            let head = Head {
                groups: part.rows.len() / table.stride,
                texts: part.texts.len(),
                of_states: Vec::new(),
                scales: table.scales.clone(),
                states: states.collect::<Vec<_>>(),
                counted: std::mem::take(&mut counted),
                odd_rows: std::mem::take(&mut odd_rows),
            };
            messages.push(encode(&head, &part.texts, |_| (), &part.rows)?);
        }
        Ok(messages)
    }

    /// Adds a part, of which each process has sent a message that `split` has made.
    pub fn merge_part<'m>(
        &mut self,
        messages: impl Iterator<Item = &'m [u8]>,
        check: impl Fn(),
    ) -> Result<(), Unfit> {
        for message in messages {
            self.merge(message, &check)?;
        }
        let part = self.take();
        self.keep(part)
    }

    fn keep(&mut self, mut part: Merged) -> Result<(), Unfit> {
        part.table.close();
        self.kept += part.table.size();
        self.parts.push(part);
        match self.kept > self.table.limit {
            true => Err(TOO_MANY),
            false => Ok(()),
        }
    }

    /// Takes the groups out.
    fn take(&mut self) -> Merged {
        let table = self.table.without_groups();
        let states = self.states.iter().map(States::without_groups).collect();
        Merged {
            table: std::mem::replace(&mut self.table, table),
            states: std::mem::replace(&mut self.states, states),
        }
    }

    /// Returns the parts as messages, each after its length.
    pub fn to_parts(&self) -> Result<Vec<u8>, Unfit> {
        let mut message = Vec::new();
        for (number, Merged { table, states }) in self.parts.iter().enumerate() {
            let is_first = u64::from(number == 0);
            let head = Head {
                groups: table.count,
                texts: table.texts.len(),
                of_states: Vec::new(),
                scales: table.scales.clone(),
                states: &states[..],
                counted: is_first * self.counted,
                odd_rows: is_first * self.odd_rows,
            };
            let part = encode(&head, &table.texts, |_| (), &table.rows)?;
            message.extend((part.len() as u64).to_le_bytes());
            message.extend(part);
        }
        match message.len() > super::message::MOST {
            true => Err(Unfit("more groups than a worker can send")),
            false => Ok(message),
        }
    }

    /// Takes the parts of another process, which has merged others than this one.
    pub fn take_parts(&mut self, mut message: &[u8]) -> Result<(), Unfit> {
        while !message.is_empty() {
            let (length, rest) = message.split_first_chunk().ok_or(MALFORMED)?;
            let (part, rest) =
                rest.split_at_checked(u64::from_le_bytes(*length) as usize).ok_or(MALFORMED)?;
            message = rest;
            let Read { head, texts, rows } = Read::parse(part, self.table.stride, self.states.len())?;
            self.counted += head.counted;
            self.odd_rows += head.odd_rows;
            let mut table = self.table.without_groups();
            (table.count, table.scales) = (head.groups, head.scales);
            (table.rows, table.texts) = (rows, texts.to_vec());
            self.keep(Merged { table, states: head.states })?;
        }
        Ok(())
    }
}
