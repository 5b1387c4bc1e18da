//! The columns that a query refers to, and what each is in a file.

use pgrx::pg_sys::Oid;

use super::column::Converter;
use super::options::ColumnSource;
use crate::fdw::{FileMeta, Keys};
use crate::pg::encoding::in_message;
use crate::pg::error::{Code, Error, Result, error};
use crate::pg::pg_type;

/// A column that the query refers to.
pub struct TableColumn {
    /// The column's number in the foreign table, from 0.
    pub index: usize,
    pub number: i16,
    pub name: String,
    pub type_oid: Oid,
    pub typmod: i32,
    pub source: ColumnSource,
    /// If a file does not have the column, it is NULL there.
    pub may_be_missing: bool,
    /// The executor sees it. Other columns are read for the scan's own conditions and aggregates only.
    pub is_shown: bool,
}

/// A column of the table in a file: its place in the batches, or the same value in every row.
pub enum FileColumn {
    Read(usize, Converter),
    Constant(Converter),
}

impl TableColumn {
    pub fn type_name(&self) -> String {
        pg_type::type_name(self.type_oid, self.typmod)
    }

    /// Returns which column of a file it is.
    pub fn place(&self, meta: &FileMeta, keys: &Keys) -> Option<usize> {
        match &self.source {
            _ if self.key(keys).is_some() => None,
            ColumnSource::Named(name) => meta.find(name, None).ok().flatten(),
            ColumnSource::Field(field, occurrence) => meta.find(field, *occurrence).ok().flatten(),
            _ => None,
        }
    }

    /// Returns the key of a file's path that tells the values, if there is one.
    pub fn key(&self, keys: &Keys) -> Option<&str> {
        match &self.source {
            ColumnSource::Virtual(key) => Some(key),
            ColumnSource::Named(name) => keys.iter().any(|(key, _)| key == name).then_some(name),
            _ => None,
        }
    }

    /// Returns where a file has the column, and how it becomes values.
    pub fn in_file(&self, meta: &FileMeta, keys: &Keys) -> Result<FileColumn> {
        let path = &meta.id.path;
        match &self.source {
            ColumnSource::Named(key) if self.key(keys).is_some() => {
                self.of_path(path, keys, key).map(FileColumn::Constant)
            }
            ColumnSource::Named(field) => self.in_schema(meta, field, None),
            ColumnSource::Field(field, occurrence) => self.in_schema(meta, field, *occurrence),
            ColumnSource::Virtual(key) => self.of_path(path, keys, key).map(FileColumn::Constant),
            ColumnSource::Metadata(key) => self.of_text(path, meta.metadata(key)).map(FileColumn::Constant),
            ColumnSource::MetadataSplit(key) => self.of_group(meta, key, 0).map(FileColumn::Constant),
        }
    }

    fn in_schema(&self, meta: &FileMeta, field: &str, occurrence: Option<usize>) -> Result<FileColumn> {
        let path = &meta.id.path;
        if let Some(left_out) = meta.left_out.iter().find(|column| column.name == *field) {
            return Err(error(
                Code::ERRCODE_FEATURE_NOT_SUPPORTED,
                format!("column \"{field}\" of file \"{path}\" cannot be read"),
            )
            .set_detail(in_message(format!("What is the matter: {}.", left_out.why)))
            .set_hint("The file's other columns can be read without it."));
        }
        let at = match meta.find(field, occurrence) {
            Ok(Some(at)) => at,
            Ok(None) if self.may_be_missing => return self.of_text(path, None).map(FileColumn::Constant),
            Ok(None) => return Err(self.missing(meta, field)),
            Err(count) => {
                return Err(error(
                    Code::ERRCODE_AMBIGUOUS_COLUMN,
                    format!("file \"{path}\" has {count} columns \"{field}\""),
                )
                .set_hint(
                    "The option occurrence of a foreign table's column says which of them it is, from 1.",
                ));
            }
        };
        let data_type = meta.schema().field(at).data_type();
        match Converter::new(self.type_oid, self.typmod, data_type) {
            Some(value) => Ok(FileColumn::Read(at, value)),
            None => Err(self.unreadable(meta, at)),
        }
    }

    fn missing(&self, meta: &FileMeta, field: &str) -> Error {
        let names: Vec<&str> = meta.schema().fields().iter().map(|field| field.name().as_str()).collect();
        error(
            Code::ERRCODE_FDW_COLUMN_NAME_NOT_FOUND,
            format!("file \"{}\" has no column \"{field}\"", meta.id.path),
        )
        .set_detail(in_message(format!("Its columns are: {}.", names.join(", "))))
        .set_hint(
            "Names are compared case included; the column options field and occurrence name another one. With the \
             table option missing_columns 'null' a column that may be NULL need not be in every file.",
        )
    }

    fn unreadable(&self, meta: &FileMeta, at: usize) -> Error {
        let field = meta.schema().field(at);
        let suits = |name: &&str| {
            pg_type::type_of_name(name)
                .is_some_and(|(of, typmod)| Converter::new(of, typmod, field.data_type()).is_some())
        };
        let own = meta.sql_type(at);
        let mut types: Vec<&str> = own.as_deref().into_iter().chain(["text"]).filter(suits).collect();
        types.dedup();
        let (code, hint) = match types.first() {
            Some(_) => {
                (Code::ERRCODE_FDW_INVALID_DATA_TYPE, format!("Declare it as {}.", types.join(" or ")))
            }
            None => (
                Code::ERRCODE_FEATURE_NOT_SUPPORTED,
                "Values of this type are not read: leave the column out of the query.".into(),
            ),
        };
        let (name, path) = (field.name(), &meta.id.path);
        error(
            code,
            format!("column \"{name}\" of file \"{path}\" cannot be read as type {}", self.type_name()),
        )
        .set_detail(in_message(format!("It is of the Arrow type {}.", field.data_type())))
        .set_hint(hint)
    }

    /// Returns the value in a group's rows of a key whose value is a list; NULL past the list's end.
    pub fn of_group(&self, meta: &FileMeta, key: &str, group: usize) -> Result<Converter> {
        self.of_text(&meta.id.path, meta.metadata(key).and_then(|list| list.split(',').nth(group)))
    }

    /// Returns the value of a key in the rows of a file.
    pub fn of_path(&self, path: &str, keys: &Keys, key: &str) -> Result<Converter> {
        match keys.iter().find(|(known, _)| known == key) {
            Some((_, text)) => self.of_text(path, text.as_deref()),
            None if self.may_be_missing => self.of_text(path, None),
            None => Err(error(
                Code::ERRCODE_FDW_COLUMN_NAME_NOT_FOUND,
                format!("the path of file \"{path}\" has no key \"{key}\""),
            )
            .set_hint(
                "Keys come from the table's option pattern, and from directories named key=value. With the table \
                 option missing_columns 'null' a column that may be NULL need not be in every path.",
            )),
        }
    }

    fn of_text(&self, path: &str, text: Option<&str>) -> Result<Converter> {
        let failed = |why: Error| why.set_hint("Give the virtual column a type that its values have.");
        match Converter::constant(self.type_oid, self.typmod, text) {
            Some(Ok(value)) => Ok(value),
            Some(Err(failure)) => Err(failed(failure.report(path, &self.name, 1, &self.type_name()))),
            None => Err(failed(error(
                Code::ERRCODE_FDW_INVALID_DATA_TYPE,
                format!("column \"{}\" of type {} cannot be virtual", self.name, self.type_name()),
            ))),
        }
    }
}
