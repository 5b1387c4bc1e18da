//! Splits long lines of many samples into parts: the crate parses a line as a whole, which may take seconds.

use std::borrow::Cow;
use std::ops::Range;

use noodles_vcf::Header;

use super::Cause;
use super::long_values::{pieces, without_end};

/// The size of the samples that are read at once, and their number: the crate allocates memory for each.
const PART: usize = 256 << 10;
const PART_SAMPLES: usize = 32 << 10;
/// The most samples that are named for a line without any.
const NAMED: usize = 1 << 20;

/// The longest beginning of a line, and the longest sample, without their long values.
const LONGEST: usize = 2 << 20;

/// The number of columns before the samples.
const FIXED: usize = 9;

/// Stands in for the columns before FORMAT after these have been read.
const NOTHING: &[u8] = b"1\t1\t.\tN\t.\t.\t.\t.\t";

/// Some samples of a line.
pub struct Part {
    pub samples: Range<usize>,
    /// `None` for a line that is read as a whole.
    bytes: Option<Range<usize>>,
}

/// Returns the size of the columns before the samples.
pub fn before_samples(line: &[u8]) -> usize {
    pieces(without_end(line), b'\t').take(FIXED).last().map_or(0, |format| format.end)
}

/// Splits a line of `samples` samples, which has no long values any more.
pub fn split(line: &[u8], samples: usize) -> Result<Vec<Part>, Cause> {
    let whole = vec![Part { samples: 0..samples, bytes: None }];
    if line.len() <= PART && samples <= PART_SAMPLES {
        return Ok(whole);
    }
    let head = before_samples(line);
    let columns = pieces(without_end(line), b'\t').skip(FIXED);
    if head > LONGEST {
        let why = format!("the columns before the samples have more than {LONGEST} bytes of short values");
        return Err(Cause::TooLarge(why));
    }
    let (mut parts, mut part) = (Vec::new(), Part { samples: 0..0, bytes: None });
    for sample in columns {
        if sample.len() > LONGEST {
            let why = format!("a sample has more than {LONGEST} bytes of short values");
            return Err(Cause::TooLarge(why));
        }
        let begun = part.bytes.get_or_insert(sample.clone());
        begun.end = sample.end;
        let is_full = begun.len() >= PART;
        part.samples.end += 1;
        if is_full || part.samples.len() == PART_SAMPLES {
            let next = Part { samples: part.samples.end..part.samples.end, bytes: None };
            parts.push(std::mem::replace(&mut part, next));
        }
    }
    let count = part.samples.end;
    parts.extend(part.bytes.is_some().then_some(part));
    match count {
        // The crate refuses a line without samples if there must be some. It needs a name for each of them.
        0 if samples <= NAMED => Ok(whole),
        _ if count == samples => Ok(parts),
        _ => Err(Cause::Invalid(format!("it has {count} samples, the header {samples}"))),
    }
}

impl Part {
    /// Returns the part as a line of its own. The first part has the columns before the samples.
    pub fn line<'l>(&self, line: &'l [u8]) -> Cow<'l, [u8]> {
        let Some(bytes) = self.bytes.clone() else { return Cow::Borrowed(line) };
        if self.samples.start == 0 {
            return Cow::Owned([&line[..bytes.end], b"\n"].concat());
        }
        let format = line.split(|&byte| byte == b'\t').nth(FIXED - 1).unwrap_or_default();
        Cow::Owned([NOTHING, format, b"\t", &line[bytes], b"\n"].concat())
    }

    /// Sets the number of samples in `header` to that of the part. Of their names the crate needs only the number.
    pub fn count_samples(&self, header: &mut Header) {
        let (names, count) = (header.sample_names_mut(), self.samples.len());
        names.truncate(count);
        for number in names.len()..count {
            names.insert(number.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_the_line() {
        for (samples, width, end) in
            [(3, PART, "\n"), (5, PART - 1, "\r\n"), (250_000, 10, ""), (2 * PART_SAMPLES, 0, "\n")]
        {
            let cell = |at: usize| format!("{at}:{}", "x".repeat(width));
            let cells: Vec<String> = (0..samples).map(cell).collect();
            let head = "1\t2\tid\tA\tC\t5\tPASS\tX=1\tGT:Y";
            let line = format!("{head}\t{}{end}", cells.join("\t"));
            let parts = split(line.as_bytes(), samples).unwrap();
            assert!(parts.len() > 1 && split(line.as_bytes(), samples + 1).is_err());
            let mut found = Vec::new();
            for (number, part) in parts.iter().enumerate() {
                let text = String::from_utf8(part.line(line.as_bytes()).into_owned()).unwrap();
                let columns: Vec<&str> = text.strip_suffix('\n').unwrap().split('\t').collect();
                let before =
                    if number == 0 { head.to_owned() } else { "1\t1\t.\tN\t.\t.\t.\t.\tGT:Y".to_owned() };
                assert_eq!(columns[..9].join("\t"), before);
                assert_eq!(part.samples.start, found.len());
                found.extend(columns[9..].iter().map(|&cell| cell.to_owned()));
                assert_eq!(part.samples.end, found.len());
            }
            assert!(found == cells);
        }
        let is_whole = |line: &[u8], samples| {
            let parts = split(line, samples).unwrap();
            parts.len() == 1 && parts[0].line(line) == line && parts[0].samples == (0..samples)
        };
        for short in ["", "\n", "1\t2", "1\t2\t3\t4\t5\t6\t7\t8\t9\t10\n"] {
            assert!(is_whole(short.as_bytes(), 1));
        }
        assert!(is_whole(&[b'a'; PART + 1], 1) && is_whole(b"1\t2\n", PART_SAMPLES + 1));
    }

    #[test]
    fn what_the_crate_would_read_at_once_is_bounded() {
        let line = |id: usize, sample: usize| {
            format!("1\t2\t{}\tA\tC\t5\tPASS\tX=1\tY\t1\t{}", "i".repeat(id), "s".repeat(sample))
        };
        for (id, sample, is_read) in
            [(LONGEST / 2, LONGEST, true), (LONGEST, 1, false), (1, LONGEST + 1, false)]
        {
            assert_eq!(split(line(id, sample).as_bytes(), 2).is_ok(), is_read);
        }
    }

    #[test]
    fn a_header_has_as_many_samples_as_the_part() {
        let mut header = Header::default();
        for count in [3, 5, 0, 1] {
            Part { samples: 7..7 + count, bytes: None }.count_samples(&mut header);
            assert_eq!(header.sample_names().len(), count);
        }
    }
}
