//! The values that a column is to be equal to, against a group's Bloom filter.

use pgrx::pg_sys::{self, Datum};

use super::select::{integer, numeric_text};
use super::{Comparison, Form, Order, text_bytes};
use crate::fdw::{BloomFilter, Sought};

impl Comparison {
    /// Whether a group may have a value that is equal, as its filter says.
    ///
    /// # Safety
    /// A value of the operator's right type.
    pub(super) unsafe fn may_hold(&self, filter: &BloomFilter, value: Datum) -> bool {
        let Some(exact) = self.exact.as_ref().filter(|_| self.order == Order::Equal) else { return true };
        // SAFETY: as the caller says; the form tells the type.
        let sought = unsafe {
            match (exact.form, exact.right) {
                (Form::Integer, right) => of_integer(integer(value, right), right),
                (Form::Numeric, _) => numeric_text(value).map(Sought::Numeric),
                (Form::Bytes, pg_sys::TEXTOID) => Some(Sought::Text(text_bytes(value))),
                (Form::Bytes, pg_sys::BYTEAOID) => Some(Sought::Bytes(text_bytes(value))),
                (Form::Uuid, _) => {
                    Some(Sought::Bytes(std::slice::from_raw_parts(value.cast_mut_ptr::<u8>(), 16)))
                }
                _ => None,
            }
        };
        sought.is_none_or(|sought| filter.may_hold(sought))
    }
}

fn of_integer<'a>(value: i64, of: pg_sys::Oid) -> Option<Sought<'a>> {
    match of {
        pg_sys::INT2OID | pg_sys::INT4OID | pg_sys::INT8OID | pg_sys::OIDOID => Some(Sought::Integer(value)),
        pg_sys::DATEOID => Some(Sought::Date(value)),
        pg_sys::TIMEOID => Some(Sought::Time(value)),
        pg_sys::TIMESTAMPOID | pg_sys::TIMESTAMPTZOID => Some(Sought::Timestamp(value)),
        _ => None,
    }
}
