//! The exporters' side of the service: finds it, or has it started.

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

/// The time that a service may take to start: with many devices the driver, pinning memory and compiling kernels take
/// seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// The time in which an engine that does not answer is replaced, unless it cannot be killed.
const REPLACED_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The reason why there is no service to use.
#[derive(Clone, Debug)]
pub struct Unavailable {
    pub reason: String,
    pub hint: &'static str,
}

/// The reason in a library without the feature `gpu`.
pub const NOT_BUILT: &str = "the library was built without support for GPUs";
const STATUS_HINT: &str = "SELECT * FROM gpu_status() and the server's log tell more.";

/// The effort to make for a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Use it if it is there.
    Look,
    /// Start one, unless it is known to be useless.
    Start,
    /// Start one.
    Insist,
}

/// Finds a service that is ready, or returns the reason why there is none.
pub fn find(effort: Effort) -> Result<ServiceInfo, Unavailable> {
    if cfg!(not(feature = "gpu")) {
        return Err(Unavailable {
            reason: NOT_BUILT.into(),
            hint: "Build pg_strata with the feature gpu, which is on by default.",
        });
    }
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
                // What was read may be older than the end, and the end may be due to another service.
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

/// Finds the service and maps its pool. A service that restarts between the two is found again.
pub fn attach(effort: Effort) -> Result<(ServiceInfo, Pool), Unavailable> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let info = find(effort)?;
        match Pool::attach(info.pid, info.fd, info.generation) {
            Ok(pool) => return Ok((info, pool)),
            // There may be a newer pool by now, but no more room for it.
            Err(cause) if to_blame(&cause).is_some() || Instant::now() > deadline => {
                return Err(unavailable(format!("the GPU service's memory could not be read: {cause}")));
            }
            Err(_) => pause(LOOK_EVERY),
        }
    }
}

/// Reads the service file, and tells whether the service lives.
pub fn look() -> Result<Option<(ServiceInfo, bool)>, Unavailable> {
    service_file::read(Path::new(service_file::PATH))
        .map_err(|cause| unavailable(format!("could not read \"{}\": {cause}", service_file::PATH)))
}

/// Whether the same server has tried with the same settings in vain.
fn is_hopeless(known: Option<&(ServiceInfo, bool)>) -> bool {
    known.is_some_and(|(info, _)| {
        info.state == ServiceState::Absent
            && info.server_start == bgworker::server_start()
            && info.settings == settings_mark()
    })
}

/// Whether the state has lasted for more than a time.
fn lasts(info: &ServiceInfo, time: Duration) -> bool {
    info.since > 0 && now_micros() - info.since > time.as_micros() as i64
}

/// Returns a mark that tells one configuration from another.
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
