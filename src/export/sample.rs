//! Reads some blocks before the first pass, to learn how dense rows are and which shapes they need.
//!
//! A sample can only need narrower shapes than the whole table; the passes find the rest.

use crate::pg::error::{Result, internal};
use crate::plan::chunks::Density;
use crate::plan::{Pass, Reading, Source};
use crate::scan::{Encoded, Reader, RowValues, Rows, Sink};
use crate::types::Shapes;

use super::survey::survey;

const BLOCKS: u64 = 64;
/// The sample ends early once its values are this large.
const BYTES: u64 = 32 << 20;

/// Takes the sample, with the shapes known so far.
pub fn take(reading: &Reading, shapes: Shapes) -> Result<(Density, Shapes)> {
    let pass = Pass::survey(reading, shapes);
    let mut sample = Sample { pass: &pass, shapes: pass.shapes.clone(), rows: 0, bytes: 0 };
    let mut reader = Reader::new(&pass);
    let mut read = 0u64;
    for block in positions(&reading.source) {
        reader.read(block..block + 1, &mut sample)?;
        read += 1;
        if sample.bytes > BYTES {
            break;
        }
    }
    let density = Density {
        rows_per_block: sample.rows as f64 / read.max(1) as f64,
        bytes_per_row: sample.bytes as f64 / sample.rows.max(1) as f64,
    };
    Ok((density, sample.shapes))
}

/// Returns evenly spaced blocks, the first and the last included.
fn positions(source: &Source) -> impl Iterator<Item = u64> {
    let blocks = source.blocks();
    let count = BLOCKS.min(blocks);
    (0..count).map(move |index| if count < 2 { 0 } else { index * (blocks - 1) / (count - 1) })
}

struct Sample<'j> {
    pass: &'j Pass<'j>,
    shapes: Shapes,
    rows: u64,
    bytes: u64,
}

impl Sink for Sample<'_> {
    fn rows(&mut self, mut rows: Rows) -> Result<()> {
        self.rows += rows.range.len() as u64;
        let RowValues::Cells { cells, .. } = &rows.values else {
            return Err(internal("a sample looks at cells"));
        };
        for column in *cells {
            self.bytes += column[rows.range.clone()].iter().map(|cell| cell.len() as u64).sum::<u64>();
        }
        survey(self.pass, &mut self.shapes, &mut rows)
    }

    fn stream(&mut self, _bytes: &[u8], _rows: usize) -> Result<()> {
        Ok(())
    }

    fn group(&mut self, _group: Encoded) -> Result<bool> {
        Ok(false)
    }

    fn stopped(&self) -> bool {
        self.bytes > BYTES
    }
}
