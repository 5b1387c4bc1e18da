//! The functions that fuzzers run on any bytes, one for each target. `fuzz/` builds a program for each.
//!
//! A target fails if it panics, if the sanitizer reports an error, or if it takes too long. The tests run each target
//! over its corpus, without a fuzzer.

mod files;
mod rows;
mod texts;

pub use files::{arrow_file, parquet_metadata, parquet_pages};
pub use rows::{copy_binary, heap_pages};
pub use texts::{options, vcf_lines};

/// Takes numbers from the front of the input, and 0 after its end.
struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    fn byte(&mut self) -> usize {
        self.bytes(1).first().map_or(0, |&byte| usize::from(byte))
    }

    /// Returns a number below `count`.
    fn of(&mut self, count: usize) -> usize {
        self.byte() % count
    }

    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    type Target = (&'static str, fn(&[u8]));

    #[test]
    fn every_target_takes_its_corpus() {
        let targets: [Target; 7] = [
            ("heap_pages", heap_pages),
            ("copy_binary", copy_binary),
            ("parquet_metadata", parquet_metadata),
            ("parquet_pages", parquet_pages),
            ("arrow_file", arrow_file),
            ("options", options),
            ("vcf_lines", vcf_lines),
        ];
        for (name, target) in targets {
            let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
            let seeds: Vec<_> = fs::read_dir(&seeds).unwrap().map(|seed| seed.unwrap().path()).collect();
            assert!(seeds.len() >= 3, "{name}");
            for seed in seeds {
                let bytes = fs::read(&seed).unwrap();
                target(&bytes);
                // Truncated and changed inputs are what a fuzzer starts with.
                for at in (0..bytes.len()).step_by(bytes.len() / 16 + 1) {
                    target(&bytes[..at]);
                    let mut changed = bytes.clone();
                    changed[at] ^= 0x55;
                    target(&changed);
                }
            }
        }
    }
}
