//! Arrow IPC and Parquet files as tables: opening, metadata, and batches converted to PostgreSQL's values.
//!
//! ```text
//! path ──Source──▶ FileMeta (schema, groups) ──Scanner──▶ RecordBatch ──values──▶ words of Datums
//! ```
//!
//! Pure: no server. All I/O is by pread, so that a file that is truncated meanwhile causes an error and never a
//! signal. Runs in the backend or parallel worker that scans a foreign table; there are no threads.

mod blocks;
mod bloom;
mod bounds;
mod cache;
mod checked_pages;
mod chunk_pages;
mod columns;
mod decode;
mod error;
mod files;
mod footer;
mod footer_repair;
mod ipc;
mod ipc_schema;
mod lengths;
mod message;
mod meta;
mod old_pages;
mod page_header;
mod pages;
mod pattern;
mod raw;
mod read;
mod schema;
mod selectivity;
mod slices;
mod source;
mod texts;
mod thrift;
mod trust;
mod unpack;
pub mod values;

pub use bloom::BloomFilter;
pub use bounds::Bounds;
pub use cache::{Cache, CacheStats};
pub use columns::common_type;
pub use error::{LeftOut, Misfit, Problem, ReadError, Result};
pub use files::{DataFile, FileSet};
pub use ipc::IpcMeta;
pub use meta::{FileMeta, Format};
pub use pages::{Pages, Selected};
pub use pattern::{Keys, Pattern};
pub use read::{Rows, Scanner};
pub use schema::list_depth;
pub use selectivity::share_of_groups;
pub use source::{At, FileId, Source};
