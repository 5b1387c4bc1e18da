//! How a device is to encode the columns: as this process would encode one page of the table's middle, which it
//! does, with every encoding that may pay and the export's codec.

use super::leader::Request;
use super::sink::{append_cells, parquet_writer};
use crate::encode::{EncodedGroup, GroupWriter, PAGE_ROWS};
use crate::pg::error::{Result, internal};
use crate::plan::{Choice, EncodePlan, Format, Job};
use crate::scan::{Encoded, Reader, RowValues, Rows, Sink};
use crate::slot::encode::{PLAIN_BODIES, SNAPPY};
use crate::types::{Field, Lane};

/// Where the rows are few, the look ends after these blocks, 32 MB of heap.
const MOST_BLOCKS: usize = 4096;

/// `job` is a survey's, on the shapes that the export starts with. `None` where nothing is encoded elsewhere.
pub fn take(job: &Job, request: &Request) -> Result<Option<EncodePlan>> {
    if request.format != Format::Parquet {
        return Ok(None);
    }
    let fields = job.fields();
    let writer = |values_only| parquet_writer(&fields, &job.shapes, &request.compression, values_only);
    let writers = [writer(false)?, writer(true)?];
    let mut page =
        FirstPage { job, lanes: vec![Lane::default(); fields.len()], fields: &fields, writers, ended: false };
    let mut reader = Reader::new(job);
    for block in (job.source.blocks() / 2..job.source.blocks()).take(MOST_BLOCKS) {
        if page.stopped() {
            break;
        }
        reader.read(block..block + 1, &mut page)?;
    }
    let choices = page.finish()?;
    // Other codecs are this process's own.
    let codec = if request.compression.trim().eq_ignore_ascii_case("snappy") { SNAPPY } else { PLAIN_BODIES };
    Ok(Some(EncodePlan { codec, rows: request.group_rows, bytes: request.group_bytes, choices }))
}

struct FirstPage<'j> {
    job: &'j Job,
    fields: &'j [Field],
    lanes: Vec<Lane>,
    /// With dictionaries, and without.
    writers: [GroupWriter; 2],
    /// A value was met that the shapes do not hold: what came before has to do.
    ended: bool,
}

impl FirstPage<'_> {
    fn finish(mut self) -> Result<Vec<Choice>> {
        let default = Choice { dictionary: true, delta: false };
        if self.ended || self.writers[0].rows() == 0 {
            return Ok(vec![default; self.fields.len()]);
        }
        let mut encodings = Vec::new();
        for writer in &mut self.writers {
            let EncodedGroup::Parquet(group) = writer.finish().map_err(super::sink::encode_error)? else {
                return Err(internal("a row group of another format"));
            };
            encodings.push(group.first_encodings());
        }
        // Nested columns, of several leaves, are not encoded elsewhere.
        if encodings[0].len() != self.fields.len() {
            return Ok(vec![default; self.fields.len()]);
        }
        let choice =
            |(with, without): (&Option<parquet::basic::Encoding>, &Option<parquet::basic::Encoding>)| {
                use parquet::basic::Encoding::{
                    DELTA_BINARY_PACKED, DELTA_LENGTH_BYTE_ARRAY, RLE_DICTIONARY,
                };
                Choice {
                    dictionary: *with == Some(RLE_DICTIONARY),
                    delta: matches!(without, Some(DELTA_BINARY_PACKED | DELTA_LENGTH_BYTE_ARRAY)),
                }
            };
        Ok(encodings[0].iter().zip(&encodings[1]).map(choice).collect())
    }
}

impl Sink for FirstPage<'_> {
    fn rows(&mut self, mut rows: Rows) -> Result<()> {
        let range = rows.range.clone();
        let RowValues::Cells { cells, arena, repr } = &mut rows.values else {
            return Err(internal("a sample looks at cells"));
        };
        for (column, field) in self.fields.iter().enumerate() {
            for writer in &mut self.writers {
                let (cells, lane) = (&cells[column][range.clone()], &mut self.lanes[column]);
                let appended =
                    append_cells(writer, column, field, &self.job.shapes, cells, *repr, arena, lane)?;
                if appended.is_err() {
                    self.ended = true;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn stream(&mut self, _bytes: &[u8], _rows: usize) -> Result<()> {
        Err(internal("a sample looks at cells"))
    }

    fn group(&mut self, _group: Encoded) -> Result<bool> {
        Ok(false)
    }

    fn stopped(&self) -> bool {
        self.ended || self.writers[0].rows() > PAGE_ROWS
    }
}
