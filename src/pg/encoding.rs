//! Converts text between the database's encoding and UTF-8, which Rust's strings and all files use.

use std::borrow::Cow;
use std::ffi::CStr;

use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReportable;

use super::database_encoding::UTF8;
pub use super::database_encoding::{
    database_is_single_byte, database_is_utf8, in_message, names_are_text, takes_utf8,
};
use super::error::{Code, Error, Result, error};
use super::xact::attempt;
use crate::memory::copy;

/// Converts text of the database to UTF-8. SQL_ASCII does not define its bytes, which must be UTF-8 already.
pub fn to_utf8(bytes: &[u8]) -> Result<Cow<'_, str>> {
    if bytes.is_ascii() || takes_utf8() {
        return std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| not_utf8());
    }
    // SAFETY: conversion procedures are SQL functions of the server; between two encodings that differ
    // the result is a new C string. PostgreSQL's values are shorter than 1 GiB, so `len` does not overflow.
    unsafe {
        let converted = pg_sys::pg_server_to_any(bytes.as_ptr().cast(), bytes.len() as i32, UTF8);
        let text = copy(CStr::from_ptr(converted).to_bytes())?;
        pg_sys::pfree(converted.cast());
        String::from_utf8(text).map(Cow::Owned).map_err(|_| not_utf8())
    }
}

/// Converts a C string of the server: a name, or what a function prints of names.
///
/// # Safety
/// `text` ends with NUL.
pub unsafe fn name_to_utf8(text: *const std::ffi::c_char) -> String {
    // SAFETY: the caller passes a C string.
    let bytes = unsafe { CStr::from_ptr(text) }.to_bytes();
    to_utf8(bytes).unwrap_or_report().into_owned()
}

/// Converts text to the database's encoding; raises PostgreSQL's own error if that lacks a character.
pub fn from_utf8(text: &str) -> Vec<u8> {
    if text.is_ascii() || takes_utf8() {
        return text.as_bytes().to_vec();
    }
    // SAFETY: between two encodings that differ the result is a new C string.
    unsafe {
        let converted = pg_sys::pg_any_to_server(text.as_ptr().cast(), text.len() as i32, UTF8);
        CStr::from_ptr(converted).to_bytes().to_vec()
    }
}

/// Converts text to the database's encoding; `None` if that lacks a character.
pub fn try_from_utf8(text: &str) -> Option<Vec<u8>> {
    if text.is_ascii() || takes_utf8() {
        return Some(text.as_bytes().to_vec());
    }
    attempt(|| from_utf8(text)).ok()
}

fn not_utf8() -> Error {
    error(Code::ERRCODE_CHARACTER_NOT_IN_REPERTOIRE, "text of an SQL_ASCII database is not valid UTF-8")
        .set_hint("Parquet text is UTF-8. Export the column as bytea, or convert it with convert_from().")
}
