//! Errors that name the value: table, column and ctid.

use super::Place;
use crate::pg::encoding::in_message;
use crate::pg::error::{Code, Error, error};
use crate::types::Reason;

/// Returns the error for a value in row `row` of a batch. `column` is known unless the tuple itself is broken.
pub fn value_error(place: Place, row: usize, column: Option<&str>, reason: &Reason) -> Error {
    let (code, hint) = match reason {
        Reason::NumericNan | Reason::NumericInfinity => {
            (Code::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE, POLICY_HINT)
        }
        Reason::InfiniteDate | Reason::InfiniteTimestamp => {
            (Code::ERRCODE_DATETIME_FIELD_OVERFLOW, POLICY_HINT)
        }
        Reason::EndOfDay => (
            Code::ERRCODE_DATETIME_FIELD_OVERFLOW,
            "Export a query that casts the column to text, with export_query_parquet or export_query_arrow.",
        ),
        Reason::OutOfRange => (Code::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE, POLICY_HINT),
        Reason::InvalidUtf8 => (
            Code::ERRCODE_CHARACTER_NOT_IN_REPERTOIRE,
            "Parquet text is UTF-8. Leave the column out, or store it as bytea.",
        ),
        Reason::Malformed(_) => (Code::ERRCODE_DATA_CORRUPTED, "Check the table with pg_amcheck."),
        // Misfits restart the export; one that is reported is a bug.
        Reason::Misfit { .. } => (Code::ERRCODE_INTERNAL_ERROR, "Please report this."),
    };
    error(code, reason.to_string()).set_detail(place_text(place, row, column)).set_hint(hint)
}

const POLICY_HINT: &str = "The option special_values => 'null' or 'text' will allow such values in a later \
                           version; until then change them or leave the column out with columns => array[...].";

pub fn place_text(place: Place, row: usize, column: Option<&str>) -> String {
    let tid = place.tids.get(row);
    let place = match tid {
        // A row of a query has no line pointer; the block is its number.
        Some(tid) if tid.offset == 0 => format!("Row {} of the query's result", u64::from(tid.block) + 1),
        _ => format!("Table {}", place.table),
    };
    let column = column.map_or_else(String::new, |column| format!(", column \"{column}\""));
    let ctid = match tid.filter(|tid| tid.offset > 0) {
        Some(tid) => format!(", ctid ({},{})", tid.block, tid.offset),
        None => String::new(),
    };
    in_message(format!("{place}{column}{ctid}."))
}
