//! Export to Arrow IPC files.

use pgrx::datum::Interval;
use pgrx::pg_sys::Oid;
use pgrx::prelude::*;

use super::{
    check_codec, column_names, export, positive, required, scan_kind, table_subject, text, wanted_device,
    worker_count,
};
use crate::encode::ipc::BufferCodec;
use crate::export::Request;
use crate::pg::error::Error;
use crate::plan::Format;

/// Exports a table to Arrow IPC; see the comment on the SQL function, and README, for the options.
#[pg_extern(sql = r#"
CREATE FUNCTION export_table_arrow(
    "table" regclass, path text,
    columns text[] DEFAULT NULL,
    compression text DEFAULT 'none',
    record_batch_rows bigint DEFAULT 262144, record_batch_bytes bigint DEFAULT 33554432,
    workers int DEFAULT NULL,
    scan text DEFAULT 'auto',
    device text DEFAULT 'auto',
    overwrite boolean DEFAULT false,
    stats text[] DEFAULT NULL,
    append boolean DEFAULT false)
RETURNS TABLE (path text, files int, record_batches bigint, rows bigint, bytes bigint,
               scan text, device text, workers int, elapsed interval)
VOLATILE PARALLEL UNSAFE COST 1000 ROWS 1 LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
#[allow(clippy::too_many_arguments, clippy::type_complexity)] // those of the SQL function
fn export_table_arrow(
    table: Option<Oid>,
    path: Option<&[u8]>,
    columns: Option<Array<&[u8]>>,
    compression: Option<&[u8]>,
    record_batch_rows: Option<i64>,
    record_batch_bytes: Option<i64>,
    workers: Option<i32>,
    scan: Option<&[u8]>,
    device: Option<&[u8]>,
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
        subject: table_subject(table, columns)?,
        path: required(text(path)?, "path")?,
        format: Format::Arrow { stats },
        compression: arrow_codec(compression)?,
        group_rows: positive(record_batch_rows, "record_batch_rows", 262_144)?,
        group_bytes: positive(record_batch_bytes, "record_batch_bytes", 32 << 20)?,
        workers: worker_count(workers)?,
        scan: scan_kind(text(scan)?.as_deref())?,
        device: wanted_device(text(device)?.as_deref())?,
        overwrite: overwrite.unwrap_or(false),
        append: append.unwrap_or(false),
    };
    Ok(TableIterator::once(export(&request)?))
}

pub(super) const ALL_STATS: &str = "Leave stats out for all columns, or pass '{}' for none.";

pub(super) fn arrow_codec(compression: Option<&[u8]>) -> Result<String, Error> {
    let compression = text(compression)?.unwrap_or_else(|| "none".into());
    check_codec(
        BufferCodec::parse(&compression),
        "Use none, lz4 or zstd; zstd takes a level, as in 'zstd:3'.",
    )?;
    Ok(compression)
}
