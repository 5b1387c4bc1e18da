//! Who may read files of the server.

use pgrx::pg_sys;
use pgrx::pg_sys::Oid;

use super::options::owner_who_reads;
use crate::pg::encoding::in_message;
use crate::pg::error::{Code, Result, error};
use crate::pg::memory;

/// The files of a foreign table: on the role's privileges, or on those of the server's owner where the server's
/// option `read_as` says so.
pub fn check_may_read(table: Oid, role: Oid) -> Result<()> {
    match owner_who_reads(table)? {
        None => check_file_role(role),
        Some((owner, server)) => check_file_role(owner).map_err(|refused| {
            refused.set_hint(in_message(format!(
                "Server \"{server}\" has read_as 'owner': its owner needs the role."
            )))
        }),
    }
}

/// As COPY from a file asks: superusers, and members of pg_read_server_files. An invalid OID stands for the
/// current user.
pub fn check_file_role(role: Oid) -> Result<()> {
    // Whatever is done with files begins here.
    memory::check();
    // SAFETY: plain syscache look-ups inside a transaction.
    let member = unsafe {
        let role = if role == pg_sys::InvalidOid { pg_sys::GetUserId() } else { role };
        pg_sys::has_privs_of_role(role, Oid::from(pg_sys::ROLE_PG_READ_SERVER_FILES))
    };
    if member {
        return Ok(());
    }
    Err(error(Code::ERRCODE_INSUFFICIENT_PRIVILEGE, "permission denied to read files of the server")
        .set_detail("Only roles with privileges of the \"pg_read_server_files\" role may read them.")
        .set_hint("Ask for: GRANT pg_read_server_files TO your role, or for a view over the foreign table."))
}
