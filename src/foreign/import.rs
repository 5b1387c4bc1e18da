//! IMPORT FOREIGN SCHEMA: makes the foreign table for a set of files, with virtual columns.

use std::ffi::CStr;

use pgrx::pg_guard;
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::pg_sys::{self, Oid};

use super::declared::{Declared, literal, quoted};
use super::files::{list, metadata, open};
use super::import_columns::{Columns, Key, virtual_keys};
use super::import_names::{MOST_COLUMNS, name_all};
use super::options::{self, TableOptions};
use crate::fdw::DataFile;
use crate::pg::access::check_read_role;
use crate::pg::check_for_interrupts;
use crate::pg::encoding::{from_utf8, name_to_utf8};
use crate::pg::error::{Code, Result, error, warning};

/// # Safety
/// The utility command calls it.
#[pg_guard]
pub unsafe extern "C-unwind" fn import(
    statement: *mut pg_sys::ImportForeignSchemaStmt,
    _server: Oid,
) -> *mut pg_sys::List {
    // SAFETY: the statement's names are C strings. The result is a C string in the caller's context.
    unsafe {
        let pairs = options::pairs((*statement).options).unwrap_or_report();
        let server = name_to_utf8((*statement).server_name);
        let table = name_to_utf8((*statement).remote_schema);
        let sql = create_table(&table, &server, &pairs).unwrap_or_report();
        let mut sql = from_utf8(&sql);
        sql.push(0);
        let sql = CStr::from_bytes_until_nul(&sql).unwrap_or_default();
        pg_sys::lappend(std::ptr::null_mut(), pg_sys::pstrdup(sql.as_ptr()).cast())
    }
}

fn create_table(table: &str, server: &str, pairs: &[(String, String)]) -> Result<String> {
    check_read_role(pg_sys::InvalidOid)?;
    options::validate(pairs, pg_sys::ForeignTableRelationId)?;
    let options = options::table_options(pairs)?;
    let files = list(&options)?;
    if files.is_empty() {
        return Err(error(Code::ERRCODE_FDW_SCHEMA_NOT_FOUND, "there are no files to import a schema from")
            .set_hint("Check the options that name files, and suffix and pattern."));
    }
    let columns: Vec<String> =
        name_all(columns(&files, &options)?).iter().map(|(name, column)| column.definition(name)).collect();
    let options: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{} {}", quoted(name), literal(value))).collect();
    Ok(format!(
        "CREATE FOREIGN TABLE {} ({}) SERVER {} OPTIONS ({})",
        quoted(table),
        columns.join(", "),
        quoted(server),
        options.join(", ")
    ))
}

/// Returns the columns of the first file, or of all files if columns may be missing, with types for all files; then
/// the keys of the paths.
fn columns(files: &[DataFile], options: &TableOptions) -> Result<Vec<Declared>> {
    let mut found = Columns::default();
    for (at, file) in files.iter().enumerate() {
        check_for_interrupts();
        let meta = metadata(&open(&file.path)?)?;
        found.add(&meta, &file.keys, at == 0 || options.missing_as_null);
    }
    let keys = virtual_keys(files, options.pattern.as_ref());
    let mut columns = found.declare(files, &keys, options.missing_as_null)?;
    let is_column = |key: &&Key| columns.iter().any(|column| column.name == key.name);
    let keys: Vec<Declared> = keys.iter().filter(|key| !is_column(key)).map(Key::declared).collect();
    let room = MOST_COLUMNS.saturating_sub(keys.len());
    if let Some(first) = columns.get(room) {
        warning(
            "columns are left out",
            format!(
                "A table has at most {MOST_COLUMNS} columns: \"{}\" and those after it are too many.",
                first.name
            ),
            "Declare another foreign table for them.",
        );
    }
    columns.truncate(room);
    columns.extend(keys);
    Ok(columns)
}
