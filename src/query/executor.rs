//! Runs a plan over the batches that a process scans.

use std::ops::Range;

use super::keys::Layout;
use super::plan::{Aggregate, Expr, Function, Plan};
use super::program::{Phase, Program};
use super::state::{Groups, States};
use super::table::Table;
use super::value::{Class, Type, Value};
use super::vector::{BLOCK, Rows, Vector, any, text};
use super::{Unfit, filter};

/// About what the sum of values that 128 bits do not hold takes.
const OTHER_BYTES: usize = 256;

/// Evaluates the expressions of a row that is odd.
pub trait Odd {
    type Error: From<Unfit>;

    /// Returns the values of the keys, then of each aggregate's argument and of its filter, where it has them; `None` if
    /// a filter excludes the row.
    fn row(&mut self, rows: &Rows, row: usize) -> Result<Option<Vec<Value>>, Self::Error>;
}

/// Groups to which no more rows are added.
pub struct Merged {
    pub table: Table,
    pub states: Vec<States>,
}

pub struct Executor {
    pub plan: Plan,
    program: Program,
    /// What is shown depends on the order of the rows: of equal numerics that show different scales, of zeros with
    /// different signs, and of texts with different blanks at the end.
    is_ordered: bool,
    filters: Vec<Phase>,
    /// The keys, then each aggregate's argument and filter.
    results: Phase,
    pub table: Table,
    pub states: Vec<States>,
    /// Groups that are complete, and the bytes that those merged here take.
    pub parts: Vec<Merged>,
    pub kept: usize,
    /// Rows in the table's groups, whatever the filters have excluded, and rows that PostgreSQL evaluated.
    pub counted: u64,
    pub odd_rows: u64,
    selected: Vec<u32>,
    odd: Vec<bool>,
    keys: Vec<u64>,
    ids: Vec<u32>,
}

impl Executor {
    /// Creates an executor whose groups take up to `limit` bytes.
    pub fn new(plan: Plan, limit: usize) -> Result<Executor, Unfit> {
        let mut program = Program::new(&plan.columns);
        let filters = filter::phases(&mut program, &plan.filters)?;
        let of_aggregates = plan.aggregates.iter().flat_map(|of| of.argument.iter().chain(&of.filter));
        let results = program.phase(plan.keys.iter().chain(of_aggregates))?;
        let layout = Layout::new(&plan.key_types())?;
        let mut at = layout.words;
        let mut states = Vec::new();
        let sets = plan.aggregates.iter().filter(|aggregate| aggregate.is_distinct).count();
        for aggregate in &plan.aggregates {
            states.push(States::new(aggregate, &plan.columns, at, limit / sets.max(1))?);
            at += states.last().map_or(0, States::words);
        }
        let shows_more = |expr: &Expr| {
            matches!(expr.of(&plan.columns), Type::Numeric | Type::Float4 | Type::Float8 | Type::Bpchar)
        };
        let is_extreme = |of: &&Aggregate| matches!(of.function, Function::Least | Function::Greatest);
        let mut extremes = plan.aggregates.iter().filter(is_extreme).flat_map(|of| &of.argument);
        let is_ordered = plan.keys.iter().any(shows_more) || extremes.any(shows_more);
        let table = Table::new(layout.clone(), &vec![0; at - layout.words], limit);
        Ok(Executor {
            plan,
            program,
            is_ordered,
            filters,
            results,
            table,
            states,
            parts: Vec::new(),
            kept: 0,
            counted: 0,
            odd_rows: 0,
            selected: Vec::new(),
            odd: Vec::new(),
            keys: Vec::new(),
            ids: Vec::new(),
        })
    }

    /// Returns whether a row was counted, by the only aggregate of a plan without keys.
    pub fn has_counted(&self) -> bool {
        self.table.rows.iter().any(|count| *count != 0)
    }

    /// Adds rows of a batch.
    pub fn add<O: Odd>(&mut self, rows: &Rows, range: Range<usize>, odd: &mut O) -> Result<(), O::Error> {
        self.counted += range.len() as u64;
        if self.filters.is_empty() && self.results.results.is_empty() {
            // Without keys and arguments there are counts of all rows alone.
            self.states.iter().for_each(|states| self.table.rows[states.at] += range.len() as u64);
            return Ok(());
        }
        for start in range.clone().step_by(BLOCK) {
            let block = start..range.end.min(start + BLOCK);
            let left = self.add_block(rows, block)?;
            self.odd_rows += left.len() as u64;
            for row in left {
                if let Some(values) = odd.row(rows, row as usize)? {
                    self.add_row(&values)?;
                }
            }
        }
        Ok(())
    }

    /// Adds a block's rows; returns those that are odd, and, if their order matters, all after the first of them.
    fn add_block(&mut self, rows: &Rows, block: Range<usize>) -> Result<Vec<u32>, Unfit> {
        let mut left = Vec::new();
        let mut selected = std::mem::take(&mut self.selected);
        selected.clear();
        selected.extend(block.start as u32..block.end as u32);
        filter::apply(&mut self.program, &self.filters, rows, &mut selected, &mut self.odd, &mut left);
        if !selected.is_empty() {
            self.odd.clear();
            self.odd.resize(selected.len(), false);
            self.program.run(&self.results, rows, &selected, &mut self.odd);
            let mut live: Vec<u32> = (0..selected.len() as u32).collect();
            if any(&self.odd) {
                live.retain(|&row| !self.odd[row as usize]);
                left.extend(selected.iter().zip(&self.odd).filter(|(_, odd)| **odd).map(|(row, _)| row));
            }
            if let Some(&first) = left.iter().min().filter(|_| self.is_ordered) {
                let is_after = |row: u32| selected[row as usize] > first;
                left.extend(live.iter().filter(|&&row| is_after(row)).map(|&row| selected[row as usize]));
                live.retain(|&row| !is_after(row));
            }
            self.add_selected(rows, &live)?;
        }
        self.selected = selected;
        left.sort_unstable();
        Ok(left)
    }

    /// Adds the rows of the block that are in `live`, by their numbers among the selected ones.
    fn add_selected(&mut self, rows: &Rows, live: &[u32]) -> Result<(), Unfit> {
        let words = self.table.layout.words;
        self.keys.clear();
        self.keys.resize(live.len() * words, 0);
        let keys = self.table.layout.keys.clone();
        for (number, key) in keys.iter().enumerate() {
            let step = self.results.results[number];
            let vector = self.program.vector(step);
            if key.of.class() == Class::Numeric {
                self.table.rescale(number, vector.scale)?;
                let factor = super::keys::factor(self.table.scales[number] - vector.scale);
                if vector.bound.saturating_mul(factor as u128) >= 1 << 126 {
                    return Err(Unfit("a key of many digits"));
                }
            }
            let from = (vector, self.program.bytes(step, rows));
            key.write(number, from, self.table.scales[number], live, &mut self.keys, words);
        }
        let program = &self.program;
        let results = &self.results.results;
        let texts = |row: usize, number: usize| {
            let step = results[number];
            text(program.vector(step).cells()[live[row] as usize], program.bytes(step, rows))
        };
        let mut placed = std::mem::take(&mut self.ids);
        self.table.place(&self.keys, live.len(), &texts, &mut placed)?;
        // By the rows' numbers among the selected ones.
        let rows_selected = live.last().map_or(0, |last| *last as usize + 1);
        let ids = match live.len() == rows_selected {
            true => placed,
            false => {
                let mut ids = vec![0; rows_selected];
                live.iter().zip(&placed).for_each(|(&row, &id)| ids[row as usize] = id);
                ids
            }
        };
        let mut groups = Groups { rows: &mut self.table.rows, stride: self.table.stride, ids: &ids };
        let mut next = keys.len();
        for (aggregate, states) in self.plan.aggregates.iter().zip(&mut self.states) {
            let mut step = |is_there: bool| {
                let step = is_there.then(|| results[next]);
                next += usize::from(is_there);
                step
            };
            let argument = step(aggregate.argument.is_some())
                .map(|step| (program.vector(step), program.bytes(step, rows)));
            let filter = step(aggregate.filter.is_some()).map(|step| program.vector(step));
            match included(live, argument.map(|(vector, _)| vector), filter) {
                None => states.add(&mut groups, live, argument)?,
                Some(included) => states.add(&mut groups, &included, argument)?,
            }
        }
        self.ids = ids;
        self.count_elsewhere();
        Ok(())
    }

    /// Counts the bytes that states take beside the groups.
    fn count_elsewhere(&mut self) {
        let size = |states: &States| {
            let distinct = states.distinct.as_ref().map_or(0, |distinct| distinct.table.size());
            states.others.len() * OTHER_BYTES + states.texts.capacity() + distinct
        };
        self.table.elsewhere = self.states.iter().map(size).sum();
    }

    /// Adds a row by its values.
    fn add_row(&mut self, values: &[Value]) -> Result<(), Unfit> {
        let keys = self.table.layout.keys.clone();
        let mut words = vec![0; self.table.layout.words];
        for (number, (key, value)) in keys.iter().zip(values).enumerate() {
            if let Value::Numeric(crate::expr::Numeric::Finite(finite)) = value {
                let scale = u8::try_from(finite.dscale).map_err(|_| Unfit("a key of many digits"))?;
                self.table.rescale(number, scale)?;
            }
            key.write_value(number, value, self.table.scales[number], &mut words)?;
        }
        let texts = |_: usize, number: usize| match &values[number] {
            Value::Bytes(bytes) => &bytes[..],
            _ => &[],
        };
        let mut ids = Vec::new();
        self.table.place(&words, 1, &texts, &mut ids)?;
        let mut groups = Groups { rows: &mut self.table.rows, stride: self.table.stride, ids: &ids };
        let mut rest = values[keys.len()..].iter();
        for (aggregate, states) in self.plan.aggregates.iter().zip(&mut self.states) {
            let mut next = |is_there: bool| if is_there { rest.next() } else { None };
            let argument = next(aggregate.argument.is_some());
            let filter = next(aggregate.filter.is_some());
            let is_included = filter.is_none_or(|filter| matches!(filter, Value::Word(word) if *word != 0));
            if is_included && !argument.is_some_and(Value::is_null) {
                states.add_value(&mut groups, argument.unwrap_or(&Value::Word(0)))?;
            }
        }
        self.count_elsewhere();
        Ok(())
    }
}

/// Returns the rows that an aggregate takes, those with an argument that is not NULL and a filter that is true; `None`
/// for all.
fn included(live: &[u32], argument: Option<&Vector>, filter: Option<&Vector>) -> Option<Vec<u32>> {
    let argument = argument.filter(|argument| !argument.nulls.is_empty());
    if argument.is_none() && filter.is_none() {
        return None;
    }
    let is_included = |&row: &u32| {
        let row = row as usize;
        argument.is_none_or(|argument| !argument.is_null(row))
            && filter.is_none_or(|filter| filter.bools()[row] && !filter.is_null(row))
    };
    Some(live.iter().copied().filter(is_included).collect())
}
