//! NVIDIA devices, through the CUDA driver, which is loaded at run time if the server has one.
//!
//! A server needs driver 580 or newer (CUDA 13.0), and NVRTC as [`module`] says. All of this runs in the engine's
//! process, whose threads bind a device's context before they use it.
//!
//! [`probe`] says whether CUDA is there. [`devices`] opens the devices: it compiles or finds the kernels, registers the
//! pool, takes the device's memory and measures the bus. Nothing is allocated after that.

pub(super) mod arena;
pub(super) mod bandwidth;
mod cache;
pub(super) mod compress;
pub(super) mod copy;
pub(super) mod device;
mod dynamic;
pub(super) mod encode;
pub(super) mod error;
pub(super) mod launch;
pub(super) mod memory;
pub(super) mod module;
pub(super) mod nvcomp;
pub(super) mod nvrtc;
mod pci;
mod pinned;
mod probe;
mod query;
mod row_groups;
pub(super) mod zstd_frames;

use std::ffi::c_char;
use std::path::PathBuf;
use std::sync::Arc;

use cudarc::driver::sys::cuDeviceGetPCIBusId;
use cudarc::driver::{CudaContext, DriverError};

use super::{Device, DeviceInfo};
use arena::Arena;
use device::{Made, Streams};
use error::message;
use launch::Kernels;
use memory::Heap;
use pinned::Registered;
use query::CudaQueries;
use row_groups::RowGroups;

pub use bandwidth::Bandwidth;
pub use device::CudaDevice;
pub use nvrtc::VARIABLE as NVRTC_VARIABLE;
pub use pinned::Pool;
pub use probe::{Driver, probe};

/// The configuration that devices are opened with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The ordinals to open; empty for all.
    pub ordinals: Vec<u32>,
    /// The pool's mapping, from which slots are copied and to which columns return.
    pub pool: Pool,
    /// Sizes of a slot's regions.
    pub input_bytes: usize,
    pub output_bytes: usize,
    /// Slots in flight on each device; fewer if the memory's limit allows no more.
    pub depth: usize,
    /// The most bytes of each device's memory to take; 0 for half of what is free.
    pub memory_limit: u64,
    /// The most of those bytes to take for row groups.
    pub group_memory: u64,
    /// NVRTC's file or folder; `None` to look in the usual places.
    pub nvrtc: Option<PathBuf>,
    /// nvCOMP's file, if zstd pages are to be compressed by it.
    pub nvcomp: Option<PathBuf>,
    /// The folder of compiled kernels.
    pub cache: PathBuf,
    #[cfg(any(test, feature = "testing"))]
    pub test: super::testing::TestOptions,
}

/// Opens the devices that the configuration names, or returns the reason why one of them cannot be used.
///
/// # Safety
///
/// `config.pool` is a page-aligned mapping, readable and writable, that outlives the devices.
pub unsafe fn devices(config: &Config) -> Result<Vec<Box<dyn Device>>, String> {
    // SAFETY: the caller keeps the pool mapped as long as the devices live.
    let opened = unsafe { open_all(config) }?;
    Ok(opened.into_iter().map(|device| Box::new(device) as Box<dyn Device>).collect())
}

/// Opens the devices as [`devices`] does, and returns them as they are.
///
/// # Safety
///
/// `config.pool` is a page-aligned mapping, readable and writable, that outlives the devices.
#[doc(hidden)]
pub unsafe fn open_all(config: &Config) -> Result<Vec<CudaDevice>, String> {
    let driver = probe()?;
    let ordinals: Vec<u32> =
        if config.ordinals.is_empty() { (0..driver.devices).collect() } else { config.ordinals.clone() };
    let mut pool = None;
    let mut opened = Vec::new();
    for ordinal in ordinals {
        if ordinal >= driver.devices {
            return Err(format!("GPU {ordinal} is not there: the driver sees {} of them", driver.devices));
        }
        // SAFETY: the caller keeps the pool mapped as long as the devices live.
        opened.push(
            unsafe { open(config, ordinal, &mut pool) }
                .map_err(|reason| format!("GPU {ordinal}: {reason}"))?,
        );
    }
    Ok(opened)
}

/// Opens a device; the first one registers the pool for all.
///
/// # Safety
///
/// `config.pool` is a page-aligned mapping, readable and writable, that outlives the device.
unsafe fn open(
    config: &Config,
    ordinal: u32,
    pool: &mut Option<Arc<Registered>>,
) -> Result<CudaDevice, String> {
    let failed = |doing: &'static str| move |error: DriverError| message(doing, error);
    let context = CudaContext::new(ordinal as usize).map_err(failed("open the device"))?;
    context.set_blocking_synchronize().map_err(failed("set how to wait"))?;
    // SAFETY: events that order the streams are recorded by hand, and no `CudaSlice` is used.
    unsafe { context.disable_event_tracking() };
    let mut info = describe(&context, ordinal).map_err(failed("describe the device"))?;
    let architecture = 10 * info.capability.0 + info.capability.1;
    let load = |unit| module::load(&context, unit, architecture, config.nvrtc.as_deref(), &config.cache);
    let decode = load(&module::DECODE)?;
    let kernels = Kernels::load(&context, &decode).map_err(failed("load the kernels"))?;
    let loaded = failed("load the kernels");
    let encode = encode::Kernels::load(&load(&module::ENCODE)?).map_err(loaded)?;
    let compress = compress::Kernels::load(&load(&module::COMPRESS)?).map_err(loaded)?;
    #[cfg(any(test, feature = "testing"))]
    let planted = match config.test.fault_after {
        None => None,
        Some(slot) => {
            let module = load(&super::testing::FAULT)?;
            let kernel = module.load_function("fault").map_err(failed("load the fault"))?;
            Some(device::Planted { slot, kernel })
        }
    };
    let registered = match pool {
        Some(registered) => registered.clone(),
        None => {
            // SAFETY: the pool is page-aligned, and the caller keeps it mapped as long as the device lives.
            let new = unsafe { Registered::new(&context, config.pool) };
            let new = Arc::new(new.map_err(failed("register the slots' shared memory"))?);
            pool.insert(new).clone()
        }
    };
    let streams = Streams::new(&context).map_err(failed("make streams"))?;
    let bandwidth = bandwidth::measure(&context, &streams.copy_in, &streams.copy_out, config.pool)
        .map_err(failed("measure the bus"))?;
    (info.h2d, info.d2h) = (bandwidth.h2d, bandwidth.d2h);
    let need = launch::need(config.input_bytes, config.output_bytes);
    let (free, _) = context.mem_get_info().map_err(failed("read the free memory"))?;
    let limit = if config.memory_limit == 0 { free as u64 / 2 } else { config.memory_limit };
    let (depth, bytes) = arena::plan(need, config.depth, limit)?;
    #[cfg(any(test, feature = "testing"))]
    let bytes = if config.test.exhaust_memory { 2 * info.memory } else { bytes };
    let arena = allocate(config, &context, need, depth, bytes).map_err(|error| {
        let (asked, free) = (bytes >> 20, free >> 20);
        format!("{}; {asked} MB were asked for, {free} MB are free", message("allocate memory", error))
    })?;
    let left = limit.saturating_sub(bytes).min(config.group_memory);
    let heap = Heap::new(&context, left).map_err(failed("allocate memory for row groups"))?;
    let decode = streams.compute.clone();
    let queries = CudaQueries::new(
        (ordinal, architecture),
        &context,
        streams.compute.clone(),
        heap.clone(),
        config.nvrtc.clone(),
        config.cache.clone(),
    );
    let row_groups =
        RowGroups::new(ordinal, &context, decode, heap, encode, compress, config.nvcomp.as_deref());
    let row_groups = row_groups.map_err(failed("make a stream, or use nvCOMP"))?;
    let made = Made {
        info,
        bandwidth,
        context,
        streams,
        kernels,
        need,
        row_groups,
        queries,
        arena,
        pool: registered,
        #[cfg(any(test, feature = "testing"))]
        planted,
    };
    CudaDevice::new(made).map_err(failed("prepare buffers"))
}

/// Allocates the memory of the slots in flight.
#[cfg_attr(not(any(test, feature = "testing")), expect(unused_variables))]
fn allocate(
    config: &Config,
    context: &Arc<CudaContext>,
    need: arena::Need,
    depth: usize,
    bytes: u64,
) -> Result<Arena, DriverError> {
    #[cfg(any(test, feature = "testing"))]
    if config.test.scatter_memory {
        return Arena::scattered(context, need, depth);
    }
    Arena::new(context, need, depth, bytes)
}

fn describe(context: &Arc<CudaContext>, ordinal: u32) -> Result<DeviceInfo, DriverError> {
    let (major, minor) = context.compute_capability()?;
    let mut bus_id = [0 as c_char; 32];
    // SAFETY: the driver writes at most as many bytes as it is told, a NUL last.
    unsafe { cuDeviceGetPCIBusId(bus_id.as_mut_ptr(), bus_id.len() as i32, context.cu_device()) }.result()?;
    let bus_id: String = bus_id
        .iter()
        .take_while(|byte| **byte != 0)
        .map(|byte| (*byte as u8 as char).to_ascii_lowercase())
        .collect();
    let (pci_link, numa_node) = pci::place(&bus_id);
    Ok(DeviceInfo {
        ordinal,
        name: context.name()?,
        memory: context.total_mem()? as u64,
        capability: (major as u32, minor as u32),
        pci_bus_id: bus_id,
        pci_link,
        numa_node,
        ..DeviceInfo::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without a GPU there is a reason, and no panic.
    #[test]
    fn devices_or_a_reason() {
        if probe().is_ok() {
            eprintln!("skipped: there is a GPU");
            return;
        }
        let config = Config {
            ordinals: Vec::new(),
            pool: Pool { start: std::ptr::null(), bytes: 0 },
            input_bytes: 1 << 20,
            output_bytes: 1 << 20,
            depth: 3,
            memory_limit: 0,
            group_memory: 0,
            nvrtc: None,
            nvcomp: None,
            cache: std::env::temp_dir(),
            test: Default::default(),
        };
        // SAFETY: without a driver nothing is registered.
        let reason = unsafe { devices(&config) }.err().unwrap();
        assert!(reason.contains("NVIDIA driver"), "{reason}");
    }
}
