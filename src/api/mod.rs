//! The SQL functions: arguments checked for form, results as rows.
//!
//! The signatures are written by hand because pgrx has no argument of type regclass that is not opened
//! for us, before the caller's rights are known. Texts come and go as bytes in the database's encoding:
//! pgrx takes them for UTF-8.

use std::borrow::Cow;
use std::time::Duration;

mod arrow;
mod foreign;
mod gpu;
mod query;
mod vcf;

use pgrx::datum::Interval;
use pgrx::pg_sys::Oid;
use pgrx::prelude::*;

use crate::encode::{Codec, CodecError};
use crate::export::{self, DeviceChoice, Request, Subject};
use crate::memory::room_for;
use crate::pg::encoding::{from_utf8, to_utf8};
use crate::pg::error::{Code, Error, error};
use crate::plan::{Format, ScanKind};

/// Exports a table to Parquet; see the comment on the SQL function, and README, for the options.
#[pg_extern(sql = r#"
CREATE FUNCTION export_table_parquet(
    "table" regclass, path text,
    columns text[] DEFAULT NULL,
    compression text DEFAULT 'zstd',
    row_group_rows bigint DEFAULT 1000000, row_group_bytes bigint DEFAULT 134217728,
    workers int DEFAULT NULL,
    scan text DEFAULT 'auto',
    device text DEFAULT 'auto',
    overwrite boolean DEFAULT false,
    bloom_filters text[] DEFAULT NULL,
    byte_stream_split boolean DEFAULT false)
RETURNS TABLE (path text, files int, row_groups bigint, rows bigint, bytes bigint,
               scan text, device text, workers int, elapsed interval)
VOLATILE PARALLEL UNSAFE COST 1000 ROWS 1 LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
#[allow(clippy::too_many_arguments, clippy::type_complexity)] // those of the SQL function
fn export_table_parquet(
    table: Option<Oid>,
    path: Option<&[u8]>,
    columns: Option<Array<&[u8]>>,
    compression: Option<&[u8]>,
    row_group_rows: Option<i64>,
    row_group_bytes: Option<i64>,
    workers: Option<i32>,
    scan: Option<&[u8]>,
    device: Option<&[u8]>,
    overwrite: Option<bool>,
    bloom_filters: Option<Array<&[u8]>>,
    byte_stream_split: Option<bool>,
) -> Result<
    TableIterator<
        'static,
        (
            name!(path, Vec<u8>),
            name!(files, i32),
            name!(row_groups, i64),
            name!(rows, i64),
            name!(bytes, i64),
            name!(scan, String),
            name!(device, String),
            name!(workers, i32),
            name!(elapsed, Interval),
        ),
    >,
    Error,
> {
    let bloom_filters = column_names(bloom_filters, "bloom_filters", "Leave bloom_filters out for none.")?;
    let request = Request {
        subject: table_subject(table, columns)?,
        path: required(text(path)?, "path")?,
        format: Format::Parquet {
            bloom_filters: bloom_filters.unwrap_or_default(),
            split: byte_stream_split.unwrap_or(false),
        },
        compression: parquet_codec(compression)?,
        group_rows: positive(row_group_rows, "row_group_rows", 1_000_000)?,
        group_bytes: positive(row_group_bytes, "row_group_bytes", 128 << 20)?,
        workers: worker_count(workers)?,
        scan: scan_kind(text(scan)?.as_deref())?,
        device: wanted_device(text(device)?.as_deref())?,
        overwrite: overwrite.unwrap_or(false),
        append: false,
    };
    Ok(TableIterator::once(export(&request)?))
}

fn parquet_codec(compression: Option<&[u8]>) -> Result<String, Error> {
    let compression = text(compression)?.unwrap_or_else(|| "zstd".into());
    check_codec(
        Codec::parse(&compression),
        "Use zstd, snappy, gzip, brotli, lz4_raw or none; zstd, gzip and brotli take a level, as in 'zstd:3'.",
    )?;
    Ok(compression)
}

fn table_subject(table: Option<Oid>, columns: Option<Array<&[u8]>>) -> Result<Subject, Error> {
    let oid = required(table, "table")?;
    Ok(Subject::Table { oid, columns: column_names(columns, "columns", ALL_COLUMNS)? })
}

/// Path, files, row groups or record batches, rows, bytes, scan, device, workers, elapsed time.
type ResultRow = (Vec<u8>, i32, i64, i64, i64, String, String, i32, Interval);

fn export(request: &Request) -> Result<ResultRow, Error> {
    let done = export::export(request)?;
    Ok((
        from_utf8(&request.path),
        done.files as i32,
        done.groups as i64,
        done.rows as i64,
        done.bytes as i64,
        done.scan.to_owned(),
        done.device.to_owned(),
        done.workers as i32,
        interval(done.elapsed),
    ))
}

/// Writes the COPY BINARY stream of a table, or counts its bytes when `path` is NULL.
#[pg_extern(sql = r#"
CREATE FUNCTION copy_binary_dump(
    "table" regclass, path text DEFAULT NULL,
    workers int DEFAULT NULL,
    overwrite boolean DEFAULT false)
RETURNS TABLE (rows bigint, bytes bigint)
VOLATILE PARALLEL UNSAFE COST 1000 ROWS 1 LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
fn copy_binary_dump(
    table: Option<Oid>,
    path: Option<&[u8]>,
    workers: Option<i32>,
    overwrite: Option<bool>,
) -> Result<TableIterator<'static, (name!(rows, i64), name!(bytes, i64))>, Error> {
    let done = export::dump(
        required(table, "table")?,
        text(path)?.as_deref(),
        worker_count(workers)?,
        overwrite.unwrap_or(false),
    )?;
    Ok(TableIterator::once((done.rows as i64, done.bytes as i64)))
}

/// Scans and decodes a table and drops the columns: a measuring tool.
#[pg_extern(sql = r#"
CREATE FUNCTION decode_table(
    "table" regclass,
    scan text DEFAULT 'auto',
    workers int DEFAULT NULL,
    device text DEFAULT 'auto')
RETURNS TABLE (rows bigint, bytes bigint, slots bigint, scan text, device text, workers int, elapsed interval)
VOLATILE PARALLEL UNSAFE COST 1000 ROWS 1 LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
#[allow(clippy::type_complexity)] // the result row
fn decode_table(
    table: Option<Oid>,
    scan: Option<&[u8]>,
    workers: Option<i32>,
    device: Option<&[u8]>,
) -> Result<
    TableIterator<
        'static,
        (
            name!(rows, i64),
            name!(bytes, i64),
            name!(slots, i64),
            name!(scan, String),
            name!(device, String),
            name!(workers, i32),
            name!(elapsed, Interval),
        ),
    >,
    Error,
> {
    let done = export::measure(
        required(table, "table")?,
        scan_kind(text(scan)?.as_deref())?,
        worker_count(workers)?,
        wanted_device(text(device)?.as_deref())?,
    )?;
    Ok(TableIterator::once((
        done.rows as i64,
        done.bytes as i64,
        done.slots as i64,
        done.scan.name().to_owned(),
        done.device.to_owned(),
        done.workers as i32,
        interval(done.elapsed),
    )))
}

fn interval(time: Duration) -> Interval {
    Interval::from_micros(i64::try_from(time.as_micros()).unwrap_or(i64::MAX))
}

const ALL_COLUMNS: &str = "Leave columns out to export all of them.";

fn text(bytes: Option<&[u8]>) -> Result<Option<String>, Error> {
    let Some(bytes) = bytes else { return Ok(None) };
    // Queries may be long, and are copied some times on their way.
    room_for(4 * bytes.len())?;
    to_utf8(bytes).map(Cow::into_owned).map(Some)
}

fn invalid(message: String, hint: &str) -> Error {
    error(Code::ERRCODE_INVALID_PARAMETER_VALUE, message).set_hint(hint)
}

fn required<T>(value: Option<T>, name: &str) -> Result<T, Error> {
    value.ok_or_else(|| {
        error(Code::ERRCODE_NULL_VALUE_NOT_ALLOWED, format!("argument \"{name}\" must not be null")).set_hint(
            match name {
                "table" => "Name the table, as in 'schema.table'.",
                "query" => "Pass one SELECT, VALUES or TABLE command, or one with RETURNING.",
                _ => "Give the absolute path of a file on the server.",
            },
        )
    })
}

fn positive(value: Option<i64>, name: &str, default: u64) -> Result<u64, Error> {
    match value {
        None => Ok(default),
        Some(value @ 1..) => Ok(value as u64),
        Some(value) => Err(error(
            Code::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
            format!("{name} must be greater than zero, not {value}"),
        )
        .set_hint(format!("Leave it out for the default, {default}."))),
    }
}

fn worker_count(value: Option<i32>) -> Result<Option<usize>, Error> {
    match value {
        None => Ok(None),
        Some(workers @ 0..=1024) => Ok(Some(workers as usize)),
        Some(workers) => Err(error(
            Code::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
            format!("workers must be between 0 and 1024, not {workers}"),
        )
        .set_hint("Leave it out to choose by the table's size; 0 works in the calling process alone.")),
    }
}

fn scan_kind(text: Option<&str>) -> Result<Option<ScanKind>, Error> {
    match text {
        None | Some("auto") => Ok(None),
        Some("heap") => Ok(Some(ScanKind::Heap)),
        Some("copy_binary") => Ok(Some(ScanKind::CopyBinary)),
        Some(other) => Err(invalid(format!("unknown scan \"{other}\""), "Use auto, heap or copy_binary.")),
    }
}

fn wanted_device(text: Option<&str>) -> Result<DeviceChoice, Error> {
    match text {
        None | Some("auto") => Ok(DeviceChoice::Auto),
        Some("cpu") => Ok(DeviceChoice::Cpu),
        Some("gpu") => Ok(DeviceChoice::Gpu),
        Some(other) => Err(invalid(format!("unknown device \"{other}\""), "Use auto, cpu or gpu.")),
    }
}

fn check_codec<C>(parsed: Result<C, CodecError>, hint: &str) -> Result<(), Error> {
    parsed.map(|_| ()).map_err(|cause| {
        let code = match cause {
            CodecError::Unknown { .. } => Code::ERRCODE_INVALID_PARAMETER_VALUE,
            _ => Code::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
        };
        error(code, cause.to_string()).set_hint(hint)
    })
}

fn column_names(
    columns: Option<Array<&[u8]>>,
    argument: &str,
    hint: &str,
) -> Result<Option<Vec<String>>, Error> {
    let Some(columns) = columns else { return Ok(None) };
    let name = |name| {
        text(name)?.ok_or_else(|| {
            error(Code::ERRCODE_NULL_VALUE_NOT_ALLOWED, format!("{argument} must not contain null"))
                .set_hint(hint)
        })
    };
    columns.iter().map(name).collect::<Result<_, Error>>().map(Some)
}

extension_sql!(
    r#"
COMMENT ON FUNCTION export_table_parquet(
    regclass, text, text[], text, bigint, bigint, int, text, text, boolean, text[], boolean) IS
    'Exports a table to a Parquet file (path ending in .parquet) or a directory of them, in parallel, on one snapshot';
COMMENT ON FUNCTION export_table_arrow(regclass, text, text[], text, bigint, bigint, int, text, text, boolean, text[], boolean) IS
    'Exports a table to an Arrow IPC file (path ending in .arrow) or a directory of them, in parallel, on one snapshot';
COMMENT ON FUNCTION export_query_parquet(text, text, text, bigint, bigint, boolean) IS
    'Exports the rows of a query to a Parquet file (path ending in .parquet) or a directory with one';
COMMENT ON FUNCTION export_query_arrow(text, text, text, bigint, bigint, boolean, text[], boolean) IS
    'Exports the rows of a query to an Arrow IPC file (path ending in .arrow) or a directory with one';
COMMENT ON FUNCTION import_vcf(text, text, text, text, boolean) IS
    'Converts a VCF file on the server to an Arrow IPC file, INFO and FORMAT fields typed';
COMMENT ON FUNCTION copy_binary_dump(regclass, text, int, boolean) IS
    'Writes a table as one COPY BINARY file by the parallel scan, or counts its bytes when path is null';
COMMENT ON FUNCTION decode_table(regclass, text, int, text) IS
    'Scans and decodes a table as an export does and drops the columns, to measure that part by itself';

REVOKE EXECUTE ON FUNCTION
    export_table_parquet(regclass, text, text[], text, bigint, bigint, int, text, text, boolean, text[], boolean),
    export_table_arrow(regclass, text, text[], text, bigint, bigint, int, text, text, boolean, text[], boolean),
    export_query_parquet(text, text, text, bigint, bigint, boolean),
    export_query_arrow(text, text, text, bigint, bigint, boolean, text[], boolean),
    import_vcf(text, text, text, text, boolean),
    copy_binary_dump(regclass, text, int, boolean)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    export_table_parquet(regclass, text, text[], text, bigint, bigint, int, text, text, boolean, text[], boolean),
    export_table_arrow(regclass, text, text[], text, bigint, bigint, int, text, text, boolean, text[], boolean),
    export_query_parquet(text, text, text, bigint, bigint, boolean),
    export_query_arrow(text, text, text, bigint, bigint, boolean, text[], boolean),
    import_vcf(text, text, text, text, boolean),
    copy_binary_dump(regclass, text, int, boolean)
TO pg_write_server_files;
"#,
    name = "comments",
    requires = [
        export_table_parquet,
        arrow::export_table_arrow,
        query::export_query_parquet,
        query::export_query_arrow,
        vcf::import_vcf,
        copy_binary_dump,
        decode_table
    ],
    finalize
);
