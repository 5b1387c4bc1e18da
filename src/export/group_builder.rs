//! Builds row groups and record batches from rows.

use crate::decode::{NestedBuilder, decode_lane};
use crate::encode::ipc::{BatchWriter, BufferCodec};
use crate::encode::{Codec, EncodeError, FileSchema, GroupWriter, Options, RowGroupWriter};
use crate::memory::room_for;
use crate::pg::error::{Code, Error, Result, error, internal, lack_of_memory};
use crate::plan::{Format, Pass};
use crate::scan::{COLUMN_BYTES, RowValues, Rows};
use crate::types::{Cell, Field, Lane, Repr, Shapes, ValueError};

/// Builds row groups or record batches from rows.
pub struct GroupBuilder {
    fields: Vec<Field>,
    pub writer: GroupWriter,
    lanes: Vec<Lane>,
    /// Cells of a column that a device has returned.
    cells: Vec<Cell>,
    arena: Vec<u8>,
    pub group_rows: usize,
    group_bytes: usize,
}

pub enum Appended {
    Rows { full: bool },
    Refused(ValueError, usize),
}

impl GroupBuilder {
    pub fn new(
        pass: &Pass,
        format: &Format,
        compression: &str,
        rows: u64,
        bytes: u64,
    ) -> Result<GroupBuilder> {
        let fields = pass.reading.fields();
        let writer = match format {
            Format::Parquet { bloom_filters, split } => {
                let options = Options { codec: parse_codec(compression)?, values_only: false, split: *split };
                let mut writer = parquet_writer(&fields, &pass.shapes, &options)?;
                let rows = usize::try_from(rows).unwrap_or(usize::MAX);
                for (column, field) in fields.iter().enumerate() {
                    if bloom_filters.contains(&field.name) {
                        writer.add_bloom_filter(column, rows).map_err(encode_error)?;
                    }
                }
                GroupWriter::Parquet(Box::new(writer))
            }
            Format::Arrow { stats } => arrow_writer(&fields, &pass.shapes, compression, stats.as_deref())?,
        };
        Ok(GroupBuilder {
            lanes: vec![Lane::default(); fields.len()],
            cells: Vec::new(),
            arena: Vec::new(),
            fields,
            writer,
            group_rows: usize::try_from(rows).unwrap_or(usize::MAX),
            group_bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
        })
    }

    pub fn append(&mut self, shapes: &Shapes, rows: &mut Rows) -> Result<Appended> {
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

pub fn parquet_writer(fields: &[Field], shapes: &Shapes, options: &Options) -> Result<RowGroupWriter> {
    let schema = FileSchema::new(fields, shapes).map_err(encode_error)?;
    RowGroupWriter::new(&schema, fields, shapes, options).map_err(encode_error)
}

/// Parses the codec of a file's pages, which the leader has checked.
pub fn parse_codec(compression: &str) -> Result<Codec> {
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

/// Decodes cells and appends their values.
#[allow(clippy::too_many_arguments)] // parts of two structures, borrowed separately
pub fn append_cells(
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
pub fn decode_nested(
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
