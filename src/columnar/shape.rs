//! What a plan's expressions are, in its private list.

use std::ffi::CStr;

use pgrx::pg_sys::{self, Oid};

use crate::pg::expr::nodes::list;
use crate::pg::list::{integers, members, oids};

/// The name of the plan's node.
pub const NAME: &CStr = c"ColumnarAggregate";

/// What the node reads, and what its expressions are.
pub struct Shape {
    /// The table that the query names.
    pub table: Oid,
    /// The tables that are read, heaps before foreign tables, each with the role whose privileges count for its files. An
    /// invalid OID stands for the current user, and is that of heaps.
    pub leaves: Vec<(Oid, Oid)>,
    pub filters: usize,
    pub keys: usize,
    /// Blocks that the rows of all foreign tables would take in heaps.
    pub blocks: u32,
}

impl Shape {
    /// Returns the shape as a list of lists, which PostgreSQL copies with the plan.
    pub fn to_list(&self) -> *mut pg_sys::List {
        let null = std::ptr::null_mut;
        // SAFETY: new lists in the current context.
        unsafe {
            let of_leaves = self.leaves.iter().flat_map(|&(table, role)| [table, role]);
            let oids = [self.table].into_iter().chain(of_leaves);
            let oids = oids.fold(null(), |list, oid| pg_sys::lappend_oid(list, oid));
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
            let &[table, ref leaves @ ..] = &oids(of_oids)[..] else { return None };
            let &[filters, keys, blocks] = &integers(numbers)[..] else { return None };
            let (leaves, _) = leaves.as_chunks();
            Some(Shape {
                table,
                leaves: leaves.iter().map(|&[table, role]| (table, role)).collect(),
                filters: filters as usize,
                keys: keys as usize,
                blocks: blocks as u32,
            })
        }
    }
}
