//! Conditions alone: which rows of a batch meet all of them.

use std::ops::Range;

use super::Unfit;
use super::plan::{Column, Expr};
use super::program::{Phase, Program};
use super::vector::{BLOCK, Rows, Vector, any};

pub struct Filter {
    program: Program,
    conditions: Vec<Phase>,
    selected: Vec<u32>,
    odd: Vec<bool>,
}

impl Filter {
    /// Creates a filter of conditions, in the order in which PostgreSQL evaluates them.
    pub fn new<'e>(
        columns: &[Column],
        conditions: impl IntoIterator<Item = &'e Expr>,
    ) -> Result<Filter, Unfit> {
        let mut program = Program::new(columns);
        let conditions = phases(&mut program, conditions)?;
        Ok(Filter { program, conditions, selected: Vec::new(), odd: Vec::new() })
    }

    /// Appends the rows that meet the conditions, and the odd ones, of which PostgreSQL has to say whether they do.
    pub fn select(&mut self, rows: &Rows, range: Range<usize>, found: &mut Vec<u32>, left: &mut Vec<u32>) {
        let Filter { program, conditions, selected, odd } = self;
        for start in range.clone().step_by(BLOCK) {
            selected.clear();
            selected.extend(start as u32..range.end.min(start + BLOCK) as u32);
            apply(program, conditions, rows, selected, odd, left);
            found.extend(&*selected);
        }
    }
}

/// Compiles conditions. Neighbours about the same columns, such as those of BETWEEN, are computed together, if they raise
/// no error.
pub fn phases<'e>(
    program: &mut Program,
    conditions: impl IntoIterator<Item = &'e Expr>,
) -> Result<Vec<Phase>, Unfit> {
    let mut joined: Vec<(Vec<usize>, Vec<Expr>)> = Vec::new();
    for condition in conditions {
        let mut columns = Vec::new();
        condition.columns(&mut columns);
        match joined.last_mut() {
            Some((known, parts))
                if *known == columns
                    && !columns.is_empty()
                    && ![condition, &parts[0]].into_iter().any(Expr::may_raise) =>
            {
                parts.push(condition.clone());
            }
            _ => joined.push((columns, vec![condition.clone()])),
        }
    }
    let phase = |(_, mut parts): (_, Vec<Expr>)| match parts.len() {
        1 => program.phase(parts.iter()),
        _ => program.phase([Expr::And(std::mem::take(&mut parts))].iter()),
    };
    joined.into_iter().map(phase).collect()
}

/// Keeps the rows of a block for which each condition is true; odd rows are moved to those that are `left`.
pub fn apply(
    program: &mut Program,
    conditions: &[Phase],
    rows: &Rows,
    selected: &mut Vec<u32>,
    odd: &mut Vec<bool>,
    left: &mut Vec<u32>,
) {
    for condition in conditions {
        if selected.is_empty() {
            break;
        }
        odd.clear();
        odd.resize(selected.len(), false);
        program.run(condition, rows, selected, odd);
        keep(selected, program.vector(condition.results[0]), odd, left);
    }
}

/// Keeps the rows for which a condition is true; odd rows are left to PostgreSQL.
fn keep(selected: &mut Vec<u32>, found: &Vector, odd: &[bool], left: &mut Vec<u32>) {
    let values = found.bools();
    if any(odd) {
        left.extend(selected.iter().zip(odd).filter(|(_, odd)| **odd).map(|(row, _)| row));
        return keep_where(selected, |row| values[row] & !found.is_null(row) & !odd[row]);
    }
    match found.nulls.is_empty() {
        true => keep_true(selected, values),
        false => keep_where(selected, |row| values[row] & !found.nulls[row]),
    }
}

/// Keeps the rows of values that are true. Many conditions exclude most rows: those of eight are left out together.
fn keep_true(selected: &mut Vec<u32>, values: &[bool]) {
    let mut kept = 0;
    for (number, values) in values.chunks(8).enumerate() {
        if values == [false; 8] {
            continue;
        }
        for (row, &value) in values.iter().enumerate() {
            selected[kept] = selected[number * 8 + row];
            kept += usize::from(value);
        }
    }
    selected.truncate(kept);
}

/// Keeps rows by their places, without a branch for each: which are kept cannot be foreseen.
#[inline(always)]
fn keep_where(selected: &mut Vec<u32>, is_kept: impl Fn(usize) -> bool) {
    let mut kept = 0;
    for row in 0..selected.len() {
        selected[kept] = selected[row];
        kept += usize::from(is_kept(row));
    }
    selected.truncate(kept);
}
