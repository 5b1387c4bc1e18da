//! The checks and choices that precede every kind of export.

use crate::pg::access::{check_row_security, check_select};
use crate::pg::catalog::Attribute;
use crate::pg::error::{Code, Result, error};
use crate::pg::parallel;
use crate::plan::{ScanKind, Source, columns};

pub fn check_context() -> Result<()> {
    if !parallel::in_parallel_worker() {
        return Ok(());
    }
    Err(error(Code::ERRCODE_INVALID_TRANSACTION_STATE, "cannot export from within a parallel operation")
        .set_hint("The functions are PARALLEL UNSAFE; do not call them from one marked PARALLEL SAFE."))
}

/// Returns the attributes of the named columns, or of all, which the caller must have the privilege to read.
pub fn choose_columns<'a>(
    source: &Source,
    attributes: &'a [Attribute],
    names: Option<&[String]>,
) -> Result<Vec<&'a Attribute>> {
    let chosen = columns::choose(&source.name, attributes, names)?;
    let named: Vec<(i16, String)> =
        chosen.iter().map(|attribute| (attribute.number, attribute.name.clone())).collect();
    check_select(source.oid.into(), &source.name, &named)?;
    check_row_security(source.oid.into(), &source.name)?;
    Ok(chosen)
}

pub fn choose_scan(source: &Source, asked: Option<ScanKind>) -> Result<ScanKind> {
    if source.is_heap {
        return Ok(asked.unwrap_or(ScanKind::Heap));
    }
    Err(error(
        Code::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("cannot export {}: its table access method is not heap", source.name),
    )
    .set_hint("Copy the rows into an ordinary table and export that."))
}

/// Returns the number of workers. They cannot see temporary tables, and have nothing to do in an empty one.
pub fn choose_workers(source: &Source, asked: Option<usize>) -> usize {
    let blocks = source.blocks();
    if source.is_temporary || blocks < 2 {
        return 0;
    }
    match asked {
        Some(workers) => workers.min(parallel::max_workers()),
        None => parallel::workers_for(blocks, source.workers_option),
    }
}
