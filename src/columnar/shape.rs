//! What a plan's expressions are, in its private list.

use std::ffi::CStr;

use pgrx::pg_sys::{self, Oid};

use super::nodes::list;
use crate::pg::list::{integers, members, oids};

/// The name of the plan's node.
pub const NAME: &CStr = c"ColumnarAggregate";

/// What the node's expressions are.
#[derive(Clone, Copy)]
pub struct Shape {
    pub table: Oid,
    pub filters: usize,
    pub keys: usize,
}

impl Shape {
    /// Returns the shape as a list of lists, which PostgreSQL copies with the plan.
    pub fn to_list(self) -> *mut pg_sys::List {
        let null = std::ptr::null_mut;
        // SAFETY: new lists in the current context.
        unsafe {
            let table = pg_sys::lappend_oid(null(), self.table);
            let counts =
                pg_sys::lappend_int(pg_sys::lappend_int(null(), self.filters as i32), self.keys as i32);
            list([table, counts])
        }
    }

    /// Reads what `to_list` made.
    ///
    /// # Safety
    /// The list is a plan's private list.
    pub unsafe fn from_list(list: *const pg_sys::List) -> Option<Shape> {
        // SAFETY: the list is one that `to_list` made.
        unsafe {
            let &[table, counts] = &members::<pg_sys::List>(list)[..] else { return None };
            let (&[table], &[filters, keys]) = (&oids(table)[..], &integers(counts)[..]) else { return None };
            Some(Shape { table, filters: filters as usize, keys: keys as usize })
        }
    }
}
