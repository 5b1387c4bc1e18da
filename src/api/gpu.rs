//! The SQL functions that tell of GPUs.

use pgrx::datum::TimestampWithTimeZone;
use pgrx::prelude::*;

use crate::pg::error::Error;
use crate::service::status;
use crate::slot::monitoring::DeviceRecord;

/// The devices of the GPU service, which is started when it is not running.
#[pg_extern(sql = r#"
CREATE FUNCTION gpu_devices()
RETURNS TABLE (ordinal int, name text, memory bigint, compute_capability text, pci_bus_id text, pcie_link text,
               numa_node int, h2d_gb_per_s float8, d2h_gb_per_s float8, queue_depth int, state text)
VOLATILE PARALLEL UNSAFE COST 1000 ROWS 8 LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
#[allow(clippy::type_complexity)] // the result row
fn gpu_devices() -> Result<
    TableIterator<
        'static,
        (
            name!(ordinal, i32),
            name!(name, String),
            name!(memory, i64),
            name!(compute_capability, String),
            name!(pci_bus_id, Option<String>),
            name!(pcie_link, Option<String>),
            name!(numa_node, Option<i32>),
            name!(h2d_gb_per_s, Option<f64>),
            name!(d2h_gb_per_s, Option<f64>),
            name!(queue_depth, i32),
            name!(state, String),
        ),
    >,
    Error,
> {
    let given = |text: String| Some(text).filter(|text| !text.is_empty());
    let rate = |bytes: u64| (bytes > 0).then(|| (bytes as f64 / 1e8).round() / 10.0);
    let (devices, state) = status::devices()?;
    let row = move |DeviceRecord { info, queued, .. }: DeviceRecord| {
        (
            info.ordinal as i32,
            info.name,
            info.memory as i64,
            format!("{}.{}", info.capability.0, info.capability.1),
            given(info.pci_bus_id),
            given(info.pci_link),
            info.numa_node.map(|node| node as i32),
            rate(info.h2d),
            rate(info.d2h),
            queued as i32,
            state.to_owned(),
        )
    };
    Ok(TableIterator::new(devices.into_iter().map(row)))
}

/// Whether the service runs and why not, then what it and exports have said of late.
#[pg_extern(sql = r#"
CREATE FUNCTION gpu_status()
RETURNS TABLE ("time" timestamptz, source text, message text)
VOLATILE PARALLEL RESTRICTED COST 1000 ROWS 100 LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
#[allow(clippy::type_complexity)] // the result row
fn gpu_status() -> Result<
    TableIterator<
        'static,
        (name!(time, TimestampWithTimeZone), name!(source, String), name!(message, String)),
    >,
    Error,
> {
    /// From 1970-01-01 to 2000-01-01.
    const EPOCH_MICROS: i64 = 946_684_800_000_000;
    let mut rows = Vec::new();
    for line in status::lines()? {
        // Cannot fail: the present lies within a timestamp's range.
        let Ok(time) = TimestampWithTimeZone::try_from(line.micros - EPOCH_MICROS) else { continue };
        rows.push((time, line.source, line.message));
    }
    Ok(TableIterator::new(rows))
}

extension_sql!(
    r#"
COMMENT ON FUNCTION gpu_devices() IS
    'The GPUs that exports can use, with their links'' measured rates; starts the GPU service when it is not running';
COMMENT ON FUNCTION gpu_status() IS
    'The state of the GPU service and the reason for it, then why exports did or did not use a GPU, oldest first';
REVOKE EXECUTE ON FUNCTION gpu_devices() FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION gpu_status() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gpu_devices() TO pg_monitor;
GRANT EXECUTE ON FUNCTION gpu_status() TO pg_monitor;
"#,
    name = "gpu_comments",
    requires = [gpu_devices, gpu_status]
);
