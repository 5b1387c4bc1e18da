//! Scans and decodes a table and drops the columns, to measure the scan and a device without the encoder.

use std::time::{Duration, Instant};

use pgrx::pg_sys::Oid;

use super::passes::{self, Fitted};
use super::placement::{self, Placement, Product};
use super::prepare::{check_context, choose_columns, choose_workers};
use super::request::DeviceChoice;
use super::sample;
use crate::pg::error::Result;
use crate::pg::heap::BLOCK_SIZE;
use crate::pg::memory;
use crate::pg::progress::Progress;
use crate::pg::session::PinnedSettings;
use crate::plan::chunks::Chunks;
use crate::plan::{Job, Output, Reading, ScanKind, columns, relation};
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
    wanted: DeviceChoice,
) -> Result<Measured> {
    memory::checked(|| measure_checked(table, scan, workers, wanted))
}

fn measure_checked(
    table: Oid,
    scan: Option<ScanKind>,
    workers: Option<usize>,
    wanted: DeviceChoice,
) -> Result<Measured> {
    check_context()?;
    let relation::Opened { source, attributes, guard: _guard } = relation::open(table)?;
    let (columns, shape_count) = columns::select(&choose_columns(&source, &attributes, None)?);
    let Placement { scan, device } = placement::choose(&source, &columns, scan, wanted, Product::Dropped)?;
    let _settings = PinnedSettings::pin();
    let workers = choose_workers(&source, workers);
    let progress = Progress::start(source.oid.into(), source.blocks() * BLOCK_SIZE as u64);
    let reading = Reading { source, query: None, columns, scan, device };
    let (density, seen) = sample::take(&reading, Shapes::new(shape_count))?;
    let blocks = reading.source.blocks();
    let chunks = Chunks::new(blocks, density, ROW_GROUP_ROWS, ROW_GROUP_BYTES, workers + 1);
    let job = Job { reading, append: None, chunks, files: Vec::new() };
    let began = Instant::now();
    let Fitted { report, workers, .. } = passes::run(&job, &Output::Dropped, seen, workers, None, &progress)?;
    let elapsed = began.elapsed();
    let Reading { source, device, .. } = &job.reading;
    let planned = device.is_some();
    placement::record_rate(source, scan, Product::Dropped, planned, elapsed, workers + 1);
    let device = placement::conclude(source, planned, &report.device);
    let (rows, bytes, slots) = (report.rows, report.scanned.bytes, report.device.slots);
    Ok(Measured { rows, bytes, slots, scan, device, workers, elapsed })
}
