//! Faults of old writers of Parquet, whose column chunks are not what their metadata and page headers state.
//!
//! * parquet-mr before 1.2.9 excluded the header of the dictionary page from a chunk's length (PARQUET-816):
//!   the last page is cut.
//! * Arrow C++ before 3.0, which named itself parquet-cpp, compressed the data pages of version 2 and stated
//!   that it did not (ARROW-10353).
//!
//! Such chunks are read until they have all their values, and such pages as compressed.

use super::trust::writer_of;

/// What a writer did wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    ShortChunks,
    CompressedPages,
}

pub fn fault_of(created_by: Option<&str>) -> Option<Fault> {
    match writer_of(created_by?) {
        ("parquet-mr", version) if version < [1, 2, 9] => Some(Fault::ShortChunks),
        ("parquet-cpp", version) if version < [2, 0, 0] => Some(Fault::CompressedPages),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writers_and_versions() {
        for (created_by, fault) in [
            ("parquet-mr", Some(Fault::ShortChunks)),
            ("parquet-mr version 1.2.8-SNAPSHOT (build 12)", Some(Fault::ShortChunks)),
            ("parquet-mr version 1.2.9 (build 12)", None),
            ("parquet-mr version 1.12.0", None),
            ("parquet-cpp version 1.5.1-SNAPSHOT", Some(Fault::CompressedPages)),
            ("parquet-cpp-arrow version 2.0.0", None),
            ("parquet-cpp-arrow version 15.0.0", None),
            ("impala version 1.2.0", None),
            ("", None),
        ] {
            assert_eq!(fault_of(Some(created_by)), fault, "{created_by}");
        }
        assert_eq!(fault_of(None), None);
    }
}
