//! PostgreSQL's types as those of vectors.

use pgrx::pg_sys::{self, Oid};

use crate::pg::expr::collation::{is_deterministic, orders_by_bytes};
use crate::pg::pg_type;
use crate::query::{Test, Type};

/// Returns how vectors hold a type or a domain over it; `None` if they do not.
pub fn type_of(oid: Oid) -> Option<Type> {
    use pgrx::pg_sys::{
        BOOLOID, BPCHAROID, DATEOID, FLOAT4OID, FLOAT8OID, INT2OID, INT4OID, INT8OID, NUMERICOID, OIDOID,
        TEXTOID, TIMEOID, TIMESTAMPOID, TIMESTAMPTZOID, UUIDOID, VARCHAROID,
    };
    Some(match pg_type::base_type(oid, -1).0 {
        BOOLOID => Type::Bool,
        INT2OID => Type::Int2,
        INT4OID => Type::Int4,
        INT8OID => Type::Int8,
        OIDOID => Type::Oid,
        DATEOID => Type::Date,
        TIMEOID => Type::Time,
        TIMESTAMPOID => Type::Timestamp,
        TIMESTAMPTZOID => Type::TimestampTz,
        FLOAT4OID => Type::Float4,
        FLOAT8OID => Type::Float8,
        NUMERICOID => Type::Numeric,
        TEXTOID | VARCHAROID => Type::Text,
        BPCHAROID => Type::Bpchar,
        UUIDOID => Type::Uuid,
        _ => return None,
    })
}

/// Returns the scale of a numeric that is declared with one between 0 and 38.
pub fn declared_scale(oid: Oid, typmod: i32) -> Option<u8> {
    let (base, typmod) = pg_type::base_type(oid, typmod);
    let (_, scale) = pg_type::numeric_typmod(typmod).filter(|_| base == pg_sys::NUMERICOID)?;
    u8::try_from(scale).ok().filter(|scale| *scale <= 38)
}

/// Returns whether values' bytes tell how they compare.
pub fn compares(of: Type, test: Test, collation: Oid) -> bool {
    match of {
        Type::Text | Type::Bpchar => match test {
            Test::Equal | Test::NotEqual => is_deterministic(collation),
            _ => is_deterministic(collation) && orders_by_bytes(collation),
        },
        _ => true,
    }
}
