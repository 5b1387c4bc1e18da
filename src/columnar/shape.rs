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
    /// Whose privileges count for a foreign table's files; an invalid OID stands for the current user.
    pub role: Oid,
    pub filters: usize,
    pub keys: usize,
    /// Blocks that a foreign table's rows would take in a heap; 0 of other tables.
    pub blocks: u32,
}

impl Shape {
    /// Returns the shape as a list of lists, which PostgreSQL copies with the plan.
    pub fn to_list(self) -> *mut pg_sys::List {
        let null = std::ptr::null_mut;
        // SAFETY: new lists in the current context.
        unsafe {
            let oids = pg_sys::lappend_oid(pg_sys::lappend_oid(null(), self.table), self.role);
            let numbers = [self.filters as i32, self.keys as i32, self.blocks as i32];
            let numbers = numbers.iter().fold(null(), |list, &number| pg_sys::lappend_int(list, number));
            list([oids, numbers])
        }
    }

    /// Reads what `to_list` made.
    ///
    /// # Safety
    /// The list is a plan's private list.
    pub unsafe fn from_list(list: *const pg_sys::List) -> Option<Shape> {
        // SAFETY: the list is one that `to_list` made.
        unsafe {
            let &[of_oids, numbers] = &members::<pg_sys::List>(list)[..] else { return None };
            let &[table, role] = &oids(of_oids)[..] else { return None };
            let &[filters, keys, blocks] = &integers(numbers)[..] else { return None };
            let (filters, keys) = (filters as usize, keys as usize);
            Some(Shape { table, role, filters, keys, blocks: blocks as u32 })
        }
    }
}
