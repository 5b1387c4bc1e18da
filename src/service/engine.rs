//! The engine's process, from the fork to its last line. It calls nothing of PostgreSQL.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use super::child::{Child, tell};
use crate::gpu::engine::{self, Exit};
use crate::gpu::schedule::Policy;
use crate::gpu::{Device, cuda};
use crate::pg::guc::{self, GpuSettings};
use crate::slot::pool::Pool;

/// Exit statuses. The last line has the reason.
pub const ABSENT: i32 = 3;
const LOST: i32 = 2;

/// The folder of compiled kernels in the data directory. Base backups leave it out.
const KERNELS: &str = "pg_dynshmem/pg_strata.kernels";
/// Slots in flight on each device: one is copied in, one decoded, one copied out, and one waits.
const DEPTH: usize = 4;
/// Memory of each device for row groups, unless the limit says otherwise: enough for about sixty row groups, one for each
/// process, and for encoding one.
const GROUP_MEMORY: u64 = 8 << 30;

/// Set by SIGTERM.
static STOP: AtomicBool = AtomicBool::new(false);

/// Looks for a driver and a device.
pub fn probe(out: File) -> i32 {
    match cuda::probe() {
        Ok(_) => 0,
        Err(reason) => {
            tell(&out, &reason);
            ABSENT
        }
    }
}

/// Forks an engine. It inherits the pool's mapping.
pub fn fork(pool: &Pool, settings: &GpuSettings) -> io::Result<Child> {
    Child::fork(c"engine", &[pool.descriptor()], |out| run(pool, settings, &out))
}

fn run(pool: &Pool, settings: &GpuSettings, out: &File) -> i32 {
    stop_on_sigterm();
    let devices = match open(pool, settings) {
        Ok(devices) => devices,
        Err(reason) => {
            tell(out, &reason);
            return ABSENT;
        }
    };
    let policy = match settings.policy {
        guc::Policy::Optimal => Policy::Optimal,
        guc::Policy::Numa => Policy::Numa,
        guc::Policy::System => Policy::System,
    };
    match engine::run(pool, devices, policy, &STOP, &|line| tell(out, line)) {
        Exit::Stopped => 0,
        Exit::Restart(reason) => {
            tell(out, &reason);
            LOST
        }
    }
}

fn open(pool: &Pool, settings: &GpuSettings) -> Result<Vec<Box<dyn Device>>, String> {
    #[cfg(any(test, feature = "testing"))]
    if !settings.uses_gpus() {
        return super::testing::fake_devices(settings);
    }
    let (start, bytes) = pool.memory();
    let config = cuda::Config {
        ordinals: ordinals(&settings.devices)?,
        pool: cuda::Pool { start, bytes },
        input_bytes: pool.input_bytes(),
        output_bytes: pool.output_bytes(),
        depth: DEPTH,
        memory_limit: settings.memory_limit.unwrap_or(0),
        group_memory: settings.memory_limit.unwrap_or(GROUP_MEMORY),
        nvrtc: settings.nvrtc_library.as_ref().map(PathBuf::from),
        nvcomp: settings.nvcomp_library.as_ref().map(PathBuf::from),
        cache: KERNELS.into(),
        #[cfg(any(test, feature = "testing"))]
        test: super::testing::options(settings),
    };
    // SAFETY: the pool's mapping lives as long as this process.
    unsafe { cuda::devices(&config) }
}

fn ordinals(names: &[String]) -> Result<Vec<u32>, String> {
    let ordinal = |name: &String| {
        name.parse().map_err(|_| format!("pg_strata.gpu_devices: \"{name}\" is not the ordinal of a GPU"))
    };
    names.iter().map(ordinal).collect()
}

fn stop_on_sigterm() {
    extern "C" fn stop(_signal: i32) {
        STOP.store(true, Ordering::Relaxed);
    }
    // SAFETY: the handler stores a flag.
    unsafe { libc::signal(libc::SIGTERM, stop as *const () as libc::sighandler_t) };
}
