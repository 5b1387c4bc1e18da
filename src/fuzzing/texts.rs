//! Fuzzes texts from users and files: options, patterns, conditions, VCF.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use super::Choices;
use crate::encode::Codec;
use crate::encode::ipc::BufferCodec;
use crate::expr::{self, Numeric, Prefix, Range, Test};
use crate::fdw::Pattern;
use crate::vcf::{Samples, Sink, convert};

/// The input chooses a parser and has a text; for patterns it is a line with the pattern and one with a path.
pub fn options(data: &[u8]) {
    let mut choices = Choices(data);
    let choice = choices.of(5);
    let bytes = choices.0;
    let Ok(text) = std::str::from_utf8(bytes) else { return prefix(bytes) };
    match choice {
        0 => _ = Codec::parse(text).map_err(|error| error.to_string()),
        1 => _ = BufferCodec::parse(text).map_err(|error| error.to_string()),
        2 => pattern(text),
        3 => number(text),
        _ => prefix(bytes),
    }
}

/// The keys that a pattern finds must form a name that matches the pattern again.
fn pattern(text: &str) {
    // Paths have at most 4096 bytes.
    let (pattern, path) = text.split_once('\n').unwrap_or((text, ""));
    let path: String = path.chars().take(1000).collect();
    let Ok(parsed) = Pattern::parse(pattern) else { return };
    let names: Vec<String> = parsed.keys().map(|(name, _)| name.to_owned()).collect();
    let Some(keys) = parsed.matches(&path) else { return };
    assert!(keys.iter().map(|(name, _)| name).eq(&names));
    let mut again = pattern.to_owned();
    for (name, value) in &keys {
        let value = value.as_deref().unwrap_or("");
        again = again.replacen(&format!("@{{{name}}}"), value, 1).replacen(&format!("${{{name}}}"), value, 1);
    }
    // A value may look like a key.
    if !path.contains(['{', '@', '$']) && !pattern.contains("$$") && !pattern.contains("@@") {
        assert!(path.ends_with(&again), "{pattern:?} {path:?} {again:?}");
    }
}

/// Each value must lie in the range of a comparison or in that of its opposite.
fn number(text: &str) {
    use Test::*;
    let (text, scale) = text.split_once('\n').unwrap_or((text, "0"));
    let scale = scale.parse::<i8>().unwrap_or(0);
    let Some(number) = Numeric::parse(text) else { return };
    let place = number.place(scale.into());
    let again = Numeric::read(&number.image()[4..]);
    assert!(again.is_some_and(|again| again == number));
    for (test, opposite) in [(Less, GreaterEqual), (LessEqual, Greater), (Equal, NotEqual)] {
        let (range, other) = (Range::new(test, place), Range::new(opposite, place));
        for value in [i64::MIN, -1, 0, 1, 123, i64::MAX] {
            let is_in = range.narrow().contains(value);
            assert!(is_in != other.narrow().contains(value));
            assert_eq!(is_in, range.contains(value.into()));
        }
    }
}

fn prefix(bytes: &[u8]) {
    let (pattern, value) = bytes.split_at(bytes.len() / 2);
    let literal = Prefix::new(expr::Pattern::Literal, pattern);
    assert!(literal.may_lie(Some(pattern), Some(pattern)));
    let mut longer = pattern.to_vec();
    longer.extend_from_slice(value);
    assert!(literal.may_lie(Some(&longer), Some(&longer)), "what begins with it");
    Prefix::new(expr::Pattern::Like, pattern).may_lie(Some(value), Some(&longer));
}

#[derive(Default)]
struct Counted(u64);

impl Sink for Counted {
    fn begin(&mut self, _: SchemaRef) -> Result<(), ArrowError> {
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        self.0 += batch.num_rows() as u64;
        Ok(())
    }
}

const VCF_HEADER: &str = "##fileformat=VCFv4.4
##INFO=<ID=DP,Number=1,Type=Integer,Description=\"\">
##INFO=<ID=AF,Number=A,Type=Float,Description=\"\">
##INFO=<ID=DB,Number=0,Type=Flag,Description=\"\">
##INFO=<ID=CH,Number=.,Type=Character,Description=\"\">
##FORMAT=<ID=GT,Number=1,Type=String,Description=\"\">
##FORMAT=<ID=HQ,Number=2,Type=Integer,Description=\"\">
##FORMAT=<ID=GL,Number=G,Type=Float,Description=\"\">
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tone\ttwo
";

/// The input is a VCF file if it begins like one, otherwise records below our header.
pub fn vcf_lines(data: &[u8]) {
    let whole = data.starts_with(b"##fileformat") || data.starts_with(&[0x1f, 0x8b]);
    let text = if whole { data.to_vec() } else { [VCF_HEADER.as_bytes(), data].concat() };
    let rows = [Samples::Rows, Samples::Column].map(|samples| {
        let mut sink = Counted::default();
        let rows = convert(&text[..], samples, 16, &mut sink).ok();
        assert!(rows.is_none_or(|rows| rows == sink.0));
        rows
    });
    // There is a row for each sample, and a header may have any number of them.
    assert!(rows[0].is_some() == rows[1].is_some() || whole, "{rows:?}");
}
