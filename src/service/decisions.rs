//! The reasons why exports use a GPU or do not: a line for each, for `gpu_status()` and, on request, the server's log.
//!
//! A line goes into the pool's ring, which all sessions see, or, without a pool, into a short list of the session.

use std::cell::RefCell;
use std::collections::VecDeque;

use super::client;
use crate::pg::{error, guc, session};
use crate::slot::monitoring::LogLine;
use crate::slot::pool::Pool;
use crate::slot::service_file::ServiceState;

const REMEMBERED: usize = 64;

thread_local! {
    /// Main thread only.
    static SESSION: RefCell<VecDeque<LogLine>> = const { RefCell::new(VecDeque::new()) };
}

pub fn note(message: String) {
    if guc::log_gpu_decisions() {
        error::log(&format!("pg_strata: {message}"));
    }
    let source = format!("backend {}", std::process::id());
    if let Some(pool) = pool() {
        return pool.log(&source, &message);
    }
    SESSION.with_borrow_mut(|lines| {
        if lines.len() == REMEMBERED {
            lines.pop_front();
        }
        lines.push_back(LogLine { micros: session::now_micros(), source, message });
    });
}

/// Returns the service's pool, if there is a service that works.
pub fn pool() -> Option<Pool> {
    let (info, alive) = client::look().ok().flatten()?;
    let ready = alive && info.state == ServiceState::Ready;
    ready.then(|| Pool::attach(info.pid, info.fd, info.generation).ok()).flatten()
}

/// Returns the session's lines, oldest first.
pub fn of_session() -> Vec<LogLine> {
    SESSION.with_borrow(|lines| lines.iter().cloned().collect())
}
