use super::*;
use crate::decode::decode_slot;
use crate::gpu::DeviceInfo;
use crate::gpu::testing::fake::FakeDevice;
use crate::gpu::testing::specimens::{Wish, copy_binary, heap};
use crate::slot::layout::{OutHeader, get};
use crate::slot::pool::{Config, LONGEST_WAIT, Slot, State};
use std::sync::Condvar;
use std::time::Instant;

/// Holds slots back in `collect` until it is opened, and remembers in what order they came.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
    seen: Mutex<Vec<u8>>,
}

impl Gate {
    fn open(&self) {
        *lock(&self.open) = true;
        self.opened.notify_all();
    }
}

/// Opens it when a test ends, in whatever way: the engine could not end otherwise.
struct Opener<'a>(&'a Gate);

impl Drop for Opener<'_> {
    fn drop(&mut self) {
        self.0.open();
    }
}

/// A device behind a gate that others share.
struct Gated(FakeDevice, Arc<Gate>);

impl Device for Gated {
    fn info(&self) -> DeviceInfo {
        self.0.info()
    }

    fn depth(&self) -> usize {
        self.0.depth()
    }

    fn submit(&self, group: u64, input: &[u8]) -> Result<usize, Fault> {
        self.1.seen.lock().unwrap().push(*input.last().unwrap());
        self.0.submit(group, input)
    }

    fn collect(&self, ticket: usize, output: &mut [u8]) -> Result<(), Fault> {
        let open = self.1.open.lock().unwrap();
        drop(self.1.opened.wait_while(open, |open| !*open).unwrap());
        self.0.collect(ticket, output)
    }
}

fn gated(devices: usize, gate: &Arc<Gate>) -> Vec<Box<dyn Device>> {
    (0..devices).map(|ordinal| Box::new(Gated(FakeDevice::new(ordinal as u32), gate.clone())) as _).collect()
}

fn fakes(devices: impl IntoIterator<Item = FakeDevice>) -> Vec<Box<dyn Device>> {
    devices.into_iter().map(|device| Box::new(device) as _).collect()
}

fn pool(slots: usize) -> Pool {
    Pool::create(Config { slots, input_bytes: 1 << 17, output_bytes: 1 << 18 }).unwrap()
}

/// Runs an engine beside `body`, which gets the flag to stop it by; both results.
fn beside<T>(pool: &Pool, devices: Vec<Box<dyn Device>>, body: impl FnOnce(&AtomicBool) -> T) -> (Exit, T) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let engine = scope.spawn(|| run(pool, devices, Policy::System, &stop, &|_| ()));
        until(|| pool.is_ready());
        let found = catch_unwind(AssertUnwindSafe(|| body(&stop)));
        stop.store(true, Ordering::Relaxed);
        let exit = engine.join().unwrap();
        (exit, found.unwrap())
    })
}

/// A test that waits for what never comes has failed.
fn until(mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(60), "nothing happens");
        thread::yield_now();
    }
}

/// A slot made up from a seed.
fn fill(pool: &Pool, group: u64, seed: u64) -> Slot {
    let wish = Wish { seed, rows: 60, columns: 5, nulls: 10, trouble: 5 };
    let specimen = if seed.is_multiple_of(2) { heap(wish) } else { copy_binary(wish) };
    let mut slot = None;
    until(|| {
        slot = pool.claim(group);
        slot.is_some()
    });
    let mut slot = slot.unwrap();
    slot.input_mut()[..specimen.input.len()].copy_from_slice(&specimen.input);
    *slot.input_mut().last_mut().unwrap() = seed as u8;
    slot
}

fn submit(pool: &Pool, group: u64, seed: u64) -> Slot {
    let mut slot = fill(pool, group, seed);
    slot.submit();
    slot
}

/// Slots that were all claimed before the first is submitted: no more can be when an engine ends.
fn submit_all(pool: &Pool, slots: u64) -> Vec<Slot> {
    let mut slots: Vec<Slot> = (0..slots).map(|seed| fill(pool, seed / 3, seed)).collect();
    slots.iter_mut().for_each(Slot::submit);
    slots
}

fn landed(slot: &Slot) -> State {
    let mut state = State::Ready;
    until(|| {
        state = slot.wait(LONGEST_WAIT);
        !matches!(state, State::Ready | State::Running)
    });
    state
}

/// The slot is done, and its output what it has to be.
fn check(slot: &Slot) {
    assert_eq!(landed(slot), State::Done, "{}", slot.error());
    let mut expected = vec![0; slot.output().len()];
    decode_slot(slot.input(), &mut expected).unwrap();
    let used = get::<OutHeader>(&expected, 0).unwrap().bytes as usize;
    assert!(slot.output()[..used] == expected[..used]);
}

#[test]
fn every_slot_is_decoded() {
    for devices in [1, 2, 4, 8] {
        let pool = pool(2 * devices + 3);
        let fakes =
            fakes((0..devices).map(|ordinal| FakeDevice::new(ordinal as u32).with_depth(1 + ordinal)));
        let (exit, ()) = beside(&pool, fakes, |_| {
            thread::scope(|scope| {
                for exporter in 0..3 {
                    let pool = &pool;
                    scope.spawn(move || {
                        for number in 0..30 {
                            let group = (exporter << 40) | (number / 4);
                            check(&submit(pool, group, exporter * 100 + number));
                        }
                    });
                }
            });
            until(|| pool.devices().iter().map(|device| device.finished).sum::<u64>() == 90);
        });
        assert_eq!((exit, pool.is_idle(), pool.is_ready()), (Exit::Stopped, true, false));
        assert!(pool.devices().iter().all(|device| device.queued == 0));
        assert!(pool.log_lines()[0].message.contains(&format!("{devices} of {devices} devices")));
    }
}

#[test]
fn groups_stay_together_and_are_shared_out() {
    for devices in [1, 2, 4, 8] {
        let (pool, gate) = (pool(8 * devices), Arc::new(Gate::default()));
        beside(&pool, gated(devices, &gate), |_| {
            let _open = Opener(&gate);
            // Of every group four slots, all alike, and all outstanding at once.
            let slots: Vec<Slot> =
                (0..8 * devices as u64).map(|number| submit(&pool, number / 4, 2)).collect();
            until(|| slots.iter().all(|slot| slot.state() == State::Running));
            gate.open();
            slots.iter().for_each(check);
            let groups: Vec<u32> = slots
                .chunks(4)
                .map(|group| {
                    let device = group[0].device().unwrap();
                    assert!(group.iter().all(|slot| slot.device() == Some(device)));
                    device
                })
                .collect();
            for ordinal in 0..devices as u32 {
                assert_eq!(groups.iter().filter(|&&device| device == ordinal).count(), 2, "{groups:?}");
            }
        });
    }
}

#[test]
fn slots_of_two_exporters_are_decoded_in_their_order() {
    let (pool, gate) = (pool(24), Arc::new(Gate::default()));
    beside(&pool, gated(1, &gate), |_| {
        let _open = Opener(&gate);
        let many: Vec<Slot> = (0..10).map(|number| submit(&pool, 1, number)).collect();
        let one = submit(&pool, 2, 99);
        let more: Vec<Slot> = (10..20).map(|number| submit(&pool, 1, number)).collect();
        gate.open();
        check(&one);
        many.iter().chain(&more).for_each(check);
    });
    let seen = gate.seen.lock().unwrap();
    assert_eq!(*seen, (0..10).chain([99]).chain(10..20).collect::<Vec<u8>>());
}

#[test]
fn a_fault_fails_its_slot_alone() {
    let pool = pool(8);
    let devices = fakes([FakeDevice::new(5).with_fault(2, false)]);
    let (exit, failed) = beside(&pool, devices, |_| {
        let slots: Vec<Slot> = (0..8).map(|seed| submit(&pool, 0, seed)).collect();
        let failed: Vec<usize> = (0..8).filter(|&number| landed(&slots[number]) == State::Failed).collect();
        assert_eq!(slots[2].error(), "fake device 5: a fault, as told");
        (0..8).filter(|&number| number != 2).for_each(|number| check(&slots[number]));
        // What is no slot at all is refused, and costs nobody else anything.
        let mut odd = pool
            .claim(0)
            .or_else(|| {
                drop(slots);
                pool.claim(0)
            })
            .unwrap();
        odd.input_mut()[..64].fill(0xFF);
        odd.submit();
        assert_eq!(landed(&odd), State::Failed);
        check(&submit(&pool, 0, 50));
        failed
    });
    assert_eq!((exit, failed), (Exit::Stopped, vec![2]));
    assert!(pool.log_lines().iter().any(|line| line.message.contains("a fault, as told")));
}

#[test]
fn after_a_sticky_fault_nothing_is_lost() {
    for devices in [1, 2, 4] {
        let pool = pool(24);
        // Each device gets a group of three slots at least.
        let faulty = (0..devices).map(|ordinal| FakeDevice::new(ordinal).with_fault(2, ordinal == 0));
        let delayed = faulty.map(|device| device.with_delay(Duration::from_micros(300)));
        let attached = Pool::attach(std::process::id() as i32, pool.descriptor(), pool.generation()).unwrap();
        let (exit, slots) = beside(&pool, fakes(delayed), |_| {
            let slots = submit_all(&attached, 24);
            until(|| attached.gone().is_some());
            assert!(attached.claim(0).is_none());
            slots
        });
        assert_eq!(exit, Exit::Restart("fake device 0: a fault, as told".into()));
        // As the supervisor does once the process is gone.
        pool.new_generation();
        pool.fail_running();
        let failed: Vec<&Slot> = slots.iter().filter(|slot| landed(slot) == State::Failed).collect();
        assert!(failed.iter().any(|slot| slot.error().contains("as told")));
        slots.iter().filter(|slot| slot.state() == State::Done).for_each(check);
        for slot in failed {
            assert!(decode_slot(slot.input(), &mut vec![0; 1 << 18]).is_ok(), "the input is still there");
        }
        drop(slots);
        assert!(pool.is_idle());
        let (exit, ()) = beside(&pool, fakes([FakeDevice::new(0)]), |_| check(&submit(&pool, 0, 1)));
        assert_eq!(exit, Exit::Stopped);
    }
}

#[test]
fn stopped_while_busy() {
    let (pool, gate) = (pool(40), Arc::new(Gate::default()));
    let (exit, slots) = beside(&pool, gated(2, &gate), |stop| {
        let _open = Opener(&gate);
        let slots = submit_all(&pool, 40);
        until(|| slots.iter().all(|slot| slot.state() == State::Running));
        until(|| gate.seen.lock().unwrap().len() >= 6);
        stop.store(true, Ordering::Relaxed);
        until(|| slots.iter().any(|slot| slot.state() == State::Failed));
        gate.open();
        slots
    });
    assert_eq!(exit, Exit::Stopped);
    let done = slots.iter().filter(|slot| slot.state() == State::Done).count();
    assert!((6..=8).contains(&done), "what devices had was finished, {done}");
    for slot in &slots {
        match slot.state() {
            State::Done => check(slot),
            state => {
                assert_eq!((state, slot.error().as_str()), (State::Failed, "the GPU engine was stopped"))
            }
        }
    }
}

#[test]
fn abandoned_slots_are_freed() {
    let (pool, gate) = (pool(12), Arc::new(Gate::default()));
    beside(&pool, gated(2, &gate), |_| {
        let _open = Opener(&gate);
        let mut slots: Vec<Slot> = (0..12).map(|seed| submit(&pool, seed / 5, seed)).collect();
        until(|| slots.iter().all(|slot| slot.state() == State::Running));
        slots.truncate(2);
        assert!(pool.claim(0).is_none(), "the engine still has them");
        gate.open();
        until(|| pool.slots().1 == 10);
        slots.iter().for_each(check);
        let again: Vec<Slot> = (0..10).map(|seed| submit(&pool, 7, seed)).collect();
        again.iter().for_each(check);
    });
    assert!(pool.is_idle());
}

/// Panics as its slot is submitted, or collected.
struct Panics {
    in_submit: bool,
}

impl Device for Panics {
    fn info(&self) -> DeviceInfo {
        DeviceInfo::default()
    }

    fn depth(&self) -> usize {
        1
    }

    fn submit(&self, _: u64, _: &[u8]) -> Result<usize, Fault> {
        assert!(!self.in_submit, "as told");
        Ok(0)
    }

    fn collect(&self, _: usize, _: &mut [u8]) -> Result<(), Fault> {
        panic!("as told")
    }
}

#[test]
fn a_panic_is_the_devices_loss() {
    for in_submit in [false, true] {
        let pool = pool(6);
        let device = vec![Box::new(Panics { in_submit }) as _];
        let (exit, slots) = beside(&pool, device, |_| {
            let slots = submit_all(&pool, 6);
            until(|| !pool.is_ready());
            slots
        });
        // What was submitted too late for the engine.
        pool.fail_running();
        assert!(slots.iter().all(|slot| landed(slot) == State::Failed));
        drop(slots);
        assert_eq!(exit, Exit::Restart("GPU 0: a thread panicked".into()));
        assert!(pool.is_idle());
    }
    let none = run(&pool(1), vec![], Policy::Optimal, &AtomicBool::new(false), &|_| ());
    assert_eq!(none, Exit::Restart("there is no device".into()));
}

/// Takes no time, does nothing.
struct Null(u32);

impl Device for Null {
    fn info(&self) -> DeviceInfo {
        DeviceInfo { ordinal: self.0, ..DeviceInfo::default() }
    }

    fn depth(&self) -> usize {
        4
    }

    fn submit(&self, _: u64, _: &[u8]) -> Result<usize, Fault> {
        Ok(0)
    }

    fn collect(&self, _: usize, _: &mut [u8]) -> Result<(), Fault> {
        Ok(())
    }
}

/// Slots a second: `cargo test --release gpu::engine -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn bench_dispatch() {
    println!("{:>8} {:>10} {:>8} {:>12}", "devices", "exporters", "slots", "slots/s");
    for (devices, exporters, slots) in [(1, 1u64, 8), (1, 4, 64), (4, 8, 64), (8, 16, 512)] {
        let pool = Pool::create(Config { slots, input_bytes: 4096, output_bytes: 4096 }).unwrap();
        let nulls = (0..devices).map(|ordinal| Box::new(Null(ordinal)) as _).collect();
        let each = 60_000 / exporters;
        let (_, took) = beside(&pool, nulls, |_| {
            let began = Instant::now();
            thread::scope(|scope| {
                for exporter in 0..exporters {
                    let pool = &pool;
                    // As exports do: one slot is filled while two are under way.
                    scope.spawn(move || {
                        let mut under_way: VecDeque<Slot> = VecDeque::new();
                        for number in 0..each {
                            if under_way.len() == 3 {
                                assert_eq!(landed(&under_way.pop_front().unwrap()), State::Done);
                            }
                            until(|| match pool.claim((exporter << 32) | (number / 16)) {
                                Some(mut slot) => {
                                    slot.submit();
                                    under_way.push_back(slot);
                                    true
                                }
                                None => false,
                            });
                        }
                        under_way.iter().for_each(|slot| assert_eq!(landed(slot), State::Done));
                    });
                }
            });
            began.elapsed()
        });
        let rate = (each * exporters) as f64 / took.as_secs_f64();
        println!("{devices:>8} {exporters:>10} {slots:>8} {rate:>12.0}");
    }
}
