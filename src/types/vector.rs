//! The vectors of `Values`, by their type.

use super::{Cell, Values};

/// A vector type of `Values`.
pub trait Vector: Copy + Default {
    fn wrap(values: Vec<Self>) -> Values;
    fn unwrap(values: &mut Values) -> Option<&mut Vec<Self>>;

    /// Returns the lane's vector, emptied, or a new one if the lane had another type.
    fn emptied(values: &mut Values) -> &mut Vec<Self> {
        if Self::unwrap(values).is_none() {
            *values = Self::wrap(Vec::new());
        }
        let values = Self::unwrap(values).expect("wrapped above");
        values.clear();
        values
    }
}

macro_rules! vectors {
    ($($variant:ident: $type:ty),*) => {$(
        impl Vector for $type {
            fn wrap(values: Vec<Self>) -> Values {
                Values::$variant(values)
            }
            fn unwrap(values: &mut Values) -> Option<&mut Vec<Self>> {
                if let Values::$variant(values) = values { Some(values) } else { None }
            }
        }
    )*};
}

vectors!(Bool: bool, I32: i32, I64: i64, F32: f32, F64: f64, Fixed16: [u8; 16], Bytes: Cell);
