//! Configuration parameters.

#[cfg(any(test, feature = "testing"))]
mod testing;

use std::borrow::Cow;
use std::ffi::{CStr, CString};
use std::sync::OnceLock;
use std::time::Duration;

use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting, PostgresGucEnum};

use super::encoding;

/// `pg_strata.gpu`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PostgresGucEnum)]
pub enum Gpu {
    #[name = c"auto"]
    Auto,
    #[name = c"off"]
    Off,
}

/// `pg_strata.columnar_sql` and `pg_strata.gpu_sql`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PostgresGucEnum)]
pub enum SqlMode {
    #[name = c"off"]
    Off,
    #[name = c"auto"]
    Auto,
    #[name = c"force"]
    Force,
}

/// `pg_strata.gpu_selection_policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PostgresGucEnum)]
pub enum Policy {
    #[name = c"optimal"]
    Optimal,
    #[name = c"numa"]
    Numa,
    #[name = c"system"]
    System,
}

type Text = GucSetting<Option<CString>>;

static EXPORT_DIRECTORIES: Text = Text::new(Some(c""));
static COLUMNAR_SQL: GucSetting<SqlMode> = GucSetting::<SqlMode>::new(SqlMode::Auto);
static GPU_SQL: GucSetting<SqlMode> = GucSetting::<SqlMode>::new(SqlMode::Off);
static GPU: GucSetting<Gpu> = GucSetting::<Gpu>::new(Gpu::Auto);
static POOL_MB: GucSetting<i32> = GucSetting::<i32>::new(1024);
static SLOT_KB: GucSetting<i32> = GucSetting::<i32>::new(8192);
static MEMORY_LIMIT_MB: GucSetting<i32> = GucSetting::<i32>::new(0);
static DEVICES: Text = Text::new(Some(c""));
static POLICY: GucSetting<Policy> = GucSetting::<Policy>::new(Policy::Optimal);
static NVRTC_LIBRARY: Text = Text::new(Some(c""));
static NVCOMP_LIBRARY: Text = Text::new(Some(c""));
static LOG_DECISIONS: GucSetting<bool> = GucSetting::<bool>::new(false);
static TIMEOUT_SECONDS: GucSetting<i32> = GucSetting::<i32>::new(30);
static MIN_TABLE_KB: GucSetting<i32> = GucSetting::<i32>::new(512 << 10);
static ARROW_FDW_PRUNING: GucSetting<bool> = GucSetting::<bool>::new(true);
static ARROW_FDW_PUSHDOWN: GucSetting<bool> = GucSetting::<bool>::new(true);
static ARROW_FDW_CACHE_KB: GucSetting<i32> = GucSetting::<i32>::new(64 << 10);

const DIRECTORIES: &CStr = c"pg_strata.export_directories";
/// The settings that only superusers may set.
const GUARDED: [&CStr; 3] = [DIRECTORIES, c"pg_strata.gpu", c"pg_strata.log_gpu_decisions"];
static HIDDEN: OnceLock<&str> = OnceLock::new();

/// Registers all settings. Called from `_PG_init`, which a parallel worker runs before it has a transaction, so catalogs
/// cannot be used.
pub fn register() {
    register_guarded(|| {
        register_directories();
        register_choices();
    });
    register_columnar();
    register_foreign();
    register_service();
    #[cfg(any(test, feature = "testing"))]
    testing::register();
    // SAFETY: runs on the main thread during _PG_init, with a static C string.
    unsafe { pg_sys::MarkGUCPrefixReserved(c"pg_strata".as_ptr()) };
}

fn register_directories() {
    GucRegistry::define_string_guc(
        DIRECTORIES,
        c"Directories that exports may write to, separated by commas.",
        c"Empty means any directory, for members of pg_write_server_files. It binds superusers too. Set for a role by ALTER ROLE, it permits the role to export there.",
        &EXPORT_DIRECTORIES,
        GucContext::Suset,
        GucFlags::default(),
    );
}

/// Registers the settings by which an export decides.
fn register_choices() {
    GucRegistry::define_enum_guc(
        c"pg_strata.gpu",
        c"Whether exports may use GPUs: auto or off.",
        c"With auto, an export uses a GPU where there is one and the table is worth it; off keeps everything on the CPU and starts no GPU service.",
        &GPU,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"pg_strata.gpu_min_table_size",
        c"Size of the smallest table that device => 'auto' takes to a GPU.",
        c"",
        &MIN_TABLE_KB,
        0,
        i32::MAX,
        GucContext::Userset,
        GucFlags::UNIT_KB,
    );
    GucRegistry::define_bool_guc(
        c"pg_strata.log_gpu_decisions",
        c"Logs, for every export, why a GPU is or is not used.",
        c"",
        &LOG_DECISIONS,
        GucContext::Suset,
        GucFlags::default(),
    );
}

/// Registers the settings of SQL on columns.
fn register_columnar() {
    GucRegistry::define_enum_guc(
        c"pg_strata.columnar_sql",
        c"Whether aggregations of tables may be computed on columns: off, auto or force.",
        c"With auto, the planner chooses by cost; force takes such a plan wherever there is one. The answers are the same.",
        &COLUMNAR_SQL,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_enum_guc(
        c"pg_strata.gpu_sql",
        c"Whether a GPU may compute aggregations on columns: off, auto or force.",
        c"With auto, it computes those of tables of pg_strata.gpu_min_table_size or more, while the GPU service runs; force starts the service, and takes tables of any size. The answers are the same.",
        &GPU_SQL,
        GucContext::Userset,
        GucFlags::default(),
    );
}

/// Registers the settings of foreign tables.
fn register_foreign() {
    GucRegistry::define_bool_guc(
        c"pg_strata.arrow_fdw_pruning",
        c"Leaves out row groups, record batches and files that a query's conditions exclude.",
        c"Off, foreign tables of pg_strata are read as a whole; the answers are the same.",
        &ARROW_FDW_PRUNING,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"pg_strata.arrow_fdw_pushdown",
        c"Evaluates conditions of foreign scans on columns, before rows are formed.",
        c"Off, the executor evaluates them row by row; the answers are the same.",
        &ARROW_FDW_PUSHDOWN,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"pg_strata.arrow_fdw_metadata_cache_size",
        c"Memory in which each session keeps the metadata of files that it has read.",
        c"",
        &ARROW_FDW_CACHE_KB,
        0,
        i32::MAX,
        GucContext::Userset,
        GucFlags::UNIT_KB,
    );
}

/// Registers the settings that the service reads when it starts, and again on a reload.
fn register_service() {
    const MORE: &CStr = c"The GPU service applies a new value after a reload, as soon as no export uses it.";
    let int = |name, short, long, setting, min, flags| {
        GucRegistry::define_int_guc(name, short, long, setting, min, i32::MAX, GucContext::Sighup, flags);
    };
    int(
        c"pg_strata.gpu_pool_size",
        c"Host memory that exports and GPUs share.",
        MORE,
        &POOL_MB,
        1,
        GucFlags::UNIT_MB,
    );
    int(
        c"pg_strata.gpu_slot_size",
        c"Bytes of pages or rows that go to a GPU at once.",
        MORE,
        &SLOT_KB,
        64,
        GucFlags::UNIT_KB,
    );
    int(
        c"pg_strata.gpu_memory_limit",
        c"Device memory that each GPU may take; 0 for what its slots in flight need and 8 GB for row groups, up to half of what is free.",
        MORE,
        &MEMORY_LIMIT_MB,
        0,
        GucFlags::UNIT_MB,
    );
    int(
        c"pg_strata.gpu_timeout",
        c"Time after which GPUs that have not answered are given up; 0 for never.",
        c"What they were to do is done on the CPU, and the GPU service replaces its engine.",
        &TIMEOUT_SECONDS,
        0,
        GucFlags::UNIT_S,
    );
    let text = |name, short, long, setting| {
        GucRegistry::define_string_guc(name, short, long, setting, GucContext::Sighup, GucFlags::default());
    };
    text(
        c"pg_strata.gpu_devices",
        c"Ordinals of the GPUs to use, separated by commas; empty for all.",
        MORE,
        &DEVICES,
    );
    text(
        c"pg_strata.nvrtc_library",
        c"Path of libnvrtc, which compiles the kernels; empty to look where the system looks.",
        MORE,
        &NVRTC_LIBRARY,
    );
    text(
        c"pg_strata.nvcomp_library",
        c"Path or name of libnvcomp.so.6, which compresses zstd pages on the GPUs; empty to compress them on the CPU.",
        MORE,
        &NVCOMP_LIBRARY,
    );
    GucRegistry::define_enum_guc(
        c"pg_strata.gpu_selection_policy",
        c"Which GPUs a row group may go to: optimal, numa or system.",
        c"optimal: those nearest to the pool's memory and with the fastest link; numa: those of the pool's NUMA node; system: all.",
        &POLICY,
        GucContext::Sighup,
        GucFlags::default(),
    );
}

/// Returns the directories that exports may write to; `None` for any. A value that names none allows none.
pub fn export_directories() -> Option<Vec<String>> {
    let is_set = EXPORT_DIRECTORIES.get().is_some_and(|value| !value.is_empty());
    is_set.then(|| list(&EXPORT_DIRECTORIES))
}

/// Whether the directories that exports may write to come from ALTER ROLE for the role that logged in, which permits it
/// to write there. Those set for a database, for all roles or in the session only confine exports.
pub fn has_directories_of_role() -> bool {
    let of_role = [pg_sys::GucSource::PGC_S_USER, pg_sys::GucSource::PGC_S_DATABASE_USER];
    export_directories().is_some() && source(DIRECTORIES).is_some_and(|source| of_role.contains(&source))
}

/// Returns a setting for superusers whose configured value this session does not know, if there is one.
pub fn hidden_setting() -> Option<&'static str> {
    HIDDEN.get().copied()
}

/// Registers settings that only superusers may set. A value that a client sets before the library is loaded replaces the
/// configured one. It is then refused, and the default is left, which may allow more than was configured.
fn register_guarded(register: impl FnOnce()) {
    let sources = || GUARDED.map(source);
    let before = sources();
    register();
    for (name, (before, now)) in GUARDED.iter().zip(before.into_iter().zip(sources())) {
        if before > now {
            let _ = HIDDEN.set(name.to_str().unwrap_or_default());
        }
    }
}

/// Returns the source of a setting's value, registered or not. Sources are numbered in the order in which they override each
/// other (GucSource in guc.h).
fn source(name: &CStr) -> Option<pg_sys::GucSource::Type> {
    // SAFETY: settings are registered on the main thread; the record lives as long as the process.
    unsafe {
        let record = find(name);
        (!record.is_null()).then(|| (*record).source)
    }
}

/// Finds a setting's record; NULL if there is none.
///
/// # Safety
/// Called on the main thread.
#[cfg(not(feature = "pg15"))]
unsafe fn find(name: &CStr) -> *mut pg_sys::config_generic {
    // SAFETY: a C string; nothing is created, and nothing raised.
    unsafe { pg_sys::find_option(name.as_ptr(), false, true, 0) }
}

/// Finds a setting's record; NULL if there is none.
///
/// # Safety
/// Called on the main thread.
#[cfg(feature = "pg15")]
unsafe fn find(name: &CStr) -> *mut pg_sys::config_generic {
    // SAFETY: so many records, whose names are C strings.
    unsafe {
        let (records, count) = (pg_sys::get_guc_variables(), pg_sys::GetNumConfigOptions());
        let same = |record: &*mut pg_sys::config_generic| {
            CStr::from_ptr((**record).name).to_bytes().eq_ignore_ascii_case(name.to_bytes())
        };
        (0..count as usize).map(|index| *records.add(index)).find(same).unwrap_or(std::ptr::null_mut())
    }
}

pub fn columnar_sql() -> SqlMode {
    COLUMNAR_SQL.get()
}

pub fn gpu_sql() -> SqlMode {
    GPU_SQL.get()
}

pub fn arrow_fdw_pruning() -> bool {
    ARROW_FDW_PRUNING.get()
}

pub fn arrow_fdw_pushdown() -> bool {
    ARROW_FDW_PUSHDOWN.get()
}

/// Bytes.
pub fn arrow_fdw_metadata_cache() -> usize {
    (ARROW_FDW_CACHE_KB.get().max(0) as usize) << 10
}

pub fn gpu() -> Gpu {
    GPU.get()
}

pub fn log_gpu_decisions() -> bool {
    LOG_DECISIONS.get()
}

/// Bytes.
pub fn gpu_min_table_size() -> u64 {
    (MIN_TABLE_KB.get().max(0) as u64) << 10
}

/// Returns the time that a GPU may take for a slot; `None` for no limit.
pub fn gpu_timeout() -> Option<Duration> {
    unless_0(TIMEOUT_SECONDS.get()).map(Duration::from_secs)
}

/// The settings of the GPU service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuSettings {
    pub pool_bytes: usize,
    pub slot_bytes: usize,
    /// Bytes of each device's memory; `None` for what it needs.
    pub memory_limit: Option<u64>,
    pub devices: Vec<String>,
    pub policy: Policy,
    pub nvrtc_library: Option<String>,
    pub nvcomp_library: Option<String>,
    #[cfg(any(test, feature = "testing"))]
    pub testing: testing::Settings,
}

impl GpuSettings {
    /// Whether the devices are GPUs, which need a driver.
    pub fn uses_gpus(&self) -> bool {
        #[cfg(any(test, feature = "testing"))]
        if self.testing.fake_devices > 0 {
            return false;
        }
        true
    }
}

pub fn gpu_settings() -> GpuSettings {
    GpuSettings {
        pool_bytes: (POOL_MB.get().max(0) as usize) << 20,
        slot_bytes: (SLOT_KB.get().max(0) as usize) << 10,
        memory_limit: unless_0(MEMORY_LIMIT_MB.get()).map(|megabytes| megabytes << 20),
        devices: list(&DEVICES),
        policy: POLICY.get(),
        nvrtc_library: list(&NVRTC_LIBRARY).into_iter().next(),
        nvcomp_library: list(&NVCOMP_LIBRARY).into_iter().next(),
        #[cfg(any(test, feature = "testing"))]
        testing: testing::settings(),
    }
}

fn unless_0(value: i32) -> Option<u64> {
    u64::try_from(value).ok().filter(|value| *value > 0)
}

fn list(setting: &Text) -> Vec<String> {
    let setting = setting.get().unwrap_or_default();
    // SET gives the database's encoding, a configuration file most likely UTF-8.
    let bytes = setting.to_bytes();
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => encoding::to_utf8(bytes).unwrap_or_report(),
    };
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}
