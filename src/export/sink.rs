//! Takes the rows of a chunk and makes row groups or record batches, the stream, or a survey of them.

use super::encoded;
use super::group_builder::{Appended, GroupBuilder, encode_error};
use super::message::Report;
use super::shared::Shared;
use super::survey::{drop_rows, survey};
use crate::encode::EncodedGroup;
use crate::encode::footer::MAX_ROW_GROUPS;
use crate::memory::reserve;
use crate::pg::error::{Code, Error, Result, error, internal};
use crate::plan::{Job, Output, Pass};
use crate::publish::Writer;
use crate::scan::{Encoded, Rows, Sink, value_error};
use crate::types::{Lane, Reason, Shapes, ValueError};

/// Size of the pieces in which the stream is written.
const STREAM_BYTES: usize = 4 << 20;

pub struct ChunkSink<'j> {
    pass: &'j Pass<'j>,
    shared: Shared<'j>,
    file: usize,
    writer: Option<Writer>,
    chunk: usize,
    sequence: usize,
    body: Body,
    pub report: Report,
}

enum Body {
    Groups(Box<GroupBuilder>),
    Stream { bytes: Vec<u8>, rows: u64, write: bool },
    Survey(Shapes),
    Dropped(Lane),
}

impl<'j> ChunkSink<'j> {
    pub fn new(job: &Job, pass: &'j Pass<'j>, shared: Shared<'j>, number: usize) -> Result<ChunkSink<'j>> {
        let file = job.file_of(number);
        let body = match &pass.output {
            Output::Groups { format, compression, rows, bytes, .. } => {
                Body::Groups(Box::new(GroupBuilder::new(pass, format, compression, *rows, *bytes)?))
            }
            Output::Stream { write } => Body::Stream { bytes: Vec::new(), rows: 0, write: *write },
            Output::Survey => Body::Survey(pass.shapes.clone()),
            Output::Dropped | Output::Cells | Output::Aggregated(_) => Body::Dropped(Lane::default()),
        };
        let writer = job.files.get(file).map(|path| Writer::open(path)).transpose()?;
        Ok(ChunkSink { pass, shared, file, writer, chunk: 0, sequence: 0, body, report: Report::default() })
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
            Body::Groups(builder) if builder.writer.rows() > 0 => {
                let group = builder.writer.finish().map_err(encode_error)?;
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
        if let Body::Groups(builder) = &mut self.body {
            builder.writer.recycle(group);
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
            _ if self.pass.may_become_text(column) => {}
            reason => return Err(column_error(self.pass, rows, column, failed.row, &reason)),
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
            let builder = match &mut self.body {
                Body::Survey(shapes) => return survey(self.pass, shapes, &mut rows),
                Body::Dropped(lane) => {
                    return match drop_rows(self.pass, lane, &mut rows)? {
                        Some((failed, column)) => self.refused(failed, &rows, column),
                        None => Ok(()),
                    };
                }
                Body::Groups(builder) => builder,
                Body::Stream { .. } => return Err(internal("rows came where the stream was wanted")),
            };
            let end = whole.end.min(start + builder.group_rows - builder.writer.rows());
            rows.range = start..end;
            let full = match builder.append(&self.pass.shapes, &mut rows)? {
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
        let Body::Groups(builder) = &mut self.body else {
            return Err(internal("a row group came where none was wanted"));
        };
        let rows = group.rows;
        let Some(adopted) = encoded::adopt(&mut builder.writer, &group).map_err(encode_error)? else {
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

fn column_error(pass: &Pass, rows: &Rows, column: usize, row: usize, reason: &Reason) -> Error {
    let name = &pass.reading.columns[column].field.name;
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
