//! Where an export is decoded: on the CPU, or on a GPU through the service, and why.

use crate::pg::encoding::{database_is_utf8, in_message};
use crate::pg::error::{self, Code, Error, Result, error};
use crate::pg::guc;
use crate::pg::heap::BLOCK_SIZE;
use crate::plan::{Column, DevicePlan, ScanKind, Source};
use crate::scan::Tally;
use crate::service::{Effort, attach, decisions};

use super::leader::choose_scan;

/// What the caller asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Auto,
    Cpu,
    /// An error where that is impossible.
    Gpu,
}

/// How the rows are read and where they are decoded.
pub struct Way {
    pub scan: ScanKind,
    pub device: Option<DevicePlan>,
}

/// Why no GPU is used.
struct Refusal {
    code: Code,
    reason: String,
    hint: String,
}

pub fn choose(source: &Source, columns: &[Column], scan: Option<ScanKind>, wanted: Wanted) -> Result<Way> {
    let on_cpu = choose_scan(source, scan)?;
    let note = |what: &str| decisions::note(in_message(format!("table {}: {what}", source.name)));
    if wanted == Wanted::Cpu {
        note("decoded on the CPU: the caller asked for it");
        return Ok(Way { scan: on_cpu, device: None });
    }
    match on_device(source, columns, scan, wanted) {
        Ok(way) => {
            note(&format!("decoded on the GPU, scan {}", way.scan.name()));
            Ok(way)
        }
        Err(refusal) if wanted == Wanted::Auto => {
            note(&format!("decoded on the CPU: {}", refusal.reason));
            Ok(Way { scan: on_cpu, device: None })
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
    wanted: Wanted,
) -> std::result::Result<Way, Refusal> {
    if wanted == Wanted::Auto {
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
    let effort = if wanted == Wanted::Auto { Effort::Start } else { Effort::Insist };
    let (beacon, _) = attach(effort).map_err(|unavailable| Refusal {
        code: Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        reason: unavailable.reason,
        hint: unavailable.hint.to_owned(),
    })?;
    let device = DevicePlan { pid: beacon.pid, fd: beacon.fd, generation: beacon.generation };
    Ok(Way { scan, device: Some(device) })
}

/// The scan that a device can decode: heap when it can read every column in the pages. The stream serves any
/// column, but where the caller leaves the choice to us, the CPU is faster from the heap.
fn fitting_scan(
    columns: &[Column],
    scan: Option<ScanKind>,
    wanted: Wanted,
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
        Some(_) if scan.is_none() && wanted == Wanted::Gpu => Ok(ScanKind::CopyBinary),
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

/// What the result row says, after telling the caller of what was not to be expected.
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
