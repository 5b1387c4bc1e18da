//! The database's encoding, and messages in it.

use pgrx::pg_sys;

pub const UTF8: i32 = pg_sys::pg_enc::PG_UTF8 as i32;

fn database_encoding() -> i32 {
    // SAFETY: reads a process-wide setting.
    unsafe { pg_sys::GetDatabaseEncoding() }
}

/// Returns whether text of this database is UTF-8 already.
pub fn database_is_utf8() -> bool {
    database_encoding() == UTF8
}

/// Returns whether names are text of an encoding: SQL_ASCII takes any bytes.
pub fn names_are_text() -> bool {
    database_encoding() != pg_sys::pg_enc::PG_SQL_ASCII as i32
}

/// Returns whether every character of this database is one byte.
pub fn database_is_single_byte() -> bool {
    // SAFETY: reads a process-wide setting.
    unsafe { pg_sys::pg_database_encoding_max_length() == 1 }
}

/// Returns whether UTF-8 can be stored without conversion: SQL_ASCII takes any bytes.
pub fn takes_utf8() -> bool {
    database_is_utf8() || database_encoding() == pg_sys::pg_enc::PG_SQL_ASCII as i32
}

/// Escapes what is not ASCII in an error's message or detail, unless the database is UTF-8. pgrx passes them on
/// as UTF-8, and another encoding may refuse the bytes, which would then be the error.
pub fn in_message(text: String) -> String {
    if text.is_ascii() || takes_utf8() {
        return text;
    }
    let escape = |c: char| if c.is_ascii() { c.to_string() } else { c.escape_unicode().to_string() };
    text.chars().map(escape).collect()
}
