//! The tables that a relation of the planner's stands for: itself, or its partitions and children.

use pgrx::pg_sys::{self, Oid};

use crate::foreign::{self, TableReader};
use crate::pg::catalog::Table;
use crate::pg::expr::has_parameter;
use crate::pg::list::members;

/// A table that is read.
pub struct Leaf {
    pub table: Oid,
    /// Whose privileges count for a foreign table's files; `None` of a heap.
    pub role: Option<Oid>,
    /// Blocks that the rows take, or those of a foreign table would take in a heap.
    pub blocks: u32,
    /// Blocks of the heap or of the files.
    pub pages: u32,
    rows: f64,
}

impl Leaf {
    /// Estimates the blocks of a foreign table of which so many columns are read.
    pub fn estimate(&mut self, columns: usize) {
        const ROW_OVERHEAD: usize = 28;
        const COLUMN: usize = 8;
        if self.role.is_some() {
            let bytes = self.rows * (ROW_OVERHEAD + COLUMN * columns) as f64;
            self.blocks = (bytes / f64::from(pg_sys::BLCKSZ)).min(f64::from(i32::MAX)) as u32;
        }
    }
}

/// Returns the tables whose rows a relation has, heaps and foreign tables of ours; `None` if there are others.
///
/// # Safety
/// The arguments are the planner's.
pub unsafe fn leaves(root: *mut pg_sys::PlannerInfo, input: *mut pg_sys::RelOptInfo) -> Option<Vec<Leaf>> {
    // SAFETY: a base relation has an entry in the range table; conditions are RestrictInfos.
    unsafe {
        if (*input).reloptkind != pg_sys::RelOptKind::RELOPT_BASEREL || !(*input).lateral_relids.is_null() {
            return None;
        }
        let entry = &**(*root).simple_rte_array.add((*input).relid as usize);
        // Which partitions a parameter's value or the current time excludes is known to the executor of PostgreSQL's plan
        // only.
        let varies = |&clause: &*mut pg_sys::RestrictInfo| {
            let clause = (*clause).clause;
            has_parameter(clause.cast()) || pg_sys::contain_mutable_functions(clause.cast())
        };
        if entry.inh && members::<pg_sys::RestrictInfo>((*input).baserestrictinfo).iter().any(varies) {
            return None;
        }
        let mut found = Vec::new();
        add(root, (*input).relid, &mut found)?;
        Some(found)
    }
}

/// Adds the tables of a member of the range table.
///
/// # Safety
/// The number is that of a relation of the planner's.
unsafe fn add(root: *mut pg_sys::PlannerInfo, number: u32, found: &mut Vec<Leaf>) -> Option<()> {
    // SAFETY: the arrays have an element for each number; one without a relation is not read.
    unsafe {
        let entry = &**(*root).simple_rte_array.add(number as usize);
        let relation = *(*root).simple_rel_array.add(number as usize);
        if relation.is_null() || pg_sys::is_dummy_rel(relation) {
            return Some(());
        }
        if entry.rtekind != pg_sys::RTEKind::RTE_RELATION || !entry.tablesample.is_null() {
            return None;
        }
        if entry.inh {
            let children = members::<pg_sys::AppendRelInfo>((*root).append_rel_list);
            let mut of_this = children.iter().filter(|child| (***child).parent_relid == number);
            return of_this.try_for_each(|child| add(root, (**child).child_relid, found));
        }
        let (pages, rows) = ((*relation).pages, (*relation).tuples);
        let role = match entry.relkind as u8 {
            b'r' | b'm' => {
                let table = Table::find(entry.relid)?;
                let is_readable =
                    table.is_populated() && !table.is_other_temporary() && !table.is_absent_on_standby();
                if !table.is_heap() || !is_readable {
                    return None;
                }
                None
            }
            b'f' if TableReader::reads(relation) => Some(foreign::role(root, relation)),
            // A partitioned table without partitions has no rows.
            b'p' => return Some(()),
            _ => return None,
        };
        found.push(Leaf { table: entry.relid, role, blocks: pages, pages, rows });
        Some(())
    }
}
