//! Converts VCF files (Variant Call Format 4.x, samtools.github.io/hts-specs) to Arrow record batches.
//!
//! Pure: no server; one thread. The noodles crate parses header and records, and checks each value against the type
//! that the header declares; `long_values` does so with values of kilobytes in lines of megabytes.
//!
//! The columns are `chrom`, `pos`, `id`, `ref`, `alt`, `qual`, `filter`, one `info_<ID>` for each INFO of the header,
//! and the samples with a field for each FORMAT. Integers, floats, flags and strings have their types. A field that
//! may have more than one value is a list. A value that is absent from a record, or ".", is NULL.

mod column;
mod file;
mod header;
mod long_values;
mod parts;
mod sample_names;
mod table;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{self, BufRead};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use noodles_vcf as noodles;
use noodles_vcf::variant::RecordBuf;
use noodles_vcf::{Header, Record};

pub use file::FileSink;
use table::Table;

use crate::interrupts::check;
use crate::memory::{OutOfMemory, reserve, room_for};

/// The longest line. PostgreSQL cannot hold longer values, neither of one column nor of all samples of a record.
const LONGEST_LINE: usize = (1 << 30) - 1;

/// The size of records after which a batch is written, however few its rows are.
const BATCH_BYTES: usize = 64 << 20;

/// The representation of the samples of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Samples {
    /// One list of structs, `samples`.
    Column,
    /// A row for each sample, with `sample` and one `format_<ID>` for each FORMAT.
    Rows,
}

/// Why a file cannot be converted, and the number of the record, counted from 1.
#[derive(Debug)]
pub struct VcfError {
    pub record: Option<u64>,
    pub cause: Cause,
}

#[derive(Debug)]
pub enum Cause {
    Io(io::Error),
    /// The file does not conform to the format.
    Invalid(String),
    /// The file may be valid, but is too large.
    TooLarge(String),
    /// The sink has failed.
    Sink(arrow::error::ArrowError),
}

impl fmt::Display for VcfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(record) = self.record {
            write!(f, "record {record}: ")?;
        }
        match &self.cause {
            Cause::Io(cause) => write!(f, "{cause}"),
            Cause::Invalid(cause) | Cause::TooLarge(cause) => f.write_str(cause),
            Cause::Sink(cause) => write!(f, "{cause}"),
        }
    }
}

/// A consumer of record batches.
pub trait Sink {
    fn begin(&mut self, schema: SchemaRef) -> Result<(), arrow::error::ArrowError>;
    fn batch(&mut self, batch: &RecordBatch) -> Result<(), arrow::error::ArrowError>;
}

/// Converts a VCF file, BGZF-compressed or not, in batches of at least `batch_rows` rows. Returns the number of rows.
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
    let (mut header, names) = caught(None, || {
        let lines = reader.header_reader();
        header::read(lines).map_err(|cause| of_io(None, cause))
    })?;
    let mut lines = reader.into_inner();
    let count = names.len();
    let mut table = Table::new(&header, names, samples);
    sink.begin(table.schema()).map_err(of_sink)?;
    let (mut rows, mut number, mut bytes) = (0, 0, 0);
    let mut line = Vec::new();
    let (mut record, mut written) = (RecordBuf::default(), Record::default());
    loop {
        number += 1;
        let at = Some(number);
        line.clear();
        read_line(&mut lines, &mut line, LONGEST_LINE).map_err(|cause| of_io(at, cause))?;
        if line.is_empty() {
            break;
        }
        let (short, long) = long_values::take_out(&line, &header);
        let short = short.as_ref().unwrap_or(&line);
        let mut append = |line: &[u8], header: &Header, samples: Range<usize>| {
            caught(at, || {
                // The record is parsed, and also kept as it is written.
                let read = noodles::io::Reader::new(line).read_record_buf(header, &mut record);
                read.map_err(|cause| of_io(at, cause))?;
                check();
                let read = noodles::io::Reader::new(line).read_record(&mut written);
                read.map_err(|cause| of_io(at, cause))?;
                let appended = table.append(&record, &written, samples, &long);
                appended.map_err(|cause| VcfError { record: at, cause: Cause::Invalid(cause) })
            })
        };
        let parts = parts::split(short, count).map_err(|cause| VcfError { record: at, cause })?;
        for part in parts {
            part.count_samples(&mut header);
            append(&part.line(short), &header, part.samples)?;
        }
        bytes += line.len() + table.repeated(parts::before_samples(&line));
        if table.rows() >= batch_rows || bytes >= BATCH_BYTES {
            rows += flush(&mut table, at, sink)?;
            bytes = 0;
        }
        check();
    }
    if table.rows() > 0 {
        rows += flush(&mut table, Some(number - 1), sink)?;
    }
    Ok(rows)
}

/// Reads a line, up to its end or that of the file. Fails if there is no memory for the line and its values.
fn read_line(from: &mut impl BufRead, line: &mut Vec<u8>, longest: usize) -> io::Result<()> {
    /// The approximate size of a line's values, in multiples of its length.
    const PARSED: usize = 8;
    let missing = |missing: OutOfMemory| io::Error::new(io::ErrorKind::OutOfMemory, missing.to_string());
    loop {
        check();
        let bytes = from.fill_buf()?;
        let end = bytes.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let step = &bytes[..end.unwrap_or(bytes.len())];
        reserve(line, step.len()).map_err(missing)?;
        line.extend_from_slice(step);
        let (read, is_whole) = (step.len(), end.is_some() || step.is_empty());
        from.consume(read);
        if line.len() > longest {
            let why = format!("a line is longer than {longest} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
        }
        if is_whole {
            return room_for(PARSED * line.len()).map_err(missing);
        }
    }
}

/// Runs `work`, which parses bytes from any source: a panic means that the file is damaged. A panic without a message
/// comes from an interrupt and is resumed.
fn caught<T>(record: Option<u64>, work: impl FnOnce() -> Result<T, VcfError>) -> Result<T, VcfError> {
    let damaged = || VcfError { record, cause: Cause::Invalid("it cannot be taken apart".into()) };
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        match panic.is::<String>() || panic.is::<&str>() {
            true => Err(damaged()),
            false => resume_unwind(panic),
        }
    })
}

/// Passes the rows on, the last of which are those of record `last`.
fn flush(table: &mut Table, last: Option<u64>, sink: &mut dyn Sink) -> Result<u64, VcfError> {
    let batch = table.finish().map_err(|cause| VcfError { record: last, cause })?;
    sink.batch(&batch).map_err(of_sink)?;
    Ok(batch.num_rows() as u64)
}

fn of_sink(cause: arrow::error::ArrowError) -> VcfError {
    VcfError { record: None, cause: Cause::Sink(cause) }
}

/// Converts an I/O error. The reader also reports errors in the text as such; the useful message is in the sources of
/// the error.
fn of_io(record: Option<u64>, cause: io::Error) -> VcfError {
    let cause = match cause.kind() {
        io::ErrorKind::FileTooLarge => Cause::TooLarge(cause.to_string()),
        io::ErrorKind::OutOfMemory => Cause::Invalid(cause.to_string()),
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
