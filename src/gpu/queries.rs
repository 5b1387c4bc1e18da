//! The queries that a device computes, by the process that leads each.
//!
//! A process leads one query at a time. A query ends when its groups are fetched, when its process begins another one, when
//! nothing has come for it for a while, and when its process is gone.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Instant;

use super::groups::{IDLE, is_alive, owner};
use super::lock::lock;

pub struct Queries<Q> {
    by_owner: Mutex<HashMap<u64, Begun<Q>>>,
}

struct Begun<Q> {
    number: u64,
    query: Q,
    touched: Instant,
}

impl<Q> Default for Queries<Q> {
    fn default() -> Queries<Q> {
        Queries { by_owner: Mutex::default() }
    }
}

impl<Q: Clone> Queries<Q> {
    /// Drops the queries that are no longer needed, the last one of the same process among them.
    pub fn prepare(&self, number: u64) {
        let mut all = lock(&self.by_owner);
        all.remove(&owner(number));
        all.retain(|&owner, begun| begun.touched.elapsed() < IDLE && is_alive(owner));
    }

    pub fn begin(&self, number: u64, query: Q) {
        let begun = Begun { number, query, touched: Instant::now() };
        lock(&self.by_owner).insert(owner(number), begun);
    }

    pub fn find(&self, number: u64) -> Result<Q, String> {
        let mut all = lock(&self.by_owner);
        let found = all.get_mut(&owner(number)).filter(|begun| begun.number == number);
        let found = found.ok_or("the device does not know the query")?;
        found.touched = Instant::now();
        Ok(found.query.clone())
    }

    pub fn forget(&self, number: u64) {
        lock(&self.by_owner).retain(|_, begun| begun.number != number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_one_query() {
        let queries = Queries::default();
        let number = |count: u64| u64::from(std::process::id()) << 40 | count;
        queries.prepare(number(1));
        queries.begin(number(1), "one");
        assert_eq!(queries.find(number(1)), Ok("one"));
        assert!(queries.find(number(2)).is_err());
        queries.prepare(number(2));
        assert!(queries.find(number(1)).is_err(), "its process begins another one");
        queries.begin(number(2), "two");
        queries.forget(number(1));
        assert_eq!(queries.find(number(2)), Ok("two"));
        // No process has this id.
        queries.begin(u64::from(u32::MAX >> 8) << 40, "gone");
        queries.prepare(1 << 40);
        assert!(queries.find(u64::from(u32::MAX >> 8) << 40).is_err());
    }
}
