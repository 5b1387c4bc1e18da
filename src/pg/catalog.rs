//! What the catalogs say of a table and its columns.

use std::ffi::CStr;

use pgrx::pg_sys::{self, Oid};

use super::encoding::name_to_utf8;
use super::error::{Code, Result, error};
use super::pg_type;

/// A relation, open and locked. Dropping it keeps the lock until the transaction ends, as COPY does.
pub struct Table {
    pub(super) relation: pg_sys::Relation,
}

/// One attribute as a tuple stores it.
#[derive(Clone, Debug)]
pub struct Attribute {
    pub number: i16,
    pub name: String,
    pub type_oid: Oid,
    pub typmod: i32,
    /// Bytes; -1 for varlena, -2 for C strings.
    pub length: i16,
    /// Bytes: 1, 2, 4 or 8.
    pub align: u8,
    /// Every row is known to have a value.
    pub not_null: bool,
    pub dropped: bool,
    /// Computed when read, not stored (PostgreSQL 18).
    pub is_virtual: bool,
    /// Rows written before the column was added take the value that the catalog keeps.
    pub has_missing: bool,
}

impl Table {
    pub fn open(table: Oid) -> Result<Table> {
        // Before the wait for the lock, after which the name may be gone.
        let name = relation_name(table);
        Table::find(table).ok_or_else(|| match name {
            Some(name) => {
                error(Code::ERRCODE_UNDEFINED_TABLE, format!("relation \"{name}\" does not exist any more"))
                    .set_hint("It was dropped while the call waited for its lock.")
            }
            None => {
                let message = format!("relation with OID {} does not exist", table.to_u32());
                error(Code::ERRCODE_UNDEFINED_TABLE, message)
                    .set_hint("Pass the table's name, as in 'schema.table'.")
            }
        })
    }

    /// `None` where there is no such relation, or none any more once the lock is had.
    pub fn find(table: Oid) -> Option<Table> {
        // SAFETY: try_table_open-like behaviour is got by looking the relation up first; the lock then
        // holds it.
        unsafe {
            pg_sys::LockRelationOid(table, pg_sys::AccessShareLock as i32);
            if !relation_exists(table) {
                pg_sys::UnlockRelationOid(table, pg_sys::AccessShareLock as i32);
                return None;
            }
            Some(Table { relation: pg_sys::relation_open(table, pg_sys::NoLock as i32) })
        }
    }

    pub fn oid(&self) -> Oid {
        // SAFETY: the relation is open.
        unsafe { (*self.relation).rd_id }
    }

    fn form(&self) -> &pg_sys::FormData_pg_class {
        // SAFETY: the relation is open; its form lives as long.
        unsafe { &*(*self.relation).rd_rel }
    }

    /// `pg_class.relkind`.
    pub fn kind(&self) -> u8 {
        self.form().relkind as u8
    }

    pub fn is_temporary(&self) -> bool {
        self.form().relpersistence as u8 == pg_sys::RELPERSISTENCE_TEMP
    }

    /// An unlogged table, and this server is a standby, where it has no files.
    pub fn is_absent_on_standby(&self) -> bool {
        // SAFETY: reads process-wide state.
        let in_recovery = unsafe { pg_sys::RecoveryInProgress() };
        in_recovery && self.form().relpersistence as u8 == pg_sys::RELPERSISTENCE_UNLOGGED
    }

    /// A temporary table of another session, whose pages live in that session's memory.
    pub fn is_other_temporary(&self) -> bool {
        // SAFETY: the relation is open.
        self.is_temporary() && unsafe { !(*self.relation).rd_islocaltemp }
    }

    /// False for a materialized view that was never refreshed.
    pub fn is_populated(&self) -> bool {
        self.form().relispopulated
    }

    pub fn may_have_children(&self) -> bool {
        self.form().relhassubclass
    }

    pub fn is_heap(&self) -> bool {
        // SAFETY: the relation is open; the routine is a static of the server.
        unsafe { std::ptr::eq((*self.relation).rd_tableam, pg_sys::GetHeapamTableAmRoutine()) }
    }

    /// What `pg_class.relfilenode` says: another number once the rows have been written anew.
    pub fn storage(&self) -> Oid {
        self.form().relfilenode
    }

    /// Blocks in the main fork now.
    pub fn blocks(&self) -> u32 {
        // SAFETY: the relation is open and has storage where its access method says so.
        unsafe { pg_sys::RelationGetNumberOfBlocksInFork(self.relation, pg_sys::ForkNumber::MAIN_FORKNUM) }
    }

    /// Schema and name, quoted where SQL needs it.
    pub fn qualified_name(&self) -> String {
        let form = self.form();
        // SAFETY: the schema of a locked relation exists; both results are palloc'd C strings.
        unsafe {
            let schema = pg_sys::get_namespace_name(form.relnamespace);
            let name = pg_sys::quote_qualified_identifier(schema, form.relname.data.as_ptr());
            name_to_utf8(name)
        }
    }

    /// The parallel_workers storage parameter, if set.
    pub fn parallel_workers_option(&self) -> Option<i32> {
        // SAFETY: the relation is open; rd_options of a table or materialized view is a StdRdOptions.
        unsafe {
            let options = (*self.relation).rd_options as *const pg_sys::StdRdOptions;
            (!options.is_null()).then(|| (*options).parallel_workers).filter(|workers| *workers >= 0)
        }
    }

    /// Returns the relation's tuple descriptor, which lives as long as the relation is open.
    pub fn descriptor(&self) -> pg_sys::TupleDesc {
        // SAFETY: the relation is open.
        unsafe { (*self.relation).rd_att }
    }

    pub fn attributes(&self) -> Vec<Attribute> {
        // SAFETY: the relation is open; its descriptor lives as long.
        unsafe { attributes_of(self.descriptor()) }
    }

    /// The value of attribute `number` in rows older than it; `None` for NULL. It lives as long as the
    /// relation's descriptor.
    pub fn missing_datum(&self, number: i16) -> Option<pg_sys::Datum> {
        let mut is_null = true;
        // SAFETY: the relation is open and has the attribute.
        let datum = unsafe { pg_sys::getmissingattr((*self.relation).rd_att, number.into(), &mut is_null) };
        (!is_null).then_some(datum)
    }

    /// The direct partitions of a partitioned table, in the order of their bounds, as the planner scans
    /// them. They are not locked.
    pub fn partitions(&self) -> Vec<Oid> {
        // SAFETY: the relation is open and partitioned; the descriptor lives as long.
        unsafe {
            let descriptor = pg_sys::RelationGetPartitionDesc(self.relation, true);
            (0..(*descriptor).nparts as usize).map(|index| *(*descriptor).oids.add(index)).collect()
        }
    }

    /// The table itself and all that inherit from it, locked.
    pub fn with_descendants(&self) -> Vec<Oid> {
        if !self.may_have_children() {
            return vec![self.oid()];
        }
        // SAFETY: the list is palloc'd by the callee in the current context.
        unsafe {
            let list = raw::inheritors(self.oid());
            let length = if list.is_null() { 0 } else { (*list).length as usize };
            (0..length).map(|index| (*(*list).elements.add(index)).oid_value).collect()
        }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: opened by us and closed once; an abort closes it by itself.
            unsafe { pg_sys::relation_close(self.relation, pg_sys::NoLock as i32) }
        }
    }
}

mod raw {
    use super::*;

    unsafe extern "C-unwind" {
        // catalog/pg_inherits.h, which pgrx does not bind.
        fn find_all_inheritors(
            parent: Oid,
            lockmode: i32,
            parents: *mut *mut pg_sys::List,
        ) -> *mut pg_sys::List;
    }

    #[allow(ffi_unwind_calls, reason = "pg_guard_ffi_boundary catches errors")]
    pub(super) unsafe fn inheritors(parent: Oid) -> *mut pg_sys::List {
        // SAFETY: the closure holds nothing with a destructor.
        unsafe {
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                find_all_inheritors(parent, pg_sys::AccessShareLock as i32, std::ptr::null_mut())
            })
        }
    }
}

fn relation_name(table: Oid) -> Option<String> {
    // SAFETY: a syscache look-up; the result is a C string or NULL.
    unsafe {
        let name = pg_sys::get_rel_name(table);
        (!name.is_null()).then(|| name_to_utf8(name))
    }
}

unsafe fn relation_exists(table: Oid) -> bool {
    // SAFETY: a syscache look-up inside a transaction.
    unsafe {
        pg_sys::SearchSysCacheExists(
            pg_sys::SysCacheIdentifier::RELOID as i32,
            pg_sys::Datum::from(table),
            pg_sys::Datum::from(0usize),
            pg_sys::Datum::from(0usize),
            pg_sys::Datum::from(0usize),
        )
    }
}

/// The attributes of a tuple descriptor.
///
/// # Safety
/// The descriptor is a valid one.
pub unsafe fn attributes_of(descriptor: pg_sys::TupleDesc) -> Vec<Attribute> {
    // SAFETY: as the caller says; each index is below natts.
    unsafe { (0..(*descriptor).natts as usize).map(|index| attribute(descriptor, index)).collect() }
}

unsafe fn attribute(descriptor: pg_sys::TupleDesc, index: usize) -> Attribute {
    // SAFETY: index < natts, as the caller says.
    let form = unsafe { &*attribute_form(descriptor, index) };
    Attribute {
        number: form.attnum,
        name: name_text(&form.attname),
        type_oid: form.atttypid,
        typmod: form.atttypmod,
        length: form.attlen,
        align: align_bytes(form.attalign as u8),
        // SAFETY: index < natts, as the caller says.
        not_null: form.attnotnull && unsafe { not_null_is_valid(descriptor, index) },
        dropped: form.attisdropped,
        is_virtual: form.attgenerated as u8 == b'v',
        has_missing: form.atthasmissing,
    }
}

#[cfg(feature = "pg18")]
unsafe fn attribute_form(descriptor: pg_sys::TupleDesc, index: usize) -> pg_sys::Form_pg_attribute {
    // SAFETY: index < natts, as the caller says.
    unsafe { pg_sys::TupleDescAttr(descriptor, index as i32) }
}

#[cfg(not(feature = "pg18"))]
unsafe fn attribute_form(descriptor: pg_sys::TupleDesc, index: usize) -> pg_sys::Form_pg_attribute {
    // SAFETY: index < natts, as the caller says; the attributes follow the descriptor.
    unsafe { (*descriptor).attrs.as_mut_ptr().add(index) }
}

/// PostgreSQL 18 has NOT NULL constraints that are not valid yet: rows may break them.
#[cfg(feature = "pg18")]
unsafe fn not_null_is_valid(descriptor: pg_sys::TupleDesc, index: usize) -> bool {
    // SAFETY: the compact attributes follow the descriptor, one for each attribute.
    unsafe {
        let compact = (*descriptor).compact_attrs.as_ptr().add(index);
        (*compact).attnullability as u8 == b'v'
    }
}

#[cfg(not(feature = "pg18"))]
unsafe fn not_null_is_valid(_descriptor: pg_sys::TupleDesc, _index: usize) -> bool {
    true
}

fn align_bytes(code: u8) -> u8 {
    match code {
        b'c' => 1,
        b's' => 2,
        b'i' => 4,
        _ => 8,
    }
}

fn name_text(name: &pg_sys::NameData) -> String {
    // SAFETY: NameData is NUL-terminated.
    unsafe { name_to_utf8(name.data.as_ptr()) }
}

/// The name of a table's column; `None` for one that was dropped.
pub fn attribute_name(table: Oid, number: i16) -> Option<String> {
    // SAFETY: a syscache look-up; the result is a C string or NULL.
    unsafe {
        let name = pg_sys::get_attname(table, number, true);
        (!name.is_null()).then(|| name_to_utf8(name))
    }
}

/// The first two characters of a SQLSTATE.
pub fn error_class(code: Code) -> [u8; 2] {
    let character = |shift: i32| (code as i32 >> shift & 0x3f) as u8 + b'0';
    [character(0), character(6)]
}

/// The current snapshot's id as `pg_current_snapshot()` prints it: xmin:xmax:in-progress.
pub fn snapshot_text() -> String {
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
