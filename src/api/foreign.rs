//! The foreign data wrapper's functions, and what `CREATE EXTENSION` makes of them.

use pgrx::datum::Internal;
use pgrx::pg_sys::Oid;
use pgrx::prelude::*;

use super::{required, text};
use crate::foreign;
use crate::pg::encoding::from_utf8;
use crate::pg::error::Error;
use crate::pg::guc;

/// Returns the callbacks.
#[pg_extern(sql = r#"
CREATE FUNCTION arrow_fdw_handler() RETURNS fdw_handler
STRICT LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
fn arrow_fdw_handler() -> Internal {
    Internal::from(Some(foreign::routine()))
}

/// Checks the options of a foreign table, or of a column of one.
#[pg_extern(sql = r#"
CREATE FUNCTION arrow_fdw_validator(options text[], catalog oid) RETURNS void
STRICT LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
fn arrow_fdw_validator(options: Option<Array<&[u8]>>, catalog: Option<Oid>) -> Result<(), Error> {
    let options = required(options, "options")?;
    let mut pairs = Vec::new();
    for option in options.iter() {
        let option = text(option)?.unwrap_or_default();
        let (name, value) = option.split_once('=').unwrap_or((&option, ""));
        pairs.push((name.to_owned(), value.to_owned()));
    }
    foreign::options::validate(&pairs, required(catalog, "catalog")?)
}

/// The rows of a Parquet or Arrow IPC file, or of all files of a directory, by the names of the columns that the
/// call declares; superusers and members of pg_read_server_files (42501).
#[pg_extern(sql = r#"
CREATE FUNCTION read_parquet(path text) RETURNS SETOF record
STRICT VOLATILE PARALLEL RESTRICTED COST 1000 LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
CREATE FUNCTION read_arrow(path text) RETURNS SETOF record
STRICT VOLATILE PARALLEL RESTRICTED COST 1000 LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
fn read_parquet(path: Option<&[u8]>, call: pgrx::pg_sys::FunctionCallInfo) -> Result<(), Error> {
    let path = required(text(path)?, "path")?;
    // SAFETY: the functions are declared above.
    unsafe { foreign::read_files(&path, call) }
}

/// What the files of a foreign table say of themselves.
#[pg_extern(sql = r#"
CREATE FUNCTION arrow_fdw_metadata_info("table" regclass)
RETURNS TABLE (file text, "column" text, key text, value text)
STRICT VOLATILE PARALLEL RESTRICTED COST 1000 ROWS 100 LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
#[allow(clippy::type_complexity)] // the result row
fn arrow_fdw_metadata_info(
    table: Option<Oid>,
) -> Result<
    TableIterator<
        'static,
        (name!(file, Vec<u8>), name!(column, Option<Vec<u8>>), name!(key, Vec<u8>), name!(value, Vec<u8>)),
    >,
    Error,
> {
    let found = foreign::metadata_info(required(table, "table")?)?;
    Ok(TableIterator::new(found.into_iter().map(|(file, column, key, value)| {
        (from_utf8(&file), column.map(|column| from_utf8(&column)), from_utf8(&key), from_utf8(&value))
    })))
}

/// What this session keeps of files' metadata, and how often that was of use.
#[pg_extern(sql = r#"
CREATE FUNCTION arrow_fdw_metadata_stats()
RETURNS TABLE (files bigint, bytes bigint, max_bytes bigint, hits bigint, misses bigint, evicted bigint)
VOLATILE PARALLEL RESTRICTED ROWS 1 LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
fn arrow_fdw_metadata_stats() -> TableIterator<
    'static,
    (
        name!(files, i64),
        name!(bytes, i64),
        name!(max_bytes, i64),
        name!(hits, i64),
        name!(misses, i64),
        name!(evicted, i64),
    ),
> {
    let found = foreign::metadata_stats();
    TableIterator::once((
        found.files as i64,
        found.bytes as i64,
        guc::arrow_fdw_metadata_cache() as i64,
        found.hits as i64,
        found.misses as i64,
        found.evicted as i64,
    ))
}

extension_sql!(
    r#"
CREATE FOREIGN DATA WRAPPER pg_strata HANDLER arrow_fdw_handler VALIDATOR arrow_fdw_validator;
CREATE SERVER pg_strata FOREIGN DATA WRAPPER pg_strata;
COMMENT ON FOREIGN DATA WRAPPER pg_strata IS 'Parquet and Arrow IPC files as foreign tables';
COMMENT ON SERVER pg_strata IS 'The files that this server can read';
COMMENT ON FUNCTION arrow_fdw_metadata_info(regclass) IS 'Keys and values in the metadata of a foreign table''s files';
COMMENT ON FUNCTION arrow_fdw_metadata_stats() IS 'What this session keeps of files'' metadata, and how often that was of use';
COMMENT ON FUNCTION read_parquet(text) IS 'Rows of a Parquet file, or of the files of a directory, in the columns that the call declares';
COMMENT ON FUNCTION read_arrow(text) IS 'Rows of an Arrow IPC file, or of the files of a directory, in the columns that the call declares';
COMMENT ON FUNCTION arrow_fdw_handler() IS 'Handler of the foreign data wrapper pg_strata';
COMMENT ON FUNCTION arrow_fdw_validator(text[], oid) IS 'Checks the options of pg_strata''s foreign tables and columns';

REVOKE EXECUTE ON FUNCTION read_parquet(text), read_arrow(text), arrow_fdw_metadata_info(regclass) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION read_parquet(text), read_arrow(text), arrow_fdw_metadata_info(regclass) TO pg_read_server_files;
"#,
    name = "foreign_data_wrapper",
    requires = [
        arrow_fdw_handler,
        arrow_fdw_validator,
        read_parquet,
        arrow_fdw_metadata_info,
        arrow_fdw_metadata_stats
    ],
);
