//! The names of a file's samples. There may be millions, so they are one text, which is made in steps and dropped at
//! once.

use std::collections::HashSet;
use std::io;
use std::ops::Range;

use super::long_values::pieces;
use crate::interrupts::{check, in_text_steps};
use crate::memory::{OutOfMemory, handled, reserve};

#[derive(Default)]
pub struct SampleNames {
    text: String,
    places: Vec<Range<u32>>,
}

impl SampleNames {
    /// Reads the columns after FORMAT in the line of the columns' names.
    pub fn parse(columns: &[u8]) -> io::Result<SampleNames> {
        let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
        let missing = |missing: OutOfMemory| io::Error::new(io::ErrorKind::OutOfMemory, missing.to_string());
        let mut text = Vec::new();
        reserve(&mut text, columns.len()).map_err(missing)?;
        let mut text = String::from_utf8(text).unwrap_or_default();
        if !in_text_steps(columns, |step| text.push_str(step)) {
            return Err(invalid("a sample's name is not valid UTF-8".into()));
        }
        let mut places: Vec<Range<u32>> = Vec::new();
        for place in pieces(columns, b'\t') {
            reserve(&mut places, 1).map_err(missing)?;
            places.push(place.start as u32..place.end as u32);
        }
        let names = SampleNames { text, places };
        match names.repeated().map_err(missing)? {
            Some(name) => Err(invalid(format!("duplicate sample name: {name}"))),
            None => Ok(names),
        }
    }

    /// Returns a name that more than one sample has.
    fn repeated(&self) -> Result<Option<&str>, OutOfMemory> {
        /// A set that grows is made anew in one step.
        const AT_ONCE: usize = 1 << 24;
        let mut seen = HashSet::new();
        for name in self.iter(0..self.len()) {
            check();
            if seen.len() == seen.capacity() {
                let more = AT_ONCE.min(self.len() - seen.len());
                handled(|| seen.try_reserve(more)).map_err(|_| OutOfMemory(more * size_of::<&str>()))?;
            }
            if !seen.insert(name) {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Returns the names of some samples.
    pub fn iter(&self, samples: Range<usize>) -> impl Iterator<Item = &str> {
        let places = self.places.get(samples).unwrap_or_default();
        places.iter().map(|place| &self.text[place.start as usize..place.end as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_between_tabs_and_differ() {
        let of = |text: &[u8]| {
            let names = SampleNames::parse(text)?;
            Ok::<_, io::Error>(names.iter(0..names.len()).map(str::to_owned).collect::<Vec<_>>())
        };
        assert_eq!(of("a\té é\t\tb".as_bytes()).unwrap(), ["a", "é é", "", "b"]);
        assert_eq!(of(b"").unwrap(), [""]);
        assert!(of(b"a\tb\ta").unwrap_err().to_string().ends_with("name: a"));
        assert!(of(b"a\t\xff").is_err());
        let names = SampleNames::parse(b"a\tb\tc").unwrap();
        assert!(names.len() == 3 && names.iter(1..3).eq(["b", "c"]));
    }
}
