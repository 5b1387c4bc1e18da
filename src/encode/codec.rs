//! Codecs: their names and levels.

use std::fmt;

use parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};

use super::Result;

/// The codecs that `Codec::parse` accepts, for error messages.
pub const CODECS: &str = "zstd[:1-22], snappy, gzip[:0-9], brotli[:0-11], lz4_raw, none";

/// A page codec with its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    None,
    Snappy,
    Gzip(u32),
    Brotli(u32),
    Lz4Raw,
    Zstd(i32),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CodecError {
    Unknown { name: String, allowed: &'static str },
    BadLevel { codec: &'static str, level: String, allowed: &'static str },
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CodecError::Unknown { name, allowed } => {
                write!(f, "unknown codec \"{name}\", allowed are {allowed}")
            }
            CodecError::BadLevel { codec, level, allowed } => {
                write!(f, "codec {codec} has no level \"{level}\", allowed are {allowed}")
            }
        }
    }
}

impl std::error::Error for CodecError {}

impl Default for Codec {
    fn default() -> Self {
        Codec::Zstd(1)
    }
}

impl Codec {
    /// Parses `name` or `name:level`; the case of names does not matter.
    pub fn parse(text: &str) -> std::result::Result<Codec, CodecError> {
        let (name, level) = name_and_level(text);
        match name.as_str() {
            "zstd" => Ok(Codec::Zstd(parse_level("zstd", level, 1, 1..=22, "1 to 22")? as i32)),
            "gzip" => Ok(Codec::Gzip(parse_level("gzip", level, 6, 0..=9, "0 to 9")?)),
            "brotli" => Ok(Codec::Brotli(parse_level("brotli", level, 1, 0..=11, "0 to 11")?)),
            "snappy" => without_level("snappy", level, Codec::Snappy),
            "lz4_raw" => without_level("lz4_raw", level, Codec::Lz4Raw),
            "none" => without_level("none", level, Codec::None),
            _ => Err(CodecError::Unknown { name, allowed: CODECS }),
        }
    }

    /// Returns whether compressing a page of the usual size may take longer than a cancel should wait.
    pub(super) fn is_slow(self) -> bool {
        matches!(self, Codec::Zstd(13..) | Codec::Brotli(10..))
    }

    /// Returns about how much memory compressing needs beside the page: the crates cannot fail cleanly. zstd reports
    /// its own failures, except for a context of some kB.
    pub(super) fn memory(self) -> usize {
        const MB: usize = 1 << 20;
        match self {
            Codec::None | Codec::Snappy | Codec::Lz4Raw | Codec::Gzip(_) | Codec::Zstd(_) => MB,
            // The window has 4 MB; higher levels also have search trees.
            Codec::Brotli(..5) => 16 * MB,
            Codec::Brotli(_) => 64 * MB,
        }
    }

    /// Returns parquet's name of the codec.
    pub(super) fn compression(self) -> Result<Compression> {
        Ok(match self {
            Codec::None => Compression::UNCOMPRESSED,
            Codec::Snappy => Compression::SNAPPY,
            Codec::Gzip(level) => Compression::GZIP(GzipLevel::try_new(level)?),
            Codec::Brotli(level) => Compression::BROTLI(BrotliLevel::try_new(level)?),
            Codec::Lz4Raw => Compression::LZ4_RAW,
            Codec::Zstd(level) => Compression::ZSTD(ZstdLevel::try_new(level)?),
        })
    }
}

pub(super) fn name_and_level(text: &str) -> (String, Option<&str>) {
    let (name, level) = match text.split_once(':') {
        Some((name, level)) => (name, Some(level.trim())),
        None => (text, None),
    };
    (name.trim().to_ascii_lowercase(), level)
}

pub(super) fn parse_level(
    codec: &'static str,
    level: Option<&str>,
    default: u32,
    range: std::ops::RangeInclusive<u32>,
    allowed: &'static str,
) -> std::result::Result<u32, CodecError> {
    let Some(text) = level else { return Ok(default) };
    text.parse().ok().filter(|n| range.contains(n)).ok_or_else(|| CodecError::BadLevel {
        codec,
        level: text.to_string(),
        allowed,
    })
}

pub(super) fn without_level<C>(
    codec: &'static str,
    level: Option<&str>,
    value: C,
) -> std::result::Result<C, CodecError> {
    match level {
        None => Ok(value),
        Some(text) => Err(CodecError::BadLevel { codec, level: text.to_string(), allowed: "none" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_names_and_levels() {
        assert_eq!(Codec::parse("zstd"), Ok(Codec::Zstd(1)));
        assert_eq!(Codec::parse(" ZSTD : 3 "), Ok(Codec::Zstd(3)));
        assert_eq!(Codec::parse("gzip:6"), Ok(Codec::Gzip(6)));
        assert_eq!(Codec::parse("brotli"), Ok(Codec::Brotli(1)));
        assert_eq!(Codec::parse("lz4_raw"), Ok(Codec::Lz4Raw));
        assert_eq!(Codec::parse("none"), Ok(Codec::None));
        assert!(matches!(Codec::parse("lzo"), Err(CodecError::Unknown { name, .. }) if name == "lzo"));
        for bad in ["zstd:0", "zstd:23", "zstd:", "zstd:x", "gzip:10", "brotli:12", "snappy:1", "none:1"] {
            assert!(matches!(Codec::parse(bad), Err(CodecError::BadLevel { .. })), "{bad}");
        }
    }
}
