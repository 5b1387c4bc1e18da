//! The part of an aggregation that a device computes.
//!
//! The leader begins a query on the device; processes hand pages to slots instead of deforming them, and compute the rows
//! that the device leaves to them; the leader fetches the device's groups at last and merges them with those of the
//! processes. Whenever something fails in between, the query is computed again without a device.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::pg::check_for_interrupts;
use crate::pg::encoding::in_message;
use crate::pg::error::Result;
use crate::pg::guc::{self, SqlMode};
use crate::pg::heap::BLOCK_SIZE;
use crate::pg::wait_event::{Event, during};
use crate::plan::{DevicePlan, Reading};
use crate::query::cuda::{Decoded, Generated, Task, generate, read_rows};
use crate::query::{Executor, Plan, Type, Unfit};
use crate::scan::operations;
use crate::service::{Effort, attach, decisions};
use crate::slot::pool::{Pool, Slot, State};
use crate::slot::query::{BEGIN, GROUPS, Request, read_groups, write_request};

const WAIT: Duration = Duration::from_millis(10);
/// How much later the service is given up if it does not replace an engine that hangs.
const SERVICE_TIME: Duration = Duration::from_secs(10);

/// A query that a device has begun.
pub struct Begun {
    pool: Pool,
    pub number: u64,
    pub device: DevicePlan,
    generated: Generated,
}

/// What a device had to do with an aggregation, for EXPLAIN.
pub enum Share {
    /// Nothing was asked of one.
    None,
    /// Rows in its groups.
    Rows(u64),
    /// Why it was not used.
    Refused(String),
}

type Fit<T> = std::result::Result<T, String>;

/// Begins a query over heaps on a device; otherwise returns why there is none.
pub fn begin(plan: &Plan, reading: &Reading, expected: u64, limit: usize) -> Result<Fit<Begun>> {
    let begun = match chosen(plan, reading) {
        Ok(chosen) => start(chosen, expected, limit)?,
        Err(reason) => Err(reason),
    };
    let table = &reading.source.name;
    decisions::note(in_message(match &begun {
        Ok(_) => format!("table {table}: aggregated on the GPU"),
        Err(reason) => format!("table {table}: aggregated on the CPU: {reason}"),
    }));
    Ok(begun)
}

/// A query for a device, and where that is.
struct Chosen {
    pool: Pool,
    device: DevicePlan,
    text: Vec<u8>,
    generated: Generated,
}

/// Finds the service, if the query is one for a device.
fn chosen(plan: &Plan, reading: &Reading) -> Fit<Chosen> {
    let is_forced = guc::gpu_sql() == SqlMode::Force;
    let (bytes, least) = (reading.source.blocks() * BLOCK_SIZE as u64, guc::gpu_min_table_size());
    if !is_forced && bytes < least {
        let (bytes, least) = (bytes >> 10, least >> 10);
        return Err(format!("{bytes} kB are less than pg_strata.gpu_min_table_size, {least} kB"));
    }
    let unfit = reading.columns.iter().find_map(|column| Some((column, column.unfit_for_device(false)?)));
    if let Some((column, why)) = unfit {
        return Err(format!("column \"{}\" {why}", column.field.name));
    }
    // Of equal texts without a length, which are padded in several ways, the order of rows tells which one is shown.
    let mut padded =
        plan.columns.iter().zip(&reading.columns).filter(|(column, _)| column.of == Type::Bpchar);
    if padded.any(|(_, column)| !column.field.pg_type.starts_with("character(")) {
        return Err("a column of char without a length".into());
    }
    let columns = operations(&reading.columns).into_iter();
    let columns =
        columns.map(|(op, (precision, scale))| Decoded { op: op as u8, precision, scale }).collect();
    let task = Task { plan: plan.clone(), columns };
    let generated = generate(&task).map_err(|unfit| unfit.0)?;
    let text = serde_json::to_vec(&task).map_err(|cause| cause.to_string())?;
    let effort = if is_forced { Effort::Start } else { Effort::Look };
    let (service, pool) = attach(effort).map_err(|unavailable| unavailable.reason)?;
    let device = DevicePlan { pid: service.pid, fd: service.fd, generation: service.generation };
    Ok(Chosen { pool, device, text, generated })
}

fn start(chosen: Chosen, expected: u64, limit: usize) -> Result<Fit<Begun>> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed) & ((1 << 40) - 1);
    let number = u64::from(std::process::id()) << 40 | count;
    let Chosen { pool, device, text, generated } = chosen;
    let begun = Begun { pool, number, device, generated };
    let request = Request { step: BEGIN, expected, limit: limit as u64, ..Request::default() };
    Ok(begun.ask(request, &text)?.map(|_| begun))
}

impl Begun {
    /// Merges the device's groups; returns why that is not possible. All slots have come back.
    pub fn merge(&self, executor: &mut Executor) -> Result<Fit<std::result::Result<(), Unfit>>> {
        let stride = executor.table.stride;
        let mut words = Vec::new();
        loop {
            let request = Request { step: GROUPS, from: words.len() as u64, ..Request::default() };
            let slot = match self.ask(request, &[])? {
                Ok(slot) => slot,
                Err(reason) => return Ok(Err(reason)),
            };
            let before = words.len();
            let groups: Option<u64> = read_groups(slot.output(), 0, &mut words);
            let all = groups.and_then(|groups| usize::try_from(groups).ok()?.checked_mul(stride));
            let Some(left) = all.and_then(|all| all.checked_sub(before)) else {
                return Ok(Err("a device returned other groups than before".into()));
            };
            if words.try_reserve(left).is_err() {
                return Ok(Ok(Err(Unfit("the groups need more memory than there is"))));
            }
            read_groups(slot.output(), left, &mut words);
            if words.len() == before + left {
                break;
            }
            if words.len() == before {
                return Ok(Err("a device returned no groups".into()));
            }
        }
        Ok(Ok(read_rows(executor, &self.generated, words, check_for_interrupts)))
    }

    /// Sends a request and waits for the answer; returns why none comes.
    fn ask(&self, request: Request, text: &[u8]) -> Result<Fit<Slot>> {
        let limit = guc::gpu_timeout().map(|limit| limit + SERVICE_TIME);
        let since = Instant::now();
        let is_over = || limit.is_some_and(|limit| since.elapsed() > limit);
        let mut slot = loop {
            if let Some(slot) = self.pool.claim(self.number) {
                break slot;
            }
            if let Some(reason) = self.pool.gone() {
                return Ok(Err(reason));
            }
            if is_over() {
                return Ok(Err("no slot became free".into()));
            }
            during(Event::Gpu, || std::thread::sleep(Duration::from_millis(1)));
            check_for_interrupts();
        };
        if !write_request(slot.input_mut(), request, text) {
            return Ok(Err("the query has no room in a slot".into()));
        }
        slot.submit();
        loop {
            match during(Event::Gpu, || slot.wait(WAIT)) {
                State::Done => return Ok(Ok(slot)),
                State::Failed => {
                    let why = slot.error();
                    return Ok(Err(if why.is_empty() { "a request failed".into() } else { why }));
                }
                _ => {}
            }
            if let Some(reason) = self.pool.gone() {
                return Ok(Err(reason));
            }
            if is_over() {
                return Ok(Err("a GPU did not answer in time".into()));
            }
            check_for_interrupts();
        }
    }
}
