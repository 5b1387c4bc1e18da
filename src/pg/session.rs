//! Session settings that decide how values print, pinned while an export runs.

use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pgrx::pg_sys;

/// Returns PGDATA with symbolic links resolved.
pub fn data_directory() -> PathBuf {
    // SAFETY: a C string, set when the server starts.
    let path = unsafe { CStr::from_ptr(pg_sys::DataDir) };
    let path = Path::new(OsStr::from_bytes(path.to_bytes()));
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// Pins output settings until the guard is dropped; an aborted transaction restores them by itself. Workers
/// inherit them because they are set before parallel mode begins.
pub struct PinnedSettings {
    nest_level: i32,
}

const PINNED: [(&CStr, &CStr); 5] = [
    (c"DateStyle", c"ISO, YMD"),
    (c"IntervalStyle", c"iso_8601"),
    (c"TimeZone", c"UTC"),
    (c"extra_float_digits", c"1"),
    (c"bytea_output", c"hex"),
];

impl PinnedSettings {
    pub fn pin() -> PinnedSettings {
        // SAFETY: called inside a transaction and outside parallel mode, with static C strings.
        unsafe {
            let nest_level = pg_sys::NewGUCNestLevel();
            for (name, value) in PINNED {
                pg_sys::set_config_option(
                    name.as_ptr(),
                    value.as_ptr(),
                    pg_sys::GucContext::PGC_USERSET,
                    pg_sys::GucSource::PGC_S_SESSION,
                    pg_sys::GucAction::GUC_ACTION_SAVE,
                    true,
                    0,
                    false,
                );
            }
            PinnedSettings { nest_level }
        }
    }
}

impl Drop for PinnedSettings {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: the nest level is the one that `pin` opened, in the same transaction.
            unsafe { pg_sys::AtEOXact_GUC(true, self.nest_level) }
        }
    }
}

/// Sets the client's encoding to UTF-8 until the guard is dropped, since send functions convert text to it and
/// nested values must come out as the file needs them. The client itself sees no change.
pub struct Utf8Client {
    previous: i32,
}

impl Utf8Client {
    pub fn enter() -> Utf8Client {
        // SAFETY: inside a transaction: PrepareClientEncoding may look conversion procedures up.
        unsafe {
            let previous = pg_sys::pg_get_client_encoding();
            let utf8 = pg_sys::pg_enc::PG_UTF8 as i32;
            if previous != utf8 && pg_sys::PrepareClientEncoding(utf8) >= 0 {
                pg_sys::SetClientEncoding(utf8);
            }
            Utf8Client { previous }
        }
    }

    /// Sets the database's encoding instead, for COPY's own bytes.
    pub fn enter_database_encoding() -> Utf8Client {
        // SAFETY: inside a transaction; no conversion is needed between an encoding and itself.
        unsafe {
            let previous = pg_sys::pg_get_client_encoding();
            pg_sys::SetClientEncoding(pg_sys::GetDatabaseEncoding());
            Utf8Client { previous }
        }
    }
}

impl Drop for Utf8Client {
    fn drop(&mut self) {
        // SAFETY: restores an encoding that was in force, whose conversions are therefore prepared; it only
        // assigns static variables and cannot raise.
        unsafe {
            pg_sys::SetClientEncoding(self.previous);
        }
    }
}

/// Sleeps until the time is over, or a cancel or terminate comes.
pub fn pause(time: Duration) {
    super::bgworker::wait(None, time);
}

/// Returns the time in microseconds since 1970.
pub fn now_micros() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_micros() as i64)
}

/// Returns random bits, which nobody can guess and no two processes share.
pub fn random() -> u64 {
    let mut bits = [0; 8];
    // SAFETY: the length is that of the array. If the system has no random bits, those of the time must do.
    match unsafe { pg_sys::pg_strong_random(bits.as_mut_ptr().cast(), bits.len()) } {
        true => u64::from_ne_bytes(bits),
        false => now_micros() as u64 ^ u64::from(std::process::id()) << 40,
    }
}
