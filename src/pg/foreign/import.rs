//! IMPORT FOREIGN SCHEMA: the foreign table that suits a set of files, its virtual columns included.

use std::collections::HashSet;
use std::ffi::CStr;

use pgrx::pg_guard;
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::pg_sys::{self, Oid};

use super::access::check_file_role;
use super::column::Value;
use super::{metadata, options, report};
use crate::fdw::{DataFile, FileMeta, Pattern, Source};
use crate::pg::encoding::{from_utf8, name_to_utf8};
use crate::pg::error::{Code, Result, error, warning};
use crate::pg::{catalog, check_for_interrupts};

#[pg_guard]
pub unsafe extern "C-unwind" fn import(
    statement: *mut pg_sys::ImportForeignSchemaStmt,
    _server: Oid,
) -> *mut pg_sys::List {
    // SAFETY: called by the utility command; its names are C strings. The result is a C string in the
    // caller's context.
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
    check_file_role(pg_sys::InvalidOid)?;
    options::validate(pairs, pg_sys::ForeignTableRelationId)?;
    let options = options::table_options(pairs)?;
    let files = options.files.list(options.pattern.as_ref()).map_err(report)?;
    let Some(first) = files.first() else {
        return Err(error(Code::ERRCODE_FDW_SCHEMA_NOT_FOUND, "there are no files to import a schema from")
            .set_hint("Check dir, suffix and pattern."));
    };
    // Where columns may be missing, those that only some files have are columns too.
    let looked_at = if options.missing_as_null { &files[..] } else { std::slice::from_ref(first) };
    let mut names = HashSet::new();
    let mut columns = Vec::new();
    for file in looked_at {
        check_for_interrupts();
        let meta = metadata(&Source::open(&file.path).map_err(report)?)?;
        columns.extend(file_columns(&meta, &mut names));
    }
    for (key, is_number) in virtual_keys(&files, options.pattern.as_ref()) {
        if !names.contains(&key) {
            let sql_type = if is_number { "bigint" } else { "text" };
            columns.push(format!("{} {sql_type} OPTIONS (virtual {})", quoted(&key), literal(&key)));
        }
    }
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

/// Those whose names are new: as the export's table had them, where its types exist; as the file has them
/// otherwise.
fn file_columns(meta: &FileMeta, names: &mut HashSet<String>) -> Vec<String> {
    let declared = meta.declared_types();
    let mut columns = Vec::new();
    for (at, field) in meta.schema().fields().iter().enumerate() {
        if !names.insert(field.name().clone()) {
            continue;
        }
        let declared = declared.iter().find(|(name, _)| name == field.name());
        let original = declared.and_then(|(_, text)| {
            let (type_oid, typmod) = catalog::find_type(text)?;
            Value::new(type_oid, typmod, field.data_type())?;
            Some(catalog::type_name(type_oid, typmod))
        });
        match original.or_else(|| meta.sql_type(at)) {
            Some(sql_type) => columns.push(format!("{} {sql_type}", quoted(field.name()))),
            None => warning(
                "a column is left out",
                format!("Column \"{}\" is of the Arrow type {}.", field.name(), field.data_type()),
                "Create a composite type for it, and add the column to the foreign table.",
            ),
        }
    }
    for column in meta.left_out.iter().filter(|column| names.insert(column.name.clone())) {
        warning(
            "a column is left out",
            format!("Column \"{}\" cannot be read: {}.", column.name, column.why),
            "The other columns can be read without it.",
        );
    }
    columns
}

/// The keys that the files' paths tell, and whether all of their values are numbers.
fn virtual_keys(files: &[DataFile], pattern: Option<&Pattern>) -> Vec<(String, bool)> {
    let mut found: Vec<(String, bool)> = Vec::new();
    for (key, value) in files.iter().flat_map(|file| &file.keys) {
        let is_number = value.as_ref().is_none_or(|value| value.parse::<i64>().is_ok());
        match found.iter_mut().find(|(known, _)| known == key) {
            Some((_, numbers)) => *numbers &= is_number,
            None => found.push((key.clone(), is_number)),
        }
    }
    for (key, is_number) in pattern.into_iter().flat_map(Pattern::keys) {
        if let Some((_, numbers)) = found.iter_mut().find(|(known, _)| known == key) {
            *numbers = is_number;
        }
    }
    found
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    let text = text.replace('\'', "''");
    match text.contains('\\') {
        true => format!("E'{}'", text.replace('\\', "\\\\")),
        false => format!("'{text}'"),
    }
}
