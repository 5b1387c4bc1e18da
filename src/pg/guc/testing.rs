//! Parameters of the GPU service that only tests set. A library that is shipped does not register them.

use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};

use super::unless_0;

static FAKE_DEVICES: GucSetting<i32> = GucSetting::<i32>::new(0);
static FAULT_AFTER: GucSetting<i32> = GucSetting::<i32>::new(0);
static EXHAUST_MEMORY: GucSetting<bool> = GucSetting::<bool>::new(false);

/// What tests ask of the GPU service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub fake_devices: usize,
    pub fault_after: Option<u64>,
    pub exhaust_memory: bool,
}

pub fn settings() -> Settings {
    Settings {
        fake_devices: FAKE_DEVICES.get().max(0) as usize,
        fault_after: unless_0(FAULT_AFTER.get()),
        exhaust_memory: EXHAUST_MEMORY.get(),
    }
}

pub fn register() {
    let int = |name, short, setting| {
        let flags = GucFlags::NO_SHOW_ALL;
        GucRegistry::define_int_guc(name, short, c"", setting, 0, i32::MAX, GucContext::Sighup, flags);
    };
    int(
        c"pg_strata.gpu_fake_devices",
        c"Number of devices that decode on the CPU, in place of GPUs.",
        &FAKE_DEVICES,
    );
    int(
        c"pg_strata.gpu_fault_after",
        c"Number of slots after which the first device fails as after an illegal address in a kernel; 0 for never.",
        &FAULT_AFTER,
    );
    GucRegistry::define_bool_guc(
        c"pg_strata.gpu_exhaust_memory",
        c"Asks each device for more memory than it has.",
        c"",
        &EXHAUST_MEMORY,
        GucContext::Sighup,
        GucFlags::NO_SHOW_ALL,
    );
}
