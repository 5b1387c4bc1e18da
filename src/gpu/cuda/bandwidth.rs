//! The bandwidth between the pool and a device, measured at start, so that plans use this machine's figures.

use std::sync::Arc;

use cudarc::driver::sys::{CUevent_flags, cuMemcpyDtoHAsync_v2, cuMemcpyHtoDAsync_v2};
use cudarc::driver::{CudaContext, CudaStream, DriverError};

use super::arena::{Arena, Need, Parts};
use super::pinned::{Pinned, Pool};

const BYTES: usize = 64 << 20;
const REPEATS: usize = 4;

/// Bytes a second in each direction, and in both together while both run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bandwidth {
    pub h2d: u64,
    pub d2h: u64,
    pub duplex: u64,
}

/// Measures the bandwidth. It reads the pool and never writes it: exporters may be filling it.
pub fn measure(
    context: &Arc<CudaContext>,
    up: &CudaStream,
    down: &CudaStream,
    pool: Pool,
) -> Result<Bandwidth, DriverError> {
    let bytes = BYTES.min(pool.bytes);
    let half = Need { input: bytes as u64, output: bytes as u64, scratch: 0 };
    let device = Arena::new(context, half, 1, 0)?;
    let Parts { input: target, output: source, .. } = device.parts()[0];
    let host = Pinned::new(context, bytes)?;
    let h2d = || {
        // SAFETY: `bytes` of the pool, registered and mapped, into as many of the arena.
        unsafe { cuMemcpyHtoDAsync_v2(target, pool.start.cast(), bytes, up.cu_stream()) }.result()
    };
    let d2h = || {
        // SAFETY: `bytes` of the arena into as many of `host`, which nothing reads.
        unsafe { cuMemcpyDtoHAsync_v2(host.address().cast(), source, bytes, down.cu_stream()) }.result()
    };
    // The first copies touch pages and wake the link.
    h2d()?;
    d2h()?;
    context.synchronize()?;
    let one = Timer::new(context)?;
    one.start(up)?;
    (0..REPEATS).try_for_each(|_| h2d())?;
    let h2d_rate = one.rate(up, REPEATS * bytes)?;
    one.start(down)?;
    (0..REPEATS).try_for_each(|_| d2h())?;
    let d2h_rate = one.rate(down, REPEATS * bytes)?;
    one.start(up)?;
    down.wait(&one.start)?;
    for _ in 0..REPEATS {
        h2d()?;
        d2h()?;
    }
    one.end.record(down)?;
    up.wait(&one.end)?;
    let duplex = one.rate(up, 2 * REPEATS * bytes)?;
    context.synchronize()?;
    Ok(Bandwidth { h2d: h2d_rate, d2h: d2h_rate, duplex })
}

struct Timer {
    start: cudarc::driver::CudaEvent,
    end: cudarc::driver::CudaEvent,
}

impl Timer {
    fn new(context: &Arc<CudaContext>) -> Result<Timer, DriverError> {
        let event = || context.new_event(Some(CUevent_flags::CU_EVENT_DEFAULT));
        Ok(Timer { start: event()?, end: event()? })
    }

    fn start(&self, stream: &CudaStream) -> Result<(), DriverError> {
        self.start.record(stream)
    }

    fn rate(&self, stream: &CudaStream, bytes: usize) -> Result<u64, DriverError> {
        self.end.record(stream)?;
        let seconds = f64::from(self.start.elapsed_ms(&self.end)?) / 1000.0;
        Ok((bytes as f64 / seconds.max(1e-9)) as u64)
    }
}
