//! Repeats passes until their shapes fit the data.

use super::footers;
use super::message::Report;
use super::pass;
use crate::pg::error::{Result, internal};
use crate::pg::progress::Progress;
use crate::plan::{Column, Job, Output, Pass, columns};
use crate::publish::Staged;
use crate::types::{Kind, Shapes};

/// Passes that may end early before a survey reads all the data.
const GUESSES: usize = 2;

/// The pass whose shapes fit the data.
pub struct Fitted {
    pub report: Report,
    pub shapes: Shapes,
    /// Workers that started.
    pub workers: usize,
}

/// Repeats the pass with wider shapes until the data fit. A pass that ended early without widening a shape met
/// a value that only text can hold: a survey of all the data then decides whether its column is text.
pub fn run(
    job: &Job,
    output: &Output,
    mut seen: Shapes,
    workers: usize,
    staged: Option<&Staged>,
    progress: &Progress,
) -> Result<Fitted> {
    let reading = &job.reading;
    let (mut guesses, mut surveyed) = (GUESSES, false);
    loop {
        if guesses == 0 {
            let survey = Pass::survey(reading, seen.clone());
            seen = merged(&seen, &pass::run(job, &survey, workers, 0, progress)?.needs);
            surveyed = true;
        }
        let shapes = widened(&reading.columns, &seen);
        columns::check_nesting(&reading.columns, &shapes)?;
        let next = Pass { reading, shapes, surveyed, output: output.clone() };
        let passed = pass::run(job, &next, workers, head(job, &next)?, progress)?;
        match passed.report {
            Some(report) => return Ok(Fitted { report, shapes: next.shapes, workers: passed.workers }),
            None if surveyed => return Err(internal("the survey did not see all the data")),
            None => {}
        }
        let wider = merged(&seen, &passed.needs);
        guesses = if wider == seen { 0 } else { guesses - 1 };
        seen = wider;
        if let Some(staged) = staged {
            staged.restart()?;
        }
    }
}

/// Returns how many bytes at the start of each file are left to the leader.
fn head(job: &Job, pass: &Pass) -> Result<u64> {
    match &pass.output {
        Output::Groups { format, .. } => footers::head(job, &pass.shapes, format),
        _ => Ok(0),
    }
}

fn merged(one: &Shapes, other: &Shapes) -> Shapes {
    let mut all = one.clone();
    other.iter().enumerate().for_each(|(slot, shape)| {
        all.merge(slot, shape);
    });
    all
}

/// Returns the shapes to try: those seen, widened as far as that costs nothing.
pub fn widened(columns: &[Column], seen: &Shapes) -> Shapes {
    let mut shapes = seen.clone();
    for column in columns {
        widen_kind(&column.field.kind, &mut shapes);
    }
    shapes
}

fn widen_kind(kind: &Kind, shapes: &mut Shapes) {
    match kind {
        Kind::Numeric { shape_index } => shapes.set(*shape_index, shapes.get(*shape_index).widened_numeric()),
        Kind::List { shape_index, element } => {
            shapes.set(*shape_index, shapes.get(*shape_index).widened_list());
            widen_kind(&element.kind, shapes);
        }
        Kind::Struct { fields } => fields.iter().for_each(|field| widen_kind(&field.kind, shapes)),
        _ => {}
    }
}
