//! Why exports use a GPU or do not: one line each, for `gpu_status()`, and for the server's log on request.
//!
//! A line goes into the pool's ring, which all sessions see, or where there is no pool into a short memory of
//! the session's own.

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

/// The service's, where there is one that works.
pub fn pool() -> Option<Pool> {
    let (info, alive) = client::look().ok().flatten()?;
    let ready = alive && info.state == ServiceState::Ready;
    ready.then(|| Pool::attach(info.pid, info.fd, info.generation).ok()).flatten()
}

/// The session's own lines, oldest first.
pub fn of_session() -> Vec<LogLine> {
    SESSION.with_borrow(|lines| lines.iter().cloned().collect())
}
