//! Decodes rows without writing them: to learn which shapes they need, or to measure the decoding.

use super::group_builder::decode_nested;
use crate::decode::decode_lane;
use crate::pg::error::{Result, internal};
use crate::plan::Pass;
use crate::scan::{RowValues, Rows, value_error};
use crate::types::{Kind, Lane, Reason, Shapes, ValueError};

/// Merges the shapes that the rows need into `shapes`.
pub fn survey(pass: &Pass, shapes: &mut Shapes, rows: &mut Rows) -> Result<()> {
    let (mut lane, place, range) = (Lane::default(), rows.place, rows.range.clone());
    let RowValues::Cells { cells: all, arena, repr } = &mut rows.values else {
        return Err(internal("a survey looks at cells"));
    };
    for (column, plan) in pass.reading.columns.iter().enumerate() {
        if !has_slot(&plan.field.kind) {
            continue;
        }
        // A misfit reports the shape that all later cells of the batch need, so a few rounds suffice.
        loop {
            let cells = &all[column][range.clone()];
            let outcome = match plan.field.kind.physical(&pass.shapes) {
                None if plan.field.kind.physical(shapes).is_some() => break, // it is text from now on
                None => decode_nested(&plan.field, shapes, cells, arena)?.map(drop),
                Some(_) => decode_lane(&plan.field.kind, *repr, shapes, cells, arena, &mut lane),
            };
            match outcome {
                Ok(()) => break,
                Err(ValueError { reason: Reason::Misfit { shape_index, needs }, .. }) => {
                    if !shapes.merge(shape_index, needs) {
                        break;
                    }
                }
                Err(_) if pass.may_become_text(column) => break,
                Err(failed) => {
                    let name = &plan.field.name;
                    return Err(value_error(place, range.start + failed.row, Some(name), &failed.reason));
                }
            }
        }
    }
    Ok(())
}

fn has_slot(kind: &Kind) -> bool {
    match kind {
        Kind::Numeric { .. } | Kind::List { .. } => true,
        Kind::Struct { fields } => fields.iter().any(|field| has_slot(&field.kind)),
        _ => false,
    }
}

/// Decodes the rows unless a device has, and drops the values. Returns the first value that cannot be
/// converted.
pub fn drop_rows(pass: &Pass, lane: &mut Lane, rows: &mut Rows) -> Result<Option<(ValueError, usize)>> {
    let RowValues::Cells { cells, arena, repr } = &mut rows.values else { return Ok(None) };
    for (column, plan) in pass.reading.columns.iter().enumerate() {
        let (kind, cells) = (&plan.field.kind, &cells[column][rows.range.clone()]);
        let decoded = match kind.physical(&pass.shapes) {
            None => decode_nested(&plan.field, &pass.shapes, cells, arena)?.map(drop),
            Some(_) => decode_lane(kind, *repr, &pass.shapes, cells, arena, lane),
        };
        if let Err(failed) = decoded {
            return Ok(Some((failed, column)));
        }
    }
    Ok(None)
}
