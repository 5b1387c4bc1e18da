//! Expressions compiled into steps over vectors. Each step has a vector of its own, which later blocks use again; equal
//! parts of expressions share a step.

use super::keys::integer;
use super::list::List;
use super::plan::{Arithmetic, Column, Expr, Like, Test, Unary};
use super::unary::{self, Argument};
use super::value::{Class, Type, Value, compared};
use super::vector::{BLOCK, Rows, Values, Vector, text};
use super::{Unfit, arithmetic, choice, column, compare, division, logic, texts};
use crate::expr::{Numeric, run};
use crate::types::Cell;

/// Expressions, and the steps that compute them.
pub struct Program {
    columns: Vec<Column>,
    steps: Vec<Step>,
    /// The texts of the steps, by which equal ones are found.
    texts: Vec<String>,
}

struct Step {
    work: Work,
    of: Type,
    out: Vector,
    place: Place,
}

/// Which bytes the texts of a step lie in.
enum Place {
    /// Those of a column.
    Column(usize),
    /// Those of another step.
    Of(usize),
    Own(Vec<u8>),
}

/// What a step does with the results of earlier ones.
enum Work {
    Column(usize),
    /// The vector stays as it is.
    Constant,
    Arithmetic(Arithmetic, [usize; 2]),
    Compare(Test, [usize; 2]),
    /// With a constant.
    CompareConstant(Test, usize, Value),
    In {
        argument: usize,
        list: List,
        has_null: bool,
        is_negated: bool,
    },
    Like {
        argument: usize,
        pattern: Like,
        is_negated: bool,
    },
    /// AND, or OR if true decides.
    Join(bool, Vec<usize>),
    Not(usize),
    IsNull(usize),
    Is {
        argument: usize,
        value: bool,
        is_negated: bool,
    },
    Case {
        conditions: Vec<usize>,
        values: Vec<usize>,
    },
    Coalesce(Vec<usize>),
    /// The greatest of values, or the least.
    Extreme(bool, Vec<usize>),
    Concatenate([usize; 2]),
    Unary(Unary, usize),
    ToInteger(usize),
    ToNumeric(usize),
    ToTimestamp(usize),
}

/// The steps that compute some expressions, in order, and the step of each expression.
pub struct Phase {
    steps: Vec<usize>,
    /// Columns that are only compared with constants, which may be done where their values lie.
    compared: Vec<usize>,
    pub results: Vec<usize>,
}

impl Program {
    pub fn new(columns: &[Column]) -> Program {
        Program { columns: columns.to_vec(), steps: Vec::new(), texts: Vec::new() }
    }

    /// Adds expressions that are computed together.
    pub fn phase<'e>(&mut self, exprs: impl Iterator<Item = &'e Expr>) -> Result<Phase, Unfit> {
        let results = exprs.map(|expr| self.compile(expr)).collect::<Result<Vec<usize>, Unfit>>()?;
        let mut needed = vec![false; self.steps.len()];
        results.iter().for_each(|&step| needed[step] = true);
        // Arguments come before what is made of them.
        for step in (0..self.steps.len()).rev() {
            if needed[step] {
                self.steps[step].work.arguments(&mut |argument| needed[argument] = true);
            }
        }
        let mut is_read = vec![false; self.steps.len()];
        results.iter().for_each(|&step| is_read[step] = true);
        let steps: Vec<usize> = (0..self.steps.len()).filter(|&step| needed[step]).collect();
        for &step in &steps {
            match &self.steps[step].work {
                Work::CompareConstant(..) => {}
                work => work.arguments(&mut |argument| is_read[argument] = true),
            }
        }
        let is_compared = |step: &usize| !is_read[*step] && matches!(self.steps[*step].work, Work::Column(_));
        let compared = steps.iter().copied().filter(is_compared).collect();
        Ok(Phase { steps, compared, results })
    }

    fn compile(&mut self, expr: &Expr) -> Result<usize, Unfit> {
        let text = serde_json::to_string(expr).map_err(|_| Unfit("an expression that has no text"))?;
        if let Some(known) = self.texts.iter().position(|known| *known == text) {
            return Ok(known);
        }
        let of = expr.of(&self.columns);
        let (work, out, place) = match expr {
            Expr::Constant(of, value) => constant(*of, value)?,
            _ => {
                let work = self.work(expr)?;
                let place = match &work {
                    Work::Column(index) => Place::Column(*index),
                    Work::Unary(function, argument) if function.is_part() => Place::Of(*argument),
                    _ => Place::Own(Vec::new()),
                };
                (work, Vector::new(of), place)
            }
        };
        self.steps.push(Step { work, of, out, place });
        self.texts.push(text);
        Ok(self.steps.len() - 1)
    }

    fn work(&mut self, expr: &Expr) -> Result<Work, Unfit> {
        Ok(match expr {
            Expr::Column(index) => Work::Column(*index),
            Expr::Constant(..) => return Err(Unfit("a constant without a step")),
            Expr::Arithmetic(op, of, arguments) => {
                if !matches!(of.class(), Class::Word | Class::Numeric) {
                    return Err(Unfit("arithmetic on values that are not numbers"));
                }
                let [left, right] = &**arguments;
                Work::Arithmetic(*op, [self.compile(left)?, self.compile(right)?])
            }
            Expr::Compare(test, arguments) => match &**arguments {
                [left, Expr::Constant(of, value)] if compare::takes(*of, value) => {
                    Work::CompareConstant(*test, self.compile(left)?, value.clone())
                }
                [Expr::Constant(of, value), right] if compare::takes(*of, value) => {
                    Work::CompareConstant(test.commuted(), self.compile(right)?, value.clone())
                }
                [left, right] => Work::Compare(*test, [self.compile(left)?, self.compile(right)?]),
            },
            Expr::In { argument, list, has_null, is_negated } => {
                let class = argument.of(&self.columns).class();
                let list = List::new(argument.of(&self.columns), class, list)?;
                Work::In {
                    argument: self.compile(argument)?,
                    list,
                    has_null: *has_null,
                    is_negated: *is_negated,
                }
            }
            Expr::Like { argument, pattern, is_negated } => Work::Like {
                argument: self.compile(argument)?,
                pattern: pattern.clone(),
                is_negated: *is_negated,
            },
            Expr::And(parts) => Work::Join(false, self.all(parts)?),
            Expr::Or(parts) => Work::Join(true, self.all(parts)?),
            Expr::Not(part) => Work::Not(self.compile(part)?),
            Expr::IsNull(part) => Work::IsNull(self.compile(part)?),
            Expr::Is { argument, value, is_negated } => {
                Work::Is { argument: self.compile(argument)?, value: *value, is_negated: *is_negated }
            }
            Expr::Case(_, whens, otherwise) => {
                let conditions = whens.iter().map(|(condition, _)| self.compile(condition));
                let conditions = conditions.collect::<Result<Vec<_>, _>>()?;
                let values = whens.iter().map(|(_, value)| value).chain([&**otherwise]);
                let values = values.map(|value| self.compile(value)).collect::<Result<Vec<_>, _>>()?;
                Work::Case { conditions, values }
            }
            Expr::Coalesce(_, parts) => Work::Coalesce(self.all(parts)?),
            Expr::Extreme(_, is_greatest, parts) => Work::Extreme(*is_greatest, self.all(parts)?),
            Expr::Concatenate(parts) => {
                let [left, right] = &**parts;
                Work::Concatenate([self.compile(left)?, self.compile(right)?])
            }
            Expr::Unary(function, _, argument) => {
                if !function.takes(argument.of(&self.columns).class()) {
                    return Err(Unfit("a function of values of another type"));
                }
                Work::Unary(function.clone(), self.compile(argument)?)
            }
            Expr::ToInteger(_, part) => Work::ToInteger(self.compile(part)?),
            Expr::ToNumeric(part) => Work::ToNumeric(self.compile(part)?),
            Expr::ToTimestamp(part) => Work::ToTimestamp(self.compile(part)?),
        })
    }

    fn all(&mut self, exprs: &[Expr]) -> Result<Vec<usize>, Unfit> {
        exprs.iter().map(|expr| self.compile(expr)).collect()
    }

    /// Computes a phase's expressions for some rows, and marks those that PostgreSQL has to evaluate.
    pub fn run(&mut self, phase: &Phase, rows: &Rows, selected: &[u32], odd: &mut [bool]) {
        let run = run(selected);
        let words_of =
            |index: usize| column::words(self.columns[index].of, rows.column(index), run.as_ref()?);
        for &number in &phase.steps {
            let (before, rest) = self.steps.split_at_mut(number);
            let Step { work, of, out, place } = &mut rest[0];
            match work {
                Work::Column(index) if phase.compared.contains(&number) && words_of(*index).is_some() => {}
                Work::CompareConstant(test, argument, value)
                    if phase.compared.contains(argument)
                        && let Work::Column(index) = before[*argument].work
                        && let Some((words, nulls)) = words_of(index) =>
                {
                    compare::in_place(*test, words, nulls, value, out);
                }
                Work::Column(index) => {
                    column::read(self.columns[*index], rows, *index, selected, out, odd);
                }
                Work::Constant => out.resize(selected.len()),
                _ => {
                    let mut other = Vec::new();
                    let bytes = if let Place::Own(bytes) = place { bytes } else { &mut other };
                    work.run(*of, &Before { steps: before, rows }, out, bytes, odd)
                }
            }
        }
    }

    pub fn vector(&self, step: usize) -> &Vector {
        &self.steps[step].out
    }

    /// Returns the bytes that the cells of a step's vector point into.
    pub fn bytes<'a>(&'a self, step: usize, rows: &Rows<'a>) -> &'a [u8] {
        arena_of(&self.steps, step, rows)
    }
}

/// Returns the bytes that a step's cells point into, which may be a batch's.
fn arena_of<'a>(steps: &'a [Step], step: usize, rows: &Rows<'a>) -> &'a [u8] {
    match &steps[step].place {
        Place::Column(index) => rows.bytes_of(*index),
        Place::Of(step) => arena_of(steps, *step, rows),
        Place::Own(bytes) => bytes,
    }
}

/// Returns a constant's vector, which is of one value.
fn constant(of: Type, value: &Value) -> Result<(Work, Vector, Place), Unfit> {
    let mut out = Vector::new(of);
    let mut bytes = Vec::new();
    if value.is_null() {
        out.nulls = vec![true; BLOCK];
    }
    match (of.class(), value) {
        (Class::Bool, Value::Word(word)) => out.bools_mut().resize(BLOCK, *word != 0),
        (Class::Bool, _) => out.bools_mut().resize(BLOCK, false),
        (Class::Word, Value::Word(word)) => out.words_mut().resize(BLOCK, *word),
        (Class::Float, Value::Float(bits)) => out.values = Values::Floats(vec![f64::from_bits(*bits); BLOCK]),
        (Class::Float, _) => out.values = Values::Floats(vec![0.0; BLOCK]),
        (Class::Numeric, Value::Numeric(numeric @ Numeric::Finite(finite))) => {
            let scale = u8::try_from(finite.dscale).ok().filter(|scale| *scale <= 38);
            let scaled = scale.and_then(|scale| Some((scale, integer(numeric, scale)?)));
            let (scale, value) = scaled.ok_or(Unfit("a constant of many digits"))?;
            out.scale = scale;
            match i64::try_from(value) {
                Ok(word) => out.words_mut().resize(BLOCK, word),
                Err(_) if value.unsigned_abs() < arithmetic::WIDE_LIMIT => {
                    out.wide_mut().resize(BLOCK, value)
                }
                Err(_) => return Err(Unfit("a constant of many digits")),
            }
        }
        (Class::Numeric, Value::Numeric(_)) => return Err(Unfit("a constant that is not finite")),
        (Class::Word | Class::Numeric, _) => out.words_mut().resize(BLOCK, 0),
        (Class::Bytes, Value::Bytes(text)) => {
            bytes.clone_from(text);
            let cell = Cell::new(0, bytes.len());
            out.values = Values::Bytes(vec![cell; BLOCK]);
        }
        (Class::Bytes, _) => out.values = Values::Bytes(vec![Cell::NULL; BLOCK]),
    }
    out.measure();
    Ok((Work::Constant, out, Place::Own(bytes)))
}

/// The steps before one.
struct Before<'a> {
    steps: &'a [Step],
    rows: &'a Rows<'a>,
}

impl<'a> Before<'a> {
    fn out(&self, step: usize) -> &'a Vector {
        &self.steps[step].out
    }

    fn all(&self, steps: &[usize]) -> Vec<&'a Vector> {
        steps.iter().map(|&step| self.out(step)).collect()
    }

    fn arena(&self, step: usize) -> &'a [u8] {
        arena_of(self.steps, step, self.rows)
    }

    fn arenas(&self, steps: &[usize]) -> Vec<&'a [u8]> {
        steps.iter().map(|&step| self.arena(step)).collect()
    }

    /// Returns the bytes of a step's values, blanks at their end included; none if they are not texts.
    fn texts(&self, step: usize) -> impl Iterator<Item = &'a [u8]> {
        let arena = self.arena(step);
        let cells = match &self.out(step).values {
            Values::Bytes(cells) => &cells[..],
            _ => &[],
        };
        cells.iter().map(move |&cell| text(cell, arena))
    }

    /// Returns the bytes of a step's values that count in comparisons.
    fn bytes(&self, step: usize) -> impl Iterator<Item = &'a [u8]> {
        let of = self.steps[step].of;
        self.texts(step).map(move |text| compared(of, text))
    }
}

impl Work {
    fn arguments(&self, each: &mut dyn FnMut(usize)) {
        match self {
            Work::Column(_) | Work::Constant => {}
            Work::Arithmetic(_, arguments) | Work::Compare(_, arguments) | Work::Concatenate(arguments) => {
                arguments.iter().copied().for_each(each)
            }
            Work::Join(_, arguments) | Work::Coalesce(arguments) | Work::Extreme(_, arguments) => {
                arguments.iter().copied().for_each(each)
            }
            Work::Case { conditions, values } => conditions.iter().chain(values).copied().for_each(each),
            Work::In { argument, .. }
            | Work::Like { argument, .. }
            | Work::Is { argument, .. }
            | Work::CompareConstant(_, argument, _)
            | Work::Not(argument)
            | Work::IsNull(argument)
            | Work::Unary(_, argument)
            | Work::ToInteger(argument)
            | Work::ToNumeric(argument)
            | Work::ToTimestamp(argument) => each(*argument),
        }
    }

    /// Computes a vector; new texts lie in the bytes.
    fn run(&mut self, of: Type, before: &Before, out: &mut Vector, bytes: &mut Vec<u8>, odd: &mut [bool]) {
        match self {
            Work::Column(_) | Work::Constant => {}
            Work::Arithmetic(op, [left, right]) => {
                let (left, right) = (before.out(*left), before.out(*right));
                match of.class() {
                    Class::Numeric if *op == Arithmetic::Divide => division::divide(left, right, out, odd),
                    Class::Numeric if *op == Arithmetic::Modulo => division::modulo(left, right, out, odd),
                    Class::Numeric => arithmetic::numerics(*op, left, right, out, odd),
                    _ => arithmetic::integers(*op, of, left, right, out, odd),
                }
            }
            Work::Compare(test, [left, right]) => {
                let (a, b) = (before.out(*left), before.out(*right));
                match before.steps[*left].of.class() {
                    Class::Bool => compare::bools(*test, a, b, out),
                    Class::Word => compare::words(*test, a, b, out),
                    Class::Float => compare::floats(*test, a, b, out),
                    Class::Numeric => compare::numerics(*test, a, b, out, odd),
                    Class::Bytes => {
                        out.join_nulls(a, b);
                        compare::bytes(*test, before.bytes(*left), before.bytes(*right), out.bools_mut());
                    }
                }
            }
            Work::CompareConstant(test, argument, value) => {
                compare::with_constant(*test, before.out(*argument), value, out);
            }
            Work::In { argument, list, has_null, is_negated } => {
                let from = before.out(*argument);
                list.find(from, before.bytes(*argument), out.bools_mut());
                out.nulls.clone_from(&from.nulls);
                let Vector { values: Values::Bools(found), nulls, .. } = out else {
                    unreachable!("made above")
                };
                if *has_null {
                    nulls.resize(found.len(), false);
                    nulls.iter_mut().zip(&*found).for_each(|(null, found)| *null |= !found);
                }
                found.iter_mut().for_each(|found| *found ^= *is_negated);
            }
            Work::Like { argument, pattern, is_negated } => {
                out.nulls.clone_from(&before.out(*argument).nulls);
                let texts = before.texts(*argument);
                out.bools_mut().extend(texts.map(|text| pattern.matches(text) != *is_negated));
            }
            Work::Join(decides, parts) => logic::join(*decides, &before.all(parts), out),
            Work::Not(part) => logic::not(before.out(*part), out),
            Work::IsNull(part) => logic::is_null(before.out(*part), out),
            Work::Is { argument, value, is_negated } => {
                logic::is(before.out(*argument), *value, *is_negated, out)
            }
            Work::Case { conditions, values } => {
                let choices = logic::first_true(&before.all(conditions), odd.len());
                let values = (&before.all(values)[..], &before.arenas(values)[..]);
                choice::choose(values, &choices, out, bytes, odd);
            }
            Work::Coalesce(values) => {
                let values = (&before.all(values)[..], &before.arenas(values)[..]);
                let choices = logic::first_present(values.0, odd.len());
                choice::choose(values, &choices, out, bytes, odd);
            }
            Work::Extreme(is_greatest, values) => {
                let values = (&before.all(values)[..], &before.arenas(values)[..]);
                let choices = choice::extremes(values, of, *is_greatest, odd);
                choice::choose(values, &choices, out, bytes, odd);
            }
            Work::Concatenate([left, right]) => {
                let (a, b) = (before.out(*left), before.out(*right));
                let (in_a, in_b) = (before.arena(*left), before.arena(*right));
                out.join_nulls(a, b);
                texts::write(a.len(), bytes, out, odd, |row| {
                    [text(a.cells()[row], in_a), text(b.cells()[row], in_b)]
                });
            }
            Work::Unary(function, argument) => {
                let step = &before.steps[*argument];
                let from = Argument { vector: &step.out, of: step.of, arena: before.arena(*argument) };
                unary::run(function, of, &from, bytes, out, odd);
            }
            Work::ToInteger(part) => arithmetic::to_integer(of, before.out(*part), out, odd),
            Work::ToNumeric(part) => arithmetic::to_numeric(before.out(*part), out),
            Work::ToTimestamp(part) => arithmetic::to_timestamp(before.out(*part), out, odd),
        }
    }
}
