//! Configuration parameters.

use std::borrow::Cow;
use std::ffi::CString;

use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};

use super::encoding;

static EXPORT_DIRECTORIES: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));

/// Called from `_PG_init`, which a parallel worker runs before it has a transaction: no catalogs here.
pub fn register() {
    GucRegistry::define_string_guc(
        c"pg_strata.export_directories",
        c"Directories that exports may write to, separated by commas.",
        c"Empty means any directory, for members of pg_write_server_files. It binds superusers too.",
        &EXPORT_DIRECTORIES,
        GucContext::Suset,
        GucFlags::default(),
    );
    // SAFETY: runs on the main thread during _PG_init, with a static C string.
    unsafe { pgrx::pg_sys::MarkGUCPrefixReserved(c"pg_strata".as_ptr()) };
}

/// The directories an export is confined to; empty means no limit.
pub fn export_directories() -> Vec<String> {
    let setting = EXPORT_DIRECTORIES.get().unwrap_or_default();
    // SET gives the database's encoding, a configuration file most likely UTF-8.
    let bytes = setting.to_bytes();
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => encoding::to_utf8(bytes).unwrap_or_report(),
    };
    text.split(',').map(str::trim).filter(|dir| !dir.is_empty()).map(str::to_owned).collect()
}
