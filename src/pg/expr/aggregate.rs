//! Translates PostgreSQL's aggregates, and makes their states those of PostgreSQL's partial aggregation, which parallel
//! workers send (`Partial Aggregate`). So any number of scans can contribute to one result, and PostgreSQL's own final
//! step makes it, with its scale and its errors.

use pgrx::pg_sys::{self, Datum, Oid};

use crate::expr::{Finite, IMAGE_HEADER, Kind, State};
use crate::pg::error::{Code, Result, error};
use crate::pg::list::members;
use crate::pg::pg_type;
use crate::pg::varlena;

/// An aggregate function that is computed on columns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Aggregate {
    pub kind: Kind,
    pub form: Form,
}

/// The form of an aggregate's state as a Datum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    /// A value of the result's type.
    Value,
    /// An array of count and sum.
    CountAndSum,
    /// The bytea that the aggregate's serialization function makes.
    Serialized,
}

impl Aggregate {
    /// Returns the aggregate of a function in pg_proc.
    fn of(function: Oid) -> Option<Aggregate> {
        let (kind, form) = match function.to_u32() {
            // count(*), count("any")
            2803 | 2147 => (Kind::Count, Form::Value),
            // sum(int4), sum(int2); avg(int4), avg(int2); sum(int8), avg(int8)
            2108 | 2109 => (Kind::IntegerSum, Form::Value),
            2101 | 2102 => (Kind::IntegerSum, Form::CountAndSum),
            2107 | 2100 => (Kind::IntegerSum, Form::Serialized),
            // sum, avg, max and min of numeric
            2114 | 2103 => (Kind::NumericSum, Form::Serialized),
            2130 => (Kind::NumericExtreme { least: false }, Form::Value),
            2146 => (Kind::NumericExtreme { least: true }, Form::Value),
            // int8, int4, int2, oid, date, time, timestamp, timestamptz
            2115 | 2116 | 2117 | 2118 | 2122 | 2123 | 2126 | 2127 => {
                (Kind::Extreme { least: false }, Form::Value)
            }
            2131 | 2132 | 2133 | 2134 | 2138 | 2139 | 2142 | 2143 => {
                (Kind::Extreme { least: true }, Form::Value)
            }
            _ => return None,
        };
        Some(Aggregate { kind, form })
    }

    /// Returns the aggregate that an expression is, and the number of the attribute that it is of; `None` for what
    /// is left to the executor.
    ///
    /// # Safety
    /// The node is of the type that its tag says.
    pub unsafe fn of_node(node: *mut pg_sys::Node) -> Option<(Aggregate, Option<i16>)> {
        // SAFETY: an Aggref's arguments are TargetEntries.
        unsafe {
            if (*node).type_ != pg_sys::NodeTag::T_Aggref {
                return None;
            }
            let aggref = &*node.cast::<pg_sys::Aggref>();
            let is_plain = aggref.aggfilter.is_null()
                && aggref.aggdistinct.is_null()
                && aggref.aggorder.is_null()
                && aggref.aggdirectargs.is_null()
                && !aggref.aggvariadic
                && aggref.agglevelsup == 0;
            if !is_plain {
                return None;
            }
            let aggregate = Aggregate::of(aggref.aggfnoid)?;
            match (aggref.aggstar, &members::<pg_sys::TargetEntry>(aggref.args)[..]) {
                (true, []) => Some((aggregate, None)),
                (false, &[argument]) => {
                    let mut argument: *mut pg_sys::Node = (*argument).expr.cast();
                    let of = pg_sys::exprType(argument);
                    while (*argument).type_ == pg_sys::NodeTag::T_RelabelType {
                        argument = (*argument.cast::<pg_sys::RelabelType>()).arg.cast();
                    }
                    if (*argument).type_ != pg_sys::NodeTag::T_Var {
                        return None;
                    }
                    let var = &*argument.cast::<pg_sys::Var>();
                    // A value of int4 and one of oid with the same bits differ as words.
                    let is_same = pg_type::base_type(var.vartype, -1).0 == pg_type::base_type(of, -1).0;
                    (var.varattno > 0 && (is_same || aggregate.kind == Kind::Count))
                        .then_some((aggregate, Some(var.varattno)))
                }
                _ => None,
            }
        }
    }

    /// Returns a state as the aggregate's transition function leaves it, or its serialization function sends it, in
    /// the current context; `None` for NULL.
    pub fn datum(&self, state: &State) -> Result<Option<Datum>> {
        Ok(match state {
            State::Count(count) => Some(int8(*count as i64)),
            State::IntegerSum { count, sum } => match self.form {
                Form::Value if *count == 0 => None,
                Form::Value => Some(int8(bigint(*sum)?)),
                Form::CountAndSum => Some(pair(*count as i64, bigint(*sum)?)),
                Form::Serialized => (*count > 0).then(|| {
                    let mut bytes = (*count as i64).to_be_bytes().to_vec();
                    Finite::integer(*sum).send(&mut bytes);
                    varlena::datum(&bytes)
                }),
            },
            State::NumericSum(sum) => sum.send().map(|bytes| varlena::datum(&bytes)),
            State::Extreme { found, .. } => found.map(int8),
            State::NumericExtreme { found, .. } => {
                found.as_ref().map(|value| varlena::datum(&value.image()[IMAGE_HEADER..]))
            }
        })
    }
}

fn int8(value: i64) -> Datum {
    Datum::from(value as usize)
}

fn bigint(sum: i128) -> Result<i64> {
    i64::try_from(sum).map_err(|_| {
        error(Code::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE, "bigint out of range")
            .set_hint("Sum the column as numeric.")
    })
}

fn pair(count: i64, sum: i64) -> Datum {
    const ALIGN_DOUBLE: std::ffi::c_char = b'd' as std::ffi::c_char;
    let mut pair = [int8(count), int8(sum)];
    // SAFETY: two Datums of bigint, as its type in pg_type is.
    Datum::from(unsafe {
        pg_sys::construct_array(pair.as_mut_ptr(), 2, pg_sys::INT8OID, 8, true, ALIGN_DOUBLE)
    })
}
