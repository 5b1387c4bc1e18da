//! The report of a process to the leader about its part in a pass.

use serde::{Deserialize, Serialize};

use crate::encode::metadata_list::{MetadataCursor, MetadataList};
use crate::memory::reserve;
use crate::pg::error::{Error, Result, internal};
use crate::scan::{Scanned, Tally};

/// A row group, a record batch or a piece of the stream, as it lies in a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Part {
    pub chunk: usize,
    /// Its number among the chunk's parts.
    pub sequence: usize,
    pub file: usize,
    pub offset: u64,
    pub bytes: u64,
    pub rows: u64,
    /// The place in the report of its metadata, from which the footer is written; offsets are those in the
    /// file.
    metadata: Entry,
}

/// A part's entry in its process's metadata.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Entry {
    process: usize,
    number: usize,
}

#[derive(Default, Serialize, Deserialize)]
pub struct Report {
    pub parts: Vec<Part>,
    /// Metadata of the parts, by process. In a message it follows the JSON, which has its table here.
    #[serde(skip)]
    metadata: Vec<MetadataList>,
    table: Vec<(usize, usize)>,
    pub chunks: usize,
    /// Rows that reached the encoder, counted apart from those in the parts.
    pub rows: u64,
    pub scanned: Scanned,
    pub device: Tally,
}

impl Report {
    /// Adds a part of this process: its chunk and number there, its file, offset, bytes and rows.
    pub fn add_part(
        &mut self,
        at: (usize, usize),
        file: usize,
        place: (u64, u64),
        rows: u64,
        metadata: &[u8],
    ) -> Result<()> {
        if self.metadata.is_empty() {
            self.metadata.push(MetadataList::default());
        }
        self.metadata[0].push(metadata).map_err(packing)?;
        let metadata = Entry { process: 0, number: self.parts.len() };
        let (chunk, sequence) = at;
        let (offset, bytes) = place;
        self.parts.push(Part { chunk, sequence, file, offset, bytes, rows, metadata });
        Ok(())
    }

    /// Ends the metadata: all parts have been added.
    pub fn close(&mut self) -> Result<()> {
        self.metadata.iter_mut().try_for_each(MetadataList::close).map_err(packing)
    }

    /// Returns the length of the JSON, the JSON, and the metadata of all parts.
    pub fn into_message(mut self) -> Result<Vec<u8>> {
        self.close()?;
        self.table = self.metadata.first().map_or_else(Vec::new, MetadataList::table);
        let head = serde_json::to_vec(&self).map_err(|cause| internal(cause.to_string()))?;
        let mut message = (head.len() as u64).to_le_bytes().to_vec();
        let metadata =
            self.metadata.iter().flat_map(MetadataList::bytes).map(|block| block.len()).sum::<usize>();
        reserve(&mut message, head.len() + metadata)?;
        message.extend_from_slice(&head);
        self.metadata.iter().flat_map(MetadataList::bytes).for_each(|block| message.extend_from_slice(block));
        Ok(message)
    }

    pub fn from_message(message: &[u8]) -> Result<Report> {
        let short = || internal("a worker's report is cut short");
        let (length, rest) = message.split_first_chunk::<8>().ok_or_else(short)?;
        let (head, rest) = rest.split_at_checked(u64::from_le_bytes(*length) as usize).ok_or_else(short)?;
        let mut report: Report = serde_json::from_slice(head).map_err(|cause| internal(cause.to_string()))?;
        report.metadata.push(MetadataList::from_bytes(&report.table, rest).ok_or_else(short)?);
        Ok(report)
    }

    /// Returns a reader of the parts' metadata.
    pub fn metadata(&self) -> MetadataReader<'_> {
        MetadataReader(self.metadata.iter().map(MetadataCursor::new).collect())
    }

    pub fn add(&mut self, other: Report) {
        let processes = self.metadata.len();
        self.metadata.extend(other.metadata);
        self.parts.extend(other.parts.into_iter().map(|mut part| {
            part.metadata.process += processes;
            part
        }));
        self.chunks += other.chunks;
        self.rows += other.rows;
        self.scanned.add(other.scanned);
        self.device.add(other.device);
    }
}

/// Reads parts' metadata, fastest when each process's parts are asked for in the order in which it made them.
pub struct MetadataReader<'r>(Vec<MetadataCursor<'r>>);

impl MetadataReader<'_> {
    pub fn of(&mut self, part: &Part) -> Result<&[u8]> {
        let Entry { process, number } = part.metadata;
        let Some(cursor) = self.0.get_mut(process) else { return Err(internal("a part of no process")) };
        cursor.entry(number).map_err(packing)
    }
}

fn packing(cause: std::io::Error) -> Error {
    internal(format!("the metadata of the parts: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(entries: [&[u8]; 2]) -> Report {
        let mut report = Report { chunks: 2, rows: 10, ..Report::default() };
        for (sequence, entry) in entries.into_iter().enumerate() {
            report.add_part((3, sequence), 1, (4, 100), 7, entry).unwrap();
        }
        report
    }

    #[test]
    fn a_message_keeps_each_parts_metadata() {
        let message = report([&[1, 2, 3], &[]]).into_message().unwrap();
        let read = Report::from_message(&message).unwrap();
        assert_eq!((read.chunks, read.rows), (2, 10));
        let mut all = report([&[4], &[5, 6]]);
        all.close().unwrap();
        all.add(read);
        assert_eq!((all.chunks, all.rows, all.parts.len()), (4, 20, 4));
        let mut reader = all.metadata();
        let metadata: Vec<_> = all.parts.iter().map(|part| reader.of(part).unwrap().to_vec()).collect();
        assert_eq!(metadata, [vec![4], vec![5, 6], vec![1, 2, 3], vec![]]);
        assert!(Report::from_message(&message[..message.len() - 1]).is_err());
        assert!(Report::from_message(&[]).is_err());
    }
}
