//! Checks the privileges to read the table and to write the file. The leader does so before it reads the first
//! block.

use pgrx::pg_sys;
use pgrx::pg_sys::Oid;

use super::encoding::in_message;
use super::error::{Code, Error, Result, error};
use super::guc;
use super::memory;

pub fn is_superuser() -> bool {
    // SAFETY: a syscache look-up inside a transaction.
    unsafe { pg_sys::superuser() }
}

/// Checks that the caller may write files on the server: members of pg_write_server_files may, and a role for which
/// ALTER ROLE has set the directories. PostgreSQL has checked EXECUTE on the function.
pub fn check_file_role() -> Result<()> {
    // SAFETY: plain syscache look-ups inside a transaction, in a session with a user.
    let (is_member, has_logged_in) = unsafe {
        let user = pg_sys::GetUserId();
        let is_member = pg_sys::has_privs_of_role(user, Oid::from(pg_sys::ROLE_PG_WRITE_SERVER_FILES));
        (is_member, user == pg_sys::GetAuthenticatedUserId())
    };
    // The session keeps the settings of the role that logged in when SET ROLE or a function that is SECURITY DEFINER
    // changes the user.
    if is_member || (has_logged_in && guc::has_directories_of_role()) {
        return Ok(());
    }
    Err(error(Code::ERRCODE_INSUFFICIENT_PRIVILEGE, "permission denied to export to a file")
        .set_detail("Only roles with privileges of the \"pg_write_server_files\" role, or for which a superuser has set pg_strata.export_directories, may export to a file.")
        .set_hint("Ask for: GRANT pg_write_server_files TO your role, or ALTER ROLE your role SET pg_strata.export_directories."))
}

/// Checks that a role may read files on the server, as COPY from a file does: superusers may, and members of
/// pg_read_server_files. An invalid OID stands for the current user.
pub fn check_read_role(role: Oid) -> Result<()> {
    // All work with files begins here.
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

/// Checks for SELECT on the table, or on each of `columns`.
pub fn check_select(table: Oid, table_name: &str, columns: &[(i16, String)]) -> Result<()> {
    const OK: pg_sys::AclResult::Type = pg_sys::AclResult::ACLCHECK_OK;
    let select = pg_sys::AclMode::from(pg_sys::ACL_SELECT);
    // SAFETY: plain syscache look-ups inside a transaction, on a relation that the caller has locked.
    unsafe {
        let user = pg_sys::GetUserId();
        if pg_sys::pg_class_aclcheck(table, user, select) == OK {
            return Ok(());
        }
        if columns.is_empty()
            && pg_sys::pg_attribute_aclcheck_all(table, user, select, pg_sys::AclMaskHow::ACLMASK_ANY) == OK
        {
            return Ok(());
        }
        let denied = columns
            .iter()
            .find(|(attnum, _)| pg_sys::pg_attribute_aclcheck(table, *attnum, user, select) != OK);
        match denied {
            None if !columns.is_empty() => Ok(()),
            None => Err(denied_error(table_name, "The table has no columns that you may read.".into())),
            Some((_, column)) => Err(denied_error(
                table_name,
                format!("SELECT is needed on each exported column; column \"{column}\" lacks it."),
            )),
        }
    }
}

fn denied_error(table: &str, detail: String) -> Error {
    error(Code::ERRCODE_INSUFFICIENT_PRIVILEGE, format!("permission denied for table {table}"))
        .set_detail(in_message(detail))
        .set_hint("Ask for SELECT on it, or name the columns you may read in columns => array[...].")
}

/// Refuses a table whose row-level security policies apply to the caller: a block scan does not evaluate them.
pub fn check_row_security(table: Oid, table_name: &str) -> Result<()> {
    // SAFETY: plain syscache look-ups inside a transaction; noError makes it return rather than raise where
    // row_security is off.
    let state = unsafe { pg_sys::check_enable_rls(table, pg_sys::InvalidOid, true) };
    if state != pg_sys::CheckEnableRlsResult::RLS_ENABLED as i32 {
        return Ok(());
    }
    Err(error(
        Code::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("cannot export table {table_name} under row-level security"),
    )
    .set_detail("Its policies apply to you, and a block scan does not evaluate them.")
    .set_hint("Export the rows you may see by export_query_parquet or export_query_arrow, or export as a role with BYPASSRLS."))
}
