//! VCF files (Variant Call Format 4.x, samtools.github.io/hts-specs) as Arrow record batches.
//!
//! Pure: no server; one thread. The noodles crate reads header and records, and checks each value against the type
//! that the header declares.
//!
//! Columns: `chrom`, `pos`, `id`, `ref`, `alt`, `qual`, `filter`, one `info_<ID>` for each INFO of the header, and the
//! samples with a field for each FORMAT. Integers, floats, flags and strings have their types; what may hold more than
//! one value is a list. What a record does not state, or states as ".", is NULL.

mod column;
mod file;
mod table;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{self, BufRead};
use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use noodles_vcf as noodles;

pub use file::FileSink;
use table::Table;

/// Records between two looks of the caller.
const LOOK_EVERY: u64 = 1000;

/// How the samples of a record are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Samples {
    /// As one list of structs, `samples`.
    Column,
    /// As a row each, in `sample` and one `format_<ID>` for each FORMAT.
    Rows,
}

/// Why a file cannot be converted, and at which of its records, counted from 1.
#[derive(Debug)]
pub struct VcfError {
    pub record: Option<u64>,
    pub cause: Cause,
}

#[derive(Debug)]
pub enum Cause {
    Io(io::Error),
    /// The file is not what the format says.
    Invalid(String),
    /// What takes the batches has failed.
    Sink(arrow::error::ArrowError),
}

impl fmt::Display for VcfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(record) = self.record {
            write!(f, "record {record}: ")?;
        }
        match &self.cause {
            Cause::Io(cause) => write!(f, "{cause}"),
            Cause::Invalid(cause) => f.write_str(cause),
            Cause::Sink(cause) => write!(f, "{cause}"),
        }
    }
}

/// What takes the record batches.
pub trait Sink {
    fn begin(&mut self, schema: SchemaRef) -> Result<(), arrow::error::ArrowError>;
    fn batch(&mut self, batch: &RecordBatch) -> Result<(), arrow::error::ArrowError>;
    /// Now and then: a place to give up.
    fn look(&mut self) {}
}

/// Converts a VCF file, BGZF-compressed or not, in batches of `batch_rows` rows and a record's more; how many rows.
pub fn convert(
    mut input: impl BufRead,
    samples: Samples,
    batch_rows: usize,
    sink: &mut dyn Sink,
) -> Result<u64, VcfError> {
    let compressed = input.fill_buf().map_err(|cause| of_io(None, cause))?.starts_with(&[0x1f, 0x8b]);
    match compressed {
        true => convert_text(noodles_bgzf::io::Reader::new(input), samples, batch_rows, sink),
        false => convert_text(input, samples, batch_rows, sink),
    }
}

fn convert_text(
    input: impl BufRead,
    samples: Samples,
    batch_rows: usize,
    sink: &mut dyn Sink,
) -> Result<u64, VcfError> {
    let mut reader = noodles::io::Reader::new(input);
    let header = caught(None, || reader.read_header().map_err(|cause| of_io(None, cause)))?;
    let mut table = Table::new(&header, samples);
    sink.begin(table.schema()).map_err(of_sink)?;
    let (mut rows, mut number) = (0, 0);
    let mut records = reader.record_bufs(&header);
    loop {
        number += 1;
        let at = Some(number);
        let found = caught(at, || {
            let Some(record) = records.next() else { return Ok(None) };
            let record = record.map_err(|cause| of_io(at, cause))?;
            let appended = table.append(&record);
            appended.map(Some).map_err(|cause| VcfError { record: at, cause: Cause::Invalid(cause) })
        });
        if found?.is_none() {
            break;
        }
        if table.rows() >= batch_rows {
            rows += flush(&mut table, sink)?;
        }
        if number % LOOK_EVERY == 0 {
            sink.look();
        }
    }
    if table.rows() > 0 {
        rows += flush(&mut table, sink)?;
    }
    Ok(rows)
}

/// Runs what reads bytes that anybody may have written: a panic there is damage to the file.
fn caught<T>(record: Option<u64>, work: impl FnOnce() -> Result<T, VcfError>) -> Result<T, VcfError> {
    let damaged = || VcfError { record, cause: Cause::Invalid("it cannot be taken apart".into()) };
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(damaged()))
}

fn flush(table: &mut Table, sink: &mut dyn Sink) -> Result<u64, VcfError> {
    let batch = table.finish().map_err(of_sink)?;
    sink.batch(&batch).map_err(of_sink)?;
    Ok(batch.num_rows() as u64)
}

fn of_sink(cause: arrow::error::ArrowError) -> VcfError {
    VcfError { record: None, cause: Cause::Sink(cause) }
}

/// The reader says what is wrong with the text by errors of I/O; a cause's own cause is the useful one.
fn of_io(record: Option<u64>, cause: io::Error) -> VcfError {
    let cause = match cause.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
            let mut text = cause.to_string();
            let mut inner = std::error::Error::source(&cause);
            while let Some(found) = inner {
                text = format!("{text}: {found}");
                inner = found.source();
            }
            Cause::Invalid(text)
        }
        _ => Cause::Io(cause),
    };
    VcfError { record, cause }
}
