//! The state of the plan's node.

use pgrx::pg_sys;

use super::run::Ran;
use super::shown_groups::ShownGroups;
use crate::foreign::FilesSeen;
use crate::query::Cursor;

/// The node's state. PostgreSQL knows the first field.
#[repr(C)]
pub struct Node {
    pub custom: pg_sys::CustomScanState,
    pub scan: *mut Scan,
}

/// What a node is doing.
pub struct Scan {
    pub state: State,
    /// The executor's flags, with which PostgreSQL's plan is started.
    pub flags: i32,
    /// What PostgreSQL allocates for one run.
    pub memory: pg_sys::MemoryContext,
    pub shown: ShownGroups,
    /// Files that were read.
    pub seen: FilesSeen,
}

pub enum State {
    /// Nothing was read.
    Begun,
    /// The groups, and how far they were returned.
    Groups(Box<Ran>, Cursor),
    /// PostgreSQL's plan answers, for a reason.
    Spare(&'static str, *mut pg_sys::PlanState),
}

/// Returns the scan of a node.
///
/// # Safety
/// The node is one of ours, after `begin`.
pub unsafe fn of<'a>(node: *mut pg_sys::CustomScanState) -> &'a mut Scan {
    // SAFETY: `begin` has made the scan, and the executor runs one callback at a time.
    unsafe { &mut *(*node.cast::<Node>()).scan }
}
