"""ALTER EXTENSION UPDATE from each version, and pg_dump: data, foreign tables and privileges stay."""

import subprocess

import psycopg
import pytest

from ..helpers.extensions import CATALOG, ODD, STROM, database, other_extension, value
from ..lab import build
from ..lab.places import as_server

VERSIONS = sorted(path.name.split("--")[1] for path in build.SQL.parent.glob("pg_strata--*--*.sql"))
SUMS = ("public.t", "public.f", "public.g", "public.v")


@pytest.fixture
def empty(server):
    with database(server, "updated") as inside:
        yield inside


def fill(connection, out, schema, server, role):
    """A table, its file, what reads the file, and privileges on all of it."""
    connection.execute(f"""
        CREATE TABLE t AS SELECT generate_series(1, 10) AS a;
        SELECT {schema}.export_table_parquet('t', '{out}/t.parquet', overwrite => true);
        IMPORT FOREIGN SCHEMA f FROM SERVER {server} INTO public OPTIONS (file '{out}/t.parquet');
        CREATE VIEW v AS SELECT * FROM {schema}.read_parquet('{out}/t.parquet') AS t(a int);
        CREATE SERVER mine FOREIGN DATA WRAPPER {server} OPTIONS (read_as 'owner');
        CREATE FOREIGN TABLE g ("B" bigint OPTIONS (field 'a'), a bigint) SERVER mine OPTIONS (file '{out}/t.parquet');
        GRANT SELECT ON t, g TO {role};
        GRANT USAGE ON SCHEMA {schema} TO {role};
        GRANT USAGE ON FOREIGN SERVER {server}, mine TO {role};
        GRANT USAGE ON FOREIGN DATA WRAPPER {server} TO {role};
        GRANT EXECUTE ON FUNCTION {schema}.export_table_parquet, {schema}.export_query_arrow TO {role}
        WITH GRANT OPTION""")


def check(connection):
    for relation in SUMS:
        assert value(connection, f"SELECT sum(a) FROM {relation}") == 55, relation


def privileges(connection, schema, role):
    """Which of the extension's functions and which servers and wrappers the role may use."""
    functions = f"""SELECT proname FROM pg_proc WHERE probin = '$libdir/pg_strata'
                     AND has_function_privilege('{role}', oid, 'EXECUTE WITH GRANT OPTION')"""
    servers = f"SELECT srvname FROM pg_foreign_server WHERE has_server_privilege('{role}', oid, 'USAGE')"
    wrappers = f"""SELECT fdwname FROM pg_foreign_data_wrapper
                    WHERE has_foreign_data_wrapper_privilege('{role}', oid, 'USAGE')"""
    found = [connection.execute(query).fetchall() for query in (functions, servers, wrappers)]
    return [sorted(name for (name,) in rows) for rows in found]


GRANTED = [["export_query_arrow", "export_table_parquet"], ["mine", "pg_strata"], ["pg_strata"]]


def dump(server, dbname):
    """A database as SQL. Newer versions of pg_dump put a random word into it."""
    command = [server.postgres.program("pg_dump"), "-h", server.sockets, "-p", server.port, "-U", "postgres", dbname]
    made = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/", **as_server()).stdout
    return "".join(line for line in made.splitlines(True) if not line.startswith(("\\restrict", "\\unrestrict")))


def restore(server, dbname, script):
    read = server.psql("-v", "ON_ERROR_STOP=1", "-q", dbname=dbname, input=script)
    assert read.returncode == 0, read.stdout


def test_every_version_has_a_way_here():
    """One step from each released version to the next."""
    assert VERSIONS == ["0.1.0"]
    assert all((build.SQL.parent / f"pg_strata--{version}.sql").exists() for version in VERSIONS)


@pytest.mark.parametrize("schema", ["public", "strata", ODD])
@pytest.mark.parametrize("version", VERSIONS)
def test_update(server, role, empty, out, version, schema):
    """The catalog becomes that of a new installation."""
    prepare = f"CREATE SCHEMA IF NOT EXISTS {schema}; CREATE EXTENSION pg_strata SCHEMA {schema}"
    empty.execute(f"{prepare} VERSION '{version}'")
    empty.execute("ALTER EXTENSION pg_strata UPDATE")
    updated = empty.execute(CATALOG).fetchall()
    with database(server, "fresh") as fresh:
        fresh.execute(prepare)
        expected = fresh.execute(CATALOG).fetchall()
    assert len(expected) > 15 and {row[1] for row in expected} & {None} == set()
    for found, wanted in zip(updated, expected, strict=True):
        assert found == wanted


@pytest.mark.parametrize("version", VERSIONS)
def test_update_with_data_and_privileges(role, empty, out, version):
    """All that was made before goes on working, and what was granted stays, beside what the extension grants itself."""
    empty.execute(f"CREATE EXTENSION pg_strata VERSION '{version}'")
    fill(empty, out, "public", "arrow_fdw", role)
    empty.execute("ALTER EXTENSION pg_strata UPDATE")
    assert value(empty, "SELECT extversion FROM pg_extension WHERE extname = 'pg_strata'") == build.VERSION
    check(empty)
    assert privileges(empty, "public", role) == GRANTED
    # What is granted keeps the role, what the extension grants itself does not.
    kept = "SELECT DISTINCT deptype FROM pg_shdepend WHERE classid = 'pg_proc'::regclass AND refobjid = %s::regrole"
    assert empty.execute(kept, (role,)).fetchall() == [("a",)]
    empty.execute(f"SET ROLE {role}")
    assert value(empty, "SELECT sum(a) FROM g") == 55
    assert value(empty, f"SELECT rows FROM export_table_parquet('t', '{out}/u.parquet')") == 10
    empty.execute(f"RESET ROLE; CREATE FOREIGN TABLE h (a int) SERVER pg_strata OPTIONS (file '{out}/u.parquet')")
    assert value(empty, "SELECT sum(a) FROM h") == 55
    empty.execute("DROP FOREIGN TABLE f, g, h; DROP SERVER mine; DROP VIEW v; DROP EXTENSION pg_strata")


def test_update_by_another_superuser(empty):
    """Who owns the extension stays a role that cannot be dropped, as after a fresh installation."""
    named = """SELECT p.proname, s.refobjid::regrole::text, s.deptype FROM pg_shdepend s
        JOIN pg_proc p ON s.classid = 'pg_proc'::regclass AND s.objid = p.oid
        WHERE s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1, 2, 3"""
    empty.execute("CREATE ROLE strata_owner SUPERUSER")
    try:
        found = []
        for create in (
            "CREATE EXTENSION pg_strata VERSION '0.1.0'; ALTER EXTENSION pg_strata UPDATE",
            "CREATE EXTENSION pg_strata",
        ):
            empty.execute(f"SET ROLE strata_owner; {create}; RESET ROLE")
            found.append(empty.execute(named).fetchall())
            with pytest.raises(psycopg.errors.DependentObjectsStillExist):
                empty.execute("DROP ROLE strata_owner")
            empty.execute("DROP EXTENSION pg_strata")
        assert found[0] == found[1] != []
    finally:
        empty.execute("RESET ROLE; DROP ROLE strata_owner")


def test_update_leaves_names_that_users_gave_and_others_have(installation, empty, out):
    """Who renamed version 0.1.0's wrapper and server to have PG-Strom's keeps both."""
    empty.execute("CREATE EXTENSION pg_strata VERSION '0.1.0'")
    empty.execute("CREATE SERVER more FOREIGN DATA WRAPPER arrow_fdw")
    empty.execute("ALTER FOREIGN DATA WRAPPER arrow_fdw RENAME TO arrow; ALTER SERVER arrow_fdw RENAME TO files")
    with other_extension(installation, "strom_like", STROM) as create:
        empty.execute(f"{create}; ALTER EXTENSION pg_strata UPDATE")
        found = empty.execute("""SELECT fdwname, srvname, fdwhandler::int > 0
            FROM pg_foreign_server JOIN pg_foreign_data_wrapper f ON f.oid = srvfdw ORDER BY srvname""").fetchall()
        assert found == [("arrow_fdw", "arrow_fdw", False), ("arrow", "files", True), ("arrow", "more", True)]


@pytest.mark.parametrize("schema", ["public", "strata", ODD])
@pytest.mark.parametrize("updated", [True, False])
def test_dump_and_restore(server, role, empty, out, updated, schema):
    """A restored database is dumped as the first one was, privileges and all, and works."""
    version = "VERSION '0.1.0'" if updated else ""
    empty.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}; CREATE EXTENSION pg_strata SCHEMA {schema} {version}")
    fill(empty, out, schema, "arrow_fdw" if updated else "pg_strata", role)
    empty.execute("ALTER EXTENSION pg_strata UPDATE; CREATE SERVER arrow_fdw FOREIGN DATA WRAPPER pg_strata")
    script = dump(server, "updated")
    with database(server, "restored") as restored:
        restore(server, "restored", script)
        check(restored)
        assert privileges(restored, schema, role) == GRANTED
        assert restored.execute(CATALOG).fetchall() == empty.execute(CATALOG).fetchall()
        assert dump(server, "restored") == script
        restored.execute(f"SET ROLE {role}")
        assert value(restored, "SELECT sum(a) FROM g") == 55


@pytest.mark.parametrize("version", VERSIONS)
def test_restore_of_an_older_dump(server, role, empty, out, version):
    """Names may have changed: it is restored into its own version, which is then updated."""
    empty.execute(f"CREATE EXTENSION pg_strata VERSION '{version}'")
    fill(empty, out, "public", "arrow_fdw", role)
    script = dump(server, "updated")
    with database(server, "restored") as restored:
        restored.execute(f"CREATE EXTENSION pg_strata VERSION '{version}'")
        restore(server, "restored", script)
        restored.execute("ALTER EXTENSION pg_strata UPDATE")
        check(restored)
        assert privileges(restored, "public", role) == GRANTED
