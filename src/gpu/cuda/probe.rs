//! Finds out whether CUDA can be used, and if not, why, in words for the server's administrator.
//!
//! Runs in the engine only, before anything of `cudarc`, which panics if the library or a symbol is missing. It must not
//! run in the postmaster or before a fork, which CUDA's state does not survive.

use std::ffi::c_int;
use std::panic::catch_unwind;

use cudarc::driver::result;

use super::dynamic::Library;

/// The CUDA version that the oldest supported driver, 580, reports: 13.0.
const OLDEST: c_int = 13_000;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Driver {
    /// 13000 for version 13.0.
    pub version: i32,
    pub devices: u32,
}

/// Loads the driver and starts it.
pub fn probe() -> Result<Driver, String> {
    let library = Library::open("libcuda.so.1", false).map_err(|error| {
        format!("no NVIDIA driver: libcuda.so.1 cannot be loaded ({error}); driver 580 or newer is needed")
    })?;
    let missing = |error: String| format!("the NVIDIA driver's libcuda.so.1 lacks a function ({error})");
    // SAFETY: these functions have this type in every version of the driver's interface.
    let (get_version, init, get_count) = unsafe {
        (
            library
                .function::<unsafe extern "C" fn(*mut c_int) -> c_int>(c"cuDriverGetVersion")
                .map_err(missing)?,
            library.function::<unsafe extern "C" fn(u32) -> c_int>(c"cuInit").map_err(missing)?,
            library
                .function::<unsafe extern "C" fn(*mut c_int) -> c_int>(c"cuDeviceGetCount")
                .map_err(missing)?,
        )
    };
    let (mut version, mut count) = (0, 0);
    // SAFETY: the version may be asked before cuInit; both write one int.
    check(unsafe { get_version(&mut version) }, "its version cannot be read")?;
    new_enough(version)?;
    // SAFETY: the only value that the flags may have is 0.
    check(unsafe { init(0) }, "it cannot be started")?;
    // SAFETY: cuInit has succeeded; the function writes one int.
    check(unsafe { get_count(&mut count) }, "its devices cannot be counted")?;
    if count <= 0 {
        return Err("the NVIDIA driver sees no GPU (is CUDA_VISIBLE_DEVICES set?)".into());
    }
    match catch_unwind(result::init) {
        Ok(Ok(())) => Ok(Driver { version, devices: count as u32 }),
        Ok(Err(error)) => Err(format!("CUDA cannot be started: {error}")),
        Err(_) => Err("the NVIDIA driver's library cannot be used: a function is missing".into()),
    }
}

fn new_enough(version: c_int) -> Result<(), String> {
    if version >= OLDEST {
        return Ok(());
    }
    let (major, minor) = (version / 1000, version % 1000 / 10);
    Err(format!(
        "the NVIDIA driver is too old: it supports CUDA {major}.{minor}; driver 580 or newer (CUDA 13.0) is needed"
    ))
}

/// Returns an error for a code other than 0, with a hint for the codes that a start can fail with.
fn check(code: c_int, what: &str) -> Result<(), String> {
    let hint = match code {
        0 => return Ok(()),
        2 => "out of memory",
        3 => "the driver is shutting down",
        34 => "libcuda.so.1 is the toolkit's stub, not the driver: LD_LIBRARY_PATH names a \"stubs\" folder",
        46 => "the devices are unavailable: another process holds them exclusively, or they failed",
        100 => "no GPU is present, or CUDA_VISIBLE_DEVICES hides all of them",
        101 => "CUDA_VISIBLE_DEVICES names a device that is not there",
        304 => "the operating system refused: may this user open /dev/nvidia*?",
        800 => "the operation is not permitted",
        802 => "the system is not ready: is nvidia-fabricmanager running?",
        803 => "the kernel module and libcuda.so.1 are of different versions: reboot, or reload the module",
        804 => "the compatibility package's driver does not support this GPU",
        999 => "unknown error: see the kernel's log for NVRM lines",
        _ => "see CUresult in CUDA's driver interface",
    };
    Err(format!("the NVIDIA driver is there, but {what}: {hint} (CUDA error {code})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_or_a_reason() {
        match probe() {
            Ok(driver) => assert!(driver.version >= OLDEST && driver.devices > 0),
            Err(reason) => assert!(reason.contains("NVIDIA driver"), "{reason}"),
        }
    }

    #[test]
    fn reasons_name_the_cure() {
        assert_eq!(new_enough(13_000), Ok(()));
        assert!(new_enough(12_080).unwrap_err().contains("CUDA 12.8; driver 580"));
        assert_eq!(check(0, ""), Ok(()));
        assert!(check(803, "it cannot be started").unwrap_err().contains("different versions"));
        assert!(check(12_345, "x").unwrap_err().contains("12345"));
    }
}
