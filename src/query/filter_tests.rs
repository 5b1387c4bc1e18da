//! Random conditions over random columns, against three-valued logic row by row.

use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array};
use arrow::datatypes::i256;
use proptest::prelude::*;

use super::*;
use crate::expr::{Decimals, Numeric, float_key, without_blanks};
use crate::types::Cell;

const TYPES: [Type; 5] = [Type::Int8, Type::Float8, Type::Numeric, Type::Text, Type::Bpchar];
const NUMERIC: usize = 2;

/// A value that is one of few, so that they meet; every seventh is NULL.
fn value(of: Type, seed: u8) -> Value {
    let at = usize::from(seed % 7);
    if at == 6 {
        return Value::Null;
    }
    match of {
        Type::Float8 => {
            Value::Float([f64::NAN, -0.0, 0.0, 1.5, f64::NEG_INFINITY, f64::INFINITY][at].to_bits())
        }
        Type::Numeric => {
            Value::Numeric(Numeric::parse(["-1.50", "0", "0.25", "1.5", "12345.67", "NaN"][at]).unwrap())
        }
        Type::Text => Value::Bytes([&b""[..], b"a", b"ab", b"ab ", b"b%", b"\xc5\xbe"][at].to_vec()),
        Type::Bpchar => Value::Bytes([&b""[..], b"a  ", b"ab", b"ab ", b"b\t", b"b"][at].to_vec()),
        _ => Value::Word([i64::MIN, -1, 0, 1, 77, i64::MAX][at]),
    }
}

/// Compares values of a type; `None` if one is NULL.
fn order(of: Type, a: &Value, b: &Value) -> Option<std::cmp::Ordering> {
    let counted = |bytes: &[u8]| match of {
        Type::Bpchar => without_blanks(bytes).to_vec(),
        _ => bytes.to_vec(),
    };
    Some(match (a, b) {
        (Value::Word(a), Value::Word(b)) => a.cmp(b),
        (Value::Float(a), Value::Float(b)) => {
            float_key(f64::from_bits(*a)).cmp(&float_key(f64::from_bits(*b)))
        }
        (Value::Numeric(a), Value::Numeric(b)) => a.cmp(b),
        (Value::Bytes(a), Value::Bytes(b)) => counted(a).cmp(&counted(b)),
        _ => return None,
    })
}

fn conditions() -> impl Strategy<Value = Expr> {
    use Test::*;
    let tests = || prop::sample::select(vec![Less, LessEqual, Equal, GreaterEqual, Greater, NotEqual]);
    let column = |index: usize| Expr::Column(index).into();
    let leaf = prop_oneof![
        1 => (0..5_usize).prop_map(move |index| Expr::IsNull(column(index))),
        4 => (0..5_usize, tests(), any::<(u8, bool)>()).prop_map(|(index, test, (seed, is_commuted))| {
            let mut sides = [Expr::Column(index), Expr::Constant(TYPES[index], value(TYPES[index], seed))];
            if is_commuted {
                sides.reverse();
            }
            Expr::Compare(test, sides.into())
        }),
        2 => (0..5_usize, prop::collection::vec(0..6_u8, 1..4), any::<[bool; 2]>()).prop_map(
            move |(index, seeds, [has_null, is_negated])| Expr::In {
                argument: column(index),
                list: seeds.into_iter().map(|seed| value(TYPES[index], seed)).collect(),
                has_null,
                is_negated,
            }
        ),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(Expr::And),
            prop::collection::vec(inner.clone(), 1..4).prop_map(Expr::Or),
            inner.prop_map(|part| Expr::Not(part.into())),
        ]
    })
}

/// The value for one row, by the definitions of SQL.
fn truth(condition: &Expr, row: &[Value]) -> Option<bool> {
    let any = |values: Vec<Option<bool>>| match values.contains(&Some(true)) {
        true => Some(true),
        false if values.contains(&None) => None,
        false => Some(false),
    };
    let not = |value: Option<bool>| value.map(|value| !value);
    let of = |expr: &Expr| match expr {
        Expr::Column(index) => row[*index].clone(),
        Expr::Constant(_, value) => value.clone(),
        _ => panic!("a column or a constant"),
    };
    let type_of = |expr: &Expr| expr.of(&TYPES.map(|of| Column { of, scale: None }));
    match condition {
        Expr::And(parts) => not(any(parts.iter().map(|part| not(truth(part, row))).collect())),
        Expr::Or(parts) => any(parts.iter().map(|part| truth(part, row)).collect()),
        Expr::Not(part) => not(truth(part, row)),
        Expr::IsNull(part) => Some(of(part).is_null()),
        Expr::Compare(test, sides) => {
            Some(test.holds(order(type_of(&sides[0]), &of(&sides[0]), &of(&sides[1]))?))
        }
        Expr::In { argument, list, has_null, is_negated } => {
            let equal = |value: &Value| Some(order(type_of(argument), &of(argument), value)?.is_eq());
            let mut found: Vec<Option<bool>> = list.iter().map(equal).collect();
            found.extend(has_null.then_some(None));
            let found = any(found);
            if *is_negated { not(found) } else { found }
        }
        _ => panic!("{condition:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn conditions_are_three_valued(
        seeds in prop::collection::vec(any::<[u8; 5]>(), 0..12),
        conditions in prop::collection::vec(conditions(), 1..3),
        has_words in any::<bool>(),
    ) {
        let mut rows: Vec<Vec<Value>> =
            seeds.iter().map(|seeds| TYPES.iter().zip(seeds).map(|(of, seed)| value(*of, *seed)).collect()).collect();
        // Numerics are in a file's form, in which there is no NaN.
        let scaled = |value: &Value| match value {
            Value::Numeric(number @ Numeric::Finite(_)) => super::keys::integer(number, 2),
            _ => None,
        };
        let decimals: Vec<Option<i128>> = rows.iter().map(|row| scaled(&row[NUMERIC])).collect();
        for (row, decimal) in rows.iter_mut().zip(&decimals) {
            let number = |value| Value::Numeric(Numeric::scaled(i256::from_i128(value), 2, 2));
            row[NUMERIC] = decimal.map_or(Value::Null, number);
        }
        let array = Decimal128Array::from(decimals).with_precision_and_scale(38, 2).unwrap();
        let array: ArrayRef = Arc::new(array);
        let mut arena = vec![0; 3];
        let mut cell = |value: &Value| {
            let bytes = match value {
                Value::Word(word) => word.to_le_bytes().to_vec(),
                Value::Float(bits) => bits.to_le_bytes().to_vec(),
                Value::Bytes(bytes) => bytes.clone(),
                _ => return Cell::NULL,
            };
            arena.extend(&bytes);
            Cell::new(arena.len() - bytes.len(), bytes.len())
        };
        let cells: Vec<Vec<Cell>> =
            (0..5).map(|index| rows.iter().map(|row| cell(&row[index])).collect()).collect();
        let word = |row: &Vec<Value>| if let Value::Word(word) = row[0] { word as u64 } else { 7 };
        let words: Vec<u64> = rows.iter().map(word).collect();
        let nulls: Vec<bool> = rows.iter().map(|row| row[0].is_null()).collect();
        let source = |index: usize| match index {
            0 if has_words => Source::Words(&words, &nulls),
            NUMERIC => Source::Decimals(Decimals::new(&array, 2).unwrap()),
            // Texts may lie in bytes of their own.
            3 => Source::Placed(&cells[index], &arena),
            _ => Source::Cells(&cells[index]),
        };
        let sources: Vec<Source> = (0..5).map(source).collect();
        let columns = TYPES.map(|of| Column { of, scale: None });
        let (mut found, mut left) = (Vec::new(), Vec::new());
        let mut filter = Filter::new(&columns, &conditions).unwrap();
        filter.select(&Rows::mixed(&sources, &arena), 0..rows.len(), &mut found, &mut left);
        let is_true = |&row: &u32| {
            conditions.iter().all(|condition| truth(condition, &rows[row as usize]) == Some(true))
        };
        prop_assert_eq!(found, (0..rows.len() as u32).filter(is_true).collect::<Vec<_>>(), "{:?}", conditions);
        prop_assert!(left.is_empty());
    }
}
