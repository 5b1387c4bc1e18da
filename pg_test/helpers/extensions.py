"""What tests of the extension itself share: databases without it, extensions of others, and its catalog entries."""

import contextlib
import os
from pathlib import Path

# A schema that has to be quoted.
ODD = '"Odd ""Schema"" of $1"'
# What PG-Strom has of these names.
STROM = """
    CREATE SCHEMA pgstrom;
    CREATE FUNCTION pgstrom.arrow_fdw_metadata_info(regclass) RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE FUNCTION pgstrom.arrow_fdw_metadata_stats() RETURNS int LANGUAGE sql AS 'SELECT 2';
    CREATE FOREIGN DATA WRAPPER arrow_fdw;
    CREATE SERVER arrow_fdw FOREIGN DATA WRAPPER arrow_fdw"""
MEMBERS = """
    SELECT m.classid AS class, m.objid AS oid, pg_describe_object(m.classid, m.objid, 0) AS name,
           obj_description(m.objid, m.classid::regclass::text::name) AS comment
      FROM pg_depend m JOIN pg_extension e ON e.oid = m.refobjid
     WHERE m.refclassid = 'pg_extension'::regclass AND m.deptype = 'e' AND e.extname = 'pg_strata'"""
ACL = "ARRAY(SELECT format('%s %s %s', grantee::regrole, privilege_type, is_grantable) FROM aclexplode({}) ORDER BY 1)"
# All that the extension's script says of its members. What pg_dump takes for its own privileges is initprivs.
CATALOG = f"""
    WITH member AS ({MEMBERS})
    SELECT name, comment, {ACL.format("coalesce(proacl, fdwacl, srvacl)")} AS acl, {ACL.format("initprivs")} AS initial,
           (SELECT array_agg(dependency::text ORDER BY dependency) FROM
             (SELECT refclassid::regclass, deptype, pg_describe_object(refclassid, refobjid, 0) FROM pg_depend d
               WHERE d.classid = class AND d.objid = member.oid) AS dependency) AS dependencies,
           (pg_get_function_arguments(p.oid), pg_get_function_result(p.oid), prosrc, probin, provolatile, proparallel,
            proisstrict, procost, prorows, prosecdef, proleakproof, proconfig)::text AS function,
           (fdwname, fdwhandler::regproc, fdwvalidator::regproc, fdwoptions)::text,
           (srvname, srvtype, srvversion, srvoptions)::text
      FROM member
      LEFT JOIN pg_proc p ON class = 'pg_proc'::regclass AND p.oid = member.oid
      LEFT JOIN pg_foreign_data_wrapper w ON class = 'pg_foreign_data_wrapper'::regclass AND w.oid = member.oid
      LEFT JOIN pg_foreign_server s ON class = 'pg_foreign_server'::regclass AND s.oid = member.oid
      LEFT JOIN pg_init_privs i ON i.classoid = class AND i.objoid = member.oid
     ORDER BY name"""


def value(connection, query, arguments=None):
    """The first value of the first row."""
    return connection.execute(query, arguments).fetchone()[0]


@contextlib.contextmanager
def database(server, name):
    """A connection to a new database without the extension."""
    with server.connect() as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        try:
            with server.connect(name) as inside:
                yield inside
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextlib.contextmanager
def other_extension(installation, name, script):
    """Somebody else's extension, in the private installation, which other tests use at the same time."""
    name += f"_{os.getpid()}"
    folder = Path(installation.ask("--sharedir")) / "extension"
    control, sql = folder / f"{name}.control", folder / f"{name}--1.sql"
    control.write_text("default_version = '1'\nrelocatable = false\n")
    sql.write_text(script)
    try:
        yield f"CREATE EXTENSION {name}"
    finally:
        control.unlink()
        sql.unlink()


def check_round_trip(connection, out, schema="public", server="pg_strata"):
    """A table goes into a file and comes back, as a foreign table and as rows, all by qualified names."""
    path = out / "t.parquet"
    connection.execute("CREATE TABLE public.t AS SELECT generate_series(1, 10) AS a")
    exported = f"SELECT rows FROM {schema}.export_table_parquet('public.t', '{path}', overwrite => true)"
    assert value(connection, exported) == 10
    connection.execute(f"IMPORT FOREIGN SCHEMA f FROM SERVER {server} INTO public OPTIONS (file '{path}')")
    rows = f"{schema}.read_parquet('{path}') AS t(a int)"
    for source in ("public.f", rows):
        assert value(connection, f"SELECT sum(a) FROM {source}") == 55
    assert value(connection, f"SELECT count(*) > 0 FROM {schema}.arrow_fdw_metadata_info('public.f')")
    connection.execute("DROP FOREIGN TABLE public.f; DROP TABLE public.t")
