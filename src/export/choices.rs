//! How a device is to encode the columns: as this process would encode one page of the table's middle, which it
//! does, with every encoding that may pay and the export's codec.

use parquet::basic::Encoding;

use super::leader::{Request, widened};
use super::sink::{append_cells, parquet_writer, parse_codec};
use crate::encode::{Codec, EncodedGroup, GroupWriter, Options, PAGE_ROWS};
use crate::gpu::encode::of_device;
use crate::pg::error::{Result, internal};
use crate::plan::{Choice, EncodePlan, Format, Job};
use crate::scan::{Encoded, Reader, RowValues, Rows, Sink};
use crate::slot::encode::{PLAIN_BODIES, encoding};
use crate::types::{Field, Lane, Reason, Shape, Shapes};

/// Where the rows are few, the look ends after these blocks, 32 MB of heap.
const MOST_BLOCKS: usize = 4096;

/// What shapes the page needs, beyond those that are known, is learnt one misfit after the other.
const TRIES: usize = 8;

/// `job` is a survey's. `seen` are the shapes that are known so far, which the page may widen. `None` where
/// nothing is encoded elsewhere.
pub fn take(job: &mut Job, seen: &mut Shapes, request: &Request) -> Result<Option<EncodePlan>> {
    // A Bloom filter needs the values.
    let split = match &request.format {
        Format::Parquet { filters, split } if filters.is_empty() => *split,
        _ => return Ok(None),
    };
    let mut choices = None;
    for _ in 0..TRIES {
        job.shapes = widened(&job.columns, seen);
        match look(job, &request.compression, split)? {
            Look::Choices(found) => {
                choices = Some(found);
                break;
            }
            Look::Misfit(slot, needs) if seen.merge(slot, needs) => {}
            Look::Misfit(..) | Look::Ended => break,
        }
    }
    let choices = choices.unwrap_or_else(|| vec![DEFAULT; job.columns.len()]);
    let codec = Codec::parse(&request.compression).map_or(PLAIN_BODIES, of_device);
    Ok(Some(EncodePlan { codec, rows: request.group_rows, bytes: request.group_bytes, choices }))
}

/// Where nothing is known of the values.
const DEFAULT: Choice = Choice { dictionary: true, encoding: encoding::PLAIN };

/// What came of a look.
enum Look {
    Choices(Vec<Choice>),
    /// The shapes do not hold a value.
    Misfit(usize, Shape),
    /// A value was met that nothing holds: the export will say so, or make text of it.
    Ended,
}

fn look(job: &Job, compression: &str, split: bool) -> Result<Look> {
    let fields = job.fields();
    let codec = parse_codec(compression)?;
    let writer = |values_only| {
        let options = Options { codec, values_only, split };
        parquet_writer(&fields, &job.shapes, &options).map(|writer| GroupWriter::Parquet(Box::new(writer)))
    };
    let writers = [writer(false)?, writer(true)?];
    let lanes = vec![Lane::default(); fields.len()];
    let mut page = FirstPage { job, lanes, fields: &fields, writers, refused: None };
    let mut reader = Reader::new(job);
    for block in (job.source.blocks() / 2..job.source.blocks()).take(MOST_BLOCKS) {
        if page.stopped() {
            break;
        }
        reader.read(block..block + 1, &mut page)?;
    }
    page.finish()
}

struct FirstPage<'j> {
    job: &'j Job,
    fields: &'j [Field],
    lanes: Vec<Lane>,
    /// With dictionaries, and without.
    writers: [GroupWriter; 2],
    refused: Option<Look>,
}

impl FirstPage<'_> {
    fn finish(mut self) -> Result<Look> {
        if let Some(refused) = self.refused.take() {
            return Ok(refused);
        }
        if self.writers[0].rows() == 0 {
            return Ok(Look::Ended);
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
            return Ok(Look::Ended);
        }
        Ok(Look::Choices(
            encodings[0].iter().zip(&encodings[1]).map(|(with, without)| choice(*with, *without)).collect(),
        ))
    }
}

/// By how a page of the column was encoded with dictionaries, and without.
fn choice(with: Option<Encoding>, without: Option<Encoding>) -> Choice {
    Choice {
        dictionary: with == Some(Encoding::RLE_DICTIONARY),
        encoding: without.map_or(encoding::PLAIN, |found| found as u32),
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
                if let Err(failed) = appended {
                    self.refused = Some(match failed.reason {
                        Reason::Misfit { shape_index, needs } => Look::Misfit(shape_index, needs),
                        _ => Look::Ended,
                    });
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
        self.refused.is_some() || self.writers[0].rows() > PAGE_ROWS
    }
}
