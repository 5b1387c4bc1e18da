\echo Use "CREATE EXTENSION pg_strata" to load this file. \quit

CREATE FUNCTION arrow_fdw_handler() RETURNS fdw_handler
STRICT LANGUAGE c AS 'MODULE_PATHNAME', 'arrow_fdw_handler_wrapper';

CREATE FUNCTION arrow_fdw_metadata_info("table" regclass)
RETURNS TABLE (file text, "column" text, key text, value text)
STRICT VOLATILE PARALLEL RESTRICTED COST 1000 ROWS 100 LANGUAGE c AS 'MODULE_PATHNAME', 'arrow_fdw_metadata_info_wrapper';

CREATE FUNCTION arrow_fdw_metadata_stats()
RETURNS TABLE (files bigint, bytes bigint, max_bytes bigint, hits bigint, misses bigint, evicted bigint)
VOLATILE PARALLEL RESTRICTED ROWS 1 LANGUAGE c AS 'MODULE_PATHNAME', 'arrow_fdw_metadata_stats_wrapper';

CREATE FUNCTION arrow_fdw_validator(options text[], catalog oid) RETURNS void
STRICT LANGUAGE c AS 'MODULE_PATHNAME', 'arrow_fdw_validator_wrapper';

CREATE FUNCTION copy_binary_dump(
    "table" regclass, path text DEFAULT NULL,
    workers int DEFAULT NULL,
    overwrite boolean DEFAULT false)
RETURNS TABLE (rows bigint, bytes bigint)
VOLATILE PARALLEL UNSAFE COST 1000 ROWS 1 LANGUAGE c AS 'MODULE_PATHNAME', 'copy_binary_dump_wrapper';

CREATE FUNCTION decode_table(
    "table" regclass,
    scan text DEFAULT 'auto',
    workers int DEFAULT NULL,
    device text DEFAULT 'auto')
RETURNS TABLE (rows bigint, bytes bigint, slots bigint, scan text, device text, workers int, elapsed interval)
VOLATILE PARALLEL UNSAFE COST 1000 ROWS 1 LANGUAGE c AS 'MODULE_PATHNAME', 'decode_table_wrapper';

CREATE FUNCTION export_query_arrow(
    query text, path text,
    compression text DEFAULT 'none',
    record_batch_rows bigint DEFAULT 262144, record_batch_bytes bigint DEFAULT 33554432,
    overwrite boolean DEFAULT false,
    stats text[] DEFAULT NULL,
    append boolean DEFAULT false)
RETURNS TABLE (path text, files int, record_batches bigint, rows bigint, bytes bigint,
               scan text, device text, workers int, elapsed interval)
VOLATILE PARALLEL UNSAFE COST 1000 ROWS 1 LANGUAGE c AS 'MODULE_PATHNAME', 'export_query_arrow_wrapper';

CREATE FUNCTION export_query_parquet(
    query text, path text,
    compression text DEFAULT 'zstd',
    row_group_rows bigint DEFAULT 1000000, row_group_bytes bigint DEFAULT 134217728,
    overwrite boolean DEFAULT false)
RETURNS TABLE (path text, files int, row_groups bigint, rows bigint, bytes bigint,
               scan text, device text, workers int, elapsed interval)
VOLATILE PARALLEL UNSAFE COST 1000 ROWS 1 LANGUAGE c AS 'MODULE_PATHNAME', 'export_query_parquet_wrapper';

CREATE FUNCTION export_table_arrow(
    "table" regclass, path text,
    columns text[] DEFAULT NULL,
    compression text DEFAULT 'none',
    record_batch_rows bigint DEFAULT 262144, record_batch_bytes bigint DEFAULT 33554432,
    workers int DEFAULT NULL,
    scan text DEFAULT 'auto',
    device text DEFAULT 'auto',
    overwrite boolean DEFAULT false,
    stats text[] DEFAULT NULL,
    append boolean DEFAULT false)
RETURNS TABLE (path text, files int, record_batches bigint, rows bigint, bytes bigint,
               scan text, device text, workers int, elapsed interval)
VOLATILE PARALLEL UNSAFE COST 1000 ROWS 1 LANGUAGE c AS 'MODULE_PATHNAME', 'export_table_arrow_wrapper';

CREATE FUNCTION export_table_parquet(
    "table" regclass, path text,
    columns text[] DEFAULT NULL,
    compression text DEFAULT 'zstd',
    row_group_rows bigint DEFAULT 1000000, row_group_bytes bigint DEFAULT 134217728,
    workers int DEFAULT NULL,
    scan text DEFAULT 'auto',
    device text DEFAULT 'auto',
    overwrite boolean DEFAULT false,
    bloom_filters text[] DEFAULT NULL,
    byte_stream_split boolean DEFAULT false)
RETURNS TABLE (path text, files int, row_groups bigint, rows bigint, bytes bigint,
               scan text, device text, workers int, elapsed interval)
VOLATILE PARALLEL UNSAFE COST 1000 ROWS 1 LANGUAGE c AS 'MODULE_PATHNAME', 'export_table_parquet_wrapper';

CREATE FUNCTION gpu_devices()
RETURNS TABLE (ordinal int, name text, memory bigint, compute_capability text, pci_bus_id text, pcie_link text,
               numa_node int, h2d_gb_per_s float8, d2h_gb_per_s float8, queue_depth int, state text)
VOLATILE PARALLEL UNSAFE COST 1000 ROWS 8 LANGUAGE c AS 'MODULE_PATHNAME', 'gpu_devices_wrapper';

CREATE FUNCTION gpu_status()
RETURNS TABLE ("time" timestamptz, source text, message text)
VOLATILE PARALLEL RESTRICTED COST 1000 ROWS 100 LANGUAGE c AS 'MODULE_PATHNAME', 'gpu_status_wrapper';

COMMENT ON FUNCTION gpu_devices() IS
    'The GPUs that exports can use, with their links'' measured rates; starts the GPU service when it is not running';
COMMENT ON FUNCTION gpu_status() IS
    'The state of the GPU service and the reason for it, then why exports did or did not use a GPU, oldest first';
REVOKE EXECUTE ON FUNCTION gpu_devices() FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION gpu_status() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gpu_devices() TO pg_monitor;
GRANT EXECUTE ON FUNCTION gpu_status() TO pg_monitor;

CREATE FUNCTION import_vcf(
    vcf text, path text,
    samples text DEFAULT 'column',
    compression text DEFAULT 'none',
    overwrite boolean DEFAULT false)
RETURNS TABLE (record_batches bigint, rows bigint, bytes bigint)
VOLATILE PARALLEL UNSAFE COST 1000 ROWS 1 LANGUAGE c AS 'MODULE_PATHNAME', 'import_vcf_wrapper';

CREATE FUNCTION read_parquet(path text) RETURNS SETOF record
STRICT VOLATILE PARALLEL RESTRICTED COST 1000 LANGUAGE c AS 'MODULE_PATHNAME', 'read_parquet_wrapper';
CREATE FUNCTION read_arrow(path text) RETURNS SETOF record
STRICT VOLATILE PARALLEL RESTRICTED COST 1000 LANGUAGE c AS 'MODULE_PATHNAME', 'read_parquet_wrapper';

CREATE FOREIGN DATA WRAPPER pg_strata HANDLER arrow_fdw_handler VALIDATOR arrow_fdw_validator;
CREATE SERVER pg_strata FOREIGN DATA WRAPPER pg_strata;
COMMENT ON FOREIGN DATA WRAPPER pg_strata IS 'Parquet and Arrow IPC files as foreign tables';
COMMENT ON SERVER pg_strata IS 'The files that this server can read';
COMMENT ON FUNCTION arrow_fdw_metadata_info(regclass) IS 'Keys and values in the metadata of a foreign table''s files';
COMMENT ON FUNCTION arrow_fdw_metadata_stats() IS 'What this session keeps of files'' metadata, and how often that was of use';
COMMENT ON FUNCTION read_parquet(text) IS 'Rows of a Parquet file, or of the files of a directory, in the columns that the call declares';
COMMENT ON FUNCTION read_arrow(text) IS 'Rows of an Arrow IPC file, or of the files of a directory, in the columns that the call declares';
COMMENT ON FUNCTION arrow_fdw_handler() IS 'Handler of the foreign data wrapper pg_strata';
COMMENT ON FUNCTION arrow_fdw_validator(text[], oid) IS 'Checks the options of pg_strata''s foreign tables and columns';

REVOKE EXECUTE ON FUNCTION read_parquet(text), read_arrow(text), arrow_fdw_metadata_info(regclass) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION read_parquet(text), read_arrow(text), arrow_fdw_metadata_info(regclass) TO pg_read_server_files;

COMMENT ON FUNCTION export_table_parquet(
    regclass, text, text[], text, bigint, bigint, int, text, text, boolean, text[], boolean) IS
    'Exports a table to a Parquet file (path ending in .parquet) or a directory of them, in parallel, on one snapshot';
COMMENT ON FUNCTION export_table_arrow(regclass, text, text[], text, bigint, bigint, int, text, text, boolean, text[], boolean) IS
    'Exports a table to an Arrow IPC file (path ending in .arrow) or a directory of them, in parallel, on one snapshot';
COMMENT ON FUNCTION export_query_parquet(text, text, text, bigint, bigint, boolean) IS
    'Exports the rows of a query to a Parquet file (path ending in .parquet) or a directory with one';
COMMENT ON FUNCTION export_query_arrow(text, text, text, bigint, bigint, boolean, text[], boolean) IS
    'Exports the rows of a query to an Arrow IPC file (path ending in .arrow) or a directory with one';
COMMENT ON FUNCTION import_vcf(text, text, text, text, boolean) IS
    'Converts a VCF file on the server to an Arrow IPC file, INFO and FORMAT fields typed';
COMMENT ON FUNCTION copy_binary_dump(regclass, text, int, boolean) IS
    'Writes a table as one COPY BINARY file by the parallel scan, or counts its bytes when path is null';
COMMENT ON FUNCTION decode_table(regclass, text, int, text) IS
    'Scans and decodes a table as an export does and drops the columns, to measure that part by itself';

REVOKE EXECUTE ON FUNCTION
    export_table_parquet(regclass, text, text[], text, bigint, bigint, int, text, text, boolean, text[], boolean),
    export_table_arrow(regclass, text, text[], text, bigint, bigint, int, text, text, boolean, text[], boolean),
    export_query_parquet(text, text, text, bigint, bigint, boolean),
    export_query_arrow(text, text, text, bigint, bigint, boolean, text[], boolean),
    import_vcf(text, text, text, text, boolean),
    copy_binary_dump(regclass, text, int, boolean)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    export_table_parquet(regclass, text, text[], text, bigint, bigint, int, text, text, boolean, text[], boolean),
    export_table_arrow(regclass, text, text[], text, bigint, bigint, int, text, text, boolean, text[], boolean),
    export_query_parquet(text, text, text, bigint, bigint, boolean),
    export_query_arrow(text, text, text, bigint, bigint, boolean, text[], boolean),
    import_vcf(text, text, text, text, boolean),
    copy_binary_dump(regclass, text, int, boolean)
TO pg_write_server_files;
