use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array};
use arrow::datatypes::i256;
use proptest::prelude::*;

use super::*;
use crate::expr::{Decimals, Numeric};
use crate::types::Cell;

/// Rows never are odd.
struct None_;

impl Odd for None_ {
    type Error = Unfit;

    fn row(&mut self, _: &Rows, row: usize) -> Result<Option<Vec<Value>>, Unfit> {
        panic!("row {row} is odd")
    }
}

/// Counts odd rows, and leaves them out.
struct Counted(Vec<usize>);

impl Odd for Counted {
    type Error = Unfit;

    fn row(&mut self, _: &Rows, row: usize) -> Result<Option<Vec<Value>>, Unfit> {
        self.0.push(row);
        Ok(None)
    }
}

/// Returns the cells of values and the arena in which they lie.
fn cells(values: &[Option<Vec<u8>>], arena: &mut Vec<u8>) -> Vec<Cell> {
    let mut place = |bytes: &Vec<u8>| {
        arena.extend(bytes);
        Cell::new(arena.len() - bytes.len(), bytes.len())
    };
    values.iter().map(|value| value.as_ref().map_or(Cell::NULL, &mut place)).collect()
}

fn column(of: Type) -> Column {
    Column { of, scale: None }
}

fn aggregate(function: Function, argument: Option<usize>, output: Output) -> Aggregate {
    Aggregate { function, argument: argument.map(Expr::Column), filter: None, is_distinct: false, output }
}

fn shown(executor: &Executor) -> Vec<Vec<Shown>> {
    let (mut cursor, mut all, mut row) = (Cursor::default(), Vec::new(), Vec::new());
    while cursor.next(executor, &mut row) {
        all.push(row.clone());
    }
    all.sort_by_key(|row| format!("{row:?}"));
    all
}

/// Returns executors that have each added a share of the rows.
fn added(plan: &Plan, rows: &Rows, count: usize, processes: usize) -> Vec<Executor> {
    let share = count.div_ceil(processes).max(1);
    let add = |number: usize| {
        let mut executor = Executor::new(plan.clone(), usize::MAX).unwrap();
        let range = (number * share).min(count)..((number + 1) * share).min(count);
        executor.add(rows, range, &mut None_).unwrap();
        executor
    };
    (0..processes).map(add).collect()
}

/// Merges groups as a leader does.
fn merged(mut executors: Vec<Executor>) -> Executor {
    let mut merged = executors.pop().unwrap();
    executors.iter().for_each(|other| merged.merge(&other.to_message().unwrap(), || ()).unwrap());
    merged
}

/// Merges groups as processes do of which each merges some parts, and sends them to the first.
fn exchanged(mut executors: Vec<Executor>, plan: &Plan) -> Executor {
    let messages: Vec<Vec<Vec<u8>>> =
        executors.iter_mut().map(|executor| executor.split(|| ()).unwrap()).collect();
    for part in 0..PARTS {
        let of_part = messages.iter().map(|messages| &messages[part][..]);
        let number = part % executors.len();
        executors[number].merge_part(of_part, || ()).unwrap();
    }
    let mut all = Executor::new(plan.clone(), usize::MAX).unwrap();
    executors.iter().for_each(|executor| all.take_parts(&executor.to_parts().unwrap()).unwrap());
    all
}

/// Matches LIKE by its definition.
fn is_like(text: &[char], pattern: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['%', rest @ ..] => (0..=text.len()).any(|at| is_like(&text[at..], rest)),
        ['_', rest @ ..] => !text.is_empty() && is_like(&text[1..], rest),
        ['\\', one, rest @ ..] | [one, rest @ ..] => text.first() == Some(one) && is_like(&text[1..], rest),
    }
}

#[test]
fn patterns_that_end_with_an_escape_are_not_taken() {
    assert_eq!(Like::new(br"a\", true), None);
    assert!(Like::new(br"a\\", true).unwrap().matches(br"a\"));
}

proptest! {
    #[test]
    fn like_is_what_its_definition_says(text in "[abž%_]{0,6}", pattern in r"([abž%_]|\\[ab%_ž\\]){0,6}") {
        let chars = |text: &str| text.chars().collect::<Vec<char>>();
        let like = Like::new(pattern.as_bytes(), true).unwrap();
        prop_assert_eq!(like.matches(text.as_bytes()), is_like(&chars(&text), &chars(&pattern)));
    }

    /// A row is odd exactly if the result does not fit its type, or there is none.
    #[test]
    fn arithmetic_of_integers(
        rows in prop::collection::vec((prop::option::of(any::<i32>()), prop::option::of(-3..4_i32), 0..2), 1..50),
        op in prop::sample::select(vec![Arithmetic::Add, Arithmetic::Subtract, Arithmetic::Multiply, Arithmetic::Divide, Arithmetic::Modulo,
            Arithmetic::BitAnd, Arithmetic::BitOr, Arithmetic::BitXor, Arithmetic::ShiftLeft, Arithmetic::ShiftRight]),
    ) {
        let rows: Vec<(Option<i32>, Option<i32>)> =
            rows.into_iter().map(|(a, b, small)| (a.map(|a| if small == 1 { a % 100 } else { a }), b)).collect();
        let mut arena = Vec::new();
        let bytes = |value: Option<i32>| value.map(|value| value.to_le_bytes().to_vec());
        let columns = [
            cells(&rows.iter().map(|(a, _)| bytes(*a)).collect::<Vec<_>>(), &mut arena),
            cells(&rows.iter().map(|(_, b)| bytes(*b)).collect::<Vec<_>>(), &mut arena),
        ];
        let argument = Expr::Arithmetic(op, Type::Int4, Box::new([Expr::Column(0), Expr::Column(1)]));
        let plan = Plan {
            columns: vec![column(Type::Int4); 2],
            filters: Vec::new(),
            keys: Vec::new(),
            aggregates: vec![Aggregate { function: Function::Sum, argument: Some(argument), filter: None, is_distinct: false, output: Output::Bigint }],
        };
        let mut executor = Executor::new(plan, usize::MAX).unwrap();
        let mut odd = Counted(Vec::new());
        executor.add(&Rows::heap(&columns, &arena), 0..rows.len(), &mut odd).unwrap();
        let results: Vec<Option<Option<i32>>> = rows.iter().map(|(a, b)| {
            let (a, b) = (a.as_ref()?, b.as_ref()?);
            let (a, b) = (i64::from(*a), i64::from(*b));
            let found = match op {
                Arithmetic::Add => Some(a + b),
                Arithmetic::Subtract => Some(a - b),
                Arithmetic::Multiply => Some(a * b),
                Arithmetic::Divide => a.checked_div(b),
                Arithmetic::Modulo => a.checked_rem(b),
                Arithmetic::BitAnd => Some(a & b),
                Arithmetic::BitOr => Some(a | b),
                Arithmetic::BitXor => Some(a ^ b),
                Arithmetic::ShiftLeft => (b >= 0).then(|| ((a as i32) << b).into()),
                Arithmetic::ShiftRight => (b >= 0).then(|| a >> b),
            };
            Some(found.and_then(|found| i32::try_from(found).ok()))
        }).collect();
        let wrong: Vec<usize> = (0..rows.len()).filter(|&row| results[row] == Some(None)).collect();
        prop_assert_eq!(odd.0, wrong);
        let values: Vec<i64> = results.iter().flatten().flatten().map(|value| i64::from(*value)).collect();
        let wanted = if values.is_empty() { Shown::Null } else { Shown::Word(values.iter().sum()) };
        prop_assert_eq!(shown(&executor), vec![vec![wanted]]);
    }

    /// Groups of several processes, merged, are those of one, and of a map.
    #[test]
    fn groups_of_processes_are_those_of_one(
        rows in prop::collection::vec((prop::option::of("[a-c]{0,2}|thirteen byte[a-b]?"), prop::option::of(0..3_i64), prop::option::of(any::<i64>())), 0..400),
        processes in 1..4_usize,
        is_split in any::<bool>(),
    ) {
        let mut arena = Vec::new();
        let word = |value: Option<i64>| value.map(|value| value.to_le_bytes().to_vec());
        let columns = [
            cells(&rows.iter().map(|row| row.0.clone().map(String::into_bytes)).collect::<Vec<_>>(), &mut arena),
            cells(&rows.iter().map(|row| word(row.1)).collect::<Vec<_>>(), &mut arena),
            cells(&rows.iter().map(|row| word(row.2)).collect::<Vec<_>>(), &mut arena),
        ];
        let plan = Plan {
            columns: vec![column(Type::Text), column(Type::Int8), column(Type::Int8)],
            filters: Vec::new(),
            keys: vec![Expr::Column(0), Expr::Column(1)],
            aggregates: vec![
                aggregate(Function::Count, None, Output::Value),
                aggregate(Function::Sum, Some(2), Output::Numeric),
                aggregate(Function::Least, Some(2), Output::Value),
            ],
        };
        let executors = added(&plan, &Rows::heap(&columns, &arena), rows.len(), processes);
        prop_assert!(executors[0].can_split());
        let merged = if is_split { exchanged(executors, &plan) } else { merged(executors) };
        prop_assert_eq!(merged.counted, rows.len() as u64);
        let mut groups: BTreeMap<_, Vec<Option<i64>>> = BTreeMap::new();
        rows.iter().for_each(|(text, word, value)| groups.entry((text.clone(), *word)).or_default().push(*value));
        let mut wanted: Vec<Vec<Shown>> = groups.into_iter().map(|((text, word), values)| {
            let present: Vec<i64> = values.iter().flatten().copied().collect();
            let sum = present.iter().map(|value| i128::from(*value)).sum();
            vec![
                text.map_or(Shown::Null, |text| Shown::Bytes(text.into_bytes())),
                word.map_or(Shown::Null, Shown::Word),
                Shown::Word(values.len() as i64),
                if present.is_empty() { Shown::Null } else { Shown::Scaled { value: sum, scale: 0, dscale: 0 } },
                present.iter().min().map_or(Shown::Null, |least| Shown::Word(*least)),
            ]
        }).collect();
        wanted.sort_by_key(|row| format!("{row:?}"));
        prop_assert_eq!(shown(&merged), wanted);
        prop_assert_eq!(merged.counted as usize, rows.len());
    }
}

proptest! {
    /// DISTINCT values of several processes, merged, are counted once for each group.
    #[test]
    fn distinct_values_of_processes_are_counted_once(
        rows in prop::collection::vec((0..3_i64, prop::option::of(-5..5_i64), prop::option::of("[ab]{0,2}|thirteen byte[a-b]?")), 0..300),
        processes in 1..4_usize,
    ) {
        let mut arena = Vec::new();
        let word = |value: Option<i64>| value.map(|value| value.to_le_bytes().to_vec());
        let columns = [
            cells(&rows.iter().map(|row| word(Some(row.0))).collect::<Vec<_>>(), &mut arena),
            cells(&rows.iter().map(|row| word(row.1)).collect::<Vec<_>>(), &mut arena),
            cells(&rows.iter().map(|row| row.2.clone().map(String::into_bytes)).collect::<Vec<_>>(), &mut arena),
        ];
        let distinct = |function: Function, argument: usize, output: Output| {
            Aggregate { is_distinct: true, ..aggregate(function, Some(argument), output) }
        };
        let plan = Plan {
            columns: vec![column(Type::Int8), column(Type::Int8), column(Type::Text)],
            filters: Vec::new(),
            keys: vec![Expr::Column(0)],
            aggregates: vec![
                distinct(Function::Count, 1, Output::Value),
                distinct(Function::Sum, 1, Output::Numeric),
                distinct(Function::Count, 2, Output::Value),
                aggregate(Function::Greatest, Some(2), Output::Value),
            ],
        };
        let executors = added(&plan, &Rows::heap(&columns, &arena), rows.len(), processes);
        // Their values lie beside the groups.
        prop_assert!(!executors[0].can_split());
        let merged = merged(executors);
        prop_assert_eq!(merged.counted, rows.len() as u64);
        let keys: BTreeSet<i64> = rows.iter().map(|row| row.0).collect();
        let wanted: Vec<Vec<Shown>> = keys.into_iter().map(|key| {
            let of_key = || rows.iter().filter(|row| row.0 == key);
            let words: BTreeSet<i64> = of_key().filter_map(|row| row.1).collect();
            let texts: BTreeSet<&str> = of_key().filter_map(|row| row.2.as_deref()).collect();
            let sum = words.iter().map(|word| i128::from(*word)).sum();
            vec![
                Shown::Word(key),
                Shown::Word(words.len() as i64),
                if words.is_empty() { Shown::Null } else { Shown::Scaled { value: sum, scale: 0, dscale: 0 } },
                Shown::Word(texts.len() as i64),
                texts.last().map_or(Shown::Null, |text| Shown::Bytes(text.as_bytes().to_vec())),
            ]
        }).collect();
        prop_assert_eq!(shown(&merged), wanted);
    }
}

proptest! {
    /// Aggregates without keys, and comparisons with constants of any size.
    #[test]
    fn numerics_of_files(
        values in prop::collection::vec(prop::option::of((any::<i64>(), 0..3_u8)), 0..2500),
        constant in prop::sample::select(vec!["NaN", "-Infinity", "1000000000000000000000000000000.5", "0.005", "-92233720368547758.08", "0", "12.3"]),
        test in prop::sample::select(vec![
            Test::Less, Test::LessEqual, Test::Equal, Test::GreaterEqual, Test::Greater, Test::NotEqual,
        ]),
        is_commuted in any::<bool>(),
    ) {
        let values: Vec<Option<i128>> = values.into_iter().map(|value| value.map(|(value, width)| match width {
            0 => i128::from(value % 2),
            1 => value.into(),
            _ => i128::from(value) * 1000,
        })).collect();
        let array = Decimal128Array::from(values.clone()).with_precision_and_scale(38, 2).unwrap();
        let array: ArrayRef = Arc::new(array);
        let source = [Source::Decimals(Decimals::new(&array, 2).unwrap())];
        let number = Numeric::parse(constant).unwrap();
        let mut sides = Box::new([Expr::Column(0), Expr::Constant(Type::Numeric, Value::Numeric(number.clone()))]);
        if is_commuted {
            sides.reverse();
        }
        let filter = Expr::Compare(if is_commuted { test.commuted() } else { test }, sides);
        let mut plan = Plan {
            columns: vec![column(Type::Numeric)],
            filters: Vec::new(),
            keys: Vec::new(),
            aggregates: vec![
                aggregate(Function::Count, None, Output::Value),
                aggregate(Function::Count, Some(0), Output::Value),
                aggregate(Function::Sum, Some(0), Output::Numeric),
                aggregate(Function::Least, Some(0), Output::Value),
                aggregate(Function::Greatest, Some(0), Output::Value),
            ],
        };
        let holds = |value: &Option<i128>| {
            value.is_some_and(|value| test.holds(Numeric::scaled(i256::from_i128(value), 2, 2).cmp(&number)))
        };
        for is_filtered in [false, true] {
            let kept: Vec<Option<i128>> =
                values.iter().filter(|value| !is_filtered || holds(value)).copied().collect();
            if is_filtered {
                plan.filters.push(filter.clone());
            }
            let mut executor = Executor::new(plan.clone(), usize::MAX).unwrap();
            executor.add(&Rows::mixed(&source, &[]), 0..values.len(), &mut None_).unwrap();
            let some = || kept.iter().flatten().copied();
            let scaled = |value| Shown::Scaled { value, scale: 2, dscale: 2 };
            let or_null = |value: Option<i128>| value.map_or(Shown::Null, scaled);
            prop_assert_eq!(shown(&executor), vec![vec![
                Shown::Word(kept.len() as i64),
                Shown::Word(some().count() as i64),
                or_null(some().reduce(|a, b| a + b)),
                or_null(some().min()),
                or_null(some().max()),
            ]]);
        }
    }
}

#[test]
fn groups_beyond_the_limit_are_unfit() {
    let words: Vec<Option<Vec<u8>>> = (0..5000_i64).map(|word| Some(word.to_le_bytes().to_vec())).collect();
    let mut arena = Vec::new();
    let columns = [cells(&words, &mut arena)];
    let plan = Plan {
        columns: vec![column(Type::Int8)],
        filters: Vec::new(),
        keys: vec![Expr::Column(0)],
        aggregates: Vec::new(),
    };
    let add = |limit: usize| {
        let mut executor = Executor::new(plan.clone(), limit).unwrap();
        executor.add(&Rows::heap(&columns, &arena), 0..5000, &mut None_)
    };
    assert!(add(100 << 10).is_err());
    assert_eq!(add(10 << 20), Ok(()));
}

#[test]
fn numerics_of_several_scales_meet() {
    let numeric = |text: &str| crate::expr::Numeric::parse(text).unwrap().image()[4..].to_vec();
    let texts = ["1", "1.0", "2.50", "2.5", "NaN", "1e0"];
    let values: Vec<Option<Vec<u8>>> = texts[..5].iter().map(|text| Some(numeric(text))).collect();
    let mut arena = Vec::new();
    let columns = [cells(&values, &mut arena)];
    let plan = Plan {
        columns: vec![column(Type::Numeric)],
        filters: Vec::new(),
        keys: vec![Expr::Column(0)],
        aggregates: vec![
            aggregate(Function::Count, None, Output::Value),
            aggregate(Function::Sum, Some(0), Output::Numeric),
        ],
    };
    struct Read;
    impl Odd for Read {
        type Error = Unfit;
        fn row(&mut self, rows: &Rows, row: usize) -> Result<Option<Vec<Value>>, Unfit> {
            let Source::Cells(cells) = rows.column(0) else { unreachable!("rows of a heap") };
            let bytes = cells[row].of(rows.bytes_of(0));
            let value = Value::Numeric(crate::expr::Numeric::read(bytes).unwrap());
            Ok(Some(vec![value.clone(), value]))
        }
    }
    let mut executor = Executor::new(plan, usize::MAX).unwrap();
    executor.add(&Rows::heap(&columns, &arena), 0..5, &mut Read).unwrap();
    assert_eq!(executor.odd_rows, 4);
    let counts: Vec<Shown> = shown(&executor).into_iter().map(|row| row[1].clone()).collect();
    assert_eq!(counts.len(), 3);
    assert_eq!(counts.iter().filter(|count| **count == Shown::Word(2)).count(), 2);
}
