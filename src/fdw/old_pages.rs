//! Parquet's column chunks by old writers, that are not what their metadata and their pages' headers say.
//!
//! * parquet-mr before 1.2.9 left the header of the dictionary page out of a chunk's length (PARQUET-816): the
//!   last page is cut.
//! * Arrow C++ before 3.0, which named itself parquet-cpp, compressed the data pages of version 2 and said that
//!   it did not (ARROW-10353).
//!
//! Where a chunk really ends, and which headers are false, tells a walk over its pages.

use std::io::{BufReader, Read};
use std::sync::Arc;

use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaDataBuilder};
use parquet::file::reader::{ChunkReader, Length};

use super::error::{Result, guarded};
use super::page_header::PageHeader;
use super::source::{At, HEADER_ROOM, Source};
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

/// The file as its pages are.
#[derive(Clone)]
pub struct Mended {
    source: Source,
    /// Bytes that are others than in the file, by their offsets.
    bytes: Arc<Vec<(u64, u8)>>,
}

/// One row group's metadata, and the file, with which columns of it are read as they were written.
pub fn mended(
    metadata: &ArrowReaderMetadata,
    source: &Source,
    group: usize,
    columns: &[usize],
) -> Result<Option<(ArrowReaderMetadata, Mended)>> {
    let file = metadata.metadata().file_metadata();
    let Some(fault) = fault_of(file.created_by()) else { return Ok(None) };
    let descr = metadata.parquet_schema();
    let mut row_group = metadata.metadata().row_group(group).clone().into_builder();
    let (mut chunks, mut bytes) = (Vec::new(), Vec::new());
    for (leaf, chunk) in metadata.metadata().row_group(group).columns().iter().enumerate() {
        let walked = match columns.contains(&descr.get_column_root_idx(leaf)) {
            true => walk(source, chunk),
            false => None,
        };
        let mut chunk = chunk.clone();
        if let Some((length, false_headers)) = walked {
            match fault {
                Fault::CompressedPages => bytes.extend(false_headers),
                Fault::ShortChunks if length > chunk.compressed_size() => {
                    let builder = chunk.into_builder().set_total_compressed_size(length);
                    chunk = guarded(source.path(), || builder.build())?;
                }
                Fault::ShortChunks => {}
            }
        }
        chunks.push(chunk);
    }
    bytes.sort_unstable();
    row_group = row_group.set_column_metadata(chunks);
    let one = guarded(source.path(), || {
        let one = ParquetMetaDataBuilder::new(file.clone()).add_row_group(row_group.build()?).build();
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        ArrowReaderMetadata::try_new(Arc::new(one), options)
    })?;
    Ok(Some((one, Mended { source: source.clone(), bytes: Arc::new(bytes) })))
}

/// The length of a chunk up to the end of its last page, and the bytes that say of pages what is not so; `None`
/// where its pages cannot be followed.
fn walk(source: &Source, chunk: &ColumnChunkMetaData) -> Option<(i64, Vec<(u64, u8)>)> {
    let first = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
    let start = u64::try_from(first).ok()?;
    let (mut at, mut values, mut bytes) = (start, 0, Vec::new());
    while values < chunk.num_values() {
        let page = PageHeader::read(source, at)?;
        bytes.extend(page.not_compressed.map(|(within, byte)| (at + within as u64, byte)));
        at = at.checked_add(page.length as u64)?.checked_add(u64::try_from(page.body).ok()?)?;
        values = values.checked_add(page.values.unwrap_or(0))?;
    }
    Some((i64::try_from(at - start).ok()?, bytes))
}

impl Mended {
    /// Mends bytes that lie at an offset of the file.
    fn mend(&self, bytes: &mut [u8], offset: u64) {
        let first = self.bytes.partition_point(|&(at, _)| at < offset);
        for &(at, byte) in self.bytes.iter().skip(first) {
            match bytes.get_mut((at - offset) as usize) {
                Some(said) => *said = byte,
                None => break,
            }
        }
    }
}

impl Length for Mended {
    fn len(&self) -> u64 {
        self.source.len()
    }
}

impl ChunkReader for Mended {
    type T = BufReader<MendedAt>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        let at = MendedAt { from: At::new(&self.source, start), offset: start, file: self.clone() };
        Ok(BufReader::with_capacity(HEADER_ROOM, at))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let bytes = self.source.read_at(start, length);
        let mut bytes = bytes.map_err(|error| ParquetError::General(error.why()))?;
        self.mend(&mut bytes, start);
        Ok(bytes.into())
    }
}

/// The file's bytes from an offset on.
pub struct MendedAt {
    from: At,
    offset: u64,
    file: Mended,
}

impl Read for MendedAt {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let got = self.from.read(bytes)?;
        self.file.mend(&mut bytes[..got], self.offset);
        self.offset += got as u64;
        Ok(got)
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
