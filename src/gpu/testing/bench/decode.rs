//! Times the decode kernels on slots that lie on the device already.

use cudarc::driver::CudaEvent;
use cudarc::driver::sys::CUevent_flags;

use super::times::{Times, median};
use crate::gpu::cuda::bandwidth::Bandwidth;
use crate::gpu::cuda::device::CudaDevice;
use crate::gpu::cuda::error::refused;
use crate::gpu::cuda::launch::PHASES;
use crate::gpu::{Device, Fault};
use crate::slot::input::Input;

impl CudaDevice {
    pub fn bandwidth(&self) -> Bandwidth {
        self.bandwidth
    }

    /// Returns the registers and the bytes of local memory of the kernels.
    pub fn resources(&self) -> Result<Vec<(&'static str, i32, i32)>, Fault> {
        self.context.bind_to_thread().map_err(|error| self.fault("bind", error))?;
        self.kernels.resources().map_err(|error| self.fault("read the kernels' resources", error))
    }

    /// Times the kernels over the inputs, one a buffer: at most `depth`. No slot may be in flight.
    pub fn time_kernels(&self, regions: &[&[u8]], repeats: usize) -> Result<Times, Fault> {
        let inputs: Vec<Input> =
            regions.iter().map(|region| Input::new(region)).collect::<Result<_, _>>().map_err(refused)?;
        if inputs.len() > self.depth() || inputs.iter().any(|input| !self.kernels.fits(input, self.need)) {
            return Err(refused("more slots than buffers, or larger ones".into()));
        }
        self.timed(regions, &inputs, repeats).map_err(|error| self.fault("time the kernels", error))
    }

    fn timed(
        &self,
        regions: &[&[u8]],
        inputs: &[Input],
        repeats: usize,
    ) -> Result<Times, cudarc::driver::DriverError> {
        self.context.bind_to_thread()?;
        let stream = &self.streams.compute;
        let event = || self.context.new_event(Some(CUevent_flags::CU_EVENT_DEFAULT));
        for (index, input) in inputs.iter().enumerate() {
            self.copy_in(regions[index], input, self.parts(index))?;
        }
        self.context.synchronize()?;
        let mut phases = vec![Vec::new(); PHASES.len()];
        let mut totals = Vec::new();
        let marks: Vec<CudaEvent> =
            (0..inputs.len() * (PHASES.len() + 1)).map(|_| event()).collect::<Result<_, _>>()?;
        let (start, end) = (event()?, event()?);
        // The first round warms up.
        for round in 0..=repeats {
            start.record(stream)?;
            for (index, input) in inputs.iter().enumerate() {
                // SAFETY: no slot is in flight, so the buffers are ours; their inputs have been copied.
                unsafe { self.kernels.launch(stream, input, self.parts(index), self.need, |_| Ok(()))? };
            }
            end.record(stream)?;
            let total = start.elapsed_ms(&end)?;
            for (index, input) in inputs.iter().enumerate() {
                let marks = &marks[index * (PHASES.len() + 1)..];
                marks[0].record(stream)?;
                // SAFETY: no slot is in flight, so the buffers are ours; their inputs have been copied.
                unsafe {
                    self.kernels.launch(stream, input, self.parts(index), self.need, |phase| {
                        marks[phase + 1].record(stream)
                    })?
                };
            }
            self.context.synchronize()?;
            if round == 0 {
                continue;
            }
            totals.push(f64::from(total) / 1e3);
            for (phase, times) in phases.iter_mut().enumerate() {
                let mut sum = 0.0;
                for marks in marks.chunks(PHASES.len() + 1) {
                    sum += f64::from(marks[phase].elapsed_ms(&marks[phase + 1])?) / 1e3;
                }
                times.push(sum);
            }
        }
        let phases = PHASES.iter().zip(&mut phases).map(|(name, times)| (*name, median(times))).collect();
        Ok(Times { phases, total: median(&mut totals) })
    }
}
