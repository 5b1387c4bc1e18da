//! The ends of the files: what comes before the first row group or record batch, and behind the last.

use std::rc::Rc;

use arrow::ipc::Block;

use super::message::{Part, Report};
use super::sink::encode_error;
use crate::encode::footer::{CREATED_BY, MAGIC, write_footer};
use crate::encode::ipc::{self, BatchMeta, file};
use crate::encode::{self, FileSchema, RowGroupMeta, exact_shapes};
use crate::memory::room_for;
use crate::pg::error::{Result, internal};
use crate::plan::{Format, Job};
use crate::publish::{Append, Staged, Writer};

/// One finished file.
pub struct Finished {
    pub index: usize,
    pub groups: usize,
    pub rows: u64,
    pub bytes: u64,
}

/// A file's format as its ends know it: once all values are, and with them the final schema.
trait Ends: Sized {
    /// A row group's or record batch's metadata.
    type Meta;

    fn decode(metadata: &[u8]) -> encode::Result<Self::Meta>;
    fn new(job: &Job, metas: &[Self::Meta]) -> Result<Self>;
    /// Writes what comes before the first row group or record batch; how long it is.
    fn begin(&self, writer: &Writer) -> Result<u64>;
    /// What the file ends with, from `end` on.
    fn footer(&self, end: u64, metas: &[Self::Meta]) -> encode::Result<Vec<u8>>;
}

struct Parquet(FileSchema);

impl Ends for Parquet {
    type Meta = RowGroupMeta;

    fn decode(metadata: &[u8]) -> encode::Result<RowGroupMeta> {
        RowGroupMeta::decode(metadata)
    }

    /// With each numeric column's precision as the row groups' statistics show it.
    fn new(job: &Job, metas: &[RowGroupMeta]) -> Result<Parquet> {
        let fields = job.fields();
        let schema = FileSchema::new(&fields, &exact_shapes(&fields, &job.shapes, metas));
        schema.map(Parquet).map_err(encode_error)
    }

    fn begin(&self, writer: &Writer) -> Result<u64> {
        writer.write_at(MAGIC, 0)?;
        Ok(MAGIC.len() as u64)
    }

    fn footer(&self, end: u64, metas: &[RowGroupMeta]) -> encode::Result<Vec<u8>> {
        let mut footer = Vec::new();
        write_footer(&mut footer, end, &self.0, metas, Vec::new(), CREATED_BY)?;
        Ok(footer)
    }
}

struct Arrow {
    schema: arrow::datatypes::Schema,
    append: Option<Rc<Append>>,
}

impl Ends for Arrow {
    type Meta = BatchMeta;

    fn decode(metadata: &[u8]) -> encode::Result<BatchMeta> {
        BatchMeta::decode(metadata)
    }

    fn new(job: &Job, metas: &[BatchMeta]) -> Result<Arrow> {
        let fields = job.fields();
        let shapes = ipc::exact_shapes(&fields, &job.shapes, metas);
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

    fn footer(&self, _end: u64, metas: &[BatchMeta]) -> encode::Result<Vec<u8>> {
        let (before, metadata) = match &self.append {
            Some(append) => (append.blocks.as_slice(), append.metadata.as_slice()),
            None => (&[][..], &[][..]),
        };
        let blocks: Vec<Block> = before.iter().copied().chain(metas.iter().map(BatchMeta::block)).collect();
        file::footer(&self.schema, &blocks, metadata)
    }
}

/// Bytes at the start of each file that are left to the leader. An Arrow file's final header is as long as
/// the one that the shapes in force make.
pub fn head(job: &Job, format: &Format) -> Result<u64> {
    let appended = job.append.as_ref().and_then(|append| append.end());
    Ok(match (format, appended) {
        (Format::Parquet { .. }, _) => MAGIC.len() as u64,
        (Format::Arrow { .. }, Some(end)) => end,
        (Format::Arrow { .. }, None) => {
            let schema = FileSchema::new(&job.fields(), &job.shapes).map_err(encode_error)?;
            file::header(&schema.arrow_file()).len() as u64
        }
    })
}

/// Writes each file's header and footer, in `ctid` order of its parts, and syncs it. Files that nothing was
/// written to are dropped, but for one.
pub fn finish(job: &Job, format: &Format, report: Report, staged: &Staged) -> Result<Vec<Finished>> {
    match format {
        Format::Parquet { .. } => finish_files::<Parquet>(job, report, staged),
        Format::Arrow { .. } => finish_files::<Arrow>(job, report, staged),
    }
}

fn finish_files<E: Ends>(job: &Job, report: Report, staged: &Staged) -> Result<Vec<Finished>> {
    let mut parts = report.parts;
    parts.sort_by_key(|part| (part.chunk, part.sequence));
    // Decoded, and encoded again, by what knows no failure.
    room_for(16 * parts.iter().map(|part| part.metadata.len()).sum::<usize>())?;
    let metas = parts.iter().map(|part| E::decode(&part.metadata)).collect::<encode::Result<Vec<_>>>();
    let metas = metas.map_err(encode_error)?;
    let ends = E::new(job, &metas)?;
    let mut by_file: Vec<(Vec<Part>, Vec<E::Meta>)> =
        staged.files.iter().map(|_| Default::default()).collect();
    for (part, meta) in parts.into_iter().zip(metas) {
        let (parts, metas) = &mut by_file[part.file];
        parts.push(part);
        metas.push(meta);
    }
    let any = by_file.iter().any(|(parts, _)| !parts.is_empty());
    let mut finished = Vec::new();
    for (index, (parts, metas)) in by_file.into_iter().enumerate() {
        if parts.is_empty() && (any || index > 0) {
            staged.discard(index)?;
            continue;
        }
        finished.push(finish_file(index, &parts, &metas, &ends, staged)?);
    }
    Ok(finished)
}

fn finish_file<E: Ends>(
    index: usize,
    parts: &[Part],
    metas: &[E::Meta],
    ends: &E,
    staged: &Staged,
) -> Result<Finished> {
    let writer = Writer::open(&staged.files[index])?;
    let begin = ends.begin(&writer)?;
    let first = parts.iter().map(|part| part.offset).min();
    if first.is_some_and(|first| first != begin) {
        return Err(internal("a file's header is not as long as was left for it"));
    }
    let end = parts.iter().map(|part| part.offset + part.bytes).max().unwrap_or(begin);
    let footer = ends.footer(end, metas).map_err(encode_error)?;
    writer.write_at(&footer, end)?;
    let bytes = end + footer.len() as u64;
    writer.sync(bytes)?;
    let rows = parts.iter().map(|part| part.rows).sum();
    Ok(Finished { index, groups: parts.len(), rows, bytes })
}
