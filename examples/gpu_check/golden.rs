//! The device's output against the CPU's, byte for byte, with several slots in flight.

use std::collections::VecDeque;
use std::path::Path;

use pg_strata::decode::slot::decode_slot;
use pg_strata::gpu::Device;
use pg_strata::gpu::testing::specimens::{self, Specimen, Wish, faults};
use pg_strata::slot::input::Input;
use pg_strata::slot::layout::{OutHeader, STATUSES, Status, WANT_COLUMNS, columns_start, get, statuses_at};

use super::cases::cases;
use super::pool::Memory;
use super::values::Chance;

#[derive(Default)]
pub struct Tally {
    pub slots: usize,
    pub rows: usize,
    pub statuses: usize,
    pub bytes: usize,
    pub differ: usize,
    /// Slots that neither side decodes.
    pub refused: usize,
}

struct Flight {
    name: String,
    slot: usize,
    ticket: Result<usize, String>,
}

/// Runs the generated cases `rounds` times, then the files of a folder.
pub fn run(
    device: &dyn Device,
    memory: &mut Memory,
    small: bool,
    rounds: u64,
    files: Option<&Path>,
) -> Tally {
    let mut tally = Tally::default();
    let mut flying: VecDeque<Flight> = VecDeque::new();
    let depth = device.depth().min(memory.slots());
    let mut expected = vec![0; memory.output_bytes()];
    let mut next = 0;
    let mut fly = |name: String, memory: &mut Memory, fill: &mut dyn FnMut(&mut [u8], usize)| {
        if flying.len() == depth {
            land(device, flying.pop_front(), memory, &mut expected, &mut tally);
        }
        let slot = next % depth;
        next += 1;
        let output_bytes = memory.output_bytes();
        let (input, output) = memory.slot(slot);
        fill(input, output_bytes);
        output.fill(0xA5);
        let ticket = device.submit(0, input).map_err(|fault| fault.message);
        flying.push_back(Flight { name, slot, ticket });
    };
    for round in 0..rounds {
        let mut chance = Chance(round * 7919 + 1);
        for mut case in cases(small, &mut chance) {
            fly(format!("{} (round {round})", case.name), memory, &mut |input, output| {
                case.fill(input, output, &mut chance);
            });
        }
    }
    for Specimen { name, input: bytes, output_bytes } in specimens(small, rounds) {
        if bytes.len() <= memory.input_bytes() && output_bytes <= memory.output_bytes() {
            fly(name, memory, &mut |input, _| input[..bytes.len()].copy_from_slice(&bytes));
        } else if !small {
            println!("skipped {name}: {} bytes", bytes.len());
        }
    }
    for path in files.into_iter().flat_map(slot_files) {
        match std::fs::read(&path) {
            Ok(bytes) if bytes.len() <= memory.input_bytes() => {
                fly(path.display().to_string(), memory, &mut |input, _| {
                    input[..bytes.len()].copy_from_slice(&bytes)
                });
            }
            Ok(bytes) => println!("skipped {}: {} bytes", path.display(), bytes.len()),
            Err(error) => println!("skipped {}: {error}", path.display()),
        }
    }
    while !flying.is_empty() {
        land(device, flying.pop_front(), memory, &mut expected, &mut tally);
    }
    tally
}

/// The specimens of the kernels' tests on the host: made-up tables and rows, noise, and known mistakes.
fn specimens(small: bool, rounds: u64) -> Vec<Specimen> {
    let mut found: Vec<Specimen> = faults::all().into_iter().map(|(specimen, _)| specimen).collect();
    let wishes = if small { 6 } else { 40 * rounds };
    for seed in 0..wishes {
        let mut chance = Chance(seed * 31 + 17);
        let wish = Wish {
            seed,
            rows: if small {
                chance.below(600)
            } else {
                chance.of(&[3, 80, 300, 1100, 9000]) + chance.below(100)
            },
            columns: 1 + chance.below(if seed % 8 == 7 { 80 } else { 24 }),
            nulls: chance.of(&[0, 10, 95]),
            trouble: chance.of(&[0, 3]),
        };
        found.extend([specimens::heap(wish), specimens::copy_binary(wish), specimens::noise(wish)]);
    }
    found
}

/// Makes the cases and decodes them without a device: slots, rows, statuses.
pub fn on_the_cpu(small: bool) -> (usize, usize, usize) {
    let (mut input, mut output) = (vec![0; 8 << 20], vec![0; 24 << 20]);
    let mut chance = Chance(1);
    let (mut slots, mut all_rows, mut statuses) = (0, 0, 0);
    for mut case in cases(small, &mut chance) {
        let room = output.len();
        let rows = case.fill(&mut input, room, &mut chance);
        let start = std::time::Instant::now();
        if let Err(what) = decode_slot(&input, &mut output) {
            println!("{}: {what}", case.name);
            continue;
        }
        let header: OutHeader = get(&output, 0).unwrap_or_default();
        println!(
            "{}: {rows} rows, {} statuses, {} bytes out, {:.0} ms",
            case.name,
            header.statuses,
            header.bytes,
            start.elapsed().as_secs_f64() * 1e3
        );
        (slots, all_rows, statuses) = (slots + 1, all_rows + rows, statuses + header.statuses as usize);
    }
    (slots, all_rows, statuses)
}

fn slot_files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = folder.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "slot")).collect();
    found.sort();
    found
}

fn land(
    device: &dyn Device,
    flight: Option<Flight>,
    memory: &mut Memory,
    expected: &mut [u8],
    tally: &mut Tally,
) {
    let Some(flight) = flight else { return };
    let (input, output) = memory.slot(flight.slot);
    let found =
        flight.ticket.and_then(|ticket| device.collect(ticket, output).map_err(|fault| fault.message));
    expected.fill(0x5A);
    let reference = decode_slot(input, expected);
    tally.slots += 1;
    let what = match (found, reference) {
        (Ok(()), Ok(())) => match Input::new(input) {
            Ok(input) => {
                let header: OutHeader = get(output, 0).unwrap_or_default();
                tally.rows += input.rows();
                tally.statuses += header.statuses as usize;
                tally.bytes += input.data().len();
                compare(&input, output, expected)
            }
            Err(what) => Err(format!("both decoded an input with {what}")),
        },
        (Err(_), Err(_)) => {
            tally.refused += 1;
            Ok(())
        }
        (Err(what), Ok(())) => Err(format!("the device fails: {what}")),
        (Ok(()), Err(what)) => Err(format!("the CPU fails: {what}")),
    };
    if let Err(what) = what {
        tally.differ += 1;
        if tally.differ <= 20 {
            println!("DIFFERS  {}: {what}", flight.name);
        }
    }
}

fn statuses(region: &[u8], columns: usize, count: usize) -> Vec<(u32, u32, u32)> {
    let mut found: Vec<_> = (0..count)
        .filter_map(|number| get::<Status>(region, statuses_at(columns) + number * size_of::<Status>()))
        .map(|status| (status.row, status.column, status.code))
        .collect();
    found.sort_unstable();
    found
}

/// Describes the first difference in words that lead to the kernel.
fn compare(input: &Input, found: &[u8], expected: &[u8]) -> Result<(), String> {
    let columns = input.columns();
    let (header, wanted): (OutHeader, OutHeader) =
        (get(found, 0).unwrap_or_default(), get(expected, 0).unwrap_or_default());
    if header != wanted {
        return Err(format!("{header:?} instead of {wanted:?}"));
    }
    for column in 0..columns {
        let at = size_of::<OutHeader>() + column * size_of::<pg_strata::slot::layout::OutColumn>();
        let entry = |region| get::<pg_strata::slot::layout::OutColumn>(region, at).unwrap_or_default();
        if entry(found) != entry(expected) {
            let op = input.ops()[column];
            return Err(format!(
                "column {column} ({op:?}): {:?} instead of {:?}",
                entry(found),
                entry(expected)
            ));
        }
    }
    let listed = wanted.statuses as usize;
    if listed <= STATUSES {
        let (left, right) = (statuses(found, columns, listed), statuses(expected, columns, listed));
        if let Some(at) = left.iter().zip(&right).position(|(left, right)| left != right) {
            return Err(format!(
                "status {at}: (row, column, code) {:?} instead of {:?}",
                left[at], right[at]
            ));
        }
        let list_end = statuses_at(columns) + listed * size_of::<Status>();
        bytes_equal(input, found, expected, list_end..columns_start(columns))?;
    } else {
        // Which ones are listed is open; that each of them is one that there is, is not checked here.
        let list_end = statuses_at(columns) + STATUSES * size_of::<Status>();
        bytes_equal(input, found, expected, list_end..columns_start(columns))?;
    }
    if input.header().flags & WANT_COLUMNS != 0 {
        bytes_equal(input, found, expected, columns_start(columns)..wanted.bytes as usize)?;
        if found[wanted.bytes as usize..].iter().any(|byte| *byte != 0xA5) {
            return Err("bytes behind the output's end were written".into());
        }
    } else if found[columns_start(columns)..].iter().any(|byte| *byte != 0xA5) {
        return Err("columns were written that were not wanted".into());
    }
    Ok(())
}

fn bytes_equal(
    input: &Input,
    found: &[u8],
    expected: &[u8],
    range: std::ops::Range<usize>,
) -> Result<(), String> {
    let (left, right) = (&found[range.clone()], &expected[range.clone()]);
    if left == right {
        return Ok(());
    }
    let Some(first) = left.iter().zip(right).position(|(left, right)| left != right) else { return Ok(()) };
    let (at, count) =
        (range.start + first, left.iter().zip(right).filter(|(left, right)| left != right).count());
    let mut place = String::from("before the columns");
    for (column, op) in input.ops().iter().enumerate() {
        let entry: pg_strata::slot::layout::OutColumn =
            get(expected, size_of::<OutHeader>() + column * size_of::<pg_strata::slot::layout::OutColumn>())
                .unwrap_or_default();
        let parts = [("validity", entry.valid_at), ("values", entry.values_at), ("bytes", entry.bytes_at)];
        for (part, start) in parts {
            if start != 0 && start as usize <= at {
                let width = op.width().unwrap_or(4);
                let row = if part == "values" && width > 0 {
                    (at - start as usize) / width
                } else {
                    (at - start as usize) * 8
                };
                if part == "bytes" || (at - start as usize) < (input.rows() + 1) * 16 {
                    place = format!("column {column} ({op:?}) {part}, about row {row}");
                }
            }
        }
    }
    let show = |region: &[u8]| {
        region[at..(at + 16).min(region.len())].iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    Err(format!(
        "{count} bytes differ, first at {at} ({place}): {} instead of {}",
        show(found),
        show(expected)
    ))
}
