//! Who may read files of the server.

use pgrx::pg_sys::Oid;

use super::options::owner_who_reads;
use crate::pg::access::check_read_role;
use crate::pg::encoding::in_message;
use crate::pg::error::Result;

/// Checks that the files of a foreign table may be read: by the role, or by the server's owner if the server's
/// option `read_as` is `owner`.
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
