//! Checks a machine's GPUs: that they are usable, that they decode exactly what the CPU decodes, how fast
//! they are, and what comes of faults. Needs no PostgreSQL.
//!
//! ```text
//! gpu_check [MODE...] [--cache DIR] [--nvrtc PATH] [--slots DIR] [--rounds N] [--gigabytes N] [--small]
//!   probe    the driver, the devices, their buses and kernels; the kernels' cache
//!   golden   generated slots, and files *.slot in DIR (input regions), on the device and on the CPU
//!   rates    kernels alone; slots from registered memory, with copies overlapped
//!   encode   columns to pages: golden bytes; encode kernels alone
//!   compress compressed pages, by each codec: golden bytes, read back; the kernels alone
//!   groups   row groups kept, encoded, compressed and fetched: equal the CPU's; through pool and engine, how fast
//!   faults   a kernel that faults, memory that is not there: each in a process of its own
//!   all      the seven above (default)
//!   cases    no device: makes the generated slots and decodes them on the CPU, and encodes row groups
//!   host     golden, against the program that kernels/host/decode.cpp makes: --program PATH
//!   small    golden with few and small slots on buffers to match, for compute-sanitizer
//! ```
//!
//! If PG_STRATA_NVCOMP names libnvcomp.so.6, its zstd is checked like the other codecs.
//!
//! The last output is one table; the exit status is 1 when anything in it is not as it should be.

mod build;
mod cases;
mod compress;
mod encode;
mod golden;
mod groups;
mod host;
mod lineorder;
mod pool;
mod rates;
mod values;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use pg_strata::gpu::Device;
use pg_strata::gpu::cuda::{Config, CudaDevice, open_all, probe};
use pg_strata::gpu::testing::TestOptions;
use pg_strata::gpu::testing::bench::compress::Compress;
use pg_strata::gpu::testing::bench::encode::Encode;
use pg_strata::gpu::testing::fake::FakeDevice;
use pg_strata::slot::layout::{COPY_BINARY, HEAP};

use pool::Memory;
use values::Chance;

const MIB: usize = 1 << 20;

struct Options {
    modes: Vec<String>,
    cache: PathBuf,
    nvrtc: Option<PathBuf>,
    nvcomp: Option<PathBuf>,
    slots: Option<PathBuf>,
    program: Option<PathBuf>,
    rounds: u64,
    gigabytes: usize,
    small: bool,
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        modes: Vec::new(),
        cache: std::env::temp_dir().join("gpu_check_cache"),
        nvrtc: None,
        nvcomp: std::env::var_os("PG_STRATA_NVCOMP").filter(|path| !path.is_empty()).map(PathBuf::from),
        slots: None,
        program: None,
        rounds: 4,
        gigabytes: 16,
        small: false,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--cache" => options.cache = value()?.into(),
            "--nvrtc" => options.nvrtc = Some(value()?.into()),
            "--program" => options.program = Some(value()?.into()),
            "--slots" => options.slots = Some(value()?.into()),
            "--rounds" => options.rounds = value()?.parse().map_err(|_| "--rounds takes a number")?,
            "--gigabytes" => {
                options.gigabytes = value()?.parse().map_err(|_| "--gigabytes takes a number")?
            }
            "--small" => options.small = true,
            mode if !mode.starts_with('-') => options.modes.push(mode.to_string()),
            other => return Err(format!("unknown option {other}")),
        }
    }
    if options.modes.is_empty() || options.modes == ["all"] {
        options.modes =
            ["probe", "golden", "rates", "encode", "compress", "groups", "faults"].map(String::from).to_vec();
    }
    Ok(options)
}

/// The lines of the table: what, "ok" or what is wrong, more.
#[derive(Default)]
struct Table {
    lines: Vec<(String, String, String)>,
    failed: bool,
}

impl Table {
    fn ok(&mut self, what: impl Into<String>, result: impl Into<String>, note: impl Into<String>) {
        let line = (what.into(), result.into(), note.into());
        println!("... {} | {} | {}", line.0, line.1, line.2);
        self.lines.push(line);
    }

    fn fail(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.failed = true;
        self.ok(what, "FAILED", why);
    }

    fn check(&mut self, what: &str, good: bool, note: impl Into<String>) {
        if good { self.ok(what, "ok", note) } else { self.fail(what, note) }
    }

    fn print(&self) {
        let width = |of: fn(&(String, String, String)) -> &String| {
            self.lines.iter().map(of).map(|text| text.chars().count()).max().unwrap_or(0)
        };
        let (first, second) = (width(|line| &line.0), width(|line| &line.1));
        println!("\n{:first$} | {:second$} | ", "gpu_check", "");
        println!("{:-<first$}-|-{:-<second$}-|-", "", "");
        for (what, result, note) in &self.lines {
            println!("{what:first$} | {result:>second$} | {note}");
        }
        println!("{}", if self.failed { "gpu_check: FAILED" } else { "gpu_check: ok" });
    }
}

fn config(options: &Options, memory: &Memory, depth: usize) -> Config {
    Config {
        ordinals: Vec::new(),
        pool: memory.pool(),
        input_bytes: memory.input_bytes(),
        output_bytes: memory.output_bytes(),
        depth,
        memory_limit: 0,
        group_memory: 8 << 30,
        nvrtc: options.nvrtc.clone(),
        nvcomp: options.nvcomp.clone(),
        cache: options.cache.clone(),
        test: TestOptions::default(),
    }
}

fn open(config: &Config) -> Result<Vec<CudaDevice>, String> {
    // SAFETY: every caller's memory is declared before the devices and outlives them.
    unsafe { open_all(config) }
}

fn describe(options: &Options, table: &mut Table) -> Result<(), String> {
    let driver = probe()?;
    table.ok(
        "driver",
        format!("CUDA {}.{}", driver.version / 1000, driver.version % 1000 / 10),
        format!("{} GPUs", driver.devices),
    );
    let memory = Memory::new(2, 64 * MIB, 64 * MIB);
    let _ = std::fs::remove_dir_all(&options.cache);
    for state in ["first, kernels compiled", "again, kernels cached"] {
        let start = Instant::now();
        let devices = open(&config(options, &memory, 2))?;
        table.ok(format!("devices opened {state}"), format!("{:.2} s", start.elapsed().as_secs_f64()), "");
        if state.starts_with("again") {
            for device in &devices {
                show(device, table)?;
            }
        }
    }
    let entries = || options.cache.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    let whole: u64 = entries().filter_map(|path| path.metadata().ok()).map(|file| file.len()).sum();
    for path in entries() {
        std::fs::write(path, b"PGSTRCU1 is damaged").map_err(|error| error.to_string())?;
    }
    drop(open(&config(options, &memory, 2))?);
    let again: u64 = entries().filter_map(|path| path.metadata().ok()).map(|file| file.len()).sum();
    table.check("damaged cache", whole == again && whole > 1000, format!("compiled again, {whole} bytes"));
    Ok(())
}

fn show(device: &CudaDevice, table: &mut Table) -> Result<(), String> {
    let info = device.info();
    let gigabytes = |bytes: u64| bytes as f64 / 1e9;
    table.ok(
        format!("GPU {}", info.ordinal),
        info.name.clone(),
        format!(
            "{:.1} GB, sm_{}{}, {} {}, NUMA node {:?}, H2D {:.1} GB/s, D2H {:.1} GB/s",
            gigabytes(info.memory),
            info.capability.0,
            info.capability.1,
            info.pci_bus_id,
            if info.pci_link.is_empty() { "(link unknown)" } else { &info.pci_link },
            info.numa_node,
            gigabytes(info.h2d),
            gigabytes(info.d2h)
        ),
    );
    table.ok("  both ways at once", format!("{:.1} GB/s", gigabytes(device.bandwidth().duplex)), "");
    for (name, registers, local) in device.resources().map_err(|fault| fault.message)? {
        table.ok(
            format!("  kernel {name}"),
            format!("{registers} registers"),
            format!("{local} bytes of local memory"),
        );
    }
    Ok(())
}

fn golden(options: &Options, small: bool, table: &mut Table) -> Result<(), String> {
    let (input, output) = if small { (2 * MIB, 8 * MIB) } else { (8 * MIB, 24 * MIB) };
    let depth = if small { 2 } else { 4 };
    let mut memory = Memory::new(depth, input, output);
    let mut config = config(options, &memory, depth);
    config.test.scatter_memory = small;
    let devices = open(&config)?;
    devices.iter().for_each(|device| compare(device, &mut memory, small, options, table));
    Ok(())
}

fn on_the_host(options: &Options, table: &mut Table) -> Result<(), String> {
    let mut memory = Memory::new(2, 8 * MIB, 24 * MIB);
    let program = options.program.as_deref().ok_or("--program is missing")?;
    let host = host::Host::start(program, memory.output_bytes()).map_err(|error| error.to_string())?;
    compare(&host, &mut memory, options.small, options, table);
    Ok(())
}

fn compare(device: &dyn Device, memory: &mut Memory, small: bool, options: &Options, table: &mut Table) {
    let start = Instant::now();
    let rounds = if small { 1 } else { options.rounds };
    let tally = golden::run(device, memory, small, rounds, options.slots.as_deref());
    table.check(
        &format!("GPU {}: output equals the CPU's, byte for byte", device.info().ordinal),
        tally.differ == 0 && tally.slots > 0,
        format!(
            "{} slots, {} rows, {:.2} GB, {} statuses, {} refused by both, {} differ, {:.1} s",
            tally.slots,
            tally.rows,
            tally.bytes as f64 / 1e9,
            tally.statuses,
            tally.refused,
            tally.differ,
            start.elapsed().as_secs_f64()
        ),
    );
}

fn rates(options: &Options, table: &mut Table) -> Result<(), String> {
    // Slot sizes with how many slots, and how many in flight: resident ones are to be larger than the L2 cache.
    let sizes: &[(usize, usize, usize)] =
        if options.small { &[(8, 8, 4)] } else { &[(8, 128, 16), (16, 64, 8), (32, 32, 8), (64, 32, 8)] };
    for kind in [HEAP, COPY_BINARY] {
        for &(size, slots, depth) in sizes {
            let memory = Memory::new(slots, size * MIB, size * MIB * 3 / 2);
            let start = Instant::now();
            let (bytes, rows) = rates::fill(&memory, kind, 16);
            let filled = start.elapsed().as_secs_f64();
            println!(
                "... {slots} slots of {size} MiB filled in {filled:.1} s: {rows} rows, {:.1} bytes a row",
                bytes as f64 / rows as f64
            );
            let devices = open(&config(options, &memory, depth))?;
            let Some(device) = devices.first() else { return Err("no device".into()) };
            let add = |table: &mut Table, line: rates::Line| {
                table.ok(line.what, format!("{:.1} GB/s", line.rate), line.note)
            };
            add(table, rates::kernels(device, &memory, kind, 15)?);
            let least = options.gigabytes * 1_000_000_000;
            add(table, rates::overlapped(device, &memory, kind, least, false)?);
            add(table, rates::overlapped(device, &memory, kind, least, true)?);
            if devices.len() > 1 && size == 16 {
                add(table, rates::together(&devices, &memory, kind, least)?);
            }
        }
    }
    Ok(())
}

fn encoded(options: &Options, small: bool, table: &mut Table) -> Result<(), String> {
    let device = Encode::open(0, options.nvrtc.as_deref(), &options.cache)?;
    let what = "encode: bodies equal the host's, byte for byte";
    match encode::check(&device) {
        Ok(note) => table.ok(what, "ok", note),
        Err(why) => table.fail(what, why),
    }
    if !small {
        for (what, rate, note) in encode::rates(&device, 512 * MIB, 9)? {
            table.ok(what, format!("{rate:.1} GB/s"), note);
        }
    }
    Ok(())
}

fn compressed(options: &Options, small: bool, table: &mut Table) -> Result<(), String> {
    let device = Compress::open(0, options.nvrtc.as_deref(), &options.cache, options.nvcomp.as_deref())?;
    for (codec, name, golden) in compress::codecs(options.nvcomp.is_some()) {
        let equal = if golden.is_empty() { "" } else { "equal the host's and " };
        let what = format!("{name}: streams {equal}are read back");
        match compress::check(&device, codec, golden, small) {
            Ok(note) => table.ok(what, "ok", note),
            Err(why) => table.fail(what, why),
        }
        if !small {
            for (what, rate, note) in compress::rates(&device, (codec, name), 256 * MIB, 9)? {
                table.ok(what, format!("{rate:.1} GB/s"), note);
            }
        }
    }
    Ok(())
}

/// Runs a part of `faults` in a process of its own, since its device is lost afterwards.
fn child(part: &str, options: &Options, table: &mut Table) {
    let program = std::env::current_exe().unwrap_or_else(|_| "gpu_check".into());
    let mut command = Command::new(program);
    command.arg(part).arg("--cache").arg(&options.cache);
    if let Some(path) = &options.nvrtc {
        command.arg("--nvrtc").arg(path);
    }
    match command.output() {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout);
            let last = text.lines().rfind(|line| !line.is_empty()).unwrap_or("no output").to_string();
            let error = String::from_utf8_lossy(&output.stderr);
            let note = if output.status.success() {
                last
            } else {
                format!("{last}; {}; {}", output.status, error.trim())
            };
            table.check(part, output.status.success(), note);
        }
        Err(error) => table.fail(part, error.to_string()),
    }
}

/// A kernel faults with the third slot: from then on every slot fails, and says that the device is lost.
fn kernel_fault(options: &Options) -> Result<String, String> {
    let memory = Memory::new(4, 2 * MIB, 4 * MIB);
    rates::fill(&memory, HEAP, 4);
    let mut config = config(options, &memory, 4);
    config.test.fault_after = Some(2);
    let devices = open(&config)?;
    let device = devices.first().ok_or("no device")?;
    let mut outcomes = Vec::new();
    for slot in 0..6 {
        // SAFETY: one slot at a time.
        let output = unsafe { memory.output(slot % 4) };
        outcomes
            .push(device.submit(0, memory.input(slot % 4)).and_then(|ticket| device.collect(ticket, output)));
    }
    let good = outcomes[..2].iter().all(Result::is_ok)
        && outcomes[2..].iter().all(|outcome| outcome.as_ref().is_err_and(|fault| fault.sticky));
    let message = format!("{:?}", outcomes[2]);
    if good { Ok(message) } else { Err(format!("{outcomes:?}")) }
}

/// Memory that the device does not have, and a limit below one slot, are reasons at start.
fn no_memory(options: &Options) -> Result<String, String> {
    let memory = Memory::new(2, 2 * MIB, 4 * MIB);
    let mut exhausted = config(options, &memory, 2);
    exhausted.test.exhaust_memory = true;
    let reason = open(&exhausted).err().ok_or("more memory than there is was given")?;
    let mut limited = config(options, &memory, 2);
    limited.memory_limit = 1 << 20;
    let limit = open(&limited).err().ok_or("a limit was passed")?;
    let after = open(&config(options, &memory, 2)).map(|devices| devices.len())?;
    Ok(format!("{reason} | {limit} | then {after} opened"))
}

/// Submits wrong input regions. They are refused, and the device goes on.
fn refused(options: &Options) -> Result<String, String> {
    let mut memory = Memory::new(2, 2 * MIB, 4 * MIB);
    let devices = open(&config(options, &memory, 2))?;
    let device = devices.first().ok_or("no device")?;
    let (input, _) = memory.slot(1);
    input.fill(0xFF);
    let mut messages = Vec::new();
    for _ in 0..5 {
        match device.submit(0, memory.input(1)) {
            Err(fault) if !fault.sticky => messages.push(fault.message),
            other => return Err(format!("{other:?}")),
        }
    }
    let mut chance = Chance(1);
    let mut table = lineorder::table(HEAP, 1);
    let (input, output) = memory.slot(0);
    table.fill(input, 4 * MIB, 1000, true, &mut chance).ok_or("no room")?;
    // A region that is too small for its output.
    let ticket = device.submit(0, input).map_err(|fault| fault.message)?;
    match device.collect(ticket, &mut output[..20_000]) {
        Err(fault) if !fault.sticky => messages.push(fault.message),
        other => return Err(format!("{other:?}")),
    }
    let ticket = device.submit(0, input).map_err(|fault| fault.message)?;
    device.collect(ticket, output).map_err(|fault| fault.message)?;
    Ok(format!("{} | {}", messages[0], messages[5]))
}

fn run(mode: &str, options: &Options, table: &mut Table) -> Result<(), String> {
    let part = |found: Result<String, String>| found.map(|message| println!("{message}"));
    match mode {
        "probe" => describe(options, table),
        "golden" => golden(options, options.small, table),
        "small" => golden(options, true, table)
            .and_then(|()| encoded(options, true, table))
            .and_then(|()| compressed(options, true, table))
            .and_then(|()| groups::run(options, true, table)),
        "encode" => encoded(options, options.small, table),
        "compress" => compressed(options, options.small, table),
        "groups" => groups::run(options, options.small, table),
        "cases" => {
            let (slots, rows, statuses) = golden::on_the_cpu(options.small);
            table.check(
                "generated slots on the CPU",
                slots > 0,
                format!("{slots} slots, {rows} rows, {statuses} statuses"),
            );
            let region = if options.small { 3 * MIB } else { 12 * MIB };
            let note = groups::check(&FakeDevice::new(0), region, false, options.small)?;
            table.ok("row groups encoded on the CPU", "ok", note);
            Ok(())
        }
        "host" => on_the_host(options, table),
        "rates" => rates(options, table),
        "faults" => {
            ["kernel-fault", "no-memory", "refused"].iter().for_each(|part| child(part, options, table));
            Ok(())
        }
        "kernel-fault" => part(kernel_fault(options)),
        "no-memory" => part(no_memory(options)),
        "refused" => part(refused(options)),
        other => Err(format!("unknown mode {other}")),
    }
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(message) => {
            eprintln!("gpu_check: {message}");
            return ExitCode::from(2);
        }
    };
    if options.slots.as_deref().is_some_and(|folder| !Path::is_dir(folder)) {
        eprintln!("gpu_check: --slots names no folder");
        return ExitCode::from(2);
    }
    let mut table = Table::default();
    let start = Instant::now();
    for mode in &options.modes {
        if let Err(message) = run(mode, &options, &mut table) {
            eprintln!("gpu_check {mode}: {message}");
            table.fail(mode.clone(), message);
        }
    }
    if !table.lines.is_empty() {
        table.ok("seconds in all", format!("{:.0}", start.elapsed().as_secs_f64()), "");
        table.print();
    }
    if table.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
