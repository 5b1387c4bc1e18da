//! The foreign data wrapper `pg_strata`: planner and executor over the files that `fdw` reads.
//!
//! ```text
//! routine.rs          the callbacks
//! options.rs          the options of servers, tables and columns; access.rs who may read
//! estimate.rs         files and metadata -> rows, bytes, workers
//! plan.rs             the size of a relation, and the plan of a path; pushdown.rs which conditions the scan decides
//! paths.rs            the paths of rows: plain, parallel, parameterised
//! task.rs             what a plan tells its scan
//! callbacks.rs        begin, next row, rescan, end
//! scan.rs             files -> claims of groups -> batches: one Scan for each scan node and process
//! table_reader.rs     a table's columns in batches, for SQL on columns
//! claims.rs           who reads which group; parallel.rs the claims in shared memory
//! open_file.rs        the file that is being read, and what is known of its groups
//! conditions.rs       the conditions that skip groups; decided.rs those that a scan decides row by row
//! held.rs             a batch's columns as `query` takes them
//! batch.rs            a batch -> the rows that match -> tuples
//! column.rs           a column's Arrow array -> Datums; nested.rs lists and structs
//! file_column.rs      a column's place in a file
//! import.rs           files -> the foreign table that suits them; declared.rs its types
//! files.rs            options -> files; error.rs what is wrong with one, as PostgreSQL reports it
//! explain.rs, analyze.rs, metadata_info.rs, read_files.rs  what their names say
//! ```
//!
//! A `Scan` lives in a box that the query's memory context drops, so that its file is closed however the query
//! ends. Everything runs on the main thread of the backend or parallel worker that runs the query.

mod access;
mod analyze;
mod batch;
mod callbacks;
mod claims;
mod column;
mod conditions;
mod decided;
mod declared;
mod error;
mod estimate;
mod explain;
mod file_column;
mod files;
mod held;
mod import;
mod import_columns;
mod import_names;
mod metadata_info;
mod nested;
mod open_file;
pub mod options;
mod parallel;
mod paths;
mod plan;
mod pushdown;
mod read_files;
mod routine;
mod scan;
mod table_reader;
mod task;

pub use error::report;
pub use estimate::role;
pub use files::metadata_stats;
#[cfg(feature = "vcf")]
pub use files::open;
pub use metadata_info::metadata_info;
pub use pushdown::decides;
pub use read_files::read_files;
pub use routine::routine;
pub use table_reader::{Files, FilesRead, FilesSeen, TableReader};
