//! Wait events for `pg_stat_activity`: names of our own from PostgreSQL 17 on, `Extension` before.

use pgrx::pg_sys;

/// What a process waits for.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// A slot that a GPU has, or a free one.
    Gpu,
    /// The start of the GPU service; in the service itself, requests.
    GpuService,
    /// Other processes that merge groups.
    Groups,
}

impl Event {
    #[cfg(any(feature = "pg15", feature = "pg16"))]
    pub fn number(self) -> u32 {
        pg_sys::PG_WAIT_EXTENSION
    }

    #[cfg(not(any(feature = "pg15", feature = "pg16")))]
    pub fn number(self) -> u32 {
        static NUMBERS: [std::sync::OnceLock<u32>; 3] = [const { std::sync::OnceLock::new() }; 3];
        let name = match self {
            Event::Gpu => c"PgStrataGpu",
            Event::GpuService => c"PgStrataGpuService",
            Event::Groups => c"PgStrataGroups",
        };
        // SAFETY: a C string, in a process that has the server's shared memory; a known name keeps its number.
        *NUMBERS[self as usize].get_or_init(|| unsafe { pg_sys::WaitEventExtensionNew(name.as_ptr()) })
    }
}

/// Shows the event while `wait` runs, which must not raise an error.
pub fn during<T>(event: Event, wait: impl FnOnce() -> T) -> T {
    show(event.number());
    let outcome = wait();
    show(0);
    outcome
}

/// Sets the wait event as pgstat_report_wait_start does, which is inline.
fn show(event: u32) {
    // SAFETY: this process's own word, which others only read; it exists from the process's start to its end.
    unsafe { pg_sys::my_wait_event_info.write_volatile(event) }
}
