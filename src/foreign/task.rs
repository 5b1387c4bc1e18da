//! The task of a scan, in its plan's private list.

use pgrx::pg_sys;

use crate::pg::list::{integers, members};

/// The attributes that a scan returns, and those that it reads for its own conditions only.
pub struct Task {
    pub shown: Vec<i16>,
    pub hidden: Vec<i16>,
}

impl Task {
    /// Returns the task as a list of lists, which PostgreSQL copies and sends to workers with the plan.
    pub fn to_list(&self) -> *mut pg_sys::List {
        let null = std::ptr::null_mut;
        // SAFETY: new lists in the current context.
        unsafe {
            let list = |numbers: &[i16]| {
                numbers.iter().fold(null(), |list, &number| pg_sys::lappend_int(list, number.into()))
            };
            pg_sys::lappend(pg_sys::lappend(null(), list(&self.shown).cast()), list(&self.hidden).cast())
        }
    }

    /// Reads what `to_list` made.
    ///
    /// # Safety
    /// The list is a plan's private list.
    pub unsafe fn from_list(list: *const pg_sys::List) -> Option<Task> {
        // SAFETY: the list is one that `to_list` made.
        unsafe {
            let numbers = |list| integers(list).into_iter().map(|number| number as i16).collect();
            let &[shown, hidden] = &members::<pg_sys::List>(list)[..] else { return None };
            Some(Task { shown: numbers(shown), hidden: numbers(hidden) })
        }
    }
}
