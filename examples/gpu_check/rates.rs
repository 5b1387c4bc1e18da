//! How fast: the kernels alone, and slots from registered memory with copies overlapped.

use std::sync::mpsc::sync_channel;
use std::time::Instant;

use pg_strata::gpu::Device;
use pg_strata::gpu::cuda::CudaDevice;
use pg_strata::slot::input::Input;
use pg_strata::slot::layout::{HEAP, Header, OutHeader, WANT_COLUMNS, get, put};

use super::lineorder;
use super::pool::Memory;
use super::values::Chance;

/// Fills every slot with lineorder: some made, in parallel, the others copied from them. Gives the bytes of
/// data and the rows of all.
pub fn fill(memory: &Memory, kind: u32, distinct: usize) -> (usize, usize) {
    let distinct = distinct.min(memory.slots());
    let next = std::sync::atomic::AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(4, usize::from).min(distinct);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if index >= distinct {
                        return;
                    }
                    // SAFETY: the counter gives each slot to one thread.
                    let region = unsafe { input_mut(memory, index) };
                    let mut chance = Chance(index as u64 + 99);
                    let mut table = lineorder::table(kind, 1_000_000 + 100_000 * index as i64);
                    table.fill(region, memory.output_bytes(), usize::MAX, true, &mut chance).expect("room");
                }
            });
        }
    });
    let used: Vec<usize> =
        (0..distinct).map(|index| Input::new(memory.input(index)).expect("just made").used()).collect();
    for index in distinct..memory.slots() {
        // SAFETY: no other reference to this slot's input lives.
        let region = unsafe { input_mut(memory, index) };
        region[..used[index % distinct]]
            .copy_from_slice(&memory.input(index % distinct)[..used[index % distinct]]);
    }
    let headers = (0..memory.slots()).filter_map(|index| get::<Header>(memory.input(index), 0));
    headers.fold((0, 0), |(bytes, rows), header| {
        (bytes + header.data_bytes as usize, rows + header.rows as usize)
    })
}

/// # Safety
///
/// No other reference to the slot's input lives.
#[allow(clippy::mut_from_ref)]
unsafe fn input_mut(memory: &Memory, index: usize) -> &mut [u8] {
    let input = memory.input(index);
    // SAFETY: the mapping is writable, and the caller keeps the region to itself.
    unsafe { std::slice::from_raw_parts_mut(input.as_ptr().cast_mut(), input.len()) }
}

pub fn want(memory: &Memory, wanted: bool) {
    for index in 0..memory.slots() {
        let mut header: Header = get(memory.input(index), 0).expect("filled");
        header.flags = if wanted { WANT_COLUMNS } else { 0 };
        // SAFETY: called between the runs, when nobody else holds a region.
        assert!(put(unsafe { input_mut(memory, index) }, 0, header));
    }
}

/// One line of the table.
pub struct Line {
    pub what: String,
    pub rate: f64,
    pub note: String,
}

fn kind_name(kind: u32) -> &'static str {
    if kind == HEAP { "heap" } else { "COPY BINARY" }
}

/// Kernels alone over slots that lie on the device, as many as there are buffers.
pub fn kernels(device: &CudaDevice, memory: &Memory, kind: u32, repeats: usize) -> Result<Line, String> {
    let count = device.depth().min(memory.slots());
    let regions: Vec<&[u8]> = (0..count).map(|index| memory.input(index)).collect();
    let bytes: usize = regions
        .iter()
        .filter_map(|region| get::<Header>(region, 0))
        .map(|header| header.data_bytes as usize)
        .sum();
    let times = device.time_kernels(&regions, repeats).map_err(|fault| fault.message)?;
    let rate = |seconds: f64| if seconds > 0.0 { bytes as f64 / seconds / 1e9 } else { 0.0 };
    let phases: Vec<String> = times
        .phases
        .iter()
        .map(|(name, seconds)| format!("{name} {:.1} us", seconds * 1e6 / count as f64))
        .collect();
    Ok(Line {
        what: format!(
            "kernels alone, {}, {} MiB slots, {count} resident",
            kind_name(kind),
            memory.input_bytes() >> 20
        ),
        rate: rate(times.total),
        note: format!("a slot: {} [{:.1} us in all]", phases.join(", "), times.total * 1e6 / count as f64),
    })
}

/// Slots from registered memory through the device, as feeder and drainer do it.
pub fn overlapped(
    device: &CudaDevice,
    memory: &Memory,
    kind: u32,
    least: usize,
    back: bool,
) -> Result<Line, String> {
    want(memory, back);
    let bytes: usize = (0..memory.slots())
        .filter_map(|index| get::<Header>(memory.input(index), 0))
        .map(|header| header.data_bytes as usize)
        .sum();
    let passes = least.div_ceil(bytes).max(1);
    let slots = passes * memory.slots();
    pass(device, memory, device.depth() * 2)?;
    let start = Instant::now();
    let out = pass(device, memory, slots)?;
    let seconds = start.elapsed().as_secs_f64();
    let total = bytes * passes;
    Ok(Line {
        what: format!(
            "registered memory to Arrow{}, {}, {} MiB slots",
            if back { " and back" } else { " on the device" },
            kind_name(kind),
            memory.input_bytes() >> 20
        ),
        rate: total as f64 / seconds / 1e9,
        note: format!(
            "{slots} slots, {:.1} GB in, {:.1} GB Arrow, {:.3} s, depth {}",
            total as f64 / 1e9,
            out as f64 / 1e9,
            seconds,
            device.depth()
        ),
    })
}

/// All devices at once, each over all the slots; nothing is copied back, so that outputs do not meet.
pub fn together(devices: &[CudaDevice], memory: &Memory, kind: u32, least: usize) -> Result<Line, String> {
    want(memory, false);
    let bytes: usize = (0..memory.slots())
        .filter_map(|index| get::<Header>(memory.input(index), 0))
        .map(|header| header.data_bytes as usize)
        .sum();
    let passes = least.div_ceil(bytes).max(1);
    let start = Instant::now();
    std::thread::scope(|scope| {
        let running: Vec<_> = devices
            .iter()
            .map(|device| scope.spawn(move || pass(device, memory, passes * memory.slots())))
            .collect();
        running.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread panicked")?.map(drop))
    })?;
    let (seconds, total) = (start.elapsed().as_secs_f64(), bytes * passes * devices.len());
    Ok(Line {
        what: format!("{} GPUs together, {}, on the devices", devices.len(), kind_name(kind)),
        rate: total as f64 / seconds / 1e9,
        note: format!("{:.1} GB in, {seconds:.3} s", total as f64 / 1e9),
    })
}

/// Bytes of Arrow made.
fn pass(device: &CudaDevice, memory: &Memory, slots: usize) -> Result<usize, String> {
    let (send, receive) = sync_channel::<(usize, usize)>(2 * device.depth());
    std::thread::scope(|scope| {
        let feeder = scope.spawn(move || {
            for number in 0..slots {
                let index = number % memory.slots();
                let ticket = device.submit(0, memory.input(index)).map_err(|fault| fault.message)?;
                if send.send((ticket, index)).is_err() {
                    return Err("the drainer has gone".to_string());
                }
            }
            Ok(())
        });
        let mut made = 0;
        let mut failed = None;
        let mut report = vec![0; 64 << 10];
        for (ticket, index) in receive {
            let back =
                get::<Header>(memory.input(index), 0).is_some_and(|header| header.flags & WANT_COLUMNS != 0);
            // SAFETY: with columns, one device runs at a time, and this thread alone takes its outputs.
            let output = if back { unsafe { memory.output(index) } } else { &mut report };
            match device.collect(ticket, output) {
                Ok(()) => made += get::<OutHeader>(output, 0).map_or(0, |header| header.bytes as usize),
                Err(fault) => failed = failed.or(Some(fault.message)),
            }
        }
        match (feeder.join(), failed) {
            (Ok(Ok(())), None) => Ok(made),
            (Ok(Err(message)), _) | (_, Some(message)) => Err(message),
            (Err(_), _) => Err("the feeder panicked".into()),
        }
    })
}
