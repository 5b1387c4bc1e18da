//! `arrow_fdw_metadata_info`: the keys and values in the files of a foreign table.

use pgrx::pg_sys::{self, Oid};

use super::files::{list, metadata, open};
use super::options;
use crate::pg::access::check_read_role;
use crate::pg::check_for_interrupts;
use crate::pg::error::{Code, Result, error};

/// A file, its column if the metadata is a column's, key and value.
pub type Entry = (String, Option<String>, String, String);

/// Returns the metadata of the files of a foreign table.
pub fn metadata_info(table: Oid) -> Result<Vec<Entry>> {
    // SAFETY: a syscache look-up on the main thread.
    if unsafe { pg_sys::get_rel_relkind(table) } as u8 != pg_sys::RELKIND_FOREIGN_TABLE {
        return Err(error(Code::ERRCODE_WRONG_OBJECT_TYPE, "not a foreign table")
            .set_hint("Name a foreign table of the foreign data wrapper pg_strata."));
    }
    check_read_role(pg_sys::InvalidOid)?;
    let options = options::of_table(table)?;
    let mut found = Vec::new();
    for file in list(&options)? {
        check_for_interrupts();
        let meta = metadata(&open(&file.path)?)?;
        for (key, value) in meta.key_values() {
            found.push((file.path.clone(), None, key.to_owned(), value.to_owned()));
        }
        for field in meta.schema().fields() {
            for (key, value) in field.metadata() {
                found.push((file.path.clone(), Some(field.name().clone()), key.clone(), value.clone()));
            }
        }
    }
    Ok(found)
}
