//! Row groups that a device keeps, encodes and compresses: what comes back is what the CPU's reference makes, and
//! how fast it comes with as many processes as a server has.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pg_strata::gpu::Device;
use pg_strata::gpu::cuda::{self, Config};
use pg_strata::gpu::engine;
use pg_strata::gpu::schedule::Policy;
use pg_strata::gpu::testing::fake::FakeDevice;
use pg_strata::gpu::testing::specimens::{self, Wish as Specimen};
use pg_strata::slot::encode::{
    Answer, DESCRIBE, LZ4, MORE, Order, PLAIN_BODIES, Request, SNAPPY, Wish, ZSTD, encoding, write_request,
};
use pg_strata::slot::input::Input;
use pg_strata::slot::layout::{HEAP, Header, KEEP, Op, WANT_COLUMNS, get, put};
use pg_strata::slot::pool::{Config as PoolConfig, Pool, Slot, State};

use super::compress::{codecs, read_back};
use super::pool::Memory;
use super::values::Chance;
use super::{MIB, Options, Table, config, lineorder, open};

/// Slots of a row group in the pipeline: about a million rows in slots of 8 MiB.
const SLOTS: usize = 17;

/// Some numbers are taken for floats.
fn order(number: usize, op: Op) -> Order {
    match op {
        Op::Int4 | Op::Int8 if number.is_multiple_of(4) => Order::Floating,
        Op::Bool | Op::Uuid | Op::Bytes | Op::Name | Op::Char => Order::Unsigned,
        _ => Order::Signed,
    }
}

/// Returns the encoding other than PLAIN that values can have, if any.
fn other_encoding(op: Op, order: Order) -> u32 {
    [encoding::DELTA_BINARY_PACKED, encoding::DELTA_LENGTH_BYTE_ARRAY, encoding::BYTE_STREAM_SPLIT]
        .into_iter()
        .find(|&wanted| encoding::of(op, order, wanted) == wanted)
        .unwrap_or(encoding::PLAIN)
}

/// Every encoding is asked for somewhere.
fn wishes(ops: &[Op]) -> Vec<Wish> {
    let wish = |(number, &op): (usize, &Op)| {
        let order = order(number, op);
        let encoding = if number % 2 == 0 { other_encoding(op, order) } else { encoding::PLAIN };
        Wish { op, order, nullable: true, dictionary: number % 3 != 0, encoding }
    };
    ops.iter().enumerate().map(wish).collect()
}

/// A row group's answer, and its bodies end to end.
fn encoded(
    device: &dyn Device,
    group: u64,
    inputs: &mut [Vec<u8>],
    codec: u32,
    region: usize,
) -> Result<(Answer, Vec<u8>), String> {
    let mut output = vec![0; region];
    let mut ask = |input: &[u8]| -> Result<Vec<u8>, String> {
        let ticket = device.submit(group, input).map_err(|fault| fault.message)?;
        device.collect(ticket, &mut output).map_err(|fault| fault.message)?;
        Ok(output.clone())
    };
    let mut rows = 0;
    for (sequence, input) in inputs.iter_mut().enumerate() {
        let header: Header = get(input, 0).ok_or("no header")?;
        rows += header.rows;
        let header = Header { flags: WANT_COLUMNS | KEEP, sequence: sequence as u32, ..header };
        assert!(put(input, 0, header), "it was read there");
        ask(input)?;
    }
    let wishes = wishes(Input::new(&inputs[0])?.ops());
    let request = Request { step: DESCRIBE, rows, slots: inputs.len() as u32, codec, ..Request::default() };
    let mut input = vec![0; 64 + 8 * wishes.len()];
    assert!(write_request(&mut input, request, &wishes), "there is room");
    let first = ask(&input)?;
    let answer = Answer::read(&first, rows, codec, &wishes)?;
    let mut bodies = first[answer.bodies_at..].to_vec();
    while bodies.len() < answer.bytes as usize {
        assert!(write_request(
            &mut input,
            Request { step: MORE, from: bodies.len() as u64, ..request },
            &wishes
        ));
        bodies.extend(ask(&input)?);
    }
    bodies.truncate(answer.bytes as usize);
    Ok((answer, bodies))
}

/// The bodies one by one.
fn split<'a>(answer: &Answer, mut bodies: &'a [u8]) -> Vec<&'a [u8]> {
    let dictionary =
        |chunk: &pg_strata::slot::encode::ColumnChunk| chunk.dictionary.map(|found| found.stored);
    let sizes = answer.chunks.iter().flat_map(|chunk| {
        dictionary(chunk)
            .into_iter()
            .chain(chunk.pages.iter().map(|page| page.entry.stored))
            .collect::<Vec<_>>()
    });
    sizes
        .map(|size| {
            let (body, rest) = bodies.split_at(size as usize);
            bodies = rest;
            body
        })
        .collect()
}

fn uncompressed(mut answer: Answer) -> Answer {
    for chunk in &mut answer.chunks {
        if let Some(dictionary) = &mut chunk.dictionary {
            dictionary.stored = dictionary.raw;
        }
        chunk.pages.iter_mut().for_each(|page| page.entry.stored = page.entry.raw);
    }
    (answer.codec, answer.bytes, answer.bodies_at) = (PLAIN_BODIES, 0, 0);
    answer
}

/// Inputs of a row group each: several slots of lineorder, and of every kind of column.
fn cases(small: bool) -> Vec<(String, Vec<Vec<u8>>)> {
    let mut cases = Vec::new();
    let (slots, bytes) = if small { (2, 1 << 20) } else { (6, 8 << 20) };
    for kind in [HEAP, pg_strata::slot::layout::COPY_BINARY] {
        let mut table = lineorder::table(kind, 1_000_000);
        let mut chance = Chance(5);
        let mut inputs = Vec::new();
        for _ in 0..slots {
            let mut input = vec![0; bytes];
            table.fill(&mut input, bytes * 3 / 2, usize::MAX, true, &mut chance).expect("room");
            inputs.push(input);
        }
        cases.push((format!("lineorder, kind {kind}"), inputs));
    }
    for seed in 0..if small { 4 } else { 60 } {
        let rows = [1, 33, 700, 20_000][seed as usize % 4];
        let rows = if small { rows.min(700) } else { rows };
        let wish = Specimen { seed, rows, columns: 9, nulls: [0, 10, 60][seed as usize % 3], trouble: 0 };
        let found = if seed % 2 == 0 { specimens::heap(wish) } else { specimens::copy_binary(wish) };
        let Ok(input) = Input::new(&found.input) else { continue };
        if !input.ops().iter().any(|op| matches!(op, Op::Skip | Op::NumericText)) {
            cases.push((found.name, vec![found.input; 1 + seed as usize % 3]));
        }
    }
    cases
}

/// Device against reference, in every codec, and the same bytes twice, of which nvCOMP promises nothing.
pub fn check(device: &dyn Device, region: usize, nvcomp: bool, small: bool) -> Result<String, String> {
    let reference = FakeDevice::new(0);
    let group = |number: usize| u64::from(std::process::id()) << 40 | number as u64;
    let (mut pages, mut bytes, mut made) = (0, 0, 0);
    let cases = cases(small);
    for (number, (name, mut inputs)) in cases.into_iter().enumerate() {
        let mut run = |device: &dyn Device, codec| {
            encoded(device, group(number), &mut inputs, codec, region).map_err(|why| format!("{name}: {why}"))
        };
        let (answer, bodies) = run(&reference, PLAIN_BODIES)?;
        let (found, plain) = run(device, PLAIN_BODIES)?;
        if found != answer {
            return Err(format!("{name}: the pages are not described as on the CPU"));
        }
        if plain != bodies {
            let at = plain.iter().zip(&bodies).position(|(one, other)| one != other);
            return Err(format!("{name}: bodies differ from those of the CPU at byte {at:?}"));
        }
        for (codec, codec_name, _) in codecs(nvcomp) {
            let (found, streams) = run(device, codec)?;
            if found.codec != codec {
                return Err(format!("{name}: not compressed by {codec_name}: {:?}", device.notes()));
            }
            if codec != ZSTD && run(device, codec)? != (found.clone(), streams.clone()) {
                return Err(format!("{name}: two runs by {codec_name} differ"));
            }
            for (stream, body) in split(&found, &streams).into_iter().zip(split(&answer, &bodies)) {
                if read_back(codec, stream, body.len()).as_deref() != Some(body) {
                    return Err(format!("{name}: a page is not read back from {codec_name}"));
                }
                pages += 1;
            }
            if uncompressed(found) != uncompressed(answer.clone()) {
                return Err(format!("{name}: pages in {codec_name} are described otherwise"));
            }
            (bytes, made) = (bytes + bodies.len(), made + streams.len());
        }
    }
    Ok(format!("{pages} pages, {bytes} bytes, {made} of them compressed"))
}

/// Row groups of lineorder through pool and engine, by threads that do what an export's processes do but for
/// scanning and writing: GB/s of heap, and more.
fn pipeline(
    pool: &Pool,
    devices: Vec<Box<dyn Device>>,
    threads: usize,
    seconds: f64,
    codec: u32,
) -> Result<(f64, String), String> {
    let stop = AtomicBool::new(false);
    let inputs = filled(pool.input_bytes(), pool.output_bytes());
    let (elapsed, results) = thread::scope(|scope| {
        let engine = scope.spawn(|| engine::run(pool, devices, Policy::System, &stop, &|_| ()));
        while !pool.is_ready() {
            thread::sleep(Duration::from_millis(1));
        }
        let began = Instant::now();
        let until = began + Duration::from_secs_f64(seconds);
        let inputs = &inputs;
        let running: Vec<_> =
            (0..threads).map(|_| scope.spawn(move || export_until(pool, until, inputs, codec))).collect();
        let results: Vec<_> = running.into_iter().map(|thread| thread.join()).collect();
        let elapsed = began.elapsed().as_secs_f64();
        stop.store(true, Ordering::Relaxed);
        // Whatever it says, the slots came back or did not.
        let _ = engine.join();
        (elapsed, results)
    });
    let (mut groups, mut back) = (0, 0);
    for result in results {
        let (done, bytes) = result.map_err(|_| "a thread panicked")??;
        (groups, back) = (groups + done, back + bytes);
    }
    let heap = (groups * inputs.iter().map(|(_, bytes)| *bytes).sum::<u64>()) as f64;
    let note = format!(
        "{groups} row groups, {:.1} GB of heap to {:.1} GB of pages in {elapsed:.2} s",
        heap / 1e9,
        back as f64 / 1e9
    );
    Ok((heap / elapsed / 1e9, note))
}

/// Row groups, and the bytes of their pages.
fn export_until(
    pool: &Pool,
    until: Instant,
    inputs: &[(Vec<u8>, u64)],
    codec: u32,
) -> Result<(u64, u64), String> {
    // SAFETY: gives a number. It names the thread as a process is named: each has a group of its own.
    let owner = unsafe { libc::gettid() } as u64;
    let (mut groups, mut back) = (0, 0);
    while Instant::now() < until {
        groups += 1;
        back += exported(pool, owner << 40 | groups, inputs, codec)?;
    }
    Ok((groups, back))
}

/// The checks, then rates, on pools as the service has them.
pub fn run(options: &Options, small: bool, table: &mut Table) -> Result<(), String> {
    let (input_bytes, output_bytes) = if small { (2 * MIB, 3 * MIB) } else { (8 * MIB, 12 * MIB) };
    let slots = if small { 4 } else { 64 };
    let new_pool = || Pool::create(PoolConfig { slots, input_bytes, output_bytes });
    let open_on = |pool: &Pool| {
        let (start, bytes) = pool.memory();
        let memory = Memory::new(1, 4096, 4096);
        let config = Config {
            pool: cuda::Pool { start, bytes },
            input_bytes: pool.input_bytes(),
            output_bytes: pool.output_bytes(),
            group_memory: 8 << 30,
            ..config(options, &memory, 4)
        };
        open(&config)
    };
    let pool = new_pool()?;
    for device in open_on(&pool)? {
        let what = format!("GPU {}: row groups' pages equal the CPU's, byte for byte", device.info().ordinal);
        match check(&device, output_bytes, options.nvcomp.is_some(), small) {
            Ok(note) => table.ok(what, "ok", note),
            Err(why) => table.fail(what, why),
        }
    }
    drop(pool);
    let mut codecs = vec![(SNAPPY, "snappy"), (LZ4, "lz4"), (PLAIN_BODIES, "no codec")];
    codecs.extend(options.nvcomp.as_ref().map(|_| (ZSTD, "zstd by nvCOMP")));
    for (codec, name) in codecs.iter().filter(|_| !small) {
        for threads in [1, 4, 16] {
            let pool = new_pool()?;
            let devices = open_on(&pool)?.into_iter().map(|device| Box::new(device) as Box<dyn Device>);
            let (rate, note) = pipeline(&pool, devices.collect(), threads, 1.5, *codec)?;
            let what = format!("row groups through pool and engine, {name}, {threads} threads");
            table.ok(what, format!("{rate:.1} GB/s of heap"), note);
        }
    }
    Ok(())
}

/// Slots of a row group, and the bytes of heap in each.
fn filled(input_bytes: usize, output_bytes: usize) -> Vec<(Vec<u8>, u64)> {
    let mut table = lineorder::table(HEAP, 1_000_000);
    let mut chance = Chance(11);
    (0..SLOTS)
        .map(|_| {
            let mut input = vec![0; input_bytes];
            table.fill(&mut input, output_bytes, usize::MAX, true, &mut chance).expect("room");
            let header: Header = get(&input, 0).expect("filled");
            assert!(put(&mut input, 0, Header { flags: WANT_COLUMNS | KEEP, ..header }));
            input.truncate(Input::new(&input).expect("filled").used());
            (input, header.data_bytes.into())
        })
        .collect()
}

/// One row group: the bytes of its pages.
fn exported(pool: &Pool, group: u64, inputs: &[(Vec<u8>, u64)], codec: u32) -> Result<u64, String> {
    let mut under_way = std::collections::VecDeque::new();
    let mut rows = 0;
    for (sequence, (input, _)) in inputs.iter().enumerate() {
        if under_way.len() == 2 {
            under_way.pop_front().map_or(Ok(()), |slot| landed(&slot))?;
        }
        let mut slot = claim(pool, group);
        slot.input_mut()[..input.len()].copy_from_slice(input);
        slot.set_sequence(sequence as u32);
        rows += get::<Header>(input, 0).expect("filled").rows;
        slot.submit();
        under_way.push_back(slot);
    }
    under_way.iter().try_for_each(landed)?;
    drop(under_way);
    let wishes = wishes(Input::new(&inputs[0].0)?.ops());
    let request = Request { step: DESCRIBE, rows, slots: inputs.len() as u32, codec, ..Request::default() };
    let ask = |request| {
        let mut slot = claim(pool, group);
        assert!(write_request(slot.input_mut(), request, &wishes));
        slot.submit();
        landed(&slot).map(|()| slot)
    };
    let first = ask(request)?;
    let answer = Answer::read(first.output(), rows, codec, &wishes)?;
    let mut bodies = Vec::with_capacity(answer.bytes as usize);
    bodies.extend_from_slice(&first.output()[answer.bodies_at..]);
    drop(first);
    while bodies.len() < answer.bytes as usize {
        bodies.extend_from_slice(ask(Request { step: MORE, from: bodies.len() as u64, ..request })?.output());
    }
    Ok(answer.bytes)
}

fn claim(pool: &Pool, group: u64) -> Slot {
    loop {
        match pool.claim(group) {
            Some(slot) => return slot,
            None => thread::sleep(Duration::from_micros(100)),
        }
    }
}

fn landed(slot: &Slot) -> Result<(), String> {
    loop {
        match slot.wait(Duration::from_millis(10)) {
            State::Done => return Ok(()),
            State::Failed => return Err(slot.error()),
            _ => {}
        }
    }
}
