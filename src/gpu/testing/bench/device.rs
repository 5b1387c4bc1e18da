//! A device with the kernels of one unit, which nothing else uses meanwhile.

use std::path::Path;
use std::sync::Arc;

use cudarc::driver::sys::CUevent_flags;
use cudarc::driver::{CudaContext, CudaModule, CudaStream, DriverError};

use super::times::{Times, median};
use crate::gpu::cuda::error::message;
use crate::gpu::cuda::module::load;
use crate::gpu::cuda::nvrtc::Unit;
use crate::gpu::cuda::probe;

pub struct BenchDevice {
    pub context: Arc<CudaContext>,
    pub stream: Arc<CudaStream>,
    pub module: Arc<CudaModule>,
}

impl BenchDevice {
    pub fn open(
        unit: &Unit,
        ordinal: u32,
        nvrtc: Option<&Path>,
        cache: &Path,
    ) -> Result<BenchDevice, String> {
        let driver = probe()?;
        if ordinal >= driver.devices {
            return Err(format!("GPU {ordinal} is not there: the driver sees {} of them", driver.devices));
        }
        let failed = |error: DriverError| message("open the device", error);
        let context = CudaContext::new(ordinal as usize).map_err(failed)?;
        // SAFETY: one stream is used, and no `CudaSlice`.
        unsafe { context.disable_event_tracking() };
        let (major, minor) = context.compute_capability().map_err(failed)?;
        let module = load(&context, unit, (10 * major + minor) as u32, nvrtc, cache)?;
        let stream = context.new_stream().map_err(failed)?;
        Ok(BenchDevice { context, stream, module })
    }

    /// Times what `launch` launches, in seconds, medians over the repeats. `launch` calls its argument with each phase that it
    /// has launched.
    pub fn time(
        &self,
        phases: &[&'static str],
        repeats: usize,
        mut launch: impl FnMut(&mut dyn FnMut(usize) -> Result<(), DriverError>) -> Result<(), DriverError>,
    ) -> Result<Times, DriverError> {
        let stream = &self.stream;
        let event = || self.context.new_event(Some(CUevent_flags::CU_EVENT_DEFAULT));
        let marks = (0..=phases.len()).map(|_| event()).collect::<Result<Vec<_>, _>>()?;
        let (mut times, mut totals) = (vec![Vec::new(); phases.len()], Vec::new());
        // The first round warms up.
        for round in 0..=repeats {
            marks[0].record(stream)?;
            launch(&mut |phase| marks[phase + 1].record(stream))?;
            stream.synchronize()?;
            if round == 0 {
                continue;
            }
            totals.push(f64::from(marks[0].elapsed_ms(&marks[phases.len()])?) / 1e3);
            for (phase, times) in times.iter_mut().enumerate() {
                times.push(f64::from(marks[phase].elapsed_ms(&marks[phase + 1])?) / 1e3);
            }
        }
        let phases = phases.iter().zip(&mut times).map(|(name, times)| (*name, median(times))).collect();
        Ok(Times { phases, total: median(&mut totals) })
    }
}
