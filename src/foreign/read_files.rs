//! `read_parquet(path)`: the rows of files without a foreign table, in the columns that the call declares.

use pgrx::pg_sys;

use super::file_column::TableColumn;
use super::options::{self, ColumnSource};
use super::scan::Scan;
use crate::pg::access::check_read_role;
use crate::pg::catalog;
use crate::pg::error::Result;

/// Reads a file, or all files of a directory, into the function's tuplestore.
///
/// # Safety
/// The call is of a function that returns SETOF record.
pub unsafe fn read_files(path: &str, call: pg_sys::FunctionCallInfo) -> Result<()> {
    check_read_role(pg_sys::InvalidOid)?;
    let option = if std::path::Path::new(path).is_dir() { "dir" } else { "file" };
    let options = options::table_options(&[(option.to_owned(), path.to_owned())])?;
    // SAFETY: the call's result information is a ReturnSetInfo, whose descriptor is what the call declares.
    unsafe {
        pg_sys::InitMaterializedSRF(call, pg_sys::MAT_SRF_USE_EXPECTED_DESC);
        let result = (*call).resultinfo.cast::<pg_sys::ReturnSetInfo>();
        let descriptor = (*result).setDesc;
        let attributes = catalog::attributes_of(descriptor).into_iter().enumerate();
        let columns = attributes.map(|(index, of)| TableColumn {
            index,
            number: of.number,
            source: ColumnSource::Named(of.name.clone()),
            name: of.name,
            type_oid: of.type_oid,
            typmod: of.typmod,
            may_be_missing: false,
            is_shown: true,
        });
        let mut scan = Scan::of_columns(options, columns.collect());
        let slot = pg_sys::MakeSingleTupleTableSlot(descriptor, &pg_sys::TTSOpsVirtual);
        while scan.next_row(slot)? {
            pg_sys::tuplestore_puttupleslot((*result).setResult, slot);
        }
        pg_sys::ExecDropSingleTupleTableSlot(slot);
    }
    Ok(())
}
