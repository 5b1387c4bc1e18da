//! The task of a scan, in its plan's private list.

use pgrx::pg_sys::{self, Oid};

use crate::pg::list::{integers, members};

/// What a scan returns.
pub enum Task {
    /// Rows with the attributes that are shown. Hidden ones are read for the scan's own conditions only.
    Rows { shown: Vec<i16>, hidden: Vec<i16> },
    /// One row of aggregates' states. Such a scan has no relation of its own; it reads `table` with the privileges of
    /// `role`. An invalid OID stands for the current user.
    Aggregates { table: Oid, role: Oid },
}

impl Task {
    /// Returns the task as a list of lists, which PostgreSQL copies and sends to workers with the plan.
    pub fn to_list(&self) -> *mut pg_sys::List {
        let null = std::ptr::null_mut;
        // SAFETY: new lists in the current context.
        unsafe {
            match self {
                Task::Rows { shown, hidden } => {
                    let list = |numbers: &[i16]| {
                        numbers.iter().fold(null(), |list, &number| pg_sys::lappend_int(list, number.into()))
                    };
                    pg_sys::lappend(pg_sys::lappend(null(), list(shown).cast()), list(hidden).cast())
                }
                Task::Aggregates { table, role } => {
                    let list = pg_sys::lappend_oid(pg_sys::lappend_oid(null(), *table), *role);
                    pg_sys::lappend(null(), list.cast())
                }
            }
        }
    }

    /// Reads what `to_list` made.
    ///
    /// # Safety
    /// The list is a plan's private list.
    pub unsafe fn from_list(list: *const pg_sys::List) -> Option<Task> {
        // SAFETY: the list is one that `to_list` made.
        unsafe {
            match members::<pg_sys::List>(list)[..] {
                [shown, hidden] => {
                    let numbers = |list| integers(list).into_iter().map(|number| number as i16).collect();
                    Some(Task::Rows { shown: numbers(shown), hidden: numbers(hidden) })
                }
                [aggregates] if !aggregates.is_null() && (*aggregates).length == 2 => {
                    let elements = (*aggregates).elements;
                    Some(Task::Aggregates {
                        table: (*elements).oid_value,
                        role: (*elements.add(1)).oid_value,
                    })
                }
                _ => None,
            }
        }
    }
}
