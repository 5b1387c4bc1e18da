//! The GPU service as a background worker of PostgreSQL: registration, its latch loop, and how a process that
//! it forks leaves the server.

use std::ffi::{CStr, c_char, c_int};
use std::sync::OnceLock;
use std::time::Duration;

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::wait_event::Event;

/// `bgw_name` and `bgw_type`: what pg_stat_activity and `ps` show.
pub const NAME: &CStr = c"pg_strata gpu service";
const MAIN: &CStr = c"pg_strata_gpu_service_main";
/// Delay before a preloaded service that ended with an error is started again.
const RESTART_SECONDS: i32 = 5;

mod raw {
    use super::c_int;

    unsafe extern "C-unwind" {
        // storage/pg_shmem.h, which pgrx does not bind.
        pub fn PGSharedMemoryDetach();
        // postmaster/interrupt.h: the functions themselves, to be called by the kernel.
        pub fn SignalHandlerForShutdownRequest(signal: c_int);
        pub fn SignalHandlerForConfigReload(signal: c_int);
    }
}

/// What the service's process runs.
static RUN: OnceLock<fn()> = OnceLock::new();

/// Registers the service to start with the server if the library is preloaded. Called from `_PG_init`, which the
/// service's process runs too: it will call `run`.
pub fn register(run: fn()) {
    let _ = RUN.set(run);
    // SAFETY: reads a process-wide setting; the worker is copied by the callee.
    unsafe {
        if pg_sys::process_shared_preload_libraries_in_progress {
            pg_sys::RegisterBackgroundWorker(&mut description(RESTART_SECONDS));
        }
    }
}

fn description(restart: i32) -> pg_sys::BackgroundWorker {
    let mut worker = pg_sys::BackgroundWorker {
        bgw_flags: pg_sys::BGWORKER_SHMEM_ACCESS as i32,
        // On a standby too.
        bgw_start_time: pg_sys::BgWorkerStartTime::BgWorkerStart_ConsistentState,
        bgw_restart_time: restart,
        ..Default::default()
    };
    set(&mut worker.bgw_name, NAME);
    set(&mut worker.bgw_type, NAME);
    set(&mut worker.bgw_library_name, c"pg_strata");
    set(&mut worker.bgw_function_name, MAIN);
    worker
}

fn set(field: &mut [c_char], text: &CStr) {
    for (target, byte) in field.iter_mut().zip(text.to_bytes_with_nul()) {
        *target = *byte as c_char;
    }
}

/// A service that this session started.
pub struct Started(*mut pg_sys::BackgroundWorkerHandle);

/// Starts the service; `None` when the server has no room for another background worker.
pub fn start() -> Option<Started> {
    let mut worker = description(pg_sys::BGW_NEVER_RESTART);
    let mut handle = std::ptr::null_mut();
    // SAFETY: called in a backend; the worker is copied, and the handle is palloc'd.
    unsafe {
        worker.bgw_notify_pid = pg_sys::MyProcPid;
        pg_sys::RegisterDynamicBackgroundWorker(&mut worker, &mut handle).then_some(Started(handle))
    }
}

impl Started {
    pub fn has_ended(&self) -> bool {
        let mut pid = 0;
        // SAFETY: the handle lives in the query's memory context, as its caller does.
        let status = unsafe { pg_sys::GetBackgroundWorkerPid(self.0, &mut pid) };
        status == pg_sys::BgwHandleStatus::BGWH_STOPPED
            || status == pg_sys::BgwHandleStatus::BGWH_POSTMASTER_DIED
    }
}

/// Unblocks signals in the service; SIGTERM and SIGHUP only set flags.
pub fn begin() {
    handle(libc::SIGTERM, raw::SignalHandlerForShutdownRequest);
    handle(libc::SIGHUP, raw::SignalHandlerForConfigReload);
    // SAFETY: the handlers above replace those that must not run in Rust code.
    unsafe { pg_sys::BackgroundWorkerUnblockSignals() }
}

fn handle(signal: c_int, handler: unsafe extern "C-unwind" fn(c_int)) {
    // SAFETY: the handlers set a flag and a latch; zeros are an empty mask.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(signal, &action, std::ptr::null_mut());
    }
}

/// Waits for the latch, the descriptor or the time. Ends the process if the postmaster dies.
pub fn wait(descriptor: Option<c_int>, time: Duration) {
    let mut events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
    if descriptor.is_some() {
        events |= pg_sys::WL_SOCKET_READABLE;
    }
    // SAFETY: the process's own latch, on its main thread.
    unsafe {
        pg_sys::WaitLatchOrSocket(
            pg_sys::MyLatch,
            events as i32,
            descriptor.unwrap_or(-1),
            time.as_millis() as _,
            Event::GpuService.number(),
        );
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
    super::check_for_interrupts();
}

pub fn stop_requested() -> bool {
    // SAFETY: a flag that a signal handler of this process sets.
    unsafe { (&raw const pg_sys::ShutdownRequestPending).read_volatile() != 0 }
}

/// Reads the configuration files again if that was requested; returns whether it was.
pub fn reload_if_requested() -> bool {
    // SAFETY: a flag that a signal handler of this process sets; the file is read on the main thread, outside
    // the handler.
    unsafe {
        let flag = &raw mut pg_sys::ConfigReloadPending;
        if flag.read_volatile() == 0 {
            return false;
        }
        flag.write_volatile(0);
        pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP);
    }
    true
}

/// Returns whether a process of the server has this id.
pub fn backend_exists(pid: i32) -> bool {
    // SAFETY: looks into the process array, which any process with shared memory may read.
    unsafe { !pg_sys::BackendPidGetProc(pid).is_null() }
}

/// Returns the time at which the server was started: in a container its process has the same id each time.
pub fn server_start() -> i64 {
    // SAFETY: set once, before any process is forked.
    unsafe { pg_sys::PgStartTime }
}

/// Detaches a process that the service has forked from the server's shared memory, so that a fault cannot
/// damage the server. No function of PostgreSQL may be called afterwards.
#[allow(ffi_unwind_calls, reason = "it raises no errors")]
pub fn leave_server(title: &CStr) {
    // SAFETY: the process has one thread and its own copy of everything but the shared memory, which
    // nothing refers to once signals have their default actions.
    unsafe {
        pg_sys::set_ps_display(title.as_ptr());
        raw::PGSharedMemoryDetach();
    }
}

/// # Safety
/// Called by PostgreSQL in the service's process.
#[unsafe(no_mangle)]
#[pg_guard]
pub unsafe extern "C-unwind" fn pg_strata_gpu_service_main(_argument: pg_sys::Datum) {
    begin();
    if let Some(run) = RUN.get() {
        run();
    }
}
