//! Who may read files of the server.

use pgrx::pg_sys::Oid;

use super::options::owner_who_reads;
use crate::pg::access::check_read_role;
use crate::pg::encoding::in_message;
use crate::pg::error::Result;

/// The files of a foreign table: on the role's privileges, or on those of the server's owner where the server's
/// option `read_as` says so.
pub fn check_may_read(table: Oid, role: Oid) -> Result<()> {
    match owner_who_reads(table)? {
        None => check_read_role(role),
        Some((owner, server)) => check_read_role(owner).map_err(|refused| {
            refused.set_hint(in_message(format!(
                "Server \"{server}\" has read_as 'owner': its owner needs the role."
            )))
        }),
    }
}
