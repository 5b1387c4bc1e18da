//! What a process has done in a pass, as it tells the leader.

use serde::{Deserialize, Serialize};

use crate::memory::{copy, reserve};
use crate::pg::error::{Result, internal};
use crate::scan::{Scanned, Tally};

/// A row group or record batch, or a stretch of the stream, that lies in a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Part {
    pub chunk: usize,
    /// Its place among the chunk's parts.
    pub sequence: usize,
    pub file: usize,
    pub offset: u64,
    pub bytes: u64,
    pub rows: u64,
    /// What the footer says of it, with offsets in the file.
    #[serde(skip)]
    pub metadata: Vec<u8>,
    metadata_bytes: usize,
}

impl Part {
    pub fn new(
        chunk: usize,
        sequence: usize,
        file: usize,
        offset: u64,
        bytes: u64,
        rows: u64,
        metadata: Vec<u8>,
    ) -> Part {
        let metadata_bytes = metadata.len();
        Part { chunk, sequence, file, offset, bytes, rows, metadata, metadata_bytes }
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Report {
    pub parts: Vec<Part>,
    pub chunks: usize,
    /// Rows that came to be encoded, counted apart from those in the parts.
    pub rows: u64,
    pub scanned: Scanned,
    pub device: Tally,
}

impl Report {
    /// JSON, its length before it, and the metadata of all parts behind it.
    pub fn to_message(&self) -> Result<Vec<u8>> {
        let head = serde_json::to_vec(self).map_err(|cause| internal(cause.to_string()))?;
        let mut message = (head.len() as u64).to_le_bytes().to_vec();
        reserve(&mut message, head.len() + self.parts.iter().map(|part| part.metadata.len()).sum::<usize>())?;
        message.extend_from_slice(&head);
        self.parts.iter().for_each(|part| message.extend_from_slice(&part.metadata));
        Ok(message)
    }

    pub fn from_message(message: &[u8]) -> Result<Report> {
        let short = || internal("a worker's report is cut short");
        let (length, rest) = message.split_first_chunk::<8>().ok_or_else(short)?;
        let (head, mut rest) =
            rest.split_at_checked(u64::from_le_bytes(*length) as usize).ok_or_else(short)?;
        let mut report: Report = serde_json::from_slice(head).map_err(|cause| internal(cause.to_string()))?;
        for part in &mut report.parts {
            let (metadata, after) = rest.split_at_checked(part.metadata_bytes).ok_or_else(short)?;
            part.metadata = copy(metadata)?;
            rest = after;
        }
        Ok(report)
    }

    pub fn add(&mut self, other: Report) {
        self.parts.extend(other.parts);
        self.chunks += other.chunks;
        self.rows += other.rows;
        self.scanned.add(other.scanned);
        self.device.add(other.device);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_keeps_each_parts_metadata() {
        let parts = vec![
            Part::new(3, 0, 1, 4, 100, 7, vec![1, 2, 3]),
            Part::new(3, 1, 1, 104, 9, 1, vec![]),
            Part::new(9, 0, 0, 4, 5, 2, vec![4]),
        ];
        let report = Report { parts, chunks: 2, rows: 10, ..Report::default() };
        let message = report.to_message().unwrap();
        let read = Report::from_message(&message).unwrap();
        assert_eq!((read.chunks, read.rows), (2, 10));
        let metadata: Vec<_> = read.parts.iter().map(|part| part.metadata.clone()).collect();
        assert_eq!(metadata, [vec![1, 2, 3], vec![], vec![4]]);
        assert!(Report::from_message(&message[..message.len() - 1]).is_err());
        assert!(Report::from_message(&[]).is_err());
    }
}
