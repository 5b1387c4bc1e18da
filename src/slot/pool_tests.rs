use super::*;
use crate::slot::watch::Watch;
use std::panic::{AssertUnwindSafe, catch_unwind};

const CONFIG: Config = Config { slots: 4, input_bytes: 8192, output_bytes: 4096 };

/// A pool that takes slots, as if there were an engine in this process.
fn pool(config: Config) -> Pool {
    let pool = Pool::create(config).unwrap();
    pool.set_ready(&[]);
    pool
}

fn own_pid() -> i32 {
    std::process::id() as i32
}

/// Runs `body` in a child, which ends without dropping anything.
fn fork(body: impl FnOnce() -> bool) -> i32 {
    // SAFETY: the child uses this pool, memory it allocates and its own stack, and ends at once.
    unsafe {
        match libc::fork() {
            0 => {
                let done = catch_unwind(AssertUnwindSafe(body)).unwrap_or(false);
                libc::_exit(i32::from(!done))
            }
            pid => {
                assert!(pid > 0);
                pid
            }
        }
    }
}

/// Waits for a child, and says whether it was content.
fn waited(pid: i32) -> bool {
    let mut status = -1;
    // SAFETY: a child of this process, waited for once.
    let found = unsafe { libc::waitpid(pid, &mut status, 0) };
    assert_eq!(found, pid);
    status == 0
}

fn kill(pid: i32) {
    // SAFETY: a child that has not been waited for.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    assert!(!waited(pid));
}

fn take_one(pool: &Pool) -> Option<Running> {
    let mut taken = Vec::new();
    pool.take_ready(&mut taken);
    assert!(taken.len() <= 1);
    taken.pop()
}

#[test]
fn a_slot_goes_round() {
    let pool = pool(CONFIG);
    let mut slot = pool.claim(42).unwrap();
    assert_eq!((slot.input_mut().len(), slot.output().len()), (8192, 0));
    assert_eq!((pool.input_bytes(), pool.output_bytes()), (8192, 4096));
    slot.input_mut()[17] = 5;
    slot.submit();
    assert_eq!((slot.state(), slot.input_mut().len(), slot.input()[17]), (State::Ready, 0, 5));
    assert_eq!(slot.wait(Duration::ZERO), State::Ready);
    let mut running = take_one(&pool).unwrap();
    assert!(take_one(&pool).is_none(), "taken once");
    assert_eq!((running.group(), running.index(), running.input()[17]), (42, slot.index(), 5));
    running.output_mut()[9] = 6;
    assert_eq!((slot.state(), slot.output().len()), (State::Running, 0));
    running.complete(3);
    assert_eq!((slot.wait(LONGEST_WAIT), slot.device(), slot.output()[9]), (State::Done, Some(3), 6));
    assert_eq!(pool.slots(), (4, 3));
    drop(slot);
    assert!(pool.is_idle());
}

#[test]
fn slots_are_taken_in_the_order_of_submission() {
    let pool = pool(CONFIG);
    let mut slots: Vec<Slot> = (0..4).map(|group| pool.claim(group).unwrap()).collect();
    assert!(pool.claim(9).is_none(), "all are taken");
    for number in [2, 0, 3, 1] {
        slots[number].submit();
    }
    let mut taken = Vec::new();
    pool.take_ready(&mut taken);
    assert_eq!(taken.iter().map(Running::group).collect::<Vec<_>>(), [2, 0, 3, 1]);
    taken.remove(0).fail("no reason");
    drop(taken);
    assert_eq!(slots.iter().map(Slot::state).collect::<Vec<_>>(), [State::Failed; 4]);
    assert_eq!((slots[2].error(), slots[2].device()), ("no reason".into(), None));
    assert_eq!(slots[0].error(), "the GPU engine gave the slot up");
}

#[test]
fn a_process_keeps_to_the_slots_that_it_knows() {
    let pool = pool(Config { slots: 8, input_bytes: 4096, output_bytes: 4096 });
    let (one, two) = (pool.claim(0).unwrap(), pool.claim(0).unwrap());
    let known = [one.index(), two.index()];
    drop(one);
    for _ in 0..20 {
        assert_eq!(pool.claim(0).unwrap().index(), known[0]);
    }
    let more: Vec<Slot> = (0..7).map(|_| pool.claim(0).unwrap()).collect();
    assert!(pool.claim(0).is_none() && more.iter().all(|slot| slot.index() != known[1]));
}

#[test]
fn a_slot_may_be_given_up_at_any_time() {
    let pool = pool(Config { slots: 1, ..CONFIG });
    drop(pool.claim(0).unwrap());
    let mut ready = pool.claim(0).unwrap();
    ready.submit();
    drop(ready);
    assert!(take_one(&pool).is_none() && pool.is_idle());
    for fails in [false, true] {
        let mut slot = pool.claim(0).unwrap();
        slot.submit();
        let running = take_one(&pool).unwrap();
        drop(slot);
        assert!(running.is_abandoned() && pool.claim(0).is_none(), "the engine may still write");
        if fails {
            running.fail("late")
        } else {
            running.complete(0)
        }
        assert!(pool.is_idle());
    }
}

#[test]
fn exporters_attach() {
    let pool = pool(CONFIG);
    let (descriptor, generation) = (pool.descriptor(), pool.generation());
    let attached = Pool::attach(own_pid(), descriptor, generation).unwrap();
    let mut slot = attached.claim(1).unwrap();
    slot.input_mut()[8191] = 9;
    slot.submit();
    assert_eq!((pool.slots(), attached.descriptor()), ((4, 3), -1));
    drop(attached);
    assert_eq!(take_one(&pool).unwrap().input()[8191], 9, "a slot keeps the pool mapped");
    let wrong = Pool::attach(own_pid(), descriptor, generation + 1).unwrap_err();
    assert!(wrong.contains("restarted"), "{wrong}");
    // Another version's, or anything else that was sealed.
    let (other, mapping) = memory::create(1 << 20).unwrap();
    let refused = || Pool::attach(own_pid(), other.as_raw_fd(), 1).unwrap_err();
    assert!(refused().contains("not a pool"));
    let lie = Header { magic: MAGIC, slots: 1 << 40, input_bytes: 8192, output_bytes: 4096, bytes: 1 << 20 };
    // SAFETY: mapped, and borrowed by nobody.
    unsafe { mapping.start().cast::<Header>().write(lie) };
    assert!(refused().contains("says"));
}

#[test]
fn a_generation_ends() {
    let pool = pool(CONFIG);
    let attached = Pool::attach(own_pid(), pool.descriptor(), pool.generation()).unwrap();
    let mut slots: Vec<Slot> = (0..4).map(|_| attached.claim(0).unwrap()).collect();
    slots[0].submit();
    take_one(&pool).unwrap().complete(7);
    slots[1].submit();
    let running = take_one(&pool).unwrap();
    slots[2].submit();
    assert_eq!(attached.gone(), None);
    pool.new_generation();
    pool.fail_running();
    let states = [State::Done, State::Failed, State::Failed, State::Filling];
    assert_eq!(slots.iter().map(Slot::state).collect::<Vec<_>>(), states);
    assert_eq!((slots[0].device(), slots[0].error().as_str()), (Some(7), ""));
    assert!(attached.gone().is_some() && slots[2].error().contains("ended"));
    assert!(!pool.is_ready());
    pool.set_ready(&[]);
    slots.pop();
    assert!(attached.claim(0).is_none(), "of the generation before");
    assert!(pool.claim(0).is_some());
    drop(slots);
    // A handle that the engine's end left behind changes nothing.
    running.complete(1);
    assert!(pool.is_idle());
    pool.close();
    assert!(pool.gone().is_some() && pool.claim(0).is_none());
}

#[test]
fn dead_owners_slots_are_freed() {
    let pool = pool(CONFIG);
    let mut own = pool.claim(0).unwrap();
    own.submit();
    assert!(own.state() == State::Ready && take_one(&pool).is_some());
    let child = fork(|| {
        let mut slots: Vec<Slot> = (1..4).map(|group| pool.claim(group).unwrap()).collect();
        slots[1].submit();
        slots[2].submit();
        std::mem::forget(slots);
        true
    });
    assert!(waited(child));
    let mut taken = Vec::new();
    pool.take_ready(&mut taken);
    let running = taken.pop().unwrap();
    assert_eq!((taken.len(), running.group()), (1, 3));
    taken.remove(0).complete(0);
    assert_eq!(pool.reap_dead_owners(|_| true), 0);
    // SAFETY: signal 0 only asks.
    let alive = |pid| unsafe { libc::kill(pid, 0) } == 0;
    assert_eq!(pool.reap_dead_owners(alive), 3, "FILLING, DONE and RUNNING");
    assert!(running.is_abandoned());
    assert_eq!(pool.slots(), (4, 2));
    running.complete(0);
    assert_eq!((pool.slots(), own.state()), ((4, 3), State::Failed));
}

#[test]
fn a_child_does_not_give_up_its_parents_slots() {
    let pool = pool(CONFIG);
    let slot = pool.claim(0).unwrap();
    assert!(waited(fork(|| {
        // SAFETY: read once here; the parent's value is its own.
        drop(unsafe { std::ptr::read(&slot) });
        true
    })));
    assert_eq!(slot.state(), State::Filling);
}

#[test]
fn an_engine_dies_with_slots_running() {
    let pool = Pool::create(CONFIG).unwrap();
    let engine = fork(|| {
        pool.set_ready(&[]);
        let mut taken = Vec::new();
        while taken.is_empty() {
            pool.take_ready(&mut taken);
        }
        taken[0].output_mut().fill(1);
        loop {
            std::thread::sleep(LONGEST_WAIT);
        }
    });
    while !pool.is_ready() {
        std::thread::yield_now();
    }
    let exporter = Pool::attach(own_pid(), pool.descriptor(), pool.generation()).unwrap();
    let mut slot = exporter.claim(0).unwrap();
    slot.input_mut()[..3].copy_from_slice(b"abc");
    slot.submit();
    while slot.wait(LONGEST_WAIT) != State::Running {}
    assert_eq!(exporter.gone(), None);
    kill(engine);
    assert!(exporter.gone().unwrap().contains("died"), "seen without the supervisor");
    pool.new_generation();
    pool.fail_running();
    assert_eq!((slot.wait(LONGEST_WAIT), &slot.input()[..3]), (State::Failed, &b"abc"[..]));
    drop(slot);
    assert!(pool.is_idle());
}

#[test]
fn an_engine_that_does_not_answer_is_given_up() {
    let pool = pool(CONFIG);
    let exporter = Pool::attach(own_pid(), pool.descriptor(), pool.generation()).unwrap();
    let mut watch = Watch::default();
    let look = |watch: &mut Watch| {
        std::thread::sleep(LONGEST_WAIT);
        watch.look(&pool)
    };
    let mut slot = exporter.claim(0).unwrap();
    assert_eq!((look(&mut watch), look(&mut watch)), (Duration::ZERO, Duration::ZERO), "it is being filled");
    slot.submit();
    assert_eq!(watch.look(&pool), Duration::ZERO, "seen for the first time");
    let ready = look(&mut watch);
    let running = take_one(&pool).unwrap();
    let taken = look(&mut watch);
    assert!(!ready.is_zero() && taken > ready);
    drop(slot);
    assert!(look(&mut watch) > taken, "given up by its owner, and with the engine still");
    running.complete(0);
    let mut other = exporter.claim(0).unwrap();
    other.submit();
    assert_eq!(look(&mut watch), Duration::ZERO, "another submission");

    pool.give_up("no answer");
    assert_eq!(exporter.gone().as_deref(), Some("no answer"));
    assert!(exporter.claim(0).is_none());
    assert_eq!(other.state(), State::Ready, "it is not failed before the engine has ended");
    pool.new_generation();
    pool.fail_running();
    assert_eq!((other.state(), exporter.gone().as_deref()), (State::Failed, Some("no answer")));
    pool.set_ready(&[]);
    assert_eq!(exporter.gone().as_deref(), Some("the GPU engine has ended"));
}

#[test]
fn too_little_memory_makes_a_smaller_pool() {
    assert!(Pool::create(Config { slots: 1 << 16, input_bytes: 1 << 31, output_bytes: 1 << 31 }).is_err());
    for odd in [
        Config { slots: 0, ..CONFIG },
        Config { slots: 1 << 40, ..CONFIG },
        Config { input_bytes: 0, ..CONFIG },
        Config { output_bytes: usize::MAX, ..CONFIG },
    ] {
        assert!(Pool::create(odd).is_err(), "{odd:?}");
    }
    let child = fork(|| {
        let limit = libc::rlimit { rlim_cur: 8 << 20, rlim_max: 8 << 20 };
        // SAFETY: of the child alone.
        unsafe {
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &limit), 0);
        }
        let config = Config { slots: 64, input_bytes: 1 << 19, output_bytes: 1 << 19 };
        Pool::create(config).is_err() && Pool::create_at_most(config).unwrap().slots().0 == 4
    });
    assert!(waited(child));
}

#[test]
fn everyone_logs_and_devices_are_listed() {
    let pool = Pool::create(CONFIG).unwrap();
    let info = DeviceInfo { ordinal: 2, name: "a".into(), ..DeviceInfo::default() };
    assert!(waited(fork(|| {
        pool.set_ready(std::slice::from_ref(&info));
        pool.log("engine", "hello");
        true
    })));
    pool.log("service", "yes");
    let lines: Vec<_> = pool.log_lines().into_iter().map(|line| (line.source, line.message)).collect();
    assert_eq!(lines, [("engine".into(), "hello".into()), ("service".into(), "yes".to_string())]);
    pool.set_load(0, 3, 1);
    let found = pool.devices();
    assert_eq!((&found[0].info, found[0].queued, found[0].finished), (&info, 3, 1));
    pool.new_generation();
    assert_eq!(pool.devices(), []);
}

/// Returns what the engine below makes of a seed.
fn made_of(seed: u64) -> [u8; 64] {
    std::array::from_fn(|i| (seed.rotate_left(i as u32) ^ i as u64) as u8)
}

fn seed_in(input: &[u8]) -> u64 {
    u64::from_le_bytes(*input.first_chunk().unwrap())
}

/// Decodes until it is killed.
fn engine(pool: &Pool) -> bool {
    pool.set_ready(&[]);
    let mut taken = Vec::new();
    loop {
        let bell = pool.bell();
        pool.take_ready(&mut taken);
        if taken.is_empty() {
            pool.wait_bell(bell);
        }
        for mut running in taken.drain(..) {
            let seed = seed_in(running.input());
            assert!(running.input()[8..4096].iter().all(|&byte| byte == seed as u8));
            if seed.is_multiple_of(11) {
                running.fail(&format!("seed {seed}"));
                continue;
            }
            running.output_mut()[..64].copy_from_slice(&made_of(seed));
            running.complete((seed % 7) as u32);
        }
    }
}

/// Has slots decoded; some it gives up.
fn exporter(pool: &Pool, mut seed: u64, slots: usize) -> bool {
    for number in 0..slots {
        let mut slot = loop {
            match pool.claim(seed) {
                Some(slot) => break slot,
                None => std::thread::yield_now(),
            }
        };
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        slot.input_mut()[..4096].fill(seed as u8);
        slot.input_mut()[..8].copy_from_slice(&seed.to_le_bytes());
        if number % 13 == 5 {
            continue;
        }
        slot.submit();
        if number % 7 == 3 {
            continue;
        }
        let state = loop {
            match slot.wait(LONGEST_WAIT) {
                State::Ready | State::Running => (),
                state => break state,
            }
        };
        assert_eq!(seed_in(slot.input()), seed);
        match seed.is_multiple_of(11) {
            true => assert_eq!((state, slot.error()), (State::Failed, format!("seed {seed}"))),
            false => assert_eq!(
                (&slot.output()[..64], slot.device()),
                (&made_of(seed)[..], Some((seed % 7) as u32))
            ),
        }
    }
    true
}

#[test]
fn many_processes_and_threads() {
    let pool = Pool::create(Config { slots: 5, ..CONFIG }).unwrap();
    let engine = fork(|| engine(&pool));
    while !pool.is_ready() {
        std::thread::yield_now();
    }
    let (descriptor, generation) = (pool.descriptor(), pool.generation());
    let parent = own_pid();
    let attach = || Pool::attach(parent, descriptor, generation).unwrap();
    let exporters: Vec<i32> = (0..3).map(|number| fork(|| exporter(&attach(), number, 800))).collect();
    std::thread::scope(|scope| {
        for number in 10..13 {
            let (pool, exporter) = (attach(), exporter);
            scope.spawn(move || assert!(exporter(&pool, number, 400)));
        }
        // One dies with whatever it has, again and again.
        for number in 20..30 {
            let victim = fork(|| exporter(&attach(), number, usize::MAX));
            std::thread::sleep(Duration::from_millis(2));
            kill(victim);
            // SAFETY: signal 0 only asks.
            pool.reap_dead_owners(|pid| unsafe { libc::kill(pid, 0) } == 0);
        }
    });
    assert!(exporters.into_iter().all(waited));
    // A slot that was given up is freed when the engine has finished it.
    while !pool.is_idle() {
        std::thread::yield_now();
    }
    kill(engine);
}
