//! pg_strata: PostgreSQL tables as Parquet files, in parallel, on one snapshot, exactly.

pub mod encode;
pub mod types;
