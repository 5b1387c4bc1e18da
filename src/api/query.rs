//! Exports of a query's result.

use pgrx::datum::Interval;
use pgrx::prelude::*;

use super::arrow::{ALL_STATS, arrow_codec};
use super::{column_names, export, parquet_codec, positive, required, text};
use crate::export::{DeviceChoice, Request, Subject};
use crate::pg::error::Error;
use crate::plan::Format;

/// Exports a query's result to Parquet; see the comment on the SQL function, and README, for the options.
#[pg_extern(sql = r#"
CREATE FUNCTION export_query_parquet(
    query text, path text,
    compression text DEFAULT 'zstd',
    row_group_rows bigint DEFAULT 1000000, row_group_bytes bigint DEFAULT 134217728,
    overwrite boolean DEFAULT false)
RETURNS TABLE (path text, files int, row_groups bigint, rows bigint, bytes bigint,
               scan text, device text, workers int, elapsed interval)
VOLATILE PARALLEL UNSAFE COST 1000 ROWS 1 LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
#[allow(clippy::type_complexity)] // the result row
fn export_query_parquet(
    query: Option<&[u8]>,
    path: Option<&[u8]>,
    compression: Option<&[u8]>,
    row_group_rows: Option<i64>,
    row_group_bytes: Option<i64>,
    overwrite: Option<bool>,
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
    let request = Request {
        compression: parquet_codec(compression)?,
        group_rows: positive(row_group_rows, "row_group_rows", 1_000_000)?,
        group_bytes: positive(row_group_bytes, "row_group_bytes", 128 << 20)?,
        ..of_query(query, path, Format::Parquet { bloom_filters: Vec::new(), split: false }, overwrite)?
    };
    Ok(TableIterator::once(export(&request)?))
}

/// Exports a query's result to Arrow IPC; see the comment on the SQL function, and README, for the options.
#[pg_extern(sql = r#"
CREATE FUNCTION export_query_arrow(
    query text, path text,
    compression text DEFAULT 'none',
    record_batch_rows bigint DEFAULT 262144, record_batch_bytes bigint DEFAULT 33554432,
    overwrite boolean DEFAULT false,
    stats text[] DEFAULT NULL,
    append boolean DEFAULT false)
RETURNS TABLE (path text, files int, record_batches bigint, rows bigint, bytes bigint,
               scan text, device text, workers int, elapsed interval)
VOLATILE PARALLEL UNSAFE COST 1000 ROWS 1 LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
#[allow(clippy::too_many_arguments, clippy::type_complexity)] // those of the SQL function
fn export_query_arrow(
    query: Option<&[u8]>,
    path: Option<&[u8]>,
    compression: Option<&[u8]>,
    record_batch_rows: Option<i64>,
    record_batch_bytes: Option<i64>,
    overwrite: Option<bool>,
    stats: Option<Array<&[u8]>>,
    append: Option<bool>,
) -> Result<
    TableIterator<
        'static,
        (
            name!(path, Vec<u8>),
            name!(files, i32),
            name!(record_batches, i64),
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
    let stats = column_names(stats, "stats", ALL_STATS)?;
    let request = Request {
        compression: arrow_codec(compression)?,
        group_rows: positive(record_batch_rows, "record_batch_rows", 262_144)?,
        group_bytes: positive(record_batch_bytes, "record_batch_bytes", 32 << 20)?,
        append: append.unwrap_or(false),
        ..of_query(query, path, Format::Arrow { stats }, overwrite)?
    };
    Ok(TableIterator::once(export(&request)?))
}

/// One process reads the rows, and decodes them itself.
fn of_query(
    query: Option<&[u8]>,
    path: Option<&[u8]>,
    format: Format,
    overwrite: Option<bool>,
) -> Result<Request, Error> {
    Ok(Request {
        subject: Subject::Query(required(text(query)?, "query")?),
        path: required(text(path)?, "path")?,
        format,
        compression: String::new(),
        group_rows: 0,
        group_bytes: 0,
        workers: Some(0),
        scan: None,
        device: DeviceChoice::Cpu,
        overwrite: overwrite.unwrap_or(false),
        append: false,
    })
}
