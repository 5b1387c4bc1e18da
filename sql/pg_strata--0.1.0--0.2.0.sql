\echo Use "ALTER EXTENSION pg_strata UPDATE TO '0.2.0'" to load this file. \quit

-- PG-Strom's foreign data wrapper and server are named arrow_fdw. Ours are renamed, unless the user has done so to make room
-- for PG-Strom's. Foreign tables refer to the server by its OID.
DO $$
DECLARE
    ours CONSTANT regprocedure := 'arrow_fdw_handler()';
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_foreign_server s JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid = s.srvfdw
                WHERE s.srvname = 'arrow_fdw' AND w.fdwhandler = ours) THEN
        ALTER SERVER arrow_fdw RENAME TO pg_strata;
    END IF;
    IF EXISTS (SELECT FROM pg_catalog.pg_foreign_data_wrapper WHERE fdwname = 'arrow_fdw' AND fdwhandler = ours) THEN
        ALTER FOREIGN DATA WRAPPER arrow_fdw RENAME TO pg_strata;
    END IF;
END
$$;
COMMENT ON FUNCTION arrow_fdw_handler() IS 'Handler of the foreign data wrapper pg_strata';
COMMENT ON FUNCTION arrow_fdw_validator(text[], oid) IS 'Checks the options of pg_strata''s foreign tables and columns';
