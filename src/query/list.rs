//! The lists of IN.

use super::Unfit;
use super::keys::integer;
use super::value::{Class, Type, Value, compared};
use super::vector::Vector;
use crate::expr::{Numeric, float_key};

/// The values of IN, in order.
pub enum List {
    Words(Vec<i64>),
    /// By `float_key`.
    Floats(Vec<i64>),
    /// And, at the scale of the values that were looked up last, those that are integers there.
    Numerics {
        values: Vec<Numeric>,
        scale: Option<u8>,
        integers: Vec<i128>,
    },
    Bytes(Vec<Vec<u8>>),
}

impl List {
    /// Returns a list of values of a type.
    pub fn new(of: Type, class: Class, values: &[Value]) -> Result<List, Unfit> {
        const OTHER: Unfit = Unfit("a list of another type");
        let word = |value: &Value| if let Value::Word(word) = value { Ok(*word) } else { Err(OTHER) };
        Ok(match class {
            Class::Word => List::Words(sorted(values.iter().map(word))?),
            Class::Float => List::Floats(sorted(values.iter().map(|value| match value {
                Value::Float(bits) => Ok(float_key(f64::from_bits(*bits))),
                _ => Err(OTHER),
            }))?),
            Class::Numeric => {
                let values = sorted(values.iter().map(|value| match value {
                    Value::Numeric(numeric) => Ok(numeric.clone()),
                    _ => Err(OTHER),
                }))?;
                List::Numerics { values, scale: None, integers: Vec::new() }
            }
            Class::Bytes => List::Bytes(sorted(values.iter().map(|value| match value {
                Value::Bytes(bytes) => Ok(compared(of, bytes).to_vec()),
                _ => Err(OTHER),
            }))?),
            Class::Bool => return Err(OTHER),
        })
    }
}

fn sorted<T: Ord>(values: impl Iterator<Item = Result<T, Unfit>>) -> Result<Vec<T>, Unfit> {
    let mut values = values.collect::<Result<Vec<T>, Unfit>>()?;
    values.sort();
    Ok(values)
}

impl List {
    /// Appends for each row whether its value is in the list.
    pub fn find<'a>(
        &mut self,
        from: &Vector,
        mut bytes: impl Iterator<Item = &'a [u8]>,
        out: &mut Vec<bool>,
    ) {
        match self {
            List::Words(list) => out.extend(from.words().iter().map(|word| list.binary_search(word).is_ok())),
            List::Floats(list) => {
                out.extend(from.floats().iter().map(|&float| list.binary_search(&float_key(float)).is_ok()));
            }
            List::Bytes(list) => {
                let is_in = |bytes: &[u8]| list.binary_search_by(|value| value[..].cmp(bytes)).is_ok();
                out.extend(bytes.by_ref().map(is_in));
            }
            List::Numerics { values, scale, integers } => {
                if *scale != Some(from.scale) {
                    // Those that are no integer at this scale are equal to none.
                    *integers = values.iter().filter_map(|value| integer(value, from.scale)).collect();
                    *scale = Some(from.scale);
                }
                out.extend((0..from.len()).map(|row| integers.binary_search(&from.wide(row)).is_ok()));
            }
        }
    }
}
