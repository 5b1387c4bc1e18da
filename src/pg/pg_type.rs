//! Reads types from the catalogs. Main thread only.

use std::ffi::CString;

use pgrx::pg_sys;
use pgrx::pg_sys::Oid;

use super::catalog::attributes_of;
use super::encoding::{from_utf8, name_to_utf8};
use super::error::Code;
use super::xact::attempt;

/// The class of a type, after domains are resolved.
pub enum TypeClass {
    Base,
    Enum,
    /// A true array: `int4[]`, but not `oidvector` or `point`.
    Array(Oid),
    /// Name, type and typmod of each field that is not dropped.
    Composite(Vec<(String, Oid, i32)>),
}

/// Returns the type below any domains, and its typmod.
pub fn base_type(type_oid: Oid, typmod: i32) -> (Oid, i32) {
    let mut typmod = typmod;
    // SAFETY: a syscache look-up of a type that a column uses.
    let base = unsafe { pg_sys::getBaseTypeAndTypmod(type_oid, &mut typmod) };
    (base, typmod)
}

/// Returns precision and scale of a numeric that is declared with them (numeric.c, make_numeric_typmod).
pub fn numeric_typmod(typmod: i32) -> Option<(i32, i32)> {
    const VARHDRSZ: i32 = 4;
    let packed = (typmod >= VARHDRSZ).then(|| typmod - VARHDRSZ)?;
    Some((packed >> 16 & 0xffff, ((packed & 0x7ff) ^ 1024) - 1024))
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

/// Returns name, type and typmod of a composite type's fields.
///
/// # Safety
/// `base` is the OID of a composite type.
unsafe fn composite_fields(base: Oid) -> Vec<(String, Oid, i32)> {
    // SAFETY: the caller passes a composite type; the descriptor is released below.
    unsafe {
        let descriptor = pg_sys::lookup_rowtype_tupdesc(base, -1);
        let fields = attributes_of(descriptor)
            .into_iter()
            .filter(|attribute| !attribute.dropped)
            .map(|attribute| (attribute.name, attribute.type_oid, attribute.typmod))
            .collect();
        if (*descriptor).tdrefcount >= 0 {
            pg_sys::DecrTupleDescRefCount(descriptor);
        }
        fields
    }
}

/// Returns whether all code that values of a type run belongs to PostgreSQL, a superuser or the current user,
/// judged by the owners of the type and of the types that it consists of. A domain's constraints run as whoever
/// reads the value.
pub fn is_trusted(type_oid: Oid) -> bool {
    // SAFETY: syscache look-ups; the fields are copied before the row is released.
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
    // SAFETY: syscache look-ups of roles.
    let is_known = unsafe { owner == pg_sys::GetUserId() || pg_sys::superuser_arg(owner) };
    let fields = match type_class(type_oid) {
        TypeClass::Composite(fields) => fields.into_iter().map(|(_, field, _)| field).collect(),
        _ => Vec::new(),
    };
    let mut made_of = below.into_iter().filter(|&of| of != pg_sys::InvalidOid).chain(fields);
    is_known && made_of.all(is_trusted)
}

/// Returns the type as SQL writes it, with its modifier: `numeric(10,2)`.
pub fn type_name(type_oid: Oid, typmod: i32) -> String {
    let flags = pg_sys::FORMAT_TYPE_TYPEMOD_GIVEN as u16;
    // SAFETY: the result is a palloc'd C string.
    unsafe { name_to_utf8(pg_sys::format_type_extended(type_oid, typmod, flags)) }
}

/// Returns the type and modifier that an untrusted text names; `None` if no type has the name. The error is
/// PostgreSQL's message about a text that is no type name.
pub fn find_type(text: &str) -> std::result::Result<Option<(Oid, i32)>, String> {
    attempt(|| type_of_name(text)).map_err(|(_, message)| message)
}

/// Returns the type and modifier of a name; raises PostgreSQL's own error for a text that is no type name.
#[cfg(feature = "pg15")]
pub fn type_of_name(text: &str) -> Option<(Oid, i32)> {
    let text = CString::new(from_utf8(text)).ok()?;
    let (mut type_oid, mut typmod) = (pg_sys::InvalidOid, -1);
    // SAFETY: a C string; an unknown name yields no type.
    unsafe { pg_sys::parseTypeString(text.as_ptr(), &mut type_oid, &mut typmod, true) };
    (type_oid != pg_sys::InvalidOid).then_some((type_oid, typmod))
}

#[cfg(not(feature = "pg15"))]
pub fn type_of_name(text: &str) -> Option<(Oid, i32)> {
    let text = CString::new(from_utf8(text)).ok()?;
    let (mut type_oid, mut typmod) = (pg_sys::InvalidOid, -1);
    let mut errors =
        pg_sys::ErrorSaveContext { type_: pg_sys::NodeTag::T_ErrorSaveContext, ..Default::default() };
    // SAFETY: a C string, and a node that takes the error for an unknown name.
    let found = unsafe {
        pg_sys::parseTypeString(text.as_ptr(), &mut type_oid, &mut typmod, (&raw mut errors).cast())
    };
    (found && type_oid != pg_sys::InvalidOid).then_some((type_oid, typmod))
}

/// Returns whether a column of the type can have values made from text. A pseudo-type has none, and the input
/// functions of some types, such as pg_node_tree, accept no text, which only a call shows.
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

/// Returns the OID of the type's output function.
pub fn output_function(type_oid: Oid) -> Oid {
    let (mut function, mut is_varlena) = (pg_sys::InvalidOid, false);
    // SAFETY: a syscache look-up of a type that a column uses.
    unsafe { pg_sys::getTypeOutputInfo(type_oid, &mut function, &mut is_varlena) };
    function
}

/// Returns the OID of the type's send function; raises PostgreSQL's own error for a type that has none.
pub fn send_function(type_oid: Oid) -> Oid {
    let (mut function, mut is_varlena) = (pg_sys::InvalidOid, false);
    // SAFETY: a syscache look-up of a type that a column uses.
    unsafe { pg_sys::getTypeBinaryOutputInfo(type_oid, &mut function, &mut is_varlena) };
    function
}
