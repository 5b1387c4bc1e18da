//! One column of a scan: an Arrow array becomes a Datum and a NULL flag for each row.
//!
//! `fdw::values` makes the values that need no server. Input functions, arrays, composites and the constraints of
//! domains run here; their results lie in the batch's memory context.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::DataType;
use pgrx::PgTryBuilder;
use pgrx::pg_sys::panic::CaughtError;
use pgrx::pg_sys::{self, Datum, Oid};

use super::nested::{ListOf, RAGGED, RowOf};
use crate::expr;
use crate::fdw::values::{self, NumericLimit, Target, Texts, Words, fits, is_writable};
use crate::fdw::{Bounds, Misfit};
use crate::interrupts::{contains, in_steps};
use crate::memory;
use crate::pg::encoding;
use crate::pg::error::{Code, Error, error, error_class};
use crate::pg::pg_type;
use crate::types::Reason;

/// Makes values of one PostgreSQL type from arrays of one Arrow type, and keeps those of a batch.
pub struct Converter {
    how: How,
    domain: Option<Domain>,
    pub words: Words,
}

enum How {
    Plain(Target),
    Parsed(Parser),
    List(Box<ListOf>),
    Row(Box<RowOf>),
    /// The text of the file's values, or their JSON, becomes the column's values.
    Written {
        of_text: Box<How>,
        declared: DataType,
        json: bool,
    },
}

/// A domain's constraints, looked up once; `known` is PostgreSQL's memory of them.
struct Domain {
    oid: Oid,
    known: *mut std::ffi::c_void,
    context: pg_sys::MemoryContext,
}

/// A type's input function.
struct Parser {
    function: pg_sys::FmgrInfo,
    parameter: Oid,
    typmod: i32,
}

/// Least and greatest values and the number of NULLs, by group.
pub struct Statistics {
    mins: Words,
    maxes: Words,
    nulls: Vec<Option<u64>>,
}

impl Statistics {
    /// Returns the bounds of a group, or of a page, of so many rows.
    pub fn bounds(&self, group: usize, rows: u64) -> expr::Bounds {
        let word = |words: &Words| {
            let is_null = words.nulls.get(group).copied().unwrap_or(true);
            (!is_null).then(|| words.words[group])
        };
        let nulls = self.nulls.get(group).copied().flatten();
        expr::Bounds { min: word(&self.mins), max: word(&self.maxes), rows, nulls }
    }
}

/// A value that cannot be made, and its row in the batch.
pub struct Failure {
    pub row: usize,
    pub cause: Cause,
}

pub enum Cause {
    Misfit(Reason),
    /// The error of the type's input function, or of the domain.
    Raised(Code, String),
}

impl From<Misfit> for Failure {
    fn from(misfit: Misfit) -> Failure {
        Failure { row: misfit.row, cause: Cause::Misfit(misfit.reason) }
    }
}

pub type Filled = std::result::Result<(), Failure>;

pub fn misfit(row: usize, why: &'static str) -> Failure {
    Failure { row, cause: Cause::Misfit(Reason::Malformed(why)) }
}

impl Converter {
    /// Returns `None` if arrays of the Arrow type have no values of the PostgreSQL type.
    pub fn new(type_oid: Oid, typmod: i32, data_type: &DataType) -> Option<Converter> {
        let (base, typmod) = pg_type::base_type(type_oid, typmod);
        let how = How::new(base, typmod, data_type)?;
        // SAFETY: the current context is the scan's.
        let context = unsafe { pg_sys::CurrentMemoryContext };
        let known = std::ptr::null_mut();
        let domain = (base != type_oid).then_some(Domain { oid: type_oid, known, context });
        Some(Converter { how, domain, words: Words::default() })
    }

    /// Returns a text as a value, which a virtual column has; `None` for a type that has no values of texts.
    pub fn constant(
        type_oid: Oid,
        typmod: i32,
        text: Option<&str>,
    ) -> Option<std::result::Result<Converter, Failure>> {
        let mut value = Converter::new(type_oid, typmod, &DataType::Utf8)?;
        let array: ArrayRef = Arc::new(StringArray::from(vec![text]));
        Some(value.fill(&array).map(|()| value))
    }

    /// Repeats the value of a constant for so many rows.
    pub fn repeat(&mut self, rows: usize) {
        let Words { words, nulls, .. } = &mut self.words;
        words.resize(rows, words.first().copied().unwrap_or(0));
        nulls.resize(rows, nulls.first().copied().unwrap_or(true));
    }

    /// Returns the bounds of a constant's rows.
    pub fn bounds(&self) -> expr::Bounds {
        let is_null = self.words.nulls.first().copied().unwrap_or(true);
        let word = self.words.words.first().copied().unwrap_or(0);
        let word = (!is_null).then_some(word);
        expr::Bounds { min: word, max: word, rows: 1, nulls: Some(u64::from(is_null)) }
    }

    /// Returns a file's statistics as values; `None` if their order is not that of the values.
    pub fn statistics(&self, bounds: &Bounds) -> Option<Statistics> {
        let How::Plain(target) = &self.how else { return None };
        // Bounds need not fit the column's type, as values must.
        let target = match target {
            Target::Interval => return None,
            Target::Text(_) | Target::Bpchar(_) => Target::Text(None),
            Target::Numeric(_) => Target::Numeric(None),
            other => other.clone(),
        };
        let mut statistics =
            Statistics { mins: Words::default(), maxes: Words::default(), nulls: bounds.nulls.clone() };
        let made = values::convert(&bounds.mins, &target, &mut statistics.mins)
            .and_then(|()| values::convert(&bounds.maxes, &target, &mut statistics.maxes));
        if made.is_err() {
            // If a bound is not a value, only the NULLs are known.
            (statistics.mins, statistics.maxes) = (Words::default(), Words::default());
        }
        Some(statistics)
    }

    /// Returns the next batch as numbers in the file's own form, if the column is numeric and the array has such
    /// numbers. Values that `fill` would refuse are errors here too.
    pub fn decimals<'a>(
        &self,
        array: &'a ArrayRef,
    ) -> std::result::Result<Option<expr::Decimals<'a>>, Failure> {
        match (&self.how, &self.domain) {
            (How::Plain(Target::Numeric(limit)), None) => Ok(values::decimals(array, *limit)?),
            _ => Ok(None),
        }
    }

    /// Returns the next batch as texts in the file's own form, if the column is one of texts and the array has such texts.
    pub fn texts<'a>(&self, array: &'a ArrayRef) -> Option<Texts<'a>> {
        match (&self.how, &self.domain) {
            (How::Plain(Target::Text(most)), None) => Texts::new(array, *most, false),
            (How::Plain(Target::Bpchar(most)), None) => Texts::new(array, *most, true),
            _ => None,
        }
    }

    /// Takes the next batch. Call with the batch's memory context current.
    pub fn fill(&mut self, array: &ArrayRef) -> Filled {
        let spread;
        let array = match (&self.how, array.data_type()) {
            (How::Plain(_) | How::Written { .. }, _) => array,
            (_, DataType::Dictionary(..)) => {
                spread = values::without_dictionary(array)?;
                &spread
            }
            _ => array,
        };
        self.how.fill(array, &mut self.words)?;
        match &mut self.domain {
            Some(domain) => domain.check(&self.words),
            None => Ok(()),
        }
    }
}

impl How {
    fn new(base: Oid, typmod: i32, data_type: &DataType) -> Option<How> {
        if let Some(target) = target(base, typmod)
            && fits(data_type, &target)
        {
            return Some(How::Plain(target));
        }
        let own = match data_type {
            DataType::Null => Some(How::Plain(Target::Text(None))),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                Some(How::Parsed(Parser::new(base, typmod)))
            }
            DataType::Dictionary(_, of) => return How::new(base, typmod, of),
            DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => {
                ListOf::new(base, typmod, data_type).map(|list| How::List(Box::new(list)))
            }
            DataType::Struct(fields) => RowOf::new(base, fields).map(|row| How::Row(Box::new(row))),
            _ => None,
        };
        own.or_else(|| How::written(base, typmod, data_type))
    }

    /// Writes values as text or JSON, which hold those of all types; not bytes, which may be text themselves.
    fn written(base: Oid, typmod: i32, data_type: &DataType) -> Option<How> {
        let json = match base {
            _ if matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView) => {
                return None;
            }
            pg_sys::JSONOID | pg_sys::JSONBOID => true,
            pg_sys::TEXTOID | pg_sys::VARCHAROID | pg_sys::BPCHAROID => false,
            _ => return None,
        };
        let of_text = How::new(base, typmod, &DataType::LargeUtf8)?;
        let declared = data_type.clone();
        is_writable(data_type).then(|| How::Written { of_text: Box::new(of_text), declared, json })
    }

    fn fill(&mut self, array: &ArrayRef, out: &mut Words) -> Filled {
        match self {
            How::Plain(target) => Ok(values::convert(array, target, out)?),
            How::Parsed(parser) => parser.fill(array, out),
            How::List(list) => list.fill(array, out),
            How::Row(row) => row.fill(array, out),
            How::Written { of_text, declared, json } => {
                of_text.fill(&values::written(array, declared, *json)?, out)
            }
        }
    }
}

/// Returns the target of a type below its domains; `None` for a type whose values only the server can make.
fn target(base: Oid, typmod: i32) -> Option<Target> {
    use pgrx::pg_sys::*;
    const VARHDRSZ: i32 = 4;
    let digits = u8::try_from(typmod).unwrap_or(6);
    let most = usize::try_from(typmod - VARHDRSZ).ok();
    let text_is_utf8 = encoding::takes_utf8();
    Some(match base {
        BOOLOID => Target::Bool,
        INT2OID => Target::Int2,
        INT4OID => Target::Int4,
        INT8OID => Target::Int8,
        OIDOID => Target::Oid,
        FLOAT4OID => Target::Float4,
        FLOAT8OID => Target::Float8,
        NUMERICOID => {
            let limit = |(precision, scale)| NumericLimit { precision, scale };
            Target::Numeric(pg_type::numeric_typmod(typmod).map(limit))
        }
        DATEOID => Target::Date,
        TIMEOID => Target::Time(digits),
        TIMESTAMPOID => Target::Timestamp(digits),
        TIMESTAMPTZOID => Target::TimestampTz(digits),
        INTERVALOID if typmod < 0 => Target::Interval,
        UUIDOID => Target::Uuid,
        TEXTOID if text_is_utf8 => Target::Text(None),
        VARCHAROID if text_is_utf8 => Target::Text(most),
        BPCHAROID if text_is_utf8 => Target::Bpchar(most),
        BYTEAOID => Target::Bytea,
        _ => return None,
    })
}

/// Runs what may raise an error of PostgreSQL's, and returns it as a failure of the row that `row` tells then.
fn caught(row: &AtomicUsize, work: impl FnOnce() -> Filled) -> Filled {
    PgTryBuilder::new(AssertUnwindSafe(work))
        .catch_others(|cause| match cause {
            CaughtError::PostgresError(ref report) if is_about_data(report.sql_error_code()) => {
                let cause = Cause::Raised(report.sql_error_code(), report.message().to_owned());
                Err(Failure { row: row.load(Ordering::Relaxed), cause })
            }
            other => other.rethrow(),
        })
        .execute()
}

/// Returns whether an error is of class 22, data exceptions, or 23, constraints. Others, such as a cancel, are not
/// about a value.
fn is_about_data(code: Code) -> bool {
    matches!(error_class(code), [b'2', b'2' | b'3'])
}

impl Domain {
    fn check(&mut self, words: &Words) -> Filled {
        let row = AtomicUsize::new(0);
        caught(&row, || {
            for (index, (&word, &null)) in words.words.iter().zip(&words.nulls).enumerate() {
                row.store(index, Ordering::Relaxed);
                // SAFETY: the word is a Datum of the domain's base type; `known` lives in `context`.
                unsafe {
                    let datum = Datum::from(word as usize);
                    pg_sys::domain_check(datum, null, self.oid, &mut self.known, self.context);
                }
            }
            Ok(())
        })
    }
}

impl Parser {
    fn new(base: Oid, typmod: i32) -> Parser {
        let (mut oid, mut parameter) = (pg_sys::InvalidOid, pg_sys::InvalidOid);
        let mut function = pg_sys::FmgrInfo::default();
        // SAFETY: look-ups of a column's type; the current context is the scan's.
        unsafe {
            pg_sys::getTypeInputInfo(base, &mut oid, &mut parameter);
            pg_sys::fmgr_info_cxt(oid, &mut function, pg_sys::CurrentMemoryContext);
        }
        Parser { function, parameter, typmod }
    }

    fn fill(&mut self, array: &ArrayRef, out: &mut Words) -> Filled {
        out.begin_with(array);
        let row = AtomicUsize::new(0);
        let mut buffer = Vec::new();
        caught(&row, || {
            for index in 0..array.len() {
                row.store(index, Ordering::Relaxed);
                if out.nulls[index] {
                    continue;
                }
                let text = text_at(array, index).ok_or_else(|| misfit(index, "the column's type changed"))?;
                if contains(text.as_bytes(), 0) {
                    return Err(misfit(index, values::HAS_NUL));
                }
                let room = memory::room_for(3 * text.len());
                room.map_err(|_| misfit(index, values::NO_MEMORY))?;
                buffer.clear();
                match encoding::takes_utf8() {
                    true => in_steps(text.as_bytes(), |step| buffer.extend_from_slice(step)),
                    false => buffer = encoding::from_utf8(text),
                }
                buffer.push(0);
                // SAFETY: a C string in the database's encoding, for the type's input function.
                let datum = unsafe {
                    let text = buffer.as_mut_ptr().cast();
                    pg_sys::InputFunctionCall(&mut self.function, text, self.parameter, self.typmod)
                };
                out.words[index] = datum.value() as u64;
            }
            Ok(())
        })
    }
}

fn text_at(array: &ArrayRef, row: usize) -> Option<&str> {
    match array.data_type() {
        DataType::Utf8 => Some(array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => Some(array.as_string::<i64>().value(row)),
        DataType::Utf8View => Some(array.as_string_view().value(row)),
        _ => None,
    }
}

impl Failure {
    /// Returns the error; `row` counts from 1 in the file.
    pub fn report(self, file: &str, column: &str, row: u64, type_name: &str) -> Error {
        if let Cause::Misfit(Reason::Malformed(values::NO_MEMORY)) = self.cause {
            return memory::OutOfMemory(0).into();
        }
        let hint = self.cause.hint();
        let (code, why) = match self.cause {
            Cause::Misfit(Reason::OutOfRange) => (
                Code::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
                format!("The file's value is outside the range of type {type_name}."),
            ),
            Cause::Misfit(Reason::InvalidUtf8) => {
                (Code::ERRCODE_CHARACTER_NOT_IN_REPERTOIRE, Reason::InvalidUtf8.to_string())
            }
            Cause::Misfit(reason) => (Code::ERRCODE_DATA_EXCEPTION, reason.to_string()),
            Cause::Raised(code, message) => (code, message),
        };
        let message = format!(
            "value of column \"{column}\" in file \"{file}\", row {row}, is not a value of type {type_name}"
        );
        error(code, message).set_detail(why).set_hint(hint)
    }
}

impl Cause {
    /// Returns a hint. A column of text takes numbers, times and lists of all types.
    fn hint(&self) -> &'static str {
        match self {
            Cause::Misfit(Reason::InvalidUtf8) => "Declare the column as bytea.",
            Cause::Misfit(Reason::Malformed(values::HAS_NUL)) => {
                "No type of PostgreSQL's has such texts: leave the column, or the row, out of the query."
            }
            Cause::Misfit(Reason::Malformed(values::TOO_LARGE | values::NO_ENTRY | values::NULL_KEY)) => {
                "Leave the column, or the row, out of the query."
            }
            Cause::Misfit(Reason::Malformed(RAGGED)) => "Declare the column as json, jsonb or text.",
            _ => "Give the column a type that holds the file's values, or declare it as text.",
        }
    }
}
