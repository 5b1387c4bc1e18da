//! Devices for tests of the service on a machine without a GPU.

use crate::gpu::Device;
use crate::gpu::testing::TestOptions;
use crate::gpu::testing::fake::FakeDevice;
use crate::pg::guc::GpuSettings;

/// Makes as many fake devices as `pg_strata.gpu_fake_devices` says.
pub fn fake_devices(settings: &GpuSettings) -> Result<Vec<Box<dyn Device>>, String> {
    if settings.testing.exhaust_memory {
        return Err("fake device 0: out of memory, as told".into());
    }
    let memory = settings.memory_limit.map_or(usize::MAX, |limit| limit as usize);
    let fake = |ordinal: usize| {
        let mut fake = FakeDevice::new(ordinal as u32).with_memory(memory);
        if let Some(library) = &settings.nvcomp_library {
            fake = fake.with_nvcomp(library.as_ref());
        }
        match settings.testing.fault_after {
            Some(after) if ordinal == 0 => fake.with_fault(after, true),
            _ => fake,
        }
    };
    Ok((0..settings.testing.fake_devices).map(|ordinal| Box::new(fake(ordinal)) as Box<dyn Device>).collect())
}

/// Returns what the settings ask of GPUs.
pub fn options(settings: &GpuSettings) -> TestOptions {
    TestOptions {
        fault_after: settings.testing.fault_after,
        exhaust_memory: settings.testing.exhaust_memory,
        scatter_memory: false,
    }
}
