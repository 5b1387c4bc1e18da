//! Random conditions and the statistics of random columns, against three-valued logic row by row.

use proptest::prelude::*;

use super::*;

const TYPES: [Type; 6] = [Type::Integer, Type::Float8, Type::Numeric, Type::Text, Type::Bpchar, Type::Float4];

/// A value that is one of few, so that they meet.
fn scalar(of: Type, seed: u8) -> Scalar {
    let seed = usize::from(seed % 6);
    match of {
        Type::Float4 | Type::Float8 => {
            Scalar::float([f64::NAN, -0.0, 0.0, 1.5, f64::NEG_INFINITY, f64::INFINITY][seed])
        }
        Type::Numeric => {
            Scalar::Numeric(Numeric::parse(["-1.50", "0", "0.25", "1.5", "12345.67", "NaN"][seed]).unwrap())
        }
        Type::Text => Scalar::bytes(of, [&b""[..], b"a", b"ab", b"ab ", b"b%", b"\xc5\xbe"][seed]),
        Type::Bpchar => Scalar::bytes(of, [&b""[..], b"a  ", b"ab", b"ab ", b"b\t", b"b"][seed]),
        _ => Scalar::Integer([i64::MIN, -1, 0, 1, 77, i64::MAX][seed]),
    }
}

/// The rows of the columns, and what their words point to.
struct Table {
    values: Vec<Vec<Option<Scalar>>>,
    words: Vec<Vec<u64>>,
    nulls: Vec<Vec<bool>>,
    _images: Vec<Vec<u8>>,
}

impl Table {
    /// Makes a table; a seed chooses the value of a row and column, and every seventh is NULL.
    fn new(seeds: &[[u8; 6]]) -> Table {
        let value = |seed: u8, at: usize| (seed % 7 != 6).then(|| scalar(TYPES[at], seed % 7));
        let values: Vec<Vec<Option<Scalar>>> =
            (0..6).map(|at| seeds.iter().map(|row| value(row[at], at)).collect()).collect();
        let mut images = Vec::new();
        let mut word = |value: &Option<Scalar>, of: Type| match value {
            None => 0,
            Some(Scalar::Integer(value)) => *value as u64,
            Some(Scalar::Float(key)) => {
                // The value that has the key, be it of four bytes or eight.
                let all = [f64::NAN, 0.0, 1.5, f64::NEG_INFINITY, f64::INFINITY];
                let value = all.into_iter().find(|&value| float_key(value) == *key).unwrap();
                if of == Type::Float4 { (value as f32).to_bits().into() } else { value.to_bits() }
            }
            Some(value) => {
                images.push(match value {
                    Scalar::Numeric(value) => value.image(),
                    _ => image(value.as_bytes(), of, images.len() % 2 == 0),
                });
                images.last().map_or(0, |image| image.as_ptr() as u64)
            }
        };
        let words = values
            .iter()
            .zip(TYPES)
            .map(|(column, of)| column.iter().map(|value| word(value, of)).collect())
            .collect();
        let nulls = values.iter().map(|column| column.iter().map(Option::is_none).collect()).collect();
        Table { values, words, nulls, _images: images }
    }
}

/// A varlena behind a header of one byte or of four; texts of char(n) are padded.
fn image(bytes: &[u8], of: Type, is_short: bool) -> Vec<u8> {
    let padded = [bytes, if of == Type::Bpchar { b"   " } else { b"" }].concat();
    match is_short {
        true => [&[(padded.len() as u8 + 1) << 1 | 1], &padded[..]].concat(),
        false => [&((padded.len() as u32 + 4) << 2).to_le_bytes()[..], &padded].concat(),
    }
}

struct Nothing;

impl Opaque for Nothing {
    unsafe fn may_be(&self, _: usize, _: bool, _: &dyn Evidence) -> bool {
        true
    }
}

impl Evidence for Table {
    fn bounds(&self, column: usize) -> Option<Bounds> {
        let key = |row: &usize| match TYPES[column] {
            // Bounds order the texts of char(n) with the blanks at their end.
            // SAFETY: the word points to the value's image.
            Type::Bpchar if !self.nulls[column][*row] => unsafe {
                Some(Scalar::Bytes(varlena(self.words[column][*row]).into()))
            },
            _ => self.values[column][*row].clone(),
        };
        // Bounds of floats leave out NaN.
        let is_bound = |row: &usize| key(row).is_some_and(|value| value != Scalar::float(f64::NAN));
        let rows = 0..self.nulls[column].len();
        let word = |row: usize| self.words[column][row];
        let nulls = self.nulls[column].iter().filter(|&&null| null).count() as u64;
        Some(Bounds {
            min: rows.clone().filter(is_bound).min_by_key(key).map(word),
            max: rows.clone().filter(is_bound).max_by_key(key).map(word),
            rows: rows.len() as u64,
            nulls: Some(nulls),
        })
    }

    fn may_have(&self, column: ColumnRef, value: &Scalar) -> bool {
        self.values[column.index].iter().flatten().any(|of| of == value)
    }
}

fn tests() -> impl Strategy<Value = Test> {
    use Test::*;
    prop::sample::select(vec![Less, LessEqual, Equal, GreaterEqual, Greater, NotEqual])
}

fn operands(of: Type) -> impl Strategy<Value = Operand> {
    let one = any::<u8>().prop_map(move |seed| Constant::One(scalar(of, seed)));
    let element = any::<u8>().prop_map(move |seed| (seed < 220).then(|| scalar(of, seed)));
    let list = prop::collection::vec(element, 0..4).prop_map(Constant::list);
    prop_oneof![4 => one, 3 => list, 1 => Just(Constant::Null)].prop_map(Operand::Constant)
}

fn conditions() -> impl Strategy<Value = Condition> {
    let leaf = prop_oneof![
        1 => (0..6_usize).prop_map(Condition::IsNull),
        6 => (0..6_usize, tests()).prop_flat_map(|(index, test)| {
            let column = ColumnRef { index, of: TYPES[index] };
            operands(column.of).prop_map(move |operand| match (column.of, test) {
                // Order is not asked of char(n).
                (Type::Bpchar, Test::Equal | Test::NotEqual) => Condition::Compare(column, test, operand),
                (Type::Bpchar, _) => Condition::Compare(column, Test::Equal, operand),
                _ => Condition::Compare(column, test, operand),
            })
        }),
        1 => operands(Type::Text).prop_map(|operand| {
            Condition::Begins(ColumnRef { index: 3, of: Type::Text }, Pattern::Literal, operand)
        }),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(Condition::And),
            prop::collection::vec(inner.clone(), 1..4).prop_map(Condition::Or),
            inner.prop_map(|part| Condition::Not(Box::new(part))),
        ]
    })
}

/// The value for one row, by the definitions of SQL.
fn value(condition: &Condition, row: &dyn Fn(usize) -> Option<Scalar>) -> Option<bool> {
    let any = |values: &mut dyn Iterator<Item = Option<bool>>| {
        let values: Vec<Option<bool>> = values.collect();
        match values.contains(&Some(true)) {
            true => Some(true),
            false if values.contains(&None) => None,
            false => Some(false),
        }
    };
    let not = |value: Option<bool>| value.map(|value| !value);
    let compare = |column: usize, operand: &Operand, test: &dyn Fn(&Scalar, &Scalar) -> bool| {
        let Operand::Constant(constant) = operand else { return None };
        let left = row(column);
        let test = |right: Option<&Scalar>| Some(test(left.as_ref()?, right?));
        match constant {
            Constant::Null => None,
            Constant::One(value) => test(Some(value)),
            Constant::List(values, has_null) => {
                let null = has_null.then_some(None);
                any(&mut values.iter().map(Some).chain(null).map(test))
            }
        }
    };
    match condition {
        Condition::And(parts) => not(any(&mut parts.iter().map(|part| not(value(part, row))))),
        Condition::Or(parts) => any(&mut parts.iter().map(|part| value(part, row))),
        Condition::Not(part) => not(value(part, row)),
        Condition::IsNull(column) => Some(row(*column).is_none()),
        Condition::Compare(column, test, operand) => {
            compare(column.index, operand, &|left, right| test.holds(left.cmp(right)))
        }
        Condition::Begins(column, _, operand) => {
            compare(column.index, operand, &|left, right| left.as_bytes().starts_with(right.as_bytes()))
        }
        Condition::Opaque { .. } => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// If a condition is true, or false, for a row, it may be.
    #[test]
    fn no_row_is_excluded_that_matches(
        seeds in prop::collection::vec(any::<[u8; 6]>(), 0..12),
        condition in conditions(),
    ) {
        let table = Table::new(&seeds);
        let context = Context { parameters: &[], opaque: &Nothing };
        let values: Vec<Option<bool>> = (0..seeds.len())
            .map(|row| value(&condition, &|column| table.values[column][row].clone()))
            .collect();
        for wanted in [true, false] {
            // SAFETY: the words are those of the table's values, which are of the columns' types.
            let may_be = unsafe { condition.may_be(wanted, &table, context) };
            prop_assert!(may_be || !values.contains(&Some(wanted)), "{:?} {:?}", condition, wanted);
        }
    }
}
