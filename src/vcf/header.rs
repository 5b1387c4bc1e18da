//! Reads a file's header.
//!
//! In VCF 4.4 and 4.5 the number of a field's values may depend on a sample's genotype and local alleles and on base
//! modifications: P, LA, LR, LG and M. The noodles crate does not know all of them. Such a field is a list in any
//! case, so the crate gets "." instead, which is any number. The header here is not bound by a version's list of
//! reserved names either: a field has the number and type that the header declares.

use std::borrow::Cow;
use std::io::{self, BufRead};

use noodles_vcf::Header;
use noodles_vcf::header::parser::{Entry, FileFormatOption, ParseError};
use noodles_vcf::header::{FileFormat, Parser};

use super::long_values::pieces;
use super::read_line;
use super::sample_names::SampleNames;
use crate::interrupts::check;

const BY_SAMPLE: [&str; 5] = ["P", "LA", "LR", "LG", "M"];

/// The first version whose reserved names the crate knows, and one after all of those.
const WITH_RESERVED: FileFormat = FileFormat::new(4, 3);
const WITHOUT_RESERVED: FileFormat = FileFormat::new(4, u32::MAX);

/// The largest header, which is kept in memory. It has room for the names of some ten million contigs or samples.
const LARGEST: usize = 256 << 20;

/// The longest line that declares a field, and the most fields. The columns of each take some kilobytes; PostgreSQL's
/// tables have at most 1600 columns.
const LONGEST: usize = 1 << 20;
const MOST_FIELDS: usize = 10_000;

/// Reads the header from `lines`, which end where the header does, and the samples' names, which are not in it.
pub fn read(mut lines: impl BufRead) -> io::Result<(Header, SampleNames)> {
    let mut parser = Parser::default();
    let (mut line, mut left, mut fields) = (Vec::new(), LARGEST, 0);
    let mut names = SampleNames::default();
    let mut is_first = true;
    loop {
        check();
        line.clear();
        read_line(&mut lines, &mut line, left).map_err(|cause| match cause.kind() {
            io::ErrorKind::FileTooLarge => too_large(format!("its header is larger than {LARGEST} bytes")),
            _ => cause,
        })?;
        if line.is_empty() {
            break;
        }
        left -= line.len();
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if !std::mem::take(&mut is_first) && is_comment(text) {
            continue;
        }
        if text.starts_with(NAMES) {
            let (columns, samples) = split_names(text);
            parser.parse_partial(&columns).map_err(invalid)?;
            names = samples.map_or_else(|| Ok(names), SampleNames::parse)?;
            continue;
        }
        fields += 1;
        // The line of the version is no field.
        if fields > MOST_FIELDS + 1 {
            return Err(too_large(format!(
                "its header declares more than {MOST_FIELDS} INFO and FORMAT fields"
            )));
        }
        if text.len() > LONGEST {
            return Err(too_large(format!("a line of its header is longer than {LONGEST} bytes")));
        }
        parse(&mut parser, &of_any_number(text))?;
    }
    Ok((parser.finish().map_err(invalid)?, names))
}

fn parse(parser: &mut Parser, line: &[u8]) -> io::Result<()> {
    if let Entry::FileFormat(version) = parser.parse_partial(line).map_err(invalid)?
        && version >= WITH_RESERVED
    {
        let version = FileFormatOption::FileFormat(WITHOUT_RESERVED);
        *parser = Parser::builder().set_file_format_option(version).build();
        parser.parse_partial(line).map_err(invalid)?;
    }
    Ok(())
}

fn invalid(cause: ParseError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, cause)
}

fn too_large(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, why)
}

/// Returns whether a line says nothing of the columns. There may be millions, such as contigs.
fn is_comment(line: &[u8]) -> bool {
    const NEEDED: [&[u8]; 3] = [b"##fileformat=", b"##INFO=", b"##FORMAT="];
    line.starts_with(b"##") && !NEEDED.iter().any(|key| line.starts_with(key))
}

/// The beginning of the line of the columns' names.
const NAMES: &[u8] = b"#CHROM";

/// Splits the line of the columns' names. Returns the columns up to FORMAT, and the samples if there are any.
fn split_names(line: &[u8]) -> (Cow<'_, [u8]>, Option<&[u8]>) {
    const COLUMNS: usize = 9;
    /// Longer than the names of these columns: all of a line that has others is not needed to refuse it.
    const ENOUGH: usize = 100;
    let end = pieces(line, b'\t').nth(COLUMNS - 1).map_or(line.len(), |last| last.end);
    let (columns, samples) = (&line[..end], line.get(end + 1..));
    match columns.get(..ENOUGH) {
        Some(part) => (Cow::Owned(String::from_utf8_lossy(part).into_owned().into_bytes()), samples),
        None => (Cow::Borrowed(columns), samples),
    }
}

/// Replaces a number that differs between samples by ".".
fn of_any_number(line: &[u8]) -> Vec<u8> {
    let mut out = line.to_vec();
    let number = Some(line).filter(|line| line.starts_with(b"##INFO=<") || line.starts_with(b"##FORMAT=<"));
    if let Some((start, end)) = number.and_then(number_of)
        && BY_SAMPLE.iter().any(|known| known.as_bytes() == &line[start..end])
    {
        out.splice(start..end, *b".");
    }
    out
}

/// Returns the place of the number in the line of an INFO or FORMAT.
fn number_of(line: &[u8]) -> Option<(usize, usize)> {
    const KEY: &[u8] = b"Number=";
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, &byte) in line.iter().enumerate() {
        match byte {
            b'"' if !is_escaped => is_quoted = !is_quoted,
            b'<' | b',' if !is_quoted && line[at + 1..].starts_with(KEY) => {
                let start = at + 1 + KEY.len();
                let length = line[start..].iter().position(|byte| matches!(byte, b',' | b'>'))?;
                return Some((start, start + length));
            }
            _ => {}
        }
        is_escaped = byte == b'\\' && !is_escaped;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interrupts::counted::during;

    #[test]
    fn numbers_by_sample_are_any() {
        let after = |line: &str| String::from_utf8(of_any_number(line.as_bytes())).unwrap();
        for number in BY_SAMPLE {
            let line = |number| format!("##FORMAT=<ID=LAD,Number={number},Type=Integer,Description=\"a\">");
            assert_eq!(after(&line(number)), line("."));
        }
        assert_eq!(after("##INFO=<Number=M,ID=X>"), "##INFO=<Number=.,ID=X>");
        for same in [
            "##FORMAT=<ID=LA,Number=1,Type=Integer,Description=\"a\">",
            "##FORMAT=<ID=X,Type=String,Description=\"\\\",Number=LA,\">",
            "##contig=<ID=X,Number=LA>",
            "##INFO=<ID=X,Number=LA",
            "##INFO=<ID=X,Number=L,",
            "",
        ] {
            assert_eq!(after(same), same);
        }
    }

    const HEAD: &str = "##fileformat=VCFv4.3\n##INFO=<ID=X,Number=1,Type=String,Description=\"x\">\n";
    const COLUMNS: &str = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO";

    #[test]
    fn samples_are_read_one_by_one() {
        const SAMPLES: usize = 50_000;
        let names: String = (0..SAMPLES).map(|at| format!("\ts{at}")).collect();
        let text = format!("{HEAD}{COLUMNS}\tFORMAT{names}\r\n");
        let mut found = None;
        let (checks, _) = during(|| found = read(text.as_bytes()).ok());
        let (header, names) = found.unwrap();
        assert!(checks > SAMPLES && names.len() == SAMPLES && header.sample_names().is_empty());
        assert!(names.iter(SAMPLES - 1..SAMPLES).eq(["s49999"]));
    }

    #[test]
    fn what_a_header_may_have() {
        let found =
            |text: &str| read(text.as_bytes()).map(|(header, names)| (header.infos().len(), names.len()));
        let field = |id| format!("##INFO=<ID=I{id},Number=1,Type=String,Description=\"\">\n");
        let fields = |count| format!("{HEAD}{}{COLUMNS}\n", (1..count).map(field).collect::<String>());
        assert_eq!(found(&fields(MOST_FIELDS)).unwrap(), (MOST_FIELDS, 0));
        assert!(found(&fields(MOST_FIELDS + 1)).unwrap_err().to_string().contains("more than 10000"));
        let long =
            format!("{HEAD}##INFO=<ID=Y,Number=1,Type=String,Description=\"{}\">\n", "y".repeat(LONGEST));
        assert_eq!(found(&format!("{long}{COLUMNS}\n")).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        for (columns, samples) in [
            ("", Some(0)),
            ("\tFORMAT", Some(0)),
            ("\tFORMAT\ta\tb", Some(2)),
            ("\ta", None),
            ("\tFORMAT\ta\ta", None),
        ] {
            let read = found(&format!("{HEAD}##contig=<ID=1>\n##contig=<ID=1>\n{COLUMNS}{columns}\n"));
            assert_eq!(read.ok(), samples.map(|samples| (1, samples)), "{columns}");
        }
        for wrong in [
            COLUMNS.to_owned(),
            format!("{COLUMNS}\n"),
            HEAD.to_owned(),
            format!("{HEAD}#CHROM\t{}é{}\n", "x".repeat(92), "x".repeat(200)),
            format!("{HEAD}{COLUMNS}\n{COLUMNS}\n"),
        ] {
            let why = found(&wrong).unwrap_err().to_string();
            assert!(why.len() < 300 && !why.contains("UTF-8"), "{why}");
        }
    }
}
