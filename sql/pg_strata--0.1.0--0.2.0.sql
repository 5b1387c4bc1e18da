\echo Use "ALTER EXTENSION pg_strata UPDATE TO '0.2.0'" to load this file. \quit

-- PG-Strom's foreign data wrapper and server are named arrow_fdw. Ours are renamed, unless the user has done so to make room
-- for PG-Strom's. Foreign tables refer to the server by its OID.
DO $$
DECLARE
    extension CONSTANT oid := (SELECT oid FROM pg_catalog.pg_extension WHERE extname = 'pg_strata');
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_foreign_server s JOIN pg_catalog.pg_depend d ON d.objid = s.oid
                WHERE s.srvname = 'arrow_fdw' AND d.classid = 'pg_catalog.pg_foreign_server'::regclass AND d.deptype = 'e'
                  AND d.refobjid = extension) THEN
        ALTER SERVER arrow_fdw RENAME TO pg_strata;
    END IF;
    IF EXISTS (SELECT FROM pg_catalog.pg_foreign_data_wrapper w JOIN pg_catalog.pg_depend d ON d.objid = w.oid
                WHERE w.fdwname = 'arrow_fdw' AND d.classid = 'pg_catalog.pg_foreign_data_wrapper'::regclass AND d.deptype = 'e'
                  AND d.refobjid = extension) THEN
        ALTER FOREIGN DATA WRAPPER arrow_fdw RENAME TO pg_strata;
    END IF;
END
$$;
COMMENT ON FUNCTION arrow_fdw_handler() IS 'Handler of the foreign data wrapper pg_strata';
COMMENT ON FUNCTION arrow_fdw_validator(text[], oid) IS 'Checks the options of pg_strata''s foreign tables and columns';

ALTER FUNCTION export_table_parquet(regclass, text, text[], text, bigint, bigint, int, text, text, boolean, text[], boolean) COST 1000 ROWS 1;
ALTER FUNCTION export_table_arrow(regclass, text, text[], text, bigint, bigint, int, text, text, boolean, text[], boolean) COST 1000 ROWS 1;
ALTER FUNCTION export_query_parquet(text, text, text, bigint, bigint, boolean) COST 1000 ROWS 1;
ALTER FUNCTION export_query_arrow(text, text, text, bigint, bigint, boolean, text[], boolean) COST 1000 ROWS 1;
ALTER FUNCTION import_vcf(text, text, text, text, boolean) COST 1000 ROWS 1;
ALTER FUNCTION copy_binary_dump(regclass, text, int, boolean) COST 1000 ROWS 1;
ALTER FUNCTION decode_table(regclass, text, int, text) COST 1000 ROWS 1;
ALTER FUNCTION gpu_devices() COST 1000 ROWS 8;
ALTER FUNCTION gpu_status() PARALLEL RESTRICTED COST 1000 ROWS 100;
ALTER FUNCTION read_parquet(text) COST 1000;
ALTER FUNCTION read_arrow(text) COST 1000;
ALTER FUNCTION arrow_fdw_metadata_info(regclass) COST 1000 ROWS 100;
ALTER FUNCTION arrow_fdw_metadata_stats() ROWS 1;

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
REVOKE EXECUTE ON FUNCTION read_parquet(text), read_arrow(text), arrow_fdw_metadata_info(regclass) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION read_parquet(text), read_arrow(text), arrow_fdw_metadata_info(regclass) TO pg_read_server_files;

-- By the commands above PostgreSQL counts all privileges on these functions as the extension's own, which pg_dump leaves
-- out. Those that users granted before are not the extension's.
UPDATE pg_catalog.pg_init_privs i
   SET initprivs = ARRAY(
           SELECT item FROM pg_catalog.unnest(i.initprivs) AS item, pg_catalog.aclexplode(ARRAY[item]) AS a
            WHERE a.grantee IN (p.proowner, CASE WHEN p.proname IN ('read_parquet', 'read_arrow', 'arrow_fdw_metadata_info')
                                                 THEN 'pg_read_server_files'::regrole
                                                 WHEN p.proname LIKE 'gpu\_%' THEN 'pg_monitor'::regrole
                                                 ELSE 'pg_write_server_files'::regrole END))
  FROM pg_catalog.pg_proc p, pg_catalog.pg_depend d, pg_catalog.pg_extension e
 WHERE e.extname = 'pg_strata' AND d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
   AND d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid AND i.classoid = d.classid AND i.objoid = p.oid;
-- Since PostgreSQL 17 it also keeps roles from being dropped that are named there; those that still are stay.
DELETE FROM pg_catalog.pg_shdepend s
 USING pg_catalog.pg_database b, pg_catalog.pg_depend d, pg_catalog.pg_extension e
 WHERE b.datname = pg_catalog.current_database() AND s.dbid = b.oid AND s.deptype = 'i' AND s.classid = d.classid AND s.objid = d.objid
   AND e.extname = 'pg_strata' AND d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
   AND d.classid = 'pg_catalog.pg_proc'::regclass
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_init_privs i, pg_catalog.aclexplode(i.initprivs) AS a
                    WHERE i.classoid = s.classid AND i.objoid = s.objid AND s.refobjid IN (a.grantee, a.grantor));
