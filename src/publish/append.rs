//! Appends record batches to an existing Arrow file.
//!
//! The file itself is only read: its record batches are copied to the temporary file, followed by the new ones and a
//! footer that lists all of them. The temporary file is then renamed over the old one, as in every export. A lock on
//! the file keeps two appends from overwriting each other.

use std::fs::{self, File, TryLockError};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use arrow::ipc::{Block, MetadataVersion};

use super::Writer;
use crate::encode::ipc::file;
use crate::fdw::{IpcMeta, Problem, ReadError, Source};
use crate::foreign::report;
use crate::interrupts::check;
use crate::pg::encoding::in_message;
use crate::pg::error::{Code, Error, Result, error, file_error};
use crate::types::{self, Kind, Shape, Shapes};

/// The size of one copy between files; a check for a cancel precedes each.
const COPY_BYTES: u64 = 64 << 20;

/// The existing file. Only the leader uses it.
#[derive(Debug)]
pub struct Append {
    path: String,
    /// The open file, which holds the lock.
    source: Source,
    schema: Schema,
    pub blocks: Vec<Block>,
    pub metadata: Vec<(String, String)>,
    /// The place of all record batches. The types of a file without record batches are ignored.
    batches: Option<Range<u64>>,
}

impl Append {
    pub fn open(path: &str) -> Result<Append> {
        let source = locked(path)?;
        let meta = IpcMeta::read(&source).map_err(unreadable)?;
        if meta.version() != MetadataVersion::V5 || meta.has_dictionaries() {
            return Err(misfit(path, "It has dictionaries, or is in a format before Arrow 1.0.".into()));
        }
        if let Some(column) = meta.left_out.first() {
            return Err(misfit(
                path,
                format!("Its column \"{}\" is of a type that is not known.", column.name),
            ));
        }
        let blocks = meta.blocks();
        let start = |block: &Block| block.offset() as u64;
        let end = |block: &Block| start(block) + block.metaDataLength() as u64 + block.bodyLength() as u64;
        let begin = blocks.iter().map(start).min();
        let batches = begin.zip(blocks.iter().map(end).max()).map(|(begin, end)| begin..end);
        if batches.as_ref().is_some_and(|batches| !batches.end.is_multiple_of(8)) {
            return Err(misfit(path, "Its record batches do not end at a multiple of 8 bytes.".into()));
        }
        let (path, schema) = (path.to_owned(), Schema::clone(&meta.schema));
        Ok(Append { path, source, schema, blocks, metadata: meta.metadata, batches })
    }

    /// Returns where the new record batches begin; `None` if there are none before them.
    pub fn end(&self) -> Option<u64> {
        self.batches.as_ref().map(|batches| batches.end)
    }

    /// Widens the shapes to those of the file's types.
    pub fn seed(&self, fields: &[types::Field], shapes: &mut Shapes) {
        let found = self.schema.fields().iter().filter(|_| self.batches.is_some());
        for (field, found) in fields.iter().zip(found) {
            seed(&field.kind, found.data_type(), shapes);
        }
    }

    /// Returns the schema of all record batches: that of the file, with decimals as wide and fields as nullable as
    /// the new ones need.
    pub fn merged(&self, new: &Schema) -> Result<Schema> {
        let names = |schema: &Schema| {
            let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            names.join(", ")
        };
        if names(&self.schema) != names(new) {
            let (old, new) = (names(&self.schema), names(new));
            return Err(misfit(&self.path, format!("The file has the columns {old}; the export has {new}.")));
        }
        let Some(batches) = &self.batches else { return Ok(new.clone()) };
        let fields = self.schema.fields().iter().zip(new.fields());
        let merge = |(old, new): (&Arc<Field>, &Arc<Field>)| {
            merged(old, new).ok_or_else(|| {
                let (name, old, new) = (old.name(), old.data_type(), new.data_type());
                misfit(&self.path, format!("Column \"{name}\" is {old} in the file and {new} in the export."))
            })
        };
        let fields = fields.map(merge).collect::<Result<Vec<Field>>>()?;
        let schema = Schema::new_with_metadata(fields, self.schema.metadata().clone());
        if schema != self.schema && file::header(&schema).len() as u64 != batches.start {
            let detail = "A decimal has to become wider, or a field nullable, and the file's beginning has no room to say so.";
            return Err(misfit(&self.path, detail.into()));
        }
        Ok(schema)
    }

    /// Writes the file's record batches after a header for `schema`. Returns where they end.
    pub fn copy(&self, schema: &Schema, writer: &Writer) -> Result<u64> {
        let end = self.end();
        writer.take_over(self.source.file(), end.unwrap_or(0), COPY_BYTES)?;
        if end.is_none() || *schema != self.schema {
            let header = file::header(schema);
            writer.write_at(&header, 0)?;
            return Ok(end.unwrap_or(header.len() as u64));
        }
        Ok(end.unwrap_or(0))
    }

    /// Checks, before the rename, that the file is still the one that was copied.
    pub fn check_unchanged(&self) -> Result<()> {
        Source::reopen(self.source.id()).map(|_| ()).map_err(unreadable)
    }
}

/// Opens and locks the file at `path`. If the file was replaced between opening and locking, the append would replace
/// another one, so the new file is tried.
fn locked(path: &str) -> Result<Source> {
    if fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink()) {
        return Err(error(Code::ERRCODE_WRONG_OBJECT_TYPE, format!("\"{path}\" is a symbolic link"))
            .set_hint("Pass the path that the link leads to."));
    }
    loop {
        check();
        let source = Source::open(path).map_err(unreadable)?;
        lock(source.file(), path)?;
        let now = Source::open(path).map_err(unreadable)?;
        if now.id() == source.id() {
            return Ok(source);
        }
    }
}

/// Locks the file. The lock ends with the descriptor, however the process ends.
fn lock(file: &File, path: &str) -> Result<()> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            Err(error(Code::ERRCODE_LOCK_NOT_AVAILABLE, format!("another export appends to \"{path}\""))
                .set_hint("Wait for it to end."))
        }
        // Without a lock, one of two appends could be lost.
        Err(TryLockError::Error(cause)) => Err(file_error("lock file", Path::new(path), &cause)),
    }
}

fn seed(kind: &Kind, found: &DataType, shapes: &mut Shapes) {
    match (kind, found) {
        (Kind::Numeric { shape_index }, DataType::Decimal128(precision, scale)) => {
            let scale = (*scale).max(0) as u16;
            shapes.merge(*shape_index, Shape::numeric(u16::from(*precision).saturating_sub(scale), scale));
        }
        (Kind::Numeric { shape_index } | Kind::List { shape_index, .. }, DataType::Utf8) => {
            shapes.merge(*shape_index, Shape::TEXT);
        }
        (Kind::List { shape_index, element }, DataType::List(_)) => {
            let (mut dimensions, mut inner) = (0, found);
            while let DataType::List(field) = inner {
                (dimensions, inner) = (dimensions + 1, field.data_type());
            }
            shapes.merge(*shape_index, Shape::list(dimensions.min(6)));
            seed(&element.kind, inner, shapes);
        }
        (Kind::Struct { fields }, DataType::Struct(found)) => {
            fields.iter().zip(found).for_each(|(field, found)| seed(&field.kind, found.data_type(), shapes));
        }
        _ => {}
    }
}

/// Returns a field that describes the values of both; `None` if their bytes differ.
fn merged(old: &Field, new: &Field) -> Option<Field> {
    let child = |old: &Arc<Field>, new: &Arc<Field>| merged(old, new).map(Arc::new);
    let data_type = match (old.data_type(), new.data_type()) {
        (DataType::Decimal128(p, scale), DataType::Decimal128(q, other)) if scale == other => {
            DataType::Decimal128(*p.max(q), *scale)
        }
        (DataType::List(old), DataType::List(new)) => DataType::List(child(old, new)?),
        (DataType::Struct(olds), DataType::Struct(news)) if olds.len() == news.len() => {
            let fields = olds
                .iter()
                .zip(news)
                .map(|(old, new)| (old.name() == new.name()).then(|| child(old, new))?);
            DataType::Struct(fields.collect::<Option<Vec<_>>>()?.into())
        }
        (old, new) => (old == new).then(|| old.clone())?,
    };
    let nullable = old.is_nullable() || new.is_nullable();
    Some(old.clone().with_data_type(data_type).with_nullable(nullable))
}

fn unreadable(found: ReadError) -> Error {
    match found.problem {
        Problem::Damaged(why) => {
            error(Code::ERRCODE_DATA_CORRUPTED, format!("cannot append to \"{}\"", found.path))
                .set_detail(in_message(why))
                .set_hint(
                    "It is not a whole Arrow IPC file. Export to another file, or pass overwrite => true.",
                )
        }
        Problem::Io(what, cause) => file_error(what, Path::new(&found.path), &cause),
        _ => report(found),
    }
}

fn misfit(path: &str, detail: String) -> Error {
    error(Code::ERRCODE_DATATYPE_MISMATCH, format!("cannot append to \"{path}\""))
        .set_detail(detail)
        .set_hint("Export to another file, or a query that casts its columns to the file's types.")
}
