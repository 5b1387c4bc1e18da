//! Choices among values.

use std::cmp::Ordering;

use super::texts;
use super::value::{Class, Type, compared};
use super::vector::{Values, Vector, text};
use crate::expr::float_key;
use crate::wire::numeric::pow10;

/// Takes for each row the chosen one of some values. Numerics that show different scales are odd, so that each value of
/// a vector shows its scale. Texts are copied to the bytes.
pub fn choose(
    (values, arenas): (&[&Vector], &[&[u8]]),
    choices: &[usize],
    out: &mut Vector,
    bytes: &mut Vec<u8>,
    odd: &mut [bool],
) {
    out.nulls.clear();
    if values.iter().any(|value| !value.nulls.is_empty()) {
        out.nulls.extend(choices.iter().enumerate().map(|(row, &choice)| values[choice].is_null(row)));
    }
    out.bound = values.iter().map(|value| value.bound).max().unwrap_or(0);
    let chosen = choices.iter().enumerate();
    match values.first().map(|value| &value.values) {
        Some(Values::Bools(_)) => {
            out.bools_mut().extend(chosen.map(|(row, &choice)| values[choice].bools()[row]));
        }
        Some(Values::Floats(_)) => {
            let found = chosen.map(|(row, &choice)| values[choice].floats()[row]).collect();
            out.values = Values::Floats(found);
        }
        Some(Values::Bytes(_)) => {
            let chosen = |row: usize| {
                let choice = choices[row];
                [text(values[choice].cells()[row], arenas[choice]), &[]]
            };
            texts::write(choices.len(), bytes, out, odd, chosen);
        }
        _ => {
            // NULL has no scale of its own.
            let has_value = |value: &&&Vector| value.nulls.is_empty() || value.nulls.contains(&false);
            out.scale = values.iter().filter(has_value).map(|value| value.scale).max().unwrap_or(0);
            let scale = out.scale;
            let is_narrow = values.iter().all(|value| matches!(value.values, Values::Words(_)));
            match is_narrow {
                true => out.words_mut().extend(chosen.map(|(row, &choice)| values[choice].words()[row])),
                false => out.wide_mut().extend(chosen.map(|(row, &choice)| values[choice].wide(row))),
            }
            for (row, &choice) in choices.iter().enumerate() {
                odd[row] |= values[choice].scale != scale && !values[choice].is_null(row);
            }
        }
    }
}

/// Returns for each row which of some values is the greatest or the least that is not NULL, the first of equal ones; the
/// first one if all are NULL.
pub fn extremes(
    (values, arenas): (&[&Vector], &[&[u8]]),
    of: Type,
    is_greatest: bool,
    odd: &mut [bool],
) -> Vec<usize> {
    let better = if is_greatest { Ordering::Greater } else { Ordering::Less };
    let factors = match factors(values) {
        Some(factors) => factors,
        None if of.class() == Class::Numeric => {
            odd.fill(true);
            vec![1; values.len()]
        }
        None => Vec::new(),
    };
    let order = |a: usize, b: usize, row: usize| match of.class() {
        Class::Bool => values[a].bools()[row].cmp(&values[b].bools()[row]),
        Class::Word => values[a].words()[row].cmp(&values[b].words()[row]),
        Class::Float => float_key(values[a].floats()[row]).cmp(&float_key(values[b].floats()[row])),
        Class::Numeric => {
            let at = |index: usize| values[index].wide(row).wrapping_mul(factors[index]);
            at(a).cmp(&at(b))
        }
        Class::Bytes => {
            let bytes = |index: usize| compared(of, text(values[index].cells()[row], arenas[index]));
            bytes(a).cmp(bytes(b))
        }
    };
    let best = |row: usize| {
        let present = (0..values.len()).filter(|&index| !values[index].is_null(row));
        present
            .reduce(|best, index| if order(index, best, row) == better { index } else { best })
            .unwrap_or(0)
    };
    (0..odd.len()).map(best).collect()
}

/// Returns by what numerics are multiplied to be of one scale; `None` if 128 bits do not hold them.
fn factors(values: &[&Vector]) -> Option<Vec<i128>> {
    let scale = values.iter().map(|value| value.scale).max()?;
    let factor = |value: &&Vector| {
        let factor = pow10((scale - value.scale).into())?;
        (value.bound.checked_mul(factor as u128)? < 1 << 126).then_some(factor)
    };
    values.iter().map(factor).collect()
}
