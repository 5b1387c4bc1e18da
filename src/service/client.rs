//! The exporters' side of the service: find it, or have it started.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::memory::to_blame;
use crate::pg::bgworker::{self, Started};
use crate::pg::guc;
use crate::pg::session::{now_micros, pause};
use crate::slot::pool::Pool;
use crate::slot::service_file::{self, ServiceInfo, ServiceState};

/// The driver starts, memory is pinned and kernels are compiled: seconds, where there are many devices.
const PATIENCE: Duration = Duration::from_secs(60);
/// An engine that does not answer is killed, and another started; one that cannot be killed stays.
const REPLACED_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Why there is no service to use.
#[derive(Clone, Debug)]
pub struct Unavailable {
    pub reason: String,
    pub hint: &'static str,
}

const STATUS_HINT: &str = "SELECT * FROM gpu_status() and the server's log tell more.";

/// How far to go for a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Use it if it is there.
    Look,
    /// Start one, unless it is known that this leads to nothing.
    Start,
    /// Start one.
    Insist,
}

/// The service's word that it is ready, or why it is not.
pub fn find(effort: Effort) -> Result<ServiceInfo, Unavailable> {
    if guc::gpu() == guc::Gpu::Off {
        return Err(Unavailable {
            reason: "the parameter pg_strata.gpu is off".into(),
            hint: "Ask an administrator to set pg_strata.gpu to auto.",
        });
    }
    let deadline = Instant::now() + PATIENCE;
    let mut started: Option<Started> = None;
    loop {
        match look()? {
            Some((info, true)) => match info.state {
                ServiceState::Ready => return Ok(info),
                ServiceState::Failed => return Err(unavailable(info.reason)),
                ServiceState::Silent if effort == Effort::Start || lasts(&info, REPLACED_WITHIN) => {
                    return Err(unavailable(info.reason));
                }
                state if effort == Effort::Look || effort == Effort::Start && lasts(&info, PATIENCE) => {
                    return Err(unavailable(format!("the GPU service is {}", state.name())));
                }
                _ => {}
            },
            known => match &started {
                Some(ours) if !ours.has_ended() => {}
                // What was read may be older than the end, which another service may have been the reason of.
                Some(_) => match look()? {
                    Some((_, true)) => {}
                    known => return Err(ended(known)),
                },
                None if effort == Effort::Look => return Err(ended(known)),
                None if effort == Effort::Start && is_hopeless(known.as_ref()) => return Err(ended(known)),
                None => started = Some(bgworker::start().ok_or_else(no_room)?),
            },
        }
        if Instant::now() > deadline {
            return Err(unavailable("the GPU service took too long to start".into()));
        }
        pause(LOOK_EVERY);
    }
}

/// As `find`, with the pool mapped. A service that restarts between the two is found again.
pub fn attach(effort: Effort) -> Result<(ServiceInfo, Pool), Unavailable> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let info = find(effort)?;
        match Pool::attach(info.pid, info.fd, info.generation) {
            Ok(pool) => return Ok((info, pool)),
            // There may be a newer pool by now, but not more room for it.
            Err(cause) if to_blame(&cause).is_some() || Instant::now() > deadline => {
                return Err(unavailable(format!("the GPU service's memory could not be read: {cause}")));
            }
            Err(_) => pause(LOOK_EVERY),
        }
    }
}

/// What the info says, and whether the service lives.
pub fn look() -> Result<Option<(ServiceInfo, bool)>, Unavailable> {
    service_file::read(Path::new(service_file::PATH))
        .map_err(|cause| unavailable(format!("could not read \"{}\": {cause}", service_file::PATH)))
}

/// The same server has tried under the same settings.
fn is_hopeless(known: Option<&(ServiceInfo, bool)>) -> bool {
    known.is_some_and(|(info, _)| {
        info.state == ServiceState::Absent
            && info.server_start == bgworker::server_start()
            && info.settings == settings_mark()
    })
}

/// Whoever waits for the state to change has waited in vain for so long.
fn lasts(info: &ServiceInfo, time: Duration) -> bool {
    info.since > 0 && now_micros() - info.since > time.as_micros() as i64
}

/// Tells one configuration from another.
pub fn settings_mark() -> String {
    let mut hasher = DefaultHasher::new();
    format!("{:?}", guc::gpu_settings()).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

fn ended(known: Option<(ServiceInfo, bool)>) -> Unavailable {
    unavailable(match known {
        Some((info, _)) if info.state == ServiceState::Absent => info.reason,
        Some((
            ServiceInfo {
                state: ServiceState::Ready | ServiceState::Starting | ServiceState::Restarting,
                ..
            },
            _,
        )) => "the GPU service ended without a word".into(),
        Some((info, _)) if !info.reason.is_empty() => info.reason,
        _ => "the GPU service is not running".into(),
    })
}

fn unavailable(reason: String) -> Unavailable {
    Unavailable { reason, hint: STATUS_HINT }
}

fn no_room() -> Unavailable {
    Unavailable {
        reason: "the server has no room for another background worker".into(),
        hint: "Raise max_worker_processes, or add pg_strata to shared_preload_libraries.",
    }
}
