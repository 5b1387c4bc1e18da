//! The conditions of a scan: against what is known of a group of rows, to leave out groups without a match, and
//! row by row, for those that the planner gave the scan to decide.
//!
//! A condition is `column operator value`, where the operator belongs to the btree family by which the
//! column's type is ordered and the value is the same for the whole scan: a constant, a parameter, a stable
//! expression. What is known are the column's least and greatest value, made Datums as the rows' values are, so
//! that PostgreSQL's own operators compare them. What is not understood may match.
//!
//! A Bloom filter, where a file has one, is asked for the values that a column is to be equal to.
//!
//! Texts: the files order them by bytes. Equality under a deterministic collation is that of the bytes, so
//! that bounds in byte order are sound for it; less and greater only where the collation orders by bytes.

use std::cell::Cell;

use pgrx::pg_sys::{self, Datum, Oid};

use crate::fdw::BloomFilter;
use crate::fdw::filter::Test;
use crate::pg::list::members;

mod build;
mod prefix;
mod select;
mod sought;

use prefix::Begins;
pub use select::ColumnValues;

/// What is known of a column's values in some rows.
#[derive(Clone, Copy)]
pub struct Known {
    pub min: Option<Datum>,
    pub max: Option<Datum>,
    pub rows: u64,
    pub nulls: Option<u64>,
}

/// What is known of the columns in some rows; `None`: nothing.
#[derive(Clone, Copy)]
pub struct Evidence<'a> {
    pub known: &'a dyn Fn(usize) -> Option<Known>,
    pub filter: &'a dyn Fn(usize) -> Option<&'a BloomFilter<'a>>,
}

impl<'a> Evidence<'a> {
    /// Of bounds alone.
    pub fn of(known: &'a dyn Fn(usize) -> Option<Known>) -> Evidence<'a> {
        Evidence { known, filter: &|_| None }
    }
}

/// Conditions that a row has to meet, all of them.
#[derive(Default)]
pub struct Conditions {
    all: Vec<Condition>,
    /// How many of them, from the first, the scan decides row by row.
    decided: usize,
    /// Of the plan's conditions, those that are used.
    pub clauses: Vec<*mut pg_sys::Expr>,
}

enum Condition {
    Unknown,
    All(Vec<Condition>),
    Any(Vec<Condition>),
    IsNull(usize, bool),
    Compare(Comparison),
    Begins(Begins),
}

/// `column operator value`, or `column = ANY (values)`.
struct Comparison {
    column: usize,
    order: Order,
    /// For `<` and `<=` it compares the least value, for `>` and `>=` the greatest; for `=` the first of them
    /// is `<=` for the least, the second `>=` for the greatest.
    operators: Vec<pg_sys::FmgrInfo>,
    collation: Oid,
    kind: Kind,
    value: Value,
    element: Option<Element>,
    exact: Option<Exact>,
}

#[derive(Clone, Copy, PartialEq)]
enum Order {
    Below,
    Equal,
    Above,
    /// Every group may have a match that has a value.
    Unequal,
}

/// How a row's value is compared: the operator itself, and what it means for values of a form.
struct Exact {
    test: Test,
    form: Form,
    /// The operator's right type.
    right: Oid,
    function: pg_sys::FmgrInfo,
    collation: Oid,
}

/// Forms of values that can be compared without the operator.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// The word as a signed integer.
    Integer,
    /// Whether the column's values, and the value that they are compared with, are single.
    Float(bool, bool),
    Numeric,
    /// Varlenas, byte by byte.
    Bytes,
    /// 16 bytes.
    Uuid,
    Other,
}

/// What is peculiar to a type.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Plain,
    /// NaN is above all numbers, and no bounds speak of it.
    Float {
        single: bool,
    },
    /// Blanks at the end do not count.
    Blanks,
}

/// The elements of an array of values.
#[derive(Clone)]
struct Element {
    oid: Oid,
    length: i16,
    by_value: bool,
    align: std::ffi::c_char,
}

enum Value {
    Constant(Option<Datum>),
    /// Evaluated when a scan begins; `fixed`: it stays the same when the scan begins again.
    Expression {
        state: *mut pg_sys::ExprState,
        fixed: bool,
        now: Cell<Option<Option<Datum>>>,
    },
}

/// The columns that conditions may be about: attribute number, type below domains.
pub struct Subject {
    pub relation: u32,
    pub columns: Vec<(i16, Oid)>,
    /// The scan, in which expressions are evaluated; null while planning, where they have no values.
    pub parent: *mut pg_sys::PlanState,
}

impl Conditions {
    /// The clauses that the scan decides come first; of the `others`, those that are understood serve to leave
    /// out groups. `None` where one cannot be decided.
    ///
    /// # Safety
    /// Lists of expressions over the relation's columns; they outlive the result.
    pub unsafe fn new(
        decided: *const pg_sys::List,
        others: *const pg_sys::List,
        subject: &Subject,
    ) -> Option<Conditions> {
        let mut conditions = Conditions::default();
        // SAFETY: as the caller says.
        for clause in unsafe { members::<pg_sys::Expr>(decided) } {
            // SAFETY: as the caller says.
            let condition = unsafe { subject.condition(clause.cast()) };
            if !condition.is_exact() {
                return None;
            }
            conditions.all.push(condition);
            conditions.clauses.push(clause);
        }
        conditions.decided = conditions.all.len();
        // SAFETY: as the caller says.
        for clause in unsafe { members::<pg_sys::Expr>(others) } {
            // SAFETY: as the caller says.
            match unsafe { subject.condition(clause.cast()) } {
                Condition::Unknown => {}
                condition => {
                    conditions.all.push(condition);
                    conditions.clauses.push(clause);
                }
            }
        }
        Some(conditions)
    }

    /// The columns that the conditions are about.
    pub fn columns(&self) -> Vec<usize> {
        let mut found = Vec::new();
        self.all.iter().for_each(|condition| condition.columns(&mut found));
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Evaluates the expressions, in the scan's context; the values live in the current one.
    ///
    /// # Safety
    /// `context` is that of the scan; with `all`, the executor is running it.
    pub unsafe fn evaluate(&self, context: *mut pg_sys::ExprContext, all: bool) {
        // SAFETY: as the caller says.
        self.all.iter().for_each(|condition| unsafe { condition.evaluate(context, all) });
    }

    /// Whether rows may match of which the evidence tells.
    ///
    /// # Safety
    /// The Datums are values of the columns' types.
    pub unsafe fn may_match(&self, evidence: Evidence) -> bool {
        // SAFETY: as the caller says.
        self.all.iter().all(|condition| unsafe { condition.may_match(evidence) })
    }
}

impl Condition {
    /// Whether it can be decided for a row.
    fn is_exact(&self) -> bool {
        match self {
            Condition::Unknown => false,
            Condition::All(parts) | Condition::Any(parts) => parts.iter().all(Condition::is_exact),
            Condition::IsNull(..) => true,
            Condition::Compare(comparison) => comparison.exact.is_some(),
            Condition::Begins(_) => false,
        }
    }

    fn columns(&self, found: &mut Vec<usize>) {
        match self {
            Condition::Unknown => {}
            Condition::All(parts) | Condition::Any(parts) => {
                parts.iter().for_each(|part| part.columns(found))
            }
            Condition::IsNull(column, _) => found.push(*column),
            Condition::Compare(comparison) => found.push(comparison.column),
            Condition::Begins(begins) => found.push(begins.column),
        }
    }

    unsafe fn evaluate(&self, context: *mut pg_sys::ExprContext, all: bool) {
        match self {
            Condition::All(parts) | Condition::Any(parts) => {
                // SAFETY: as the caller says, here and below.
                parts.iter().for_each(|part| unsafe { part.evaluate(context, all) });
            }
            Condition::Compare(comparison) => unsafe { comparison.value.evaluate(context, all) },
            Condition::Begins(begins) => unsafe { begins.pattern.evaluate(context, all) },
            Condition::Unknown | Condition::IsNull(..) => {}
        }
    }

    unsafe fn may_match(&self, evidence: Evidence) -> bool {
        let known = evidence.known;
        match self {
            Condition::Unknown => true,
            // SAFETY: as the caller says, here and below.
            Condition::All(parts) => parts.iter().all(|part| unsafe { part.may_match(evidence) }),
            Condition::Any(parts) => parts.iter().any(|part| unsafe { part.may_match(evidence) }),
            Condition::IsNull(column, is_null) => known(*column).is_none_or(|known| match is_null {
                true => known.nulls != Some(0),
                false => known.nulls != Some(known.rows),
            }),
            Condition::Compare(comparison) => {
                let filter = (evidence.filter)(comparison.column);
                unsafe { comparison.may_match(known(comparison.column).unwrap_or(Known::NOTHING), filter) }
            }
            Condition::Begins(begins) => {
                known(begins.column).is_none_or(|known| unsafe { begins.may_match(known) })
            }
        }
    }
}

impl Known {
    const NOTHING: Known = Known { min: None, max: None, rows: 0, nulls: None };

    /// As nothing matches that is NULL.
    fn is_null(&self) -> bool {
        self.nulls == Some(self.rows)
    }
}

impl Value {
    unsafe fn evaluate(&self, context: *mut pg_sys::ExprContext, all: bool) {
        if let Value::Expression { state, fixed, now } = self {
            let mut is_null = false;
            // SAFETY: as the caller says; the value is made in the current context.
            now.set((*fixed || all).then(|| unsafe {
                let datum = pg_sys::ExecEvalExpr(*state, context, &mut is_null);
                (!is_null).then_some(datum)
            }));
        }
    }

    /// `None`: not known yet.
    fn now(&self) -> Option<Option<Datum>> {
        match self {
            Value::Constant(value) => Some(*value),
            Value::Expression { now, .. } => now.get(),
        }
    }
}

impl Comparison {
    unsafe fn may_match(&self, known: Known, filter: Option<&BloomFilter>) -> bool {
        let Some(value) = self.value.now() else { return true };
        // The operators are strict: NULL on either side is no match.
        let Some(value) = value else { return false };
        if known.is_null() {
            return false;
        }
        // SAFETY: a value of the operator's right type, or an array of them.
        let may_match = |value| unsafe {
            self.may_match_value(known, value) && filter.is_none_or(|filter| self.may_hold(filter, value))
        };
        match &self.element {
            None => may_match(value),
            // SAFETY: as above.
            Some(element) => unsafe { element.values(value) }.into_iter().flatten().any(may_match),
        }
    }

    unsafe fn may_match_value(&self, known: Known, value: Datum) -> bool {
        if self.order == Order::Unequal {
            return true;
        }
        if self.kind == Kind::Blanks {
            // SAFETY: texts with or without blanks at the end.
            return unsafe { blanks_may_match(known, value) };
        }
        // SAFETY: values of the operators' types.
        let holds = |operator: usize, bound: Option<Datum>| {
            bound.is_none_or(|bound| unsafe { self.call(operator, bound, value) })
        };
        let in_bounds = match self.order {
            Order::Below => holds(0, known.min),
            Order::Above => holds(0, known.max),
            Order::Equal => holds(0, known.min) && holds(1, known.max),
            Order::Unequal => true,
        };
        let nan = match self.kind {
            Kind::Float { single: true } => Datum::from(f32::NAN.to_bits() as i32 as i64 as usize),
            Kind::Float { single: false } => Datum::from(f64::NAN.to_bits() as usize),
            _ => return in_bounds,
        };
        // A group may have NaNs whatever its bounds: they match as a value above all.
        let nan_matches = (0..self.operators.len()).all(|operator| holds(operator, Some(nan)));
        in_bounds || nan_matches
    }

    unsafe fn call(&self, operator: usize, left: Datum, right: Datum) -> bool {
        let function: *const pg_sys::FmgrInfo = &self.operators[operator];
        // SAFETY: a comparison function of the two types; FunctionCall2Coll does not change the look-up.
        unsafe { pg_sys::FunctionCall2Coll(function.cast_mut(), self.collation, left, right).value() != 0 }
    }
}

impl Element {
    fn new(oid: Oid) -> Element {
        let (mut length, mut by_value, mut align) = (0, false, 0);
        // SAFETY: a syscache look-up of an operator's type.
        unsafe { pg_sys::get_typlenbyvalalign(oid, &mut length, &mut by_value, &mut align) };
        Element { oid, length, by_value, align }
    }

    unsafe fn values(&self, array: Datum) -> Vec<Option<Datum>> {
        let (mut values, mut nulls, mut count) = (std::ptr::null_mut(), std::ptr::null_mut(), 0);
        // SAFETY: an array of the element type; the results are palloc'd.
        unsafe {
            let array = pg_sys::detoast_attr(array.cast_mut_ptr()).cast();
            pg_sys::deconstruct_array(
                array,
                self.oid,
                self.length.into(),
                self.by_value,
                self.align,
                &mut values,
                &mut nulls,
                &mut count,
            );
            (0..count as usize).map(|index| (!*nulls.add(index)).then(|| *values.add(index))).collect()
        }
    }
}

/// Equality of char(n): the bounds are the file's texts as they are, so that a value equals all texts that go
/// on with blanks only.
unsafe fn blanks_may_match(known: Known, value: Datum) -> bool {
    // SAFETY: texts, as the caller says.
    unsafe {
        let value = text_bytes(value);
        let value = &value[..value.iter().rposition(|&byte| byte != b' ').map_or(0, |last| last + 1)];
        let above = known.max.is_none_or(|max| text_bytes(max) >= value);
        let below = known.min.is_none_or(|min| {
            let min = text_bytes(min);
            let longest = value.iter().copied().chain(std::iter::repeat(b' ')).take(value.len() + min.len());
            min.iter().copied().le(longest)
        });
        above && below
    }
}

/// A text's bytes, in the current context where they had to be unpacked.
unsafe fn text_bytes<'a>(datum: Datum) -> &'a [u8] {
    // SAFETY: a varlena, as the caller says.
    unsafe {
        let text = pg_sys::detoast_attr(datum.cast_mut_ptr());
        let (data, length) = (pgrx::vardata_any(text), pgrx::varsize_any_exhdr(text));
        std::slice::from_raw_parts(data.cast(), length)
    }
}
