//! Splits long lines of many samples into parts: the crate parses a line as a whole, which may take seconds.

use std::ops::Range;

use noodles_vcf::Header;

use super::long_values::without_end;
use crate::interrupts::check;

/// The size of samples that are read at once.
const PART: usize = 2 << 20;

/// The number of columns before the samples.
const FIXED: usize = 9;

/// Stands in for the columns before FORMAT after these have been read.
const NOTHING: &[u8] = b"1\t1\t.\tN\t.\t.\t.\t.\t";

/// Some samples of a line.
pub struct Part {
    pub samples: Range<usize>,
    bytes: Range<usize>,
}

/// Splits a line of `samples` samples. Returns `None` if the line is better read as a whole, because it is short or
/// has another number of samples.
pub fn split(line: &[u8], samples: usize) -> Option<Vec<Part>> {
    if line.len() <= PART {
        return None;
    }
    let text = without_end(line);
    let mut ends = text.iter().enumerate().filter(|(_, byte)| **byte == b'\t').map(|(at, _)| at);
    let start = ends.nth(FIXED - 1)? + 1;
    let (mut parts, mut done, mut count) = (Vec::new(), Part { samples: 0..0, bytes: start..start }, 0);
    for end in ends.chain([text.len()]) {
        check();
        count += 1;
        if end - done.bytes.start >= PART || end == text.len() {
            done = Part { samples: done.samples.start..count, bytes: done.bytes.start..end };
            let next = Part { samples: count..count, bytes: end + 1..end + 1 };
            parts.push(std::mem::replace(&mut done, next));
        }
    }
    (count == samples && parts.len() > 1).then_some(parts)
}

impl Part {
    /// Returns the part as a line of its own. The first part has the columns before the samples.
    pub fn line(&self, line: &[u8]) -> Vec<u8> {
        let part = &line[self.bytes.clone()];
        if self.samples.start == 0 {
            return [&line[..self.bytes.start], part, b"\n"].concat();
        }
        let format = line.split(|&byte| byte == b'\t').nth(FIXED - 1).unwrap_or_default();
        [NOTHING, format, b"\t", part, b"\n"].concat()
    }

    /// Sets the sample names in `header`, which is that of a part, to those of this one.
    pub fn name_samples(&self, header: &mut Header, names: &[String]) {
        *header.sample_names_mut() = names[self.samples.clone()].iter().cloned().collect();
    }
}

/// Returns a header for parts, which has only what parsing values needs.
pub fn header(of: &Header) -> Header {
    let mut header = of.clone();
    header.contigs_mut().clear();
    header.sample_names_mut().clear();
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_the_line() {
        for (samples, width, end) in [(3, PART, "\n"), (5, PART - 1, "\r\n"), (250_000, 10, "")] {
            let cell = |at: usize| format!("{at}:{}", "x".repeat(width));
            let cells: Vec<String> = (0..samples).map(cell).collect();
            let head = "1\t2\tid\tA\tC\t5\tPASS\tX=1\tGT:Y";
            let line = format!("{head}\t{}{end}", cells.join("\t"));
            let parts = split(line.as_bytes(), samples).unwrap();
            assert!(parts.len() > 1 && split(line.as_bytes(), samples + 1).is_none());
            let mut found = Vec::new();
            for (number, part) in parts.iter().enumerate() {
                let text = String::from_utf8(part.line(line.as_bytes())).unwrap();
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
        for short in ["", "\n", "1\t2", "1\t2\t3\t4\t5\t6\t7\t8\t9\t10\n"] {
            assert!(split(short.as_bytes(), 1).is_none());
        }
        assert!(split(&[b'a'; PART + 1], 1).is_none());
    }
}
