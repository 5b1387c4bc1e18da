//! Reports progress in `pg_stat_progress_copy`, which shows an export as a COPY TO a file.

use pgrx::pg_sys;
use pgrx::pg_sys::Oid;

pub struct Progress;

impl Progress {
    pub fn start(table: Oid, total_bytes: u64) -> Progress {
        // SAFETY: writes the backend's own status entry, on its main thread.
        unsafe {
            pg_sys::pgstat_progress_start_command(pg_sys::ProgressCommandType::PROGRESS_COMMAND_COPY, table);
            let values = [
                (pg_sys::PROGRESS_COPY_COMMAND, pg_sys::PROGRESS_COPY_COMMAND_TO),
                (pg_sys::PROGRESS_COPY_TYPE, pg_sys::PROGRESS_COPY_TYPE_FILE),
            ];
            for (index, value) in values {
                pg_sys::pgstat_progress_update_param(index as i32, value as i64);
            }
            pg_sys::pgstat_progress_update_param(
                pg_sys::PROGRESS_COPY_BYTES_TOTAL as i32,
                total_bytes as i64,
            );
        }
        Progress
    }

    /// Updates the counts. `bytes` are bytes of the table that all processes have read so far.
    pub fn update(&self, rows: u64, bytes: u64) {
        // SAFETY: writes the backend's own status entry, on its main thread.
        unsafe {
            pg_sys::pgstat_progress_update_param(pg_sys::PROGRESS_COPY_TUPLES_PROCESSED as i32, rows as i64);
            pg_sys::pgstat_progress_update_param(pg_sys::PROGRESS_COPY_BYTES_PROCESSED as i32, bytes as i64);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: writes the backend's own status entry; an aborting transaction ends the command by
            // itself.
            unsafe { pg_sys::pgstat_progress_end_command() }
        }
    }
}
