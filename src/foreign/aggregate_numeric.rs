//! Sums and extremes of numerics. Batches in the file's form are summed there; values that are Datums already,
//! such as NaN from a file's texts, go through PostgreSQL's own functions.

use pgrx::pg_sys::{self, Datum, Oid};

use super::aggregate::varlena;
use crate::fdw::values::{Decimals, Parts, Sum, image};

/// In pg_proc.
const NUMERIC_ADD: Oid = Oid::from_u32(1724);
const NUMERIC_SMALLER: Oid = Oid::from_u32(1766);
const NUMERIC_LARGER: Oid = Oid::from_u32(1767);

unsafe fn call(function: Oid, left: Datum, right: Datum) -> Datum {
    // SAFETY: functions of two numerics, as the caller's Datums are.
    unsafe { pg_sys::OidFunctionCall2Coll(function, pg_sys::InvalidOid, left, right) }
}

/// A varlena's bytes without its header. The Datum is one that is neither compressed nor stored elsewhere.
unsafe fn payload<'a>(datum: Datum) -> &'a [u8] {
    // SAFETY: as the caller says.
    unsafe {
        let varlena = datum.cast_mut_ptr();
        std::slice::from_raw_parts(pgrx::vardata_any(varlena).cast(), pgrx::varsize_any_exhdr(varlena))
    }
}

/// A numeric that outlives memory contexts.
#[derive(Default)]
struct Kept(Option<Vec<u8>>);

impl Kept {
    /// A copy in the current context.
    fn datum(&self) -> Option<Datum> {
        self.0.as_deref().map(varlena)
    }

    unsafe fn set(&mut self, datum: Datum) {
        // SAFETY: a numeric, as the caller says.
        self.0 = Some([&[0; 4][..], unsafe { payload(datum) }].concat());
    }
}

/// The state of sum and avg (numeric.c, NumericAggState).
#[derive(Default)]
pub struct Numerics {
    /// Sums of values in the file's form, by scale and display scale.
    sums: Vec<(i32, u16, Sum)>,
    /// The sum of what came as Datums, and of how many.
    others: Kept,
    others_count: u64,
    /// The largest display scale, and how many values have it.
    max_scale: u16,
    max_scale_count: u64,
    nans: u64,
    infinities: u64,
    minus_infinities: u64,
}

impl Numerics {
    pub fn add(&mut self, decimals: &Decimals, selected: Option<&[bool]>) {
        let sum = decimals.sum(selected);
        if sum.count == 0 {
            return;
        }
        self.count_scale(decimals.dscale, sum.count);
        let key = (decimals.scale, decimals.dscale);
        match self.sums.iter_mut().find(|(scale, dscale, _)| (*scale, *dscale) == key) {
            Some((_, _, known)) => known.add(sum),
            None => self.sums.push((key.0, key.1, sum)),
        }
    }

    fn count_scale(&mut self, dscale: u16, count: u64) {
        match dscale.cmp(&self.max_scale) {
            std::cmp::Ordering::Greater => (self.max_scale, self.max_scale_count) = (dscale, count),
            std::cmp::Ordering::Equal => self.max_scale_count += count,
            std::cmp::Ordering::Less => {}
        }
    }

    /// # Safety
    /// The word is a Datum of numeric.
    pub unsafe fn add_datum(&mut self, word: u64) {
        let value = Datum::from(word as usize);
        // SAFETY: as the caller says.
        unsafe {
            match Parts::of(payload(value)) {
                Some(Parts::Infinity) => self.infinities += 1,
                Some(Parts::MinusInfinity) => self.minus_infinities += 1,
                Some(Parts::Finite { dscale, .. }) => {
                    self.count_scale(dscale, 1);
                    self.others_count += 1;
                    match self.others.datum() {
                        Some(sum) => self.others.set(call(NUMERIC_ADD, sum, value)),
                        None => self.others.set(value),
                    }
                }
                Some(Parts::NaN) | None => self.nans += 1,
            }
        }
    }

    /// As numeric_avg_serialize sends it; `None` without a value.
    pub fn sent(&self) -> Option<Vec<u8>> {
        let count = self.others_count + self.sums.iter().map(|(_, _, sum)| sum.count).sum::<u64>();
        if count + self.nans + self.infinities + self.minus_infinities == 0 {
            return None;
        }
        let sums = self.sums.iter().map(|(scale, dscale, sum)| varlena(&image(sum.total(), *scale, *dscale)));
        // SAFETY: numerics, just made.
        let total =
            sums.chain(self.others.datum()).reduce(|left, right| unsafe { call(NUMERIC_ADD, left, right) });
        // SAFETY: as above.
        let total = total.and_then(|total| unsafe { Parts::of(payload(total)) }).unwrap_or(Parts::ZERO);
        let mut bytes = (count as i64).to_be_bytes().to_vec();
        total.send(&mut bytes);
        bytes.extend(i32::from(self.max_scale).to_be_bytes());
        for count in [self.max_scale_count, self.nans, self.infinities, self.minus_infinities] {
            bytes.extend((count as i64).to_be_bytes());
        }
        Some(bytes)
    }
}

/// The state of min and max. Of values that are equal the last one stays, which may have another display scale.
#[derive(Default)]
pub struct Extreme(Kept);

impl Extreme {
    /// # Safety
    /// What is made may stay in the current context.
    pub unsafe fn add(&mut self, decimals: &Decimals, selected: Option<&[bool]>, least: bool) {
        if let Some((min, max)) = decimals.extremes(selected) {
            let value = varlena(&decimals.image(if least { min } else { max }));
            // SAFETY: a numeric, just made.
            unsafe { self.add_datum(value.value() as u64, least) };
        }
    }

    /// # Safety
    /// The word is a Datum of numeric.
    pub unsafe fn add_datum(&mut self, word: u64, least: bool) {
        let value = Datum::from(word as usize);
        let function = if least { NUMERIC_SMALLER } else { NUMERIC_LARGER };
        // SAFETY: as the caller says.
        unsafe {
            match self.0.datum() {
                Some(known) => self.0.set(call(function, known, value)),
                None => self.0.set(value),
            }
        }
    }

    pub fn datum(&self) -> Option<Datum> {
        self.0.datum()
    }
}
