//! Converts VCF files on the server to Arrow files: the calling process reads, converts and publishes them.

use std::fs::{self, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::Path;

use super::prepare::check_context;
use crate::encode::ipc::BufferCodec;
use crate::fdw::At;
use crate::foreign;
use crate::pg::access::{check_file_role, check_read_role};
use crate::pg::encoding::in_message;
use crate::pg::error::{Code, Error, Result, error, file_error, lack_of_memory};
use crate::pg::memory;
use crate::publish::{Target, Writer};
use crate::vcf::{self, Cause, FileSink, Samples, VcfError};

const BATCH_ROWS: usize = 65_536;
const READ_BYTES: usize = 64 << 10;

pub struct Imported {
    pub batches: u64,
    pub rows: u64,
    pub bytes: u64,
}

/// Converts the VCF file at `from` to an Arrow file at `to`, with a row for each record, or for each sample of it.
pub fn import_vcf(
    from: &str,
    to: &str,
    sample_rows: bool,
    codec: BufferCodec,
    overwrite: bool,
) -> Result<Imported> {
    let samples = if sample_rows { Samples::Rows } else { Samples::Column };
    memory::checked(|| import_checked(from, to, samples, codec, overwrite))
}

fn import_checked(
    from: &str,
    to: &str,
    samples: Samples,
    codec: BufferCodec,
    overwrite: bool,
) -> Result<Imported> {
    check_context()?;
    check_read_role(pgrx::pg_sys::InvalidOid)?;
    check_file_role()?;
    let path = Path::new(from);
    if !path.is_absolute() {
        return Err(error(
            Code::ERRCODE_INVALID_NAME,
            format!("relative path not allowed for a VCF file: \"{from}\""),
        )
        .set_hint("Give the absolute path of a file on the server."));
    }
    let target = Target::new(to, true, Some("arrow"), overwrite)?;
    // The check precedes the open: opening a pipe would wait for its other end.
    let found = fs::metadata(path).map_err(|cause| file_error("open file", path, &cause))?;
    if !found.is_file() {
        return Err(error(Code::ERRCODE_WRONG_OBJECT_TYPE, format!("\"{from}\" is not a regular file"))
            .set_hint("Name a VCF file, or one compressed by bgzip."));
    }
    let input = foreign::open(from)?;
    let staged = target.stage(1)?;
    let file = &staged.files[0];
    let output =
        OpenOptions::new().write(true).open(file).map_err(|cause| file_error("open file", file, &cause))?;
    let mut sink = FileSink::new(BufWriter::new(output), codec);
    let lines = BufReader::with_capacity(READ_BYTES, At::new(&input, 0));
    let converted = vcf::convert(lines, samples, BATCH_ROWS, &mut sink);
    // A file that changed meanwhile gets this error, whatever else it broke.
    input.check().map_err(foreign::report)?;
    let rows = converted.map_err(|found| failed(found, path, file))?;
    let written = sink.finish().and_then(|(mut out, batches)| Ok(out.flush().map(|()| batches)?));
    let batches =
        written.map_err(|cause| failed(VcfError { record: None, cause: Cause::Sink(cause) }, path, file))?;
    let bytes = fs::metadata(file).map_err(|cause| file_error("examine file", file, &cause))?.len();
    Writer::open(file)?.sync(bytes)?;
    staged.publish()?;
    Ok(Imported { batches, rows, bytes })
}

fn failed(found: VcfError, from: &Path, to: &Path) -> Error {
    let at = found.record.map_or_else(String::new, |record| format!("Record {record}: "));
    match found.cause {
        Cause::Io(cause) => file_error("read file", from, &cause),
        Cause::Sink(arrow::error::ArrowError::IoError(_, cause)) => file_error("write file", to, &cause),
        Cause::Sink(cause) => file_error("write file", to, &io::Error::other(cause)),
        Cause::TooLarge(cause) => {
            error(Code::ERRCODE_PROGRAM_LIMIT_EXCEEDED, format!("\"{}\" is too large a VCF file", from.display()))
                .set_detail(in_message(format!("{at}{cause}.")))
                .set_hint("Take out fields or samples with bcftools.")
        }
        Cause::Invalid(cause) => lack_of_memory(&cause).unwrap_or_else(|| {
            error(Code::ERRCODE_BAD_COPY_FILE_FORMAT, format!("\"{}\" is not a VCF file that can be read", from.display()))
                .set_detail(in_message(format!("{at}{cause}.")))
                .set_hint("The header must declare every INFO and FORMAT, and the values be of their types; bcftools can mend a file.")
        }),
    }
}
