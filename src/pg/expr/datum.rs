//! Values as Datums, and Datums as values.

use arrow::datatypes::i256;
use pgrx::pg_sys::{self, Datum, Oid};

use crate::expr::{Finite, IMAGE_HEADER, Numeric, short_image};
use crate::pg::error::{Code, Result, error, internal};
use crate::pg::varlena;
use crate::query::{Output, Rows, Shown, Source, Type, Value};

/// Returns a Datum of a type as a value; `None` is NULL.
///
/// # Safety
/// The Datum is of the type, or of a domain over it.
pub unsafe fn value(of: Type, datum: Option<Datum>) -> Value {
    let Some(datum) = datum else { return Value::Null };
    let word = datum.value();
    // SAFETY: the caller passes a Datum of the type.
    unsafe {
        match of {
            Type::Bool => Value::Word((word as u8 != 0).into()),
            Type::Int2 => Value::Word((word as i16).into()),
            Type::Int4 | Type::Date => Value::Word((word as i32).into()),
            Type::Oid => Value::Word((word as u32).into()),
            Type::Int8 | Type::Time | Type::Timestamp | Type::TimestampTz => Value::Word(word as i64),
            Type::Float4 => Value::Float(f64::from(f32::from_bits(word as u32)).to_bits()),
            Type::Float8 => Value::Float(word as u64),
            Type::Numeric => Value::Numeric(Numeric::read(varlena::bytes(datum)).unwrap_or(Numeric::NaN)),
            Type::Text | Type::Bpchar => Value::Bytes(varlena::bytes(datum).to_vec()),
            Type::Other => Value::Word(0),
            Type::Uuid => Value::Bytes(std::slice::from_raw_parts(datum.cast_mut_ptr::<u8>(), 16).to_vec()),
        }
    }
}

/// Returns the Datum of a row's value in a column, in the current context; `None` for NULL.
pub fn of_row(of: Type, rows: &Rows, column: usize, row: usize) -> Option<Datum> {
    match rows.column(column) {
        Source::Cells(cells) | Source::Placed(cells, _) => {
            cells[row].bytes(rows.bytes_of(column)).map(|bytes| of_cell(of, bytes))
        }
        Source::Words(words, nulls) => (!nulls[row]).then(|| Datum::from(words[row] as usize)),
        Source::Decimals(decimals) => decimals.at(row).map(|value| numeric_datum(&value)),
    }
}

/// Returns the Datum of a cell's bytes in the heap's form, which points into the current context.
fn of_cell(of: Type, bytes: &[u8]) -> Datum {
    let mut word = [0; 8];
    match of {
        Type::Numeric | Type::Text | Type::Bpchar => return varlena::datum(bytes),
        Type::Uuid => return of_copy(bytes),
        _ => {
            let length = bytes.len().min(8);
            word[..length].copy_from_slice(&bytes[..length]);
        }
    }
    let word = u64::from_le_bytes(word);
    Datum::from(match of {
        // Datums of integers have their sign extended (postgres.h).
        Type::Int2 => word as i16 as i64 as usize,
        Type::Int4 | Type::Date => word as i32 as i64 as usize,
        _ => word as usize,
    })
}

fn of_copy(bytes: &[u8]) -> Datum {
    // SAFETY: as many bytes as are allocated.
    unsafe {
        let copy = pg_sys::palloc(bytes.len().max(1)).cast::<u8>();
        copy.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        Datum::from(copy)
    }
}

/// Returns what a group shows as a Datum of a type, in the current context; `None` for NULL.
pub fn of_shown(shown: &Shown, oid: Oid) -> Result<Option<Datum>> {
    Ok(Some(match shown {
        Shown::Null => return Ok(None),
        Shown::Word(word) => Datum::from(*word as usize),
        Shown::Float(float) if oid == pg_sys::FLOAT4OID => Datum::from((*float as f32).to_bits() as usize),
        Shown::Float(float) => Datum::from(float.to_bits() as usize),
        Shown::Scaled { value, scale, dscale } => scaled(*value, *scale, *dscale),
        Shown::Numeric(numeric) => numeric_datum(numeric),
        Shown::Average(sum, count) => {
            let count = numeric_datum(&Numeric::Finite(Finite::integer((*count).into())));
            let arguments = [Some(numeric_datum(sum)), Some(count)];
            // SAFETY: two numerics, as the function takes them.
            return Ok(unsafe { pgrx::direct_function_call_as_datum(pg_sys::numeric_div, &arguments) });
        }
        Shown::Spread(output, state) => return spread(*output, state),
        Shown::Bytes(bytes) if oid == pg_sys::UUIDOID => of_copy(bytes),
        Shown::Bytes(bytes) => varlena::datum(bytes),
        Shown::TooLarge => {
            return Err(error(Code::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE, "bigint out of range")
                .set_hint("Sum the column as numeric."));
        }
    }))
}

/// Returns what PostgreSQL's aggregate makes of a state.
fn spread(output: Output, state: &[u8]) -> Result<Option<Datum>> {
    let read = pg_sys::numeric_deserialize as Function;
    let result: Function = match output {
        Output::PopulationVariance => pg_sys::numeric_var_pop,
        Output::SampleVariance => pg_sys::numeric_var_samp,
        Output::PopulationDeviation => pg_sys::numeric_stddev_pop,
        Output::SampleDeviation => pg_sys::numeric_stddev_samp,
        _ => return Err(internal("a variance shows another aggregate's result")),
    };
    // SAFETY: the functions take one argument, a bytea and the state that is made of it, in the current context.
    unsafe {
        let state = call_in_aggregate(read, varlena::datum(state));
        Ok(state.and_then(|state| call_in_aggregate(result, state)))
    }
}

type Function = unsafe fn(pg_sys::FunctionCallInfo) -> Datum;

/// Calls a function that runs within aggregates only.
///
/// # Safety
/// The function takes one argument of the Datum's type.
unsafe fn call_in_aggregate(function: Function, argument: Datum) -> Option<Datum> {
    // SAFETY: the call has room for one argument; of its context, the function looks at the tag.
    unsafe {
        let size = size_of::<pg_sys::FunctionCallInfoBaseData>() + size_of::<pg_sys::NullableDatum>();
        let call = pg_sys::palloc0(size).cast::<pg_sys::FunctionCallInfoBaseData>();
        let context = pg_sys::palloc0(size_of::<pg_sys::AggState>()).cast::<pg_sys::AggState>();
        (*context).ss.ps.type_ = pg_sys::NodeTag::T_AggState;
        (*call).context = context.cast();
        (*call).nargs = 1;
        let arguments = (*call).args.as_mut_ptr();
        arguments.write(pg_sys::NullableDatum { value: argument, isnull: false });
        let found = function(call);
        (!(*call).isnull).then_some(found)
    }
}

pub fn numeric_datum(numeric: &Numeric) -> Datum {
    varlena::datum(&numeric.image()[IMAGE_HEADER..])
}

fn scaled(value: i128, scale: u8, dscale: u16) -> Datum {
    match short_image(value, scale, dscale) {
        Some((image, length)) => varlena::datum(&image[..length]),
        None => numeric_datum(&Numeric::scaled(i256::from_i128(value), scale.into(), dscale)),
    }
}
