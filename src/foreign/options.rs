//! The options of servers, foreign tables and their columns.

use std::ffi::CStr;

use pgrx::pg_sys;
use pgrx::pg_sys::Oid;

use crate::fdw::{FileSet, Pattern};
use crate::pg::access::check_read_role;
use crate::pg::encoding::to_utf8;
use crate::pg::error::{Code, Error, Result, error};
use crate::pg::list::members;

/// The options of a foreign table, checked.
pub struct TableOptions {
    pub files: FileSet,
    pub pattern: Option<Pattern>,
    pub parallel_workers: Option<i32>,
    /// A column that a file does not have is NULL there; otherwise it is an error.
    pub missing_as_null: bool,
}

/// The source of a column's values.
#[derive(Clone, Debug, PartialEq)]
pub enum ColumnSource {
    /// A key of the file's path, or a column of the file if the path has no such key.
    Named(String),
    /// A column of the file. If several have the name, its number among them, from 1.
    Field(String, Option<usize>),
    /// A key of the file's path.
    Virtual(String),
    /// A key of the file's metadata.
    Metadata(String),
    /// A key of the file's metadata whose value is a list separated by commas, with an element for each group.
    MetadataSplit(String),
}

const SERVER: &[&str] = &["read_as"];
const TABLE: &[&str] = &["file", "files", "dir", "suffix", "pattern", "missing_columns", "parallel_workers"];
const COLUMN: &[&str] = &["field", "occurrence", "virtual", "virtual_metadata", "virtual_metadata_split"];

/// Names and values.
type Pairs = [(String, String)];

fn get<'a>(pairs: &'a Pairs, name: &str) -> Option<&'a str> {
    pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

fn invalid(message: String) -> Error {
    error(Code::ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE, message)
}

/// Checks options in CREATE and ALTER. `catalog` says what kind of object has them.
pub fn validate(pairs: &Pairs, catalog: Oid) -> Result<()> {
    let known: &[&str] = match catalog {
        pg_sys::ForeignServerRelationId => SERVER,
        pg_sys::ForeignTableRelationId => TABLE,
        pg_sys::AttributeRelationId => COLUMN,
        _ => &[],
    };
    for (name, _) in pairs {
        if !known.contains(&name.as_str()) {
            let hint = match known.is_empty() {
                true => "There are no options here: files are options of the foreign table.".to_owned(),
                false => format!("Valid options are: {}.", known.join(", ")),
            };
            let message = format!("invalid option \"{name}\"");
            return Err(error(Code::ERRCODE_FDW_INVALID_OPTION_NAME, message).set_hint(hint));
        }
    }
    if catalog == pg_sys::ForeignServerRelationId {
        reads_as_owner(pairs)?;
    }
    if catalog == pg_sys::ForeignTableRelationId {
        check_read_role(pg_sys::InvalidOid)?;
        table_options(pairs)?;
    }
    if catalog == pg_sys::AttributeRelationId {
        check_column(pairs)?;
    }
    Ok(())
}

fn check_column(pairs: &Pairs) -> Result<()> {
    if let Some(text) = get(pairs, "occurrence")
        && occurrence(text).is_none()
    {
        return Err(invalid(format!("invalid value for option \"occurrence\": \"{text}\""))
            .set_hint("Give a number from 1."));
    }
    let is_field = |name: &str| name == "field" || name == "occurrence";
    match pairs.len() {
        0 | 1 => Ok(()),
        _ if pairs.iter().all(|(name, _)| is_field(name)) => Ok(()),
        _ => Err(invalid("conflicting options".into()).set_hint(
            "A column has one of field, virtual, virtual_metadata and virtual_metadata_split. \
             With field it may have occurrence.",
        )),
    }
}

fn occurrence(text: &str) -> Option<usize> {
    text.parse().ok().filter(|&number| number > 0)
}

/// Returns the options of a table, or of IMPORT FOREIGN SCHEMA.
pub fn table_options(pairs: &Pairs) -> Result<TableOptions> {
    let given = |name| get(pairs, name);
    let files = match (given("file"), given("files"), given("dir")) {
        (Some(file), None, None) => FileSet::Named(vec![absolute(file, "file")?]),
        (None, Some(files), None) => {
            let files = files.split(',').map(str::trim).filter(|file| !file.is_empty());
            FileSet::Named(files.map(|file| absolute(file, "files")).collect::<Result<_>>()?)
        }
        (None, None, Some(dir)) => {
            FileSet::Directory { path: absolute(dir, "dir")?, suffix: given("suffix").map(str::to_owned) }
        }
        (None, None, None) => {
            return Err(error(Code::ERRCODE_FDW_OPTION_NAME_NOT_FOUND, "no files are named")
                .set_hint("Give one of the options file, files (separated by commas) and dir."));
        }
        _ => {
            return Err(invalid("conflicting options".into())
                .set_hint("Give one of the options file, files (separated by commas) and dir."));
        }
    };
    if given("suffix").is_some() && matches!(files, FileSet::Named(_)) {
        return Err(invalid("option \"suffix\" needs option \"dir\"".into())
            .set_hint("It chooses among the files of a directory."));
    }
    let pattern = given("pattern").map(|text| {
        Pattern::parse(text).map_err(|why| {
            invalid(format!("invalid pattern \"{text}\"")).set_detail(why).set_hint(
                "A pattern is a file name in which @{key} stands for a number and ${key} for any text.",
            )
        })
    });
    let parallel_workers = given("parallel_workers").map(|text| match text.parse() {
        Ok(workers @ 0..=1024) => Ok(workers),
        _ => Err(invalid(format!("invalid value for option \"parallel_workers\": \"{text}\""))
            .set_hint("Give a number from 0 to 1024.")),
    });
    Ok(TableOptions {
        files,
        pattern: pattern.transpose()?,
        parallel_workers: parallel_workers.transpose()?,
        missing_as_null: choice(pairs, "missing_columns", "error", "null")?,
    })
}

/// Returns whether an option has the second of its two values; the first is the default.
fn choice(pairs: &Pairs, option: &str, default: &str, other: &str) -> Result<bool> {
    match get(pairs, option) {
        None => Ok(false),
        Some(value) if value == default => Ok(false),
        Some(value) if value == other => Ok(true),
        Some(value) => Err(invalid(format!("invalid value for option \"{option}\": \"{value}\""))
            .set_hint(format!("Give '{default}', which is the default, or '{other}'."))),
    }
}

fn reads_as_owner(server: &Pairs) -> Result<bool> {
    choice(server, "read_as", "user", "owner")
}

/// Returns the owner and the name of the table's server, if the server's option says that its owner's privileges count.
pub fn owner_who_reads(table: Oid) -> Result<Option<(Oid, String)>> {
    // SAFETY: syscache look-ups of a foreign table that the query has locked; the name is a C string.
    unsafe {
        let server = &*pg_sys::GetForeignServer((*pg_sys::GetForeignTable(table)).serverid);
        if !reads_as_owner(&pairs(server.options)?)? {
            return Ok(None);
        }
        let name = to_utf8(CStr::from_ptr(server.servername).to_bytes())?;
        Ok(Some((server.owner, name.into_owned())))
    }
}

fn absolute(path: &str, option: &str) -> Result<String> {
    if path.contains("://") {
        return Err(error(Code::ERRCODE_FEATURE_NOT_SUPPORTED, format!("\"{path}\" is a URL"))
            .set_hint("Files are read on the server alone: copy them there, and give the absolute path."));
    }
    match path.starts_with('/') {
        true => Ok(path.to_owned()),
        false => Err(error(
            Code::ERRCODE_INVALID_NAME,
            format!("relative path not allowed in option \"{option}\": \"{path}\""),
        )
        .set_hint("Give the absolute path on the server.")),
    }
}

/// Returns the options of a foreign table as they are now; raises PostgreSQL's error for a relation of another kind.
pub fn of_table(table: Oid) -> Result<TableOptions> {
    // SAFETY: a syscache look-up of a foreign table that the query has locked.
    table_options(&unsafe { pairs((*pg_sys::GetForeignTable(table)).options) }?)
}

/// Returns the source of the values of column `number`, called `name`.
pub fn of_column(table: Oid, number: i16, name: &str) -> Result<ColumnSource> {
    // SAFETY: a syscache look-up of a foreign table that the query has locked.
    let pairs = unsafe { pairs(pg_sys::GetForeignColumnOptions(table, number)) }?;
    Ok(if let Some(key) = get(&pairs, "virtual") {
        ColumnSource::Virtual(key.to_owned())
    } else if let Some(key) = get(&pairs, "virtual_metadata") {
        ColumnSource::Metadata(key.to_owned())
    } else if let Some(key) = get(&pairs, "virtual_metadata_split") {
        ColumnSource::MetadataSplit(key.to_owned())
    } else {
        match (get(&pairs, "field"), get(&pairs, "occurrence").and_then(occurrence)) {
            (None, None) => ColumnSource::Named(name.to_owned()),
            (field, occurrence) => ColumnSource::Field(field.unwrap_or(name).to_owned(), occurrence),
        }
    })
}

/// Returns names and values of options.
///
/// # Safety
/// The list is NULL, or a list of DefElem.
pub unsafe fn pairs(list: *const pg_sys::List) -> Result<Vec<(String, String)>> {
    // SAFETY: a DefElem's name and value are C strings.
    let text = |text| unsafe { to_utf8(CStr::from_ptr(text).to_bytes()).map(|text| text.into_owned()) };
    // SAFETY: the list is one of DefElem.
    let elements = unsafe { members::<pg_sys::DefElem>(list) };
    elements
        .into_iter()
        // SAFETY: the members of the list are DefElem.
        .map(|element| unsafe { Ok((text((*element).defname)?, text(pg_sys::defGetString(element))?)) })
        .collect()
}
