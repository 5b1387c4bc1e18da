//! An open file, read at offsets.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};
use serde::{Deserialize, Serialize};

use super::error::{Problem, ReadError, Result};
use crate::memory;

/// Which file a path led to. A file that was replaced, or written to, has another identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileId {
    pub path: String,
    pub size: u64,
    device: u64,
    inode: u64,
    modified: (i64, i64),
}

#[derive(Clone, Debug)]
pub struct Source {
    id: Arc<FileId>,
    file: Arc<File>,
    read: Arc<AtomicU64>,
}

impl Source {
    pub fn open(path: &str) -> Result<Source> {
        // Looked at before it is opened: opening a pipe would wait for its other end.
        let found = fs::metadata(path).map_err(|cause| io_error(path, "open file", cause))?;
        if !found.is_file() {
            return Err(ReadError::new(path, Problem::NotAFile));
        }
        let file = File::open(path).map_err(|cause| io_error(path, "open file", cause))?;
        let status = file.metadata().map_err(|cause| io_error(path, "examine file", cause))?;
        let id = FileId {
            path: path.to_owned(),
            size: status.len(),
            device: status.dev(),
            inode: status.ino(),
            modified: (status.mtime(), status.mtime_nsec()),
        };
        Ok(Source { id: Arc::new(id), file: Arc::new(file), read: Arc::default() })
    }

    /// Opens the file that `id` was taken of, and no other.
    pub fn reopen(id: &FileId) -> Result<Source> {
        let source = Source::open(&id.path)?;
        match *source.id == *id {
            true => Ok(source),
            false => Err(ReadError::new(&id.path, Problem::Changed)),
        }
    }

    pub fn id(&self) -> &Arc<FileId> {
        &self.id
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    pub fn path(&self) -> &str {
        &self.id.path
    }

    /// Bytes read through this source so far.
    pub fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Whether `len` bytes at `offset` lie in the file.
    pub fn holds(&self, offset: u64, len: u64) -> bool {
        offset.checked_add(len).is_some_and(|end| end <= self.id.size)
    }

    pub fn read_into(&self, bytes: &mut [u8], offset: u64) -> Result<()> {
        self.file.read_exact_at(bytes, offset).map_err(|cause| match cause.kind() {
            io::ErrorKind::UnexpectedEof => ReadError::damaged(self.path(), "the file ends too early"),
            _ => io_error(self.path(), "read file", cause),
        })?;
        self.read.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    pub fn read_at(&self, offset: u64, len: usize) -> Result<Vec<u8>> {
        if !self.holds(offset, len as u64) {
            return Err(ReadError::damaged(self.path(), "it refers to bytes behind the file's end"));
        }
        let mut bytes = zeroed(self.path(), len)?;
        self.read_into(&mut bytes, offset)?;
        Ok(bytes)
    }
}

/// Zeros that take memory only where they are written to, as far as the system goes along; no abort when
/// there is none.
pub fn zeroed(path: &str, len: usize) -> Result<Vec<u8>> {
    memory::zeroed(len).map_err(|_| ReadError::new(path, Problem::OutOfMemory(len)))
}

fn io_error(path: &str, what: &'static str, cause: io::Error) -> ReadError {
    ReadError::new(path, Problem::Io(what, cause))
}

impl Length for Source {
    fn len(&self) -> u64 {
        self.id.size
    }
}

/// What is read so are the headers of pages: more than they take would be read for nothing.
pub const HEADER_ROOM: usize = 512;

impl ChunkReader for Source {
    type T = BufReader<At>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(BufReader::with_capacity(HEADER_ROOM, At::new(self, start)))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let bytes = self.read_at(start, length);
        bytes.map(Bytes::from).map_err(|error| ParquetError::General(error.why()))
    }
}

/// The file's bytes from an offset on.
pub struct At {
    source: Source,
    offset: u64,
}

impl At {
    pub fn new(source: &Source, offset: u64) -> At {
        At { source: source.clone(), offset }
    }
}

impl Read for At {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let got = self.source.file.read_at(bytes, self.offset)?;
        self.offset += got as u64;
        self.source.read.fetch_add(got as u64, Ordering::Relaxed);
        Ok(got)
    }
}
