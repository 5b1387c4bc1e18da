//! The service's process: a background worker without a database, with one thread.

use std::path::Path;
use std::time::{Duration, Instant};

use super::child::{self, Child};
use super::{client, engine};
use crate::pg::bgworker;
use crate::pg::error::log;
use crate::pg::guc::{self, Gpu, GpuSettings};
use crate::pg::session::now_micros;
use crate::slot::pool::{Config, Pool};
use crate::slot::service_file::{self, ServiceFile, ServiceInfo, ServiceState};
use crate::slot::watch::Watch;

/// The interval at which slots of dead exporters are freed.
const REAP_EVERY: Duration = Duration::from_secs(1);
/// The interval at which a starting engine is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The number of engines that may die one after the other before the service gives up.
const TRIES: u32 = 5;
/// An engine that ran for this long does not count among them.
const STEADY: Duration = Duration::from_secs(60);
/// The time that an engine may take to start.
const START_TIME: Duration = Duration::from_secs(300);
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// What to do when serving under one configuration ends.
enum Next {
    /// Begin again with the current settings.
    Again,
    Stop,
}

/// The way in which an engine ended.
enum End {
    Asked(Next),
    /// There is no device.
    Absent(String),
    Died(String),
    /// It does not answer.
    Silent(String),
}

/// Runs the service. PostgreSQL starts it again after an error, but not after a normal end.
pub fn run() {
    match take_service_file() {
        Some(file) => Service { file, info: ServiceInfo::default(), was_ready: false }.run(),
        None => log("pg_strata: the GPU service runs already"),
    }
}

fn take_service_file() -> Option<ServiceFile> {
    match ServiceFile::take(Path::new(service_file::PATH)) {
        Ok(file) => file,
        Err(cause) => {
            log(&format!("pg_strata: could not open \"{}\": {cause}", service_file::PATH));
            None
        }
    }
}

struct Service {
    file: ServiceFile,
    info: ServiceInfo,
    /// Whether an engine was ready under the current settings.
    was_ready: bool,
}

impl Service {
    fn run(mut self) {
        while let Next::Again = self.serve() {}
        if !matches!(self.info.state, ServiceState::Absent) {
            self.say(ServiceState::Stopped, "the GPU service was stopped");
        }
    }

    fn say(&mut self, state: ServiceState, reason: &str) {
        if (self.info.state, self.info.reason.as_str()) != (state, reason) && !reason.is_empty() {
            log(&format!("pg_strata: GPU service {}: {reason}", state.name()));
        }
        if self.info.since == 0 || self.info.state != state {
            self.info.since = now_micros();
        }
        (self.info.state, self.info.reason) = (state, reason.to_owned());
        if let Err(cause) = self.file.write(&self.info) {
            log(&format!("pg_strata: could not write \"{}\": {cause}", service_file::PATH));
        }
    }

    fn absent(&mut self, reason: &str) -> Next {
        self.say(ServiceState::Absent, reason);
        Next::Stop
    }

    /// Serves under one configuration.
    fn serve(&mut self) -> Next {
        let settings = guc::gpu_settings();
        self.info = ServiceInfo {
            pid: std::process::id() as i32,
            server_start: bgworker::server_start(),
            settings: client::settings_mark(),
            ..ServiceInfo::default()
        };
        self.was_ready = false;
        if guc::gpu() == Gpu::Off {
            return self.absent("the parameter pg_strata.gpu is off");
        }
        self.say(ServiceState::Starting, "");
        match self.probe(&settings) {
            End::Absent(reason) => return self.absent(&reason),
            End::Died(reason) | End::Silent(reason) => {
                return self.absent(&format!("the NVIDIA driver's start failed: {reason}"));
            }
            End::Asked(next) if bgworker::stop_requested() => return next,
            End::Asked(_) => {}
        }
        let pool = match create_pool(&settings) {
            Ok(pool) => pool,
            Err(reason) => return self.wait_failed(&reason),
        };
        self.info.fd = pool.descriptor();
        self.keep_running(&pool, &settings)
    }

    /// Looks for a driver in a process of its own, before gigabytes are allocated.
    fn probe(&mut self, settings: &GpuSettings) -> End {
        if !settings.uses_gpus() {
            return End::Asked(Next::Again);
        }
        let mut child = match Child::fork(c"probe", &[], engine::probe) {
            Ok(child) => child,
            Err(cause) => return End::Died(cause.to_string()),
        };
        let mut said = Vec::new();
        loop {
            bgworker::wait(Some(child.descriptor()), REAP_EVERY);
            let ended = child.ended();
            said.extend(child.lines());
            match ended {
                Some(0) => return End::Asked(Next::Again),
                Some(status) if libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == engine::ABSENT => {
                    return End::Absent(said.join("; "));
                }
                Some(status) => return End::Died(child::describe(status)),
                None if bgworker::stop_requested() => return End::Asked(Next::Stop),
                // The child's end of the pipe closes a moment before the child can be waited for.
                None if child.has_closed() => std::thread::sleep(Duration::from_millis(1)),
                None => {}
            }
        }
    }

    /// Starts engines one after the other, until the service is stopped or reloaded.
    fn keep_running(&mut self, pool: &Pool, settings: &GpuSettings) -> Next {
        let mut tries = 0;
        loop {
            let began = Instant::now();
            let end = self.run_engine(pool, settings);
            let limit = guc::gpu_timeout().unwrap_or_default();
            tries = if began.elapsed() > STEADY + limit { 1 } else { tries + 1 };
            match end {
                End::Asked(next) => return next,
                End::Absent(reason) => return self.absent(&reason),
                End::Died(reason) | End::Silent(reason) if tries > TRIES => {
                    return self.wait_failed(&format!("the engine died {TRIES} times: {reason}"));
                }
                End::Died(reason) => {
                    self.say(ServiceState::Restarting, &format!("the engine died: {reason}"))
                }
                // The state was set before, and stays until the next engine answers.
                End::Silent(_) => {}
            }
            let until = Instant::now() + FIRST_PAUSE * 2u32.pow(tries - 1);
            while let Some(left) = until.checked_duration_since(Instant::now()) {
                bgworker::wait(None, left);
                bgworker::reload_if_requested();
                if bgworker::stop_requested() {
                    return Next::Stop;
                }
            }
            if *settings != guc::gpu_settings() || guc::gpu() == Gpu::Off {
                return Next::Again;
            }
        }
    }

    /// Waits for the configuration to change, without which nothing can be done.
    fn wait_failed(&mut self, reason: &str) -> Next {
        self.say(ServiceState::Failed, &format!("{reason} (a reload of the configuration tries again)"));
        loop {
            // Before the wait: the latch was reset for signals that came while the last engine ended.
            if bgworker::stop_requested() {
                return Next::Stop;
            }
            if bgworker::reload_if_requested() {
                return Next::Again;
            }
            bgworker::wait(None, Duration::from_secs(3600));
        }
    }

    /// Runs one engine to its end.
    fn run_engine(&mut self, pool: &Pool, settings: &GpuSettings) -> End {
        let mut engine = match engine::fork(pool, settings) {
            Ok(engine) => engine,
            Err(cause) => return End::Died(format!("could not fork: {cause}")),
        };
        self.info.engine = engine.pid;
        self.info.generation = pool.generation();
        let end = self.watch(&mut engine, pool, settings);
        if let End::Silent(reason) = &end {
            self.give_up(&mut engine, pool, reason);
        }
        engine.stop();
        if engine.ended().is_none() {
            // Its devices may still write to its slots, so the next service makes a pool of its own.
            return End::Asked(Next::Stop);
        }
        // Exporters that wait learn from the new generation that the engine has gone.
        pool.new_generation();
        pool.fail_running();
        self.info.engine = 0;
        end
    }

    /// Kills an engine that does not answer, and waits for its end, which may take long in the driver.
    fn give_up(&mut self, engine: &mut Child, pool: &Pool, reason: &str) {
        self.say(ServiceState::Silent, reason);
        pool.log("service", reason);
        pool.give_up(reason);
        engine.kill();
        while engine.ended().is_none() && !bgworker::stop_requested() {
            bgworker::wait(None, LOOK_EVERY);
        }
    }

    fn watch(&mut self, engine: &mut Child, pool: &Pool, settings: &GpuSettings) -> End {
        let (began, mut reaped) = (Instant::now(), Instant::now());
        let mut owed = Watch::default();
        let mut changed = false;
        let mut last_words = String::new();
        loop {
            let starting = self.info.state != ServiceState::Ready;
            bgworker::wait(Some(engine.descriptor()), if starting { LOOK_EVERY } else { REAP_EVERY });
            let ended = engine.ended();
            if ended.is_none() && engine.has_closed() {
                // The child's end of the pipe closes a moment before the child can be waited for.
                std::thread::sleep(Duration::from_millis(1));
            }
            for line in engine.lines() {
                log(&format!("pg_strata: {line}"));
                last_words = line;
            }
            if bgworker::stop_requested() {
                return End::Asked(Next::Stop);
            }
            if let Some(status) = ended {
                let absent = libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == engine::ABSENT;
                return match absent && !self.was_ready {
                    true => End::Absent(last_words),
                    false if last_words.is_empty() => End::Died(child::describe(status)),
                    false => End::Died(format!("{} ({last_words})", child::describe(status))),
                };
            }
            if starting && pool.is_ready() {
                self.was_ready = true;
                self.say(ServiceState::Ready, "");
            } else if starting && began.elapsed() > START_TIME {
                return silent(engine, "start", START_TIME);
            }
            if bgworker::reload_if_requested() {
                changed = *settings != guc::gpu_settings() || guc::gpu() == Gpu::Off;
            }
            if changed && pool.is_idle() {
                return End::Asked(Next::Again);
            }
            if reaped.elapsed() >= REAP_EVERY {
                pool.reap_dead_owners(bgworker::backend_exists);
                reaped = Instant::now();
                let owed = owed.look(pool);
                if let Some(limit) = guc::gpu_timeout().filter(|limit| owed >= *limit) {
                    return silent(engine, "answer", limit);
                }
            }
        }
    }
}

fn silent(engine: &Child, what: &str, limit: Duration) -> End {
    End::Silent(format!(
        "the GPU engine, process {}, did not {what} within {} seconds",
        engine.pid,
        limit.as_secs()
    ))
}

/// Makes a pool with as many slots as there is memory for.
fn create_pool(settings: &GpuSettings) -> Result<Pool, String> {
    let input_bytes = settings.slot_bytes;
    // Columns take less than rows, except for many columns of NULLs.
    let output_bytes = input_bytes + input_bytes / 2;
    let slots = (settings.pool_bytes / (input_bytes + output_bytes)).max(1);
    let pool = Pool::create_at_most(Config { slots, input_bytes, output_bytes })
        .map_err(|cause| format!("no memory for the GPU pool: {cause}"))?;
    let made = pool.slots().0;
    if made < slots {
        log(&format!(
            "pg_strata: the GPU pool has {made} slots in place of {slots}: there is too little memory for pg_strata.gpu_pool_size"
        ));
    }
    Ok(pool)
}
