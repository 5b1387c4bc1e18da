//! ANALYZE: a random sample of the rows, each with the same probability.

use pgrx::pg_guard;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReportable;

use super::access::check_may_read;
use super::estimate::Estimate;
use super::scan::Scan;
use crate::pg::catalog;

/// # Safety
/// ANALYZE calls it with an open foreign table.
#[pg_guard]
pub unsafe extern "C-unwind" fn analyze(
    relation: pg_sys::Relation,
    function: *mut pg_sys::AcquireSampleRowsFunc,
    pages: *mut pg_sys::BlockNumber,
) -> bool {
    // SAFETY: the relation is open, and the pointers are to ANALYZE's variables.
    unsafe {
        check_may_read((*relation).rd_id, pg_sys::InvalidOid).unwrap_or_report();
        *function = Some(acquire_sample);
        *pages = Estimate::new((*relation).rd_id).unwrap_or_report().pages().max(1);
        true
    }
}

/// # Safety
/// ANALYZE calls it with an open foreign table; `sample` has room for as many tuples as are wanted.
#[pg_guard]
unsafe extern "C-unwind" fn acquire_sample(
    relation: pg_sys::Relation,
    _level: i32,
    sample: *mut pg_sys::HeapTuple,
    wanted: i32,
    total: *mut f64,
    dead: *mut f64,
) -> i32 {
    // SAFETY: no place in `sample` is beyond the tuples that are wanted, which live in the current context.
    unsafe {
        let descriptor = (*relation).rd_att;
        let numbers: Vec<i16> = catalog::attributes_of(descriptor).iter().map(|of| of.number).collect();
        let mut scan = Scan::new((*relation).rd_id, &numbers, &[], descriptor).unwrap_or_report();
        let slot = pg_sys::MakeSingleTupleTableSlot(descriptor, &pg_sys::TTSOpsVirtual);
        let wanted = wanted as u64;
        let mut random = Random::new();
        let mut rows = 0;
        while scan.next_row(slot).unwrap_or_report() {
            // Algorithm R: each row so far is in the sample with the same probability.
            let place = if rows < wanted { rows } else { random.below(rows + 1) };
            if place < wanted {
                let tuple = sample.add(place as usize);
                if rows >= wanted {
                    pg_sys::heap_freetuple(*tuple);
                }
                *tuple = pg_sys::heap_form_tuple(descriptor, (*slot).tts_values, (*slot).tts_isnull);
            }
            rows += 1;
        }
        pg_sys::ExecDropSingleTupleTableSlot(slot);
        *total = rows as f64;
        *dead = 0.0;
        rows.min(wanted) as i32
    }
}

/// SplitMix64: random enough for a sample.
struct Random(u64);

impl Random {
    fn new() -> Random {
        Random(crate::pg::session::now_micros() as u64 ^ u64::from(std::process::id()) << 32)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(mixed ^ mixed >> 31) * u128::from(limit)) >> 64) as u64
    }
}
