//! Values that are the same for all rows of a scan: constants, parameters, stable expressions. PostgreSQL evaluates
//! them when the scan begins.

use pgrx::pg_sys::{self, Datum, Oid};

use crate::expr::{Constant, Numeric, Scalar, Type};
use crate::pg::varlena;

/// A value, or an expression that has one.
pub(super) enum Input {
    Constant(Option<Datum>),
    /// An expression. The value of a fixed one does not change when the scan begins again; `now` is `None` while it is
    /// not known.
    Expression {
        state: *mut pg_sys::ExprState,
        is_fixed: bool,
        now: Option<Option<Datum>>,
    },
}

impl Input {
    /// Evaluates the expression, unless it depends on what else the plan does and `all` is false.
    ///
    /// # Safety
    /// `context` is that of the scan; with `all`, the executor is running it.
    pub unsafe fn evaluate(&mut self, context: *mut pg_sys::ExprContext, all: bool) {
        if let Input::Expression { state, is_fixed, now } = self {
            let mut is_null = false;
            // SAFETY: the state was made for the scan whose context the caller passes.
            *now = (*is_fixed || all).then(|| unsafe {
                let datum = pg_sys::ExecEvalExpr(*state, context, &mut is_null);
                (!is_null).then_some(datum)
            });
        }
    }

    /// Returns the value, which may be NULL; `None` while it is not known.
    pub fn now(&self) -> Option<Option<Datum>> {
        match self {
            Input::Constant(value) => Some(*value),
            Input::Expression { now, .. } => *now,
        }
    }
}

/// The type of the values that a column is compared with.
#[derive(Clone, Copy)]
pub(super) struct Values {
    pub of: Type,
    /// PostgreSQL's type, or that of an array's elements.
    pub oid: Oid,
    pub is_array: bool,
}

impl Values {
    /// Returns a value, or an array's, as a constant.
    ///
    /// # Safety
    /// The Datum is of the type, or an array of it.
    pub unsafe fn constant(&self, value: Option<Datum>) -> Constant {
        let Some(value) = value else { return Constant::Null };
        // SAFETY: the caller passes a value of the type, or an array of such.
        unsafe {
            match self.is_array {
                false => Constant::One(scalar(value, self.of, self.oid)),
                true => {
                    let elements = elements(value, self.oid).into_iter();
                    Constant::list(elements.map(|element| Some(scalar(element?, self.of, self.oid))))
                }
            }
        }
    }
}

/// Returns a value of a type as PostgreSQL's one.
///
/// # Safety
/// The Datum is of the type `oid`, whose values compare as those of `of`.
unsafe fn scalar(value: Datum, of: Type, oid: Oid) -> Scalar {
    // SAFETY: the type tells what the Datum is.
    unsafe {
        match of {
            Type::Float4 | Type::Float8 if oid == pg_sys::FLOAT4OID => {
                Scalar::float(f32::from_bits(value.value() as u32).into())
            }
            Type::Float4 | Type::Float8 => Scalar::float(f64::from_bits(value.value() as u64)),
            Type::Numeric => Scalar::Numeric(Numeric::read(varlena::bytes(value)).unwrap_or(Numeric::NaN)),
            Type::Text | Type::Bpchar | Type::Bytea => Scalar::bytes(of, varlena::bytes(value)),
            Type::Uuid => Scalar::bytes(of, std::slice::from_raw_parts(value.cast_mut_ptr::<u8>(), 16)),
            Type::Bool | Type::Integer | Type::Oid | Type::Date | Type::Time | Type::Timestamp => {
                Scalar::Integer(integer(value, oid))
            }
        }
    }
}

/// Returns a Datum of a type that is compared as an integer.
fn integer(value: Datum, oid: Oid) -> i64 {
    let value = value.value();
    match oid {
        pg_sys::BOOLOID => i64::from(value as u8 != 0),
        pg_sys::INT2OID => (value as i16).into(),
        pg_sys::INT4OID | pg_sys::DATEOID => (value as i32).into(),
        pg_sys::OIDOID => (value as u32).into(),
        _ => value as i64,
    }
}

/// Returns an array's elements.
///
/// # Safety
/// The Datum is an array of the element type.
pub unsafe fn elements(array: Datum, element: Oid) -> Vec<Option<Datum>> {
    let (mut length, mut by_value, mut align) = (0, false, 0);
    let (mut values, mut nulls, mut count) = (std::ptr::null_mut(), std::ptr::null_mut(), 0);
    // SAFETY: an array of the element type; the results are allocated in the current context.
    unsafe {
        pg_sys::get_typlenbyvalalign(element, &mut length, &mut by_value, &mut align);
        let array = pg_sys::detoast_attr(array.cast_mut_ptr()).cast();
        pg_sys::deconstruct_array(
            array,
            element,
            length.into(),
            by_value,
            align,
            &mut values,
            &mut nulls,
            &mut count,
        );
        (0..count as usize).map(|index| (!*nulls.add(index)).then(|| *values.add(index))).collect()
    }
}
