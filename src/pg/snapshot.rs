//! The snapshot on which an export reads. Only the leader's main thread uses it.

use std::collections::HashSet;
use std::ffi::{CStr, c_char};

use pgrx::pg_sys;
use pgrx::pg_sys::Oid;

use super::catalog::Table;
use super::error::{Code, Error, Result, error};
use super::pg_type;

/// The active snapshot until this is dropped; an abort pops it by itself. Parallel workers get the active
/// snapshot.
pub struct Snapshot(());

impl Snapshot {
    /// Takes the newest snapshot that the isolation level allows; in READ COMMITTED that is a new one. The
    /// calling statement's own is older than the locks that the export may have waited for, and does not see
    /// what their holders wrote.
    pub fn take() -> Snapshot {
        // SAFETY: inside a transaction, on the main thread, and outside parallel mode.
        unsafe {
            // The relation cache must know what was committed before the snapshot, such as attached partitions.
            pg_sys::AcceptInvalidationMessages();
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        }
        Snapshot(())
    }

    /// Makes the snapshot of the statement that runs the active one.
    pub fn push(snapshot: pg_sys::Snapshot) -> Snapshot {
        // SAFETY: the executor keeps the snapshot while the statement runs; on the main thread.
        unsafe { pg_sys::PushActiveSnapshot(snapshot) };
        Snapshot(())
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: pushed by `take` or `push`; snapshots pushed later are popped already.
            unsafe { pg_sys::PopActiveSnapshot() }
        }
    }
}

/// Raises an error if another transaction has replaced the table's storage since the snapshot was taken: the
/// rows are that transaction's, which the snapshot does not see.
pub fn check_storage(table: &Table) -> Result<()> {
    if !is_kept() || storage_of(table.oid()) == Some(table.storage()) {
        return Ok(());
    }
    Err(changed(
        table,
        "Its storage was replaced, by TRUNCATE, ALTER TABLE or REFRESH MATERIALIZED VIEW, say",
    ))
}

/// Raises an error if `found` are not the children that `parents` had when the snapshot was taken: rows that
/// the snapshot sees would be missing, or others would be added.
pub fn check_children(table: &Table, parents: &[Oid], found: &[Oid]) -> Result<()> {
    if !is_kept() {
        return Ok(());
    }
    let before: HashSet<Oid> = parents.iter().flat_map(|&parent| children_of(parent)).collect();
    if before == found.iter().copied().collect() {
        return Ok(());
    }
    Err(changed(table, "A partition or child was attached or detached"))
}

/// Returns whether the transaction keeps one snapshot, which may be older than what the caches know.
fn is_kept() -> bool {
    // SAFETY: reads the transaction's isolation level.
    unsafe { pg_sys::XactIsoLevel >= pg_sys::XACT_REPEATABLE_READ as i32 }
}

fn changed(table: &Table, how: &str) -> Error {
    let message =
        format!("could not serialize access to {} due to a concurrent change", table.qualified_name());
    error(Code::ERRCODE_T_R_SERIALIZATION_FAILURE, message)
        .set_detail(format!("{how} after the transaction's snapshot was taken."))
        .set_hint("Run the export in a new transaction.")
}

/// Returns `pg_class.relfilenode` as the snapshot sees it.
fn storage_of(table: Oid) -> Option<Oid> {
    let (catalog, index) = (pg_sys::RelationRelationId, pg_sys::ClassOidIndexId);
    // SAFETY: rows of pg_class begin with this form.
    let rows = rows_of(catalog, index, pg_sys::Anum_pg_class_oid, table, |row| unsafe {
        (*row.cast::<pg_sys::FormData_pg_class>()).relfilenode
    });
    rows.first().copied()
}

/// catalog/pg_inherits.h, which pgrx does not bind.
const INHERITS: Oid = Oid::from_u32(2611);
const INHERITS_BY_PARENT: u32 = 2187;
const INHPARENT: u32 = 2;

#[repr(C)]
struct Inherits {
    child: Oid,
    parent: Oid,
    number: i32,
    detach_pending: bool,
}

/// Returns the children in `pg_inherits` as the snapshot sees them, without those that are being detached.
fn children_of(parent: Oid) -> Vec<Oid> {
    let (catalog, index) = (INHERITS, INHERITS_BY_PARENT);
    // SAFETY: rows of pg_inherits begin with this form.
    let rows = rows_of(catalog, index, INHPARENT, parent, |row| unsafe {
        let form = &*row.cast::<Inherits>();
        (form.child, form.detach_pending)
    });
    rows.into_iter().filter(|(_, leaves)| !leaves).map(|(child, _)| child).collect()
}

/// Applies `read` to the rows of a catalog whose column is `key`, under the active snapshot.
fn rows_of<T>(catalog: Oid, index: u32, column: u32, key: Oid, read: impl Fn(*const c_char) -> T) -> Vec<T> {
    // SAFETY: a scan of a catalog by its index, which is closed below; a row is read while its tuple is held.
    unsafe {
        let catalog = pg_sys::table_open(catalog, pg_sys::AccessShareLock as i32);
        let mut scan_key = pg_sys::ScanKeyData::default();
        let (equal, function) = (pg_sys::BTEqualStrategyNumber as u16, pg_sys::F_OIDEQ.into());
        pg_sys::ScanKeyInit(&mut scan_key, column as i16, equal, function, key.into());
        let snapshot = pg_sys::GetActiveSnapshot();
        let scan = pg_sys::systable_beginscan(catalog, index.into(), true, snapshot, 1, &mut scan_key);
        let next = || Some(pg_sys::systable_getnext(scan)).filter(|tuple| !tuple.is_null());
        let rows = std::iter::from_fn(next).map(|tuple| read(pg_sys::GETSTRUCT(tuple))).collect();
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(catalog, pg_sys::AccessShareLock as i32);
        rows
    }
}

/// Returns the current snapshot's id as `pg_current_snapshot()` prints it: xmin:xmax:in-progress.
pub fn id_text() -> String {
    // SAFETY: an SQL-callable function without arguments; it needs an active snapshot, which a query has.
    unsafe {
        let datum = pgrx::direct_function_call_as_datum(pg_sys::pg_current_snapshot, &[]);
        match datum {
            None => String::new(),
            Some(datum) => {
                let text =
                    pg_sys::OidOutputFunctionCall(pg_type::output_function(pg_sys::PG_SNAPSHOTOID), datum);
                CStr::from_ptr(text).to_string_lossy().into_owned()
            }
        }
    }
}
