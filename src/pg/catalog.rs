//! What the catalogs say of a table and of types.

use std::ffi::{CStr, CString};

use pgrx::pg_sys::{self, Oid};

use super::encoding::{from_utf8, name_to_utf8};
use super::error::{Code, Result, error};
use super::xact::attempt;

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

    pub fn attributes(&self) -> Vec<Attribute> {
        // SAFETY: the relation is open; its descriptor lives as long.
        unsafe { attributes_of((*self.relation).rd_att) }
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

    #[cfg(feature = "pg18")]
    pub(super) unsafe fn collation_is_c(collation: Oid) -> bool {
        /// The beginning of utils/pg_locale.h's pg_locale_struct.
        #[repr(C)]
        struct Locale {
            provider: std::ffi::c_char,
            deterministic: bool,
            collate_is_c: bool,
        }
        unsafe extern "C-unwind" {
            fn pg_newlocale_from_collation(collation: Oid) -> *const Locale;
        }
        // SAFETY: the closure holds nothing with a destructor; the locale is cached for the session.
        unsafe {
            (*pg_sys::ffi::pg_guard_ffi_boundary(|| pg_newlocale_from_collation(collation))).collate_is_c
        }
    }

    #[cfg(not(feature = "pg18"))]
    pub(super) unsafe fn collation_is_c(collation: Oid) -> bool {
        unsafe extern "C-unwind" {
            fn lc_collate_is_c(collation: Oid) -> bool;
        }
        // SAFETY: the closure holds nothing with a destructor.
        unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| lc_collate_is_c(collation)) }
    }

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
pub(super) unsafe fn attributes_of(descriptor: pg_sys::TupleDesc) -> Vec<Attribute> {
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

/// What a type is, domains seen through.
pub enum TypeClass {
    Base,
    Enum,
    /// A true array: `int4[]`, but not `oidvector` or `point`.
    Array(Oid),
    /// Name, type and typmod of each field that is not dropped.
    Composite(Vec<(String, Oid, i32)>),
}

/// The type below any domains, and its typmod.
pub fn base_type(type_oid: Oid, typmod: i32) -> (Oid, i32) {
    let mut typmod = typmod;
    // SAFETY: a syscache look-up of a type that a column uses.
    let base = unsafe { pg_sys::getBaseTypeAndTypmod(type_oid, &mut typmod) };
    (base, typmod)
}

pub fn type_class(base: Oid) -> TypeClass {
    // SAFETY: syscache look-ups of a type that a column uses.
    unsafe {
        let element = pg_sys::get_element_type(base);
        if element != pg_sys::InvalidOid {
            return TypeClass::Array(element);
        }
        match pg_sys::get_typtype(base) as u8 {
            b'e' => TypeClass::Enum,
            b'c' => TypeClass::Composite(composite_fields(base)),
            _ => TypeClass::Base,
        }
    }
}

unsafe fn composite_fields(base: Oid) -> Vec<(String, Oid, i32)> {
    // SAFETY: base is a composite type; the descriptor is released below.
    unsafe {
        let descriptor = pg_sys::lookup_rowtype_tupdesc(base, -1);
        let fields = (0..(*descriptor).natts as usize)
            .map(|index| attribute(descriptor, index))
            .filter(|attribute| !attribute.dropped)
            .map(|attribute| (attribute.name, attribute.type_oid, attribute.typmod))
            .collect();
        if (*descriptor).tdrefcount >= 0 {
            pg_sys::DecrTupleDescRefCount(descriptor);
        }
        fields
    }
}

/// The name of a table's column; `None` for one that was dropped.
pub fn attribute_name(table: Oid, number: i16) -> Option<String> {
    // SAFETY: a syscache look-up; the result is a C string or NULL.
    unsafe {
        let name = pg_sys::get_attname(table, number, true);
        (!name.is_null()).then(|| name_to_utf8(name))
    }
}

/// Whether all code that values of a type run is PostgreSQL's, a superuser's or the current user's: by the owners of the
/// type and of all that it is made of. A domain's constraints run as whoever reads the value.
pub fn is_trusted(type_oid: Oid) -> bool {
    // SAFETY: syscache look-ups; the row is copied from before it is released.
    let (owner, below) = unsafe {
        let key = pg_sys::SysCacheIdentifier::TYPEOID as i32;
        let row = pg_sys::SearchSysCache1(key, type_oid.into());
        if row.is_null() {
            return false;
        }
        let form = &*pg_sys::GETSTRUCT(row).cast::<pg_sys::FormData_pg_type>();
        let found = (form.typowner, [form.typbasetype, form.typelem]);
        pg_sys::ReleaseSysCache(row);
        found
    };
    // SAFETY: look-ups of roles.
    let is_known = unsafe { owner == pg_sys::GetUserId() || pg_sys::superuser_arg(owner) };
    let fields = match type_class(type_oid) {
        TypeClass::Composite(fields) => fields.into_iter().map(|(_, field, _)| field).collect(),
        _ => Vec::new(),
    };
    let mut made_of = below.into_iter().filter(|&of| of != pg_sys::InvalidOid).chain(fields);
    is_known && made_of.all(is_trusted)
}

/// The type as SQL writes it, with its modifier: `numeric(10,2)`.
pub fn type_name(type_oid: Oid, typmod: i32) -> String {
    let flags = (pg_sys::FORMAT_TYPE_TYPEMOD_GIVEN) as u16;
    // SAFETY: the result is a palloc'd C string.
    unsafe { name_to_utf8(pg_sys::format_type_extended(type_oid, typmod, flags.into())) }
}

/// The type that a text of anybody's names, with its modifier; `None` where there is none of that name. The error
/// is PostgreSQL's about a text that names no type at all.
pub fn find_type(text: &str) -> std::result::Result<Option<(Oid, i32)>, String> {
    attempt(|| type_of_name(text)).map_err(|(_, message)| message)
}

/// The same of a name that is one; PostgreSQL's own error for others.
#[cfg(feature = "pg15")]
pub fn type_of_name(text: &str) -> Option<(Oid, i32)> {
    let text = CString::new(from_utf8(text)).ok()?;
    let (mut type_oid, mut typmod) = (pg_sys::InvalidOid, -1);
    // SAFETY: a C string; a name that is not known gives no type.
    unsafe { pg_sys::parseTypeString(text.as_ptr(), &mut type_oid, &mut typmod, true) };
    (type_oid != pg_sys::InvalidOid).then_some((type_oid, typmod))
}

#[cfg(not(feature = "pg15"))]
pub fn type_of_name(text: &str) -> Option<(Oid, i32)> {
    let text = CString::new(from_utf8(text)).ok()?;
    let (mut type_oid, mut typmod) = (pg_sys::InvalidOid, -1);
    let mut errors =
        pg_sys::ErrorSaveContext { type_: pg_sys::NodeTag::T_ErrorSaveContext, ..Default::default() };
    // SAFETY: a C string, and a node that takes the error that a name which is not known would be.
    let found = unsafe {
        pg_sys::parseTypeString(text.as_ptr(), &mut type_oid, &mut typmod, (&raw mut errors).cast())
    };
    (found && type_oid != pg_sys::InvalidOid).then_some((type_oid, typmod))
}

/// The first two characters of a SQLSTATE.
pub fn error_class(code: Code) -> [u8; 2] {
    let character = |shift: i32| (code as i32 >> shift & 0x3f) as u8 + b'0';
    [character(0), character(6)]
}

/// Whether a column of the type can have values made of texts: a pseudo-type has none, and some types' input
/// functions take no text, as pg_node_tree's. Only a call tells.
pub fn has_input(type_oid: Oid) -> bool {
    let (base, typmod) = base_type(type_oid, -1);
    // SAFETY: a syscache look-up of a type that exists.
    if unsafe { pg_sys::get_typtype(base) } as u8 == b'p' {
        return false;
    }
    match type_class(base) {
        TypeClass::Array(element) => has_input(element),
        TypeClass::Composite(fields) => fields.iter().all(|(_, type_oid, _)| has_input(*type_oid)),
        TypeClass::Enum => true,
        TypeClass::Base => takes_text(base, typmod),
    }
}

fn takes_text(base: Oid, typmod: i32) -> bool {
    let tried = attempt(|| {
        let (mut function, mut parameter) = (pg_sys::InvalidOid, pg_sys::InvalidOid);
        // SAFETY: a type's own input function, called with a C string.
        unsafe {
            pg_sys::getTypeInputInfo(base, &mut function, &mut parameter);
            pg_sys::OidInputFunctionCall(function, c"".as_ptr().cast_mut(), parameter, typmod);
        }
    });
    !matches!(tried, Err((Code::ERRCODE_FEATURE_NOT_SUPPORTED, _)))
}

/// Whether a collation orders texts by their bytes.
pub fn orders_by_bytes(collation: Oid) -> bool {
    // SAFETY: a cache look-up of a collation that a query uses.
    collation != pg_sys::InvalidOid && unsafe { raw::collation_is_c(collation) }
}

/// OID of the type's output function.
pub fn output_function(type_oid: Oid) -> Oid {
    let (mut function, mut is_varlena) = (pg_sys::InvalidOid, false);
    // SAFETY: a syscache look-up of a type that a column uses.
    unsafe { pg_sys::getTypeOutputInfo(type_oid, &mut function, &mut is_varlena) };
    function
}

/// OID of the type's send function; raises PostgreSQL's own error for a type that has none.
pub fn send_function(type_oid: Oid) -> Oid {
    let (mut function, mut is_varlena) = (pg_sys::InvalidOid, false);
    // SAFETY: as above.
    unsafe { pg_sys::getTypeBinaryOutputInfo(type_oid, &mut function, &mut is_varlena) };
    function
}

/// The current snapshot's id as `pg_current_snapshot()` prints it: xmin:xmax:in-progress.
pub fn snapshot_text() -> String {
    // SAFETY: an SQL-callable function without arguments; it needs an active snapshot, which a query has.
    unsafe {
        let datum = pgrx::direct_function_call_as_datum(pg_sys::pg_current_snapshot, &[]);
        match datum {
            None => String::new(),
            Some(datum) => {
                let text = pg_sys::OidOutputFunctionCall(output_function(pg_sys::PG_SNAPSHOTOID), datum);
                CStr::from_ptr(text).to_string_lossy().into_owned()
            }
        }
    }
}
