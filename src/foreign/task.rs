//! What a plan tells its scan, in the plan's private list.

use pgrx::pg_sys::{self, Oid};

use crate::pg::list::{integers, members};

/// What a scan is to do.
pub enum Task {
    /// Rows with the attributes that are shown; hidden ones serve the scan's own conditions alone.
    Rows { shown: Vec<i16>, hidden: Vec<i16> },
    /// One row of aggregates' states. Without a relation of its own, the scan is told which table, and on whose
    /// privileges; an invalid OID stands for the current user.
    Aggregates { table: Oid, role: Oid },
}

impl Task {
    /// As a list of lists, which plans are copied and sent to workers with.
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

    /// # Safety
    /// The list is one that `to_list` made.
    pub unsafe fn from_list(list: *const pg_sys::List) -> Option<Task> {
        // SAFETY: as the caller says.
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
