//! Writes headers and footers: what precedes the first row group or record batch, and what follows the last.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::rc::Rc;

use super::group_builder::encode_error;
use super::message::{Part, Report};
use crate::encode::footer::{CREATED_BY, MAGIC, write_footer};
use crate::encode::ipc::{self, BatchMeta, file};
use crate::encode::{self, EncodeError, FileSchema, Magnitudes, RowGroupMeta, RowGroups, exact_shapes};
use crate::pg::check_for_interrupts;
use crate::pg::error::{Error, Result, internal};
use crate::plan::{Format, Job};
use crate::publish::{Append, Staged, Writer};
use crate::types::Shapes;

/// One finished file.
pub struct Finished {
    pub index: usize,
    pub groups: usize,
    pub rows: u64,
    pub bytes: u64,
}

/// Metadata of row groups or record batches, read one at a time in the order of the rows.
struct Metas<'r> {
    report: &'r Report,
    parts: &'r [Part],
}

impl Metas<'_> {
    fn each(&self, see: &mut dyn FnMut(&[u8]) -> encode::Result<()>) -> encode::Result<()> {
        let mut reader = self.report.metadata();
        for part in self.parts {
            check_for_interrupts();
            let metadata = reader.of(part).map_err(|cause| EncodeError::Invalid(cause.to_string()))?;
            see(metadata)?;
        }
        Ok(())
    }
}

impl RowGroups for Metas<'_> {
    fn each(&self, see: &mut dyn FnMut(&RowGroupMeta) -> encode::Result<()>) -> encode::Result<()> {
        self.each(&mut |metadata| see(&RowGroupMeta::decode(metadata)?))
    }
}

/// Writes a format's header and footer, once all values and with them the final schema are known.
trait Ends: Sized {
    fn new(job: &Job, shapes: &Shapes, metas: &Metas) -> Result<Self>;
    /// Writes what precedes the first row group or record batch; returns its length.
    fn begin(&self, writer: &Writer) -> Result<u64>;
    /// Writes what follows the last one, at `end`; returns its length.
    fn footer(&self, end: u64, metas: &Metas, out: &mut dyn Write) -> encode::Result<u64>;
}

struct Parquet(FileSchema);

impl Ends for Parquet {
    /// Makes the schema, with each numeric column's precision as the row groups' statistics show it.
    fn new(job: &Job, shapes: &Shapes, metas: &Metas) -> Result<Parquet> {
        let fields = job.reading.fields();
        let mut magnitudes = Magnitudes::default();
        let add = &mut |metadata: &[u8]| {
            magnitudes.add(&RowGroupMeta::decode(metadata)?);
            Ok(())
        };
        metas.each(add).map_err(encode_error)?;
        let schema = FileSchema::new(&fields, &exact_shapes(&fields, shapes, &magnitudes));
        schema.map(Parquet).map_err(encode_error)
    }

    fn begin(&self, writer: &Writer) -> Result<u64> {
        writer.write_at(MAGIC, 0)?;
        Ok(MAGIC.len() as u64)
    }

    fn footer(&self, end: u64, metas: &Metas, out: &mut dyn Write) -> encode::Result<u64> {
        write_footer(out, end, &self.0, metas, Vec::new(), CREATED_BY)
    }
}

struct Arrow {
    schema: arrow::datatypes::Schema,
    append: Option<Rc<Append>>,
}

impl Ends for Arrow {
    fn new(job: &Job, shapes: &Shapes, metas: &Metas) -> Result<Arrow> {
        let fields = job.reading.fields();
        let mut digits = BTreeMap::new();
        let add = &mut |metadata: &[u8]| {
            BatchMeta::decode(metadata)?.add_digits(&mut digits);
            Ok(())
        };
        metas.each(add).map_err(encode_error)?;
        let shapes = ipc::exact_shapes(&fields, shapes, &digits);
        let schema = FileSchema::new(&fields, &shapes).map_err(encode_error)?.arrow_file();
        Ok(match &job.append {
            Some(append) => Arrow { schema: append.merged(&schema)?, append: Some(append.clone()) },
            None => Arrow { schema, append: None },
        })
    }

    fn begin(&self, writer: &Writer) -> Result<u64> {
        if let Some(append) = &self.append {
            return append.copy(&self.schema, writer);
        }
        let header = file::header(&self.schema);
        writer.write_at(&header, 0)?;
        Ok(header.len() as u64)
    }

    fn footer(&self, _end: u64, metas: &Metas, out: &mut dyn Write) -> encode::Result<u64> {
        let (mut blocks, metadata) = match &self.append {
            Some(append) => (append.blocks.clone(), append.metadata.as_slice()),
            None => (Vec::new(), &[][..]),
        };
        metas.each(&mut |metadata| {
            blocks.push(BatchMeta::decode(metadata)?.block());
            Ok(())
        })?;
        let footer = file::footer(&self.schema, &blocks, metadata)?;
        out.write_all(&footer)?;
        Ok(footer.len() as u64)
    }
}

/// Buffers writes to a file from an offset on.
struct Tail<'w> {
    writer: &'w Writer,
    at: u64,
    pending: Vec<u8>,
    /// The error of the failed write, which the encoder's error does not carry.
    failed: Option<Error>,
}

const PIECE: usize = 1 << 20;

impl Tail<'_> {
    fn put(&mut self) -> io::Result<()> {
        if let Err(cause) = self.writer.write_at(&self.pending, self.at) {
            self.failed = Some(cause);
            return Err(io::Error::other("not written"));
        }
        self.at += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }
}

impl Write for Tail<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= PIECE {
            self.put()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.put()
    }
}

/// Returns how many bytes at the start of each file are left to the leader. An Arrow file's final header is as
/// long as the one for the shapes in force.
pub fn head(job: &Job, shapes: &Shapes, format: &Format) -> Result<u64> {
    let appended = job.append.as_ref().and_then(|append| append.end());
    Ok(match (format, appended) {
        (Format::Parquet { .. }, _) => MAGIC.len() as u64,
        (Format::Arrow { .. }, Some(end)) => end,
        (Format::Arrow { .. }, None) => {
            let schema = FileSchema::new(&job.reading.fields(), shapes).map_err(encode_error)?;
            file::header(&schema.arrow_file()).len() as u64
        }
    })
}

/// Writes each file's header and footer, with the parts in `ctid` order, and syncs it. Empty files are removed,
/// except when all are: then one stays.
pub fn finish(
    job: &Job,
    shapes: &Shapes,
    format: &Format,
    report: Report,
    staged: &Staged,
) -> Result<Vec<Finished>> {
    match format {
        Format::Parquet { .. } => finish_files::<Parquet>(job, shapes, report, staged),
        Format::Arrow { .. } => finish_files::<Arrow>(job, shapes, report, staged),
    }
}

fn finish_files<E: Ends>(
    job: &Job,
    shapes: &Shapes,
    mut report: Report,
    staged: &Staged,
) -> Result<Vec<Finished>> {
    let mut parts = std::mem::take(&mut report.parts);
    parts.sort_by_key(|part| (part.chunk, part.sequence));
    let ends = E::new(job, shapes, &Metas { report: &report, parts: &parts })?;
    let mut by_file: Vec<Vec<Part>> = staged.files.iter().map(|_| Vec::new()).collect();
    for part in parts {
        by_file[part.file].push(part);
    }
    let any = by_file.iter().any(|parts| !parts.is_empty());
    let mut finished = Vec::new();
    for (index, parts) in by_file.into_iter().enumerate() {
        if parts.is_empty() && (any || index > 0) {
            staged.discard(index)?;
            continue;
        }
        finished.push(finish_file(index, &Metas { report: &report, parts: &parts }, &ends, staged)?);
    }
    Ok(finished)
}

fn finish_file<E: Ends>(index: usize, metas: &Metas, ends: &E, staged: &Staged) -> Result<Finished> {
    let parts = metas.parts;
    let writer = Writer::open(&staged.files[index])?;
    let begin = ends.begin(&writer)?;
    let first = parts.iter().map(|part| part.offset).min();
    if first.is_some_and(|first| first != begin) {
        return Err(internal("a file's header is not as long as was left for it"));
    }
    let end = parts.iter().map(|part| part.offset + part.bytes).max().unwrap_or(begin);
    let mut tail = Tail { writer: &writer, at: end, pending: Vec::new(), failed: None };
    let written = ends.footer(end, metas, &mut tail).and_then(|bytes| {
        tail.flush()?;
        Ok(end + bytes)
    });
    let bytes = written.map_err(|cause| tail.failed.take().unwrap_or_else(|| encode_error(cause)))?;
    writer.sync(bytes)?;
    let rows = parts.iter().map(|part| part.rows).sum();
    Ok(Finished { index, groups: parts.len(), rows, bytes })
}
