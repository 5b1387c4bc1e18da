//! Reads a file's header.
//!
//! In VCF 4.4 and 4.5 the number of a field's values may depend on a sample's genotype and local alleles and on base
//! modifications: P, LA, LR, LG and M. The noodles crate does not know all of them. Such a field is a list in any
//! case, so the crate gets "." instead, which is any number. The header here is not bound by a version's list of
//! reserved names either: a field has the number and type that the header declares.

use std::io::{self, BufRead};

use noodles_vcf::Header;
use noodles_vcf::header::parser::{Entry, FileFormatOption};
use noodles_vcf::header::{FileFormat, Parser};

use super::read_line;
use crate::interrupts::check;

const BY_SAMPLE: [&str; 5] = ["P", "LA", "LR", "LG", "M"];

/// The first version whose reserved names the crate knows, and one after all of those.
const WITH_RESERVED: FileFormat = FileFormat::new(4, 3);
const WITHOUT_RESERVED: FileFormat = FileFormat::new(4, u32::MAX);

/// The largest header, which is kept in memory. It has room for the names of some ten million contigs or samples.
const LARGEST: usize = 256 << 20;

/// Reads the header from `lines`, which end where the header does.
pub fn read(mut lines: impl BufRead) -> io::Result<Header> {
    let invalid = |cause| io::Error::new(io::ErrorKind::InvalidData, cause);
    let mut parser = Parser::default();
    let (mut line, mut left) = (Vec::new(), LARGEST);
    loop {
        check();
        read_line(&mut lines, &mut line, left).map_err(|cause| match cause.kind() {
            io::ErrorKind::FileTooLarge => {
                io::Error::new(cause.kind(), format!("its header is larger than {LARGEST} bytes"))
            }
            _ => cause,
        })?;
        if line.is_empty() {
            break;
        }
        left -= line.len();
        if is_long_comment(&line) {
            line.clear();
            continue;
        }
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let text = of_any_number(text.strip_suffix(b"\r").unwrap_or(text));
        if let Entry::FileFormat(version) = parser.parse_partial(&text).map_err(invalid)?
            && version >= WITH_RESERVED
        {
            let version = FileFormatOption::FileFormat(WITHOUT_RESERVED);
            parser = Parser::builder().set_file_format_option(version).build();
            parser.parse_partial(&text).map_err(invalid)?;
        }
        line.clear();
    }
    parser.finish().map_err(invalid)
}

/// Returns whether a line says nothing of the columns, and is so long that parsing it would take long.
fn is_long_comment(line: &[u8]) -> bool {
    const LONG: usize = 1 << 20;
    const NEEDED: [&[u8]; 3] = [b"##fileformat=", b"##INFO=", b"##FORMAT="];
    line.len() > LONG && line.starts_with(b"##") && !NEEDED.iter().any(|key| line.starts_with(key))
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
}
