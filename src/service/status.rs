//! The rows of `gpu_devices()` and `gpu_status()`.

use super::client::{self, Effort};
use super::decisions;
use crate::pg::error::{Code, Error, Result, error, notice};
use crate::pg::session::now_micros;
use crate::slot::monitoring::{DeviceRecord, LogLine as Line};
use crate::slot::pool::Pool;
use crate::slot::service_file::ServiceState;

/// Returns the devices and their state, after starting the service if need be. Without a service there are none, and a
/// notice says why.
pub fn devices() -> Result<(Vec<DeviceRecord>, &'static str)> {
    if let Ok(Some((info, true))) = client::look()
        && info.state == ServiceState::Silent
        && let Ok(pool) = Pool::attach(info.pid, info.fd, info.generation)
    {
        notice("GPUs do not answer", format!("{}.", info.reason));
        return Ok((pool.devices(), info.state.name()));
    }
    match client::attach(Effort::Insist) {
        Ok((info, pool)) => Ok((pool.devices(), info.state.name())),
        Err(unavailable) => {
            notice("no GPU can be used", format!("{}.", unavailable.reason));
            Ok((Vec::new(), ""))
        }
    }
}

fn unreadable(cause: String) -> Error {
    error(Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, "the GPU service's memory could not be read")
        .set_detail(cause)
        .set_hint("The service may have ended just now; try again.")
}

/// Returns the service's state, then the lines of the pool and of the session by time.
pub fn lines() -> Result<Vec<Line>> {
    let now = |message| Line { micros: now_micros(), source: "service".into(), message };
    let known = client::look().map_err(|unavailable| unreadable(unavailable.reason))?;
    let Some((info, alive)) = known else {
        let why = if cfg!(feature = "gpu") { "no export has asked for it yet" } else { client::NOT_BUILT };
        let mut lines = vec![now(format!("not running: {why}"))];
        lines.extend(decisions::of_session());
        return Ok(lines);
    };
    let pool = match alive && info.state == ServiceState::Ready {
        true => Pool::attach(info.pid, info.fd, info.generation).ok(),
        false => None,
    };
    let mut state = match alive {
        true => format!("{}, process {}", info.state.name(), info.pid),
        false => "not running".to_owned(),
    };
    if !info.reason.is_empty() {
        state.push_str(&format!(": {}", info.reason));
    }
    if let Some(pool) = &pool {
        let (slots, free) = pool.slots();
        state.push_str(&format!(
            ", engine {}, generation {}, {} devices, {slots} slots, {free} free",
            info.engine,
            info.generation,
            pool.devices().len()
        ));
    }
    let mut told = decisions::of_session();
    if let Some(pool) = &pool {
        told.extend(pool.log_lines());
    }
    told.sort_by_key(|line| line.micros);
    let micros = if alive && info.since > 0 { info.since } else { now_micros() };
    told.insert(0, Line { micros, ..now(state) });
    Ok(told)
}
