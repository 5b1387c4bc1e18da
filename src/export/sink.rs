//! Takes the rows of a chunk and makes row groups or record batches, the stream, or a survey of them.

use super::encoded;
use super::message::Report;
use super::shared::Shared;
use crate::decode::{NestedBuilder, decode_lane};
use crate::encode::footer::MAX_ROW_GROUPS;
use crate::encode::ipc::{BatchWriter, BufferCodec};
use crate::encode::{Codec, EncodeError, EncodedGroup, FileSchema, GroupWriter, Options, RowGroupWriter};
use crate::memory::{reserve, room_for};
use crate::pg::error::{Code, Error, Result, error, internal, lack_of_memory};
use crate::plan::{Format, Job, Output};
use crate::publish::Writer;
use crate::scan::{COLUMN_BYTES, Encoded, RowValues, Rows, Sink, value_error};
use crate::types::{Cell, Field, Kind, Lane, Reason, Repr, Shapes, ValueError};

/// Size of the pieces in which the stream is written.
const STREAM_BYTES: usize = 4 << 20;

pub struct ChunkSink<'j> {
    job: &'j Job,
    shared: Shared<'j>,
    file: usize,
    writer: Option<Writer>,
    chunk: usize,
    sequence: usize,
    body: Body,
    pub report: Report,
}

enum Body {
    Groups(Box<Columns>),
    Stream { bytes: Vec<u8>, rows: u64, write: bool },
    Survey(Shapes),
    Dropped(Lane),
}

struct Columns {
    fields: Vec<Field>,
    writer: GroupWriter,
    lanes: Vec<Lane>,
    /// Cells of a column that a device has returned.
    cells: Vec<Cell>,
    arena: Vec<u8>,
    group_rows: usize,
    group_bytes: usize,
}

impl<'j> ChunkSink<'j> {
    pub fn new(job: &'j Job, shared: Shared<'j>, number: usize) -> Result<ChunkSink<'j>> {
        let file = job.file_of(number);
        let body = match &job.output {
            Output::Groups { format, compression, rows, bytes } => {
                Body::Groups(Box::new(Columns::new(job, format, compression, *rows, *bytes)?))
            }
            Output::Stream { write } => Body::Stream { bytes: Vec::new(), rows: 0, write: *write },
            Output::Survey => Body::Survey(job.shapes.clone()),
            Output::Dropped => Body::Dropped(Lane::default()),
        };
        let writer = job.files.get(file).map(|path| Writer::open(path)).transpose()?;
        Ok(ChunkSink { job, shared, file, writer, chunk: 0, sequence: 0, body, report: Report::default() })
    }

    pub fn begin(&mut self, chunk: usize) {
        (self.chunk, self.sequence) = (chunk, 0);
    }

    /// Ends the chunk. A row group does not extend into the next chunk, which another process may have.
    pub fn end(&mut self) -> Result<()> {
        self.report.chunks += 1;
        self.close_part()
    }

    /// Shares what a survey has seen.
    pub fn finish(self) -> Report {
        if let Body::Survey(shapes) = &self.body {
            shapes.iter().enumerate().for_each(|(slot, shape)| self.shared.widen(slot, shape));
        }
        self.report
    }

    fn close_part(&mut self) -> Result<()> {
        match &mut self.body {
            Body::Groups(columns) if columns.writer.rows() > 0 => {
                let group = columns.writer.finish().map_err(encode_error)?;
                self.put_group(group)?;
            }
            Body::Stream { bytes, rows, .. } if !bytes.is_empty() => {
                let (mut piece, count) = (std::mem::take(bytes), std::mem::take(rows));
                self.put_stream(&piece, count)?;
                piece.clear();
                if let Body::Stream { bytes, .. } = &mut self.body {
                    *bytes = piece;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn put_stream(&mut self, piece: &[u8], rows: u64) -> Result<()> {
        let offset = self.shared.reserve(self.file, piece.len() as u64);
        if matches!(self.body, Body::Stream { write: true, .. }) {
            write(&self.writer, piece, offset)?;
        }
        self.add_part(offset, piece.len() as u64, rows, &[])
    }

    fn put_group(&mut self, group: EncodedGroup) -> Result<()> {
        let before = self.shared.add_group(self.file);
        if matches!(group, EncodedGroup::Parquet(_)) && before >= MAX_ROW_GROUPS {
            return Err(too_many_groups());
        }
        let offset = self.shared.reserve(self.file, group.len());
        let rows = group.rows() as u64;
        let metadata = group.metadata_at(offset).map_err(encode_error)?;
        let mut at = offset;
        for buffer in group.buffers() {
            write(&self.writer, buffer, at)?;
            at += buffer.len() as u64;
        }
        if let Body::Groups(columns) = &mut self.body {
            columns.writer.recycle(group);
        }
        self.add_part(offset, at - offset, rows, &metadata)
    }

    fn add_part(&mut self, offset: u64, bytes: u64, rows: u64, metadata: &[u8]) -> Result<()> {
        let at = (self.chunk, self.sequence);
        self.sequence += 1;
        self.report.add_part(at, self.file, (offset, bytes), rows, metadata)
    }

    /// Ends the pass in all processes when another pass with wider shapes may take the value.
    fn refused(&mut self, failed: ValueError, rows: &Rows, column: usize) -> Result<()> {
        match failed.reason {
            Reason::Misfit { shape_index, needs } => self.shared.widen(shape_index, needs),
            _ if self.job.may_become_text(column) => {}
            reason => return Err(column_error(self.job, rows, column, failed.row, &reason)),
        }
        self.shared.stop();
        Ok(())
    }
}

impl Sink for ChunkSink<'_> {
    fn rows(&mut self, mut rows: Rows) -> Result<()> {
        self.report.rows += rows.range.len() as u64;
        self.shared.add_progress(rows.range.len() as u64, 0);
        let whole = rows.range.clone();
        let mut start = whole.start;
        while start < whole.end && !self.stopped() {
            let columns = match &mut self.body {
                Body::Survey(shapes) => return survey(self.job, shapes, &mut rows),
                Body::Dropped(lane) => {
                    return match drop_rows(self.job, lane, &mut rows)? {
                        Some((failed, column)) => self.refused(failed, &rows, column),
                        None => Ok(()),
                    };
                }
                Body::Groups(columns) => columns,
                Body::Stream { .. } => return Err(internal("rows came where the stream was wanted")),
            };
            let end = whole.end.min(start + columns.group_rows - columns.writer.rows());
            rows.range = start..end;
            let full = match columns.append(&self.job.shapes, &mut rows)? {
                Appended::Refused(failed, column) => return self.refused(failed, &rows, column),
                Appended::Rows { full } => full,
            };
            if full {
                self.close_part()?;
            }
            start = end;
        }
        Ok(())
    }

    fn stream(&mut self, piece: &[u8], count: usize) -> Result<()> {
        self.report.rows += count as u64;
        self.shared.add_progress(count as u64, 0);
        if piece.len() >= STREAM_BYTES {
            self.close_part()?;
            return self.put_stream(piece, count as u64);
        }
        if let Body::Stream { bytes, rows, .. } = &mut self.body {
            reserve(bytes, piece.len())?;
            bytes.extend_from_slice(piece);
            *rows += count as u64;
            if bytes.len() >= STREAM_BYTES {
                self.close_part()?;
            }
        }
        Ok(())
    }

    fn group(&mut self, group: Encoded) -> Result<bool> {
        let Body::Groups(columns) = &mut self.body else {
            return Err(internal("a row group came where none was wanted"));
        };
        let rows = group.rows;
        let Some(adopted) = encoded::adopt(&mut columns.writer, &group).map_err(encode_error)? else {
            return Ok(false);
        };
        self.put_group(adopted)?;
        self.report.rows += rows;
        self.shared.add_progress(rows, 0);
        Ok(true)
    }

    fn stopped(&self) -> bool {
        self.shared.stopped()
    }
}

pub(super) fn parquet_writer(fields: &[Field], shapes: &Shapes, options: &Options) -> Result<RowGroupWriter> {
    let schema = FileSchema::new(fields, shapes).map_err(encode_error)?;
    RowGroupWriter::new(&schema, fields, shapes, options).map_err(encode_error)
}

/// Parses the codec of a file's pages, which the leader has checked.
pub(super) fn parse_codec(compression: &str) -> Result<Codec> {
    Codec::parse(compression).map_err(|cause| internal(cause.to_string()))
}

fn arrow_writer(
    fields: &[Field],
    shapes: &Shapes,
    compression: &str,
    stats: Option<&[String]>,
) -> Result<GroupWriter> {
    let codec = BufferCodec::parse(compression).map_err(|cause| internal(cause.to_string()))?;
    let is_stated = |field: &Field| stats.is_none_or(|names| names.contains(&field.name));
    let stated: Vec<bool> = fields.iter().map(is_stated).collect();
    let writer = BatchWriter::new(fields, shapes, codec, &stated).map_err(encode_error)?;
    Ok(GroupWriter::Arrow(Box::new(writer)))
}

enum Appended {
    Rows { full: bool },
    Refused(ValueError, usize),
}

impl Columns {
    fn new(job: &Job, format: &Format, compression: &str, rows: u64, bytes: u64) -> Result<Columns> {
        let fields = job.fields();
        let writer = match format {
            Format::Parquet { filters, split } => {
                let options = Options { codec: parse_codec(compression)?, values_only: false, split: *split };
                let mut writer = parquet_writer(&fields, &job.shapes, &options)?;
                let rows = usize::try_from(rows).unwrap_or(usize::MAX);
                for (column, field) in fields.iter().enumerate() {
                    if filters.contains(&field.name) {
                        writer.add_bloom_filter(column, rows).map_err(encode_error)?;
                    }
                }
                GroupWriter::Parquet(Box::new(writer))
            }
            Format::Arrow { stats } => arrow_writer(&fields, &job.shapes, compression, stats.as_deref())?,
        };
        Ok(Columns {
            lanes: vec![Lane::default(); fields.len()],
            cells: Vec::new(),
            arena: Vec::new(),
            fields,
            writer,
            group_rows: usize::try_from(rows).unwrap_or(usize::MAX),
            group_bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
        })
    }

    fn append(&mut self, shapes: &Shapes, rows: &mut Rows) -> Result<Appended> {
        for column in 0..self.fields.len() {
            crate::pg::check_for_interrupts();
            if let Err(failed) = self.append_column(column, shapes, rows)? {
                return Ok(Appended::Refused(failed, column));
            }
        }
        if self.fields.is_empty() {
            self.writer.append_rows(rows.range.len());
        }
        let large = || {
            self.writer.buffered_bytes() >= self.group_bytes
                || self.writer.largest_column_bytes() as u64 >= COLUMN_BYTES
        };
        let full = self.writer.rows() >= self.group_rows || rows.ends_batch && large();
        Ok(Appended::Rows { full })
    }

    fn append_column(
        &mut self,
        column: usize,
        shapes: &Shapes,
        rows: &mut Rows,
    ) -> Result<std::result::Result<(), ValueError>> {
        let range = rows.range.clone();
        let field = &self.fields[column];
        let lane = &mut self.lanes[column];
        let decoded = match &mut rows.values {
            RowValues::Cells { cells, arena, repr } => {
                return append_cells(
                    &mut self.writer,
                    column,
                    field,
                    shapes,
                    &cells[column][range],
                    *repr,
                    arena,
                    lane,
                );
            }
            RowValues::Decoded(decoded) => decoded,
        };
        if let Some(repr) = decoded.cells_repr(column, range.clone()) {
            let (cells, arena) = (&mut self.cells, &mut self.arena);
            decoded.cells(column, range, cells, arena)?;
            return append_cells(&mut self.writer, column, field, shapes, cells, repr, arena, lane);
        }
        let Some(physical) = field.kind.physical(shapes) else {
            return Err(internal("a nested column came back decoded"));
        };
        let bytes = decoded.lane(column, physical, range, lane)?;
        self.writer.append(column, lane, bytes).map_err(encode_error)?;
        Ok(Ok(()))
    }
}

/// Decodes cells and appends their values.
#[allow(clippy::too_many_arguments)] // parts of two structures, borrowed separately
pub(super) fn append_cells(
    writer: &mut GroupWriter,
    column: usize,
    field: &Field,
    shapes: &Shapes,
    cells: &[Cell],
    repr: Repr,
    arena: &mut Vec<u8>,
    lane: &mut Lane,
) -> Result<std::result::Result<(), ValueError>> {
    if field.kind.physical(shapes).is_none() {
        return match decode_nested(field, shapes, cells, arena)? {
            Ok(builder) => Ok(Ok(writer.append_nested(column, &builder.finish()).map_err(encode_error)?)),
            Err(failed) => Ok(Err(failed)),
        };
    }
    if let Err(failed) = decode_lane(&field.kind, repr, shapes, cells, arena, lane) {
        return Ok(Err(failed));
    }
    writer.append(column, lane, arena).map_err(encode_error)?;
    Ok(Ok(()))
}

/// Decodes nested cells if there is memory: Arrow's arrays, which grow here, cannot report a lack of it.
fn decode_nested(
    field: &Field,
    shapes: &Shapes,
    cells: &[Cell],
    arena: &[u8],
) -> Result<std::result::Result<NestedBuilder, ValueError>> {
    /// A buffer that grows exists twice for a moment, here and in the encoder.
    const GROWTH: usize = 6;
    room_for(GROWTH * cells.iter().map(|cell| cell.len()).sum::<usize>())?;
    let mut builder = NestedBuilder::new(field, shapes);
    Ok(builder.append(cells, arena).map(|()| builder))
}

/// Decodes the rows unless a device has, and drops the values. Returns the first value that cannot be
/// converted.
fn drop_rows(job: &Job, lane: &mut Lane, rows: &mut Rows) -> Result<Option<(ValueError, usize)>> {
    let RowValues::Cells { cells, arena, repr } = &mut rows.values else { return Ok(None) };
    for (column, plan) in job.columns.iter().enumerate() {
        let (kind, cells) = (&plan.field.kind, &cells[column][rows.range.clone()]);
        let decoded = match kind.physical(&job.shapes) {
            None => decode_nested(&plan.field, &job.shapes, cells, arena)?.map(drop),
            Some(_) => decode_lane(kind, *repr, &job.shapes, cells, arena, lane),
        };
        if let Err(failed) = decoded {
            return Ok(Some((failed, column)));
        }
    }
    Ok(None)
}

/// Merges the shapes that the rows need into `shapes`.
pub fn survey(job: &Job, shapes: &mut Shapes, rows: &mut Rows) -> Result<()> {
    let (mut lane, place, range) = (Lane::default(), rows.place, rows.range.clone());
    let RowValues::Cells { cells: all, arena, repr } = &mut rows.values else {
        return Err(internal("a survey looks at cells"));
    };
    for (column, plan) in job.columns.iter().enumerate() {
        if !has_slot(&plan.field.kind) {
            continue;
        }
        // A misfit reports the shape that all later cells of the batch need, so a few rounds suffice.
        loop {
            let cells = &all[column][range.clone()];
            let outcome = match plan.field.kind.physical(&job.shapes) {
                None if plan.field.kind.physical(shapes).is_some() => break, // it is text from now on
                None => decode_nested(&plan.field, shapes, cells, arena)?.map(drop),
                Some(_) => decode_lane(&plan.field.kind, *repr, shapes, cells, arena, &mut lane),
            };
            match outcome {
                Ok(()) => break,
                Err(ValueError { reason: Reason::Misfit { shape_index, needs }, .. }) => {
                    if !shapes.merge(shape_index, needs) {
                        break;
                    }
                }
                Err(_) if job.may_become_text(column) => break,
                Err(failed) => {
                    let name = &plan.field.name;
                    return Err(value_error(place, range.start + failed.row, Some(name), &failed.reason));
                }
            }
        }
    }
    Ok(())
}

fn has_slot(kind: &Kind) -> bool {
    match kind {
        Kind::Numeric { .. } | Kind::List { .. } => true,
        Kind::Struct { fields } => fields.iter().any(|field| has_slot(&field.kind)),
        _ => false,
    }
}

fn column_error(job: &Job, rows: &Rows, column: usize, row: usize, reason: &Reason) -> Error {
    let name = &job.columns[column].field.name;
    value_error(rows.place, rows.range.start + row, Some(name), reason)
}

fn write(writer: &Option<Writer>, bytes: &[u8], offset: u64) -> Result<()> {
    match writer {
        Some(writer) => writer.write_at(bytes, offset),
        None => Ok(()),
    }
}

fn too_many_groups() -> Error {
    let message = format!("a Parquet file has at most {MAX_ROW_GROUPS} row groups");
    error(Code::ERRCODE_PROGRAM_LIMIT_EXCEEDED, message)
        .set_detail("The format numbers them with 16 bits, and there are readers that open no file with more.")
        .set_hint("Raise row_group_rows or row_group_bytes, or pass the path of a directory, which has a file for each process.")
}

pub fn encode_error(cause: EncodeError) -> Error {
    if let EncodeError::OutOfMemory(missing) = cause {
        return missing.into();
    }
    let words = cause.to_string();
    lack_of_memory(&words).unwrap_or_else(|| {
        error(Code::ERRCODE_INTERNAL_ERROR, format!("could not encode the rows: {words}"))
            .set_hint("Please report this with the table's definition.")
    })
}
