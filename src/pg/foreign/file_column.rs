//! The columns that a query refers to, and what each is in a file.

use pgrx::pg_sys::Oid;

use super::column::Value;
use super::options::ColumnSource;
use crate::fdw::{FileMeta, Keys};
use crate::pg::catalog;
use crate::pg::encoding::in_message;
use crate::pg::error::{Code, Error, Result, error};

/// A column that the query refers to.
pub struct Column {
    /// From 0, in the foreign table.
    pub index: usize,
    pub number: i16,
    pub name: String,
    pub type_oid: Oid,
    pub typmod: i32,
    pub source: ColumnSource,
    /// Files may be without it: it is NULL there.
    pub may_be_missing: bool,
    /// The executor sees it; the others serve the scan's own conditions and aggregates.
    pub is_shown: bool,
}

/// How a file has a column of the table: where in the batches, or the same value in every row.
pub enum FileColumn {
    Read(usize, Value),
    Constant(Value),
}

impl Column {
    pub fn type_name(&self) -> String {
        catalog::type_name(self.type_oid, self.typmod)
    }

    /// Which column of a file it is.
    pub fn place(&self, meta: &FileMeta) -> Option<usize> {
        match &self.source {
            ColumnSource::Field(field) => meta.schema().fields().find(field).map(|(at, _)| at),
            _ => None,
        }
    }

    /// Where a file has the column, and how it becomes values.
    pub fn in_file(&self, meta: &FileMeta, keys: &Keys) -> Result<FileColumn> {
        let path = &meta.id.path;
        match &self.source {
            ColumnSource::Field(field) => self.in_schema(meta, field),
            ColumnSource::Virtual(_) => self.of_path(path, keys).map(FileColumn::Constant),
            ColumnSource::Metadata(key) => self.of_text(path, meta.metadata(key)).map(FileColumn::Constant),
            ColumnSource::MetadataSplit(key) => self.of_group(meta, key, 0).map(FileColumn::Constant),
        }
    }

    fn in_schema(&self, meta: &FileMeta, field: &str) -> Result<FileColumn> {
        let path = &meta.id.path;
        let Some((at, found)) = meta.schema().fields().find(field) else {
            if let Some(left_out) = meta.left_out.iter().find(|column| column.name == *field) {
                return Err(error(
                    Code::ERRCODE_FEATURE_NOT_SUPPORTED,
                    format!("column \"{field}\" of file \"{path}\" cannot be read"),
                )
                .set_detail(in_message(format!("What is the matter: {}.", left_out.why)))
                .set_hint("The file's other columns can be read without it."));
            }
            if self.may_be_missing {
                return self.of_text(path, None).map(FileColumn::Constant);
            }
            let names: Vec<&str> = meta.schema().fields().iter().map(|field| field.name().as_str()).collect();
            return Err(error(
                Code::ERRCODE_FDW_COLUMN_NAME_NOT_FOUND,
                format!("file \"{path}\" has no column \"{field}\""),
            )
            .set_detail(in_message(format!("Its columns are: {}.", names.join(", "))))
            .set_hint(
                "Names are compared case included; the column option field names another one. With the table option \
                 missing_columns 'null' a column that may be NULL need not be in every file.",
            ));
        };
        let Some(value) = Value::new(self.type_oid, self.typmod, found.data_type()) else {
            return Err(error(
                Code::ERRCODE_FDW_INVALID_DATA_TYPE,
                format!("column \"{field}\" of file \"{path}\" cannot be read as type {}", self.type_name()),
            )
            .set_detail(in_message(format!("It is of the Arrow type {}.", found.data_type())))
            .set_hint("Declare the column as IMPORT FOREIGN SCHEMA does."));
        };
        Ok(FileColumn::Read(at, value))
    }

    /// The value in a group's rows of a key whose value is a list; NULL behind the list's end.
    pub fn of_group(&self, meta: &FileMeta, key: &str, group: usize) -> Result<Value> {
        self.of_text(&meta.id.path, meta.metadata(key).and_then(|list| list.split(',').nth(group)))
    }

    /// A virtual column's value in the rows of a file.
    pub fn of_path(&self, path: &str, keys: &Keys) -> Result<Value> {
        let ColumnSource::Virtual(key) = &self.source else { return self.of_text(path, None) };
        match keys.iter().find(|(known, _)| known == key) {
            Some((_, text)) => self.of_text(path, text.as_deref()),
            None => Err(error(
                Code::ERRCODE_FDW_COLUMN_NAME_NOT_FOUND,
                format!("the path of file \"{path}\" has no key \"{key}\""),
            )
            .set_hint("Keys come from the table's option pattern, and from directories named key=value.")),
        }
    }

    fn of_text(&self, path: &str, text: Option<&str>) -> Result<Value> {
        let failed = |why: Error| why.set_hint("Give the virtual column a type that its values have.");
        match Value::constant(self.type_oid, self.typmod, text) {
            Some(Ok(value)) => Ok(value),
            Some(Err(failure)) => Err(failed(failure.report(path, &self.name, 1, &self.type_name()))),
            None => Err(failed(error(
                Code::ERRCODE_FDW_INVALID_DATA_TYPE,
                format!("column \"{}\" of type {} cannot be virtual", self.name, self.type_name()),
            ))),
        }
    }
}
