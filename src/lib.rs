//! pg_strata: PostgreSQL tables as Parquet files, in parallel, on one snapshot, exactly.

pub mod decode;
pub mod types;
pub mod wire;
