//! Decides where an export is decoded, on the CPU or on a GPU through the service, and says why.

use std::time::Duration;

use crate::pg::encoding::{database_is_utf8, in_message};
use crate::pg::error::{self, Code, Error, Result, error};
use crate::pg::guc;
use crate::pg::heap::BLOCK_SIZE;
use crate::plan::{Column, DevicePlan, ScanKind, Source};
use crate::scan::Tally;
use crate::service::{Effort, attach, decisions};
use crate::slot::pool::Pool;
use crate::slot::rates::TASKS;

use super::prepare::choose_scan;
use super::request::DeviceChoice;

/// What the rows are encoded to, and with which codec.
#[derive(Clone, Copy)]
pub enum Product<'a> {
    Parquet(&'a str),
    Arrow(&'a str),
    Dropped,
}

const CODECS: [&str; 6] = ["none", "snappy", "gzip", "brotli", "lz4", "zstd"];

impl Product<'_> {
    /// The index under which rates of such exports are kept.
    fn task(self, scan: ScanKind) -> usize {
        let codec = |text: &str| {
            let text = text.trim().to_ascii_lowercase();
            CODECS.iter().position(|codec| text.starts_with(codec)).unwrap_or(0)
        };
        let index = match self {
            Product::Parquet(compression) => codec(compression),
            Product::Arrow(compression) => CODECS.len() + codec(compression),
            Product::Dropped => 2 * CODECS.len(),
        };
        let scan = usize::from(scan == ScanKind::CopyBinary);
        scan * TASKS / 2 + index
    }
}

/// How the rows are read, and the device that decodes them.
pub struct Placement {
    pub scan: ScanKind,
    pub device: Option<DevicePlan>,
}

/// The reason why no GPU is used.
struct Refusal {
    code: Code,
    reason: String,
    hint: String,
}

pub fn choose(
    source: &Source,
    columns: &[Column],
    scan: Option<ScanKind>,
    wanted: DeviceChoice,
    product: Product,
) -> Result<Placement> {
    let on_cpu = choose_scan(source, scan)?;
    let note = |what: &str| decisions::note(in_message(format!("table {}: {what}", source.name)));
    if wanted == DeviceChoice::Cpu {
        note("decoded on the CPU: the caller asked for it");
        return Ok(Placement { scan: on_cpu, device: None });
    }
    let tasks = |scan: ScanKind| (product.task(scan), product.task(on_cpu));
    match on_device(source, columns, scan, wanted, tasks) {
        Ok((placement, why)) => {
            note(&format!("decoded on the GPU, scan {}{why}", placement.scan.name()));
            Ok(placement)
        }
        Err(refusal) if wanted == DeviceChoice::Auto => {
            note(&format!("decoded on the CPU: {}", refusal.reason));
            Ok(Placement { scan: on_cpu, device: None })
        }
        Err(refusal) => {
            note(&format!("refused, as no GPU can decode it: {}", refusal.reason));
            Err(refusal.into_error(source))
        }
    }
}

fn on_device(
    source: &Source,
    columns: &[Column],
    scan: Option<ScanKind>,
    wanted: DeviceChoice,
    tasks: impl Fn(ScanKind) -> (usize, usize),
) -> std::result::Result<(Placement, String), Refusal> {
    if wanted == DeviceChoice::Auto {
        let (bytes, least) = (source.blocks() * BLOCK_SIZE as u64, guc::gpu_min_table_size());
        if bytes < least {
            let reason = format!(
                "its {} kB are less than pg_strata.gpu_min_table_size, {} kB",
                bytes >> 10,
                least >> 10
            );
            return Err(Refusal::unfit(reason));
        }
    }
    let scan = fitting_scan(columns, scan, wanted)?;
    let effort = if wanted == DeviceChoice::Auto { Effort::Start } else { Effort::Insist };
    let (service, pool) = attach(effort).map_err(|unavailable| Refusal {
        code: Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        reason: unavailable.reason,
        hint: unavailable.hint.to_owned(),
    })?;
    let why = match wanted {
        DeviceChoice::Auto => faster(&pool, tasks(scan))?,
        _ => ": the caller asked for it".into(),
    };
    let device = DevicePlan { pid: service.pid, fd: service.fd, generation: service.generation };
    Ok((Placement { scan, device: Some(device) }, why))
}

/// Returns the reason to expect the GPU to be faster, or the refusal when the CPU is.
fn faster(pool: &Pool, (gpu_task, cpu_task): (usize, usize)) -> std::result::Result<String, Refusal> {
    let Some((gpu, cpu)) = pool.speeds(gpu_task, cpu_task) else { return Ok(String::new()) };
    if gpu.rate < cpu.rate {
        return Err(Refusal::unfit(format!("{} there, on a GPU {}", cpu.text(), gpu.text())));
    }
    Ok(format!(": {} there, on the CPU {}", gpu.text(), cpu.text()))
}

/// Returns the scan that a device can decode: heap when it can read every column in the pages. It can decode
/// any column of the stream, but unless the caller asks for a GPU, the CPU is faster from the heap.
fn fitting_scan(
    columns: &[Column],
    scan: Option<ScanKind>,
    wanted: DeviceChoice,
) -> std::result::Result<ScanKind, Refusal> {
    if columns.is_empty() {
        return Err(Refusal::unfit("it has no columns".into()));
    }
    if scan == Some(ScanKind::CopyBinary) {
        return Ok(ScanKind::CopyBinary);
    }
    let converts = !database_is_utf8();
    let unfit = columns.iter().find_map(|column| Some((column, column.unfit_for_device(converts)?)));
    match unfit {
        None => Ok(ScanKind::Heap),
        Some(_) if scan.is_none() && wanted == DeviceChoice::Gpu => Ok(ScanKind::CopyBinary),
        Some((column, why)) => {
            let field = &column.field;
            let reason = format!(
                "column \"{}\" of type {} {why}, which the heap scan cannot leave to a GPU",
                field.name, field.pg_type
            );
            Err(Refusal::unfit(reason))
        }
    }
}

impl Refusal {
    fn unfit(reason: String) -> Refusal {
        Refusal {
            code: Code::ERRCODE_FEATURE_NOT_SUPPORTED,
            reason,
            hint: "Pass scan => 'copy_binary', leave the column out with columns => array[...], or use device => 'auto'.".into(),
        }
    }

    fn into_error(self, source: &Source) -> Error {
        let mut detail = self.reason;
        if let Some(first) = detail.get(..1).map(str::to_uppercase) {
            detail.replace_range(..1, &first);
        }
        error(self.code, in_message(format!("cannot decode {} on a GPU", source.name)))
            .set_detail(in_message(format!("{detail}.")))
            .set_hint(self.hint)
    }
}

/// Keeps the speed of an export, for the choice of later ones.
pub fn record_rate(
    source: &Source,
    scan: ScanKind,
    product: Product,
    planned: bool,
    time: Duration,
    processes: usize,
) {
    if let Some(pool) = decisions::pool() {
        let bytes = source.blocks() * BLOCK_SIZE as u64;
        pool.record_rate(product.task(scan), planned, bytes, time, processes as u32);
    }
}

/// Returns what the result row shows as the device, and warns the caller of what went wrong there.
pub fn conclude(source: &Source, planned: bool, tally: &Tally) -> &'static str {
    if !planned {
        return "cpu";
    }
    let used = match (tally.used_cpu(), tally.slots) {
        (false, _) => "gpu",
        (true, 0) => "cpu",
        (true, _) => "gpu+cpu",
    };
    let causes = tally.trouble.join("; ");
    if tally.lost {
        error::warning(
            "the GPU service failed during the export; what was left was decoded on the CPU",
            in_message(format!("{}: {causes}.", source.name)),
            "The export is complete. SELECT * FROM gpu_status() and the server's log tell more.",
        );
    } else if !causes.is_empty() {
        error::notice("some rows were decoded on the CPU", in_message(format!("{}: {causes}.", source.name)));
    }
    decisions::note(in_message(format!(
        "table {}: {used}, {} slots, {} of them redone in part, {} values found by the server, {} batches without a free slot",
        source.name, tally.slots, tally.redone, tally.patched, tally.refused
    )));
    let why = tally.why_again.as_ref().map_or(String::new(), |why| format!(": {why}"));
    decisions::note(in_message(format!(
        "table {}: {} row groups encoded on the GPU, {} more on the CPU after a try{why}",
        source.name, tally.groups, tally.groups_again
    )));
    used
}
