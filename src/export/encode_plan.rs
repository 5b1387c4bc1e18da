//! How a device is to encode each column. This process encodes one page from the middle of the table, with
//! every encoding that may pay and with the export's codec, and the device is told to do as it did.

use parquet::basic::Encoding;

use super::group_builder::{append_cells, parquet_writer, parse_codec};
use super::passes::widened;
use super::request::Request;
use crate::encode::{Codec, EncodedGroup, GroupWriter, Options, PAGE_ROWS};
use crate::gpu::encode::of_device;
use crate::pg::error::{Result, internal};
use crate::plan::{Choice, EncodePlan, Format, Pass, Reading};
use crate::scan::{Encoded, Reader, RowValues, Rows, Sink};
use crate::slot::encode::{PLAIN_BODIES, encoding};
use crate::types::{Field, Lane, Reason, Shape, Shapes};

/// The most blocks that are read for the page, 32 MB of heap, when rows are few.
const MOST_BLOCKS: usize = 4096;

/// The most attempts to encode the page: each learns of one more shape that it needs.
const TRIES: usize = 8;

/// Chooses the encodings; `None` when no row group can be encoded on a device. `seen` are
/// the shapes known so far, which the page may widen.
pub fn choose(reading: &Reading, seen: &mut Shapes, request: &Request) -> Result<Option<EncodePlan>> {
    // Filling a Bloom filter takes the values, which stay on the device.
    let split = match &request.format {
        Format::Parquet { bloom_filters, split } if bloom_filters.is_empty() => *split,
        _ => return Ok(None),
    };
    let mut choices = None;
    for _ in 0..TRIES {
        let pass = Pass::survey(reading, widened(&reading.columns, seen));
        match try_page(&pass, &request.compression, split)? {
            Trial::Choices(found) => {
                choices = Some(found);
                break;
            }
            Trial::Misfit(slot, needs) if seen.merge(slot, needs) => {}
            Trial::Misfit(..) | Trial::Ended => break,
        }
    }
    let choices = choices.unwrap_or_else(|| vec![DEFAULT; reading.columns.len()]);
    let codec = Codec::parse(&request.compression).map_or(PLAIN_BODIES, of_device);
    Ok(Some(EncodePlan { codec, rows: request.group_rows, bytes: request.group_bytes, choices }))
}

/// The choice for a column when no value could be looked at.
const DEFAULT: Choice = Choice { dictionary: true, encoding: encoding::PLAIN };

/// The result of encoding the page.
enum Trial {
    Choices(Vec<Choice>),
    /// The shapes do not hold a value.
    Misfit(usize, Shape),
    /// No shape holds a value: the export will raise the error, or make the column text.
    Ended,
}

fn try_page(pass: &Pass, compression: &str, split: bool) -> Result<Trial> {
    let fields = pass.reading.fields();
    let codec = parse_codec(compression)?;
    let writer = |values_only| {
        let options = Options { codec, values_only, split };
        parquet_writer(&fields, &pass.shapes, &options).map(|writer| GroupWriter::Parquet(Box::new(writer)))
    };
    let writers = [writer(false)?, writer(true)?];
    let lanes = vec![Lane::default(); fields.len()];
    let mut page = FirstPage { pass, lanes, fields: &fields, writers, refused: None };
    let mut reader = Reader::new(pass);
    for block in (pass.reading.source.blocks() / 2..pass.reading.source.blocks()).take(MOST_BLOCKS) {
        if page.stopped() {
            break;
        }
        reader.read(block..block + 1, &mut page)?;
    }
    page.finish()
}

struct FirstPage<'j> {
    pass: &'j Pass<'j>,
    fields: &'j [Field],
    lanes: Vec<Lane>,
    /// One writer with dictionaries, and one without.
    writers: [GroupWriter; 2],
    refused: Option<Trial>,
}

impl FirstPage<'_> {
    fn finish(mut self) -> Result<Trial> {
        if let Some(refused) = self.refused.take() {
            return Ok(refused);
        }
        if self.writers[0].rows() == 0 {
            return Ok(Trial::Ended);
        }
        let mut encodings = Vec::new();
        for writer in &mut self.writers {
            let EncodedGroup::Parquet(group) = writer.finish().map_err(super::group_builder::encode_error)?
            else {
                return Err(internal("a row group of another format"));
            };
            encodings.push(group.first_encodings());
        }
        // A nested column has several leaves, and a device encodes none.
        if encodings[0].len() != self.fields.len() {
            return Ok(Trial::Ended);
        }
        Ok(Trial::Choices(
            encodings[0].iter().zip(&encodings[1]).map(|(with, without)| choice(*with, *without)).collect(),
        ))
    }
}

/// Chooses from how a page of the column was encoded with dictionaries and without.
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
                    append_cells(writer, column, field, &self.pass.shapes, cells, *repr, arena, lane)?;
                if let Err(failed) = appended {
                    self.refused = Some(match failed.reason {
                        Reason::Misfit { shape_index, needs } => Trial::Misfit(shape_index, needs),
                        _ => Trial::Ended,
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
