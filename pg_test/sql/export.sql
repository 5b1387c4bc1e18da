-- The SQL surface: signatures, results, errors with their hints.
\pset null '(null)'
\pset format unaligned
\set file :out '/t.parquet'
\set parts :out '/parts'
SELECT proname, pg_get_function_arguments(oid) FROM pg_proc WHERE proname IN ('export_table_parquet', 'export_table_arrow', 'export_query_parquet', 'export_query_arrow', 'copy_binary_dump') ORDER BY 1;
LOAD 'pg_strata';
SELECT name, setting, context, short_desc FROM pg_settings WHERE name LIKE 'pg\_strata.%' ORDER BY name COLLATE "C";
SELECT p.proname, p.provolatile, p.proparallel, p.proisstrict, obj_description(p.oid) IS NOT NULL AS commented
  FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.deptype = 'e'
  JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'pg_strata' ORDER BY p.proname COLLATE "C";

CREATE TABLE t (id int PRIMARY KEY, name varchar(20), price numeric(12,2), tags text[]);
INSERT INTO t SELECT i, 'item ' || i, i * 1.25, ARRAY['a', 'b'] FROM generate_series(1, 1000) i;

-- results
SELECT files, row_groups, rows, bytes > 0 AS bytes, scan, device, workers FROM export_table_parquet('t', :'file', workers => 0);
SELECT files, row_groups, rows, scan FROM export_table_parquet('t', :'file', row_group_rows => 400, workers => 0, overwrite => true);
SELECT rows, scan FROM export_table_parquet('t', :'file', scan => 'copy_binary', compression => 'zstd:3', overwrite => true);
SELECT rows FROM export_table_parquet('t', :'file', ARRAY['price', 'id'], overwrite => true);
SELECT files, rows FROM export_table_parquet('t', :'parts', workers => 0);
SELECT files, record_batches, rows, scan, device, workers FROM export_table_arrow('t', :'out' || '/t.arrow', record_batch_rows => 400, workers => 0);
SELECT files, row_groups, rows, scan, device, workers FROM export_query_parquet('SELECT id FROM t WHERE id > 900 ORDER BY id', :'out' || '/q.parquet', row_group_rows => 30);
SELECT * FROM copy_binary_dump('t', :'out' || '/t.bin');
SELECT * FROM copy_binary_dump('t');

-- errors
SELECT * FROM export_table_parquet((SELECT 'missing'::text)::regclass, :'file');
SELECT * FROM export_table_parquet('t_pkey', :'file', overwrite => true);
SELECT * FROM export_table_parquet('t', 'relative.parquet');
SELECT * FROM export_table_parquet('t', :'out' || '/no/such/directory/t.parquet');
SELECT * FROM export_table_parquet('t', :'file');
SELECT * FROM export_table_parquet('t', :'parts');
SELECT * FROM export_table_parquet('t', :'file', compression => 'zip', overwrite => true);
SELECT * FROM export_table_parquet('t', :'file', compression => 'zstd:99', overwrite => true);
SELECT * FROM export_table_parquet('t', :'file', columns => ARRAY['id', 'nope'], overwrite => true);
SELECT * FROM export_table_parquet('t', :'file', columns => ARRAY['id', 'id'], overwrite => true);
SELECT * FROM export_table_parquet('t', :'file', scan => 'index', overwrite => true);
SELECT * FROM export_table_parquet('t', :'file', workers => -1, overwrite => true);
SELECT * FROM export_table_parquet('t', :'file', row_group_rows => 0, overwrite => true);
SELECT * FROM export_table_parquet('t', :'file', row_group_bytes => -1, overwrite => true);
SELECT * FROM export_table_arrow('t', :'out' || '/t.arrow');
SELECT * FROM export_table_arrow('t', :'out' || '/t.arrow', compression => 'snappy', overwrite => true);
SELECT * FROM export_table_arrow('t', :'out' || '/t.arrow', record_batch_rows => 0, overwrite => true);
SELECT * FROM export_table_arrow('t', :'out' || '/t.arrow', stats => ARRAY['nope'], overwrite => true);
SELECT * FROM export_table_arrow('t', :'out' || '/t.arrow', stats => ARRAY['tags'], overwrite => true);
SELECT * FROM export_table_arrow('t', :'out' || '/t.arrow', stats => ARRAY[NULL], overwrite => true);
CREATE TABLE nan AS SELECT 1 AS id, 'NaN'::numeric AS n;
SELECT * FROM export_table_parquet('nan', :'out' || '/nan.parquet');
CREATE TABLE never AS SELECT 1 AS id, 'infinity'::date AS d;
SELECT * FROM export_table_parquet('never', :'out' || '/never.parquet');

-- privileges
CREATE ROLE strata_reader;
GRANT SELECT (id) ON t TO strata_reader;
SET ROLE strata_reader;
SELECT * FROM export_table_parquet('t', :'file', overwrite => true);
RESET ROLE;
GRANT EXECUTE ON FUNCTION export_table_parquet TO strata_reader;
SET ROLE strata_reader;
SELECT * FROM export_table_parquet('t', :'file', overwrite => true);
RESET ROLE;
GRANT pg_write_server_files TO strata_reader;
SET ROLE strata_reader;
SELECT * FROM export_table_parquet('t', :'file', overwrite => true);
SELECT rows FROM export_table_parquet('t', :'file', columns => ARRAY['id'], overwrite => true);
RESET ROLE;
SET pg_strata.export_directories = '/nowhere';
SELECT * FROM export_table_parquet('t', :'file', overwrite => true);
RESET pg_strata.export_directories;
DROP OWNED BY strata_reader;
DROP ROLE strata_reader;
