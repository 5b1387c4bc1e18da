//! Scans and decodes a table and drops the columns, to measure the scan and a device without the encoder.

use std::time::{Duration, Instant};

use pgrx::pg_sys::Oid;

use super::device::{self, Wanted, Work};
use super::leader::{check_context, check_reading, choose_workers, new_job, run_passes};
use super::sample;
use crate::pg::error::Result;
use crate::pg::heap::BLOCK_SIZE;
use crate::pg::memory;
use crate::pg::progress::Progress;
use crate::pg::session::PinnedSettings;
use crate::plan::chunks::Chunks;
use crate::plan::{Output, ScanKind, columns, relation};
use crate::types::Shapes;

/// An export's default row groups; a device takes one at a time.
const ROW_GROUP_ROWS: u64 = 1_000_000;
const ROW_GROUP_BYTES: u64 = 128 << 20;

pub struct Measured {
    pub rows: u64,
    /// Bytes of pages or of the stream.
    pub bytes: u64,
    pub slots: u64,
    pub scan: ScanKind,
    pub device: &'static str,
    pub workers: usize,
    /// Excludes the preparations.
    pub elapsed: Duration,
}

pub fn measure(
    table: Oid,
    scan: Option<ScanKind>,
    workers: Option<usize>,
    wanted: Wanted,
) -> Result<Measured> {
    memory::checked(|| measure_checked(table, scan, workers, wanted))
}

fn measure_checked(
    table: Oid,
    scan: Option<ScanKind>,
    workers: Option<usize>,
    wanted: Wanted,
) -> Result<Measured> {
    check_context()?;
    let relation::Opened { source, attributes, guard: _guard } = relation::open(table)?;
    check_reading(&source, &attributes, None)?;
    let (columns, slots) = columns::select(&source.name, &attributes, None)?;
    let way = device::choose(&source, &columns, scan, wanted, Work::Dropped)?;
    let _settings = PinnedSettings::pin();
    let workers = choose_workers(&source, workers);
    let progress = Progress::start(source.oid.into(), source.blocks() * BLOCK_SIZE as u64);
    let mut job = new_job(source, columns, way.scan, Shapes::new(slots));
    let (density, seen) = sample::take(&job)?;
    job.device = way.device;
    job.chunks = Chunks::new(job.source.blocks(), density, ROW_GROUP_ROWS, ROW_GROUP_BYTES, workers + 1);
    let began = Instant::now();
    let (report, workers) = run_passes(&mut job, Output::Dropped, seen, workers, None, &progress)?;
    let elapsed = began.elapsed();
    let planned = job.device.is_some();
    device::record_rate(&job.source, job.scan, Work::Dropped, planned, elapsed, workers + 1);
    let device = device::conclude(&job.source, planned, &report.device);
    let (rows, bytes, slots) = (report.rows, report.scanned.bytes, report.device.slots);
    Ok(Measured { rows, bytes, slots, scan: job.scan, device, workers, elapsed })
}
