//! The columns of a set of files, and for each a type that holds its values in all of them.

use std::collections::{HashMap, HashSet};

use arrow::datatypes::DataType;

use super::column::Converter;
use super::declared::{Declared, Origin};
use super::files::{metadata, open};
use crate::fdw::{DataFile, FileMeta, Keys, LeftOut, Pattern, common_type, list_depth};
use crate::pg::error::{Result, warning};
use crate::pg::{check_for_interrupts, pg_type};

/// The columns that are found, file by file.
#[derive(Default)]
pub struct Columns {
    found: Vec<Found>,
    /// The index in `found` by name and number among the columns of the name.
    places: HashMap<(String, usize), usize>,
    /// Names that several columns of a file have.
    ambiguous: HashSet<String>,
    /// Columns that cannot be read in a file.
    left_out: Vec<LeftOut>,
    files: usize,
}

struct Found {
    name: String,
    occurrence: usize,
    /// The number of files that have it.
    files: usize,
    kinds: Vec<Kind>,
}

/// The type of a column in one file or several.
struct Kind {
    data_type: DataType,
    sql_type: Option<String>,
    /// The type that an export recorded, and the first file that has it.
    declared: Option<String>,
    path: String,
}

/// A key of the files' paths.
pub struct Key {
    pub name: String,
    sql_type: &'static str,
    files: usize,
}

impl Key {
    pub fn declared(&self) -> Declared {
        Declared { name: self.name.clone(), sql_type: self.sql_type.into(), source: Origin::Path }
    }
}

impl Columns {
    /// Adds a file's columns; if `is_new` also those that no file before had.
    pub fn add(&mut self, meta: &FileMeta, keys: &Keys, is_new: bool) {
        self.files += 1;
        let declared = meta.declared_types();
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for (at, field) in meta.schema().fields().iter().enumerate() {
            let name = field.name();
            let count = counts.entry(name).or_default();
            *count += 1;
            if *count > 1 {
                self.ambiguous.insert(name.clone());
            }
            let place = self.places.get(&(name.clone(), *count)).copied();
            if place.is_none() && !is_new {
                continue;
            }
            let place = place.unwrap_or_else(|| {
                self.places.insert((name.clone(), *count), self.found.len());
                self.found.push(Found {
                    name: name.clone(),
                    occurrence: *count,
                    files: 0,
                    kinds: Vec::new(),
                });
                self.found.len() - 1
            });
            let found = &mut self.found[place];
            found.files += 1;
            // A key of the path hides the column.
            if *count > 1 || keys.iter().all(|(key, _)| key != name) {
                let declared = declared.iter().find(|(of, _)| of == name).map(|(_, text)| text.clone());
                found.add(Kind {
                    data_type: field.data_type().clone(),
                    sql_type: meta.sql_type(at),
                    declared,
                    path: meta.id.path.clone(),
                });
            }
        }
        for column in &meta.left_out {
            let is_known = is_new || self.places.contains_key(&(column.name.clone(), 1));
            if is_known && !self.is_left_out(&column.name) {
                self.left_out.push(column.clone());
            }
        }
    }

    fn is_left_out(&self, name: &str) -> bool {
        self.left_out.iter().any(|column| column.name == name)
    }

    /// Returns the columns that can be read, and warns about the others.
    pub fn declare(&self, files: &[DataFile], keys: &[Key], may_be_missing: bool) -> Result<Vec<Declared>> {
        let mut columns = Vec::new();
        for column in &self.left_out {
            warning(
                "a column is left out",
                format!("Column \"{}\" cannot be read: {}.", column.name, column.why),
                "The other columns can be read without it.",
            );
        }
        for found in self.found.iter().filter(|found| !self.is_left_out(&found.name)) {
            check_for_interrupts();
            let key = keys.iter().find(|key| found.occurrence == 1 && key.name == found.name);
            let (sql_type, source) = match key {
                Some(key) => self.with_key(found, key),
                None => (found.sql_type(files)?, Origin::File(self.occurrence(found))),
            };
            let name = found.name.clone();
            match sql_type {
                Some(sql_type) => columns.push(Declared { name, sql_type, source }),
                None => warning(
                    "a column is left out",
                    format!("Column \"{name}\" is of the Arrow type {}, which is not read.", found.types()),
                    "Write the file without the column, or with another type.",
                ),
            }
            if key.is_none() && found.files < self.files && !may_be_missing {
                warning(
                    "a column is not in all files",
                    format!("Column \"{}\" is in {} of {} files.", found.name, found.files, self.files),
                    "With the option missing_columns 'null' it is NULL in the others.",
                );
            }
        }
        for key in keys.iter().filter(|key| !self.places.contains_key(&(key.name.clone(), 1))) {
            if key.files < self.files && !may_be_missing {
                warning(
                    "a key is not in all paths",
                    format!("Key \"{}\" is in the paths of {} of {} files.", key.name, key.files, self.files),
                    "With the option missing_columns 'null' it is NULL in the others.",
                );
            }
        }
        Ok(columns)
    }

    fn occurrence(&self, found: &Found) -> Option<usize> {
        self.ambiguous.contains(&found.name).then_some(found.occurrence)
    }

    /// Returns the type and the source of a column whose name is also a key of files' paths.
    fn with_key(&self, found: &Found, key: &Key) -> (Option<String>, Origin) {
        warning(
            "a key of the files' paths hides a column of the files",
            format!("The values of column \"{}\" are those of the paths.", found.name),
            "A column with the option field reads the files' own.",
        );
        let own = found.kinds.iter().map(|kind| kind.sql_type.as_deref().unwrap_or("text"));
        let sql_type = own.fold(key.sql_type.to_owned(), |one, other| common_type(&one, other));
        let source = if key.files < self.files { Origin::Either } else { Origin::Path };
        (Some(sql_type), source)
    }
}

impl Found {
    fn add(&mut self, kind: Kind) {
        let same = |known: &Kind| {
            (&known.data_type, &known.sql_type, &known.declared)
                == (&kind.data_type, &kind.sql_type, &kind.declared)
        };
        if !self.kinds.iter().any(same) {
            self.kinds.push(kind);
        }
    }

    fn types(&self) -> String {
        let types: Vec<String> = self.kinds.iter().map(|kind| kind.data_type.to_string()).collect();
        types.join(" or ")
    }

    /// Returns the type that the export's table had, if all files record the same one and it exists here; otherwise
    /// one for the files' types.
    fn sql_type(&self, files: &[DataFile]) -> Result<Option<String>> {
        if let Some(declared) = self.declared() {
            return Ok(Some(declared));
        }
        let Some(common) = self.common_type(files)? else { return Ok(None) };
        let chosen = [common, "text".into()].into_iter().find(|name| {
            let found = pg_type::type_of_name(name);
            found.is_some_and(|(type_oid, typmod)| self.is_readable(type_oid, typmod))
        });
        if let Some(chosen) = &chosen {
            self.warn(chosen);
        }
        Ok(chosen)
    }

    fn is_readable(&self, type_oid: pgrx::pg_sys::Oid, typmod: i32) -> bool {
        self.kinds.iter().all(|kind| Converter::new(type_oid, typmod, &kind.data_type).is_some())
    }

    fn declared(&self) -> Option<String> {
        let first = self.kinds.first()?;
        let text = first.declared.as_ref()?;
        if self.kinds.iter().any(|kind| kind.declared.as_ref() != Some(text)) {
            return None;
        }
        match pg_type::find_type(text) {
            Ok(Some((type_oid, _))) if !pg_type::is_trusted(type_oid) => {
                warning(
                    "a type in a file's metadata is somebody else's",
                    format!(
                        "Column \"{}\" of file \"{}\" is said to be of type \"{text}\", which runs its owner's code.",
                        self.name, first.path
                    ),
                    "The column is declared by the type of its values; declare it as that type if you trust its owner.",
                );
                None
            }
            Ok(Some((type_oid, typmod))) => (pg_type::has_input(type_oid)
                && self.is_readable(type_oid, typmod))
            .then(|| pg_type::type_name(type_oid, typmod)),
            Ok(None) => None,
            Err(why) => {
                warning(
                    "a type in a file's metadata is not understood",
                    format!(
                        "Column \"{}\" of file \"{}\" is said to be of type \"{text}\": {why}.",
                        self.name, first.path
                    ),
                    "The column is declared by the type of its values.",
                );
                None
            }
        }
    }

    /// Returns a type for all files; `None` if one of the files' types has no name in PostgreSQL.
    fn common_type(&self, files: &[DataFile]) -> Result<Option<String>> {
        // Any type suits a column whose values are all NULL.
        let kinds = self.kinds.iter().filter(|kind| kind.data_type != DataType::Null);
        let Some(types) = kinds.map(|kind| kind.sql_type.clone()).collect::<Option<Vec<_>>>() else {
            return Ok(None);
        };
        let Some(first) = types.first() else { return Ok(Some("text".into())) };
        let common = types.iter().fold(first.clone(), |one, other| common_type(&one, other));
        let are_numbers = ["smallint", "integer", "bigint", "real", "double precision"];
        let is_text = common == "text" && types.iter().all(|name| are_numbers.contains(&name.as_str()));
        Ok(Some(if is_text && self.fits_double(files)? { "double precision".into() } else { common }))
    }

    /// Returns whether a double is known to hold the integers of all files.
    fn fits_double(&self, files: &[DataFile]) -> Result<bool> {
        for file in files {
            check_for_interrupts();
            let meta = metadata(&open(&file.path)?)?;
            let at = meta.find(&self.name, Some(self.occurrence)).ok().flatten();
            if at.is_some_and(|at| !meta.fits_double(at)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn warn(&self, chosen: &str) {
        let is_text =
            |kind: &Kind| kind.data_type == DataType::Null || kind.sql_type.as_deref() == Some("text");
        if chosen == "text" && !self.kinds.iter().all(is_text) {
            warning(
                "a column is declared as text",
                format!("Column \"{}\" is of the Arrow types {}.", self.name, self.types()),
                "Declare a type that all of its values have.",
            );
        }
        if chosen.ends_with("[]") && self.kinds.iter().any(|kind| is_ragged(&kind.data_type)) {
            warning(
                "lists in lists become an array of several dimensions",
                format!(
                    "Rows of column \"{}\" whose inner lists differ in length, or are NULL, are an error.",
                    self.name
                ),
                "Declare the column as json if there are such rows.",
            );
        }
    }
}

/// Returns whether inner lists may differ in length.
fn is_ragged(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            let is_fixed = matches!(item.data_type(), DataType::FixedSizeList(..)) && !item.is_nullable();
            list_depth(item.data_type()) > 0 && (!is_fixed || is_ragged(item.data_type()))
        }
        DataType::Dictionary(_, values) => is_ragged(values),
        _ => false,
    }
}

/// Returns the keys of the files' paths, with types that their values have.
pub fn virtual_keys(files: &[DataFile], pattern: Option<&Pattern>) -> Vec<Key> {
    let numbers: Vec<(&str, bool)> = pattern.into_iter().flat_map(Pattern::keys).collect();
    let mut keys: Vec<Key> = Vec::new();
    for (name, value) in files.iter().flat_map(|file| &file.keys) {
        let asked = numbers.iter().find(|(known, _)| known == name).map(|(_, is_number)| *is_number);
        let is_integer = value.as_ref().is_none_or(|value| value.parse::<i64>().is_ok());
        let sql_type = match (asked, is_integer) {
            (Some(true) | None, true) => "bigint",
            (Some(true), false) => "numeric",
            _ => "text",
        };
        match keys.iter_mut().find(|key| key.name == *name) {
            Some(key) => {
                key.files += 1;
                key.sql_type = if key.sql_type == "bigint" { sql_type } else { key.sql_type };
            }
            None => keys.push(Key { name: name.clone(), sql_type, files: 1 }),
        }
    }
    keys
}
