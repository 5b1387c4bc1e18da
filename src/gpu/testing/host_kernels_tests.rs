//! The kernels, built for the host with sanitizers, against the CPU's decode: byte for byte.

use super::host_program::HostProgram;
use super::specimens::{self, Specimen, Wish, faults};
use crate::decode::slot::decode_slot;
use crate::slot::layout::{Header, STATUSES, Status, WANT_COLUMNS, columns_start, get, put, statuses_at};
use proptest::prelude::*;

/// The decode kernels' program.
struct Host(HostProgram);

impl Host {
    fn start() -> Host {
        Host(HostProgram::start("decode"))
    }

    /// Returns the part of the output region that is in use.
    fn decode(&mut self, specimen: &Specimen, shared: u32, seed: u32) -> Vec<u8> {
        let sizes = [specimen.input.len() as u32, specimen.output_bytes as u32, shared, seed];
        let mut request: Vec<u8> = sizes.iter().flat_map(|size| size.to_le_bytes()).collect();
        request.extend(&specimen.input);
        let mut answer = || {
            self.0.ask(&request)?;
            let size = self.0.answer_words(1)?[0];
            self.0.answer(size as usize)
        };
        let answered: std::io::Result<Vec<u8>> = answer();
        answered.unwrap_or_else(|error| panic!("{error}: see above, {}", specimen.name))
    }
}

/// The statuses, sorted; how many there are when not all are listed. They are cleared in the region.
fn take_statuses(region: &mut [u8]) -> (usize, Vec<Status>) {
    let header: crate::slot::layout::OutHeader = get(region, 0).unwrap();
    let (at, total) = (statuses_at(header.columns as usize), header.statuses as usize);
    let listed = total.min(STATUSES);
    let mut statuses: Vec<Status> = (0..listed).map(|i| get(region, at + 12 * i).unwrap()).collect();
    statuses.sort_by_key(|status| (status.row, status.column, status.code));
    region[at..at + 12 * listed].fill(0);
    if total > STATUSES { (total, Vec::new()) } else { (total, statuses) }
}

fn reference(specimen: &Specimen) -> Vec<u8> {
    let mut output = vec![0xEE; specimen.output_bytes];
    decode_slot(&specimen.input, &mut output).expect(&specimen.name);
    let header: crate::slot::layout::OutHeader = get(&output, 0).unwrap();
    output.truncate(header.bytes as usize);
    output
}

/// Compares what the two make of a slot, and returns the number of statuses.
fn check(host: &mut Host, specimen: &Specimen, shared: u32, seed: u32) -> usize {
    let mut want = reference(specimen);
    let mut have = host.decode(specimen, shared, seed);
    let (wanted, got) = (take_statuses(&mut want), take_statuses(&mut have));
    assert_eq!(got, wanted, "statuses: {}", specimen.name);
    assert_eq!(have.len(), want.len(), "bytes: {}", specimen.name);
    if let Some(at) = have.iter().zip(&want).position(|(have, want)| have != want) {
        panic!("byte {at}: {}: {}", specimens::place(&specimen.input, &want, at), specimen.name);
    }
    wanted.0
}

const SHARED: [u32; 4] = [0, 8192, 24_576, 65_536];

fn wish() -> impl Strategy<Value = Wish> {
    let rows = prop_oneof![4 => 0usize..80, 2 => 200usize..600, 1 => 900usize..1100];
    let columns = prop_oneof![6 => 1usize..24, 1 => 24usize..80];
    (any::<u64>(), rows, columns, prop_oneof![Just(0), Just(10), Just(95)], prop_oneof![Just(0), Just(3)])
        .prop_map(|(seed, rows, columns, nulls, trouble)| Wish { seed, rows, columns, nulls, trouble })
}

fn wishes() -> impl Strategy<Value = Vec<Wish>> {
    prop::collection::vec(wish(), 1..4)
}

fn shared() -> impl Strategy<Value = u32> {
    prop::sample::select(&SHARED[..])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn heap(wishes in wishes(), shared in shared(), seed: u32) {
        let mut host = Host::start();
        for wish in wishes {
            check(&mut host, &specimens::heap(wish), shared, seed);
        }
    }

    #[test]
    fn copy_binary(wishes in wishes(), shared in shared(), seed: u32) {
        let mut host = Host::start();
        for wish in wishes {
            check(&mut host, &specimens::copy_binary(wish), shared, seed);
        }
    }

    #[test]
    fn noise(wishes in wishes(), shared in shared(), seed: u32) {
        let mut host = Host::start();
        for wish in wishes {
            check(&mut host, &specimens::noise(wish), shared, seed);
        }
    }
}

#[test]
fn what_has_gone_wrong_elsewhere() {
    let mut host = Host::start();
    for (number, (specimen, statuses)) in faults::all().into_iter().enumerate() {
        let found = check(&mut host, &specimen, SHARED[number % 4], number as u32);
        if let Some(statuses) = statuses {
            assert_eq!(found, statuses, "{}", specimen.name);
        }
    }
}

/// Columns that nobody wants are the same up to the statuses.
#[test]
fn without_columns() {
    let mut host = Host::start();
    let wish = Wish { seed: 5, rows: 700, columns: 9, nulls: 10, trouble: 3 };
    for mut specimen in [specimens::heap(wish), specimens::copy_binary(wish)] {
        let mut header: Header = get(&specimen.input, 0).unwrap();
        header.flags &= !WANT_COLUMNS;
        assert!(put(&mut specimen.input, 0, header));
        let mut have = host.decode(&specimen, 0, 1);
        let mut want = vec![0xEE; specimen.output_bytes];
        decode_slot(&specimen.input, &mut want).unwrap();
        assert_eq!(take_statuses(&mut have), take_statuses(&mut want));
        let head = columns_start(9);
        assert_eq!(have[..head], want[..head]);
    }
}
