//! Reads a table and its columns from the catalogs.

use pgrx::pg_sys::{self, Oid};

use super::encoding::name_to_utf8;
use super::error::{Code, Result, error};
use super::list::oids;

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
    /// The value is computed when it is read, not stored (PostgreSQL 18).
    pub is_virtual: bool,
    /// Rows older than the column take the value that the catalog keeps.
    pub has_missing: bool,
}

impl Table {
    pub fn open(table: Oid) -> Result<Table> {
        // Looked up before the wait for the lock, after which the name may be gone.
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

    /// Opens and locks a relation; `None` if it does not exist, or not any more once the lock is granted.
    pub fn find(table: Oid) -> Option<Table> {
        // SAFETY: inside a transaction; the relation is opened after the lock is granted and the relation is
        // known to exist.
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

    /// Returns whether this is an unlogged table on a standby, where it has no files.
    pub fn is_absent_on_standby(&self) -> bool {
        // SAFETY: reads process-wide state.
        let in_recovery = unsafe { pg_sys::RecoveryInProgress() };
        in_recovery && self.form().relpersistence as u8 == pg_sys::RELPERSISTENCE_UNLOGGED
    }

    /// Returns whether this is a temporary table of another session, whose pages are in that session's memory.
    pub fn is_other_temporary(&self) -> bool {
        // SAFETY: the relation is open.
        self.is_temporary() && unsafe { !(*self.relation).rd_islocaltemp }
    }

    /// Returns false for a materialized view that was never refreshed.
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

    pub fn is_foreign(&self) -> bool {
        self.form().relkind as u8 == pg_sys::RELKIND_FOREIGN_TABLE
    }

    /// Returns `pg_class.relfilenode`, which changes when the table is rewritten.
    pub fn storage(&self) -> Oid {
        self.form().relfilenode
    }

    /// Returns the number of blocks in the main fork now.
    pub fn blocks(&self) -> u32 {
        // SAFETY: the relation is open and has storage where its access method says so.
        unsafe { pg_sys::RelationGetNumberOfBlocksInFork(self.relation, pg_sys::ForkNumber::MAIN_FORKNUM) }
    }

    /// Returns schema and name, quoted where SQL needs it.
    pub fn qualified_name(&self) -> String {
        let form = self.form();
        // SAFETY: the schema of a locked relation exists; both results are palloc'd C strings.
        unsafe {
            let schema = pg_sys::get_namespace_name(form.relnamespace);
            let name = pg_sys::quote_qualified_identifier(schema, form.relname.data.as_ptr());
            name_to_utf8(name)
        }
    }

    /// Returns the parallel_workers storage parameter, if it is set.
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

    /// Returns the value of attribute `number` in rows older than it; `None` for NULL. The datum lives as long
    /// as the relation's descriptor.
    pub fn missing_datum(&self, number: i16) -> Option<pg_sys::Datum> {
        let mut is_null = true;
        // SAFETY: the relation is open and has the attribute.
        let datum = unsafe { pg_sys::getmissingattr((*self.relation).rd_att, number.into(), &mut is_null) };
        (!is_null).then_some(datum)
    }

    /// Returns the direct partitions of a partitioned table in the order of their bounds, in which the planner
    /// scans them. They are not locked.
    pub fn partitions(&self) -> Vec<Oid> {
        // SAFETY: the relation is open and partitioned; the descriptor lives as long.
        unsafe {
            let descriptor = pg_sys::RelationGetPartitionDesc(self.relation, true);
            (0..(*descriptor).nparts as usize).map(|index| *(*descriptor).oids.add(index)).collect()
        }
    }

    /// Returns the table and all tables that inherit from it, and locks them.
    pub fn with_descendants(&self) -> Vec<Oid> {
        if !self.may_have_children() {
            return vec![self.oid()];
        }
        // SAFETY: the list, of OIDs, is palloc'd by the callee in the current context.
        unsafe { oids(raw::inheritors(self.oid())) }
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

    /// Returns the table and its descendants, and locks them.
    ///
    /// # Safety
    /// Called on the main thread, inside a transaction.
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

/// Returns whether a relation exists.
///
/// # Safety
/// Called on the main thread, inside a transaction.
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

/// Returns the attributes of a tuple descriptor.
///
/// # Safety
/// `descriptor` is valid.
pub unsafe fn attributes_of(descriptor: pg_sys::TupleDesc) -> Vec<Attribute> {
    // SAFETY: the caller passes a valid descriptor; each index is below natts.
    unsafe { (0..(*descriptor).natts as usize).map(|index| attribute(descriptor, index)).collect() }
}

/// Returns one attribute of a tuple descriptor.
///
/// # Safety
/// `descriptor` is valid and `index` below its natts.
unsafe fn attribute(descriptor: pg_sys::TupleDesc, index: usize) -> Attribute {
    // SAFETY: the caller passes a valid descriptor and an index below natts.
    let form = unsafe { &*attribute_form(descriptor, index) };
    Attribute {
        number: form.attnum,
        name: name_text(&form.attname),
        type_oid: form.atttypid,
        typmod: form.atttypmod,
        length: form.attlen,
        align: align_bytes(form.attalign as u8),
        // SAFETY: the caller passes a valid descriptor and an index below natts.
        not_null: form.attnotnull && unsafe { not_null_is_valid(descriptor, index) },
        dropped: form.attisdropped,
        is_virtual: form.attgenerated as u8 == b'v',
        has_missing: form.atthasmissing,
    }
}

/// Returns the catalog's form of one attribute.
///
/// # Safety
/// `descriptor` is valid and `index` below its natts.
#[cfg(feature = "pg18")]
unsafe fn attribute_form(descriptor: pg_sys::TupleDesc, index: usize) -> pg_sys::Form_pg_attribute {
    // SAFETY: the caller passes an index below natts.
    unsafe { pg_sys::TupleDescAttr(descriptor, index as i32) }
}

/// Returns the catalog's form of one attribute.
///
/// # Safety
/// `descriptor` is valid and `index` below its natts.
#[cfg(not(feature = "pg18"))]
unsafe fn attribute_form(descriptor: pg_sys::TupleDesc, index: usize) -> pg_sys::Form_pg_attribute {
    // SAFETY: the caller passes an index below natts; the attributes follow the descriptor.
    unsafe { (*descriptor).attrs.as_mut_ptr().add(index) }
}

/// Returns whether rows keep the NOT NULL constraint: PostgreSQL 18 has constraints that are not valid yet.
///
/// # Safety
/// `descriptor` is valid and `index` below its natts.
#[cfg(feature = "pg18")]
unsafe fn not_null_is_valid(descriptor: pg_sys::TupleDesc, index: usize) -> bool {
    // SAFETY: the compact attributes follow the descriptor, one for each attribute.
    unsafe {
        let compact = (*descriptor).compact_attrs.as_ptr().add(index);
        (*compact).attnullability as u8 == b'v'
    }
}

/// Returns true: before PostgreSQL 18, every NOT NULL constraint is valid.
///
/// # Safety
/// None; the signature is that for PostgreSQL 18.
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

/// Returns the name of a table's column; `None` for a dropped one.
pub fn attribute_name(table: Oid, number: i16) -> Option<String> {
    // SAFETY: a syscache look-up; the result is a C string or NULL.
    unsafe {
        let name = pg_sys::get_attname(table, number, true);
        (!name.is_null()).then(|| name_to_utf8(name))
    }
}
